"""Announcements: stretches at the head and tail of a recording that sound like a person speaking."""

from __future__ import annotations

import numpy as np


class SpeechMeter:
    """Streaming detector of announcements; :meth:`push` blocks of int16 samples, then :meth:`stretches`."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._rate = sample_rate_hz

    def push(self, pcm: np.ndarray) -> None:
        """Take int16 samples, shape (n,)."""

    def stretches(self) -> tuple[tuple[float, float], ...]:
        """Return ``(start_s, end_s)`` of speech-like stretches."""
        return ()
