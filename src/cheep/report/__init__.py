# SPDX-License-Identifier: MIT
"""Reports people look at: one self-contained HTML file per run, and the same content as Markdown and JSON."""

from cheep.report.results import (
    BoardRow,
    DataRow,
    DataSummary,
    History,
    Mistake,
    OperatingCurve,
    RobustnessRow,
    RunResults,
    Soundscape,
    Threshold,
    Variant,
)
from cheep.report.write import write_report

__all__ = [
    "BoardRow",
    "DataRow",
    "DataSummary",
    "History",
    "Mistake",
    "OperatingCurve",
    "RobustnessRow",
    "RunResults",
    "Soundscape",
    "Threshold",
    "Variant",
    "write_report",
]
