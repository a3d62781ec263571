# SPDX-License-Identifier: MIT
"""The same event lines on every core that compilers and QEMU offer here."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cheep.bench import cores
from cheep.bench.cores import ALL, check_cores, stand_in
from cheep.errors import CheepError

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_cores.py"


@pytest.fixture(scope="module")
def export(tmp_path_factory, small_features, int8_model, recording):
    return stand_in(int8_model, small_features, recording, tmp_path_factory.mktemp("run"))


# The Cortex-M4F is compared in test_firmware_projects.py; scripts/check_cores.py runs them all.
HERE_TOO = [core for core in ALL if core.name not in ("cortex-m4", "cortex-m7", "rv32imac")]


@pytest.mark.parametrize("core", HERE_TOO, ids=[core.name for core in HERE_TOO])
def test_the_event_lines_of_this_machine(core, export, recording):
    if reason := core.missing():
        pytest.skip(reason)
    result = check_cores(export, recording[: 8 * 8000], [core])
    assert result["cores"] == {"equal": 1, "same": [core.name], "different": [], "skipped": {}}
    assert result["lines"] >= 6


def test_other_lines_are_found(export, recording, monkeypatch):
    lines_on = cores.lines_on
    monkeypatch.setattr(cores, "lines_on", lambda *a: [line.replace("label_0", "label_1") for line in lines_on(*a)])
    told = []
    result = check_cores(export, recording[: 4 * 8000], [cores.HERE], say=told.append)
    assert result["cores"]["different"] == [cores.HERE.name] and result["cores"]["equal"] == 0
    assert told == [f"this machine: {result['lines']} lines, DIFFERENT"]


def test_silence_proves_nothing(export, recording):
    with pytest.raises(CheepError, match="no event in this audio"):
        check_cores(export, recording[:0])


def test_the_script_prints_json_and_skips_what_is_not_installed(tmp_path, export, recording):
    from cheep.audio import write_wav

    write_wav(tmp_path / "a.wav", recording, 8000)
    (tmp_path / "bin").mkdir()
    for tool in ("cc", "gcc", "as", "ld", "collect2"):
        if shutil.which(tool):
            (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--json", "--model", str(export.bundle.path), str(tmp_path / "a.wav"),
         "--core", cores.HERE.name, "--core", "riscv64"],
        capture_output=True, text=True, check=False, env={"PATH": str(tmp_path / "bin"), "HOME": str(Path.home())},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["cores"]
    assert found["equal"] == 1 and found["same"] == [cores.HERE.name]
    assert "gcc-riscv64-linux-gnu" in found["skipped"]["riscv64"]
