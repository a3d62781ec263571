# SPDX-License-Identifier: MIT
"""Two models on the same judged clips: recall at the same false alarms per hour, paired, by groups."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from cheep.detector.scores import kept_threshold, probability
from cheep.evaluate.intervals import CONFIDENCE, Estimate, bootstrap

MIN_POSITIVE, MIN_NEGATIVE, MIN_GROUPS = 10, 10, 3


@dataclasses.dataclass(frozen=True)
class Judged:
    """Clips that neither model learned from, as columns of n rows.

    ``present`` bool, ``before`` and ``after`` (logits of the two models), ``weight`` (clips that each stands for),
    ``hours`` (its length), ``group`` (site and night); ``threshold`` (logit) is that of the model before.
    """

    present: np.ndarray
    before: np.ndarray
    after: np.ndarray
    weight: np.ndarray
    hours: np.ndarray
    group: np.ndarray
    threshold: float


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What both models do on the judge's clips.

    ``gain`` is recall of the new model minus that of the old, at the false alarms per hour of the old one;
    ``alarms_ratio`` the new model's false alarms per hour over the old one's, at its recall.
    """

    clips: int
    positives: int
    groups: int
    old_recall: float
    old_false_alarms: float
    new_recall: float
    new_threshold: float
    gain: Estimate | None
    alarms_ratio: Estimate | None

    @property
    def new_threshold_probability(self) -> float:
        """The new model's threshold at the old one's false alarms per hour, 0..1."""
        return kept_threshold(float(probability(self.new_threshold)))

    def verdict(self) -> tuple[bool, str]:
        """Return whether the new model is better, and why (not)."""
        told = (
            f"at {self.old_false_alarms:.2f} false alarms per hour recall is {self.new_recall:.2f}, before "
            f"{self.old_recall:.2f}"
        )
        if self.positives < MIN_POSITIVE or self.clips - self.positives < MIN_NEGATIVE or self.groups < MIN_GROUPS:
            return False, (
                f"{told}; {self.positives} right and {self.clips - self.positives} wrong clips of {self.groups} nights "
                f"are too few to say (at least {MIN_POSITIVE}, {MIN_NEGATIVE}, {MIN_GROUPS}): the old model stays"
            )
        gain, ratio = self.gain, self.alarms_ratio
        if gain is not None and gain.low is not None and gain.low > 0:
            return True, f"{told}: {gain.text(3)} more"
        if gain is not None and gain.value >= 0 and ratio is not None and ratio.high is not None and ratio.high < 1:
            return True, f"{told}; at the same recall {ratio.text(2)} of the false alarms"
        shown = "" if gain is None else f" (difference {gain.text(3)})"
        return False, f"{told}{shown}: not surely better, the old model stays"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return dataclasses.asdict(self)


def compare(judged: Judged, rng: np.random.Generator, draws: int = 1000, confidence: float = CONFIDENCE) -> Comparison:
    """Compare two models; intervals by a bootstrap over groups in which both are measured on the same draw."""
    ones = np.ones(len(judged.present))
    recall, alarms = _operating(judged, judged.before, judged.threshold, ones)
    threshold = _threshold_at(judged, judged.after, alarms, ones)

    def gain(times: np.ndarray) -> float | None:
        if not (times * judged.present).sum():
            return None
        old, per_hour = _operating(judged, judged.before, judged.threshold, times)
        return _operating(judged, judged.after, _threshold_at(judged, judged.after, per_hour, times), times)[0] - old

    def ratio(times: np.ndarray) -> float | None:
        if not (times * judged.present).sum():
            return None
        old, per_hour = _operating(judged, judged.before, judged.threshold, times)
        if not per_hour:
            return None
        return (
            _operating(judged, judged.after, _threshold_of_recall(judged, judged.after, old, times), times)[1]
            / per_hour
        )

    return Comparison(
        clips=len(ones),
        positives=int(judged.present.sum()),
        groups=len(np.unique(judged.group)),
        old_recall=recall,
        old_false_alarms=alarms,
        new_recall=_operating(judged, judged.after, threshold, ones)[0],
        new_threshold=threshold,
        gain=bootstrap(gain, judged.group, rng, draws, confidence),
        alarms_ratio=bootstrap(ratio, judged.group, rng, draws, confidence),
    )


def _operating(judged: Judged, score: np.ndarray, threshold: float, times: np.ndarray) -> tuple[float, float]:
    """Return recall and false alarms per hour at a threshold."""
    weight = judged.weight * times
    there = weight * judged.present
    on = score >= threshold
    hours = float(weight @ judged.hours)
    recall = float((there * on).sum() / there.sum()) if there.sum() else 0.0
    return recall, float((weight * ~judged.present * on).sum() / hours) if hours else 0.0


def _threshold_at(judged: Judged, score: np.ndarray, per_hour: float, times: np.ndarray) -> float:
    """Return the lowest threshold with at most ``per_hour`` false alarms per hour: just above a wrong clip."""
    weight = judged.weight * times
    hours = float(weight @ judged.hours)
    wrong = ~judged.present & (weight > 0)
    order = np.argsort(-score[wrong], kind="stable")
    falling, total = score[wrong][order], np.cumsum(weight[wrong][order])
    over = np.flatnonzero(total > per_hour * hours * (1 + 1e-9))
    if not len(over):
        return float(score.min())
    return float(np.nextafter(falling[over[0]], np.inf))


def _threshold_of_recall(judged: Judged, score: np.ndarray, recall: float, times: np.ndarray) -> float:
    """Return the highest threshold that reaches ``recall``."""
    weight = (judged.weight * times)[judged.present]
    right = score[judged.present]
    order = np.argsort(-right, kind="stable")
    reached = np.cumsum(weight[order]) >= recall * weight.sum() * (1 - 1e-9)
    return float(right[order][int(np.argmax(reached))]) if reached.any() else float(score.min())
