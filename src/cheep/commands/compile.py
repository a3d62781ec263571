# SPDX-License-Identifier: MIT
"""Compile an int8 model to plain C: smaller and faster than TensorFlow Lite Micro, with the same bits.

  cheep compile                              model of the latest run -> firmware/common/src/generated/
  cheep compile my.tflite --output build     any model; writes build/model_compiled.c and .h
  cheep compile my.tflite --prefix backbone  names: backbone.c, backbone_invoke(), ...
  cheep compile --check                      compile again, show what differs, exit 1

The C needs no runtime and no heap: see docs/compiled-models.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cheep.commands.model_convert import print_exported

BUILDS = {
    "audiomoth": "pio run in firmware/audiomoth",
    "esp32": "pio run -e esp32-compiled in firmware/esp32",
    "esp32s3": "pio run -e esp32s3 in firmware/esp32",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="run, by name or folder, or .tflite file (default: the latest run)"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder to write (default: firmware/common/src/generated)"
    )
    parser.add_argument(
        "--prefix", default="model_compiled", metavar="NAME", help="name of files and functions (%(default)s)"
    )
    parser.add_argument("--check", action="store_true", help="compare instead of writing; exit 1 on a difference")
    parser.add_argument("--board", metavar="NAME", help="refuse (exit 1) a model that does not fit: see cheep boards")


def run(args: argparse.Namespace) -> int:
    """Write the files, or check them."""
    from cheep.job.export import compile_network

    path, compiled, exported = compile_network(
        args.model, args.output, prefix=args.prefix, board=args.board, check=args.check
    )
    about = [
        f"{path}: {compiled.macs} multiply-accumulates",
        f"  working memory {compiled.memory_bytes} bytes, weights and tables {compiled.constant_bytes} bytes",
    ]
    if compiled.stream:
        about.append(
            f"  incremental: only new columns, windows every {compiled.stream['stride_rows']} frames "
            f"or a multiple, {compiled.stream['memory_bytes']} bytes"
        )
    for layer in compiled.slow:
        about.append(
            f"  slow: {layer.title}: {layer.reason}: about {layer.instructions:,} instructions on a Cortex-M4F, "
            f"{layer.fast_instructions:,} on the fast path"
        )
    for board, reason in exported.refused.items():
        about.append(f"  not for {board}: {reason} (cheep size; cheep split-dataset --board {board} chooses what fits)")
    fitting = [build for board, build in BUILDS.items() if board not in exported.refused]
    print_exported(args, exported, "\n".join(about), "; ".join(["make -C firmware/host", *fitting]))
    return 0
