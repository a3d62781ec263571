# SPDX-License-Identifier: MIT
"""The job of one recording: read, score, detect, write its file of the season. Whatever is wrong becomes its status."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from cheep.audio.remote import Status, copy_path, local_file, status_of, url_of
from cheep.datasets.recorders import read_facts
from cheep.device.offline import Heard, hear_file
from cheep.device.scoring import WindowScorer, runnable_backend, shared_scorer
from cheep.season.events import detections_of
from cheep.season.schema import (
    EMPTY,
    FAILED,
    LOCKED,
    OK,
    PARTIAL,
    SILENT,
    TRANSIENT,
    UNREADABLE,
    VANISHED,
    ModelRow,
    Recording,
    SeasonError,
    storable,
)
from cheep.season.sites import Placing, place
from cheep.season.store import Part, Season, read_part, write_part

RUNTIMES = ("compiled", "tflm")
_DIGEST_PLACES, _DIGEST_BYTES, _DIGEST_ENDS = 16, 4096, 1 << 16
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.ENODEV, errno.ENXIO)
_LOCKED = (errno.EACCES, errno.EPERM, errno.EBUSY, errno.EAGAIN)
_SHORT_S = 0.05  # less than this missing at the end is a matter of rounding


@dataclasses.dataclass(frozen=True)
class ScanSettings:
    """What every recording of a scan is done with."""

    season: str
    model: ModelRow
    placing: Placing = dataclasses.field(default_factory=Placing)
    runtime: str = RUNTIMES[0]


@dataclasses.dataclass(frozen=True)
class Item:
    """A file to scan: ``path`` (with ``/``) below ``folder``."""

    folder: str
    path: str

    @property
    def key(self) -> tuple[str, str]:
        """Folder and path as the tables have them."""
        return storable(self.folder), storable(self.path)

    def __str__(self) -> str:
        return url_of(self.source) or str(self.source)

    @property
    def source(self) -> Path:
        """Where it lies; of a URL, as :func:`cheep.audio.remote.url_of` understands it."""
        return Path(self.folder, self.path)

    @property
    def file(self) -> Path:
        """The file, or a copy of it where it lies in object storage; OSError where it cannot be had."""
        return local_file(self.source)


@dataclasses.dataclass(frozen=True)
class Scanned:
    """What became of a file.

    ``part`` is its file of the season; ``made``: that was written now (False: the season had it).
    """

    recording: str
    path: str
    status: str
    reason: str
    heard_s: float
    detections: int
    made: bool
    part: str
    guessed_zone: bool = False
    untimed: bool = False


def scan_recording(settings: ScanSettings, item: Item) -> Scanned:
    """Scan one file; a pure function from the file and the settings to one file of the season.

    Raises
    ------
    DiskError
        The season cannot be written.
    """
    season = Season(settings.season)
    try:
        status = status_of(item.source)
        if not status.st_size:
            return _finish(season, settings, _row(settings, item, status), EMPTY, "0 bytes")
        row = _row(settings, item, status, fast_digest(item.file, status.st_size))
    except OSError as error:
        kind, reason = _failure(error)
        return _finish(season, settings, _row(settings, item, None), kind, reason)
    known = season.part_path(settings.model.model, row)
    if known.is_file():
        with contextlib.suppress(SeasonError):  # damaged: it is made again
            part = read_part(known)
            if part.row.status not in TRANSIENT:
                return _told(known, part, made=False)
    return _finish(season, settings, *_listen(settings, item, row))


def failed_recording(settings: ScanSettings, item: Item, error: Exception) -> Scanned:
    """Keep a file whose job ended in ``error`` (a defect, a killed worker) as such; the next scan tries again."""
    try:
        row = _row(settings, item, status_of(item.source))
    except OSError:
        row = _row(settings, item, None)
    return _finish(Season(settings.season), settings, row, FAILED, f"{type(error).__name__}: {error}"[:400])


def fast_digest(path: Path, size: int) -> str:
    """Return a digest of a file's size, its ends and places between (all of a short file), hexadecimal.

    Two recordings of a microphone differ everywhere; reading all of an archive again would take as long as listening.
    """
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    with open(path, "rb") as stream:
        digest.update(stream.read(_DIGEST_ENDS))
        for i in range(_DIGEST_PLACES if size > 2 * _DIGEST_ENDS else 0):
            stream.seek(_DIGEST_ENDS + (size - 2 * _DIGEST_ENDS) * i // _DIGEST_PLACES)
            digest.update(stream.read(_DIGEST_BYTES))
        stream.seek(max(_DIGEST_ENDS, size - _DIGEST_ENDS))
        digest.update(stream.read(_DIGEST_ENDS))
    return digest.hexdigest()


def _row(settings: ScanSettings, item: Item, status: Status | os.stat_result | None, digest: str = "") -> Recording:
    """The row of a file before anything is heard. Without content, the folder is part of its id."""
    facts = read_facts(item.file if status else item.source)
    key = "\0".join([digest, item.path] if digest else ["", item.path, item.folder])
    where = place(settings.placing, facts, Path(item.folder), item.path)
    values: dict[str, Any] = dataclasses.asdict(where)
    values = {name: storable(value) if isinstance(value, str) else value for name, value in values.items()}
    folder, path = item.key
    return Recording(
        recording=hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest(),
        folder=folder,
        path=path,
        bytes=status.st_size if status else None,
        mtime_ns=status.st_mtime_ns if status else None,
        digest=digest,
        temperature_c=facts.temperature_c,
        battery_v=facts.battery_v,
        gain=facts.gain,
        reason=facts.problem,
        **values,
    )


@functools.lru_cache(maxsize=1)
def _scorer(season: str, model: str, runtime: str) -> WindowScorer:
    """What a worker listens with; kept for the next recording."""
    opened = Season(season)
    return shared_scorer(opened.bundle(opened.model(model)), runtime)


def prepared(settings: ScanSettings) -> ScanSettings:
    """Compile what the workers will load; return the settings with a runtime that takes the model."""
    season = Season(settings.season)
    backend = runnable_backend(season.bundle(settings.model), settings.runtime)
    return dataclasses.replace(settings, runtime=backend)


def _listen(settings: ScanSettings, item: Item, row: Recording) -> tuple[Recording, str, str, np.ndarray]:
    """Score a file as far as it can be read; return its row, status, reason and scores."""
    heard = hear_file(_scorer(settings.season, settings.model.model, settings.runtime), item.file)
    row = dataclasses.replace(row, length_s=heard.length_s, silent_s=heard.silent_s, noise_db=heard.noise_db)
    if heard.info is not None:
        info = heard.info
        row = dataclasses.replace(
            row, sample_rate_hz=info.sample_rate_hz, channels=info.channels, container=info.container
        )
    return row, *_status(item, row, heard), heard.scores


def _status(item: Item, row: Recording, heard: Heard) -> tuple[str, str]:
    info, error = heard.info, heard.error
    if error is not None:
        reason = str(error)
        kind = _why_not(item.file, error)
        return (PARTIAL if kind == UNREADABLE and row.length_s > 0 else kind), reason
    note = info.note if info is not None else ""
    reason = "; ".join(part for part in (row.reason, note) if part)
    if not row.length_s:
        return EMPTY, "no samples"
    if row.silent_s and row.silent_s >= row.length_s - _SHORT_S:
        return SILENT, "; ".join(part for part in (reason, "nothing but exact zeros") if part)
    promised_s = info.duration_s if info is not None else 0.0
    if promised_s and row.length_s < promised_s - _SHORT_S:
        there = f"the header promises {promised_s:.1f} s, {row.length_s:.1f} s could be decoded"
        return PARTIAL, "; ".join(part for part in (reason, there) if part)
    return (PARTIAL if info is not None and info.cut else OK), reason


def _why_not(path: Path, error: Exception) -> str:
    """The status of a file that could not be read: is it there, and may it be read?"""
    if isinstance(error, OSError):
        return _failure(error)[0]
    try:
        with open(path, "rb") as stream:
            head = stream.read(_DIGEST_ENDS)
    except OSError as found:
        return _failure(found)[0]
    if "none is installed" in str(error):  # ffmpeg: the fault of this computer
        return FAILED
    return EMPTY if not head or "holds no samples" in str(error) else UNREADABLE


def _failure(error: OSError) -> tuple[str, str]:
    reason = error.strerror or str(error)
    if error.errno in _GONE:
        return VANISHED, reason
    return LOCKED if error.errno in _LOCKED else UNREADABLE, reason


def _finish(
    season: Season, settings: ScanSettings, row: Recording, status: str, reason: str, scores: np.ndarray | None = None
) -> Scanned:
    model = settings.model
    scores = np.zeros((0, len(model.labels)), np.int8) if scores is None else scores
    row = dataclasses.replace(row, status=status, reason=_plain(reason, row))
    part = Part(row, detections_of(model, row, scores), model.settings, len(scores))
    path = season.part_path(model.model, row)
    write_part(path, model, scores, part)
    return _told(path, part, made=True)


def _plain(reason: str, row: Recording) -> str:
    """A reason on one line, without the file's name, which has its own columns."""
    return " ".join(storable(reason).replace(f"{copy_path(Path(row.folder, row.path))}:", "").split())


def _told(path: Path, part: Part, made: bool) -> Scanned:
    row = part.row
    return Scanned(
        recording=row.recording,
        path=row.path,
        status=row.status,
        reason=row.reason,
        heard_s=row.length_s - row.silent_s,
        detections=len(part.detections),
        made=made,
        part=str(path),
        guessed_zone=row.start_utc is not None and row.utc_offset_min is None,
        untimed=row.start_utc is None,
    )
