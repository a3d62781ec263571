# SPDX-License-Identifier: MIT
"""A scan: folders in, a season out. Taken up again where it was interrupted, whatever interrupted it."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from cheep.audio import AUDIO_SUFFIXES, list_audio
from cheep.audio.folders import is_file, is_folder
from cheep.audio.remote import status_of, url_of
from cheep.config import DetectorConfig
from cheep.device.bundle import ModelBundle
from cheep.errors import CheepError
from cheep.files import DiskError
from cheep.parallel import map_each
from cheep.season.scan import Item, Scanned, ScanSettings, failed_recording, prepared, scan_recording
from cheep.season.schema import DUPLICATE, TRANSIENT, ModelRow, Recording
from cheep.season.score_logs import add_score_log, is_score_log, logs_below
from cheep.season.sites import Placing
from cheep.season.store import Season, read_part, recording_of
from cheep.season.tables import make_tables, tables_stale


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a scan finds to do: files that are new or have changed, those that the season has, what was passed over."""

    items: tuple[Item, ...]
    known: int
    passed_over: tuple[str, ...]  # one phrase per folder
    lost_folders: tuple[Path, ...]  # that could not be listed
    other_settings: bool = False  # the season has this model with other settings of the detector, which stay


@dataclasses.dataclass(frozen=True)
class Listed:
    """What lies in folders: audio files, one phrase per folder on what was passed over, folders without a list, and
    devices' score logs."""

    items: tuple[Item, ...]
    passed_over: tuple[str, ...]
    lost_folders: tuple[Path, ...]
    score_logs: tuple[Item, ...] = ()


@dataclasses.dataclass
class ScanResult:
    """What a scan did."""

    scanned: list[Scanned] = dataclasses.field(default_factory=list)
    known: int = 0

    @property
    def counts(self) -> collections.Counter[str]:
        """Recordings by status."""
        return collections.Counter(item.status for item in self.scanned)

    @property
    def hours(self) -> float:
        """Hours of sound that were heard."""
        return sum(item.heard_s for item in self.scanned if item.made) / 3600


def scan_folders(
    season: Season,
    folders: Sequence[Path] | Listed,
    bundle: ModelBundle,
    *,
    placing: Placing | None = None,
    runtime: str = "compiled",
    jobs: int | None = None,
    detector: DetectorConfig | None = None,
    on_plan: Callable[[Plan], None] | None = None,
    on_done: Callable[[int, int, Scanned], None] | None = None,
) -> ScanResult:
    """Scan the recordings of ``folders`` (and files) that the season does not have, and make its tables.

    Parameters
    ----------
    folders
        Folders and files, or what :func:`list_folders` found in them.
    bundle
        The detector; the season keeps it.
    placing
        Sites, deployments and time zone.
    runtime
        ``"compiled"`` (TFLM where the model cannot be compiled) or ``"tflm"``; the same bits.
    detector
        Settings in place of the model's, for a model that the season does not have yet.
    on_plan, on_done
        Called with the plan, and with (done, total, what became of it) after each file.

    Raises
    ------
    CheepError
        A folder that is not there, no audio in any, another scan in the same season, a model that cannot run, a full
        disk. What is wrong with a recording is kept as its status.
    """
    listed = folders if isinstance(folders, Listed) else list_folders(folders)
    with season.writing():
        model = season.add_model(bundle, detector)
        settings = prepared(ScanSettings(str(season.folder), model, placing or Placing(), runtime))
        old = _attempts(season, model)
        plan = make_plan(listed, old)
        if model.detector != (detector or bundle.detector):
            plan = dataclasses.replace(plan, other_settings=True)
        if on_plan is not None:
            on_plan(plan)
        result = ScanResult(known=plan.known)
        work = functools.partial(scan_recording, settings)
        outcomes = map_each(work, plan.items, jobs=jobs)
        for item, outcome in zip(plan.items, outcomes, strict=True):
            if isinstance(outcome.error, DiskError):
                raise outcome.error
            done = failed_recording(settings, item, outcome.error) if outcome.error else outcome.value
            _forget(season, model, old.get(item.key), done)
            result.scanned.append(done)
            if on_done is not None:
                on_done(len(result.scanned), len(plan.items), done)
        for item in listed.score_logs:
            for done in add_score_log(season, model, settings.placing, item):
                result.known += not done.made
                if done.made:
                    result.scanned.append(done)
        make_tables(season)
        result.scanned = _as_tabled(season, result.scanned)
    return result


def _as_tabled(season: Season, scanned: list[Scanned]) -> list[Scanned]:
    """Return what was scanned with the status that the tables give it: copies of other recordings do not count."""
    names = {item.recording for item in scanned}
    status = {
        row["recording"]: (row["status"], row["reason"])
        for batch in season.recordings(["recording", "status", "reason"]).to_batches(max_chunksize=4096)
        for row in batch.to_pylist()
        if row["status"] == DUPLICATE and row["recording"] in names
    }
    out = []
    for item in scanned:
        if item.recording in status:
            now, reason = status[item.recording]
            item = dataclasses.replace(item, status=now, reason=reason, heard_s=0.0, detections=0)
        out.append(item)
    return out


@dataclasses.dataclass(frozen=True)
class _Attempt:
    """What the season knows of a file: its state then, and, where it is to be tried again, its file in the season."""

    states: tuple[tuple[int | None, int | None], ...]
    again: Path | None


def _attempts(season: Season, model: ModelRow) -> dict[tuple[str, str], _Attempt]:
    """Return what the season knows of each file, by folder and path; from the table where that is fresh."""
    known: dict[tuple[str, str], _Attempt] = {}
    rows = (read_part(path).row for path in season.parts(model.model))
    for row in rows if tables_stale(season) else _tabled(season, model):
        key = (row.folder, row.path)
        before = known.get(key, _Attempt((), None))
        if row.status in TRANSIENT:
            known[key] = dataclasses.replace(before, again=season.part_path(model.model, row))
        else:
            known[key] = dataclasses.replace(before, states=(*before.states, (row.bytes, row.mtime_ns)))
    return known


def _tabled(season: Season, model: ModelRow) -> Iterator[Recording]:
    """What the table of recordings says of those that ``model`` has scored."""
    names = ["recording", "folder", "path", "site", "bytes", "mtime_ns", "start_local", "status", "models"]
    for batch in season.recordings(names).to_batches(max_chunksize=4096):
        for values in batch.to_pylist():
            if model.model in values["models"]:
                yield recording_of(values)


def list_folders(folders: Sequence[Path]) -> Listed:
    """List the audio of folders and files.

    Raises
    ------
    CheepError
        One is not there, or there is no audio in any.
    """
    items: dict[tuple[str, str], Item] = {}
    logs: dict[tuple[str, str], Item] = {}
    passed: list[str] = []
    lost_folders: list[Path] = []
    for folder in folders:
        for item in _listed(Path(folder), passed, lost_folders):
            (logs if is_score_log(item.source) else items).setdefault(item.key, item)
    if not items and not logs and not lost_folders:
        there = f" (passed over: {'; '.join(passed)})" if passed else ""
        where = ", ".join(str(folder) for folder in folders)
        raise CheepError(f"{where}: no recordings, such as .wav or .flac{there}; check the path, unpack archives")
    return Listed(tuple(items.values()), tuple(passed), tuple(lost_folders), tuple(logs.values()))


def make_plan(listed: Listed, known: dict[tuple[str, str], _Attempt]) -> Plan:
    """Return what is to be done: not what the season has as it is."""
    items: list[Item] = []
    for item in listed.items:
        before = known.get(item.key)
        if before is None or _state(item.source) not in before.states:
            items.append(item)
    return Plan(tuple(items), len(listed.items) - len(items), listed.passed_over, listed.lost_folders)


def _listed(folder: Path, passed: list[str], lost_folders: list[Path]) -> Iterator[Item]:
    url = url_of(folder)
    if is_file(folder):
        yield Item(url.rpartition("/")[0] if url else _place(folder.parent), folder.name)
        return
    if not is_folder(folder):
        raise CheepError(f"{folder}: no such file or folder; check the path (is the card in?)")
    found = list_audio(folder)
    logs = [] if url else logs_below(folder)
    for path in logs:
        found.others -= collections.Counter([path.suffix.lower()])
    if found.passed_over():
        passed.append(f"{folder}: {found.passed_over()}")
    lost = [path for path in found.lost if path.suffix.lower() in AUDIO_SUFFIXES]
    lost_folders += [path for path in found.lost if path not in lost]
    for path in sorted([*found.audio, *lost, *logs]):
        yield Item(url or _place(folder), path.relative_to(folder).as_posix())


def _place(folder: Path) -> str:
    """Return the one path that a folder is known by, also where it is named with ``..``."""
    return str(folder.resolve() if ".." in folder.parts else folder.absolute())


def _state(path: Path) -> tuple[int, int] | None:
    try:
        status = status_of(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _forget(season: Season, model: ModelRow, before: _Attempt | None, done: Scanned) -> None:
    """Remove the file of an attempt that has been made again, with another outcome."""
    if before is None or before.again is None or before.again == Path(done.part):
        return
    with contextlib.suppress(OSError):
        before.again.unlink()


def problems(scanned: Iterable[Scanned]) -> list[Scanned]:
    """Return the files of which something is to be said."""
    return [item for item in scanned if item.status != "ok" or item.reason]
