# SPDX-License-Identifier: MIT
"""Recordings from a folder per label, or from a CSV with the user's own column names."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import logging
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PureWindowsPath

from cheep.audio import AUDIO_SUFFIXES, AudioIndex, list_audio
from cheep.audio.folders import SYSTEM_FOLDERS, Listing, plain_path
from cheep.config import nearest_name
from cheep.config.data import LABEL_SEPARATOR, WindowConfig, plain_name
from cheep.datasets.audiomoth import read_card_header
from cheep.datasets.labels.boxes import Box, confident
from cheep.datasets.labels.columns import DURATION, END, SCORE, START, species_columns
from cheep.datasets.labels.files import parse_times
from cheep.datasets.numbers import number_field
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
_CLOCK_NAME = re.compile(r"([0-9]{8}_)?[0-9]{6}T?(?![0-9A-Za-z])|[0-9A-F]{8}$")  # as AudioMoths name recordings
_SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "training_set", "train_set", "trainset", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validation_set", "val_set", "valid_set", "valset"), "val"),
    **dict.fromkeys(("dev", "development", "development_set", "dev_set"), "val"),
    **dict.fromkeys(("test", "testing", "test_set", "testset", "eval", "evaluation", "evaluation_set"), "test"),
}
_ESC_NAME = re.compile(r"([0-9]+)-([0-9]+)-[A-Z]+-[0-9]+$")


@dataclasses.dataclass(frozen=True)
class Recording:
    """One audio file, or a stretch of it, with what is known of it.

    ``begin_s`` and ``end_s`` bound the stretch within the file (``end_s`` ``None``: to the end). ``group`` stays
    together in a split. ``also`` names other species that are heard.
    """

    path: Path
    label: str
    recording: str
    recordist: str = ""
    licence: str = ""
    attribution: str = ""
    group: str = ""
    fold: str = ""
    source: str = ""
    site: str = ""
    date: str = ""
    also: tuple[str, ...] = ()
    species: str = ""
    english: str = ""
    begin_s: float = 0.0
    end_s: float | None = None
    strong: bool = False  # the stretch was marked by a person: every window in it is an example
    split: str = ""  # train, val or test where that is settled, and not to be drawn


def recording_of(path: Path) -> str:
    """Return the original recording that a file name speaks of.

    ``XC120371_0065`` is a piece of ``XC120371``, and ESC-style ``3-118059-A-0`` of clip ``118059``; otherwise
    the stem.
    """
    stem = path.stem
    if match := re.match(r"(XC[0-9]{2,})(?![0-9])", stem, re.IGNORECASE):
        return match.group(1).upper()
    if match := _ESC_NAME.match(stem):
        return match.group(2)
    return stem


def _recording_id(path: Path, device: str, root: Path) -> str:
    """The recording of a file, apart from those of other recorders that name their files alike, by the time."""
    name = recording_of(path)
    if device and _CLOCK_NAME.match(name):
        return f"{device}_{name}"
    if _CLOCK_NAME.match(name):
        with contextlib.suppress(ValueError):
            folders = path.parent.relative_to(root).parts[1:]  # below the label
            return "/".join((*folders, name))
    return name


def recordings_in_folder(folder: Path | str, labels: Sequence[str] = ()) -> list[Recording]:
    """Return the recordings of ``folder/LABEL/**``, sorted by path; ``labels`` restricts them.

    A ``metadata.csv`` beside the label folders adds recordist, licence and the rest to the files it names.

    Raises
    ------
    CheepError
        The folder is missing, has no label folders, or a label folder holds no audio.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheepError(f"{folder}: no such folder (give a folder that holds one folder per label)")
    if (folder / "metadata.csv").is_file():
        return recordings_in_csv(folder / "metadata.csv", folder, labels=labels)
    passed = Listing([])
    found = _split_already(folder, labels, passed) or _by_label(folder, labels, passed)
    if not found:
        loose = sum(path.is_file() for path in list_audio(folder).audio)
        here = f"{loose} recording(s) lie in it without a label; " if loose else ""
        raise CheepError(
            f"{folder}: {here}no label folders with audio: make one per species and one named background "
            f"({folder}/LABEL/*.wav), or name the labels in a table with --csv"
        )
    _say_passed(folder, passed)
    return found


def _subfolders(folder: Path) -> list[Path]:
    return [
        item
        for item in sorted(folder.iterdir())
        if item.is_dir() and not item.name.startswith(".") and item.name.lower() not in SYSTEM_FOLDERS
    ]


def _by_label(folder: Path, labels: Sequence[str], passed: Listing, source: str = "") -> list[Recording]:
    subs: dict[str, list[Path]] = {}
    for item in _subfolders(folder):
        subs.setdefault(plain_label(item.name), []).append(item)
    _check_labels(labels, set(subs), folder)
    found: list[Recording] = []
    for label, places in subs.items():
        if labels and label not in labels:
            continue
        files = sorted(path for place in places for path in _listed(place, passed))
        if not files:
            raise CheepError(
                f"{places[0]}: no audio in this label folder (known: {' '.join(AUDIO_SUFFIXES)}): fill or remove it"
            )
        found += [_of_file(path, label, folder, source) for path in files]
    return found


def _split_already(folder: Path, labels: Sequence[str], passed: Listing) -> list[Recording]:
    """Return the recordings of a folder whose folders are ``train``, ``val`` and ``test`` (in other words too), split.

    Empty: its folders are labels. Where validation is missing it is drawn from training.
    """
    places: dict[str, list[Path]] = {}
    for item in _subfolders(folder):
        places.setdefault(_SPLIT_NAMES.get(plain_name(item.name), ""), []).append(item)
    if "" in places or not places:
        return []
    named = ", ".join(f"{item.name} ({split})" for split, items in places.items() for item in items)
    empty = next((item for items in places.values() for item in items if not _subfolders(item)), None)
    if empty:
        raise CheepError(
            f"{folder}: looks like a set that is split already ({named}), but {empty} holds no label folders "
            f"(expected {empty}/LABEL/*.wav; a label of such a name must be called otherwise)"
        )
    if len(places) == 1:  # nothing is parted from anything
        (items,) = places.values()
        log.warning("%s: the labels are taken from %s", folder, " and ".join(item.name for item in items))
        nested = [_split_already(item, labels, passed) or _by_label(item, labels, passed) for item in items]
        return [recording for part in nested for recording in part]
    if "train" not in places:
        raise CheepError(f"{folder}: looks like a set that is split already ({named}), but has nothing to train on")
    log.warning(
        "%s: split already, and used so: %s%s%s", folder, named,
        "" if "val" in places else "; validation is drawn from training",
        "" if "test" in places else "; there is no test set: figures will be those of validation",
    )  # fmt: skip
    found = []
    for split, items in places.items():
        settled = "" if split == "train" and "val" not in places else split
        found += [recording for item in items for recording in _of_part(item, settled, labels, passed, folder.name)]
    _check_labels(labels, {recording.label for recording in found}, folder)
    return [recording for recording in found if not labels or recording.label in labels]


def _of_part(item: Path, split: str, labels: Sequence[str], passed: Listing, source: str) -> Iterator[Recording]:
    """Yield the recordings of one part of a split set; whoever split it may have numbered the files of each anew."""
    for recording in _by_label(item, [name for name in labels if (item / name).is_dir()], passed, source):
        own = recording.recording == recording.path.stem
        name = f"{item.name}/{recording.recording}" if own else recording.recording
        yield dataclasses.replace(recording, split=split, recording=name)


def recordings_in_noise_folder(folder: Path | str, label: str) -> list[Recording]:
    """Return all audio below ``folder`` under ``label``: recordings without the target species.

    A file with an ESC-style name keeps its fold; a ``metadata.csv`` is not needed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheepError(f"{folder}: no such folder (--noise)")
    passed = Listing([])
    files = sorted(_listed(folder, passed))
    if not files:
        raise CheepError(f"{folder}: no audio in this noise folder (known: {' '.join(AUDIO_SUFFIXES)})")
    _say_passed(folder, passed)
    return [_of_file(path, label, folder) for path in files]


def plain_label(text: str) -> str:
    """Return a label as it is kept: without spaces around it, and in NFC (macOS names folders in NFD)."""
    return unicodedata.normalize("NFC", text).strip()


def settled_labels(recordings: Sequence[Recording], config: WindowConfig, several: bool = False) -> list[Recording]:
    """Return the recordings with the labels that count: one name for the background, none that would become two.

    ``noise``, ``No bird``, ``Hintergrund`` and the like (:func:`cheep.config.data.means_background`) become
    ``config.background``, which is said; so are labels that differ in spelling only. With ``several``, a recording may
    have several labels, which stay.

    Raises
    ------
    CheepError
        A label is empty or holds ``;``, which stands between the labels of an example that has several.
    """
    renamed: dict[str, str] = {}
    spellings: dict[str, list[str]] = {}
    for label in sorted({item.label for item in recordings}):
        settled = plain_label(label)
        if several and LABEL_SEPARATOR in settled:
            renamed[label] = label
            continue
        if not settled or LABEL_SEPARATOR in settled:
            raise CheepError(
                f"label {label!r}: must not be empty or hold {LABEL_SEPARATOR!r}, between the labels of an "
                "example that has several (--rename gives it another name)"
            )
        if config.is_background(settled):
            settled = config.background
            if label != settled:
                log.warning("label %r means that no target species is there: it is taken as %r", label, settled)
        else:
            spellings.setdefault(plain_name(settled), []).append(settled)
        renamed[label] = settled
    for names in spellings.values():
        if len(set(names)) > 1:
            log.warning(
                "labels %s differ in spelling only and are two classes: join them with --rename '%s=%s'",
                " and ".join(map(repr, names)), names[0], names[-1],
            )  # fmt: skip
    return [
        item if renamed[item.label] == item.label else dataclasses.replace(item, label=renamed[item.label])
        for item in recordings
    ]


def _listed(folder: Path, passed: Listing) -> list[Path]:
    found = list_audio(folder)
    passed.hidden += found.hidden
    passed.others += found.others
    return found.audio


def _say_passed(folder: Path, passed: Listing) -> None:
    if passed.passed_over():
        log.warning("%s: passed over, being no audio that is known: %s", folder, passed.passed_over())


def _of_file(path: Path, label: str, folder: Path, source: str = "") -> Recording:
    fold = _ESC_NAME.match(path.stem)
    site, date = _card(path)
    return Recording(
        path,
        label,
        _recording_id(path, site, folder),
        fold=fold.group(1) if fold else "",
        source=source or folder.name,
        site=site,
        date=date,
    )


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
    _check_labels(labels, {item.label for item in found}, path)
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


def _card(path: Path) -> tuple[str, str]:
    """(site, date) of an AudioMoth recording: the device and the day; empty for others."""
    if path.suffix.lower() not in (".wav", ".wave"):
        return "", ""
    try:
        header = read_card_header(path)
    except CheepError:
        return "", ""
    if header is None:
        return "", ""
    return header.device, header.time.date().isoformat() if header.time else ""


def _recording(files: _Files, line: int, value: dict[str, str]) -> Recording:
    path = files.table
    audio = files.find(value["path"], line)
    site, date = (value.get("site", ""), value.get("date", "")) if "site" in value else _card(audio)
    begin_s, end_s = 0.0, None
    if value.get("begin_s") and value.get("end_s"):
        begin_s, end_s = (number_field(value[name], path, line, name) for name in ("begin_s", "end_s"))
        if not 0 <= begin_s < end_s:
            raise CheepError(f"{path}:{line}: begin_s={begin_s:g}, end_s={end_s:g}: must be 0 <= begin < end")
    return Recording(
        path=audio,
        label=plain_label(value["label"]),
        recording=value.get("recording") or _recording_id(audio, site, files.root),
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


def _check_labels(wanted: Sequence[str], known: set[str], where: Path) -> None:
    for label in wanted:
        if label not in known:
            raise CheepError(
                f"label {label!r}: not in {where}{nearest_name(label, known)}; it has {', '.join(sorted(known))}"
            )
