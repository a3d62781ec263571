# SPDX-License-Identifier: MIT
"""Tables in workbooks (xlsx, xlsm, xls, ods), as the text of a table whose cells are separated by tabs."""

from __future__ import annotations

import datetime
import io
import logging
from pathlib import Path

from cheep.errors import CheepError

log = logging.getLogger(__name__)

SUFFIXES = (".xlsx", ".xlsm", ".xls", ".ods")
_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def is_workbook(path: Path, data: bytes) -> bool:
    """Tell whether ``data``, the bytes of ``path``, are those of a workbook: by their beginning and the suffix."""
    return data.startswith((_ZIP, _OLE)) and path.suffix.lower() in SUFFIXES


def workbook_text(path: Path, data: bytes) -> str:
    """Return the rows of a workbook as lines of cells with tabs between; times of a day are ``h:mm:ss``.

    Sheets with the header of the first one that has rows are joined to it; others are passed over, and said.

    Raises
    ------
    CheepError
        The workbook is damaged or locked with a password.
    """
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(data))
        sheets = {name: book.get_sheet_by_name(name).to_python() for name in book.sheet_names}
    except (CalamineError, OSError, ValueError) as error:
        raise CheepError(f"{path}: cannot be read as a workbook ({error}); save the table as CSV") from None
    header: list[str] = []
    lines: list[list[str]] = []
    others = []
    for name, rows in sheets.items():
        cells = [[_text(value) for value in row] for row in rows]
        cells = [row for row in cells if any(row)]
        if cells and not header:
            header, lines = cells[0], cells
        elif cells and cells[0] == header:
            lines += cells[1:]
        elif cells:
            others.append(name)
    if others:
        log.warning("%s: sheet(s) with other columns passed over: %s", path, ", ".join(others))
    return "".join("\t".join(row) + "\n" for row in lines)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return repr(int(value)) if value == int(value) else repr(value)
    if isinstance(value, datetime.timedelta):
        seconds = value.total_seconds()
        return f"{int(seconds // 3600)}:{int(seconds // 60 % 60):02d}:{seconds % 60:09.6f}"
    return " ".join(str(value).split())
