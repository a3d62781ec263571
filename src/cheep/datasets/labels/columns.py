# SPDX-License-Identifier: MIT
"""The columns of tables of annotations, by the names that programs give them: times, files, labels, confidences."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cheep.datasets.labels.boxes import Box, checked_box
from cheep.datasets.numbers import NUMBER, number_field, seconds_field
from cheep.datasets.tables import Table, first_of
from cheep.errors import CheepError

#: Names of columns, lower case, in the order in which they are believed.
START = (
    *("start_s", "begin_s", "start", "begin", "onset", "start_time", "begin time (s)", "start (s)", "start time (s)"),
    *("start time", "starttime", "begin_time", "start_time (s)", "start_seconds", "tmin", "min_t", "timestamp_s"),
    *("event_start_seconds", "begin time - ss.msec", "begin time - hh:mm:ss.ms", "begin time - msec", "start_ms"),
    *("begin_ms", "start (ms)", "x1"),
)
END = (
    *("end_s", "end", "stop", "end_time", "end time (s)", "end (s)", "end time", "endtime", "stop_s", "stop_time"),
    *("end_time (s)", "end_seconds", "tmax", "max_t", "event_end_seconds", "end time - ss.msec"),
    *("end time - hh:mm:ss.ms", "end time - msec", "end_ms", "end (ms)", "x2"),
)
_OFFSET = ("offset", "offset_s", "offset (s)")  # a start beside a duration, an end beside an onset
DURATION = ("duration_s", "duration", "length_s", "delta time (s)", "duration (s)", "length (s)", "duration_ms")
_MILLISECONDS = re.compile(r"(_ms|\(ms\)| msec)$")
FILE = (
    *("file", "path", "filename", "file_name", "audio", "recording", "begin path", "begin file", "filepath"),
    *("file_path", "input", "audiofilename", "audio_file", "audio file", "in file", "source file", "soundfile"),
    *("file name", "sound.files", "sound_file", "sound file", "recording_name", "audio_filename", "begin_file", "wav"),
)
LABEL = (
    *("label", "species", "class", "annotation", "manual id", "manual_id", "scientific_name", "scientific name"),
    *("species_name", "common name", "common_name", "top1match", "auto id*", "auto id", "species code"),
    *("species_code", "ebird_code", "vernacular name", "vernacular_name", "scientificname", "vernacularname"),
    *("species_name_tags", "common_name_tags", "taxon", "tags", "tag", "sp", "spp", "call type", "type"),
)
_NAMES = (  # other names of the same species, in the same row
    *("scientific_name", "scientific name", "common name", "common_name", "species_name", "species code"),
    *("species_code", "ebird_code", "vernacular name", "vernacular_name", "scientificname", "vernacularname"),
    *("species_name_tags", "common_name_tags"),
)
_BY_HAND = ("manual id", "manual_id")
_BY_MACHINE = ("top1match", "auto id*", "auto id")
SCORE = ("confidence", "score", "probability", "prob", "detection score", "match ratio", "top1prob", "logit")
_MOST_RATING = 10  # people rate their own certainty with small whole numbers
_LOW = (
    *("low_hz", "low freq (hz)", "fmin", "frequency_low", "freq_min", "low_f", "min_freq", "low_frequency_hertz"),
    "y1",
)
_HIGH = (
    *("high_hz", "high freq (hz)", "fmax", "frequency_high", "freq_max", "high_f", "max_freq", "high_frequency_hertz"),
    "y2",
)
_OTHERS = (  # columns that are no species, whatever they hold
    *("selection", "view", "channel", "group", "fold", "split", "indir", "folder", "lat", "lon", "week", "overlap"),
    *("sensitivity", "min_conf", "species_list", "model", "file offset (s)", "q", "id", "index", "unnamed: 0", ""),
)
#: Columns with words that name no species: Raven's own, dates, who did it.
NO_LABELS = (
    *("selection", "view", "channel", "begin file", "end file", "begin path", "end path", "file offset (s)", "site"),
    *("begin clock time", "end clock time", "begin date", "end date", "begin date time", "date", "time", "datetime"),
    *("annotator", "observer", "reviewer", "comment", "comments", "note", "notes", "recordist", "location", "group"),
)
_YES, _NO, _UNSURE = (
    ("1", "1.0", "true", "yes", "pos", "present"),
    ("0", "0.0", "false", "no", "neg", "absent"),
    ("unk",),
)


class Times(NamedTuple):
    """The names of the columns that say when: a start, and an end or a duration ("": there is none)."""

    start: str
    end: str
    duration: str

    @property
    def given(self) -> bool:
        """Whether a row says when."""
        return bool(self.start and (self.end or self.duration))

    def read(self, row: Sequence[str], place: dict[str, int], path: Path, line: int) -> tuple[float, float]:
        """Return start and end of a row, s; the whole recording where the table has no times."""
        if not self.given:
            return 0.0, math.inf
        start = _seconds(row, place, path, line, self.start)
        if self.end:
            return start, _seconds(row, place, path, line, self.end)
        return start, start + _seconds(row, place, path, line, self.duration)


def _seconds(row: Sequence[str], place: dict[str, int], path: Path, line: int, name: str) -> float:
    """Return the time in column ``name``, s; a name that ends in ``ms`` or ``msec`` counts thousandths."""
    value = seconds_field(cell_of(row, place, name), path, line, name)
    return value / 1000 if _MILLISECONDS.search(name) else value


def times_of(place: dict[str, int]) -> Times:
    """Return the columns of times; an ``offset`` is a start beside a duration, an end beside a start."""
    start, end, duration = (first_of(place, names) for names in (START, END, DURATION))
    offset = first_of(place, _OFFSET)
    if offset and not start and duration:
        start = offset
    elif offset and start and not end and not duration:
        end = offset
    elif not start and duration and "time" in place:  # Sonic Visualiser's regions
        start = "time"
    return Times(start, end, duration)


def marked_boxes(marked: dict[str, str], path: Path, line: int, start: float, end: float) -> Iterator[Box]:
    """Yield a box for each species that a row marks; where it marks all with 0, that nothing is there."""
    for column, mark in marked.items():
        if mark in _YES or mark not in (*_NO, *_UNSURE):
            score = None if mark in _YES else confidence_of(mark)
            yield checked_box(path, line, start, end, [column], None, None, score)
    if marked and all(mark in _NO for mark in marked.values()):
        yield dataclasses.replace(checked_box(path, line, start, end, [], None, None), nothing=True)


def species_columns(table: Table, known: Sequence[str] = ()) -> dict[str, int]:
    """Return the columns that hold 0 and 1 (or true and false, or confidences between) for a species each."""
    taken = {*START, *END, *_OFFSET, *DURATION, *FILE, *LABEL, *_LOW, *_HIGH, *SCORE, *_OTHERS, *known}
    found = {}
    for at, name in enumerate(table.header):
        values = {row[at].lower() for _, row in table.rows} - {""}
        if name.lower() in taken or not values:
            continue
        if values <= {*_YES, *_NO, *_UNSURE} or all(confidence_of(value) is not None for value in values):
            found[name] = at
    return found


def file_of(row: Sequence[str], place: dict[str, int], file_name: str) -> str:
    """Return the name of the audio file that a row speaks of, or an empty string; ``file_name`` is its column."""
    if file_name == "in file":  # Kaleidoscope: folders in columns of their own
        parts = [cell_of(row, place, name) for name in ("indir", "folder", "in file")]
        return "/".join(part.rstrip("\\/") for part in parts if part)
    return cell_of(row, place, file_name) or first_cell(row, place, FILE)


def cell_of(row: Sequence[str], place: dict[str, int], name: str) -> str:
    """Return the text of a row in column ``name``; empty where the table has no such column or the row is short."""
    at = place.get(name, len(row))
    return row[at].strip() if at < len(row) else ""


def first_cell(row: Sequence[str], place: dict[str, int], names: Sequence[str]) -> str:
    """Return the first text that a row has in one of the columns ``names``."""
    return next((text for name in names if (text := cell_of(row, place, name))), "")


def confidence_of(text: str) -> float | None:
    """Return a confidence of 0..1, or ``None`` where ``text`` is none."""
    text = text.strip().replace(",", ".")
    if not re.fullmatch(r"[0-9]{0,3}(\.[0-9]{1,25})?([eE]-[0-9]{1,3})?", text) or not text:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


def confidence_column(table: Table, place: dict[str, int]) -> str:
    """Return the column of a model's confidences (0..1, or logits in a column of that name); empty: there is none.

    Words, and small whole numbers, are how sure a person was.

    Raises
    ------
    CheepError
        The column holds other numbers, percents for example.
    """
    name = first_of(place, SCORE)
    values = [text for _, row in table.rows if (text := cell_of(row, place, name))] if name else []
    if name == "logit" and values:
        return name
    if not values or all(confidence_of(text) is not None for text in values):
        return name if values else ""
    numbers = [float(text.replace(",", ".")) for text in values if NUMBER.fullmatch(text)]
    if len(numbers) < len(values) or all(0 <= x <= _MOST_RATING and x == int(x) for x in numbers):
        return ""
    raise CheepError(
        f"{table.path}: column {name!r} holds {min(numbers):g} to {max(numbers):g}: a model's confidence must lie in "
        "0..1 (divide percents by 100; logits belong into a column 'logit'; rename the column if it is something else)"
    )


def by_machine_alone(row: Sequence[str], place: dict[str, int], scored: str) -> bool:
    """Tell whether only a program has named what a row marks (a cluster, ``AUTO ID``), and not how sure it is."""
    if scored or not first_of(place, _BY_MACHINE) or not first_of(place, _BY_HAND):
        return False
    return first_cell(row, place, LABEL) == first_cell(row, place, _BY_MACHINE) and not first_cell(row, place, _BY_HAND)


def box_of_row(
    path: Path, line: int, start: float, end: float, row: Sequence[str], place: dict[str, int], scored: str
) -> Box:
    """Return the box of a row with known times; ``scored`` is the column of confidences (empty: a person's marks)."""
    band: list[float | None] = []
    for columns in (_LOW, _HIGH):
        text = first_cell(row, place, columns)
        band.append(number_field(text, path, line, columns[0]) if text else None)
    label = first_cell(row, place, LABEL)
    names = [label] if label else []
    names += [text for name in _NAMES if (text := cell_of(row, place, name))]
    by_hand = label and label == first_cell(row, place, _BY_HAND)
    score = None
    if scored and not by_hand:
        text = cell_of(row, place, scored)
        if scored == "logit":
            text = repr(1 / (1 + math.exp(-max(-30.0, min(30.0, number_field(text, path, line, scored))))))
        score = confidence_of(text)
    return checked_box(path, line, start, end, names, band[0], band[1], score)
