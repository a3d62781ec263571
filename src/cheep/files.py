# SPDX-License-Identifier: MIT
"""Files that are whole or absent: whatever Cheep writes gets a temporary name of its own first, then its name."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from cheep.errors import CheepError, disk_error_text

Row = Sequence[Any] | Mapping[str, Any]
_SHOWN_CHARS = 40  # of a file's name in its temporary name, which must stay within 255 bytes


class DiskError(CheepError):
    """A file cannot be written: no use going on with the next one."""


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a new, empty file beside ``path``, for code that writes to a name; it becomes ``path`` on success.

    The temporary name is unique, so that processes that write the same file at once do not meet; the last one to
    finish wins. The file is flushed to the disk before it is renamed, and removed if anything goes wrong.

    Raises
    ------
    DiskError
        The folder or the file cannot be written, or the disk is full.
    """
    path = Path(path)
    part = path.with_name(f".{path.name[:_SHOWN_CHARS]}.{secrets.token_hex(6)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        open(part, "xb").close()
        yield part
        with open(part, "rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(part, path)
    except OSError as error:
        if error.filename in (None, str(part), str(path), str(path.parent)):  # not: another file could not be read
            raise DiskError(f"{path}: cannot write: {disk_error_text(error)}") from None
        raise
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[IO[bytes]]:
    """Yield a stream to write bytes to; what was written becomes ``path`` on success (see :func:`atomic_path`)."""
    with atomic_path(path) as part, open(part, "wb") as stream:
        yield stream


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a new folder beside ``path``; it becomes ``path`` on success, and is removed otherwise.

    Where another process was faster, its folder stays: for folders whose name says what is in them.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name[:_SHOWN_CHARS]}.", suffix=".part"))
    try:
        yield part
        part.chmod(0o755)
        with contextlib.suppress(OSError):
            path.rmdir()  # an empty one may be there
        try:
            os.replace(part, path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what writers that were killed left in a folder; only for who alone writes there (:mod:`cheep.locks`)."""
    for path in folder.glob(".*.part"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Write a whole file or nothing."""
    with atomic_write(path) as stream:
        stream.write(data)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: str | os.PathLike, values: Any) -> None:
    """Write indented JSON with sorted keys, whole or not at all."""
    write_text(path, json.dumps(values, indent=2, sort_keys=True, allow_nan=False) + "\n")


def write_csv(path: str | os.PathLike, header: Sequence[str], rows: Iterable[Row]) -> None:
    """Write a table, whole or not at all; see :func:`csv_text`."""
    write_text(path, csv_text(header, rows))


def csv_text(header: Sequence[str], rows: Iterable[Row]) -> str:
    """Return ``header`` and ``rows`` as CSV; rows are in its order, or by its names; ``None`` is an empty field."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([row[name] for name in header] if isinstance(row, Mapping) else row for row in rows)
    return out.getvalue()


def plain(value: Any) -> Any:
    """Return ``value`` as JSON can hold it: numpy numbers and arrays as plain ones, what is no number as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy, not imported for this
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def needed(path: Path, made_by: str) -> Path:
    """Return ``path`` if it exists; raise CheepError naming the command that makes it."""
    if not path.is_file():
        raise CheepError(f"{path}: missing; make it with {made_by}")
    return path


def read_json(path: str | os.PathLike, made_by: str) -> Any:
    """Read JSON; raise CheepError where it is missing or damaged, naming the command that makes it."""
    path = needed(Path(path), made_by)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheepError(f"{path}: damaged JSON ({error}); make it again with {made_by}") from None


@contextlib.contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    """Remove a folder of work that ends in a CheepError: half of it is nothing."""
    try:
        yield
    except CheepError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
