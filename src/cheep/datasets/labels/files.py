# SPDX-License-Identifier: MIT
"""Annotations from files: the one reader for training and evaluation.

Raven selection tables, Audacity label tracks, CSV of times (any separator, encoding and decimal mark; one label per
row or a column per species; workbooks), the tables of BirdNET in all its forms, Kaleidoscope's, Arbimon's, the events
of ``cheep test``, xeno-canto annotation sets, AviaNZ, Praat, ELAN, Sonic Visualiser.

Every parser returns ``{audio name: [Box]}``; the name is empty where the file does not say which audio it speaks of
(then the file's own name and folder do). What is wrong is named by file, line and field.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import re
from collections.abc import Sequence
from pathlib import Path

from cheep.datasets.files import read_bytes
from cheep.datasets.labels.boxes import NOTHING, UNKNOWN, Box, NoAnnotationsError, checked_box
from cheep.datasets.labels.columns import (
    FILE,
    LABEL,
    NO_LABELS,
    SCORE,
    box_of_row,
    by_machine_alone,
    cell_of,
    confidence_column,
    confidence_of,
    file_of,
    first_cell,
    marked_boxes,
    species_columns,
    times_of,
)
from cheep.datasets.labels.json_sets import parse_json
from cheep.datasets.labels.tiers import NO_LENGTH, is_textgrid, parse_elan, parse_layer, parse_textgrid
from cheep.datasets.numbers import number_field
from cheep.datasets.recorders import facts_of_name
from cheep.datasets.tables import Table, fields, first_of, parse_table, read_table_text, split_lines
from cheep.errors import CheepError

_DAY_S = 86400
_LABEL_TRACK = re.compile(r"[-+]?[\d.,]*\d[\d.,]*([eE][-+]?\d+)?|nan|inf")
_NUMBERS_FIRST = re.compile(r"\s*[-+]?[\d.]+\s*[,;]")


def read_annotations(path: Path | str, notes: collections.Counter[str] | None = None) -> dict[str, list[Box]]:
    """Read a file of any known kind, told by its content. ``notes`` counts what was passed over in it.

    Raises
    ------
    NoAnnotationsError
        It is none of them.
    CheepError
        It is one, and something in it is wrong.
    """
    path = Path(path)
    notes = collections.Counter() if notes is None else notes
    if path.suffix.lower() == ".data" and not read_bytes(path).lstrip().startswith(b"["):
        raise NoAnnotationsError(f"{path}:1: no list of segments (AviaNZ)")
    text, _ = read_table_text(path)
    first = next((line for line in split_lines(text) if line.strip()), "")
    if path.suffix.lower() in (".json", ".data"):
        return parse_json(path, text)
    if is_textgrid(text):
        return {"": parse_textgrid(path, text, notes)}
    if path.suffix.lower() == ".eaf":
        return parse_elan(path, text, notes)
    if path.suffix.lower() == ".svl":
        return {"": parse_layer(path, text, notes)}
    if not first and path.suffix.lower() == ".txt":  # a label track without a label
        return {"": [NOTHING]}
    if is_label_track(first):
        return {"": parse_audacity(path, text, notes)}
    if _NUMBERS_FIRST.match(first):
        raise NoAnnotationsError(
            f"{path}:1: no header line: write one, such as start_s,end_s,label (it is {first[:60]!r})"
        )
    table = parse_table(path, text)
    place = table.places()
    if {"recording", "x1", "x2", "validated", "minute"} <= set(place):
        return parse_arbimon(table, notes)
    if {"begin time (s)", "selection"} <= set(place) or (table.separator == "\t" and "begin time (s)" in place):
        return parse_raven(table, notes)
    return parse_times(table, notes)


def is_label_track(first: str) -> bool:
    """Tell whether a file with this first line is a label track: it begins with a time, or is one of frequencies."""
    cells = first.split("\t")
    return len(cells) > 1 and (cells[0].strip() == "\\" or _LABEL_TRACK.fullmatch(cells[0].strip()) is not None)


def parse_raven(table: Table, notes: collections.Counter[str]) -> dict[str, list[Box]]:
    """Read a Raven selection table: one box per selection, whatever its views; ``File Offset (s)`` where present.

    A table without a selection is that of a recording in which a person found nothing (in a model's table, with a
    column of confidences: of one that is not annotated further).

    Raises
    ------
    CheepError
        A column is missing, or a row breaks the format; names file and line.
    """
    path, place = table.path, table.places()
    boxes: dict[str, list[Box]] = {}
    seen: set[tuple[str, str]] = set()
    if "end time (s)" not in place:
        raise CheepError(f"{path}:{table.header_line}: no column 'end time (s)': not a Raven selection table")
    scored = confidence_column(table, place)
    _say_without_labels(table, place, notes)
    for line, row in table.rows:
        name = cell_of(row, place, first_of(place, ("begin path", "begin file"))) or first_cell(row, place, FILE)
        selection = cell_of(row, place, "selection")
        if selection and (name, selection) in seen:
            continue  # the same selection in another view
        seen.add((name, selection))
        start = number_field(cell_of(row, place, "begin time (s)"), path, line, "Begin Time (s)")
        end = number_field(cell_of(row, place, "end time (s)"), path, line, "End Time (s)")
        if offset := cell_of(row, place, "file offset (s)"):
            length = end - start
            start = number_field(offset, path, line, "File Offset (s)")
            end = start + length
        if end == start:
            notes[NO_LENGTH] += 1
            continue
        _add(boxes, name, box_of_row(path, line, start, end, row, place, scored))
    if not table.rows:
        boxes[""] = [] if scored or first_of(place, SCORE) else [NOTHING]
    return boxes


def parse_audacity(path: Path, text: str, notes: collections.Counter[str] | None = None) -> list[Box]:
    """Read an Audacity label track (``start TAB end TAB label``, spectral lines allowed); points are passed over.

    A fourth cell is a confidence, as BirdNET writes it.

    Raises
    ------
    CheepError
        A line breaks the format; names file and line.
    """
    boxes: list[Box] = []
    notes = collections.Counter() if notes is None else notes
    last_was_label = ""
    for line, row in fields(path, split_lines(text), "\t"):
        if row[0].strip() == "\\":
            if not last_was_label or len(row) != 3:
                raise CheepError(f"{path}:{line}: a line of frequencies must follow a label and hold two numbers")
            low, high = (number_field(row[at], path, line, name) for at, name in ((1, "low"), (2, "high")))
            if boxes and last_was_label == "box":
                boxes[-1] = dataclasses.replace(
                    boxes[-1], low_hz=low if low >= 0 else None, high_hz=high if high >= 0 else None
                )
            last_was_label = ""
            continue
        if len(row) < 2:
            raise CheepError(f"{path}:{line}: {row[0][:40]!r}: must be start, end and label, separated by tabs")
        start = number_field(row[0], path, line, "start")
        end = number_field(row[1], path, line, "end")
        if end == start:
            notes[NO_LENGTH] += 1
            last_was_label = "point"
            continue
        cells = [cell.strip() for cell in (*row[2:4], "", "")]
        score = confidence_of(cells[1])
        boxes.append(checked_box(path, line, start, end, [cells[0]] if cells[0] else [], None, None, score))
        last_was_label = "box"
    return boxes


def parse_times(table: Table, notes: collections.Counter[str] | None = None) -> dict[str, list[Box]]:
    """Read a table of times: a start and an end (or duration), and label, file, band and confidence where present.

    Without a column of labels, a column per species with 0 and 1 (or confidences): a row of zeros says that nothing is
    there. Without times but with files, such a row speaks of the whole recording.

    Raises
    ------
    CheepError
        A row breaks the format; names file and line.
    NoAnnotationsError
        The columns are those of another kind of table.
    """
    place = table.places()
    if {"path", "sha256", "split", "duration_s"} <= set(place):
        raise NoAnnotationsError(f"{table.path}:{table.header_line}: a manifest of examples, no annotations")
    times, file_name = times_of(place), first_of(place, FILE)
    species = {} if first_of(place, LABEL) else species_columns(table, (*times, file_name))
    if not times.given and not (species and file_name):
        has = ", ".join(table.header)[:200]
        wants = (
            f"a start ({times.start}) without an end or a duration: add"
            if times.start
            else "no columns for start and end: name them start_s and"
        )
        whole = "; labels of whole recordings are a list: --csv" if file_name and first_of(place, LABEL) else ""
        raise NoAnnotationsError(f"{table.path}:{table.header_line}: {wants} end_s (it has {has}{whole})")
    notes = collections.Counter() if notes is None else notes
    boxes: dict[str, list[Box]] = {}
    scored = confidence_column(table, place)
    if not species:
        _say_without_labels(table, place, notes)
    for line, row in table.rows:
        name = file_of(row, place, file_name)
        told = [cell_of(row, place, column) for column in (*times, first_of(place, LABEL))]
        if times.given and not any(told) and file_name and not species:  # listed, with nothing in it
            _add(boxes, name, NOTHING)
            continue
        start, end = times.read(row, place, table.path, line)
        if start == end:
            notes[NO_LENGTH] += 1
            boxes.setdefault(name, [])
            continue
        if not species and by_machine_alone(row, place, scored):
            notes["row(s) that only a program has named passed over (no MANUAL ID, no confidence)"] += 1
            boxes.setdefault(name, [])
            continue
        if not species:
            _add(boxes, name, box_of_row(table.path, line, start, end, row, place, scored))
            continue
        marked = {column: row[at].lower() for column, at in species.items() if row[at]}
        for box in marked_boxes(marked, table.path, line, start, end):
            _add(boxes, name, box)
        boxes.setdefault(name, [])
    if not table.rows:
        boxes[""] = [] if scored or first_of(place, SCORE) else [NOTHING]
    return boxes


def parse_arbimon(table: Table, notes: collections.Counter[str]) -> dict[str, list[Box]]:
    """Read the matches of an Arbimon pattern: those that a person validated, and the others with their score.

    Arbimon cuts recordings into minutes and counts times from the minute's beginning: the minute of the row is held
    against the clock in the recording's name. What is ``not present`` may be another species: its windows are left out.
    """
    path, place = table.path, table.places()
    boxes: dict[str, list[Box]] = {}
    for line, row in table.rows:
        name = cell_of(row, place, "recording")
        start, end = (number_field(cell_of(row, place, key), path, line, key) for key in ("x1", "x2"))
        later = _minutes_later(row, place, path, line, facts_of_name(Path(name).name).time)
        box = box_of_row(path, line, start + later, end + later, row, place, "score")
        word = cell_of(row, place, "validated").lower()
        if word == "present":
            box = dataclasses.replace(box, score=None)
        elif word == "not present":
            box = Box(box.start_s, box.end_s, UNKNOWN)
            notes["match(es) that are not present: their windows are left out"] += 1
        _add(boxes, name, box)
    return boxes


def _minutes_later(
    row: Sequence[str], place: dict[str, int], path: Path, line: int, begin: datetime.datetime | None
) -> float:
    """Return how many s after the beginning of its recording the minute of an Arbimon row begins; 0: not known."""
    if begin is None:
        return 0.0
    values = [
        number_field(cell_of(row, place, key), path, line, key) for key in ("year", "month", "day", "hour", "minute")
    ]
    try:
        minute = datetime.datetime(*(int(value) for value in values))  # type: ignore[arg-type]
    except ValueError:
        raise CheepError(f"{path}:{line}: year to minute: {values}: no such time") from None
    later = (minute - begin.replace(tzinfo=None, second=0, microsecond=0)).total_seconds()
    return later if 0 <= later < _DAY_S else 0.0


def _say_without_labels(table: Table, place: dict[str, int], notes: collections.Counter[str]) -> None:
    """Count a table that names no species in a column that is known, but has others with words."""
    if first_of(place, LABEL) or not table.rows:
        return
    words = [
        name
        for at, name in enumerate(table.header)
        if name.lower() not in (*FILE, *NO_LABELS) and any(re.search("[A-Za-z]{2}", row[at]) for _, row in table.rows)
    ]
    if words:
        notes[
            f"file(s) without a column 'label' or 'species', whose boxes count for their recording's label (they have "
            f"{', '.join(words[:5])}: rename the column that has the species)"
        ] += 1


def _add(boxes: dict[str, list[Box]], name: str, box: Box) -> None:
    boxes.setdefault(name, []).append(box)
