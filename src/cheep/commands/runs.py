# SPDX-License-Identifier: MIT
"""List the runs: when they were changed, how far they are, their labels, clip accuracy and sizes.

  cheep runs          one line per run, the last changed one last; * is the one that commands go on with
  cheep runs --json   the same as JSON

Every command takes --run NAME (or a folder) to work in another one.
"""

from __future__ import annotations

import argparse
import json

from cheep.commands._shared import table

_LABELS_CHARS = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the list."""
    import dataclasses

    from cheep.job.overview import list_runs
    from cheep.runs import SPLIT_COMMAND, runs_folder

    found = list_runs()
    if args.json:
        print(json.dumps([dataclasses.asdict(item) for item in found], indent=2, default=str))
        return 0
    if not found:
        print(f"{runs_folder()}: no run yet; start one with {SPLIT_COMMAND} FOLDER")
        return 0
    rows = [["run", "changed", "stage", "clip accuracy", "int8 bytes", "MB on disk", "labels"]]
    for item in found:
        labels = f"{len(item.labels)}: {', '.join(item.labels)}"
        accuracy = "-" if item.clip_accuracy is None else f"{item.clip_accuracy:.3f} ({item.model}, {item.split})"
        rows.append(
            [
                f"{'* ' if item.latest else '  '}{item.name}",
                f"{item.changed:%Y-%m-%d %H:%M}",
                item.stage,
                accuracy,
                "-" if item.model_bytes is None else f"{item.model_bytes:,}",
                f"{item.total_bytes / 1e6:.1f}",
                labels if len(labels) <= _LABELS_CHARS else labels[: _LABELS_CHARS - 1] + "…",
            ]
        )
    print(table(rows))
    for item in found:
        if item.problem:
            print(f"{item.name}: {item.problem}")
    return 0
