# SPDX-License-Identifier: MIT
"""The tables of a season, made from the recordings' files: the same files give the same bytes, in bounded memory."""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cheep.files import atomic_path, write_text
from cheep.parallel import map_each
from cheep.season.events import detect_again
from cheep.season.schema import (
    DEPLOYMENTS,
    DETECTIONS,
    DUPLICATE,
    RECORDINGS,
    REPLACED,
    TRANSIENT,
    USABLE,
    Recording,
)
from cheep.season.store import Season, read_part

_STATE = ".tables"  # what the tables were made of
_GROUP_ROWS = 1 << 16  # rows of a row group; also what is held in memory
_NAMES = tuple(field.name for field in dataclasses.fields(Recording))


@dataclasses.dataclass
class _Known:
    """A recording, the models that scored it, and the file that speaks for it."""

    row: Recording
    models: dict[str, Path]


def make_tables(season: Season, progress: Callable[[int, int], None] | None = None) -> bool:
    """Write the tables of a season anew, if its recordings' files or settings have changed; return whether.

    Detections that were made with other settings of the detector are made again first. The caller holds the lock.
    """
    state = _state(season)
    kept = season.folder / _STATE
    if kept.is_file() and kept.read_text(encoding="utf-8") == state:
        return False
    for model in season.models():
        work = functools.partial(detect_again, model)
        for outcome in map_each(work, _stale(season.parts(model.model), model.settings), progress=progress):
            if outcome.error is not None:
                raise outcome.error
    known = _sorted(_resolved(_collect(season)))
    _write(season.table_path("recordings"), RECORDINGS, (_recording_values(item) for item in known))
    _write(season.table_path("detections"), DETECTIONS, _detection_values(known))
    _write(season.table_path("deployments"), DEPLOYMENTS, _deployment_values(item.row for item in known))
    write_text(kept, _state(season))
    return True


def tables_stale(season: Season) -> bool:
    """Whether the tables are older than the files that they are made from."""
    kept = season.folder / _STATE
    return not kept.is_file() or kept.read_text(encoding="utf-8") != _state(season)


def _stale(parts: Iterable[Path], settings: str) -> list[Path]:
    return [path for path in parts if read_part(path).settings != settings]


def _state(season: Season) -> str:
    """Return a digest of all files that the tables are made from: names, sizes, times."""
    digest = hashlib.sha256()
    for path in season.parts():
        status = path.stat()
        digest.update(f"{path.relative_to(season.folder)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    for model in season.models():
        digest.update(f"{model.model}\0{model.settings}\n".encode())
    digest.update(f"{RECORDINGS}\n".encode())  # a later version may have more columns
    for name in ("recordings", "detections", "deployments"):
        digest.update(f"{name} {season.table_path(name).is_file()}\n".encode())
    return digest.hexdigest() + "\n"


def _collect(season: Season) -> list[_Known]:
    """One entry per recording: its row is that of its first model, by id."""
    found: dict[str, _Known] = {}
    for path in season.parts():
        row = read_part(path).row
        model = path.relative_to(season.folder).parts[1].removeprefix("model=")
        known = found.setdefault(row.recording, _Known(row, {}))
        known.models.setdefault(model, path)
    return list(found.values())


def _resolved(known: list[_Known]) -> list[_Known]:
    """Mark what another recording stands for: copies, earlier states of a file; drop attempts that came to nothing."""
    by_file: dict[tuple[str, str], list[_Known]] = collections.defaultdict(list)
    for item in known:
        by_file[item.row.folder, item.row.path].append(item)
    left = []
    for items in by_file.values():
        lasting = [item for item in items if item.row.status not in TRANSIENT] or items[:1]
        by_start: dict[Any, list[_Known]] = collections.defaultdict(list)
        for item in lasting:
            by_start[item.row.start_utc].append(item)
        by_start.pop(None, None)  # cards whose files are named alike, maybe
        for same in by_start.values():
            same.sort(key=lambda item: (item.row.mtime_ns or 0, item.row.recording))
            for item in same[:-1]:
                _mark(item, REPLACED, "the file has been scanned again since it changed")
        left += lasting
    first: dict[str, _Known] = {}
    for item in _sorted(left):
        if item.row.digest and item.row.status in USABLE:
            known_as = first.setdefault(item.row.digest, item)
            if known_as is not item:
                _mark(item, DUPLICATE, f"the same content as {known_as.row.path} ({known_as.row.recording})")
    return left


def _mark(item: _Known, status: str, reason: str) -> None:
    item.row = dataclasses.replace(item.row, status=status, reason=reason)


def _sorted(known: list[_Known]) -> list[_Known]:
    def place(item: _Known) -> tuple:
        row = item.row
        start = row.start_utc
        return row.site, start is None, start or 0, row.path, row.folder, row.recording

    return sorted(known, key=place)


def _recording_values(item: _Known) -> dict[str, Any]:
    return {**{name: getattr(item.row, name) for name in _NAMES}, "models": sorted(item.models)}


def _detection_values(known: list[_Known]) -> Iterator[dict[str, Any]]:
    for item in known:
        row = item.row
        if row.status not in USABLE:
            continue
        for model, path in sorted(item.models.items()):
            for found in read_part(path).detections:
                ms = round(1000 * found.start_s)
                yield {
                    **dataclasses.asdict(found),
                    "model": model,
                    "recording": row.recording,
                    "site": row.site,
                    "start_utc": None if row.start_utc is None else row.start_utc + ms,
                    "start_local": None if row.start_local is None else row.start_local + ms,
                }


def _deployment_values(rows: Iterable[Recording]) -> Iterator[dict[str, Any]]:
    stays: dict[tuple[str, str], list[Recording]] = collections.defaultdict(list)
    for row in rows:
        if row.status in USABLE:
            stays[row.site, row.deployment].append(row)
    for (site, deployment), stay in sorted(stays.items()):
        starts = [row.start_utc for row in stay if row.start_utc is not None]
        ends = [row.start_utc + round(1000 * row.length_s) for row in stay if row.start_utc is not None]
        yield {
            "deployment": deployment,
            "site": site,
            "device": _most(row.device for row in stay) or "",
            "from_utc": min(starts, default=None),
            "to_utc": max(ends, default=None),
            "latitude": _most(row.latitude for row in stay),
            "longitude": _most(row.longitude for row in stay),
            "gain": _most(row.gain for row in stay) or "",
            "sample_rate_hz": _most(row.sample_rate_hz for row in stay),
            "recordings": len(stay),
            "hours": sum(row.length_s - row.silent_s for row in stay) / 3600,
        }


def _most(values: Iterable[Any]) -> Any:
    """The commonest value that is known; of several the smallest."""
    counts = collections.Counter(value for value in values if value is not None and value != "")
    return min(counts, key=lambda value: (-counts[value], value)) if counts else None


def _write(path: Path, schema: pa.Schema, rows: Iterable[dict[str, Any]]) -> None:
    with atomic_path(path) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        group: list[dict[str, Any]] = []
        for row in rows:
            group.append(row)
            if len(group) == _GROUP_ROWS:
                writer.write_table(pa.Table.from_pylist(group, schema))
                group.clear()
        if group:
            writer.write_table(pa.Table.from_pylist(group, schema))
