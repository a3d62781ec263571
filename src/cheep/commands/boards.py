# SPDX-License-Identifier: MIT
"""List the boards: memory, clock, what is left for a detector, currents, and where the figures come from.

cheep boards            one line per board
cheep boards audiomoth  all that is known about one
"""

from __future__ import annotations

import argparse

from cheep.commands._shared import table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("board", nargs="?", metavar="NAME", help="show one board with its sources")


def run(args: argparse.Namespace) -> int:
    """Print the table, or one board."""
    from cheep.boards.data import BOARDS, find_board

    if args.board:
        board = find_board(args.board)
        print(f"{board.name}: {board.title}, {board.core} at {board.clock_hz / 1e6:g} MHz")
        print(f"  flash {board.flash_bytes} bytes, {board.base_flash_bytes} taken by the board's own code")
        for region in board.ram:
            use = "" if region.per_inference else ", too slow for a network's working memory"
            print(f"  RAM {region.name}: {region.n_bytes} bytes{use}")
        taken = f"{board.base_ram_bytes} library, {board.heap_bytes} heap, {board.stack_bytes} stack"
        print(f"  reserved: {taken}; left for a detector: {board.free_ram_bytes} bytes")
        print(f"  current: {board.active_ma:g} mA active, {board.idle_ma:g} mA idle; battery {board.battery_mah:g} mAh")
        for source in board.sources:
            print(f"  - {source}")
        return 0
    rows = [["board", "core", "MHz", "flash KB", "RAM KB", "free flash KB", "free RAM KB", "active mA", "idle mA"]]
    for b in BOARDS:
        numbers = [b.clock_hz / 1e6, b.flash_bytes / 1024, b.ram_bytes / 1024, b.free_flash_bytes / 1024]
        numbers += [b.free_ram_bytes / 1024, b.active_ma, b.idle_ma]
        rows.append([b.name, b.core, *(f"{n:g}" for n in numbers)])
    print(table(rows))
    print("next: cheep boards NAME for the sources, cheep size MODEL --board NAME for a model's budget")
    return 0
