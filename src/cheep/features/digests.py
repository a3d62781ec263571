# SPDX-License-Identifier: MIT
"""Contents of files by their sha256, read again only where a file may have changed."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from cheep.errors import CheepError
from cheep.files import DiskError, write_text
from cheep.parallel import map_each

log = logging.getLogger(__name__)
INDEX = "digests.json"
SETTLED_S = 2.0  # a younger file could change again within one tick of the file system's clock


def sha256_of(path: Path | str) -> str:
    """Return the sha256 of a file, hexadecimal, read block by block; CheepError where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise CheepError(f"{path}: cannot read: {error.strerror or error}") from None
    return digest.hexdigest()


def digests_of(paths: Sequence[Path], folder: Path) -> list[str]:
    """Return the sha256 of each file; those known from ``folder/digests.json`` are not read again.

    A file counts as known where size, inode, time of modification and time of change (which nobody can set: writing
    to a file, or setting its times back, moves it) are all as they were, and were two seconds old when it was read. An
    index that is missing, damaged or cannot be written costs time, nothing else.
    """
    index = folder / INDEX
    known = _read(index)
    names = {path: str(path.resolve()) for path in paths}
    states = {path: _state(path) for path in names}
    found = {path: known[name][-1] for path, name in names.items() if known.get(name, [])[:-1] == states[path]}
    unknown = [path for path in names if path not in found]
    now = time.time_ns()
    for path, outcome in zip(unknown, map_each(sha256_of, unknown), strict=True):
        name, state = names[path], states[path]
        found[path] = outcome.value
        settled = now - max(state[2], state[3]) > SETTLED_S * 1e9
        if settled and _state(path) == state:
            known[name] = [*state, found[path]]
        else:
            known.pop(name, None)
    out = [found[path] for path in paths]
    if unknown:
        _write(index, known)
    return out


def _state(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]


def _read(index: Path) -> dict[str, list]:
    try:
        values = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(values, dict):
        return {}
    return {name: entry for name, entry in values.items() if isinstance(entry, list) and len(entry) == 5}


def _write(index: Path, known: dict[str, list]) -> None:
    try:
        write_text(index, json.dumps(known, sort_keys=True, separators=(",", ":")) + "\n")
    except DiskError as error:
        log.info("%s; files will be read again", error)
