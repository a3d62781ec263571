# SPDX-License-Identifier: MIT
"""A clip as it is heard and seen: sound with context as WAV, and the levels of its spectrogram as bytes."""

from __future__ import annotations

import dataclasses
import io
import math
import os

import numpy as np
import soundfile as sf

from cheep.audio import int16_to_float, read_span

RANGE_DB = 70.0  # of the picture: below the loudest cell
TOP_HZ = 12000.0  # higher ones are left out of the picture
MAX_GAIN_DB = 36.0
_PEAK = 0.7
_FRAME_S = 0.02
_COLUMNS = 900
_ROWS = 256


@dataclasses.dataclass(frozen=True)
class ClipSound:
    """A clip with what lies around it.

    Attributes
    ----------
    begin_s, end_s
        What was read, from the start of the recording.
    rate_hz
        Of the file.
    wav
        Bytes of a WAV, 16 bits, mono.
    gain_db
        By how much it is louder than the recording.
    picture
        (rows, columns) uint8, the lowest frequency first: 0 is ``RANGE_DB`` below the loudest cell, 255 the loudest.
    top_hz
        Upper edge of the picture.
    """

    begin_s: float
    end_s: float
    rate_hz: int
    wav: bytes
    gain_db: float
    picture: np.ndarray
    top_hz: float


def read_clip(path: str | os.PathLike, start_s: float, end_s: float, context_s: float) -> ClipSound:
    """Read a clip and ``context_s`` around it.

    Raises
    ------
    CheepError
        The file is missing or cannot be read, or has nothing there.
    """
    begin = max(0.0, start_s - context_s)
    pcm, rate = read_span(path, begin, end_s + context_s)
    samples = int16_to_float(pcm)
    peak = float(np.max(np.abs(samples), initial=0.0))
    gain = min(10 ** (MAX_GAIN_DB / 20), max(1.0, _PEAK / peak)) if peak else 1.0
    stream = io.BytesIO()
    sf.write(stream, samples * gain, rate, format="WAV", subtype="PCM_16")
    picture, top = levels(samples, rate)
    return ClipSound(begin, begin + len(pcm) / rate, rate, stream.getvalue(), 20 * math.log10(gain), picture, top)


def levels(samples: np.ndarray, rate: int) -> tuple[np.ndarray, float]:
    """Return the spectrogram of samples (n,) float, as :class:`ClipSound` has it, and its upper edge in Hz."""
    size = 1 << max(6, round(math.log2(_FRAME_S * rate)))
    samples = np.pad(samples, (0, max(0, size - len(samples))))
    hop = max(size // 4, math.ceil((len(samples) - size) / (_COLUMNS - 1)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(size), axis=1)) ** 2
    rows = min(power.shape[1], math.floor(TOP_HZ / rate * size) + 1)
    step = math.ceil(rows / _ROWS)
    kept = power[:, : rows // step * step].reshape(len(power), -1, step).max(axis=2)
    decibels = 10 * np.log10(kept + 1e-12)
    scaled = np.clip(1 + (decibels - decibels.max()) / RANGE_DB, 0, 1)
    return np.ascontiguousarray((255 * scaled).astype(np.uint8).T), kept.shape[1] * step * rate / size
