"""Annotations that a person made: Raven selection tables, Audacity label tracks, CSV of times, xeno-canto sets.

Every parser takes a path and returns ``{audio name: [Box]}``; the name is empty where the file does not say which
audio it speaks of (then the file's own name does). What is wrong is named by file, line and field.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PureWindowsPath

from cheep.datasets.files import MAX_FIELD_CHARS, read_text
from cheep.datasets.numbers import number_field
from cheep.errors import CheepError

log = logging.getLogger(__name__)

SUFFIXES = (".txt", ".csv", ".tsv", ".json")
_START = ("start_s", "begin_s", "start", "begin", "onset", "start_time", "begin time (s)", "start (s)", "tmin")
_END = ("end_s", "end", "stop", "end_time", "end time (s)", "end (s)", "tmax")
_DURATION = ("duration_s", "duration", "length_s", "delta time (s)")
_FILE = ("file", "path", "filename", "file_name", "audio", "recording", "begin file", "begin path")
_LABEL = (
    "label",
    "species",
    "class",
    "annotation",
    "scientific_name",
    "common name",
    "species code",
    "call type",
    "type",
)
_LOW = ("low_hz", "low freq (hz)", "fmin", "frequency_low", "freq_min")
_HIGH = ("high_hz", "high freq (hz)", "fmax", "frequency_high", "freq_max")


@dataclasses.dataclass(frozen=True)
class Box:
    """A marked stretch of a recording: times in s, optional band in Hz, label (empty: the recording's own)."""

    start_s: float
    end_s: float
    label: str = ""
    low_hz: float | None = None
    high_hz: float | None = None


def read_annotations(path: Path | str) -> dict[str, list[Box]]:
    """Read a file of any known kind, told by its content."""
    path = Path(path)
    text = read_text(path)
    first = next((line for line in text.splitlines() if line.strip()), "")
    if path.suffix.lower() == ".json":
        return parse_xeno_canto_set(path, text)
    if "\t" in first:
        names = [name.strip().lower() for name in first.split("\t")]
        if "begin time (s)" in names:
            return parse_raven(path, text)
        if any(name in _START for name in names):
            return parse_times(path, text, "\t")
        return {"": parse_audacity(path, text)}
    return parse_times(path, text, ";" if first.count(";") > first.count(",") else ",")


def parse_raven(path: Path, text: str) -> dict[str, list[Box]]:
    """Read a Raven selection table: one box per selection, whatever its views; ``File Offset (s)`` where present."""
    boxes: dict[str, list[Box]] = {}
    header: dict[str, int] = {}
    seen: set[tuple[str, str]] = set()
    for line, row in _fields(path, text, "\t"):
        if not header:
            header = {name.strip().lower(): at for at, name in reversed(list(enumerate(row)))}
            for name in ("begin time (s)", "end time (s)"):
                if name not in header:
                    raise CheepError(f"{path}:{line}: no column {name!r}: not a Raven selection table")
            continue
        _check_width(path, line, row, header)
        name = _named(row, header, _FILE)
        selection = _cell(row, header, "selection")
        if selection and (name, selection) in seen:
            continue  # the same selection in another view
        seen.add((name, selection))
        start = number_field(_cell(row, header, "begin time (s)"), path, line, "Begin Time (s)")
        end = number_field(_cell(row, header, "end time (s)"), path, line, "End Time (s)")
        if offset := _cell(row, header, "file offset (s)"):
            length = end - start
            start = number_field(offset, path, line, "File Offset (s)")
            end = start + length
        boxes.setdefault(name, []).append(_box(path, line, start, end, row, header))
    if not header:
        raise CheepError(f"{path}: empty: a Raven selection table has a header line")
    return boxes


def parse_audacity(path: Path, text: str) -> list[Box]:
    """Read an Audacity label track (``start TAB end TAB label``, spectral lines allowed); points are passed over."""
    boxes: list[Box] = []
    points = 0
    last_was_label = False
    for line, row in _fields(path, text, "\t"):
        if row[0].strip() == "\\":
            if not last_was_label or len(row) != 3:
                raise CheepError(f"{path}:{line}: a line of frequencies must follow a label and hold two numbers")
            low, high = (number_field(row[at], path, line, name) for at, name in ((1, "low"), (2, "high")))
            if boxes and last_was_label == "box":
                boxes[-1] = dataclasses.replace(
                    boxes[-1], low_hz=low if low >= 0 else None, high_hz=high if high >= 0 else None
                )
            last_was_label = False
            continue
        if len(row) < 2:
            raise CheepError(f"{path}:{line}: {row[0][:40]!r}: must be start, end and label, separated by tabs")
        start = number_field(row[0], path, line, "start")
        end = number_field(row[1], path, line, "end")
        if end == start:
            points += 1
            last_was_label = "point"
            continue
        boxes.append(_checked(path, line, start, end, row[2].strip() if len(row) > 2 else "", None, None))
        last_was_label = "box"
    if points:
        log.info("%s: %d point label(s) passed over: they mark no stretch", path, points)
    return boxes


def parse_times(path: Path, text: str, delimiter: str = ",") -> dict[str, list[Box]]:
    """Read a CSV of times: a start and an end (or duration) column, label, file and band where present."""
    boxes: dict[str, list[Box]] = {}
    header: dict[str, int] = {}
    start_name = end_name = duration_name = ""
    for line, row in _fields(path, text, delimiter):
        if not header:
            header = {name.strip().lower(): at for at, name in reversed(list(enumerate(row)))}
            start_name, end_name, duration_name = (
                next((name for name in names if name in header), "") for names in (_START, _END, _DURATION)
            )
            if not start_name or not (end_name or duration_name):
                raise CheepError(
                    f"{path}:{line}: no columns for start and end: name them start_s and end_s (it has "
                    f"{', '.join(name.strip() for name in row)[:200]})"
                )
            continue
        _check_width(path, line, row, header)
        start = number_field(_cell(row, header, start_name), path, line, start_name)
        if end_name:
            end = number_field(_cell(row, header, end_name), path, line, end_name)
        else:
            end = start + number_field(_cell(row, header, duration_name), path, line, duration_name)
        boxes.setdefault(_named(row, header, _FILE), []).append(_box(path, line, start, end, row, header))
    if not header:
        raise CheepError(f"{path}: empty: a CSV of times has a header line")
    return boxes


def parse_xeno_canto_set(path: Path, text: str) -> dict[str, list[Box]]:
    """Read a xeno-canto annotation set (JSON with ``annotations``), by recording ``XC123``."""
    try:
        data = json.loads(text)
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        raise CheepError(f"{path}:{line}: not JSON: {getattr(error, 'msg', error)}") from None
    except RecursionError:
        raise CheepError(f"{path}:1: nested too deeply") from None
    items = data.get("annotations") if isinstance(data, dict) else None
    if not isinstance(items, list):
        raise CheepError(f"{path}:1: annotations: must be a list (a xeno-canto annotation set)")
    boxes: dict[str, list[Box]] = {}
    for number, item in enumerate(items):
        where = f"annotations[{number}]"
        if not isinstance(item, dict):
            raise CheepError(f"{path}:1: {where}: must be an object")
        values = {}
        for name in ("start_time", "end_time", "frequency_low", "frequency_high"):
            value = item.get(name)
            if value in (None, "") and name.startswith("frequency"):
                values[name] = None
            else:
                values[name] = number_field(str(value), path, 1, f"{where}.{name}")
        digits = re.sub(r"^XC", "", str(item.get("xc_nr") or ""), flags=re.IGNORECASE).strip()
        label = item.get("scientific_name")
        box = _checked(
            path, 1, values["start_time"], values["end_time"], label.strip() if isinstance(label, str) else "",
            values["frequency_low"], values["frequency_high"],
        )  # fmt: skip
        boxes.setdefault(f"XC{digits}" if digits else "", []).append(box)
    return boxes


def boxes_for(sources: Sequence[Path], audio: Sequence[Path]) -> dict[Path, list[Box]]:
    """Return the boxes of each audio file from annotation files and folders of them.

    A file that names its audio (column ``file``, ``Begin File``, ``xc_nr``) is taken at its word; another belongs
    to the audio of the same name (``a.Table.1.selections.txt``, ``a.txt``, ``a.wav.csv`` to ``a.wav``).

    Raises
    ------
    CheepError
        A file cannot be read, or a file that was given by name speaks of no audio in the set.
    """
    by_name: dict[str, list[Path]] = {}
    for path in audio:
        for name in {path.name.lower(), path.stem.lower()}:
            by_name.setdefault(name, []).append(path)
    result: dict[Path, list[Box]] = {}
    unmatched = 0
    for source, given in _files(sources):
        matched = 0
        for name, boxes in read_annotations(source).items():
            for target in _matches(name or _audio_name(source), by_name):
                result.setdefault(target, []).extend(boxes)
                matched += 1
        if not matched and given:
            raise CheepError(f"{source}: speaks of no audio in the set (its name, or its column file, must match one)")
        unmatched += not matched
    if unmatched:
        log.warning("%d annotation file(s) speak of no audio in the set", unmatched)
    return {path: sorted(boxes, key=lambda box: (box.start_s, box.end_s, box.label)) for path, boxes in result.items()}


def _files(sources: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    for source in sources:
        if source.is_dir():
            names = ("metadata.csv", "dataset.csv", "attribution.csv", "problems.csv")
            for item in sorted(source.rglob("*")):
                if item.suffix.lower() in SUFFIXES and item.is_file() and item.name.lower() not in names:
                    yield item, False
        elif source.is_file():
            yield source, True
        else:
            raise CheepError(f"{source}: no such file or folder (--annotations)")


def _audio_name(path: Path) -> str:
    stem = re.sub(r"\.table\.\d+\.selections$", "", path.stem, flags=re.IGNORECASE)
    return re.sub(r"[._-](labels?|annotations?|selections?)$", "", stem, flags=re.IGNORECASE)


def _matches(name: str, by_name: dict[str, list[Path]]) -> list[Path]:
    wanted = PureWindowsPath(name)  # takes both slashes
    for key in (wanted.name.lower(), wanted.stem.lower()):
        if found := by_name.get(key):
            # of several files of one name, those whose folders agree
            tail = [part.lower() for part in wanted.parts]
            exact = [path for path in found if [part.lower() for part in path.parts[-len(tail) :]] == tail]
            return exact or (found if len(wanted.parts) == 1 or len(found) == 1 else [])
    return []


def _fields(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    old = csv.field_size_limit(MAX_FIELD_CHARS)
    quoting = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, quoting=quoting)
    try:
        for row in reader:
            if any(field.strip() for field in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise CheepError(f"{path}:{reader.line_num}: {error}") from None
    finally:
        csv.field_size_limit(old)


def _check_width(path: Path, line: int, row: list[str], header: dict[str, int]) -> None:
    if len(row) <= max(header.values()) - 1:
        raise CheepError(f"{path}:{line}: {len(row)} fields, the header has {max(header.values()) + 1}")


def _cell(row: list[str], header: dict[str, int], name: str) -> str:
    at = header.get(name, len(row))
    return row[at].strip() if at < len(row) else ""


def _named(row: list[str], header: dict[str, int], names: Sequence[str]) -> str:
    return next((text for name in names if (text := _cell(row, header, name))), "")


def _box(path: Path, line: int, start: float, end: float, row: list[str], header: dict[str, int]) -> Box:
    band: list[float | None] = []
    for names in (_LOW, _HIGH):
        text = _named(row, header, names)
        band.append(number_field(text, path, line, names[0]) if text else None)
    return _checked(path, line, start, end, _named(row, header, _LABEL), band[0], band[1])


def _checked(path: Path, line: int, start: float, end: float, label: str, low: float | None, high: float | None) -> Box:
    if not 0 <= start < end:
        raise CheepError(f"{path}:{line}: start={start:g}, end={end:g}: must be 0 <= start < end (seconds)")
    if low is not None and high is not None and low > high:
        raise CheepError(f"{path}:{line}: low_hz={low:g}, high_hz={high:g}: must be low <= high")
    return Box(start, end, label, low, high)
