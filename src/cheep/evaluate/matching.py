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
import csv
import dataclasses
import itertools
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cheep.config import nearest_name
from cheep.errors import CheepError

IGNORE = "?"
MAX_EVENT_S = 10.0
_COLUMNS = ("file", "label", "start_s", "end_s")


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

    @property
    def missed(self) -> tuple[Annotation, ...]:
        """Annotations that no detection found."""
        return tuple(item for item, found in zip(self.annotations, self.found, strict=True) if not found)


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
    """Sum counts over recordings (``weights``: how often a bootstrap drew each)."""
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


def read_annotations(path: str | os.PathLike, labels: Sequence[str] | None = None) -> dict[str, list[Annotation]]:
    """Read annotations of recordings from a CSV with columns ``file,label,start_s,end_s`` (others are ignored).

    Parameters
    ----------
    path : the CSV
    labels : optional
        Labels of the model: another label (except :data:`IGNORE`) is an error that names the line.

    Returns
    -------
    dict
        File name as written -> its annotations. A file with empty label and times is listed without any (background).
    """
    path = Path(path)
    if not path.is_file():
        raise CheepError(f"{path}: no such file; give a CSV with columns {','.join(_COLUMNS)}")
    out: dict[str, list[Annotation]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise CheepError(f"{path}: no column {missing[0]!r}; the first line must name {','.join(_COLUMNS)}")
            for row in reader:
                where = f"{path}: line {reader.line_num}"
                file = (row["file"] or "").strip()
                if not file:
                    raise CheepError(f"{where}: column 'file' is empty; name the recording")
                events = out.setdefault(file, [])
                if not any((row[name] or "").strip() for name in _COLUMNS[1:]):
                    continue
                events.append(_annotation(row, where, labels))
    except UnicodeDecodeError:
        raise CheepError(f"{path}: not UTF-8 text; save it as CSV (UTF-8)") from None
    except csv.Error as error:
        raise CheepError(f"{path}: not CSV ({error}); save it as CSV (UTF-8)") from None
    return out


def read_groups(path: str | os.PathLike) -> dict[str, str]:
    """Return file -> group from the optional column ``group`` of an annotation CSV (site, recordist, night)."""
    with Path(path).open(newline="", encoding="utf-8-sig") as stream:
        rows = csv.DictReader(stream)
        if "group" not in (rows.fieldnames or ()):
            return {}
        return {
            (row["file"] or "").strip(): (row["group"] or "").strip() or (row["file"] or "").strip() for row in rows
        }


def _annotation(row: dict[str, str], where: str, labels: Sequence[str] | None) -> Annotation:
    label = (row["label"] or "").strip()
    if not label:
        raise CheepError(f"{where}: column 'label' is empty; name what is heard, or {IGNORE!r} for unknown")
    if labels is not None and label != IGNORE and label not in labels:
        raise CheepError(
            f"{where}: label={label!r}: not a label of the model ({', '.join(labels)}){nearest_name(label, labels)}; "
            f"use {IGNORE!r} for sounds to leave out"
        )
    times = []
    for name in ("start_s", "end_s"):
        try:
            value = float(row[name] or "")
        except ValueError:
            raise CheepError(f"{where}: {name}={row[name]!r}: must be a number of seconds") from None
        if not math.isfinite(value) or value < 0:
            raise CheepError(f"{where}: {name}={value}: must be a finite number of seconds, at least 0")
        times.append(value)
    if times[1] <= times[0]:
        raise CheepError(f"{where}: end_s={times[1]}: must lie after start_s={times[0]}")
    return Annotation(label, times[0], times[1])


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
