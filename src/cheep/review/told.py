# SPDX-License-Identifier: MIT
"""What the desk says, as the page and messages have it."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

from cheep.config import nearest_name
from cheep.season.verdicts import Verdict


def no_plan(name: str, there: list[str]) -> str:
    """Return why there is no plan of a name."""
    if not there:
        return "the season has no plan; make one with cheep season plan"
    return f"no such plan; the season has {', '.join(there)}{nearest_name(name, there)}"


def shown(verdict: Verdict) -> dict[str, Any]:
    """Return what the page shows of a verdict."""
    kept = ("id", "answer", "other", "reviewer", "at", "note", "ask")
    boxes = [dataclasses.asdict(box) for box in verdict.boxes]
    return {**{name: getattr(verdict, name) for name in kept}, "boxes": boxes}


def clock(ms: int) -> str:
    """Return a time on the wall, ms since 1970, as text."""
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=ms)
    return moment.isoformat(sep=" ", timespec="seconds")
