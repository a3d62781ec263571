# SPDX-License-Identifier: MIT
"""Long annotated recordings through the device path: precision, recall, F1, AP and false alarms per hour."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cheep.audio import audio_files, float_to_int16, int16_to_float, read_audio
from cheep.audio.augment import MicrophonePath
from cheep.config import DetectorConfig
from cheep.detector import ScoreScale
from cheep.device.bundle import ModelBundle
from cheep.evaluate.intervals import CONFIDENCE, Estimate, bootstrap
from cheep.evaluate.matching import (
    Annotation,
    EventCounts,
    Matching,
    add_counts,
    count_events,
    interpolated_average_precision,
    match_events,
)
from cheep.evaluate.rates import fit_rates
from cheep.evaluate.robustness import conditions
from cheep.evaluate.streaming import (
    ScoredRecording,
    ScoreTiming,
    best_scorer,
    detect,
    detect_at_levels,
    score_blocks,
    score_recordings,
)
from cheep.parallel import map_each

# Of average precision: denser towards 1, where good detectors work; no further for a sigmoid inside the network, whose
# last step below 1 is 0.996.
_LEVELS = {False: tuple(1 - np.geomspace(0.004, 0.98, 64)), True: tuple(1 - np.geomspace(1e-6, 0.98, 64))}

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class FieldRow:
    """One label (or ``all``) over all recordings; intervals of shares by recording, of rates for new recordings."""

    label: str
    counts: EventCounts
    precision: Estimate | None
    recall: Estimate | None
    f1: Estimate | None
    average_precision: float | None
    false_alarms_per_hour: Estimate | None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        estimates = ("precision", "recall", "f1", "false_alarms_per_hour")
        return {
            "label": self.label,
            **dataclasses.asdict(self.counts),
            "false_alarms": self.counts.false_alarms,
            "average_precision": self.average_precision,
            **{f"{name}_ci": value.to_dict() if (value := getattr(self, name)) else None for name in estimates},
        }


@dataclasses.dataclass(frozen=True)
class FieldResult:
    """Rows by label, and the matching of each recording (same order as given)."""

    rows: tuple[FieldRow, ...]
    recordings: tuple[ScoredRecording, ...]
    matchings: tuple[Matching, ...]

    @property
    def hours(self) -> float:
        """Hours of recording."""
        return sum(item.duration_s for item in self.recordings) / 3600


def evaluate_field(
    recordings: Sequence[ScoredRecording],
    labels: Sequence[str],
    config: DetectorConfig,
    timing: ScoreTiming,
    scale: ScoreScale,
    *,
    rng: np.random.Generator | None = None,
    draws: int = 1000,
    confidence: float = CONFIDENCE,
    collar_s: float = 0.0,
) -> FieldResult:
    """Run the detector over scored recordings and compare with their annotations.

    Average precision comes from 64 thresholds from 0.02 on, smoothing and hold-off as they are.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    matchings = [
        match_events(detect(item.scores, config, labels, timing, scale), item.annotations, collar_s=collar_s)
        for item in recordings
    ]

    def average_precision(label: str) -> float | None:
        levels = _LEVELS[scale.logits]
        points: list[list[EventCounts]] = [[] for _ in levels]
        for item in recordings:
            column = scale.units(item.scores)[:, list(labels).index(label)]
            found = detect_at_levels(column, levels, config, label, timing, scale)
            for row, detections in zip(points, found, strict=True):
                matching = match_events(detections, item.annotations, collar_s=collar_s)
                row.append(count_events(matching, item.duration_s / 3600, label))
        return interpolated_average_precision(add_counts(row) for row in points)

    groups = [item.group for item in recordings]
    shown = [label for label, t in zip(labels, _per_label(config, len(labels)), strict=True) if t is not None]
    rows = []
    for label in [*shown, *([None] if len(shown) > 1 else [])]:
        parts = [
            count_events(matching, item.duration_s / 3600, label)
            for matching, item in zip(matchings, recordings, strict=True)
        ]
        rows.append(
            FieldRow(
                label="all" if label is None else label,
                counts=add_counts(parts),
                precision=_interval(parts, groups, "precision", rng, draws, confidence),
                recall=_interval(parts, groups, "recall", rng, draws, confidence),
                f1=_interval(parts, groups, "f1", rng, draws, confidence),
                average_precision=average_precision(label) if label is not None else None,
                false_alarms_per_hour=alarm_rate(parts, groups, confidence),
            )
        )
    return FieldResult(tuple(rows), tuple(recordings), tuple(matchings))


def load_recordings(
    bundle: ModelBundle,
    annotations: Mapping[str, Sequence[Annotation]],
    folder: Path,
    background: Sequence[Path] = (),
    groups: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    microphone: Callable[[], MicrophonePath] | None = None,
    background_group: str = "file",
) -> list[ScoredRecording]:
    """Score the annotated recordings (paths relative to ``folder``) and background files (any event: false alarm).

    ``groups`` maps annotated names to what belongs together (default: each recording on its own); background files
    are on their own, too, or belong together by ``folder`` (``background_group``).
    ``microphone`` makes the filter that each recording goes through first (a probed microphone's profile).
    """
    groups = groups or {}
    plan: list[tuple[Path, str, tuple[Annotation, ...]]] = [
        (folder / name, groups.get(name, name), tuple(events)) for name, events in annotations.items()
    ]
    for path in (path for item in background for path in audio_files(item)):
        plan.append((path, str(path.parent if background_group == "folder" else path), ()))
    scored = list(score_recordings(bundle, plan, microphone=microphone, progress=progress))
    if silent := [item.silent_s for item in scored if item.silent_s]:
        log.warning("%d recording(s) hold %.1f s of exact zeros, which count as no hours", len(silent), sum(silent))
    return scored


def robustness_table(
    bundle: ModelBundle,
    recordings: Sequence[tuple[Path, Sequence[Annotation]]],
    config: DetectorConfig,
    seed: int = 0,
    only: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Return one row per condition: recall of events and false alarms per hour over all labels.

    ``progress`` is called with (recordings done, recordings).
    """
    names = list(conditions(bundle.features.sample_rate_hz)) if only is None else list(only)
    work = partial(_spoil, bundle, config, seed, names)
    tasks = [(number, path, tuple(events)) for number, (path, events) in enumerate(recordings)]
    counts = [outcome.value for outcome in map_each(work, tasks, progress=progress)]
    return [
        {
            "condition": name,
            "recall": total.recall,
            "precision": total.precision,
            "false_alarms_per_hour": total.false_alarms_per_hour,
        }
        for name, total in zip(names, map(add_counts, zip(*counts, strict=True)), strict=True)
    ]


def _spoil(
    bundle: ModelBundle,
    config: DetectorConfig,
    seed: int,
    names: Sequence[str],
    task: tuple[int, Path, tuple[Annotation, ...]],
) -> list[EventCounts]:
    """Count the events of one recording under each of the conditions ``names``."""
    number, path, events = task
    rate_hz = bundle.features.sample_rate_hz
    table = conditions(rate_hz)
    scorer, _ = best_scorer(bundle)
    samples = int16_to_float(read_audio(path, rate_hz))
    parts = []
    for name in names:
        spoilt = table[name](samples, rate_hz, np.random.default_rng([seed, number]))
        scores, n = score_blocks(bundle, scorer, [float_to_int16(spoilt)])
        found = detect(scores, config, bundle.labels, ScoreTiming.of(bundle), bundle.scale)
        stretch = n / max(1, len(samples))
        truth = [Annotation(e.label, e.start_s * stretch, e.end_s * stretch) for e in events]
        parts.append(count_events(match_events(found, truth), n / rate_hz / 3600))
    return parts


def _per_label(config: DetectorConfig, n: int) -> tuple[float | None, ...]:
    return config.threshold * n if len(config.threshold) == 1 else config.threshold


def _interval(parts, groups, name: str, rng, draws: int, confidence: float) -> Estimate | None:
    fields = np.array([(part.annotations, part.found, part.detections, part.right) for part in parts], float)

    def statistic(weights: np.ndarray) -> float | None:  # weights are whole numbers: how often each was drawn
        annotations, found, detections, right = (weights @ fields).astype(int).tolist()
        return getattr(EventCounts(annotations, found, detections, right, hours=1.0), name)

    return bootstrap(statistic, groups, rng, draws, confidence)


def alarm_rate(parts: Sequence[EventCounts], groups: Sequence[str], confidence: float = CONFIDENCE) -> Estimate | None:
    """Return false alarms per hour, and between how many as many new hours will show; None without hours.

    ``parts`` are the counts of each recording, ``groups`` what is alike within. The interval admits groups and kinds of
    sound that these recordings do not hold (:mod:`cheep.evaluate.rates`).
    """
    alarms = np.array([part.false_alarms for part in parts], float)
    hours = np.array([part.hours for part in parts], float)
    total = float(hours.sum())
    if total <= 0:
        return None
    names, inverse = np.unique(np.asarray(groups), return_inverse=True)
    model = fit_rates(np.bincount(inverse, alarms, len(names)), np.bincount(inverse, hours, len(names)))
    low, high = model.predict(total, confidence)
    return Estimate(float(alarms.sum()) / total, low / total, high / total, confidence)
