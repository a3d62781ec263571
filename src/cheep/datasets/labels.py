# SPDX-License-Identifier: MIT
"""Annotations: the one reader for training and evaluation, and the matching of tables with recordings.

Raven selection tables, Audacity label tracks, CSV of times (any separator, encoding and decimal mark; one label per
row or a column per species), the tables of BirdNET in all its forms, Kaleidoscope's, the events of ``cheep test``, and
xeno-canto annotation sets.

Every parser returns ``{audio name: [Box]}``; the name is empty where the file does not say which audio it speaks of
(then the file's own name and folder do). What is wrong is named by file, line and field.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import NamedTuple, TypeVar

from cheep.audio.folders import AudioIndex, common_tail, files_below, is_hidden, plain_path
from cheep.config.data import means_background, plain_name
from cheep.datasets.numbers import number_field, seconds_field
from cheep.datasets.tables import Table, fields, first_of, parse_table, read_table_text, separator_of, split_lines
from cheep.errors import CheepError

log = logging.getLogger(__name__)

Key = TypeVar("Key")

SUFFIXES = (".txt", ".csv", ".tsv", ".json")

#: Names of columns, lower case, in the order in which they are believed.
START = (
    *("start_s", "begin_s", "start", "begin", "onset", "start_time", "begin time (s)", "start (s)", "start time (s)"),
    *("start time", "starttime", "begin_time", "start_time (s)", "start_seconds", "tmin", "min_t"),
)
END = (
    *("end_s", "end", "stop", "end_time", "end time (s)", "end (s)", "end time", "endtime", "stop_s", "stop_time"),
    *("end_time (s)", "end_seconds", "tmax", "max_t"),
)
_OFFSET = ("offset", "offset_s", "offset (s)")  # a start beside a duration, an end beside an onset
DURATION = ("duration_s", "duration", "length_s", "delta time (s)", "duration (s)", "length (s)")
FILE = (
    *("file", "path", "filename", "file_name", "audio", "recording", "begin path", "begin file", "filepath"),
    *("file_path", "input", "audiofilename", "audio_file", "audio file", "in file", "source file", "soundfile"),
)
LABEL = (
    *("label", "species", "class", "annotation", "manual id", "manual_id", "scientific_name", "scientific name"),
    *("species_name", "common name", "common_name", "top1match", "auto id*", "auto id", "species code"),
    *("species_code", "ebird_code", "vernacular name", "vernacular_name", "call type", "type"),
)
_NAMES = (  # other names of the same species, in the same row
    *("scientific_name", "scientific name", "common name", "common_name", "species_name", "species code"),
    *("species_code", "ebird_code", "vernacular name", "vernacular_name"),
)
_BY_HAND = ("manual id", "manual_id")
SCORE = ("confidence", "score", "probability", "prob", "detection score", "match ratio", "top1prob")
_LOW = ("low_hz", "low freq (hz)", "fmin", "frequency_low", "freq_min", "low_f", "min_freq")
_HIGH = ("high_hz", "high freq (hz)", "fmax", "frequency_high", "freq_max", "high_f", "max_freq")
_OTHERS = (  # columns that are no species, whatever they hold
    *("selection", "view", "channel", "group", "fold", "split", "indir", "folder", "lat", "lon", "week", "overlap"),
    *("sensitivity", "min_conf", "species_list", "model", "file offset (s)", "q", "id", "index", "unnamed: 0", ""),
)
_YES, _NO, _UNSURE = (
    ("1", "1.0", "true", "yes", "pos", "present"),
    ("0", "0.0", "false", "no", "neg", "absent"),
    ("unk",),
)
_BOTH_NAMES = re.compile(r"([A-Z][a-z]+(?: [a-z][a-z.-]+){1,2})_(\S.*)")  # BirdNET: scientific_common
UNKNOWN = "?"
#: What xeno-canto writes where a species would stand: nobody knows it, a soundscape.
PLACEHOLDER_SPECIES = ("mystery mystery", "sonus naturalis")


class NoAnnotationsError(CheepError):
    """The file is text, but no table of annotations: a recorder's settings, a summary."""


@dataclasses.dataclass(frozen=True)
class Box:
    """A marked stretch of a recording: times in s, optional band in Hz, label (empty: the recording's own).

    ``score`` (0..1) is a model's confidence; none: a person marked it. ``names`` are other names of the same species.
    ``nothing``: someone listened, and none of the species that the table is about is there. ``end_s`` may be infinite:
    to the end of the recording.
    """

    start_s: float
    end_s: float
    label: str = ""
    low_hz: float | None = None
    high_hz: float | None = None
    score: float | None = None
    names: tuple[str, ...] = ()
    nothing: bool = False


#: A whole recording that was listened to, with nothing in it.
NOTHING = Box(0.0, math.inf, nothing=True)


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
    scored = _score_column(table, place)
    for line, row in table.rows:
        name = _cell(row, place, first_of(place, ("begin path", "begin file"))) or _named(row, place, FILE)
        selection = _cell(row, place, "selection")
        if selection and (name, selection) in seen:
            continue  # the same selection in another view
        seen.add((name, selection))
        start = number_field(_cell(row, place, "begin time (s)"), path, line, "Begin Time (s)")
        end = number_field(_cell(row, place, "end time (s)"), path, line, "End Time (s)")
        if offset := _cell(row, place, "file offset (s)"):
            length = end - start
            start = number_field(offset, path, line, "File Offset (s)")
            end = start + length
        _add(boxes, name, _box(path, line, start, end, row, place, scored))
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
        score = _score(cells[1])
        boxes.append(_checked(path, line, start, end, [cells[0]] if cells[0] else [], None, None, score))
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
    times, file_name = _times_of(place), first_of(place, FILE)
    species = {} if first_of(place, LABEL) else species_columns(table, (*times, file_name))
    if not times.given and not (species and file_name):
        raise NoAnnotationsError(
            f"{table.path}:{table.header_line}: no columns for start and end: name them start_s and end_s (it has "
            f"{', '.join(table.header)[:200]})"
        )
    boxes: dict[str, list[Box]] = {}
    scored = _score_column(table, place)
    for line, row in table.rows:
        name = _file_of(row, place, file_name)
        told = [_cell(row, place, column) for column in (*times, first_of(place, LABEL))]
        if times.given and not any(told) and file_name and not species:  # listed, with nothing in it
            _add(boxes, name, NOTHING)
            continue
        start, end = times.read(row, place, table.path, line)
        if not species:
            _add(boxes, name, _box(table.path, line, start, end, row, place, scored))
            continue
        marked = {column: row[at].lower() for column, at in species.items() if row[at]}
        for box in _marked_boxes(marked, table.path, line, start, end):
            _add(boxes, name, box)
        boxes.setdefault(name, [])
    if not table.rows:
        boxes[""] = [] if scored or first_of(place, SCORE) else [NOTHING]
    return boxes


class _Times(NamedTuple):
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
        start = seconds_field(_cell(row, place, self.start), path, line, self.start)
        if self.end:
            return start, seconds_field(_cell(row, place, self.end), path, line, self.end)
        return start, start + seconds_field(_cell(row, place, self.duration), path, line, self.duration)


def _times_of(place: dict[str, int]) -> _Times:
    """Return the columns of times; an ``offset`` is a start beside a duration, an end beside a start."""
    start, end, duration = (first_of(place, names) for names in (START, END, DURATION))
    offset = first_of(place, _OFFSET)
    if offset and not start and duration:
        start = offset
    elif offset and start and not end and not duration:
        end = offset
    return _Times(start, end, duration)


def _marked_boxes(marked: dict[str, str], path: Path, line: int, start: float, end: float) -> Iterator[Box]:
    """Yield a box for each species that a row marks; where it marks all with 0, that nothing is there."""
    for column, mark in marked.items():
        if mark in _YES or mark not in (*_NO, *_UNSURE):
            score = None if mark in _YES else _score(mark)
            yield _checked(path, line, start, end, [column], None, None, score)
    if marked and all(mark in _NO for mark in marked.values()):
        yield dataclasses.replace(_checked(path, line, start, end, [], None, None), nothing=True)


def species_columns(table: Table, known: Sequence[str] = ()) -> dict[str, int]:
    """Return the columns that hold 0 and 1 (or true and false, or confidences between) for a species each."""
    taken = {*START, *END, *_OFFSET, *DURATION, *FILE, *LABEL, *_LOW, *_HIGH, *SCORE, *_OTHERS, *known}
    found = {}
    for at, name in enumerate(table.header):
        values = {row[at].lower() for _, row in table.rows} - {""}
        if name.lower() in taken or not values:
            continue
        if values <= {*_YES, *_NO, *_UNSURE} or all(_score(value) is not None for value in values):
            found[name] = at
    return found


def _file_of(row: Sequence[str], place: dict[str, int], file_name: str) -> str:
    if file_name == "in file":  # Kaleidoscope: folders in columns of their own
        parts = [_cell(row, place, name) for name in ("indir", "folder", "in file")]
        return "/".join(part.rstrip("\\/") for part in parts if part)
    return _cell(row, place, file_name) or _named(row, place, FILE)


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
        box = _checked(path, 1, start_s, end_s, names, low_hz, high_hz)
        _add(boxes, f"XC{digits}" if digits else "", box)
    return boxes


# -- which recording a table speaks of ---------------------------------------------------------


def boxes_for(
    sources: Sequence[Path], audio: Sequence[Path], min_confidence: float | None = None, every: bool = False
) -> dict[Path, list[Box]]:
    """Return the boxes of each audio file that annotation files, and folders of them, speak of.

    A file that names its audio (column ``file``, ``Begin File``, ``xc_nr``) is taken at its word; another belongs
    to the audio of the same name (``a.Table.1.selections.txt``, ``a.txt``, ``a.wav.csv`` to ``a.wav``). Of several
    recordings of one name, the one in the table's folder, or in a folder of the same name, is meant. A recording
    without a box in the result is annotated, too: nothing was marked in it.

    Parameters
    ----------
    min_confidence
        Boxes of a model with a lower score are left out; needed where there are boxes with scores.
    every
        A recording that a table names must be there.

    Raises
    ------
    CheepError
        A file cannot be read; a file that was given by name speaks of no audio in the set; a name may mean several
        recordings; boxes have scores, and no threshold is given.
    """
    index = AudioIndex(audio)
    hits: dict[Path, dict[str, list[Box]]] = {}
    notes: collections.Counter[str] = collections.Counter()
    strangers: dict[str, Path] = {}
    named_in: dict[str, Path] = {}
    for source, given in _files(sources, notes):
        try:
            tables = read_annotations(source)
        except NoAnnotationsError:
            if given:
                raise
            notes["file(s) passed over: no annotations in them"] += 1
            continue
        if read_table_text(source)[1] == "windows-1252":
            notes["file(s) not in UTF-8, read as Windows-1252"] += 1
        matched = False
        for name, boxes in tables.items():
            found = index.find(name or _audio_name(source), source)
            if len(found) > 1:
                raise CheepError(
                    f"{source}: {name or _audio_name(source)!r} may be {found[0]} or {found[1]}: put the table beside "
                    "its recording, or write the folder into its column file"
                )
            if found:
                hits.setdefault(found[0], {}).setdefault(name, []).extend(boxes)
                named_in[name] = source
                matched = True
            elif name:
                strangers[name] = source
        if not matched and given:
            raise CheepError(f"{source}: speaks of no audio in the set (its name, or its column file, must match one)")
        notes["file(s) that speak of no audio in the set"] += not matched
    if sources and not hits:
        passed = "; ".join(f"{count} {text}" for text, count in (+notes).items())
        raise CheepError(
            f"{', '.join(map(str, sources))}: no annotation of audio in the set ({passed}; the last: {source})"
        )
    result = {path: _of_one_recording(path, by_name, named_in, strangers) for path, by_name in hits.items()}
    if strangers:
        name, source = next(iter(strangers.items()))
        if every:
            raise CheepError(f"{source}: names {name!r}: no such recording (give the folder of the recordings)")
        notes[f"recording(s) named that are not in the set (e.g. {name!r} in {source.name})"] += len(strangers)
    result = {path: [box for box in boxes if not _models_nothing(box)] for path, boxes in result.items()}
    result = confident(result, min_confidence, notes)
    empty = sum(all(box.nothing for box in boxes) and bool(boxes) for boxes in result.values())
    if empty:
        notes["recording(s) in which nothing was found: negatives"] += empty
    if notes := +notes:
        log.warning("annotations: %s", "; ".join(f"{count} {text}" for text, count in notes.items()))
    return {path: sorted(set(boxes), key=_order) for path, boxes in result.items()}


def _of_one_recording(
    path: Path, by_name: dict[str, list[Box]], sources: Mapping[str, Path], strangers: dict[str, Path]
) -> list[Box]:
    """Return the boxes of the names that agree best with the folders of ``path``: other sites have files of its name.

    ``sources`` are the tables by name. The other names join ``strangers``. Raises :class:`CheepError` where names of
    different folders agree equally.
    """
    folders = {name: PureWindowsPath(name).parent for name in by_name}
    named = {name: folder for name, folder in folders.items() if folder.parts}
    if len({plain_path(folder.as_posix()) for folder in named.values()}) > 1:
        agreement = {name: common_tail(folder.parts, path.parent.absolute().parts) for name, folder in named.items()}
        best = [name for name, count in agreement.items() if count == max(agreement.values())]
        if len({plain_path(named[name].as_posix()) for name in best}) > 1:
            raise CheepError(
                f"{sources[best[0]]}: {best[0]!r} and {best[1]!r} may both be {path}: give those of its folder only"
            )
        strangers.update({name: sources[name] for name in named if name not in best})
        by_name = {name: boxes for name, boxes in by_name.items() if name in best or name not in named}
    return [box for boxes in by_name.values() for box in boxes]


def _models_nothing(box: Box) -> bool:
    """Tell whether a box is a model's word that nothing is there (BirdNET's ``nocall``): no negative, and no mark."""
    return box.score is not None and means_background(box.label)


def renamed_boxes(boxes: dict[Path, list[Box]], names: Mapping[str, str]) -> dict[Path, list[Box]]:
    """Return the boxes with new labels where any of their names is a key of ``names`` (in whatever spelling)."""
    new = {plain_name(name): label for name, label in names.items()}

    def renamed(box: Box) -> Box:
        found = (new.get(plain_name(name)) for name in (box.label, *box.names))
        label = next((name for name in found if name), "")
        return dataclasses.replace(box, label=label) if label else box

    return {path: [renamed(box) for box in items] for path, items in boxes.items()} if new else boxes


def groups_for(source: Path, audio: Sequence[Path]) -> dict[Path, str]:
    """Return recording -> group from the optional column ``group`` of a table (site, recordist, night)."""
    try:
        table = parse_table(source, read_table_text(source)[0])
    except CheepError:  # a folder, a label track: nothing with a column
        return {}
    place = table.places()
    if "group" not in place or not (file_name := first_of(place, FILE)):
        return {}
    index = AudioIndex(audio)
    groups = {}
    for _, row in table.rows:
        for path in index.find(_file_of(row, place, file_name), source):
            if group := row[place["group"]]:
                groups[path] = group
    return groups


def _order(box: Box) -> tuple[float, float, str, float]:
    return box.start_s, box.end_s, box.label, -1.0 if box.score is None else box.score


def confident(
    boxes: dict[Key, list[Box]], least: float | None, notes: collections.Counter[str], where: str = "annotations"
) -> dict[Key, list[Box]]:
    """Return the boxes that a person marked, and those of a model with a score of at least ``least``.

    Raises
    ------
    CheepError
        There are scores, and ``least`` is ``None``; the message says how many lie where.
    """
    scores = [box.score for items in boxes.values() for box in items if box.score is not None]
    if not scores:
        return boxes
    if least is None:
        counts = collections.Counter(min(9, int(10 * score)) for score in scores)
        shown = ", ".join(f"{counts[at]} at {at / 10:.1f}-{(at + 1) / 10:.1f}" for at in sorted(counts))
        raise CheepError(
            f"{where}: {len(scores)} of them carry a model's confidence, no person's word ({shown}): say which are "
            "to be believed with --min-confidence (e.g. 0.5)"
        )
    low = sum(score < least for score in scores)
    if low:
        notes[f"of {len(scores)} boxes below --min-confidence {least:g}, left out"] += low
    return {path: [box for box in items if box.score is None or box.score >= least] for path, items in boxes.items()}


def _files(sources: Sequence[Path], notes: collections.Counter[str]) -> Iterator[tuple[Path, bool]]:
    for source in sources:
        if source.is_dir():
            names = ("metadata.csv", "dataset.csv", "attribution.csv", "problems.csv")
            wanted = [
                item
                for item in sorted(files_below(source))
                if item.suffix.lower() in SUFFIXES and item.name.lower() not in names
            ]
            if not wanted:
                raise CheepError(f"{source}: no label file in this folder (known: {' '.join(sorted(SUFFIXES))})")
            for item in wanted:
                if is_hidden(item):
                    notes["hidden file(s) passed over"] += 1
                else:
                    yield item, False
        elif source.is_file():
            yield source, True
        else:
            raise CheepError(f"{source}: no such file or folder (--annotations)")


def _audio_name(path: Path) -> str:
    stem = re.sub(r"\.table\.\d+\.selections$", "", path.stem, flags=re.IGNORECASE)
    stem = re.sub(r"\.birdnet(\.[a-z.]+)?$", "", stem, flags=re.IGNORECASE)
    return re.sub(r"[._-](labels?|annotations?|selections?|results?)$", "", stem, flags=re.IGNORECASE)


# -- cells ------------------------------------------------------------------------------------


def _add(boxes: dict[str, list[Box]], name: str, box: Box) -> None:
    boxes.setdefault(name, []).append(box)


def _cell(row: Sequence[str], place: dict[str, int], name: str) -> str:
    at = place.get(name, len(row))
    return row[at].strip() if at < len(row) else ""


def _named(row: Sequence[str], place: dict[str, int], names: Sequence[str]) -> str:
    return next((text for name in names if (text := _cell(row, place, name))), "")


def _score(text: str) -> float | None:
    """A confidence of 0..1, or ``None``."""
    text = text.strip().replace(",", ".")
    if not re.fullmatch(r"[0-9]{0,3}(\.[0-9]{1,12})?([eE]-[0-9]{1,2})?", text) or not text:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


def _score_column(table: Table, place: dict[str, int]) -> str:
    """The column of a model's confidences, or an empty string: all its values lie in 0..1."""
    name = first_of(place, SCORE)
    values = [text for _, row in table.rows if (text := _cell(row, place, name))] if name else []
    return name if values and all(_score(text) is not None for text in values) else ""


def _box(
    path: Path, line: int, start: float, end: float, row: Sequence[str], place: dict[str, int], scored: str
) -> Box:
    band: list[float | None] = []
    for columns in (_LOW, _HIGH):
        text = _named(row, place, columns)
        band.append(number_field(text, path, line, columns[0]) if text else None)
    label = _named(row, place, LABEL)
    names = [label] if label else []
    names += [text for name in _NAMES if (text := _cell(row, place, name))]
    by_hand = label and label == _named(row, place, _BY_HAND)
    score = _score(_cell(row, place, scored)) if scored and not by_hand else None
    return _checked(path, line, start, end, names, band[0], band[1], score)


def _checked(
    path: Path,
    line: int,
    start: float,
    end: float,
    names: Sequence[str],
    low: float | None,
    high: float | None,
    score: float | None = None,
) -> Box:
    if not 0 <= start < end:
        raise CheepError(f"{path}:{line}: start={start:g}, end={end:g}: must be 0 <= start < end (seconds)")
    if low is not None and high is not None and low > high:
        raise CheepError(f"{path}:{line}: low_hz={low:g}, high_hz={high:g}: must be low <= high")
    known: dict[str, None] = {}
    for name in names:
        both = _BOTH_NAMES.fullmatch(name)
        known.update(dict.fromkeys(both.groups() if both else (name,)))
    label, *others = known or [""]
    if label and means_background(label) and score is None:
        return Box(start, end, "", low, high, nothing=True)
    return Box(start, end, label, low, high, score, tuple(others))
