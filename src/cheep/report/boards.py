# SPDX-License-Identifier: MIT
"""The board table of a report: what a model takes of every board, and whether it fits."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

from cheep.bench.sizes import size_report
from cheep.boards.budget import Need, load_on, needs_compiled, needs_tflm, with_second
from cheep.boards.data import BOARDS, Board, find_board
from cheep.compiler import compile_model
from cheep.device.bundle import ModelBundle, load_bundle
from cheep.errors import CheepError
from cheep.report.results import BoardRow, RunResults

log = logging.getLogger(__name__)
_EMULATED = "cortex-m4"  # the same regions as the AudioMoth's


def with_boards(run: RunResults, folder: Path) -> RunResults:
    """Return ``run`` with the board table of the model in ``folder``, and an upload to a board that it fits."""
    rows = board_rows(load_bundle(folder))
    return dataclasses.replace(run, boards=rows, next_command=where_it_fits(run.next_command, rows))


def _reported() -> list[Board]:
    return [board for board in BOARDS if board.currents_known and board.name != _EMULATED]


def where_it_fits(command: str, rows: Sequence[BoardRow]) -> str:
    """Return ``command`` with another board in place of an AudioMoth that the detector, by ``rows``, does not fit."""
    upload, boards = "cheep upload audiomoth", _reported()
    fitting = [(board, row) for board, row in zip(boards, rows, strict=True) if row.fits]
    if not command.startswith(upload) or any(board.name == "audiomoth" for board, _ in fitting):
        return command
    if not fitting:
        return "cheep split-dataset --board audiomoth ...    (it fits no board: split chooses one that does)"
    board, row = fitting[0]
    compiled = "-compiled" if row.note.startswith("compiled") else ""
    return f"cheep upload {board.name}{compiled}{command.removeprefix(upload)}"


def board_rows(bundle: ModelBundle) -> tuple[BoardRow, ...]:
    """Return one row per board for the whole detector: microphone (where known), front end, network, detector.

    Bytes and instructions of the compiled network are measured on the emulated Cortex-M4F; without its tools bytes are
    computed and times are left out. A network that the compiler refuses is reckoned with TFLM.
    """
    boards, rate = _reported(), bundle.features.sample_rate_hz
    per_second, why = None, ""
    try:
        measured = size_report(bundle, find_board("audiomoth"))
        modes = measured["instructions_per_second"]
        mode = next(name for name in ("gated", "incremental", "window") if name in modes)
        per_second = measured["instructions_per_second"][mode]["total"]
        compiled = measured["backends"]["compiled"]
        needs = [Need("compiled", compiled["flash"], compiled["ram"])] * len(boards)
    except CheepError as error:
        needs, why = _computed(bundle, boards), f"not measured ({str(error).splitlines()[0]})"
        log.info("board table: %s", why)
    return tuple(_row(board, need, per_second, rate, why) for board, need in zip(boards, needs, strict=True))


def _computed(bundle: ModelBundle, boards: list[Board]) -> list[Need]:
    try:
        need = needs_compiled(compile_model(bundle.path), bundle.features, len(bundle.labels))
        return [with_second(need, bundle)] * len(boards)
    except CheepError as error:
        log.info("the network cannot be compiled (%s): reckoned with TFLM", error)
    from cheep.tflite.tflm import TflmModel

    arena = TflmModel(bundle.model.data).arena_bytes
    return [needs_tflm(bundle.model, arena, bundle.features, board) for board in boards]


def _row(board: Board, need: Need, per_second: float | None, sample_rate_hz: int, why: str) -> BoardRow:
    if per_second is None:
        return BoardRow(
            board.title, need.flash_bytes, board.free_flash_bytes, need.ram_bytes, board.free_ram_bytes,
            note=f"{need.backend}, {why}",
        )  # fmt: skip
    load = load_on(per_second, board, sample_rate_hz)
    lasts = f"{load['battery_days']:.0f} days of {board.battery_mah:g} mAh"
    note = f"{need.backend}; about {load['current_ma']:.0f} mA: {lasts}"
    return BoardRow(
        board.title,
        need.flash_bytes,
        board.free_flash_bytes,
        need.ram_bytes,
        board.free_ram_bytes,
        load["busy_ms"],
        note,
    )
