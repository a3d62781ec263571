# SPDX-License-Identifier: MIT
"""Locks: two processes that would write the same folder at once are told of each other."""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from cheep.errors import CheepError

log = logging.getLogger(__name__)
_held: dict[tuple[str, int], int] = {}  # (path, process) -> how often this process holds it
_guard = threading.Lock()


@contextlib.contextmanager
def lock(path: str | os.PathLike, subject: str, otherwise: str) -> Iterator[bool]:
    """Hold the lock file ``path`` for the duration of the block; a process may hold it several times over.

    Yields whether this is the first time (an inner block yields False).

    The operating system frees the lock of a process that dies, however it dies: its file, left behind, is taken over.

    Parameters
    ----------
    subject, otherwise : str
        What is locked, and what to do instead of waiting; for the message.

    Raises
    ------
    CheepError
        Another process holds it; the message names its number, host, command and start.
    """
    path = Path(path)
    key = (str(path.resolve()), os.getpid())
    with _guard:
        if key in _held:
            _held[key] += 1
            stream = None
        else:
            stream = _take(path, subject, otherwise)
            _held[key] = 1
    try:
        yield stream is not None
    finally:
        with _guard:
            _held[key] -= 1
            if not _held[key]:
                del _held[key]
        if stream is not None:
            _release(path, stream)


def _take(path: Path, subject: str, otherwise: str) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        stream = open(path, "a+", encoding="utf-8")  # noqa: SIM115
        if not _try(stream):
            stream.seek(0)
            holder = _describe(stream.read())
            stream.close()
            raise CheepError(f"{subject}: is being worked on by {holder}; wait for it, or {otherwise}")
        if _is_file_of(stream, path):
            break
        stream.close()  # its last holder removed the file just now: another one counts
    stream.seek(0)
    left = stream.read()
    if left:
        log.info("%s: taken over from %s, which ended without finishing", subject, _describe(left))
    stream.truncate(0)
    about = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "command": " ".join([Path(sys.argv[0]).name.replace("__main__.py", "cheep"), *sys.argv[1:]]),
        "since": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    stream.write(json.dumps(about) + "\n")
    stream.flush()
    return stream


def _release(path: Path, stream: IO[str]) -> None:
    with contextlib.suppress(OSError):  # a folder that is gone is unlocked as well
        stream.truncate(0)
        path.unlink()
    stream.close()


def _is_file_of(stream: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), os.stat(path))
    except OSError:
        return False


def _try(stream: IO[str]) -> bool:
    """Take the lock of an open file, if it is free."""
    if sys.platform == "win32":
        import msvcrt

        try:
            stream.seek(1 << 30)  # behind the text, which others read
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _describe(text: str) -> str:
    try:
        about = json.loads(text)
        return f"process {about['pid']} on {about['host']} ({about['command']}) since {about['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
