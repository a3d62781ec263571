# SPDX-License-Identifier: MIT
"""The manifest: one CSV row per example, in columns that stay small at a million rows.

Text columns are dictionary-coded (int32 codes into a list of distinct values), numbers are float64.
A manifest is written to a temporary name and renamed; the same content gives the same bytes.
"""

from __future__ import annotations

import csv
import hashlib
import math
import os
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import Self

from cheep.config import nearest_name
from cheep.datasets.files import csv_rows
from cheep.errors import CheepError
from cheep.files import atomic_write

#: Columns that every manifest has, in their order.
REQUIRED = (
    "path",
    "label",
    "start_s",
    "duration_s",
    "recording",
    "recordist",
    "licence",
    "attribution",
    "split",
    "sha256",
)
#: Columns that a manifest may have, in their order; others follow alphabetically.
OPTIONAL = ("group", "fold", "source", "snr_db", "reason")
NUMBERS = ("start_s", "duration_s", "snr_db")
SPLITS = ("train", "val", "test")


class TextColumn:
    """A text column: ``codes`` (n,) int32 into ``values``."""

    __slots__ = ("codes", "values")

    def __init__(self, codes: np.ndarray, values: list[str]) -> None:
        self.codes = codes
        self.values = values

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """Code ``texts`` in the order of their first appearance."""
        known: dict[str, int] = {}
        codes = array("i", (known.setdefault(text, len(known)) for text in texts))
        return cls(np.frombuffer(codes, np.int32).copy() if codes else np.zeros(0, np.int32), list(known))

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, index: np.ndarray) -> TextColumn:
        """Return the rows of ``index`` (n,) int or bool."""
        return TextColumn(self.codes[index], self.values)

    def texts(self) -> list[str]:
        """Return the values row by row."""
        values = self.values
        return [values[code] for code in self.codes.tolist()]


class Manifest:
    """Examples as columns.

    Parameters
    ----------
    columns
        Column name -> :class:`TextColumn` or (n,) float64 array. Missing required columns are empty.
    folder
        What relative paths in column ``path`` start from (the folder of the manifest file).
    """

    def __init__(self, columns: Mapping[str, TextColumn | np.ndarray], folder: Path | str = ".") -> None:
        sizes = {len(column) for column in columns.values()}
        if len(sizes) > 1:
            raise ValueError(f"columns differ in length: {sorted(sizes)}")
        self._size = sizes.pop() if sizes else 0
        self.folder = Path(folder)
        extra = sorted(set(columns) - set(REQUIRED) - set(OPTIONAL))
        self.columns: dict[str, TextColumn | np.ndarray] = {}
        for name in (*REQUIRED, *OPTIONAL, *extra):
            if name in columns:
                self.columns[name] = columns[name]
            elif name in REQUIRED:
                self.columns[name] = (
                    np.zeros(self._size) if name in NUMBERS else TextColumn(np.zeros(self._size, np.int32), [""])
                )

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]], folder: Path | str = ".") -> Self:
        """Build a manifest from mappings; keys that one row lacks are empty."""
        rows = list(rows)
        names = sorted({name for row in rows for name in row})
        columns: dict[str, TextColumn | np.ndarray] = {}
        for name in names:
            if name in NUMBERS:
                columns[name] = np.array([_number(row.get(name)) for row in rows], float)
            else:
                columns[name] = TextColumn.of(str(row.get(name, "")) for row in rows)
        return cls(columns, folder)

    # -- reading ---------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._size

    @property
    def start_s(self) -> np.ndarray:
        """(n,) float64: where the example starts in its file, s."""
        return self.numbers("start_s")

    @property
    def duration_s(self) -> np.ndarray:
        """(n,) float64: length of the example, s."""
        return self.numbers("duration_s")

    @property
    def labels(self) -> list[str]:
        """Distinct labels that occur, sorted."""
        codes, values = self.codes("label")
        return sorted(values[code] for code in np.unique(codes))

    def codes(self, name: str) -> tuple[np.ndarray, list[str]]:
        """Return ``(codes (n,) int32, values)`` of text column ``name``."""
        column = self._named(name)
        if not isinstance(column, TextColumn):
            raise ValueError(f"column {name} holds numbers")
        return column.codes, column.values

    def column(self, name: str) -> list[str]:
        """Return text column ``name`` row by row."""
        column = self._named(name)
        if not isinstance(column, TextColumn):
            return [_text(value) for value in column.tolist()]
        return column.texts()

    def has(self, name: str) -> bool:
        """Tell whether column ``name`` exists and is not empty everywhere."""
        column = self.columns.get(name)
        if column is None or not len(column):
            return False
        if isinstance(column, TextColumn):
            return any(column.values[code] for code in np.unique(column.codes))
        return bool(np.isfinite(column).any())

    def audio_path(self, row: int) -> Path:
        """Return the audio file of ``row``, relative paths taken from the manifest's folder."""
        codes, values = self.codes("path")
        return self.folder / values[codes[row]]

    def audio_paths(self) -> list[Path]:
        """Return the distinct audio files, in the order of ``codes("path")[1]`` (used or not)."""
        return [self.folder / value for value in self.codes("path")[1]]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield rows as dictionaries; numbers are floats."""
        names = list(self.columns)
        lists = [
            column.texts() if isinstance(column, TextColumn) else column.tolist() for column in self.columns.values()
        ]
        for values in zip(*lists, strict=True):
            yield dict(zip(names, values, strict=True))

    # -- deriving --------------------------------------------------------------------------

    def anchored(self) -> Manifest:
        """Return the manifest with absolute paths: its rows can join those of another folder."""
        codes, values = self.codes("path")
        return self.with_column("path", TextColumn(codes, [str((self.folder / value).resolve()) for value in values]))

    def select(self, index: np.ndarray | Sequence[int]) -> Manifest:
        """Return the rows of ``index``: (k,) int64 row numbers or a (rows,) bool mask."""
        index = np.asarray(index)
        if index.size == 0 and index.dtype != bool:
            index = index.astype(int)
        columns = {
            name: column.take(index) if isinstance(column, TextColumn) else column[index]
            for name, column in self.columns.items()
        }
        return Manifest(columns, self.folder)

    def where(self, name: str, *wanted: str) -> Manifest:
        """Return the rows whose text column ``name`` is one of ``wanted``."""
        codes, values = self.codes(name)
        keep = np.array([value in wanted for value in values], bool)
        return self.select(keep[codes] if len(keep) else np.zeros(0, bool))

    def of_split(self, split: str) -> Manifest:
        """Return the rows of ``split`` (train, val or test)."""
        return self.where("split", split)

    def with_column(self, name: str, column: TextColumn | np.ndarray | Sequence[str]) -> Manifest:
        """Return a manifest in which column ``name`` is replaced or added.

        ``column`` : texts, one a row, or numbers, (rows,) float64.
        """
        if not isinstance(column, TextColumn | np.ndarray):
            column = TextColumn.of(column)
        return Manifest({**self.columns, name: column}, self.folder)

    # -- writing ---------------------------------------------------------------------------

    def write(self, path: Path | str) -> str:
        """Write the CSV at ``path`` (temporary name, then renamed) and return its SHA-256.

        Audio paths are rewritten relative to the folder of ``path``, so that a data set can be moved.
        """
        path = Path(path)
        old = self.folder.resolve()
        new = path.parent.resolve()
        moved = dict(self.columns)
        if old != new:
            codes, values = self.codes("path")
            moved["path"] = TextColumn(codes, [relative_path(old / value, new) for value in values])
        digest = hashlib.sha256()
        with atomic_write(path) as stream:
            out = _HashingText(stream, digest)
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(moved)
            step = 65536
            for begin in range(0, self._size, step):
                chunk = slice(begin, begin + step)
                lists = [
                    TextColumn(column.codes[chunk], column.values).texts()
                    if isinstance(column, TextColumn)
                    else [_text(value) for value in column[chunk].tolist()]
                    for column in moved.values()
                ]
                writer.writerows(zip(*lists, strict=True))
        return digest.hexdigest()

    def numbers(self, name: str) -> np.ndarray:
        """Return a column of :data:`NUMBERS`, (n,) float64."""
        column = self._named(name)
        if isinstance(column, TextColumn):
            raise TypeError(f"column {name!r} holds text; codes() and column() read it")
        return column

    def _named(self, name: str) -> TextColumn | np.ndarray:
        if name not in self.columns:
            raise CheepError(
                f"column {name!r}: not in the manifest{nearest_name(name, self.columns)}; it has "
                + ", ".join(self.columns)
            )
        return self.columns[name]


def load_manifest(path: Path | str) -> Manifest:
    """Read a manifest CSV; raise :class:`CheepError` naming file, line and column of what is wrong."""
    path = Path(path)
    if path.is_dir():
        raise CheepError(f"{path}: is a folder, no manifest (cheep split-dataset {path} makes runs/latest/dataset.csv)")
    header: list[str] | None = None
    known: list[dict[str, int]] = []
    stores: list[array] = []
    for line, row in csv_rows(path):
        if header is None:
            header = [name.strip() for name in row]
            missing = [name for name in REQUIRED if name not in header]
            if missing:
                raise CheepError(
                    f"{path}:{line}: column(s) {', '.join(missing)} missing: not a manifest "
                    f"(make one with: cheep split-dataset --csv {path.name})"
                )
            if len(set(header)) != len(header):
                raise CheepError(f"{path}:{line}: a column name appears twice: {', '.join(header)}")
            known = [{} for _ in header]
            stores = [array("d" if name in NUMBERS else "i") for name in header]
            numeric = [name in NUMBERS for name in header]
            continue
        if len(row) != len(header):
            raise CheepError(f"{path}:{line}: {len(row)} fields, the header has {len(header)}")
        for place, text in enumerate(row):
            if numeric[place]:
                stores[place].append(_parse_number(text, path, line, header[place]))
            else:
                table = known[place]
                stores[place].append(table.setdefault(text, len(table)))
    if header is None:
        raise CheepError(f"{path}: empty file: a manifest has at least its header line")
    columns: dict[str, TextColumn | np.ndarray] = {}
    for name, table, store in zip(header, known, stores, strict=True):
        if name in NUMBERS:
            columns[name] = np.array(store, float)
        else:
            columns[name] = TextColumn(np.array(store, np.int32), list(table))
    manifest = Manifest(columns, path.parent)
    _check_values(manifest, path)
    return manifest


def relative_path(target: Path, folder: Path) -> str:
    """Return ``target`` as seen from ``folder`` with forward slashes (absolute on another drive)."""
    try:
        return Path(os.path.relpath(target, folder)).as_posix()
    except ValueError:
        return target.as_posix()


def _check_values(manifest: Manifest, path: Path) -> None:
    for name, rule, wrong in (
        ("start_s", "at least 0", ~(manifest.start_s >= 0)),
        ("duration_s", "above 0", ~(manifest.duration_s > 0)),
    ):
        rows = np.flatnonzero(wrong)
        if rows.size:
            value = manifest.numbers(name)[rows[0]]
            raise CheepError(f"{path}: row {rows[0] + 1}: {name}={value:g}: must be {rule}")
    codes, values = manifest.codes("split")
    for code in np.unique(codes):
        if values[code] not in (*SPLITS, ""):
            row = int(np.flatnonzero(codes == code)[0]) + 1
            raise CheepError(f"{path}: row {row}: split={values[code]!r}: must be train, val, test or empty")
    for name in ("path", "label"):
        codes, values = manifest.codes(name)
        for code in np.unique(codes):
            if not values[code].strip():
                raise CheepError(f"{path}: row {int(np.flatnonzero(codes == code)[0]) + 1}: {name} is empty")


def _parse_number(text: str, path: Path, line: int, name: str) -> float:
    if not text.strip():
        return math.nan
    try:
        value = float(text)
    except ValueError:
        raise CheepError(f"{path}:{line}: {name}={text!r}: must be a number") from None
    if not math.isfinite(value):
        raise CheepError(f"{path}:{line}: {name}={text!r}: must be a finite number")
    return value


def _number(value: Any) -> float:
    return math.nan if value is None or value == "" else float(value)


def _text(value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.6f}".rstrip("0").rstrip(".") if value else "0"


class _HashingText:
    def __init__(self, stream: Any, digest: Any) -> None:
        self.stream, self.digest = stream, digest

    def write(self, text: str) -> int:
        data = text.encode()
        self.digest.update(data)
        self.stream.write(data)
        return len(text)
