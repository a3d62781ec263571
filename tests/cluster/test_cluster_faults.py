# SPDX-License-Identifier: MIT
"""The fault campaign's short form: machines in network namespaces, a killed worker, a new scheduler, the same bytes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="requirements-cluster.txt is optional")

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_cluster_faults.py"


@pytest.mark.xdist_group("cluster")
def test_a_disturbed_scan_gives_the_bytes_of_an_undisturbed_one():
    command = [sys.executable, str(SCRIPT), "--files", "120", "--seconds", "8", "--workers", "2", "--json"]
    command += ["--faults", "2", "--only", "scheduler restarted", "worker killed", "--pause", "0.5", "--limit-s", "120"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    if done.returncode == 3:
        pytest.skip(f"network namespaces: {done.stderr.strip()}")
    assert done.stdout, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["faults.kinds"] == {"scheduler restarted": 1, "worker killed": 1}
    assert found["faults.files_that_differ"] == 0 and found["faults.files_compared"] > 120
