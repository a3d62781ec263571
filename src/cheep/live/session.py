# SPDX-License-Identifier: MIT
"""The listening loop: source -> engine -> whoever looks (view, recorder)."""

from __future__ import annotations

import collections
import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from cheep.device.engine import Engine, LiveEvent, StepResult
from cheep.live.sources import Block


class AudioSource(Protocol):
    """Live audio (see :mod:`cheep.live.sources`)."""

    name: str
    device_rate_hz: int
    dropped: int

    def blocks(self) -> Iterator[Block | None]:
        """Yield blocks, None while there is none."""

    def close(self) -> None:
        """Release the device."""


@dataclasses.dataclass
class Status:
    """What a view shows beside columns, scores and events. Levels in dB of full scale; latencies in s (None: none)."""

    audio_s: float = 0.0
    level_db: float = -120.0
    peak_db: float = -120.0
    clipped: int = 0
    dropped: int = 0
    latency_s: float | None = None
    worst_latency_s: float = 0.0
    windows: int = 0
    events: Counter = dataclasses.field(default_factory=Counter)
    paused: bool = False
    silent_s: float = 0.0
    message: str = ""


class Observer(Protocol):
    """Looks at each step."""

    def step(self, pcm: np.ndarray, result: StepResult, status: Status) -> None:
        """Take one block, ``pcm`` (n,) int16, and what the engine made of it."""


class Session:
    """Runs an engine on a source.

    Parameters
    ----------
    engine, source
        The detector and its audio.
    observers : sequence of Observer
        Called in order after each block.
    keys : callable, optional
        Returns the key pressed since the last call, or "".
    on_key : callable, optional
        Called with a key other than space, ``q`` and Ctrl-C; may return a message to show.
    seconds : float, optional
        End after so much audio.
    """

    def __init__(
        self,
        engine: Engine,
        source: AudioSource,
        observers: list[Observer],
        keys: Callable[[], str] | None = None,
        on_key: Callable[[str], str | None] | None = None,
        seconds: float | None = None,
    ):
        self.engine, self.source, self.status = engine, source, Status()
        self._observers, self._keys, self._on_key = observers, keys, on_key
        self._began = self._ended = (time.monotonic(), time.process_time())
        self._limit = None if seconds is None else round(seconds * engine.bundle.features.sample_rate_hz)
        self._latencies: collections.deque[float] = collections.deque(maxlen=100_000)

    def run(self) -> None:
        """Listen until the source ends, the limit, ``q``, or KeyboardInterrupt (passed on after clean-up)."""
        self._began = (time.monotonic(), time.process_time())
        try:
            for block in self.source.blocks():
                if not self._handle_keys():
                    break
                if block is None or not len(block.pcm):
                    continue
                if self.status.paused:
                    self.status.level_db, self.status.peak_db = _levels(block.pcm)
                    self._show(block.pcm[:0], StepResult(self._no_columns(), [], []))
                    continue
                if not self._take(block):
                    break
        finally:
            self._ended = (time.monotonic(), time.process_time())
            self.source.close()
            self._finish()

    def summary(self) -> dict[str, Any]:
        """Return the figures of the session, JSON-able; ``cpu_percent`` is of one core, while listening.

        Latencies are those of real time, None for a file that is replayed at another speed.
        """
        status = self.status
        wall_s, cpu_s = (after - before for before, after in zip(self._began, self._ended, strict=True))
        late = [float(np.median(self._latencies)), status.worst_latency_s] if self._latencies else [None, None]
        median_ms, worst_ms = (None if value is None else round(1000 * value, 1) for value in late)
        return {
            "source": self.source.name,
            "source_rate_hz": self.source.device_rate_hz,
            "audio_s": round(status.audio_s, 3),
            "windows": status.windows,
            "events": dict(status.events),
            "dropped_blocks": status.dropped,
            "clipped_samples": status.clipped,
            "cpu_percent": round(100 * cpu_s / max(wall_s, 1e-3), 1),
            "times_real_time": round(status.audio_s / max(wall_s, 1e-3), 2),
            "latency_median_ms": median_ms,
            "latency_worst_ms": worst_ms,
        }

    def _take(self, block: Block) -> bool:
        pcm = block.pcm if self._limit is None else block.pcm[: self._limit - self.engine.samples]
        result = self.engine.push(pcm)
        rate = self.engine.bundle.features.sample_rate_hz
        now = time.monotonic()
        status = self.status
        if block.captured is not None:
            for window in result.windows:
                after_s = self.engine.samples / rate - window.end_s  # audio in this block behind the window's end
                status.latency_s = now - block.captured + after_s
                self._latencies.append(status.latency_s)
                status.worst_latency_s = max(status.worst_latency_s, status.latency_s)
        status.windows = self.engine.windows
        status.audio_s = self.engine.samples / rate
        status.level_db, status.peak_db = _levels(pcm)
        status.clipped += int(np.count_nonzero((pcm == 32767) | (pcm == -32768)))
        status.dropped = self.source.dropped
        status.silent_s = 0.0 if pcm.any() else status.silent_s + len(pcm) / rate
        self._count(result.events)
        self._show(pcm, result)
        return self._limit is None or self.engine.samples < self._limit

    def _finish(self) -> None:
        events = self.engine.flush() if self.engine.windows else []
        if events:
            self._count(events)
            self._show(np.zeros(0, np.int16), StepResult(self._no_columns(), [], events))

    def _handle_keys(self) -> bool:
        key = self._keys() if self._keys else ""
        if key == " ":
            self.status.paused = not self.status.paused
        elif key in ("q", "\x03"):
            return False
        elif key and self._on_key:
            self.status.message = self._on_key(key) or self.status.message
        return True

    def _count(self, events: list[LiveEvent]) -> None:
        for event in events:
            if not event.ended:
                self.status.events[event.label] += 1

    def _show(self, pcm: np.ndarray, result: StepResult) -> None:
        for observer in self._observers:
            observer.step(pcm, result, self.status)

    def _no_columns(self) -> np.ndarray:
        return np.zeros((0, self.engine.bundle.features.n_mels), np.int8)


def _levels(pcm: np.ndarray) -> tuple[float, float]:
    if not len(pcm):
        return -120.0, -120.0
    values = pcm.astype(np.float64) / 32768
    rms, peak = np.sqrt(np.mean(values**2)), np.max(np.abs(values))
    return float(20 * np.log10(max(rms, 1e-6))), float(20 * np.log10(max(peak, 1e-6)))
