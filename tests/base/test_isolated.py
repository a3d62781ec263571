# SPDX-License-Identifier: MIT
"""Work in a process of its own ends with the process that asked for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

_PARENT = """
import sys
from cheep.isolated import call_isolated
call_isolated("test_isolated:sleep_for_long", {}, "a test", lambda line: print(line, flush=True))
"""


def sleep_for_long(job, say):
    """Hold the interpreter as native code does, so that no thread of it can run."""
    import ctypes

    say(str(os.getpid()))
    ctypes.PyDLL(None).sleep(60)
    return {}


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "zombie" not in Path(f"/proc/{pid}/status").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells whether a process has ended")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_parent_takes_its_worker_along(how):
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parents[1] / "src")])
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    worker = int(parent.stdout.readline())
    assert _alive(worker)
    parent.send_signal(how)
    parent.wait()
    end = time.monotonic() + 60
    while _alive(worker) and time.monotonic() < end:
        time.sleep(0.02)
    assert not _alive(worker)
