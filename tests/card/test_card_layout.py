# SPDX-License-Identifier: MIT
"""An AudioMoth's slots: one home of their numbers, and everything that has to agree with it."""

from __future__ import annotations

import re

from cheep.boards.data import BOARDS, find_board
from cheep.card import render_layout
from cheep.card.image import _FIELDS, ABI, HEADER_BYTES
from cheep.resources import firmware_root

AUDIOMOTH = firmware_root() / "audiomoth"


def test_slots_records_and_firmware_share_the_flash():
    board = find_board("audiomoth")
    card = board.card
    firmware_end = 0x4000 + 124 * 1024
    ends = [firmware_end, *(slot + card.slot_bytes for slot in card.slots), *(s + card.page_bytes for s in card.state)]
    starts = [*card.slots, *card.state, 0x4000 + board.flash_bytes]
    assert starts == ends
    assert not any(address % card.page_bytes for address in starts)
    assert card.window == 0x2000_0000
    assert [b.name for b in BOARDS if b.card] == ["audiomoth"]


def test_linker_script_and_project_say_the_same_numbers():
    card = find_board("audiomoth").card
    script, project = ((AUDIOMOTH / name).read_text() for name in ("audiomoth.ld", "platformio.ini"))
    assert f"DEFINED(__cheep_card_models) ? {card.window_bytes // 1024}K : 0;" in script
    assert f"ORIGIN(RAM) + {card.window_bytes // 1024}K : ." in script
    assert f"DEFINED(__cheep_card_models) ? {(card.slots[0] - 0x4000) // 1024}K : 240K;" in script
    section = project.partition("[env:audiomoth-card]")[2].partition("\n[env:")[0]
    assert f"-D CHEEP_MAX_CLASSES={card.max_classes}\n" in section
    assert f"-D CHEEP_MAX_SCORES={card.max_scores}\n" in section
    assert f"CHEEP_CARD_SLOT1 0x{card.slots[1]:08x}u" in render_layout(find_board("audiomoth"))


def test_header_and_abi_are_those_of_the_c_header():
    text = (firmware_root() / "card" / "include" / "cheep_image.h").read_text()
    assert f"#define CHEEP_IMAGE_ABI {ABI}u" in text
    assert f"#define CHEEP_IMAGE_HEADER_BYTES {HEADER_BYTES}u" in text
    assert int(re.search(r"CHEEP_IMAGE_SIGNED_BYTES (\d+)u", text).group(1)) == _FIELDS.size
