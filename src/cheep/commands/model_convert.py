"""Turn an int8 model into the C files that the firmware is built from.

  cheep model-convert                    model of the latest run -> firmware/common/src/generated/
  cheep model-convert --model my.tflite  another model
  cheep model-convert --check            render again, show what differs, exit 1

Writes model.h (what the firmware checks at boot), model.cc (the bytes), detector_settings.h (thresholds) and
golden_window.h (the boot check). mel_filter_bank.py writes the front end's tables.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cheep.commands._shared import add_model

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


def render(model: Path | None) -> tuple[dict[str, str], str]:
    """Return the texts by file name, and one line about the model."""
    from cheep.export import (
        load_export,
        render_detector_settings,
        render_golden_window,
        render_model_header,
        render_model_source,
    )

    export = load_export(model)
    files = {
        "model.h": render_model_header(export),
        "model.cc": render_model_source(export),
        "detector_settings.h": render_detector_settings(export),
        "golden_window.h": render_golden_window(export),
    }
    about = (
        f"{export.bundle.path}: {len(export.bundle.model.data)} bytes, arena {export.arena_bytes} bytes, "
        f"{len(export.bundle.labels)} labels, features 0x{export.features.hash32:08x}"
    )
    return files, about


def emit(args: argparse.Namespace, files: dict[str, str], about: str, command: str, following: str) -> int:
    """Write or check the files and say so."""
    from cheep.export import check_files, generated_folder, write_files

    folder = args.output or generated_folder()
    if args.check:
        check_files(folder, files, command)
        print(f"{folder}: {', '.join(files)} are those of the model")
        return 0
    changed = {path.name for path in write_files(folder, files)}
    print(about)
    for name in files:
        print(f"  {folder / name}{'' if name in changed else ' (unchanged)'}")
    print(f"next: {following}")
    return 0


def run(args: argparse.Namespace) -> int:
    """Write the files, or check them."""
    files, about = render(args.model)
    return emit(args, files, about, "cheep model-convert", NEXT)
