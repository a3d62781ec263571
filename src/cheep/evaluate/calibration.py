"""Thresholds for a promised number of false alarms per hour, and what the data can really promise.

Method. For each label, the scores of held-out recordings are run through the device's detector at falling thresholds,
and the false alarms are counted (rule of :mod:`cheep.evaluate.matching`). The chosen threshold is the lowest at which,
and above which, ``(false alarms + d) / hours`` stays at or below the target, where ``d`` is the dispersion between
recordings (1 for independent false alarms): the threshold then lies just above the mark of the next false alarm, or
cluster of them, and the rate to expect of such a threshold is ``(false alarms + d) / hours`` (inverse sampling), where
the plain count would promise too little. Its interval is that of a gamma distribution with ``false alarms / d + 1``
clusters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from cheep.config import DetectorConfig
from cheep.errors import CheepError
from cheep.evaluate.intervals import CONFIDENCE, Estimate, bootstrap
from cheep.evaluate.matching import EventCounts, add_counts
from cheep.evaluate.streaming import Output, ScoredRecording
from cheep.evaluate.sweep import LevelSweep

MIN_EVENTS = 20  # fewer annotated events give no recall worth choosing by


@dataclasses.dataclass(frozen=True)
class LabelCalibration:
    """What calibration found for one label.

    ``rate`` is false alarms per hour to expect (with interval), ``observed`` those counted; ``recall`` of annotated
    events (None without any). ``met``: the target is met in expectation; ``promised``: also at its upper end.
    ``hours_needed`` is how many hours without more false alarms than expected it takes to promise the target.
    """

    label: str
    threshold: float
    rate: Estimate
    observed: int
    hours: float
    recordings: int
    dispersion: float
    annotations: int
    recall: Estimate | None
    target: float
    met: bool
    promised: bool
    hours_needed: float
    curve: dict[str, list[float | None]]

    def note(self) -> str:
        """Return one sentence on what can be promised."""
        if self.promised:
            return (
                f"at most {self.target:.3g} false alarms per hour, promised with {self.rate.confidence:.0%} confidence "
                f"from {self.hours:.2f} h"
            )
        if not self.met:
            return (
                f"{self.hours:.2f} h without a false alarm are too few to speak of {self.target:.3g} per hour: they "
                f"allow to expect {self.rate.value:.2g} per hour (below {self.rate.high:.2g} with "
                f"{self.rate.confidence:.0%} confidence); a promise needs at least {self.hours_needed:.1f} hours"
            )
        return (
            f"{self.rate.value:.2g} false alarms per hour are expected, {self.rate.low:.2g} to {self.rate.high:.2g} "
            f"are possible ({self.rate.confidence:.0%}); to promise {self.target:.3g} needs at least "
            f"{self.hours_needed:.1f} hours"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values for ``manifest.json`` (without the curve)."""
        return {
            "label": self.label,
            "threshold": self.threshold,
            "false_alarms_per_hour": self.rate.to_dict(),
            "false_alarms_observed": self.observed,
            "hours": round(self.hours, 4),
            "recordings": self.recordings,
            "dispersion": round(self.dispersion, 4),
            "events": self.annotations,
            "recall": self.recall.to_dict() if self.recall else None,
            "target_per_hour": self.target,
            "met": self.met,
            "promised": self.promised,
            "hours_needed": round(self.hours_needed, 2),
            "note": self.note(),
        }


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The detector that calibration chose, and what to expect of it, label by label."""

    detector: DetectorConfig
    labels: tuple[LabelCalibration, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {"labels": [item.to_dict() for item in self.labels]}


def inverse_rate(events: int, hours: float, dispersion_: float = 1.0, confidence: float = CONFIDENCE) -> Estimate:
    """Return the rate to expect of a threshold chosen just above the next false alarm, or cluster of them."""
    from scipy.stats import gamma

    shape = events / dispersion_ + 1
    tail = (1 - confidence) / 2
    low, high = (float(gamma.ppf(p, shape)) * dispersion_ / hours for p in (tail, 1 - tail))
    return Estimate((events + dispersion_) / hours, low, high, confidence)


def hours_to_promise(target: float, confidence: float = CONFIDENCE, dispersion_: float = 1.0) -> float:
    """Return the least hours that can promise ``target`` false alarms per hour (none at all may occur in them)."""
    from scipy.stats import gamma

    return float(gamma.ppf((1 + confidence) / 2, 1)) * dispersion_ / target


def calibrate(
    recordings: Sequence[ScoredRecording],
    output: Output,
    base: DetectorConfig,
    max_per_hour: float,
    *,
    smoothing: Sequence[int] | None = None,
    hold_off: Sequence[int] | None = None,
    silent: Sequence[str] | None = None,
    rng: np.random.Generator | None = None,
    draws: int = 500,
    confidence: float = CONFIDENCE,
    collar_s: float = 0.0,
    promise: bool = False,
) -> Calibration:
    """Find thresholds, smoothing and hold-off for at most ``max_per_hour`` false alarms per hour and label.

    Parameters
    ----------
    recordings : held-out recordings with everything annotated that is to be found
    output : the model's output
    base : stride, hysteresis and minimal windows are taken from it
    smoothing, hold_off : candidates in windows (default: those of ``base`` only). Among them the pair with the largest
        mean recall wins (of equals the first); with fewer than 20 annotated events the first pair is kept.
    silent : labels that never make an event (default: those whose threshold in ``base`` is None)

    promise : True: the upper end of the interval, not the expectation, must stay at or below the target

    Raises
    ------
    CheepError
        No recordings, no hours, or settings out of range.
    """
    hours = sum(item.duration_s for item in recordings) / 3600
    if not recordings or hours <= 0:
        raise CheepError("calibration needs held-out recordings: none were given (--recordings, --background)")
    if not max_per_hour > 0:
        raise CheepError(f"max_false_alarms={max_per_hour}: must be above 0 (for example 0.5/h or 3/day)")
    rng = np.random.default_rng(0) if rng is None else rng
    if silent is None:
        silent = [label for label, t in zip(output.labels, base.threshold, strict=False) if t is None]
    wanted = [label for label in output.labels if label not in silent]
    if not wanted:
        raise CheepError(f"labels {', '.join(output.labels)}: all are silent; nothing to calibrate")
    events = sum(a.label in wanted for item in recordings for a in item.annotations)
    pairs = [(s, h) for s in (smoothing or (base.smoothing_windows,)) for h in (hold_off or (base.hold_off_windows,))]
    if events < MIN_EVENTS:
        pairs = pairs[:1]
    best: tuple[float, DetectorConfig, list[_Choice]] | None = None
    for s, h in pairs:
        if s * len(output.labels) > 512:
            continue
        config = base.model_copy(update={"smoothing_windows": s, "hold_off_windows": h})
        choices = [
            _choose(recordings, output, config, label, max_per_hour, promise, confidence, collar_s) for label in wanted
        ]
        recalls = [choice.recall for choice in choices if choice.recall is not None]
        merit = float(np.mean(recalls)) if recalls else 0.0
        if best is None or merit > best[0] + 1e-12:
            best = merit, config, choices
    if best is None:
        raise CheepError(
            f"smoothing={list(smoothing or ())}: with {len(output.labels)} labels at most "
            f"{512 // len(output.labels)} windows fit"
        )
    _, config, choices = best
    by_label = {choice.label: choice for choice in choices}
    thresholds = tuple(round(by_label[label].threshold, 6) if label in by_label else None for label in output.labels)
    config = config.model_copy(update={"threshold": thresholds})
    results = tuple(_result(choice, max_per_hour, hours, rng, draws, confidence) for choice in choices)
    return Calibration(DetectorConfig.parse(config.to_dict(), "calibrated detector"), results)


@dataclasses.dataclass(frozen=True)
class _Choice:
    label: str
    threshold: float
    counts: list[EventCounts]  # per recording, at the threshold
    groups: list[str]
    recall: float | None
    spread: float
    curve: dict[str, list[float | None]]


def _choose(
    recordings: Sequence[ScoredRecording],
    output: Output,
    config: DetectorConfig,
    label: str,
    target: float,
    promise: bool,
    confidence: float,
    collar_s: float,
) -> _Choice:
    sweep = LevelSweep(recordings, output, config, label, collar_s)
    limit = target * (1 + 1e-12)

    def passes(level: int) -> bool:
        alarms = sweep.false_alarms(level)
        if promise:
            high = inverse_rate(alarms, sweep.hours, sweep.spread(level), confidence).high
            return high is not None and high <= limit
        return (alarms + sweep.spread(level)) / sweep.hours <= limit

    chosen = sweep.lowest(passes)
    if chosen is None:  # too few hours for the target: as silent as these recordings can make it
        fewest = sweep.false_alarms(max(sweep.counts))
        chosen = sweep.lowest(lambda level: sweep.false_alarms(level) <= fewest)
    assert chosen is not None
    return _Choice(
        label,
        sweep.threshold(chosen),
        sweep.counts[chosen],
        [item.group for item in recordings],
        add_counts(sweep.counts[chosen]).recall,
        sweep.spread(chosen),
        sweep.curve(),
    )


def _result(
    choice: _Choice, target: float, hours: float, rng: np.random.Generator, draws: int, confidence: float
) -> LabelCalibration:
    total = add_counts(choice.counts)
    rate = inverse_rate(total.false_alarms, hours, choice.spread, confidence)
    recall = None
    if total.annotations:
        found = np.array([part.found for part in choice.counts], float)
        wanted = np.array([part.annotations for part in choice.counts], float)
        recall = bootstrap(
            lambda w: float((w * found).sum() / (w * wanted).sum()) if (w * wanted).sum() else None,
            choice.groups,
            rng,
            draws,
            confidence,
        )
    return LabelCalibration(
        label=choice.label,
        threshold=round(choice.threshold, 6),
        rate=rate,
        observed=total.false_alarms,
        hours=hours,
        recordings=len(choice.counts),
        dispersion=choice.spread,
        annotations=total.annotations,
        recall=recall,
        target=target,
        met=rate.value <= target * (1 + 1e-9),
        promised=rate.high is not None and rate.high <= target * (1 + 1e-9),
        hours_needed=hours_to_promise(target, confidence, choice.spread),
        curve=choice.curve,
    )


def parse_rate(text: str) -> float:
    """Return false alarms per hour from ``0.5/h``, ``3/day``, ``2 per hour`` or a plain number (per hour).

    Raises
    ------
    CheepError
        No number, not above 0, or another unit.
    """
    import re

    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?\d+)?)\s*(?:(?:/|per)\s*([a-zA-Z]+))?\s*", str(text))
    units = {"h": 1.0, "hour": 1.0, "hr": 1.0, "d": 1 / 24, "day": 1 / 24, "week": 1 / 168}
    if match is None or (match.group(2) and match.group(2).lower() not in units):
        raise CheepError(f"--max-false-alarms {text}: must be a number per hour or day, such as 0.5/h or 3/day")
    value = float(match.group(1)) * (units[match.group(2).lower()] if match.group(2) else 1.0)
    if not value > 0:
        raise CheepError(f"--max-false-alarms {text}: must be above 0 (no detector can promise none at all)")
    return value
