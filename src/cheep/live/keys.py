# SPDX-License-Identifier: MIT
"""Single key presses from a terminal, without blocking."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def key_presses() -> Iterator[Callable[[], str]]:
    """Yield a function that returns the key pressed since its last call, or an empty string.

    Where standard input is no terminal the function always returns an empty string. The terminal is as before at exit.
    """
    if not sys.stdin.isatty():
        yield lambda: ""
    elif sys.platform == "win32":
        yield _windows_key
    else:
        import termios
        import tty

        descriptor = sys.stdin.fileno()
        saved = termios.tcgetattr(descriptor)
        try:
            tty.setcbreak(descriptor)
            yield _posix_key
        finally:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, saved)


if sys.platform == "win32":

    def _windows_key() -> str:
        import msvcrt

        return msvcrt.getwch() if msvcrt.kbhit() else ""

else:

    def _posix_key() -> str:
        import select

        ready, _, _ = select.select([sys.stdin], [], [], 0)
        return os.read(sys.stdin.fileno(), 1).decode("latin-1") if ready else ""
