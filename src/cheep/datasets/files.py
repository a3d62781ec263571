# SPDX-License-Identifier: MIT
"""Text and CSV files that people made, read with errors that name the line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from cheep.errors import CheepError

#: No field of a list of recordings is longer than this; longer means an unclosed quote.
MAX_FIELD_CHARS = 1_000_000


def read_bytes(path: Path | str, max_bytes: int = 1 << 30) -> bytes:
    """Read a file that a person made; raise :class:`CheepError` naming it."""
    path = Path(path)
    try:
        if path.stat().st_size > max_bytes:
            raise CheepError(f"{path}: {path.stat().st_size} bytes: larger than any label file (limit {max_bytes})")
        return path.read_bytes()
    except OSError as error:
        raise CheepError(f"{path}: cannot read: {error.strerror or error}") from None


def read_text(path: Path | str, max_bytes: int = 1 << 30) -> str:
    """Read UTF-8 text (with or without BOM; UTF-16 with BOM); raise :class:`CheepError` naming the file."""
    data = read_bytes(path, max_bytes)
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return decoded(path, data, encoding, f"not {encoding.upper()}")


def decoded(path: Path | str, data: bytes, encoding: str, wrong: str) -> str:
    """Return text; raise :class:`CheepError` that names the line and byte which is ``wrong``."""
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise CheepError(f"{path}:{line}: byte {error.start} is {wrong}: save the file as UTF-8") from None


def csv_rows(path: Path | str, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Yield ``(line number, fields)`` of a UTF-8 CSV file, blank lines skipped."""
    path = Path(path)
    old = csv.field_size_limit(MAX_FIELD_CHARS)
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter=delimiter)
            while True:
                try:
                    row = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    raise CheepError(f"{path}:{reader.line_num}: {error}") from None
                except UnicodeDecodeError:
                    raise CheepError(f"{path}:{reader.line_num + 1}: not UTF-8: save the file as UTF-8") from None
                if any(field.strip() for field in row):
                    yield reader.line_num, row
    except OSError as error:
        raise CheepError(f"{path}: cannot read: {error.strerror or error}") from None
    finally:
        csv.field_size_limit(old)
