# SPDX-License-Identifier: MIT
"""Detections against annotations of long recordings: which is found, which is a false alarm.

The overlap rule. A detection spans from the start of the audio of its first window to the end of the audio of its
last one (windows are about a second long, so a detection is wider than the call). It is *right* when it overlaps an
annotation of its own label by more than ``min_overlap_s``, after the annotation has been widened by ``collar_s`` on
both sides; otherwise it is a *false alarm*. An annotation is *found* when at least one right detection overlaps it.
One detection may find several annotations (the detector joins calls that follow each other closely) and several
detections may find the same one. A detection that lasts longer than ``max_event_s`` (10 s) counts again for every
started 10 s, each piece on its own: a detector that never falls silent is no good detector with one event.
Annotations whose label is :data:`IGNORE`, or is in ``ignore``, mark time that nobody could label: a detection that
overlaps one and no annotation of its own label is left out of every count.
"""

from __future__ import annotations

import bisect
import collections
import dataclasses
import itertools
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cheep.audio import probe
from cheep.config import nearest_name
from cheep.config.data import means_background, plain_name
from cheep.datasets.labels.boxes import UNKNOWN, Box
from cheep.errors import CheepError

log = logging.getLogger(__name__)

IGNORE = UNKNOWN
MAX_EVENT_S = 10.0


@dataclasses.dataclass(frozen=True)
class Annotation:
    """Where a label is truly heard, s from the start of the recording."""

    label: str
    start_s: float
    end_s: float


@dataclasses.dataclass(frozen=True)
class Detection:
    """An event of the detector; ``score`` is its largest smoothed score, 0..1."""

    label: str
    start_s: float
    end_s: float
    score: float

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Matching:
    """Outcome for one recording: ``found`` per annotation; ``right`` (None: left out) and ``hits`` per detection."""

    annotations: tuple[Annotation, ...]
    detections: tuple[Detection, ...]
    found: tuple[bool, ...]
    right: tuple[bool | None, ...]
    hits: tuple[tuple[int, ...], ...]  # per detection: indices of the annotations it found

    @property
    def false_alarms(self) -> tuple[Detection, ...]:
        """Detections that overlap nothing of their label."""
        return tuple(item for item, right in zip(self.detections, self.right, strict=True) if right is False)


def match_events(
    detections: Iterable[Detection],
    annotations: Iterable[Annotation],
    *,
    collar_s: float = 0.0,
    min_overlap_s: float = 0.0,
    ignore: Sequence[str] = (),
    max_event_s: float = MAX_EVENT_S,
) -> Matching:
    """Match the detections of one recording with its annotations by the rule of this module.

    ``annotations`` in the result are those with a label to be found (ignored ones are dropped).
    """
    detections = tuple(piece for item in detections for piece in _pieces(item, max_event_s))
    annotations = tuple(annotations)
    skipped = [item for item in annotations if item.label == IGNORE or item.label in ignore]
    wanted = tuple(item for item in annotations if item not in skipped)
    found = [False] * len(wanted)
    right: list[bool | None] = []
    all_hits: list[tuple[int, ...]] = []
    by_label: dict[str, list[int]] = {}
    for index, item in enumerate(wanted):
        by_label.setdefault(item.label, []).append(index)
    places = {label: _Places(wanted, indices, collar_s) for label, indices in by_label.items()}
    unsure = _Places(skipped, range(len(skipped)), collar_s)
    for detection in detections:
        hits = places[detection.label].overlapping(detection, min_overlap_s) if detection.label in places else ()
        all_hits.append(hits)
        for index in hits:
            found[index] = True
        if hits:
            right.append(True)
        else:
            right.append(None if unsure.overlapping(detection, min_overlap_s) else False)
    return Matching(wanted, detections, tuple(found), tuple(right), tuple(all_hits))


@dataclasses.dataclass(frozen=True)
class EventCounts:
    """Sums over recordings for one label (or all)."""

    annotations: int
    found: int
    detections: int
    right: int
    hours: float

    @property
    def false_alarms(self) -> int:
        """Detections that overlap nothing of their label."""
        return self.detections - self.right

    @property
    def precision(self) -> float | None:
        """Right detections / detections."""
        return self.right / self.detections if self.detections else None

    @property
    def recall(self) -> float | None:
        """Found annotations / annotations."""
        return self.found / self.annotations if self.annotations else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; 0 where nothing is found."""
        precision, recall = self.precision, self.recall
        if recall is None:
            return None
        if not precision or not recall:
            return 0.0
        return 2 * precision * recall / (precision + recall)

    @property
    def false_alarms_per_hour(self) -> float | None:
        """False alarms / hours of recording."""
        return self.false_alarms / self.hours if self.hours > 0 else None


def count_events(matching: Matching, hours: float, label: str | None = None) -> EventCounts:
    """Count one recording, for one label or (None) for all."""
    mine = [label is None or item.label == label for item in matching.annotations]
    fired = [
        right
        for item, right in zip(matching.detections, matching.right, strict=True)
        if right is not None and (label is None or item.label == label)
    ]
    return EventCounts(
        annotations=sum(mine),
        found=sum(found for found, keep in zip(matching.found, mine, strict=True) if keep),
        detections=len(fired),
        right=sum(fired),
        hours=hours,
    )


def add_counts(parts: Iterable[EventCounts], weights: Sequence[float] | np.ndarray | None = None) -> EventCounts:
    """Sum counts over recordings. ``weights`` : (parts,) float64, how often a bootstrap drew each; None: once."""
    parts = list(parts)
    weights = [1] * len(parts) if weights is None else list(weights)
    total = {
        field.name: sum(weight * getattr(part, field.name) for part, weight in zip(parts, weights, strict=True))
        for field in dataclasses.fields(EventCounts)
    }
    return EventCounts(**total)


def interpolated_average_precision(points: Iterable[EventCounts]) -> float | None:
    """Return the area under precision over recall of one label's detector at several thresholds.

    At each recall the best precision of the points with at least this recall counts (a detector's recall need not rise
    steadily as its threshold falls, because events join); None without annotations.
    """
    known = [(point.recall, point.precision or 0.0) for point in points if point.recall is not None]
    if not known:
        return None
    area, before = 0.0, 0.0
    for recall in sorted({recall for recall, _ in known}):
        area += (recall - before) * max(precision for other, precision in known if other >= recall)
        before = recall
    return area


def truth_of(boxes: Mapping[Path, Sequence[Box]], labels: Sequence[str]) -> dict[Path, list[Annotation]]:
    """Return what is to be found in each annotated recording, for a model with ``labels``.

    Any name of a box may be that of a label, in whatever spelling. :data:`IGNORE` stays; what marks background, and
    species that the model does not know (counted in the log), are nothing to find.

    Raises
    ------
    CheepError
        A box without a label, or whose label looks like a misspelt one.
    """
    names = {plain_name(label): label for label in labels if not means_background(label)}
    others: collections.Counter[str] = collections.Counter()
    truth: dict[Path, list[Annotation]] = {}
    for path, items in boxes.items():
        events = truth.setdefault(path, [])
        for box in items:
            where = f"{path}: annotation at {box.start_s:g}-{box.end_s:g} s"
            if box.nothing or means_background(box.label):
                continue
            if not box.label:
                raise CheepError(f"{where}: the label is empty; name what is heard, or {IGNORE!r} for unknown")
            known = (names.get(plain_name(name)) for name in (box.label, *box.names))
            label = IGNORE if box.label == IGNORE else next((name for name in known if name), "")
            if not label:
                if near := nearest_name(box.label, labels):
                    raise CheepError(
                        f"{where}: label={box.label!r}: not a label of the model ({', '.join(labels)}){near}; "
                        f"use {IGNORE!r} for sounds to leave out"
                    )
                others[box.label] += 1
                continue
            end_s = box.end_s if math.isfinite(box.end_s) else probe(path).duration_s
            events.append(Annotation(label, box.start_s, end_s))
    if others:
        shown = ", ".join(f"{label} {count}" for label, count in others.most_common(5))
        log.warning(
            "annotations of %d label(s) that the model does not know are nothing to find: %s", len(others), shown
        )
    return truth


def _pieces(detection: Detection, max_event_s: float) -> list[Detection]:
    """Cut a detection that lasts longer than ``max_event_s`` into pieces of that length."""
    n = max(1, math.ceil((detection.end_s - detection.start_s) / max_event_s - 1e-9))
    if n == 1:
        return [detection]
    edges = [detection.start_s + i * max_event_s for i in range(n)] + [detection.end_s]
    return [dataclasses.replace(detection, start_s=a, end_s=b) for a, b in itertools.pairwise(edges)]


class _Places:
    """Annotations by start, so that those near a detection are found without looking at all."""

    def __init__(self, annotations: Sequence[Annotation], indices: Iterable[int], collar_s: float):
        self._rows = sorted((annotations[i].start_s - collar_s, annotations[i].end_s + collar_s, i) for i in indices)
        self._starts = [row[0] for row in self._rows]
        self._longest = max((end - start for start, end, _ in self._rows), default=0.0)

    def overlapping(self, detection: Detection, least_s: float) -> tuple[int, ...]:
        """Return the indices of the annotations that ``detection`` overlaps by more than ``least_s``."""
        first = bisect.bisect_left(self._starts, detection.start_s - self._longest)
        last = bisect.bisect_right(self._starts, detection.end_s)
        return tuple(
            i
            for start, end, i in self._rows[first:last]
            if min(detection.end_s, end) - max(detection.start_s, start) > least_s
        )
