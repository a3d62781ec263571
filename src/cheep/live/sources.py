# SPDX-License-Identifier: MIT
"""Where live audio comes from: a sound card, or a file replayed as if it were one.

A source yields :class:`Block`s of int16 mono samples at the model's rate. The audio callback only copies into a
queue; resampling and everything else happen in the reader's thread.
"""

from __future__ import annotations

import dataclasses
import os
import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cheep.audio import Resampler, float_to_int16, int16_to_float, iter_audio
from cheep.errors import CheepError
from cheep.live.devices import InputDevice, explain, find_input, import_sounddevice

BLOCK_S = 0.05
QUEUE_S = 5.0
_NAP_S = 0.04
STALL_S = 2.0


@dataclasses.dataclass(frozen=True)
class Block:
    """Samples (n,) int16 at the model's rate; ``captured`` is the clock (``time.monotonic``) of the last one, s.

    It is None where samples do not come in real time: then nothing can be late.
    """

    pcm: np.ndarray
    captured: float | None


class FileSource:
    """A recording replayed in real time (``speed`` 1), faster, or as fast as the machine can (``speed`` 0)."""

    def __init__(
        self,
        path: str | os.PathLike,
        sample_rate_hz: int,
        speed: float = 1.0,
        block_s: float = 0.04,
        sleep: Callable[[float], None] = time.sleep,
    ):
        if speed < 0:
            raise CheepError(f"--speed {speed:g}: must be 0 (as fast as possible) or above")
        self.name = str(path)
        self.device_rate_hz = sample_rate_hz
        self.dropped = 0
        self._path, self._rate, self._speed, self._sleep = path, sample_rate_hz, speed, sleep
        self._block = max(1, round(block_s * sample_rate_hz)) if speed else 1 << 15

    def blocks(self) -> Iterator[Block | None]:
        """Yield the file's blocks, waiting for each one's time."""
        began, sent = time.monotonic(), 0
        for part in iter_audio(self._path, self._rate):
            for first in range(0, len(part), self._block):
                pcm = part[first : first + self._block]
                sent += len(pcm)
                if self._speed:
                    due = began + sent / self._rate / self._speed
                    while (wait := due - time.monotonic()) > 0:
                        if wait > _NAP_S:
                            self._sleep(_NAP_S)
                            yield None
                        else:
                            self._sleep(wait)
                yield Block(pcm, time.monotonic() if self._speed == 1 else None)

    def close(self) -> None:
        """Nothing to release."""


class MicrophoneSource:
    """A PortAudio input.

    Parameters
    ----------
    sample_rate_hz : int
        The model's rate.
    device : str, optional
        Index or part of a name; default: the system's default input.
    device_rate_hz : int, optional
        Rate to record at; default: the one the device prefers. Resampled to the model's, streaming.
    stall_s : float
        No sample for so long means that the device is gone.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        device: str | None = None,
        device_rate_hz: int | None = None,
        stall_s: float = STALL_S,
    ):
        self._sounddevice = import_sounddevice()
        self.device: InputDevice = find_input(device)
        self.name = self.device.name
        self._rate = sample_rate_hz
        self.device_rate_hz = device_rate_hz or self.device.default_rate_hz
        self._stall_s = stall_s
        self._queue: queue.Queue[tuple[bytes, float]] = queue.Queue(int(QUEUE_S / BLOCK_S))
        self.dropped = 0
        self._stream: Any = None

    def _callback(self, data: Any, frames: int, when: Any, status: Any) -> None:
        if status and getattr(status, "input_overflow", False):
            self.dropped += 1
        age = when.currentTime - when.inputBufferAdcTime - frames / self.device_rate_hz if when else 0.0
        try:
            self._queue.put_nowait((bytes(data), time.monotonic() - min(max(age, 0.0), 1.0)))
        except queue.Full:
            self.dropped += 1

    def open(self) -> None:
        """Start recording; raises CheepError that says what to do."""
        try:
            self._stream = self._sounddevice.RawInputStream(
                samplerate=self.device_rate_hz,
                blocksize=max(1, round(BLOCK_S * self.device_rate_hz)),
                device=self.device.index,
                channels=1,
                dtype="int16",
                latency=2 * BLOCK_S,
                callback=self._callback,
            )
            self._stream.start()
        except (self._sounddevice.PortAudioError, ValueError, OSError) as error:
            raise explain(error, self.device, self.device_rate_hz) from None

    def blocks(self) -> Iterator[Block | None]:
        """Yield blocks as they come; None about every 0.1 s without one."""
        if self._stream is None:
            self.open()
        resampler = Resampler(self.device_rate_hz, self._rate)
        taken = given = 0  # samples into and out of the resampler, which holds some back (0.02 to 0.13 s)
        last = time.monotonic()
        while True:
            try:
                data, captured = self._queue.get(timeout=0.1)
            except queue.Empty:
                if not self._stream.active or time.monotonic() - last > self._stall_s:
                    raise CheepError(
                        f"microphone {self.name!r}: no samples for {time.monotonic() - last:.1f} s: unplugged, or the "
                        "sound server stopped; plug it in again and start anew (cheep listen --list-devices)"
                    ) from None
                yield None
                continue
            last = time.monotonic()
            parts = [data]
            while not self._queue.empty():
                data, captured = self._queue.get_nowait()
                parts.append(data)
            pcm = np.frombuffer(b"".join(parts), np.int16)
            if self.device_rate_hz != self._rate:
                taken += len(pcm)
                pcm = float_to_int16(resampler.push(int16_to_float(pcm)))
                given += len(pcm)
            yield Block(pcm, captured - (taken / self.device_rate_hz - given / self._rate))

    def close(self) -> None:
        """Stop recording; safe to call twice and after a failure."""
        if self._stream is not None:
            try:
                self._stream.abort()
                self._stream.close()
            except self._sounddevice.PortAudioError:
                pass  # the device is gone already
            self._stream = None
