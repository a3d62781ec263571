# SPDX-License-Identifier: MIT
"""Annotations in memory: what a marked stretch is, which to believe, other names for their labels."""

from __future__ import annotations

import collections
import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from cheep.config.data import means_background, plain_name
from cheep.errors import CheepError

Key = TypeVar("Key")
_BOTH_NAMES = re.compile(r"([A-Z][a-z]+(?: [a-z][a-z.-]+){1,2})_(\S.*)")  # BirdNET: scientific_common
UNKNOWN = "?"
#: Labels by which people say that they do not know the species, as :func:`plain_name` writes them.
_UNSURE_LABELS = (
    *("", "unknown", "unk", "unknown_bird", "unknown_species", "unidentified", "unid", "no_id", "noid", "unsure"),
    *("indet", "uncertain", "don_t_know", "bird_sp", "unbekannt", "unbestimmt", "inconnu", "desconocido"),
)
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


def models_nothing(box: Box) -> bool:
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


def checked_box(
    path: Path,
    line: int,
    start: float,
    end: float,
    names: Sequence[str],
    low: float | None,
    high: float | None,
    score: float | None = None,
) -> Box:
    """Return a box, its label the first of ``names``; :class:`CheepError` where its times or band are wrong.

    What begins before the recording begins with it.
    """
    if not start < end or end <= 0:
        fix = "swap them" if end < start else "a box needs a length" if end == start else "it ends before the recording"
        raise CheepError(
            f"{path}:{line}: start={start:g}, end={end:g}: must be 0 <= start < end (seconds): {fix}, or remove it"
        )
    start = max(0.0, start)
    if low is not None and high is not None and low > high:
        raise CheepError(f"{path}:{line}: low_hz={low:g}, high_hz={high:g}: must be low <= high: swap them")
    known: dict[str, None] = {}
    for name in names:
        both = _BOTH_NAMES.fullmatch(name)
        known.update(dict.fromkeys(both.groups() if both else (name,)))
    label, *others = known or [""]
    if label and means_background(label) and score is None:
        return Box(start, end, "", low, high, nothing=True)
    if label and plain_name(label) in _UNSURE_LABELS:
        return Box(start, end, UNKNOWN, low, high, score)
    return Box(start, end, label, low, high, score, tuple(others))
