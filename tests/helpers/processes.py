# SPDX-License-Identifier: MIT
"""Processes that tests have started, or that those have started in turn."""

from __future__ import annotations

import os
import time


def wait_for_end(pid: int) -> None:
    """Wait until a process that is nobody's child any more is gone (its new parent may take its time)."""
    deadline = time.monotonic() + 60
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        assert time.monotonic() < deadline, "an orphan"
        time.sleep(0.05)
