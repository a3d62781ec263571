# SPDX-License-Identifier: MIT
"""A recording with what is known of it, whatever names it: its label, and of which original it is a piece."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from cheep.config import nearest_name
from cheep.config.data import LABEL_SEPARATOR, WindowConfig, plain_name
from cheep.datasets.audiomoth import read_card_header
from cheep.errors import CheepError

log = logging.getLogger(__name__)
_CLOCK_NAME = re.compile(r"([0-9]{8}_)?[0-9]{6}T?(?![0-9A-Za-z])|[0-9A-F]{8}$")  # as AudioMoths name recordings
ESC_NAME = re.compile(r"([0-9]+)-([0-9]+)-[A-Z]+-[0-9]+$")
_URBAN_NAME = re.compile(r"(?!(?:19|20)[0-9]{2}-)([0-9]{3,6})-[0-9](?:-[0-9]{1,3}){2}$")  # and no date


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

    ``XC120371_0065`` is a piece of ``XC120371``, ESC-style ``3-118059-A-0`` of clip ``118059``, and UrbanSound8K's
    ``184623-8-0-14`` of sound ``184623``; otherwise the stem.
    """
    stem = path.stem
    if match := re.match(r"(XC[0-9]{2,})(?![0-9])", stem, re.IGNORECASE):
        return match.group(1).upper()
    if match := ESC_NAME.match(stem):
        return match.group(2)
    if match := _URBAN_NAME.match(stem):
        return match.group(1)
    return stem


def recording_id(path: Path, device: str, root: Path) -> str:
    """Return the recording of a file, apart from those of other recorders that name their files alike, by the time."""
    name = recording_of(path)
    if device and _CLOCK_NAME.match(name):
        return f"{device}_{name}"
    if _CLOCK_NAME.match(name):
        with contextlib.suppress(ValueError):
            folders = path.parent.relative_to(root).parts[1:]  # below the label
            return "/".join((*folders, name))
    return name


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


def site_and_date(path: Path) -> tuple[str, str]:
    """Return (site, date) of an AudioMoth recording: the device and the day; empty for others."""
    if path.suffix.lower() not in (".wav", ".wave"):
        return "", ""
    try:
        header = read_card_header(path)
    except CheepError:
        return "", ""
    if header is None:
        return "", ""
    return header.device, header.time.date().isoformat() if header.time else ""


def check_labels(wanted: Sequence[str], known: set[str], where: Path) -> None:
    """Raise :class:`CheepError` where a label that is asked for is none of those that ``where`` has."""
    for label in wanted:
        if label not in known:
            raise CheepError(
                f"label {label!r}: not in {where}{nearest_name(label, known)}; it has {', '.join(sorted(known))}"
            )
