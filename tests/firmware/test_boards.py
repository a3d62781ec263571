# SPDX-License-Identifier: MIT
"""A board is one data file and at most 150 lines of its own; what can be compiled here is."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cheep.bench.application import write_generated
from cheep.boards.budget import needs_compiled
from cheep.boards.data import BOARDS, Board, find_board
from cheep.commands import size
from cheep.compiler import compile_model
from cheep.emulator import CORES, symbol_sizes
from cheep.errors import CheepError
from cheep.export import load_export
from cheep.files import read_json
from cheep.resources import firmware_root
from tone_model import write_tone_run

ROOT = firmware_root() / "boards"
DOCS = Path(__file__).parents[2] / "docs"
PLAIN = [board for board in BOARDS if board.firmware.startswith("boards/")]
MOST_LINES = 150
# What each function of board.h is; board_samples is main.c's.
CONTRACT = (
    *("board_name", "board_start", "board_microphone", "board_write", "board_wait", "board_feed"),
    "cheep_hal_clock_us",
)


@pytest.mark.parametrize("board", BOARDS, ids=[board.name for board in BOARDS])
def test_a_board_is_whole(board):
    assert (ROOT / f"{board.name}.json").is_file(), "its data file is named after it"
    assert board.free_ram_bytes > 0 and board.free_flash_bytes > 0
    assert len(board.sources) >= 2 and (board.currents_known or any("assumptions" in text for text in board.sources))
    if board.emulated:
        assert board.emulated in {core.name for core in CORES}
    if board.firmware:
        folder = firmware_root() / board.firmware
        assert folder.is_dir(), f"{folder}: missing, and {board.name}.json names it"


def test_boards_come_in_their_order_and_have_their_own_names():
    assert len({board.name for board in BOARDS}) == len(BOARDS) == len({board.order for board in BOARDS})
    assert [board.name for board in BOARDS][:3] == ["audiomoth", "esp32", "esp32s3"]
    assert {"esp32c3", "esp32c6", "esp32p4", "rp2040", "rp2350", "nrf52840", "stm32l4", "stm32u5"} <= {
        board.name for board in BOARDS
    }


def test_what_a_data_file_lacks_is_said():
    values = read_json(ROOT / "nrf52840.json", "")
    del values["clock_hz"]
    with pytest.raises(CheepError, match=r"nrf52840.json: .*clock_hz"):
        Board.parse(values, "nrf52840.json")


@pytest.mark.parametrize("folder", sorted({board.firmware for board in PLAIN}))
def test_a_plain_board_defines_what_main_needs_in_few_lines(folder):
    sources = [path for path in (firmware_root() / folder).iterdir() if path.suffix in (".c", ".h")]
    assert sum(len(path.read_text().splitlines()) for path in sources) <= MOST_LINES
    text = "".join(path.read_text() for path in sources)
    missing = [name for name in CONTRACT if not re.search(rf"^[a-z_0-9* ]*\b{name}(\(|\[)", text, re.MULTILINE)]
    assert not missing, f"{folder}: board.h wants {', '.join(missing)}"


@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="gcc-arm-none-eabi is not installed")
@pytest.mark.parametrize("name", ["nrf52840"])
def test_a_board_without_vendor_code_is_built_and_fits(name, tmp_path):
    export = load_export(write_tone_run(tmp_path / "run"))
    write_generated(export, tmp_path)
    command = ["make", "-C", str(ROOT), f"BOARD={name}", f"GENERATED={tmp_path}", f"BUILD={tmp_path / 'build'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text, data, bss = (int(v) for v in done.stdout.split("filename")[1].split()[:3])
    board = find_board(name)
    assert text + data < board.flash_bytes and data + bss + board.stack_bytes < board.ram_bytes
    assert (tmp_path / "build" / f"{name}.hex").stat().st_size > text
    # what a budget says of the model is what is linked (cheep_app.c turns its columns in place: they are there once)
    sizes = symbol_sizes(tmp_path / "build" / f"{name}.elf")
    linked = sizes["memory"] + sizes["cheep_model_memory"]
    need = needs_compiled(compile_model(export.bundle.path), export.bundle.features, len(export.bundle.labels))
    assert linked <= need.ram_bytes <= linked + 1536


def test_the_command_that_is_missing_is_named(tmp_path):
    (tmp_path / "generated").mkdir()
    done = subprocess.run(
        ["make", "-C", str(ROOT), f"GENERATED={tmp_path}"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0 and "run `cheep model-convert` first" in done.stderr


def test_the_board_matrix_has_every_board_and_every_backend_of_it(tmp_path):
    spec = importlib.util.spec_from_file_location("board_matrix", DOCS.parent / "scripts" / "board_matrix.py")
    matrix = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(matrix)
    rows = [line.split(" | ") for line in (DOCS / "boards.md").read_text().splitlines() if line.startswith("| ")][1:]
    expected = [
        (b.title, backend) for b in BOARDS for backend in ("compiled", "TFLM")[: 2 if b.name in matrix.TFLM else 1]
    ]
    assert [(row[0].removeprefix("| "), row[1]) for row in rows] == expected
    export = load_export(write_tone_run(tmp_path / "run"))
    assert matrix.fits(export, find_board("audiomoth"), "tflm").startswith("yes: ")
    tight = find_board("rp2040").model_copy(update={"base_ram_bytes": 250 * 1024})
    assert matrix.fits(export, tight, "compiled").startswith("NO: ")
    assert matrix.built(find_board("esp32"), None, export) == "no: wants ESP-IDF"
    compiled = {row[0].removeprefix("| "): row for row in rows if row[1] == "compiled"}
    for name, (link, ran) in matrix.BY_HAND.items():
        row = compiled[find_board(name).title]
        assert link in row[3] and ran in row[4], name


@pytest.mark.parametrize("name", ["esp32", "esp32s3", "esp32c3", "esp32c6", "esp32p4"])
def test_budgets_of_the_esp32s_are_those_of_their_project(name):
    project, board = firmware_root() / "esp32", find_board(name)
    places = [line.split(",") for line in (project / "partitions.csv").read_text().splitlines() if "app," in line]
    assert [place[2].strip() for place in places] == ["ota_0", "ota_1"]
    assert {int(place[4], 0) for place in places} == {board.flash_bytes}
    assert not any(int(place[3], 0) % 0x10000 for place in places)  # the memory map has pages of 64 KB
    main_stack = re.search(r"MAIN_TASK_STACK_SIZE=(\d+)", (project / "sdkconfig.defaults").read_text())
    capture = re.search(r"CAPTURE_STACK (\d+)", (project / "src" / "main.c").read_text())
    assert board.stack_bytes == int(main_stack.group(1)) + int(capture.group(1))
    ring = re.search(r"CHEEP_RING_SAMPLES (\d+)", (project / "src" / "board_config.h").read_text())
    assert 2 * int(ring.group(1)) == 32 * 1024  # is part of what was linked
    linked = {"esp32": 49_892, "esp32s3": 94_331, "esp32c3": 98_227}.get(name, 64 * 1024)  # docs/firmware.md
    assert 0 <= board.base_ram_bytes - linked < 2048


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("esp32", "about 13.4 M instructions a window (26.6 per multiply-accumulate, measured on that core)"),
        ("esp32s3", "have not been measured"),
        ("audiomoth", "times the network's instructions"),
    ],
)
def test_size_says_what_tflm_takes_as_measured(name, words):
    assert words in size.tflm_instructions({"macs": 502_880}, find_board(name))
