# SPDX-License-Identifier: MIT
"""The board matrix says what is wrong before it builds, and what a tool said that failed."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import board_matrix
from cheep.boards.data import find_board
from cheep.errors import CheepError


@pytest.mark.parametrize("seconds", ["0", "nan"])
def test_a_wrong_number_of_seconds_is_refused(seconds, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["board_matrix.py", "no.wav", "--seconds", seconds])
    assert board_matrix.main() == 2
    assert f"--seconds {seconds}: must be above 0" in capsys.readouterr().err


def test_where_the_table_goes_is_looked_at_first(tmp_path, monkeypatch):
    monkeypatch.delenv("PICO_SDK_PATH", raising=False)
    page = tmp_path / "page.md"
    with pytest.raises(CheepError, match=r"page.md: cannot be read"):
        board_matrix.check_given(1.0, page)
    page.write_text(f"{board_matrix.END}\n{board_matrix.START}\n")
    with pytest.raises(CheepError, match="must hold the lines <!-- board matrix -->"):
        board_matrix.check_given(1.0, page)
    page.write_text(f"{board_matrix.START}\n{board_matrix.END}\n")
    board_matrix.check_given(1.0, page)


def test_a_wrong_sdk_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PICO_SDK_PATH", str(tmp_path))
    with pytest.raises(CheepError, match=r"holds no pico_sdk_init.cmake: give the folder of the Pico SDK"):
        board_matrix.check_given(1.0, None)
    # it looks right, and cmake fails
    tool = tmp_path / "cmake"
    tool.write_text("#!/bin/sh\necho 'CMake Error: SDK is broken' >&2\nexit 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CheepError, match=r"(?s)PICO_SDK_PATH= leaves it out.*cmake failed:.*SDK is broken"):
        board_matrix.pico(find_board("rp2040"), tmp_path)
    tool.unlink()
    with pytest.raises(CheepError, match=r"cmake: cannot be run .*install it"):
        board_matrix.pico(find_board("rp2040"), tmp_path)
    monkeypatch.delenv("PICO_SDK_PATH")
    assert board_matrix.pico(find_board("rp2040"), Path()) == "no: $PICO_SDK_PATH is not set"
