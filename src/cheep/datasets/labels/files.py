# SPDX-License-Identifier: MIT
"""Annotations from files: the one reader for training and evaluation.

Raven selection tables, Audacity label tracks, CSV of times (any separator, encoding and decimal mark; one label per
row or a column per species), the tables of BirdNET in all its forms, Kaleidoscope's, the events of ``cheep test``, and
xeno-canto annotation sets.

Every parser returns ``{audio name: [Box]}``; the name is empty where the file does not say which audio it speaks of
(then the file's own name and folder do). What is wrong is named by file, line and field.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from pathlib import Path

from cheep.datasets.labels.boxes import NOTHING, PLACEHOLDER_SPECIES, UNKNOWN, Box, NoAnnotationsError, checked_box
from cheep.datasets.labels.columns import (
    FILE,
    LABEL,
    SCORE,
    box_of_row,
    cell_of,
    confidence_column,
    confidence_of,
    file_of,
    first_cell,
    marked_boxes,
    species_columns,
    times_of,
)
from cheep.datasets.numbers import number_field
from cheep.datasets.tables import Table, fields, first_of, parse_table, read_table_text, separator_of, split_lines
from cheep.errors import CheepError

log = logging.getLogger(__name__)


def read_annotations(path: Path | str) -> dict[str, list[Box]]:
    """Read a file of any known kind, told by its content.

    Raises
    ------
    NoAnnotationsError
        It is none of them.
    CheepError
        It is one, and something in it is wrong.
    """
    path = Path(path)
    text, _ = read_table_text(path)
    first = next((line for line in split_lines(text) if line.strip()), "")
    if path.suffix.lower() == ".json":
        return parse_xeno_canto_set(path, text)
    if not first and path.suffix.lower() == ".txt":  # a label track without a label
        return {"": [NOTHING]}
    cells = first.split("\t")
    if len(cells) > 1 and (cells[0].strip() == "\\" or re.fullmatch(r"[\d.,]*\d[\d.,]*|nan|inf", cells[0].strip())):
        return {"": parse_audacity(path, text)}
    if separator_of(first) == "\t" and "begin time (s)" in [cell.strip().lower() for cell in cells]:
        return parse_raven(parse_table(path, text))
    return parse_times(parse_table(path, text))


def parse_raven(table: Table) -> dict[str, list[Box]]:
    """Read a Raven selection table: one box per selection, whatever its views; ``File Offset (s)`` where present.

    A table without a selection is that of a recording in which a person found nothing (in a model's table, with a
    column of confidences: of one that is not annotated further).
    """
    path, place = table.path, table.places()
    boxes: dict[str, list[Box]] = {}
    seen: set[tuple[str, str]] = set()
    if "end time (s)" not in place:
        raise CheepError(f"{path}:{table.header_line}: no column 'end time (s)': not a Raven selection table")
    scored = confidence_column(table, place)
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
        _add(boxes, name, box_of_row(path, line, start, end, row, place, scored))
    if not table.rows:
        boxes[""] = [] if scored or first_of(place, SCORE) else [NOTHING]
    return boxes


def parse_audacity(path: Path, text: str) -> list[Box]:
    """Read an Audacity label track (``start TAB end TAB label``, spectral lines allowed); points are passed over.

    A fourth cell is a confidence, as BirdNET writes it.
    """
    boxes: list[Box] = []
    points = 0
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
            points += 1
            last_was_label = "point"
            continue
        cells = [cell.strip() for cell in (*row[2:4], "", "")]
        score = confidence_of(cells[1])
        boxes.append(checked_box(path, line, start, end, [cells[0]] if cells[0] else [], None, None, score))
        last_was_label = "box"
    if points:
        log.info("%s: %d point label(s) passed over: they mark no stretch", path, points)
    return boxes


def parse_times(table: Table) -> dict[str, list[Box]]:
    """Read a table of times: a start and an end (or duration), and label, file, band and confidence where present.

    Without a column of labels, a column per species with 0 and 1 (or confidences): a row of zeros says that nothing is
    there. Without times but with files, such a row speaks of the whole recording.
    """
    place = table.places()
    if {"path", "sha256", "split", "duration_s"} <= set(place):
        raise NoAnnotationsError(f"{table.path}:{table.header_line}: a manifest of examples, no annotations")
    times, file_name = times_of(place), first_of(place, FILE)
    species = {} if first_of(place, LABEL) else species_columns(table, (*times, file_name))
    if not times.given and not (species and file_name):
        raise NoAnnotationsError(
            f"{table.path}:{table.header_line}: no columns for start and end: name them start_s and end_s (it has "
            f"{', '.join(table.header)[:200]})"
        )
    boxes: dict[str, list[Box]] = {}
    scored = confidence_column(table, place)
    for line, row in table.rows:
        name = file_of(row, place, file_name)
        told = [cell_of(row, place, column) for column in (*times, first_of(place, LABEL))]
        if times.given and not any(told) and file_name and not species:  # listed, with nothing in it
            _add(boxes, name, NOTHING)
            continue
        start, end = times.read(row, place, table.path, line)
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
        raise NoAnnotationsError(f"{path}:1: annotations: must be a list (a xeno-canto annotation set)")
    boxes: dict[str, list[Box]] = {}
    for number, item in enumerate(items):
        where = f"annotations[{number}]"
        if not isinstance(item, dict):
            raise CheepError(f"{path}:1: {where}: must be an object")
        start_s, end_s = (
            number_field(str(item.get(name)), path, 1, f"{where}.{name}") for name in ("start_time", "end_time")
        )
        low_hz, high_hz = (
            None if item.get(name) in (None, "") else number_field(str(item[name]), path, 1, f"{where}.{name}")
            for name in ("frequency_low", "frequency_high")
        )
        digits = re.sub(r"^XC", "", str(item.get("xc_nr") or ""), flags=re.IGNORECASE).strip()
        label = item.get("scientific_name")
        names = [label.strip()] if isinstance(label, str) and label.strip() else []
        if names and names[0].lower() in PLACEHOLDER_SPECIES:
            names = [UNKNOWN]
        box = checked_box(path, 1, start_s, end_s, names, low_hz, high_hz)
        _add(boxes, f"XC{digits}" if digits else "", box)
    return boxes


def _add(boxes: dict[str, list[Box]], name: str, box: Box) -> None:
    boxes.setdefault(name, []).append(box)
