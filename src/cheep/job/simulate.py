# SPDX-License-Identifier: MIT
"""The firmware's application over a recording, without a board."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cheep.audio import iter_audio
from cheep.bench.application import run_emulated
from cheep.boards.host import HostApplication
from cheep.errors import CheepError
from cheep.export import ExportModel

BOARDS = ("host", "cortex-m4")


def simulate(export: ExportModel, path: Path, board: str = "host") -> Iterator[str]:
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
    rate = export.features.sample_rate_hz
    if board == "host":
        application = HostApplication(export)
        try:
            yield from application.lines()
            for pcm in iter_audio(path, rate):
                yield from application.run(pcm)
            yield from application.finish()
        finally:
            application.close()
    elif board == "cortex-m4":
        yield from run_emulated(export, iter_audio(path, rate))
    else:
        raise CheepError(f"board={board}: no such simulated board (one of {', '.join(BOARDS)})")
