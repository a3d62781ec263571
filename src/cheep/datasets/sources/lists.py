# SPDX-License-Identifier: MIT
"""Recordings from a CSV with the user's own column names: whole files, or marked stretches of them."""

from __future__ import annotations

import collections
import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath

from cheep.audio import AudioIndex, list_audio
from cheep.audio.folders import plain_path
from cheep.config import nearest_name
from cheep.datasets.labels.boxes import Box, confident
from cheep.datasets.labels.columns import DURATION, END, SCORE, START, species_columns
from cheep.datasets.labels.files import parse_times
from cheep.datasets.numbers import number_field
from cheep.datasets.sources.recording import Recording, check_labels, plain_label, recording_id, site_and_date
from cheep.datasets.tables import Table, first_of, read_table
from cheep.errors import CheepError

log = logging.getLogger(__name__)
#: Names under which CSV files of recordings keep what a recording has, the first that is present wins.
ALIASES: dict[str, tuple[str, ...]] = {
    "path": (
        *("path", "file", "filename", "file_name", "filepath", "file_path", "begin_path", "begin path", "begin file"),
        *("audio_file", "audio file", "audiofilename", "input"),
    ),
    "label": (
        *("label", "class", "category", "class_name", "target_name", "species", "scientific_name", "scientific name"),
        *("common name", "common_name", "species_name"),
    ),
    "species": ("species", "scientific_name"),
    "english": ("english", "common_name", "common name", "vernacular_name", "vernacular name"),
    "recording": ("recording", "recording_id", "source_id", "original", "src_file", "fsid"),
    "recordist": ("recordist", "author", "rec", "recorder"),
    "licence": ("licence", "license", "lic"),
    "attribution": ("attribution", "credit"),
    "fold": ("fold",),
    "group": ("group", "split_group"),
    "source": ("source", "dataset", "set"),
    "site": ("site", "locality", "location"),
    "date": ("date",),
    "also": ("also",),
    "begin_s": ("begin_s", "begin time (s)", "offset_s"),
    "end_s": ("end_s", "end time (s)"),
}
FIELDS = tuple(ALIASES)


def recordings_in_csv(
    path: Path | str,
    audio_root: Path | str | None = None,
    columns: Mapping[str, str] | None = None,
    labels: Sequence[str] = (),
    include: Mapping[str, Sequence[str]] | None = None,
    exclude: Mapping[str, Sequence[str]] | None = None,
    suffix: str = "",
    background: str = "background",
    min_confidence: float | None = None,
) -> list[Recording]:
    """Return the recordings that a CSV lists, in its order; any separator and encoding.

    A list of stretches (each file several times with start and end, a column of 0 and 1 per species, the events of
    ``cheep test``, a model's detections) gives marked stretches.

    Parameters
    ----------
    path
        CSV with a header line.
    audio_root
        Folder that relative file names start from; default: the folder of the CSV.
    columns
        Our field -> the user's column, for columns whose name is not among :data:`ALIASES`.
    labels
        Keep only these labels.
    include, exclude
        Column of the CSV -> values; rows that match all of ``include`` and none of ``exclude`` are kept.
    suffix
        Ending of file names that are written without one.
    background
        Label of stretches in which nothing is.
    min_confidence
        Of stretches that a model found, those with at least this score; needed where there are any.

    Raises
    ------
    CheepError
        Naming file, line and column: a missing column or file, an empty label, a number that is none.
    """
    path = Path(path)
    root = Path(audio_root) if audio_root is not None else path.parent
    if not root.is_dir():
        raise CheepError(f"{root}: no such folder (--audio-root: where the file names of {path.name} start)")
    table = read_table(path)
    filters = _filters(path, table.header_line, list(table.header), include or {}, exclude or {})
    kept = tuple(item for item in table.rows if all((item[1][at] in wanted) == keep for at, wanted, keep in filters))
    table = _mapped(dataclasses.replace(table, rows=kept), columns or {})
    files = _Files(path, root, suffix)
    if _is_stretches(table):
        found = _stretches(table, files, background, min_confidence)
    else:
        found = _whole(table, files)
    check_labels(labels, {item.label for item in found}, path)
    found = [item for item in found if not labels or item.label in labels]
    if not found:
        raise CheepError(f"{path}: lists no recording (after --include, --exclude and --labels)")
    return _without_repeats(found, path)


def _mapped(table: Table, columns: Mapping[str, str]) -> Table:
    """Return the table with the user's columns under our names; a column of 0 and 1 stays a species' own."""
    header = list(table.header)
    for field, name in columns.items():
        if field not in FIELDS:
            raise CheepError(
                f"--columns {field}={name}: no such field{nearest_name(field, FIELDS)}; fields: {', '.join(FIELDS)}"
            )
        if name not in header:
            raise CheepError(
                f"{table.path}:{table.header_line}: no column {name!r}{nearest_name(name, header)}; it has "
                f"{', '.join(header)}"
            )
        at = header.index(name)
        if field == "label" and name in species_columns(table):
            continue
        header = [f"({other})" if other.lower() == field and k != at else other for k, other in enumerate(header)]
        header[at] = field
    return dataclasses.replace(table, header=tuple(header))


def _is_stretches(table: Table) -> bool:
    """Tell whether a list has rows of stretches in columns that annotations have: each file several times, or scores.

    A column ``start_s`` alone is not taken for a stretch: in many lists it counts from the start of another file.
    """
    place = table.places()
    file_name = first_of(place, ALIASES["path"])
    if not file_name or ("begin_s" in place and "end_s" in place):
        return False
    if species_columns(table) and not first_of(place, ALIASES["label"]):
        return True
    if not first_of(place, START) or not (first_of(place, END) or first_of(place, DURATION)):
        return False
    names = [row[place[file_name]] for _, row in table.rows]
    return len(set(names)) < len(names) or bool(first_of(place, SCORE))


def _stretches(table: Table, files: _Files, background: str, min_confidence: float | None) -> list[Recording]:
    place = table.places()
    at = place[first_of(place, ALIASES["path"])]
    about: dict[str, tuple[int, dict[str, str]]] = {}
    for line, row in table.rows:
        about.setdefault(row[at], (line, _values(row, place)))
    renamed = ["file" if number == at else name for number, name in enumerate(table.header)]
    boxes = parse_times(dataclasses.replace(table, header=tuple(renamed)))
    boxes = {name: items for name, items in boxes.items() if name}
    notes: collections.Counter[str] = collections.Counter()
    found = []
    several = 0
    for name, items in confident(boxes, min_confidence, notes, str(table.path)).items():
        by_time: dict[tuple[float, float], list[Box]] = {}
        for box in items:
            by_time.setdefault((box.start_s, box.end_s), []).append(box)
        for (start_s, end_s), together in by_time.items():
            labels = {background if box.nothing else box.label for box in together}
            if len(labels) > 1:
                several += 1
                continue
            notes["row(s) say again what another says: counted once"] += len(together) - 1
            line, value = about[name]
            if "" in labels:
                raise CheepError(
                    f"{table.path}:{line}: a stretch at {start_s:g} s of {name!r} has no label: every one needs one "
                    "(a column 'label', or --columns label=NAME)"
                )
            whole = not math.isfinite(end_s)
            stretch = {} if whole else {"begin_s": repr(start_s), "end_s": repr(end_s)}
            value = {**value, "label": labels.pop(), "begin_s": "", "end_s": "", **stretch}
            found.append(_recording(files, line, value))
    if several:
        notes["stretch(es) with several species at once, left out"] += several
    if notes := +notes:
        log.warning("%s: %s", table.path, "; ".join(f"{count} {text}" for text, count in notes.items()))
    return found


def _whole(table: Table, files: _Files) -> list[Recording]:
    place = table.places()
    for field in ("path", "label"):
        if not first_of(place, ALIASES[field]):
            raise CheepError(
                f"{table.path}:{table.header_line}: no column for {field}: name it {ALIASES[field][0]!r} or map it "
                f"with --columns {field}=NAME (the file has {', '.join(table.header)[:300]})"
            )
    found = []
    for line, row in table.rows:
        value = _values(row, place)
        if not value["label"]:
            name = first_of(place, ALIASES["label"])
            raise CheepError(f"{table.path}:{line}: {name} is empty: every recording needs a label")
        found.append(_recording(files, line, value))
    return found


def _values(row: Sequence[str], place: dict[str, int]) -> dict[str, str]:
    names = {field: first_of(place, aliases) for field, aliases in ALIASES.items()}
    return {field: row[place[name]] for field, name in names.items() if name}


def _without_repeats(found: list[Recording], path: Path) -> list[Recording]:
    """Drop recordings that are listed twice: their examples would count twice."""
    once = {(item.path, item.label, item.begin_s, item.end_s): item for item in reversed(found)}
    if len(once) == len(found):
        return found
    log.warning("%s: %d row(s) say again what another says: counted once", path, len(found) - len(once))
    return [item for item in found if once.get((item.path, item.label, item.begin_s, item.end_s)) is item]


class _Files:
    """Finds the files of a list: as they are written, else whatever wrote them (case, slashes, NFD, other folders)."""

    def __init__(self, table: Path, root: Path, suffix: str) -> None:
        self.table, self.root = table, root
        self._suffix = suffix if suffix.startswith(".") or not suffix else f".{suffix}"
        self._index: AudioIndex | None = None

    def find(self, name: str, line: int) -> Path:
        """Return the file that ``name`` in line ``line`` speaks of, or raise :class:`CheepError`."""
        if not name or "\0" in name:
            raise CheepError(f"{self.table}:{line}: the file name is empty or malformed")
        name += self._suffix if not Path(name).suffix else ""
        audio = self.root / name
        try:
            if audio.is_file():
                return audio
        except OSError:
            pass
        self._index = self._index or AudioIndex(list_audio(self.root).audio)
        found = self._index.find(name, self.table)
        told = PureWindowsPath(name)  # takes both slashes
        if len(found) == 1:
            there = [plain_path(part) for part in found[0].relative_to(self.root).parts]
            wanted = [plain_path(part) for part in told.parts]
            # on another computer: at least the last folder must agree
            if there == wanted or ((told.root or told.drive) and there[-2:] == wanted[-2:]):
                return found[0]
        more = f"; is it {found[0]}?" if found else ""
        raise CheepError(f"{self.table}:{line}: {audio}: no such file{more} (set --audio-root, or remove the line)")


def _recording(files: _Files, line: int, value: dict[str, str]) -> Recording:
    path = files.table
    audio = files.find(value["path"], line)
    site, date = (value.get("site", ""), value.get("date", "")) if "site" in value else site_and_date(audio)
    begin_s, end_s = 0.0, None
    if value.get("begin_s") and value.get("end_s"):
        begin_s, end_s = (number_field(value[name], path, line, name) for name in ("begin_s", "end_s"))
        if not 0 <= begin_s < end_s:
            raise CheepError(f"{path}:{line}: begin_s={begin_s:g}, end_s={end_s:g}: must be 0 <= begin < end")
    return Recording(
        path=audio,
        label=plain_label(value["label"]),
        recording=value.get("recording") or recording_id(audio, site, files.root),
        recordist=value.get("recordist", ""),
        licence=value.get("licence", ""),
        attribution=value.get("attribution", ""),
        group=value.get("group", ""),
        fold=value.get("fold", ""),
        source=value.get("source", ""),
        site=site,
        date=value.get("date", "") or date,
        species=value.get("species", ""),
        english=value.get("english", ""),
        also=tuple(name.strip() for name in value.get("also", "").split(";") if name.strip()),
        begin_s=begin_s,
        end_s=end_s,
        strong=end_s is not None,
    )


def _filters(
    path: Path, line: int, header: list[str], include: Mapping[str, Sequence[str]], exclude: Mapping[str, Sequence[str]]
) -> list[tuple[int, frozenset[str], bool]]:
    filters = []
    for wanted, keep in ((include, True), (exclude, False)):
        for name, values in wanted.items():
            if name not in header:
                raise CheepError(
                    f"{path}:{line}: no column {name!r}{nearest_name(name, header)}; it has {', '.join(header)}"
                )
            filters.append((header.index(name), frozenset(values), keep))
    return filters
