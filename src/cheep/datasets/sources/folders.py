# SPDX-License-Identifier: MIT
"""Recordings from a folder per label, from one that is split already, and from folders without the target."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from cheep.audio import AUDIO_SUFFIXES, list_audio
from cheep.audio.folders import SYSTEM_FOLDERS, Listing
from cheep.config.data import plain_name
from cheep.datasets.sources.lists import recordings_in_csv
from cheep.datasets.sources.recording import ESC_NAME, Recording, check_labels, plain_label, recording_id, site_and_date
from cheep.errors import CheepError

log = logging.getLogger(__name__)
_SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "training_set", "train_set", "trainset", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validation_set", "val_set", "valid_set", "valset"), "val"),
    **dict.fromkeys(("dev", "development", "development_set", "dev_set"), "val"),
    **dict.fromkeys(("test", "testing", "test_set", "testset", "eval", "evaluation", "evaluation_set"), "test"),
}


def recordings_in_folder(folder: Path | str, labels: Sequence[str] = ()) -> list[Recording]:
    """Return the recordings of ``folder/LABEL/**``, sorted by path; ``labels`` restricts them.

    A ``metadata.csv`` beside the label folders adds recordist, licence and the rest, and says what the recordings are:
    files that it does not name are left out, and said.

    Raises
    ------
    CheepError
        The folder is missing, has no label folders, or a label folder holds no audio.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheepError(f"{folder}: no such folder (give a folder that holds one folder per label)")
    if (folder / "metadata.csv").is_file():
        named = recordings_in_csv(folder / "metadata.csv", folder)
        check_labels(labels, {item.label for item in named}, folder / "metadata.csv")
        _say_unnamed(folder, named, labels)
        return [item for item in named if not labels or item.label in labels]
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


def _say_unnamed(folder: Path, named: Sequence[Recording], labels: Sequence[str]) -> None:
    known = {os.path.abspath(recording.path) for recording in named}
    unnamed = {
        item.name: count
        for item in _subfolders(folder)
        if item.name != "originals"  # cheep download-dataset --keep-originals
        and (not labels or plain_label(item.name) in labels)
        and (count := sum(os.path.abspath(path) not in known for path in list_audio(item).audio))
    }
    if unnamed:
        log.warning(
            "%d audio file(s) in %s are not in its metadata.csv and are left out (%s): add them to it, or give their "
            "folder with --noise DIR (background)",
            sum(unnamed.values()), folder, ", ".join(f"{name} {count}" for name, count in unnamed.items()),
        )  # fmt: skip


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
    check_labels(labels, set(subs), folder)
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
    check_labels(labels, {recording.label for recording in found}, folder)
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


def _listed(folder: Path, passed: Listing) -> list[Path]:
    found = list_audio(folder)
    passed.hidden += found.hidden
    passed.others += found.others
    passed.lost += found.lost
    return found.audio


def _say_passed(folder: Path, passed: Listing) -> None:
    if passed.passed_over():
        log.warning("%s: passed over, being no audio that is known: %s", folder, passed.passed_over())
    if passed.lost:
        log.warning(
            "%s: %d file(s) or folder(s) left out that cannot be opened (links to what is gone?): %s",
            folder, len(passed.lost), ", ".join(str(path) for path in passed.lost[:3]),
        )  # fmt: skip


def _of_file(path: Path, label: str, folder: Path, source: str = "") -> Recording:
    fold = ESC_NAME.match(path.stem)
    site, date = site_and_date(path)
    return Recording(
        path,
        label,
        recording_id(path, site, folder),
        fold=fold.group(1) if fold else "",
        source=source or folder.name,
        site=site,
        date=date,
    )
