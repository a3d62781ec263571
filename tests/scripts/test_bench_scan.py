# SPDX-License-Identifier: MIT
"""The benchmark of the scan runs, and says what issue and documents quote."""

import json
import subprocess
import sys
from pathlib import Path

from tone_model import write_tone_run

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_scan.py"


def test_speed_by_kind_of_file_and_stage(tmp_path):
    model = write_tone_run(tmp_path / "run")
    command = [sys.executable, str(SCRIPT), "--model", str(model), "--minutes", "0.34", "--rounds", "1", "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr  # 1: a machine that is slow today
    rows = {row["name"]: row["value"] for row in json.loads(done.stdout)}
    for kind in ("wav_8k", "wav_48k", "flac_32k"):
        assert rows[f"scan.realtime_per_core.{kind}"] > 20
        parts = [rows[f"scan.{kind}.{part}"] for part in ("decoding", "resampling", "front end", "network", "detector")]
        assert sum(parts) > 0 and rows[f"scan.{kind}.whole"] > 0
    assert rows["scan.realtime_per_core"] == rows["scan.realtime_per_core.wav_8k"]
    assert rows["scan.compiled_over_tflm"] > 0
