# SPDX-License-Identifier: MIT
"""Numbers in other people's files."""

from __future__ import annotations

import re
from pathlib import Path

from cheep.errors import CheepError

#: A number with a decimal point or comma.
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d{1,3})?", re.ASCII)


def number_field(text: str, path: Path, line: int, name: str) -> float:
    """Parse a finite number (decimal point or comma) or raise :class:`CheepError` naming file, line and field."""
    text = text.strip()
    if not NUMBER.fullmatch(text):
        raise CheepError(f"{path}:{line}: {name}={text[:40]!r}: must be a number")
    value = float(text.replace(",", "."))
    if not -1e12 < value < 1e12:
        raise CheepError(f"{path}:{line}: {name}={text[:40]!r}: must be below 1e12")
    return value


_CLOCK = re.compile(r"(?:(\d{1,4}):)?([0-5]?\d):([0-5]?\d(?:[.,]\d{1,9})?)", re.ASCII)


_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}", re.ASCII)


def seconds_field(text: str, path: Path, line: int, name: str) -> float:
    """Parse a time: a number of seconds, ``m:ss``, or ``h:mm:ss`` with or without a fraction; errors as above."""
    if found := _CLOCK.fullmatch(text.strip()):
        hours, minutes, seconds = found.groups()
        return 3600 * int(hours or 0) + 60 * int(minutes) + float(seconds.replace(",", "."))
    if _DATE.search(text):
        raise CheepError(
            f"{path}:{line}: {name}={text[:40]!r}: is a date; must be seconds (or h:mm:ss) since the start of the "
            "recording"
        )
    return number_field(text, path, line, name)
