# SPDX-License-Identifier: MIT
"""Lay out a project of your own: a folder for recordings, a run file, the firmware projects, a README.

  cheep new my_birds && cd my_birds

Everything is then made there: runs, headers, firmware. The folder must be new or empty.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="new or empty folder")


def run(args: argparse.Namespace) -> int:
    """Create it; print what lies there and the next command."""
    from cheep.project import create_project

    for path in create_project(args.folder):
        print(f"  {path}{'/' if path.is_dir() else ''}")
    print(
        f"next: recordings into {args.folder / 'recordings'}, a folder per species and one named background; then\n"
        f"      cd {shlex.quote(str(args.folder))} && cheep split-dataset --config run.yaml   (then as README.md says)"
    )
    return 0
