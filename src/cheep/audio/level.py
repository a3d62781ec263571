# SPDX-License-Identifier: MIT
"""How loud the quiet of a recording is: what a detector has to hear through."""

from __future__ import annotations

import numpy as np

QUIET_PERCENT = 10.0  # of the seconds; calls and passing cars are in the others


class NoiseMeter:
    """Measures how loud a recording is in its quiet seconds: :meth:`push` int16 samples, then :meth:`level_db`."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._rate = sample_rate_hz
        self._left = np.zeros(0, np.int16)
        self._power: list[np.ndarray] = []

    def push(self, pcm: np.ndarray) -> None:
        """Take int16 samples, shape (n,), of one recording after each other."""
        pcm = np.concatenate([self._left, pcm]) if len(self._left) else pcm
        whole = len(pcm) - len(pcm) % self._rate
        self._left = pcm[whole:].copy()
        if whole:
            seconds = pcm[:whole].reshape(-1, self._rate).astype(np.float32)
            self._power.append(np.einsum("ij,ij->i", seconds, seconds) / self._rate)

    def level_db(self) -> float | None:
        """Return the level that :data:`QUIET_PERCENT` of the seconds stay below, dB of full scale (RMS).

        Seconds of exact zeros were not recorded and do not count. None: less than a second was.
        """
        power = np.concatenate(self._power) if self._power else np.zeros(0, np.float32)
        power = power[power > 0]
        if not len(power):
            return None
        return round(float(10 * np.log10(np.percentile(power, QUIET_PERCENT) / 32768.0**2)), 1)
