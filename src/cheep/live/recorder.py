# SPDX-License-Identifier: MIT
"""What was heard and what the detector said, on disk: a whole session, or the last ten seconds."""

from __future__ import annotations

import collections
import csv
import os
import struct
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from cheep.device.engine import Engine, LiveEvent, StepResult
from cheep.files import write_json

EVENT_COLUMNS = ("utc", "start_s", "end_s", "label", "score")


class GrowingWav:
    """A mono int16 WAV whose header is right after every :meth:`flush`, so that a crash loses seconds, not all."""

    def __init__(self, path: str | os.PathLike, sample_rate_hz: int):
        self._file = open(path, "wb")  # noqa: SIM115 (closed by close)
        self._rate, self._bytes = sample_rate_hz, 0
        self._header()

    def write(self, pcm: np.ndarray) -> None:
        """Append samples (n,) int16."""
        data = pcm.astype("<i2").tobytes()
        self._file.write(data)
        self._bytes += len(data)

    def flush(self) -> None:
        """Bring header and samples to the disk."""
        self._header()
        self._file.flush()

    def close(self) -> None:
        """Complete the file."""
        self.flush()
        self._file.close()

    def _header(self) -> None:
        size = min(self._bytes, 0xFFFFFFFF - 36)  # over 4 GB players read to the end of the file
        head = b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt "
        head += struct.pack("<IHHIIHH", 16, 1, 1, self._rate, 2 * self._rate, 2, 16) + b"data" + struct.pack("<I", size)
        self._file.seek(0)
        self._file.write(head)
        self._file.seek(0, os.SEEK_END)


class SessionRecorder:
    """Logs a session into a folder: ``audio.wav``, ``scores.csv``, ``events.csv``, ``session.json``.

    The WAV holds exactly the samples that the engine got, so that an offline run over it repeats the session.
    """

    def __init__(self, folder: Path, engine: Engine, about: dict[str, Any]):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._engine = engine
        self._began = datetime.now(timezone.utc)
        self._rate = engine.bundle.features.sample_rate_hz
        self._wav = GrowingWav(folder / "audio.wav", self._rate)
        self._score_file, self._scores = _open_csv(folder / "scores.csv", ("end_s", *engine.bundle.labels))
        self._event_file, self._events = _open_csv(folder / "events.csv", EVENT_COLUMNS)
        self._about = {
            "started": self._began.isoformat(timespec="seconds"),
            "model": engine.bundle.path.name,
            "model_sha256": engine.bundle.model.sha256,
            "feature_hash": f"0x{engine.bundle.features.hash32:08x}",
            "sample_rate_hz": self._rate,
            **about,
        }
        write_json(folder / "session.json", self._about)
        self._unsaved = 0

    def add(self, pcm: np.ndarray, result: StepResult) -> None:
        """Log one step: ``pcm`` (n,) int16 and what the engine made of it."""
        self._wav.write(pcm)
        for window in result.windows:
            values = self._engine.probability(window.scores)
            self._scores.writerow([f"{window.end_s:.3f}", *(f"{value:.6f}" for value in values)])
        self.add_events(result.events)
        self._unsaved += len(pcm)
        if self._unsaved >= self._rate or result.events:
            self._unsaved = 0
            self._wav.flush()
            self._score_file.flush()

    def add_events(self, events: list[LiveEvent]) -> None:
        """Log ended events."""
        for event in events:
            if event.ended:
                utc = datetime.fromtimestamp(self._began.timestamp() + event.start_s, timezone.utc)
                stamp = utc.isoformat(timespec="milliseconds")
                self._events.writerow(
                    [stamp, f"{event.start_s:.3f}", f"{event.end_s:.3f}", event.label, f"{event.score:.6f}"]
                )
                self._event_file.flush()

    def close(self, summary: dict[str, Any]) -> None:
        """Complete the files; ``summary`` goes into ``session.json``."""
        self._wav.close()
        self._score_file.close()
        self._event_file.close()
        write_json(self.folder / "session.json", {**self._about, **summary})


class LastSeconds:
    """Keeps the last seconds of audio with scores and events, to be saved on a key press."""

    def __init__(self, engine: Engine, seconds: float = 10.0):
        self._engine = engine
        self._rate = engine.bundle.features.sample_rate_hz
        self._samples = round(seconds * self._rate)
        self._parts: collections.deque[np.ndarray] = collections.deque()
        self._held = 0
        self._windows: collections.deque = collections.deque(maxlen=4096)
        self._events: collections.deque[LiveEvent] = collections.deque(maxlen=256)

    def add(self, pcm: np.ndarray, result: StepResult) -> None:
        """Take one step: ``pcm`` (n,) int16 and what the engine made of it."""
        self._parts.append(pcm)
        self._held += len(pcm)
        while self._held - len(self._parts[0]) >= self._samples:
            self._held -= len(self._parts.popleft())
        self._windows.extend(result.windows)
        self._events.extend(result.events)

    def save(self, folder: Path) -> Path:
        """Write ``clip-TIME.wav`` and its ``.json``; return the WAV's path."""
        folder.mkdir(parents=True, exist_ok=True)
        stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S-%f")[:-3]
        path = folder / f"clip-{stamp}.wav"
        pcm = np.concatenate(self._parts)[-self._samples :] if self._parts else np.zeros(0, np.int16)
        wav = GrowingWav(path, self._rate)
        wav.write(pcm)
        wav.close()
        end_s = self._engine.samples / self._rate
        first_s = end_s - len(pcm) / self._rate
        labels = self._engine.bundle.labels
        write_json(
            path.with_suffix(".json"),
            {
                "model_sha256": self._engine.bundle.model.sha256,
                "session_start_s": round(first_s, 3),
                "labels": list(labels),
                "windows": [
                    {
                        "end_s": round(item.end_s - first_s, 3),
                        "scores": [round(float(value), 6) for value in self._engine.probability(item.scores)],
                    }
                    for item in self._windows
                    if item.end_s >= first_s
                ],
                "events": [
                    {**event.to_dict(), "clip_start_s": round(event.start_s - first_s, 3)}
                    for event in self._events
                    if event.end_s >= first_s
                ],
            },
        )
        return path


def _open_csv(path: Path, columns: tuple[str, ...]) -> tuple[TextIO, Any]:
    stream = open(path, "w", newline="", encoding="utf-8")  # noqa: SIM115 (the recorder closes it)
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    return stream, writer
