"""Annotations that a person made: Raven selection tables, Audacity label tracks, CSV of times."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Box:
    """A marked stretch of a recording: times in s, optional band in Hz, label (empty: the recording's own)."""

    start_s: float
    end_s: float
    label: str = ""
    low_hz: float | None = None
    high_hz: float | None = None
