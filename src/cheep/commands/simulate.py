# SPDX-License-Identifier: MIT
"""Run the firmware's application over a recording without a board, and print what the board would print.

  cheep simulate FILE.wav                            on this machine, the model in TensorFlow Lite Micro
  cheep simulate --board cortex-m4 FILE.wav          on an emulated Cortex-M4F (QEMU), the compiled model
  cheep simulate --events FILE.wav                   only the events

One JSON object per line (docs/firmware.md has the schema): boot, events, statistics once a minute.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cheep.commands._shared import add_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("file", type=Path, metavar="FILE", help="any audio file")
    parser.add_argument("--board", choices=("host", "cortex-m4"), default="host", help="(%(default)s)")
    add_model(parser)
    parser.add_argument("--events", action="store_true", help="print the lines of events only")


def run(args: argparse.Namespace) -> int:
    """Simulate and print."""
    from cheep.export import load_export
    from cheep.job.simulate import simulate

    export = load_export(args.model)
    for line in simulate(export, args.file, args.board):
        if not args.events or json.loads(line).get("type") == "event":
            print(line, flush=True)
    return 0
