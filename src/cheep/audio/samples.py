# SPDX-License-Identifier: MIT
"""Samples in memory: the int16 <-> float rule and the resampler."""

from __future__ import annotations

import numpy as np
import soxr

_FULL_SCALE = 32768.0


def int16_to_float(pcm: np.ndarray) -> np.ndarray:
    """Return ``pcm / 32768`` as float32 (-1 .. 1); int16 in, same shape out. Exact."""
    return pcm.astype(np.float32) / np.float32(_FULL_SCALE)


def float_to_int16(samples: np.ndarray) -> np.ndarray:
    """Return ``clip(round_half_even(samples * 32768), -32768, 32767)`` as int16, same shape.

    The inverse of :func:`int16_to_float` for every int16 value. NaN is the caller's to refuse.
    """
    return np.clip(np.rint(samples * np.float32(_FULL_SCALE)), -32768, 32767).astype(np.int16)


class Resampler:
    """Streaming band-limited resampler (soxr, high quality), mono float32.

    Parameters
    ----------
    from_hz, to_hz : int
        Sample rates, Hz. Equal rates pass samples through untouched.
    """

    def __init__(self, from_hz: int, to_hz: int):
        self._stream = None
        if from_hz != to_hz:
            self._stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")

    def push(self, samples: np.ndarray, last: bool = False) -> np.ndarray:
        """Take float32 samples, shape (n,), return those that are ready, shape (m,); ``last`` flushes."""
        if self._stream is None:
            return samples
        return self._stream.resample_chunk(np.ascontiguousarray(samples, dtype=np.float32), last=last)


def resample(samples: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """Resample float32 samples, shape (n,), from ``from_hz`` to ``to_hz`` in one call."""
    return Resampler(from_hz, to_hz).push(samples, last=True)
