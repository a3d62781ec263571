# SPDX-License-Identifier: MIT
"""Download recordings so that nothing half-written looks whole and nothing is fetched twice.

A recording is done when its converted file and its note in ``.xeno-canto/done`` exist. Both are written to a
temporary name and renamed, the note first. Everything else (``metadata.csv``, ``attribution.csv``, ``NOTICE.txt``)
is made again from the notes.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from pydantic import Field
from requests import Response

from cheep.audio import Resampler, float_to_int16, int16_to_float, iter_audio, probe
from cheep.config import ActivityConfig, Settings
from cheep.datasets.activity import LevelMeter
from cheep.datasets.bands import share_above
from cheep.datasets.credits import notice_text
from cheep.datasets.web import Fetcher, Permanent, Transient, blocks
from cheep.datasets.xeno_canto import XcRecording
from cheep.errors import CheepError
from cheep.features.digests import sha256_of
from cheep.files import DiskError, atomic_path, sweep, write_csv, write_text
from cheep.locks import lock

log = logging.getLogger(__name__)

STATE = ".xeno-canto"
_UNREACHABLE = 8  # recordings in a row that the network failed: the server is down

METADATA = (
    *("file", "label", "recording", "recordist", "licence", "attribution", "source", "species", "english", "also"),
    *("country", "locality", "latitude", "longitude", "date", "time", "type", "quality", "length_s"),
    *("original_rate_hz", "energy_above", "url", "original_sha256", "sha256", "remarks"),
)

#: What a note must hold to count: a recording whose note lacks any of it is fetched again.
_FACTS = frozenset({"length_s", "original_rate_hz", "original_sha256", "sha256", "band_edges_hz", "band_energy"})


class DownloadConfig(Settings):
    """What is kept of a recording, and how many are fetched side by side."""

    sample_rate_hz: int = Field(16000, ge=2000, le=96000)  # what is thrown away here no choice brings back
    channels: int = Field(1, ge=1, le=2, description="1: mono; 2: the channels of the original")
    container: str = Field("flac", pattern="^(flac|wav)$")
    keep_originals: bool = False
    label_by: str = Field("scientific", pattern="^(scientific|english)$")
    max_per_species: int = Field(0, ge=0)
    workers: int = Field(4, ge=1, le=8)
    length_tolerance_s: float = Field(1.5, ge=0, description="xeno-canto rounds to whole seconds; or 3 %")
    file_tries: int = Field(4, ge=1, description="fetches of one file whose content fails the checks")


@dataclasses.dataclass
class DownloadResult:
    """Done and failed recordings (name -> reason), and what was fetched in this run."""

    done: list[str]
    failed: dict[str, str]
    fetched: int
    bytes: int


class _BadContent(Transient):
    """The file arrived and is not what it should be: fetched anew, a few times."""


def slug(text: str) -> str:
    """Return a folder name for a species: lower case letters, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "unknown"


def choose(recordings: Iterable[XcRecording], most: int) -> list[XcRecording]:
    """Return at most ``most`` recordings per species (0: all): best quality first, recordists in turn."""
    by_species: dict[str, list[XcRecording]] = {}
    for recording in recordings:
        by_species.setdefault(recording.species, []).append(recording)
    chosen: list[XcRecording] = []
    for species in sorted(by_species):
        rows = sorted(by_species[species], key=lambda row: (row.quality or "F", row.number))
        if most and len(rows) > most:
            turn: dict[str, int] = {}
            ranked = []
            for row in rows:
                turn[row.recordist] = turn.get(row.recordist, -1) + 1
                ranked.append((turn[row.recordist], row.quality or "F", row.number, row))
            rows = [item[-1] for item in sorted(ranked, key=lambda item: item[:3])[:most]]
        chosen += rows
    return sorted(chosen, key=lambda row: (row.species, row.number))


class Downloader:
    """Fetches recordings into ``folder``.

    Parameters
    ----------
    folder
        ``LABEL/XC123.flac``, ``metadata.csv`` and the rest are written here.
    fetcher
        The polite client.
    config
        What is kept.
    progress
        Called after every recording with (done, total, how fast it goes).
    """

    def __init__(
        self,
        folder: Path | str,
        fetcher: Fetcher,
        config: DownloadConfig,
        progress: Callable[[int, int, str], None] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.fetcher = fetcher
        self.config = config
        self._progress = progress
        self._fetched = 0
        self._bytes = 0
        for sub in ("", STATE, f"{STATE}/done", f"{STATE}/incoming"):
            (self.folder / sub).mkdir(parents=True, exist_ok=True)

    def run(self, recordings: Sequence[XcRecording]) -> DownloadResult:
        """Fetch what is missing; one bad recording does not stop the others.

        Raises
        ------
        CheepError
            The disk is full, the server cannot be reached at all, or another process is filling the folder.
        """
        (self.folder / STATE).mkdir(parents=True, exist_ok=True)
        with lock(self.folder / STATE / "lock", str(self.folder), "choose another folder (--output DIR)"):
            for folder in (self.folder, *(path for path in self.folder.rglob("*") if path.is_dir())):
                sweep(folder)
            return self._run(recordings)

    def _run(self, recordings: Sequence[XcRecording]) -> DownloadResult:
        failed: dict[str, str] = {}
        waiting: list[XcRecording] = []
        done = unreachable = 0
        for row in recordings:
            if not row.file_url:
                failed[row.name] = "restricted species: xeno-canto withholds the audio"
            elif self._is_done(row):
                done += 1
            else:
                waiting.append(row)
        self.write_lists(recordings, failed)
        last_written = begin = time.monotonic()
        pool = concurrent.futures.ThreadPoolExecutor(self.config.workers)
        try:
            futures = {pool.submit(self._one, row): row for row in waiting}
            for future in concurrent.futures.as_completed(futures):
                row = futures[future]
                reason = future.result()
                if reason:
                    failed[row.name] = reason
                    log.warning("%s: %s", row.name, reason)
                    unreachable = unreachable + 1 if reason.startswith("gave up") else 0
                    if unreachable >= _UNREACHABLE:
                        raise CheepError(f"{unreachable} recordings in a row: {reason}")
                else:
                    done += 1
                    unreachable = 0
                if time.monotonic() - last_written > 30:
                    self.write_lists(recordings, failed)
                    last_written = time.monotonic()
                if self._progress is not None:
                    passed_s = max(time.monotonic() - begin, 1e-3)
                    self._progress(done + len(failed), len(recordings), f"{self._bytes / passed_s / 1e3:.0f} kB/s")
        except BaseException:
            self.fetcher.stop.set()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        self.write_lists(recordings, failed)
        names = [row.name for row in recordings if row.name not in failed]
        return DownloadResult(names, failed, self._fetched, self._bytes)

    # -- one recording ---------------------------------------------------------------------

    def target(self, row: XcRecording) -> Path:
        """Return where the converted recording lies."""
        name = row.english if self.config.label_by == "english" and row.english else row.species
        return self.folder / slug(name) / f"{row.name}.{self.config.container}"

    def _note_path(self, row: XcRecording) -> Path:
        return self.folder / STATE / "done" / f"{row.name}.json"

    def _note(self, row: XcRecording) -> dict[str, Any] | None:
        try:
            note = json.loads(self._note_path(row).read_bytes())
        except (OSError, ValueError):
            return None
        whole = isinstance(note, dict) and note.keys() >= _FACTS and note.get("form") == self._form()
        return note if whole else None

    def _form(self) -> dict[str, Any]:
        c = self.config
        return {"sample_rate_hz": c.sample_rate_hz, "channels": c.channels, "container": c.container}

    def _is_done(self, row: XcRecording) -> bool:
        return self.target(row).is_file() and self._note(row) is not None

    def _one(self, row: XcRecording) -> str:
        """Fetch and convert; return why it failed, or an empty string."""
        tries = 0
        gone = 0

        def once() -> None:
            nonlocal tries, gone
            try:
                self._fetch_and_convert(row)
            except _BadContent as error:
                tries += 1
                if tries >= self.config.file_tries:
                    raise Permanent(f"{error} (fetched {tries} times)") from None
                raise
            except Permanent as error:
                # a 404 may come from one broken mirror: asked again once, later
                gone += 1
                if error.status == 404 and gone < 3:
                    raise Transient(str(error)) from None
                raise

        try:
            self.fetcher.stubbornly(once, row.name)
        except DiskError:
            raise
        except CheepError as error:
            return str(error).removeprefix(f"{row.name}: ")
        return ""

    def _fetch_and_convert(self, row: XcRecording) -> None:
        original = self.folder / "originals" / f"{row.name}{row.suffix}"
        part = self.folder / STATE / "incoming" / f"{row.name}{row.suffix}"
        if original.is_file():
            source = original
        else:
            self._fetch(row, part)
            source = part
        target = self.target(row)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_path(target) as converted:
                facts = self._convert(source, converted, row)
                if source is part and self.config.keep_originals:
                    original.parent.mkdir(exist_ok=True)
                    _sync_and_rename(part, original)
                note = {"form": self._form(), **facts, "suffix": row.suffix}
                write_text(self._note_path(row), json.dumps(note, sort_keys=True, indent=1))
        except _BadContent as error:
            source.unlink(missing_ok=True)  # whatever it is, it is not the recording
            raise _BadContent(str(error).replace(str(source), row.name + row.suffix)) from None
        except (OSError, soundfile.LibsndfileError) as error:
            raise _disk_error(error, target) from None
        part.unlink(missing_ok=True)

    def _fetch(self, row: XcRecording, part: Path) -> None:
        """Download into ``part``, going on where an earlier attempt broke off."""
        have = part.stat().st_size if part.is_file() else 0
        try:
            # as it is: a packed body has another length, and no place to go on from
            asked = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
            response = self.fetcher.open(row.file_url, asked)
        except Permanent as error:
            if error.status == 416:
                if error.content_range == f"bytes */{have}":
                    return  # it was complete when the last run was stopped
                part.unlink(missing_ok=True)
                raise Transient("partial file does not fit") from None
            raise
        with response:
            length = response.headers.get("Content-Length")
            if response.status_code == 206:
                span = re.fullmatch(r"bytes ([0-9]+)-[0-9]+/([0-9]+)", response.headers.get("Content-Range", ""))
                if not span or int(span.group(1)) != have:
                    part.unlink(missing_ok=True)
                    raise Transient("the server sent another part than asked for")
                expected: int | None = int(span.group(2))
            else:
                have = 0
                expected = int(length) if length and length.isdigit() else None
            if "text/html" in response.headers.get("Content-Type", ""):
                raise Transient("an HTML page instead of audio (overloaded?)")
            size = self._receive(response, part, have, expected)
        if expected is not None and size != expected:
            raise Transient(f"received {size} of {expected} bytes")
        self._fetched += 1

    def _receive(self, response: Response, part: Path, have: int, expected: int | None) -> int:
        """Append the body to the ``have`` bytes of ``part``; return the bytes that it has then."""
        limit_s = max(120.0, 4 * self.fetcher.politeness.timeout_s, (expected or 0) / 2000)
        begin = time.monotonic()
        size = have
        try:
            with open(part, "ab" if have else "wb", buffering=0) as stream:
                for block in blocks(response):
                    stream.write(block)
                    size += len(block)
                    self._bytes += len(block)
                    if self.fetcher.stop.is_set():
                        raise Permanent("stopped")
                    if time.monotonic() - begin > limit_s:
                        raise Transient(f"too slow: {size - have} bytes in {limit_s:.0f} s")
        except OSError as error:  # of the disk: those of the network are Transient here
            raise _disk_error(error, part) from None
        return size

    def _convert(self, source: Path, converted: Path, row: XcRecording) -> dict[str, Any]:
        """Decode all of ``source``, check its length, write it converted; return what was measured."""
        c = self.config
        try:
            info = probe(source)
        except CheepError as error:
            raise _BadContent(str(error)) from None
        meter = LevelMeter(info.sample_rate_hz, ActivityConfig())
        samples = 0
        channels = min(c.channels, info.channels)
        with soundfile.SoundFile(
            str(converted), "w", c.sample_rate_hz, channels, "PCM_16", format=c.container.upper()
        ) as out:
            for mono, block in _blocks(source, info.sample_rate_hz, c.sample_rate_hz, channels):
                samples += len(mono)
                meter.push(mono)
                out.write(block)
        length_s = samples / info.sample_rate_hz
        if row.length_s is not None and abs(length_s - row.length_s) > max(c.length_tolerance_s, 0.03 * row.length_s):
            raise _BadContent(f"lasts {length_s:.1f} s, xeno-canto says {row.length_s:g} s: truncated or another file")
        edges, energy = meter.band_energy()
        return {  # _FACTS
            "length_s": round(length_s, 3),
            "original_rate_hz": info.sample_rate_hz,
            "original_sha256": sha256_of(source),
            "sha256": sha256_of(converted),
            "band_edges_hz": [round(float(edge), 1) for edge in edges],
            "band_energy": [round(float(value), 4) for value in energy],
        }

    # -- lists -----------------------------------------------------------------------------

    def rows(self, recordings: Sequence[XcRecording]) -> list[dict[str, Any]]:
        """Return the metadata of every recording that is done."""
        rows = []
        for row in recordings:
            note = self._note(row) if row.file_url and self.target(row).is_file() else None
            if note is None:
                continue
            target = self.target(row)
            above = share_above(note["band_edges_hz"], note["band_energy"], self.config.sample_rate_hz / 2)
            full = note["original_rate_hz"] >= 1.4 * self.config.sample_rate_hz
            rows.append(
                {
                    "file": f"{target.parent.name}/{target.name}",
                    "label": target.parent.name,
                    "recording": row.name,
                    "recordist": row.recordist,
                    "licence": row.licence,
                    "attribution": row.attribution,
                    "source": "xeno-canto",
                    "species": row.species,
                    "english": row.english,
                    "also": ";".join(row.also),
                    "country": row.country,
                    "locality": row.locality,
                    "latitude": row.latitude,
                    "longitude": row.longitude,
                    "date": row.date,
                    "time": row.time,
                    "type": row.sound_type,
                    "quality": row.quality,
                    "length_s": note["length_s"],
                    "original_rate_hz": note["original_rate_hz"],
                    "energy_above": f"{above:.3f}" if full else "",
                    "url": row.url,
                    "original_sha256": note["original_sha256"],
                    "sha256": note["sha256"],
                    "remarks": row.remarks,
                }
            )
        return sorted(rows, key=lambda item: (item["label"], len(item["recording"]), item["recording"]))

    def write_lists(self, recordings: Sequence[XcRecording], failed: dict[str, str]) -> None:
        """Write metadata.csv, annotations.csv, attribution.csv, NOTICE.txt and problems.csv, each whole."""
        rows = self.rows(recordings)
        write_csv(self.folder / "metadata.csv", METADATA, rows)
        credit = ("file", "recording", "recordist", "licence", "url", "attribution")
        write_csv(self.folder / "attribution.csv", credit, rows)
        write_text(self.folder / "NOTICE.txt", notice_text(rows))
        write_csv(self.folder / "problems.csv", ("recording", "reason"), sorted(failed.items()))
        files = {row["recording"]: row["file"] for row in rows}
        boxes = [
            (files[row.name], box.start_s, box.end_s, slug(box.label) if box.label else "", box.low_hz, box.high_hz)
            for row in recordings
            if row.name in files
            for box in row.boxes
        ]
        if boxes:
            header = ("file", "start_s", "end_s", "label", "low_hz", "high_hz")
            boxes.sort(key=lambda box: box[:4])
            write_csv(self.folder / "annotations.csv", header, boxes)


def _blocks(source: Path, from_hz: int, to_hz: int, channels: int) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Yield ``(mono int16 at the original rate, int16 converted (n,) or (n, channels))``."""
    if channels == 1:
        resampler = Resampler(from_hz, to_hz)
        blocks = iter_audio(source, from_hz)
        while True:
            try:
                mono = next(blocks, None)
            except CheepError as error:
                raise _BadContent(str(error)) from None
            if mono is None:
                break
            yield mono, float_to_int16(resampler.push(int16_to_float(mono)))
        yield np.zeros(0, np.int16), float_to_int16(resampler.push(np.zeros(0, np.float32), last=True))
        return
    resamplers = [Resampler(from_hz, to_hz) for _ in range(channels)]
    try:
        with soundfile.SoundFile(str(source)) as file:
            for block in file.blocks(1 << 18, dtype="float32", always_2d=True):
                done = [item.push(block[:, at]) for at, item in enumerate(resamplers)]
                yield float_to_int16(block.mean(axis=1)), float_to_int16(np.stack(done, axis=1))
        done = [item.push(np.zeros(0, np.float32), last=True) for item in resamplers]
        yield np.zeros(0, np.int16), float_to_int16(np.stack(done, axis=1))
    except soundfile.LibsndfileError as error:
        raise _BadContent(f"cannot be decoded: {error}") from None


def _sync_and_rename(part: Path, target: Path) -> None:
    with open(part, "rb+") as stream:
        os.fsync(stream.fileno())
    os.replace(part, target)


def _disk_error(error: Exception, path: Path) -> DiskError:
    text = getattr(error, "strerror", None) or error
    return DiskError(f"{path}: cannot write: {text} (free space, then run again: it resumes)")
