# SPDX-License-Identifier: MIT
"""Tables that people have: CSV with any separator, in any usual encoding, with decimal commas and ragged rows."""

from __future__ import annotations

import codecs
import csv
import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from cheep.datasets.files import MAX_FIELD_CHARS, decoded, read_bytes
from cheep.datasets.spreadsheets import is_workbook, workbook_text
from cheep.errors import CheepError

_SEPARATORS = "\t;,|"
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table with a header line: ``header`` as written (without spaces around), ``rows`` of (line number, cells)."""

    path: Path
    header: tuple[str, ...]
    header_line: int
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    separator: str

    def places(self) -> dict[str, int]:
        """Return column name, lower case -> place (of the first column of that name)."""
        return {name.lower(): at for at, name in reversed(list(enumerate(self.header)))}


def decode(path: Path, data: bytes) -> tuple[str, str]:
    """Return ``(text, encoding)`` of a text file: UTF-8, UTF-16, UTF-32 by their marks, UTF-16 by its zero bytes.

    What is none of these is Windows-1252, as spreadsheets of western Europe write it; the caller says so.

    Raises
    ------
    CheepError
        The bytes are no text in any of them; names file and line.
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return _decoded(path, data[len(mark) :], encoding), encoding
    sample = data[:4000]
    if len(sample) >= 4 and sample.count(0) > len(sample) // 4:
        even = sample[::2].count(0) > sample[1::2].count(0)
        encoding = "utf-16-be" if even else "utf-16-le"
        return _decoded(path, data, encoding), encoding
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return _decoded(path, data, "windows-1252"), "windows-1252"


def _decoded(path: Path, data: bytes, encoding: str) -> str:
    return decoded(path, data, encoding, f"neither UTF-8 nor {encoding.upper()}")


def read_table_text(path: Path | str) -> tuple[str, str]:
    """Return :func:`decode` of the file at ``path``; of a workbook its rows, and ``workbook``."""
    path = Path(path)
    data = read_bytes(path)
    return (workbook_text(path, data), "workbook") if is_workbook(path, data) else decode(path, data)


def split_lines(text: str) -> list[str]:
    """Return the lines of ``text`` with their ends; only line feeds and carriage returns end one."""
    parts = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [part + "\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def fields(path: Path, lines: Iterable[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield ``(line number, cells)``, blank lines skipped; quotes mean nothing between tabs."""
    old = csv.field_size_limit(MAX_FIELD_CHARS)
    quoting: Literal[0, 3] = csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL
    reader = csv.reader(lines, delimiter=separator, quoting=quoting, skipinitialspace=separator != "\t")
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise CheepError(f"{path}:{reader.line_num}: {error}") from None
    finally:
        csv.field_size_limit(old)


def separator_of(line: str) -> str:
    """Return what separates the cells of a header line: tab, semicolon, comma or bar; a comma where there is none."""
    outside = "".join(line.split('"')[::2])
    return max(_SEPARATORS[1:], key=outside.count) if "\t" not in outside else "\t"


def parse_table(path: Path, text: str) -> Table:
    """Read a table with a header line. Rows that end early are filled with empty cells.

    Raises
    ------
    CheepError
        No header, a column name that is there twice, or a row with more cells than the header has columns.
    """
    lines = split_lines(text)
    if lines and re.fullmatch(r'"?sep=[\t;,|]"?\s*', lines[0], re.IGNORECASE):  # a note for Excel
        lines[0] = "\n"
    first = next((line for line in lines if line.strip()), "")
    separator = separator_of(first)
    header: tuple[str, ...] = ()
    header_line = 0
    rows = []
    for line, row in fields(path, lines, separator):
        if not header:
            header, header_line = tuple(cell.strip() for cell in row), line
            continue
        cells = [cell.strip() for cell in row]
        if len(cells) > len(header):
            if any(cells[len(header) :]):
                hint = " (decimal commas between commas? save it with semicolons)" if separator == "," else ""
                raise CheepError(f"{path}:{line}: {len(cells)} fields, the header has {len(header)}{hint}")
            del cells[len(header) :]
        rows.append((line, (*cells, *[""] * (len(header) - len(cells)))))
    if not header:
        raise CheepError(f"{path}: empty: a table has a header line")
    return Table(path, header, header_line, tuple(rows), separator)


def read_table(path: Path | str) -> Table:
    """Read the table at ``path``: see :func:`decode` and :func:`parse_table`."""
    path = Path(path)
    return parse_table(path, read_table_text(path)[0])


def first_of(places: dict[str, int], names: Sequence[str]) -> str:
    """Return the first of ``names`` that is a column, or an empty string."""
    return next((name for name in names if name in places), "")
