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
from cheep.errors import CheepError

BOARDS = ("host", "cortex-m4")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("file", type=Path, metavar="FILE", help="any audio file")
    parser.add_argument("--board", choices=BOARDS, default="host", help="(%(default)s)")
    add_model(parser)
    parser.add_argument("--events", action="store_true", help="print the lines of events only")


def run(args: argparse.Namespace) -> int:
    """Simulate and print."""
    from cheep.export import load_export

    export = load_export(args.model)
    for line in simulate(export, args.file, args.board):
        if not args.events or json.loads(line).get("type") == "event":
            print(line, flush=True)
    return 0


def simulate(export, path: Path, board: str = "host"):
    """Yield the lines that the board writes for a recording.

    Parameters
    ----------
    export : ExportModel
        The model.
    path : Path
        Any audio file; it is converted to the model's rate.
    board : str
        One of :data:`BOARDS`.
    """
    from cheep.audio import iter_audio

    rate = export.features.sample_rate_hz
    if board == "host":
        from cheep.boards.host import HostApplication

        application = HostApplication(export)
        try:
            yield from application.lines()
            for pcm in iter_audio(path, rate):
                yield from application.run(pcm)
            yield from application.finish()
        finally:
            application.close()
    elif board == "cortex-m4":
        from cheep.bench.application import run_emulated

        yield from run_emulated(export, iter_audio(path, rate))
    else:
        raise CheepError(f"board={board}: no such simulated board (one of {', '.join(BOARDS)})")
