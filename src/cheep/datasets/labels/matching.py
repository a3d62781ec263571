# SPDX-License-Identifier: MIT
"""Which recordings annotation files speak of, by what they say, their names and their folders."""

from __future__ import annotations

import collections
import functools
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PureWindowsPath

from cheep.audio.folders import AUDIO_SUFFIXES, AudioIndex, common_tail, files_below, is_hidden, plain_path
from cheep.datasets.labels.boxes import Box, NoAnnotationsError, confident, models_nothing
from cheep.datasets.labels.columns import FILE, file_of
from cheep.datasets.labels.files import read_annotations
from cheep.datasets.tables import first_of, parse_table, read_table_text
from cheep.errors import CheepError

log = logging.getLogger(__name__)
SUFFIXES = (
    *(".txt", ".csv", ".tsv", ".json", ".xlsx", ".xlsm", ".xls", ".ods"),
    *(".textgrid", ".eaf", ".svl", ".data"),
)


def boxes_for(
    sources: Sequence[Path],
    audio: Sequence[Path],
    min_confidence: float | None = None,
    every: bool = False,
    named: bool = False,
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
    named
        Recordings at a path that a table names belong to the set, too: whole paths, and where nothing else is found,
        paths from the table's folder or from the current one.

    Raises
    ------
    CheepError
        A file cannot be read; a file that was given by name speaks of no audio in the set; a name may mean several
        recordings; boxes have scores, and no threshold is given.
    """
    find = _Finder(audio, named)
    hits: dict[Path, dict[str, list[Box]]] = {}
    notes: collections.Counter[str] = collections.Counter()
    strangers: dict[str, Path] = {}
    named_in: dict[str, Path] = {}
    for source, given in _files(sources, notes):
        try:
            tables = read_annotations(source, notes)
        except NoAnnotationsError:
            if given:
                raise
            notes["file(s) passed over: no annotations in them"] += 1
            continue
        if read_table_text(source)[1] == "windows-1252":
            notes["file(s) not in UTF-8, read as Windows-1252"] += 1
        matched = False
        for name, boxes in tables.items():
            found = find(name, source)
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
            example = next((name for name in tables if name), None) or _audio_name(source)
            there = f"there are {len(audio)} other recordings" if audio else "there is no recording"
            folder = "--audio: the folder" if every else "give the folder"
            raise CheepError(
                f"{source}: speaks of no audio in the set: it names {example!r}, and {there} "
                f"({folder} of the recordings that it speaks of, or correct its name or column file)"
            )
        notes["file(s) that speak of no audio in the set"] += not matched
    notes["recording(s) taken from the paths that the table names"] += len(find.added)
    if sources and not hits:
        passed = "; ".join(f"{count} {text}" for text, count in (+notes).items())
        raise CheepError(
            f"{', '.join(map(str, sources))}: no annotation of audio in the set ({passed}; the last: {source})"
        )
    result = {path: _of_one_recording(path, by_name, named_in, strangers) for path, by_name in hits.items()}
    if strangers:
        name, source = next(iter(strangers.items()))
        if every:
            raise CheepError(f"{source}: names {name!r}: no such recording (--audio: the folder of the recordings)")
        notes[f"recording(s) named that are not in the set (e.g. {name!r} in {source.name})"] += len(strangers)
    result = {path: [box for box in boxes if not models_nothing(box)] for path, boxes in result.items()}
    result = confident(result, min_confidence, notes)
    empty = sum(all(box.nothing for box in boxes) and bool(boxes) for boxes in result.values())
    if empty:
        notes["recording(s) in which nothing was found: negatives"] += empty
    if notes := +notes:
        log.warning("annotations: %s", "; ".join(f"{count} {text}" for text, count in notes.items()))
    return {path: sorted(set(boxes), key=_order) for path, boxes in result.items()}


class _Finder:
    """Finds the recordings that a table's names mean; ``added``: those at paths that it names, outside of the set."""

    def __init__(self, audio: Sequence[Path], named: bool) -> None:
        self._audio, self._named = audio, named
        self._index = AudioIndex(audio)
        self.added: dict[str, Path] = {}

    def __call__(self, name: str, source: Path) -> list[Path]:
        if self._named and Path(name).is_absolute() and (there := _file_at(Path(name))):
            return [self._known(there)]
        found = self._index.find(name or _audio_name(source), source)
        if found or not self._named or not name:
            return found
        places = (_file_at(folder / PureWindowsPath(name).as_posix()) for folder in (source.parent, Path()))
        return [self._known(there) for there in places if there][:1]

    def _known(self, path: Path) -> Path:
        """Return a file by the name that the set has for it, or add it."""
        real = os.path.realpath(path)
        return self._set.get(real) or self.added.setdefault(real, path)

    @functools.cached_property
    def _set(self) -> dict[str, Path]:
        return {os.path.realpath(path): path for path in self._audio}


def _file_at(path: Path) -> Path | None:
    try:
        return path if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file() else None
    except OSError:  # a name that no file can have
        return None


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
        for path in index.find(file_of(row, place, file_name), source):
            if group := row[place["group"]]:
                groups[path] = group
    return groups


def _order(box: Box) -> tuple[float, float, str, float]:
    return box.start_s, box.end_s, box.label, -1.0 if box.score is None else box.score


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
