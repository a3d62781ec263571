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

import soundfile
from pydantic import Field
from requests import Response

from cheep.config import Settings
from cheep.datasets.web import Fetcher, Permanent, Transient, blocks
from cheep.datasets.xeno_canto.convert import FACTS, BadContent, convert
from cheep.datasets.xeno_canto.lists import metadata_row, write_lists
from cheep.datasets.xeno_canto.recording import XcRecording, slug
from cheep.errors import CheepError
from cheep.files import DiskError, atomic_path, sweep, write_text
from cheep.locks import lock

log = logging.getLogger(__name__)

STATE = ".xeno-canto"
_UNREACHABLE = 8  # recordings in a row that the network failed: the server is down


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
        write_lists(self.folder, self.rows(recordings), recordings, failed)
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
                    write_lists(self.folder, self.rows(recordings), recordings, failed)
                    last_written = time.monotonic()
                if self._progress is not None:
                    passed_s = max(time.monotonic() - begin, 1e-3)
                    self._progress(done + len(failed), len(recordings), f"{self._bytes / passed_s / 1e3:.0f} kB/s")
        except BaseException:
            self.fetcher.stop.set()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        write_lists(self.folder, self.rows(recordings), recordings, failed)
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
        whole = isinstance(note, dict) and note.keys() >= FACTS and note.get("form") == self._form()
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
            except BadContent as error:
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
        c = self.config
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
                facts = convert(source, converted, c.sample_rate_hz, c.channels, c.container)
                self._check_length(row, facts["length_s"])
                if source is part and c.keep_originals:
                    original.parent.mkdir(exist_ok=True)
                    _sync_and_rename(part, original)
                note = {"form": self._form(), **facts, "suffix": row.suffix}
                write_text(self._note_path(row), json.dumps(note, sort_keys=True, indent=1))
        except BadContent as error:
            source.unlink(missing_ok=True)  # whatever it is, it is not the recording
            raise BadContent(str(error).replace(str(source), row.name + row.suffix)) from None
        except (OSError, soundfile.LibsndfileError) as error:
            raise _disk_error(error, target) from None
        part.unlink(missing_ok=True)

    def _check_length(self, row: XcRecording, length_s: float) -> None:
        """Refuse a recording whose length is not the one that xeno-canto gives, within what it rounds."""
        if row.length_s is None:
            return
        if abs(length_s - row.length_s) > max(self.config.length_tolerance_s, 0.03 * row.length_s):
            raise BadContent(f"lasts {length_s:.1f} s, xeno-canto says {row.length_s:g} s: truncated or another file")

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

    def rows(self, recordings: Sequence[XcRecording]) -> list[dict[str, Any]]:
        """Return the metadata of every recording that is done."""
        rows = []
        for row in recordings:
            note = self._note(row) if row.file_url and self.target(row).is_file() else None
            if note is not None:
                rows.append(metadata_row(row, self.target(row), note, self.config.sample_rate_hz))
        return sorted(rows, key=lambda item: (item["label"], len(item["recording"]), item["recording"]))


def _sync_and_rename(part: Path, target: Path) -> None:
    with open(part, "rb+") as stream:
        os.fsync(stream.fileno())
    os.replace(part, target)


def _disk_error(error: Exception, path: Path) -> DiskError:
    text = getattr(error, "strerror", None) or error
    return DiskError(f"{path}: cannot write: {text} (free space, then run again: it resumes)")
