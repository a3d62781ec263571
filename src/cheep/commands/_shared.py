"""What several commands share: options, tables."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cheep.runs import note_command


def add_run(parser: argparse.ArgumentParser) -> None:
    """Declare ``--run``."""
    parser.add_argument("--run", metavar="RUN", help="run, by name or folder (default: the latest run)")


def add_model(parser: argparse.ArgumentParser, use: str = "default: the latest run") -> None:
    """Declare ``--model``, which ``--run`` names as well."""
    text = f"run, by name or folder, or .tflite file ({use})"
    parser.add_argument("--model", "--run", dest="model", metavar="MODEL", help=text)


def note(args: argparse.Namespace, run: Path, step: str, before: Path | None = None) -> None:
    """Keep the command as it was typed with the run that it made (nothing where another command called it)."""
    if typed := getattr(args, "typed", ""):
        note_command(run, step, typed, before)


def table(rows: list[list[str]]) -> str:
    """Return rows as aligned text; the first is the header, the first column is left-aligned."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(lines)


def metrics_table(metrics: dict[str, dict[str, Any]], split: str = "test") -> str:
    """Return the table of several models' metrics on one split; in brackets: 95 % intervals by groups."""
    rows = [["model", "clip accuracy", "(95 %)", "clip ROC AUC", "window accuracy", "(95 %)", "window ROC AUC"]]
    for name, by_split in metrics.items():
        values = by_split.get(split)
        if values:
            cells = [name]
            for kind in ("clip", "window"):
                low, high = values.get(f"{kind}_accuracy_interval") or (None, None)
                cells.append(f"{values[f'{kind}_accuracy']:.4f}")
                cells.append("-" if low is None else f"({low:.3f}–{high:.3f})")
                cells.append("-" if values[f"{kind}_auc"] is None else f"{values[f'{kind}_auc']:.4f}")
            rows.append(cells)
    return table(rows)
