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

from cheep.errors import CheepError

NEXT = "make -C firmware/host; pio run in firmware/audiomoth, or pio run -e esp32-compiled in firmware/esp32"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "model", type=Path, nargs="?", metavar="MODEL", help="run folder or .tflite file (default: the latest run)"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder to write (default: firmware/common/src/generated)"
    )
    parser.add_argument(
        "--prefix", default="model_compiled", metavar="NAME", help="name of files and functions (%(default)s)"
    )
    parser.add_argument("--check", action="store_true", help="compare instead of writing; exit 1 on a difference")
    parser.add_argument("--board", metavar="NAME", help="refuse (exit 1) a model that does not fit: see cheep boards")


def model_file(source: Path | None) -> Path:
    """Return the ``.tflite`` file of a run folder, of the latest run, or the file itself."""
    if source is not None and source.is_file() and source.suffix != ".json":
        return source
    if source is not None and not source.exists():
        raise CheepError(f"{source}: no such model; give a run folder or a .tflite file")
    from cheep.device.bundle import load_bundle

    return load_bundle(source).path


def run(args: argparse.Namespace) -> int:
    """Write the files, or check them."""
    from cheep.compiler import compile_model
    from cheep.export import check_files, generated_folder, write_files

    path = model_file(args.model)
    compiled = compile_model(path, args.prefix)
    if args.board:
        from cheep.boards.budget import check_compiled
        from cheep.boards.data import find_board

        check_compiled(compiled, find_board(args.board))
    folder = args.output or generated_folder()
    files = {f"{args.prefix}.c": compiled.source, f"{args.prefix}.h": compiled.header}
    if args.check:
        check_files(folder, files, "cheep compile")
        print(f"{folder}: {', '.join(files)} are those of the model")
        return 0
    write_files(folder, files)
    print(f"{path}: {compiled.macs} multiply-accumulates")
    print(f"  working memory {compiled.memory_bytes} bytes, weights and tables {compiled.constant_bytes} bytes")
    if compiled.stream:
        print(
            f"  incremental: only new columns, windows every {compiled.stream['stride_rows']} frames "
            f"or a multiple, {compiled.stream['memory_bytes']} bytes"
        )
    for layer in compiled.slow:
        print(
            f"  slow: {layer.title}: {layer.reason}: about {layer.instructions:,} instructions on a Cortex-M4F, "
            f"{layer.fast_instructions:,} on the fast path"
        )
    for name in files:
        print(f"  {folder / name}")
    print(f"next: {NEXT}")
    return 0
