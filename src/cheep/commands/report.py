# SPDX-License-Identifier: MIT
"""Write the report of a run: one self-contained HTML page, and the same as Markdown and JSON.

  cheep report                   the latest run -> report.html, report.md, report.json in its folder
  cheep report --run runs/demo --output results.html

Whatever is there is shown: training curves, test results, the worst mistakes with their sound, and, after
cheep evaluate and cheep calibrate, long recordings and false alarms per hour.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cheep import runs
from cheep.commands._progress import stage
from cheep.commands._shared import add_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_run(parser)
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="HTML file, or a folder for it (default: in the run folder)"
    )
    parser.add_argument("--title", help="heading (default: the run's name)")


def run(args: argparse.Namespace) -> int:
    """Collect and write."""
    from cheep.report import write_report
    from cheep.report.boards import with_boards
    from cheep.report.collect import results_of_run
    from cheep.report.extras import with_extras

    folder = runs.find_run(args.run)
    stage(f"collecting what {folder} holds")
    results = results_of_run(folder, args.title or f"Cheep: {folder.name}")
    results = with_boards(with_extras(results, folder), folder)
    output = args.output or folder / runs.REPORT
    for path in write_report(results, output / runs.REPORT if output.is_dir() else output):
        print(f"wrote {path}")
    return 0
