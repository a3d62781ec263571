# SPDX-License-Identifier: MIT
"""What several commands share: options, tables."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cheep.runs import note_command

if TYPE_CHECKING:
    from cheep.datasets.manifest import Manifest
    from cheep.job.split import Examples


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


def balance_table(examples: Examples) -> str:
    """Return the table of examples by label and split, and what became of the other windows."""
    from cheep.datasets.split import balance

    lines = balance(examples.manifest)
    width = max(len("label"), *(len(str(line["label"])) for line in lines))
    text = [f"{'label':<{width}}  examples   hours  recordings  recordists   train    val   test"]
    for line in lines:
        text.append(
            f"{line['label']:<{width}}  {line['examples']:>8}  {line['seconds'] / 3600:6.2f}  {line['recordings']:>10}"
            f"  {line['recordists'] or '-':>10}  {line['train']:>6} {line['val']:>6} {line['test']:>6}"
        )
    if examples.left_out is not None:
        counts = ", ".join(f"{count} {reason}" for reason, count in examples.reasons.items())
        text.append(f"windows: {counts}; {len(examples.left_out)} left out")
    if examples.bad_files:
        text.append(f"{len(examples.bad_files)} unreadable file(s) left out")
    return "\n".join([*text, *_groups_line(examples.manifest)])


def _groups_line(manifest: Manifest) -> list[str]:
    """Return how many groups are in each split, and what to do where they are only guessed from file names."""
    from cheep.datasets.build import ALONE
    from cheep.datasets.manifest import SPLITS

    if "group" not in manifest.columns:
        return []
    splits = dict(zip(manifest.column("group"), manifest.column("split"), strict=True))
    counted = [f"{count} {name}" for name in SPLITS if (count := list(splits.values()).count(name))]
    if not counted:
        return []
    line = f"groups that stay together: {', '.join(counted)}"
    if alone := sum(group.startswith(ALONE) for group in splits):
        line += (
            f"; {alone} of {len(splits)} are one recording each, by its file name. Were several cut from one, or "
            "made by one person or at one place? Name it in a metadata.csv, or the test flatters (docs/data.md, Splits)"
        )
    return [line]


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
