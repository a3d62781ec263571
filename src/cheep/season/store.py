# SPDX-License-Identifier: MIT
"""The season folder: where its files lie, and how they are written (whole, by rename) and read."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cheep.config import DetectorConfig
from cheep.device.bundle import VERIFY, ModelBundle, load_bundle
from cheep.files import atomic_path, read_json, sweep, write_bytes, write_json, write_text
from cheep.locks import lock
from cheep.runs import MANIFEST
from cheep.season.schema import (
    DEPLOYMENTS,
    DETECTIONS,
    FORMAT,
    RECORDINGS,
    VERSION,
    Detection,
    ModelRow,
    Recording,
    SeasonError,
    score_columns,
    windows_schema,
)

SEASON_FILE = "season.json"
SCORES = "scores"
MODELS = "models"
MODEL_ROW = "model.json"
LOCK = ".lock"
SCAN_COMMAND = "cheep scan FOLDER --season SEASON"
_TABLES = {"recordings": RECORDINGS, "detections": DETECTIONS, "deployments": DEPLOYMENTS}
_KEY = b"cheep"  # of the recording's row in the metadata of its file
_ID_CHARS = 16
_SITE_CHARS = 240  # with "site=" before it, and file systems that take 255 bytes


@dataclasses.dataclass(frozen=True)
class Part:
    """What one recording's file holds besides the scores: its row, its detections, and the detector's settings."""

    row: Recording
    detections: tuple[Detection, ...]
    settings: str
    windows: int


class Season:
    """A season folder; reading it needs no lock.

    Parameters
    ----------
    folder : path
        An existing season (see :meth:`create`).

    Raises
    ------
    SeasonError
        The folder is no season, or one of a newer format.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        about = read_json(self.folder / SEASON_FILE, SCAN_COMMAND)
        if not isinstance(about, dict) or about.get("format") != FORMAT:
            raise SeasonError(f"{self.folder / SEASON_FILE}: format is not {FORMAT!r}: no season; {SCAN_COMMAND}")
        if about.get("version") != VERSION:
            raise SeasonError(
                f"{self.folder}: season of version {about.get('version')!r}: this Cheep reads version {VERSION}; "
                "use the Cheep that made it, or scan again"
            )

    @classmethod
    def create(cls, folder: str | os.PathLike) -> Season:
        """Return the season in ``folder``; a new one where nothing is.

        Raises
        ------
        SeasonError
            The folder holds something else.
        """
        folder = Path(folder)
        if not (folder / SEASON_FILE).is_file():
            if folder.exists() and not folder.is_dir():
                raise SeasonError(f"{folder}: is a file; --season names a folder")
            if folder.is_dir() and any(item.name != LOCK for item in folder.iterdir()):
                raise SeasonError(f"{folder}: holds something that is no season; name a new folder (--season)")
            write_json(folder / SEASON_FILE, {"format": FORMAT, "version": VERSION})
        return cls(folder)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the season's lock; what a killed writer left half written goes.

        Raises
        ------
        CheepError
            Another process works in it; the message names it.
        """
        with lock(self.folder / LOCK, str(self.folder), "work in another season (--season)") as first:
            if first:
                sweep(self.folder)
                for name in (SCORES, MODELS):
                    for folder, _, _ in os.walk(self.folder / name):
                        sweep(Path(folder))
            yield

    # -- models ---------------------------------------------------------------------------------

    def models(self) -> list[ModelRow]:
        """Return the models that the season was scanned with, sorted by id."""
        found = sorted((self.folder / MODELS).glob(f"*/{MODEL_ROW}"))
        return [ModelRow.from_dict(read_json(path, SCAN_COMMAND), str(path)) for path in found]

    def model(self, name: str | None = None) -> ModelRow:
        """Return a model by the beginning of its id; without one, the only one.

        Raises
        ------
        SeasonError
            None, or several, of that name.
        """
        models = self.models()
        found = [row for row in models if row.model.startswith(name or "")]
        if len(found) == 1:
            return found[0]
        known = ", ".join(f"{row.model} ({row.file})" for row in models) or "none"
        if not found:
            raise SeasonError(f"{self.folder}: no model {name or ''}; it has {known} ({SCAN_COMMAND} adds one)")
        raise SeasonError(f"{self.folder}: several models: {known}; name one (--model ID)")

    def add_model(self, bundle: ModelBundle, detector: DetectorConfig | None = None) -> ModelRow:
        """Keep a model and what describes it; return its row as the season has it.

        Raises
        ------
        SeasonError
            The season has scores of the same network at another stride.
        """
        name = bundle.model.sha256[:_ID_CHARS]
        folder = self.folder / MODELS / name
        if (folder / MODEL_ROW).is_file():
            row = self.model(name)
            if row.stride_frames != bundle.detector.stride_frames:
                raise SeasonError(
                    f"{self.folder}: holds scores of this network every {row.stride_frames} columns, not every "
                    f"{bundle.detector.stride_frames}; use its stride, or another season"
                )
            _check_gate(self.folder, row, bundle.detector)
            self.follow(row, bundle.path.parent)
            return row
        row = model_row(bundle, detector)
        write_bytes(folder / row.file, bundle.model.data)
        self.follow(row, bundle.path.parent)
        if bundle.verifier is not None:  # which the manifest names
            shutil.copytree(bundle.verifier.path.parent, folder / VERIFY, dirs_exist_ok=True)
        write_json(folder / MODEL_ROW, row.to_dict())
        return row

    def follow(self, model: ModelRow, run: Path) -> bool:
        """Take the manifest of a model's run as the season's copy: what its thresholds were calibrated on.

        The settings that make the season's detections stay those of ``model.json``. Return whether the copy changed;
        not where the run has none, it is of another model, or names another second network than the season keeps.
        """
        theirs, own = run / MANIFEST, self.folder / MODELS / model.model / MANIFEST
        if not theirs.is_file() or model.sha256 not in (text := theirs.read_text(encoding="utf-8")):
            return False
        if own.is_file():
            old = own.read_text(encoding="utf-8")
            if old == text or _verify_of(old) != _verify_of(text):
                return False
        write_text(own, text)
        return True

    def set_detector(self, model: ModelRow, detector: DetectorConfig) -> ModelRow:
        """Keep other settings of the detector; the detections are to be made again (:mod:`cheep.season.tables`)."""
        if detector.stride_frames != model.stride_frames:
            raise SeasonError(
                f"{self.folder}: stride_frames={detector.stride_frames}: the season's scores are every "
                f"{model.stride_frames} columns; another stride needs another scan, in another season"
            )
        _check_gate(self.folder, model, detector)
        row = dataclasses.replace(model, detector=detector)
        write_json(self.folder / MODELS / model.model / MODEL_ROW, row.to_dict())
        return row

    def model_file(self, model: ModelRow) -> Path:
        """Return the ``.tflite`` of a model."""
        return self.folder / MODELS / model.model / model.file

    def bundle(self, model: ModelRow) -> ModelBundle:
        """Return the model ready to run, with the season's detector settings."""
        bundle = load_bundle(self.model_file(model))
        return dataclasses.replace(bundle, detector=model.detector)

    # -- recordings' own files ------------------------------------------------------------------

    def part_path(self, model: str, row: Recording) -> Path:
        """Return where a recording's scores lie: ``scores/model=M/site=S/date=D/RECORDING.parquet``."""
        site = _folder_name(row.site)
        folder = self.folder / SCORES / f"model={model}" / f"site={site}" / f"date={row.date}"
        return folder / f"{row.recording}.parquet"

    def parts(self, model: str | None = None) -> Iterator[Path]:
        """Yield the files of all recordings, sorted within each folder; of one model where it is named."""
        top = self.folder / SCORES
        for folder, inner, names in os.walk(top if model is None else top / f"model={model}"):
            inner.sort()
            for name in sorted(names):
                if name.endswith(".parquet") and not name.startswith("."):
                    yield Path(folder, name)

    # -- tables ---------------------------------------------------------------------------------

    def table_path(self, name: str) -> Path:
        """Return the file of a table: ``recordings``, ``detections`` or ``deployments``."""
        return self.folder / f"{name}.parquet"

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Return a whole table (empty before the first scan has ended); ``columns`` names some of it."""
        path = self.table_path(name)
        if not path.is_file():
            return _TABLES[name].empty_table()
        return pq.read_table(path, columns=None if columns is None else list(columns), partitioning=None)

    def recordings(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the table of recordings (:data:`cheep.season.schema.RECORDINGS`)."""
        return self.table("recordings", columns)

    def detections(self, model: str | None = None) -> pa.Table:
        """Return the table of detections; of one model (its whole id) where it is named."""
        found = self.table("detections")
        return found if model is None else found.filter(pa.compute.equal(found["model"], model))

    def scores(self, model: ModelRow, row: Recording | dict[str, Any]) -> np.ndarray:
        """Return the raw scores of one recording, (windows, labels) int8; SeasonError where they are missing."""
        row = row if isinstance(row, Recording) else recording_of(row)
        return read_scores(self.part_path(model.model, row), model)


def _check_gate(folder: Path, model: ModelRow, detector: DetectorConfig) -> None:
    """The scores that a season keeps depend on the gate before the network, and on a second network behind it."""
    if model.detector.verify != detector.verify:
        was, now = ("without a second network" if verify is None else f"with {verify.to_json()}" for verify in
                    (model.detector.verify, detector.verify))  # fmt: skip
        raise SeasonError(
            f"{folder}: holds scores of this network {was}, not {now}: which windows were verified cannot be changed "
            "afterwards; use another season"
        )
    if model.detector.gate != detector.gate:
        was, now = ("without a gate" if gate is None else f"with the gate {gate.to_json()}" for gate in
                    (model.detector.gate, detector.gate))  # fmt: skip
        raise SeasonError(
            f"{folder}: holds scores of this network {was}, not {now}: which windows were run cannot be changed "
            "afterwards; use another season"
        )


def _verify_of(manifest: str) -> Any:
    try:
        return (json.loads(manifest).get("detector") or {}).get("verify")
    except ValueError:  # a damaged copy names nothing, and may be replaced
        return None


def _folder_name(site: str) -> str:
    """A site as part of a folder's name, which readers of Parquet decode; a very long one is cut and stays distinct."""
    name = urllib.parse.quote(site, safe="")
    if len(name) <= _SITE_CHARS:
        return name
    cut = site
    while len(urllib.parse.quote(cut, safe="")) > _SITE_CHARS - 9:
        cut = cut[:-1]
    return f"{urllib.parse.quote(cut, safe='')}~{hashlib.sha256(site.encode()).hexdigest()[:8]}"


def model_row(bundle: ModelBundle, detector: DetectorConfig | None = None) -> ModelRow:
    """Return the row of a model; ``detector`` instead of the model's own settings."""
    return ModelRow(
        model=bundle.model.sha256[:_ID_CHARS],
        sha256=bundle.model.sha256,
        file=bundle.path.name,
        labels=bundle.labels,
        kind=bundle.scale.kind,
        scale=bundle.scale.scale,
        zero_point=bundle.scale.zero_point,
        stride_s=bundle.stride_s,
        window_s=bundle.features.window_s,
        stride_frames=bundle.detector.stride_frames,
        detector=detector or bundle.detector,
        features=bundle.features.to_dict(),
    )


def recording_of(values: dict[str, Any]) -> Recording:
    """Return the row of a recording from a mapping by column (times as datetime or ms)."""
    names = {field.name for field in dataclasses.fields(Recording)}
    out = {name: value for name, value in values.items() if name in names}
    for name in ("start_utc", "start_local"):
        if hasattr(out.get(name), "timestamp"):
            out[name] = pa.scalar(out[name], RECORDINGS.field(name).type).value
    return Recording(**out)


def write_part(path: Path, model: ModelRow, scores: np.ndarray, part: Part) -> None:
    """Write one recording's file, whole or not at all: scores (windows, labels) int8, and ``part`` beside them."""
    about = {
        "recording": dataclasses.asdict(part.row),
        "detections": [list(dataclasses.astuple(item)) for item in part.detections],
        "settings": part.settings,
    }
    schema = windows_schema(model.labels).with_metadata({_KEY: json.dumps(about, sort_keys=True)})
    n = len(scores)
    name = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([part.row.recording]))
    columns = [name, pa.array(np.arange(n, dtype=np.int32))]
    columns += [pa.array(np.ascontiguousarray(scores[:, i])) for i in range(len(model.labels))]
    write_table(path, pa.Table.from_arrays(columns, schema=schema))


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table of window scores as Parquet, whole or not at all."""
    with atomic_path(path) as partial:
        pq.write_table(
            table,
            partial,
            compression="zstd",
            use_dictionary=["recording"],
            column_encoding={"window": "DELTA_BINARY_PACKED"},
        )


def read_part(path: Path) -> Part:
    """Return what a recording's file says without reading its scores; SeasonError where it is damaged."""
    try:
        found = pq.read_metadata(path)
        about = json.loads(found.metadata[_KEY])
        row = Recording(**about["recording"])
        detections = tuple(Detection(*item) for item in about["detections"])
        return Part(row, detections, about["settings"], found.num_rows)
    except FileNotFoundError:
        raise SeasonError(f"{path}: missing; scan again ({SCAN_COMMAND})") from None
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise SeasonError(f"{path}: damaged ({error}); remove it and scan again ({SCAN_COMMAND})") from None


def read_scores(path: Path, model: ModelRow) -> np.ndarray:
    """Return the scores of a recording's file, (windows, labels) int8; SeasonError where it is damaged."""
    try:
        table = pq.read_table(path, columns=score_columns(model.labels), partitioning=None)
    except FileNotFoundError:
        raise SeasonError(f"{path}: missing; scan again ({SCAN_COMMAND})") from None
    except (pa.ArrowException, OSError) as error:
        raise SeasonError(f"{path}: damaged ({error}); remove it and scan again ({SCAN_COMMAND})") from None
    columns = [column.to_numpy() for column in table.columns]
    return np.stack(columns, axis=1) if table.num_rows else np.zeros((0, len(model.labels)), np.int8)
