# SPDX-License-Identifier: MIT
"""A firmware that takes models from a card, built for the emulated Cortex-M4F with a model of its own in it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from cheep.bench.application import write_generated
from cheep.boards.data import find_board
from cheep.boards.host import application_sources
from cheep.card import public_bytes, render_key, render_layout
from cheep.emulator import M4F, RunResult, build_elf, emulator_dir, run_elf
from cheep.export import ExportModel
from cheep.resources import firmware_root

BOARD = find_board("audiomoth")


def card_sources() -> list[Path]:
    return sorted((firmware_root() / "card" / "src").glob("*.c"))


def build_card_firmware(export: ExportModel, key, folder: Path) -> Path:
    """Return the program of ``firmware/emulator/main_card.c`` with ``export`` built in; it takes images of ``key``."""
    card = BOARD.card
    generated = write_generated(export, folder)
    (generated / "card_key.h").write_text(render_key(public_bytes(key)))
    (generated / "card_layout.h").write_text(render_layout(BOARD))
    core = dataclasses.replace(M4F, ram=card.window + card.window_bytes, ram_bytes=1 << 20)
    return build_elf(
        [*application_sources(), *card_sources(), emulator_dir() / "main_card.c"],
        folder / "card.elf",
        include_dirs=[folder, firmware_root() / "card" / "include"],
        flags=[
            "-DCHEEP_BACKEND_COMPILED", f"-DCHEEP_MAX_CLASSES={card.max_classes}",
            f"-DCHEEP_MAX_SCORES={card.max_scores}",
        ],
        flash_bytes=card.slots[0],
        core=core,
    )  # fmt: skip


def run_card(elf: Path, *words, timeout_s: float = 120.0) -> RunResult:
    return run_elf(elf, [str(word) for word in words], count=False, timeout_s=timeout_s)
