# SPDX-License-Identifier: MIT
"""Generated files on disk: written whole or not at all, or checked against what would be written."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from cheep.errors import GateError
from cheep.files import write_bytes

_SHOWN_LINES = 20


def write_files(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Write each text whose file differs; return the paths that changed."""
    changed = []
    for name, text in files.items():
        path = folder / name
        data = text.encode()
        if not path.is_file() or path.read_bytes() != data:
            write_bytes(path, data)
            changed.append(path)
    return changed


def check_files(folder: Path, files: Mapping[str, str], command: str) -> None:
    """Compare the files with their texts.

    Raises
    ------
    GateError
        A file is missing or differs; the message holds the diff and the command that makes it again.
    """
    problems = []
    for name, text in files.items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{path}: missing")
            continue
        found = path.read_bytes().decode("utf-8", "replace")
        if found != text:
            lines = difflib.unified_diff(
                found.splitlines(), text.splitlines(), f"{name} (on disk)", f"{name} (from the model)", lineterm="", n=1
            )
            shown = [line if len(line) <= 120 else line[:117] + "..." for line in lines]
            if len(shown) > _SHOWN_LINES:
                shown = [*shown[:_SHOWN_LINES], f"... {len(shown) - _SHOWN_LINES} more lines"]
            problems.append("\n".join([f"{path}: differs", *shown]))
    if problems:
        raise GateError("\n".join([*problems, f"make the generated files again with: {command}"]))
