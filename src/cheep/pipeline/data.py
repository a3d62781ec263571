"""The data step: recordings of CSV files or folders -> preprocessed audio and a manifest of patches, split."""

from __future__ import annotations

import csv
import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cheep.audio import int16_to_float, read_audio, write_wav
from cheep.config import FeatureConfig, SplitConfig
from cheep.config.base import nearest_name
from cheep.config.data import LABEL_SEPARATOR
from cheep.datasets.manifest import Manifest
from cheep.datasets.sources import Recording, recordings_in_csv, recordings_in_folder
from cheep.datasets.split import assign_splits, check_leaks
from cheep.errors import CheepError
from cheep.features.digests import sha256_of
from cheep.pipeline.mapping import feature_config
from cheep.pipeline.schema import FeatureExtraction, PipelineConfig, Preprocessing

GARBAGE = "garbage"
MANIFEST, QUANTIZATION_MANIFEST = "dataset.csv", "quantization.csv"


@dataclasses.dataclass(frozen=True)
class Listed:
    """A recording with its labels (several only with ``multi_label``) and the split that the settings demand, if "
    "any."""

    recording: Recording
    label: str
    split: str  # "", "train", "val", "test", "quantization"


def list_recordings(config: PipelineConfig) -> list[Listed]:
    """Return what the ``dataset`` section names, with garbage samples drawn and labels chosen.

    Raises
    ------
    CheepError
        A missing file, an unknown class (with the nearest one), no recordings.
    """
    data = config.dataset
    parts = [
        ("", data.training_csv_path, data.training_audio_path),
        ("val", data.validation_csv_path, data.validation_audio_path),
        ("test", data.test_csv_path, data.test_audio_path),
        ("quantization", data.quantization_csv_path, data.quantization_audio_path),
    ]
    rng = np.random.default_rng(config.general.global_seed if data.seed is None else data.seed)
    out: list[Listed] = []
    for split, table, folder in parts:
        if folder is None:
            continue
        found = _read(config, table, folder)
        if data.folds:
            found = [item for item in found if item.fold in data.folds]
        out += _labelled(config, found, split, rng, table or folder)
    if not out:
        raise CheepError("dataset: no recordings are left (class_names, folds); check the section")
    return out


def patch_starts(columns: int, patch_length: int, overlap: float, include_last: bool) -> list[int]:
    """Return the first column of each patch of a recording with ``columns`` columns.

    Patches lie ``round(patch_length * (1 - overlap))`` apart; what remains at the end is dropped, or (``include_last``)
    becomes a patch that ends with the recording. A recording shorter than one patch gives one (it is padded).
    """
    step = max(1, round(patch_length * (1 - overlap)))
    last = columns - patch_length
    if last <= 0:
        return [0]
    starts = list(range(0, last + 1, step))
    if include_last and starts[-1] < last:
        starts.append(last)
    return starts


def preprocess(pcm: np.ndarray, settings: Preprocessing) -> np.ndarray:
    """Return a recording as the settings want it, int16 mono (n,) at ``target_rate`` in and out."""
    least = round(settings.min_length * settings.target_rate)
    if settings.lengthen == "before":
        pcm = _repeat(pcm, least)
    if settings.top_db is not None:
        pcm = remove_silence(pcm, settings.top_db, settings.frame_length, settings.hop_length)
    if settings.lengthen == "after":
        pcm = _repeat(pcm, least)
    if settings.trim_last_second:
        pcm = pcm[: max(1, len(pcm) // settings.target_rate) * settings.target_rate]
    return pcm[: round(settings.max_length * settings.target_rate)]


def remove_silence(pcm: np.ndarray, top_db: float, frame_length: int, hop_length: int) -> np.ndarray:
    """Drop the hops whose frame (root mean square) lies more than ``top_db`` below the loudest; all-silent: "
    "unchanged."""
    x = int16_to_float(pcm).astype(np.float64)
    padded = np.pad(x**2, frame_length // 2)
    total = np.concatenate([[0.0], np.cumsum(padded)])
    starts = np.arange(0, max(1, len(padded) - frame_length + 1), hop_length)
    power = (total[np.minimum(starts + frame_length, len(padded))] - total[starts]) / frame_length
    if power.max() <= 0:
        return pcm
    keep = power > power.max() * 10 ** (-top_db / 10)
    kept = np.repeat(keep, hop_length)[: len(pcm)]
    return pcm[: len(kept)][kept]


def center_padding(pcm: np.ndarray, settings: FeatureExtraction) -> np.ndarray:
    """Return ``pcm`` with half an FFT before and after, so that frames lie centred as librosa's ``center=True``."""
    if not settings.center:
        return pcm
    half = settings.n_fft // 2
    mode: Any = settings.pad_mode if len(pcm) > half else "constant"
    return np.pad(pcm, half, mode=mode)


def build_data(
    config: PipelineConfig,
    listed: Sequence[Listed],
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write ``folder/audio/*.wav`` and ``folder/dataset.csv`` (and ``quantization.csv``)."""
    features = feature_config(config)
    audio = folder / "audio"
    audio.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for number, item in enumerate(listed):
        name = f"audio/{number:05d}-{re.sub('[^A-Za-z0-9._-]', '_', item.recording.path.stem)}.wav"
        pcm = preprocess(read_audio(item.recording.path, features.sample_rate_hz), config.preprocessing)
        pcm = center_padding(pcm, config.feature_extraction)
        write_wav(folder / name, pcm, features.sample_rate_hz)
        rows += _patches(item, name, len(pcm), features, config.feature_extraction)
        if progress:
            progress(number + 1, len(listed))
    main = [row for row in rows if row["split"] != "quantization"]
    _split(Manifest.from_rows(main, folder), config).write(folder / MANIFEST)
    other = [{**row, "split": "train"} for row in rows if row["split"] == "quantization"]
    if other:
        Manifest.from_rows(other, folder).write(folder / QUANTIZATION_MANIFEST)


def _patches(
    item: Listed, name: str, samples: int, features: FeatureConfig, settings: FeatureExtraction
) -> list[dict[str, Any]]:
    recording = item.recording
    common = {
        "path": name,
        "label": item.label,
        "recording": recording.recording,
        "recordist": recording.recordist,
        "licence": recording.licence,
        "attribution": recording.attribution,
        "split": item.split,
        "sha256": sha256_of(recording.path),
        "group": recording.group,
        "fold": recording.fold,
        "source": recording.path.name,
        "duration_s": features.window_s,
    }
    starts = patch_starts(
        features.frames_of(samples), settings.patch_length, settings.overlap, settings.include_last_patch
    )
    return [{**common, "start_s": round(start * features.hop_s, 6)} for start in starts]


def _split(manifest: Manifest, config: PipelineConfig) -> Manifest:
    """Fill the split of the rows that no CSV of its own has settled."""
    data = config.dataset
    fixed = manifest.column("split")
    folds = manifest.column("fold") if manifest.has("fold") else [""] * len(manifest)
    for name in ("test_folds", "validation_folds"):
        for fold in getattr(data, name):
            if fold not in folds:
                raise CheepError(f"dataset.{name}: fold {fold!r}: not in the CSV ({', '.join(sorted(set(folds)))})")
    splits = [
        given or ("test" if fold in data.test_folds else "val" if fold in data.validation_folds else "")
        for given, fold in zip(fixed, folds, strict=True)
    ]
    open_rows = np.array([not split for split in splits])
    needs_val = "val" not in splits
    seed = config.general.global_seed if data.seed is None else data.seed
    if open_rows.any():
        shares = SplitConfig(val=data.validation_split if needs_val else 0, test=data.test_split or 0, seed=seed)
        if shares.val or shares.test:
            drawn = assign_splits(manifest.select(open_rows), shares).column("split")
        else:
            drawn = ["train"] * int(open_rows.sum())
        for row, split in zip(np.flatnonzero(open_rows), drawn, strict=True):
            splits[row] = split
    manifest = manifest.with_column("split", splits)
    check_leaks(manifest)
    return manifest


def _read(config: PipelineConfig, table: str | None, folder: str) -> list[Recording]:
    data = config.dataset
    if table is None:
        return recordings_in_folder(folder)
    columns = {"group": data.group_column} if data.group_column else {}
    if not data.file_extension:
        return recordings_in_csv(table, folder, columns)
    return _with_extension(table, folder, columns, data.file_extension)


def _with_extension(table: str, folder: str, columns: dict[str, str], extension: str) -> list[Recording]:
    """Read a CSV whose file names may lack their ending."""
    import tempfile

    ending = extension if extension.startswith(".") else f".{extension}"
    with open(table, newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.reader(stream))
    names = [name.strip().lower() for name in rows[0]] if rows else []
    place = next((names.index(name) for name in ("filename", "file", "path", "fname") if name in names), None)
    if place is not None:
        for row in rows[1:]:
            if len(row) > place and not Path(row[place]).suffix:
                row[place] += ending
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / Path(table).name
        with copy.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows(rows)
        try:
            return recordings_in_csv(copy, folder, columns)
        except CheepError as error:
            raise CheepError(str(error).replace(str(copy), table)) from None


def _labelled(
    config: PipelineConfig, found: list[Recording], split: str, rng: np.random.Generator, where: str
) -> list[Listed]:
    data = config.dataset
    names: list[list[str]] = [
        [part.strip() for part in re.split("[,;]", item.label) if part.strip()] if data.multi_label else [item.label]
        for item in found
    ]
    known = sorted({name for parts in names for name in parts})
    for name in data.class_names:
        if name not in known and split in ("", "train"):
            raise CheepError(
                f"dataset.class_names: {name!r} is not in {where} ({', '.join(known)}){nearest_name(name, known)}"
            )
    wanted = set(data.class_names) or set(known)
    out = []
    garbage: dict[str, list[Recording]] = {}
    for item, parts in zip(found, names, strict=True):
        kept = sorted(part for part in parts if part in wanted)
        if kept or (data.multi_label and parts):
            out.append(Listed(item, LABEL_SEPARATOR.join(kept) if kept else "background", split))
        elif data.use_garbage_class:
            garbage.setdefault(item.label, []).append(item)
    for label in sorted(garbage):
        items = garbage[label]
        picked = rng.permutation(len(items))[: data.n_samples_per_garbage_class]
        out += [Listed(items[i], GARBAGE, split) for i in sorted(picked)]
    return out


def _repeat(pcm: np.ndarray, least: int) -> np.ndarray:
    if 0 < len(pcm) < least:
        return np.tile(pcm, -(-least // len(pcm)))[:least]
    return pcm
