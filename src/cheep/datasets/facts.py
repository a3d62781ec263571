# SPDX-License-Identifier: MIT
"""What recordings sound like, before they are cut: where a label's energy lies, how long its calls last, how they rise.

A few recordings of each label are heard (:data:`HEARD_PER_LABEL`, the first :data:`HEARD_S` seconds of each). The
choice of features and network rests on these numbers (``cheep.job.choose``).
"""

from __future__ import annotations

import collections
import dataclasses
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from cheep.audio import iter_audio, probe
from cheep.config import ActivityConfig
from cheep.datasets.activity import LevelMeter, active_stretches
from cheep.datasets.bands import share_above
from cheep.datasets.labels.boxes import Box
from cheep.datasets.manifest import Manifest
from cheep.datasets.sources.recording import Recording
from cheep.errors import CheepError
from cheep.parallel import map_each

log = logging.getLogger(__name__)

HEARD_PER_LABEL = 32
HEARD_S = 60.0
LIMITS_HZ = (4000, 8000, 16000)
_JOIN_S = 0.3  # shorter pauses belong to the call
_LOUD_PERCENTILE = 95


@dataclasses.dataclass(frozen=True)
class LabelFacts:
    """What was heard of one label; medians are over its recordings.

    Attributes
    ----------
    recordings, groups, heard
        Files; what may not be torn apart (group, recordist or recording); files listened to.
    recording_s, call_s
        Median length of a recording, and of a stretch that stands out of the recording's own floor (or of a box that a
        person drew), s; ``call_s`` is 0 where nothing stands out.
    above
        Hz -> mean share, 0..1, of the energy over the floor that lies above it. Only recordings that reach higher are
        asked; a limit that none of them exceeds is missing.
    rise_db
        Median of the level that the loudest twentieth of a recording reaches over its floor, dB.
    level_dbfs, spread_db
        Median level of a recording, dB under full scale, and the standard deviation between recordings.
    rates_hz
        Sample rate -> files heard.
    """

    label: str
    background: bool
    recordings: int
    groups: int
    heard: int
    recording_s: float
    call_s: float
    above: Mapping[int, float]
    rise_db: float
    level_dbfs: float
    spread_db: float
    rates_hz: Mapping[int, int]

    @property
    def hours(self) -> float:
        """Recordings times their median length, h."""
        return self.recordings * self.recording_s / 3600


@dataclasses.dataclass(frozen=True)
class _Heard:
    rate_hz: int
    duration_s: float
    calls_s: list[float]
    above: dict[int, float]
    rise_db: float
    level_dbfs: float


def gather_facts(
    recordings: Sequence[Recording],
    is_background: Callable[[str], bool],
    boxes: Mapping[Path, Sequence[Box]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[LabelFacts]:
    """Listen to a few recordings of every label.

    Unreadable recordings are passed over: cutting them into windows will name them.

    Parameters
    ----------
    recordings
        What the data set is made of.
    is_background
        Tells whether a label means no target.
    boxes
        Annotations by audio file: where a file has any, their lengths are those of its calls.
    progress
        Called with (recordings heard, recordings to hear).
    """
    by_label: dict[str, list[Recording]] = collections.defaultdict(list)
    for item in recordings:
        by_label[item.label].append(item)
    chosen = {label: _spread(sorted(items, key=_place)) for label, items in sorted(by_label.items())}
    tasks = [(item, tuple((boxes or {}).get(item.path, ()))) for items in chosen.values() for item in items]
    heard: dict[str, list[_Heard]] = {label: [] for label in chosen}
    for (item, _), outcome in zip(tasks, map_each(_hear, tasks, progress=progress), strict=True):
        if isinstance(outcome.error, CheepError):
            log.debug("not heard: %s", outcome.error)
        else:
            heard[item.label].append(outcome.value)
    return [_facts(label, is_background(label), by_label[label], heard[label]) for label in chosen]


def recordings_of(manifest: Manifest) -> list[Recording]:
    """Return the recordings that a manifest's examples were cut from, one per file and label."""
    seen: dict[tuple[str, str], Recording] = {}
    for row in manifest.rows():
        key = (row["path"], row["label"])
        if key not in seen:
            seen[key] = Recording(
                manifest.folder / row["path"], row["label"], row["recording"], row["recordist"],
                group=str(row.get("group", "")),
            )  # fmt: skip
    return list(seen.values())


def _place(item: Recording) -> tuple[str, float]:
    return str(item.path), item.begin_s


def _spread(items: list[Recording]) -> list[Recording]:
    """Return at most HEARD_PER_LABEL recordings, evenly spread over the list."""
    if len(items) <= HEARD_PER_LABEL:
        return items
    return [items[round(i)] for i in np.linspace(0, len(items) - 1, HEARD_PER_LABEL)]


def _hear(task: tuple[Recording, Sequence[Box]]) -> _Heard:
    item, boxes = task
    info = probe(item.path)
    rate = info.sample_rate_hz
    first = round(item.begin_s * rate)
    last = first + round(HEARD_S * rate)
    if item.end_s is not None:
        last = min(last, round(item.end_s * rate))
    bands, calls = LevelMeter(rate, ActivityConfig(low_hz=100)), LevelMeter(rate, ActivityConfig())
    at, samples, squares = 0, 0, 0.0
    for block in iter_audio(item.path, rate, notes=[]):  # what the header gets wrong is said when windows are cut
        part = block[max(0, first - at) : max(0, last - at)]
        at += len(block)
        bands.push(part)
        calls.push(part)
        samples += len(part)
        squares += float(np.sum((part.astype(np.float64) / 32768) ** 2))
        if at >= last:
            break
    if not samples:
        raise CheepError(f"{item.path}: no sample between {item.begin_s:g} s and {item.end_s} s")
    edges, energy = bands.band_energy()
    carried = [limit for limit in LIMITS_HZ if rate > 2 * limit]
    above = {limit: share_above(edges, energy, limit) for limit in carried} if energy.sum() > 0 else {}
    levels = calls.levels()
    # a person's boxes are calls; a model's, and rows of one length each, are the pieces that were judged
    marked = [box for box in boxes if box.label in ("", item.label) and not box.nothing and box.score is None]
    named = [box.end_s - box.start_s for box in marked if math.isfinite(box.end_s)]
    if len(named) > 2 and max(named) - min(named) < 1e-3:
        named = []
    found = named or [end - start for start, end in active_stretches(levels, ActivityConfig(), _JOIN_S)]
    length = info.duration_s if item.end_s is None else min(item.end_s, info.duration_s)
    return _Heard(
        rate,
        length - item.begin_s,
        found,
        above,
        float(np.percentile(levels.level_db, _LOUD_PERCENTILE)) if len(levels.level_db) else 0.0,
        10 * float(np.log10(max(squares / samples, 1e-10))),
    )


def _facts(label: str, background: bool, items: list[Recording], heard: list[_Heard]) -> LabelFacts:
    calls = [float(np.median(item.calls_s)) for item in heard if item.calls_s]
    above = {}
    for limit in LIMITS_HZ:
        shares = [item.above[limit] for item in heard if limit in item.above]
        if shares:
            above[limit] = float(np.mean(shares))
    return LabelFacts(
        label=label,
        background=background,
        recordings=len(items),
        groups=len({item.group or item.recordist or item.recording for item in items}),
        heard=len(heard),
        recording_s=_median([item.duration_s for item in heard]),
        call_s=_median(calls),
        above=above,
        rise_db=_median([item.rise_db for item in heard]),
        level_dbfs=_median([item.level_dbfs for item in heard]),
        spread_db=float(np.std([item.level_dbfs for item in heard])) if heard else 0.0,
        rates_hz=dict(sorted(collections.Counter(item.rate_hz for item in heard).items())),
    )


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if len(values) else 0.0
