# SPDX-License-Identifier: MIT
"""The update under sanitizers: short forms of scripts/bench_card.py."""

from __future__ import annotations

import pytest

from card_firmware import BOARD
from card_host import build_card_host, run_card_host
from cheep.card import build_image, make_key, public_bytes
from cheep.emulator import M4F
from cheep.export import load_export
from tone_model import LABELS, write_tone_run

pytestmark = [
    pytest.mark.skipif("arm-none-eabi-gcc" in M4F.missing(), reason="needs arm-none-eabi-gcc"),
    pytest.mark.xdist_group("card"),
]


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    key = make_key(folder / "card.key")
    (folder / "key").write_bytes(public_bytes(key))
    for name, labels in (("old", ("background", "low", "high")), ("new", LABELS)):
        export = load_export(write_tone_run(folder / name, labels=labels))
        (folder / f"{name}.bin").write_bytes(build_image(export, BOARD, key).data)
    return build_card_host(folder), folder / "key", folder / "old.bin", folder / "new.bin"


def test_the_power_fails_at_many_moments_and_again_in_the_start_behind(words):
    program, *files = words
    found = run_card_host(program, "cuts", *files, 100)
    assert 90 <= found["cuts"] <= 110
    assert 0 < found["old_model"] < found["cuts"]


def test_damaged_files_and_flash_in_any_order(words):
    program, *files = words
    found = run_card_host(program, "fuzz", *files, 2)
    assert found["starts"] > 10
    assert found["from_the_card"] > 0
