# SPDX-License-Identifier: MIT
"""Events as CSV: written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Sequence

from cheep.device.engine import LiveEvent
from cheep.files import write_csv

COLUMNS = ("file", "start_s", "end_s", "label", "score")


def event_row(path: str | os.PathLike, event: LiveEvent) -> tuple[str, str, str, str, str]:
    """Return the CSV fields of one ended event, in the order of :data:`COLUMNS`."""
    return (str(path), f"{event.start_s:.3f}", f"{event.end_s:.3f}", event.label, f"{event.score:.6f}")


def write_events(path: str | os.PathLike, rows: Sequence[Sequence[str]]) -> None:
    """Write rows of :func:`event_row` with a header line."""
    write_csv(path, COLUMNS, rows)
