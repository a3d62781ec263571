"""Recordings from a folder per label, or from a CSV with the user's own column names."""

from __future__ import annotations

import dataclasses
import logging
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from cheep.audio import AUDIO_SUFFIXES, list_audio
from cheep.audio.folders import SYSTEM_FOLDERS, Listing
from cheep.config import nearest_name
from cheep.datasets.audiomoth import read_card_header
from cheep.datasets.files import csv_rows
from cheep.datasets.numbers import number_field
from cheep.errors import CheepError

log = logging.getLogger(__name__)

#: Names under which CSV files of recordings keep what a recording has, the first that is present wins.
ALIASES: dict[str, tuple[str, ...]] = {
    "path": ("path", "file", "filename", "file_name", "filepath", "begin_path", "begin path"),
    "label": ("label", "class", "category", "class_name", "target_name", "species"),
    "species": ("species", "scientific_name"),
    "recording": ("recording", "recording_id", "source_id", "original", "src_file", "fsid"),
    "recordist": ("recordist", "author", "rec", "recorder"),
    "licence": ("licence", "license", "lic"),
    "attribution": ("attribution", "credit"),
    "fold": ("fold",),
    "group": ("group",),
    "source": ("source", "dataset", "set"),
    "site": ("site", "locality", "location"),
    "date": ("date",),
    "also": ("also",),
    "begin_s": ("begin_s", "begin time (s)", "offset_s"),
    "end_s": ("end_s", "end time (s)"),
}
FIELDS = tuple(ALIASES)
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
    subs: dict[str, list[Path]] = {}
    for item in sorted(folder.iterdir()):
        if item.is_dir() and not item.name.startswith(".") and item.name.lower() not in SYSTEM_FOLDERS:
            subs.setdefault(plain_label(item.name), []).append(item)
    _check_labels(labels, set(subs), folder)
    found: list[Recording] = []
    passed = Listing([])
    for label, places in subs.items():
        if labels and label not in labels:
            continue
        files = sorted(path for place in places for path in _listed(place, passed))
        if not files:
            raise CheepError(
                f"{places[0]}: no audio in this label folder (known: {' '.join(AUDIO_SUFFIXES)}): fill or remove it"
            )
        found += [_of_file(path, label, folder) for path in files]
    if not found:
        raise CheepError(f"{folder}: no label folders with audio (expected {folder}/LABEL/*.wav)")
    _say_passed(folder, passed)
    return found


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


def _listed(folder: Path, passed: Listing) -> list[Path]:
    found = list_audio(folder)
    passed.hidden += found.hidden
    passed.others += found.others
    return found.audio


def _say_passed(folder: Path, passed: Listing) -> None:
    if passed.passed_over():
        log.warning("%s: passed over, being no audio that is known: %s", folder, passed.passed_over())


def _of_file(path: Path, label: str, folder: Path) -> Recording:
    fold = _ESC_NAME.match(path.stem)
    site, date = _card(path)
    return Recording(
        path,
        label,
        recording_of(path),
        fold=fold.group(1) if fold else "",
        source=folder.name,
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
) -> list[Recording]:
    """Return the recordings that a CSV lists, in its order.

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

    Raises
    ------
    CheepError
        Naming file, line and column: a missing column or file, an empty label, a number that is none.
    """
    path = Path(path)
    root = Path(audio_root) if audio_root is not None else path.parent
    if not root.is_dir():
        raise CheepError(f"{root}: no such folder (--audio-root: where the file names of {path.name} start)")
    header: list[str] = []
    place: dict[str, int] = {}
    found: list[Recording] = []
    known_labels: set[str] = set()
    for line, row in csv_rows(path):
        if not header:
            header = [name.strip() for name in row]
            place = _places(path, line, header, columns or {})
            filters = _filters(path, line, header, include or {}, exclude or {})
            continue
        if len(row) != len(header):
            raise CheepError(f"{path}:{line}: {len(row)} fields, the header has {len(header)}")
        if not all((row[at].strip() in wanted) == keep for at, wanted, keep in filters):
            continue
        value = {field: row[at].strip() for field, at in place.items()}
        if not value["label"]:
            raise CheepError(f"{path}:{line}: {header[place['label']]} is empty: every recording needs a label")
        if suffix and value["path"] and not Path(value["path"]).suffix:
            value["path"] += suffix if suffix.startswith(".") else f".{suffix}"
        known_labels.add(value["label"])
        if labels and value["label"] not in labels:
            continue
        found.append(_recording(path, line, root, value))
    if not header:
        raise CheepError(f"{path}: empty file: a header line with at least file and label is needed")
    _check_labels(labels, known_labels, path)
    if not found:
        raise CheepError(f"{path}: lists no recording (after --include, --exclude and --labels)")
    return found


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


def _recording(path: Path, line: int, root: Path, value: dict[str, str]) -> Recording:
    if not value["path"] or "\0" in value["path"]:
        raise CheepError(f"{path}:{line}: the file name is empty or malformed")
    audio = root / value["path"]
    try:
        there = audio.is_file()
    except OSError:
        there = False
    if not there:
        raise CheepError(f"{path}:{line}: {audio}: no such file (set --audio-root, or remove the line)")
    begin_s, end_s = 0.0, None
    if value.get("begin_s") and value.get("end_s"):
        begin_s, end_s = (number_field(value[name], path, line, name) for name in ("begin_s", "end_s"))
        if not 0 <= begin_s < end_s:
            raise CheepError(f"{path}:{line}: begin_s={begin_s:g}, end_s={end_s:g}: must be 0 <= begin < end")
    return Recording(
        path=audio,
        label=value["label"],
        recording=value.get("recording") or recording_of(audio),
        recordist=value.get("recordist", ""),
        licence=value.get("licence", ""),
        attribution=value.get("attribution", ""),
        group=value.get("group", ""),
        fold=value.get("fold", ""),
        source=value.get("source", ""),
        site=value.get("site", ""),
        date=value.get("date", ""),
        species=value.get("species", ""),
        also=tuple(name.strip() for name in value.get("also", "").split(";") if name.strip()),
        begin_s=begin_s,
        end_s=end_s,
        strong=end_s is not None,
    )


def _places(path: Path, line: int, header: list[str], columns: Mapping[str, str]) -> dict[str, int]:
    for field, name in columns.items():
        if field not in FIELDS:
            raise CheepError(
                f"--columns {field}={name}: no such field{nearest_name(field, FIELDS)}; fields: {', '.join(FIELDS)}"
            )
        if name not in header:
            raise CheepError(
                f"{path}:{line}: no column {name!r}{nearest_name(name, header)}; it has {', '.join(header)}"
            )
    lower = [name.lower() for name in header]
    place = {}
    for field, names in ALIASES.items():
        if field in columns:
            place[field] = header.index(columns[field])
        else:
            present = [lower.index(name) for name in names if name in lower]
            if present:
                place[field] = present[0]
    for field in ("path", "label"):
        if field not in place:
            raise CheepError(
                f"{path}:{line}: no column for {field}: name it {ALIASES[field][0]!r} or map it with "
                f"--columns {field}=NAME (the file has {', '.join(header)[:300]})"
            )
    return place


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
