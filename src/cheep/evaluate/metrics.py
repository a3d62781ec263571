# SPDX-License-Identifier: MIT
"""Window and clip metrics from scores: curves, average precision, per-class figures, confusion. Pure functions."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from cheep.errors import CheepError

UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True)
class Curve:
    """Rates at falling thresholds, each (n,) float64.

    ``false_positive_rate`` and ``true_positive_rate`` rise from 0 to 1; ``precision`` is 1 where nothing fires.
    Rows with equal scores share one point, so no order among ties is invented.
    """

    threshold: np.ndarray
    true_positive_rate: np.ndarray
    false_positive_rate: np.ndarray
    precision: np.ndarray

    @property
    def miss_rate(self) -> np.ndarray:
        """1 - true positive rate, (n,) float64: the ordinate of a DET plot."""
        return 1.0 - self.true_positive_rate

    @property
    def roc_auc(self) -> float:
        """Area under the ROC curve (trapezoids; ties count one half)."""
        height = (self.true_positive_rate[1:] + self.true_positive_rate[:-1]) / 2
        return float(np.sum(np.diff(self.false_positive_rate) * height))

    @property
    def average_precision(self) -> float:
        """Sum of precision times the rise in recall (no interpolation), as scikit-learn's."""
        return float(np.sum(np.diff(self.true_positive_rate) * self.precision[1:]))

    @property
    def equal_error_rate(self) -> float:
        """Rate at which misses and false positives are equally frequent, by linear interpolation."""
        gap = self.miss_rate - self.false_positive_rate  # falls from 1 to -1
        after = int(np.argmax(gap <= 0))
        before = after - 1
        share = gap[before] / (gap[before] - gap[after])
        return float(
            self.false_positive_rate[before]
            + share * (self.false_positive_rate[after] - self.false_positive_rate[before])
        )


def score_curve(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> Curve | None:
    """Return the ROC/DET/precision curve of one class.

    Parameters
    ----------
    positive : (n,) bool
    scores : (n,) float, larger means more likely
    weights : (n,) float, optional
        Row weights (a bootstrap gives row counts).

    Returns
    -------
    Curve or None
        None where one of the two kinds of rows is absent (or has no weight).
    """
    positive = np.asarray(positive, bool)
    scores = np.asarray(scores, np.float64)
    weights = np.ones(len(scores)) if weights is None else np.asarray(weights, np.float64)
    if positive.shape != scores.shape or scores.ndim != 1 or weights.shape != scores.shape:
        raise ValueError(f"shapes {positive.shape}, {scores.shape}, {weights.shape}: must be equal and 1-D")
    if not np.isfinite(scores).all():
        raise ValueError("scores hold NaN or infinity")
    order = np.argsort(-scores, kind="stable")
    sorted_scores = scores[order]
    last = np.append(np.flatnonzero(np.diff(sorted_scores)), len(scores) - 1) if len(scores) else np.zeros(0, int)
    hits = np.cumsum(weights[order] * positive[order])[last]
    alarms = np.cumsum(weights[order] * ~positive[order])[last]
    if not len(last) or hits[-1] <= 0 or alarms[-1] <= 0:
        return None
    fired = hits + alarms
    precision = np.divide(hits, fired, out=np.ones_like(hits), where=fired > 0)
    return Curve(
        threshold=np.append(np.inf, sorted_scores[last]),
        true_positive_rate=np.append(0.0, hits / hits[-1]),
        false_positive_rate=np.append(0.0, alarms / alarms[-1]),
        precision=np.append(1.0, precision),
    )


def confusion_matrix(true: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Return counts (n_classes, n_classes) int64: row = true class, column = predicted class.

    ``true``, ``predicted`` : (n,) int64 in 0..n_classes - 1.
    """
    table = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(table, (np.asarray(true, int), np.asarray(predicted, int)), 1)
    return table


def predicted_classes(scores: np.ndarray, reject_below: float | None = None) -> np.ndarray:
    """Return the class of each row, (n,) int64: the largest of ``scores`` (n, classes) float, first of equals.

    With ``reject_below``, a row whose largest score is lower gets class ``classes`` (out of distribution).
    """
    best = scores.argmax(axis=1)
    if reject_below is not None:
        best = np.where(scores.max(axis=1) < reject_below, scores.shape[1], best)
    return best


@dataclasses.dataclass(frozen=True)
class ClassRow:
    """Figures of one class; None where the data cannot give them (no row of one kind, nothing predicted)."""

    label: str
    rows: int
    precision: float | None
    recall: float | None
    f1: float | None
    average_precision: float | None
    roc_auc: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return dataclasses.asdict(self)


def per_class(
    labels: tuple[str, ...], targets: np.ndarray, scores: np.ndarray, activation: str = "softmax"
) -> list[ClassRow]:
    """Return one row per class.

    Parameters
    ----------
    labels : names of the classes
    targets, scores : (n, classes) float in 0..1
    activation : {"softmax", "sigmoid"}
        softmax: a row is predicted as its largest score; sigmoid: as every class with a score of at least 0.5.
    """
    targets, scores = check_scores(labels, targets, scores)
    if activation == "softmax":
        fired = scores.argmax(axis=1)[:, None] == np.arange(len(labels))
    else:
        fired = scores >= 0.5
    out = []
    for i, label in enumerate(labels):
        positive = targets[:, i] >= 0.5
        hits = int((positive & fired[:, i]).sum())
        precision = hits / int(fired[:, i].sum()) if fired[:, i].any() else None
        recall = hits / int(positive.sum()) if positive.any() else None
        f1 = None
        if recall is not None:
            f1 = 2 * hits / int(fired[:, i].sum() + positive.sum())
        curve = score_curve(positive, scores[:, i])
        out.append(
            ClassRow(
                label,
                int(positive.sum()),
                precision,
                recall,
                f1,
                curve.average_precision if curve else None,
                curve.roc_auc if curve else None,
            )
        )
    return out


def mean_of(values: list[float | None]) -> float | None:
    """Return the mean of the values that are not None; None where none is."""
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else None


def check_scores(labels: tuple[str, ...], targets: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return targets and scores as float64 (n, classes); CheepError for shapes that disagree or NaN."""
    targets, scores = np.asarray(targets, np.float64), np.asarray(scores, np.float64)
    if scores.ndim != 2 or scores.shape != targets.shape or scores.shape[1] != len(labels):
        raise CheepError(
            f"scores {scores.shape}, targets {targets.shape}, {len(labels)} labels: all must agree as (rows, labels); "
            "evaluate with the labels of the model's own manifest"
        )
    if not np.isfinite(scores).all():
        raise CheepError("scores hold NaN or infinity: the model is damaged; train it again")
    return targets, scores
