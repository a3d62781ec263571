# SPDX-License-Identifier: MIT
"""Write a detector as a library for other build systems: Arduino, ESP-IDF.

  cheep export --arduino ~/Arduino/libraries/robin      the latest run, with two example sketches
  cheep export --idf-component my-app/components/robin  the same for an ESP-IDF project
  cheep export --arduino DIR --check                    render again, show what differs, exit 1

The network is compiled to C (docs/compiled-models.md); the library checks itself at boot like every firmware.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cheep.commands._shared import add_model
from cheep.commands.model_convert import print_exported


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_model(parser)
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument("--arduino", type=Path, metavar="DIR", help="folder of an Arduino library to write")
    form.add_argument("--idf-component", type=Path, metavar="DIR", help="folder of an ESP-IDF component to write")
    parser.add_argument("--name", default="", help="of the library (default: the folder's)")
    parser.add_argument("--check", action="store_true", help="compare instead of writing; exit 1 on a difference")


def run(args: argparse.Namespace) -> int:
    """Write the folder, or check it."""
    from cheep.job.export import export_library

    folder = args.arduino or args.idf_component
    export, exported = export_library(
        args.model, folder, "arduino" if args.arduino else "idf-component", args.name, args.check
    )
    about = f"{export.bundle.path}: {len(export.bundle.labels)} labels, network compiled to C"
    following = (
        "open File > Examples in the Arduino IDE" if args.arduino else f"idf.py build in {folder}/examples/listen"
    )
    print_exported(args, exported, about, following)
    return 0
