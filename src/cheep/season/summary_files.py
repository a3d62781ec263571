# SPDX-License-Identifier: MIT
"""A season's numbers as files: tables (CSV, JSON) and pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cheep.files import write_bytes, write_csv, write_json
from cheep.season.pictures import pictures
from cheep.season.summary import Gap, Line, Summary


def write_summary(summary: Summary, folder: Path) -> list[Path]:
    """Write the tables (CSV and JSON) and the pictures into ``folder``; return the files."""
    written = []
    for name in ("by_site", "by_hour", "by_month"):
        lines: tuple[Line, ...] = getattr(summary, name)
        written.append(folder / f"{name}.csv")
        header = [name.removeprefix("by_"), "hours", "recordings"]
        header += [part for label in summary.labels for part in (label, f"{label} per hour")]
        write_csv(written[-1], header, [_cells(line, summary.labels) for line in lines])
    written.append(folder / "gaps.csv")
    names = [field.name for field in dataclasses.fields(Gap)]
    write_csv(written[-1], names, [[getattr(gap, name) for name in names] for gap in summary.gaps])
    written.append(folder / "summary.json")
    write_json(written[-1], summary.to_dict())
    for name, data in pictures(summary).items():
        written.append(folder / name)
        write_bytes(written[-1], data)
    return written


def _cells(line: Line, labels: Sequence[str]) -> list[Any]:
    cells: list[Any] = [line.name, f"{line.hours:.3f}", line.recordings]
    for label in labels:
        count = line.detections[label]
        cells += [count, f"{count / line.hours:.3f}" if line.hours else ""]
    return cells
