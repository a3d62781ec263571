# SPDX-License-Identifier: MIT
"""Turn an int8 model into the C files that the firmware is built from.

  cheep model-convert                    model of the latest run -> firmware/common/src/generated/
  cheep model-convert --model my.tflite  another model
  cheep model-convert --check            render again, show what differs, exit 1

Writes model.h (what the firmware checks at boot), model.cc (the bytes), detector_settings.h (thresholds) and
golden_window.h (the boot check). mel_filter_bank.py writes the front end's tables.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cheep.commands._shared import add_model

if TYPE_CHECKING:
    from cheep.job.export import Exported

NEXT = "cheep mel-filter-bank"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_export_arguments(parser)


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that this command shares with mel_filter_bank."""
    add_model(parser)
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder to write (default: firmware/common/src/generated)"
    )
    parser.add_argument("--check", action="store_true", help="compare instead of writing; exit 1 on a difference")


def run(args: argparse.Namespace) -> int:
    """Write the files, or check them."""
    from cheep.job.export import export_model, warning_of
    from cheep.tflite.arena import ESP

    export, exported = export_model(args.model, args.output, args.check)
    about = (
        f"{export.bundle.path}: {len(export.bundle.model.data)} bytes, arena {export.arena_bytes} bytes "
        f"({export.arena_bytes_esp32s3} on an ESP32-S3), "
        f"{len(export.bundle.labels)} labels, features 0x{export.features.hash32:08x}"
    )
    print_exported(args, exported, about, NEXT)
    if warning := warning_of(export):
        print(f"warning: {warning}", file=sys.stderr)
    for chip, reason in export.refused.items():
        print(f"note: not for TFLM on {ESP[chip]}: {reason}; use the compiled backend there (cheep compile)")
    return 0


def print_exported(args: argparse.Namespace, exported: Exported, about: str, following: str) -> None:
    """Say what was written, or that it is as it must be."""
    if args.check:
        print(f"{exported.folder}: {', '.join(exported.files)} are those of the model")
        return
    print(about)
    for name in exported.files:
        print(f"  {exported.folder / name}{'' if name in exported.changed else ' (unchanged)'}")
    print(f"next: {following}")
