# SPDX-License-Identifier: MIT
"""Precision against score: what a higher threshold would bring, and which one a wanted precision takes.

Two views of the same verdicts. The *curve* is the share of right ones at a score: logistic (a line in the log-odds) and
monotone (isotonic), with the interval of the logistic one from a bootstrap that keeps clips of a zone together. The
*table* is what counts: precision, false alarms per hour and recall of all detections at and above a threshold, each
with its interval from the sample's own design (:mod:`cheep.season.estimate`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from cheep.detector.scores import logit
from cheep.errors import CheepError
from cheep.evaluate.intervals import CONFIDENCE, Estimate
from cheep.season.estimate import FEWEST, Heard, estimate
from cheep.season.sampling import DETECTED

BOOTSTRAPS = 200
_RIDGE = 0.1  # keeps the line finite where the scores part right and wrong completely


@dataclasses.dataclass(frozen=True)
class ScorePoint:
    """Precision at a score (a logit): ``logistic`` with its interval, ``monotone``."""

    score: float
    logistic: Estimate
    monotone: float


@dataclasses.dataclass(frozen=True)
class ThresholdRow:
    """What a threshold (a logit) gives: ``detections`` per hour, and what is right and wrong of them."""

    score: float
    detections: float
    verdicts: int
    precision: Estimate
    false_alarms: Estimate


def score_curve(
    heard: Heard, score: np.ndarray, rng: np.random.Generator, points: int = 25, confidence: float = CONFIDENCE
) -> list[ScorePoint]:
    """Return precision against score over the verdicts on detections; empty where they are all alike or too few.

    Parameters
    ----------
    heard
        The verdicts.
    score : (n,) float
        Of each clip, logits.
    rng
        Of the bootstrap.
    """
    from sklearn.isotonic import IsotonicRegression

    rows = _of_detections(heard)
    right, x = heard.final[rows].astype(float), score[rows].astype(float)
    if rows.sum() < 4 * FEWEST or np.ptp(right) == 0 or np.ptp(x) == 0:
        return []
    sizes = np.bincount(heard.stratum[rows], minlength=len(heard.peaks))
    weight = (heard.peaks / np.maximum(sizes, 1))[heard.stratum[rows]]
    grid = np.linspace(float(x.min()), float(x.max()), points)
    zones, place = np.unique(heard.zone[rows], return_inverse=True)
    times = rng.multinomial(len(zones), np.full(len(zones), 1 / len(zones)), BOOTSTRAPS)[:, place]
    line, *drawn = _logistic(x, right, weight * np.vstack([np.ones(len(x)), times]), grid)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    monotone = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(x, right, sample_weight=weight)
    steps = monotone.predict(grid)
    return [
        ScorePoint(float(g), Estimate(float(v), float(min(a, v)), float(max(b, v)), confidence), float(m))
        for g, v, a, b, m in zip(grid, line, low, high, steps, strict=True)
    ]


def threshold_table(
    heard: Heard, score: np.ndarray, counts: dict[str, np.ndarray], rng: np.random.Generator, rows: int = 40
) -> list[ThresholdRow]:
    """Return what thresholds at and above the season's own give, lowest first.

    Parameters
    ----------
    heard, score
        The verdicts, and the score of each (n,) float, logits.
    counts
        Of the plan: columns ``stratum``, ``score`` and ``detections``.
    """
    of_kind, levels = _levels(heard.kinds, counts)
    out = []
    for level in levels[np.unique(np.linspace(0, len(levels) - 1, rows).astype(int))] if len(levels) else ():
        above = of_kind & (counts["score"] >= level - 1e-9)
        peaks, clips = (
            np.bincount(counts["stratum"][above], counts[name][above], len(heard.kinds))
            for name in ("detections", "clips")
        )
        part = (score >= level - 1e-9) & _of_detections(heard)
        found = estimate(heard.domain(part, clips, peaks, heard.hours), rng)
        if found.precision is not None and found.false_alarms is not None:
            out.append(
                ThresholdRow(float(level), found.detections, found.verdicts, found.precision, found.false_alarms)
            )
    return out


def not_tried(table: list[ThresholdRow], kinds: Sequence[str], counts: dict[str, np.ndarray]) -> str:
    """Return which thresholds a table has not tried, in words, and why.

    Parameters
    ----------
    kinds, counts
        Of the plan: kind of each stratum, and columns (n,) ``stratum`` int, ``score`` float64, logits, and
        ``detections`` int.
    """
    from cheep.detector.scores import probability, show_probability

    _, levels = _levels(kinds, counts)

    def shown(score: float) -> str:
        return show_probability(float(probability(score)), 3)

    if not len(levels):
        return "no threshold was tried: there is no detection"
    if not table:
        return f"none of {len(levels)} thresholds could be tried: fewer than {FEWEST} verdicts on detections above each"
    first, last = table[0].score, table[-1].score
    text = f"tried: {len(table)} of {len(levels)} thresholds, {shown(first)} to {shown(last)}"
    above = int((levels > last + 1e-9).sum())
    if above:
        text += f"; not tried: {above} above, up to {shown(levels[-1])} (fewer than {FEWEST} verdicts on what is left)"
    if (between := len(levels) - above - len(table)) > 0:
        text += f"; {between} between them" if above else f"; not tried: {between} between them"
    return f"{text}; lower ones need a lower threshold in the season (cheep season detect)"


def _levels(kinds: Sequence[str], counts: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows of a plan's counts hold detections (n,) bool, and the scores that occur there, rising."""
    of_kind = np.array([kind == DETECTED for kind in kinds])[counts["stratum"]] & (counts["detections"] > 0)
    return of_kind, np.unique(counts["score"][of_kind])


def threshold_for(table: list[ThresholdRow], precision: float, sure: bool = False) -> ThresholdRow:
    """Return the lowest threshold that reaches ``precision``, as every higher one does.

    Parameters
    ----------
    sure
        The lower end of its interval reaches it, not only the value. Of the higher ones the value counts: what lies
        above the last of them are five verdicts, whose interval is wide whatever they say.

    Raises
    ------
    CheepError
        None does; the message says what the best one reaches.
    """
    chosen: ThresholdRow | None = None
    for row in reversed(table):
        if row.precision.value < precision:
            break
        if not sure or (row.precision.low or 0.0) >= precision:
            chosen = row
    if chosen is None:
        raise CheepError(f"precision={precision:g}: {_why_none(table, precision, sure)}")
    return chosen


def _why_none(table: list[ThresholdRow], precision: float, sure: bool) -> str:
    if not table:
        return f"no threshold has {FEWEST} verdicts on the detections above it; judge more clips (cheep review)"
    best = max(table, key=lambda row: (row.precision.low if sure else None) or row.precision.value)
    what, more = "that every higher one reaches, too", "ask for less"
    if sure:
        what = "by the lower end of its interval"
        more = f"judge more clips (cheep season plan --want threshold:{precision:g}), ask for less"
    return (
        f"no threshold reaches it ({what}); the best one found is {best.precision.text(2)} on {best.verdicts} "
        f"verdicts; {more}, or train another model (cheep season learn)"
    )


def at_least(row: ThresholdRow, threshold: float | None) -> ThresholdRow:
    """Return the row with a score (logit) not below the season's own ``threshold``, a probability.

    Scores of a plan are counted in steps; the lowest step begins below the threshold, where nothing was detected.
    """
    if threshold is None or not 0 < threshold < 1:
        return row
    return dataclasses.replace(row, score=max(row.score, logit(threshold)))


def _of_detections(heard: Heard) -> np.ndarray:
    return np.array([kind == DETECTED for kind in heard.kinds])[heard.stratum]


def _logistic(x: np.ndarray, y: np.ndarray, weights: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Fit a logistic line for each row of ``weights`` (k, n) by Newton's method, slightly pulled to a flat one.

    Returns (k, points): a higher score is never worse.
    """
    middle, scale = float(x.mean()), max(1e-6, float(x.std()))
    z = (x - middle) / scale
    weights = weights / np.maximum(weights.mean(axis=1, keepdims=True), 1e-12)
    a, b = np.zeros(len(weights)), np.zeros(len(weights))
    for _ in range(30):
        p = 1 / (1 + np.exp(-np.clip(a[:, None] + b[:, None] * z, -30, 30)))
        slack, curve = weights * (y - p), weights * p * (1 - p)
        ga, gb = slack.sum(1) - _RIDGE * a, slack @ z - _RIDGE * b
        haa, hab, hbb = curve.sum(1) + _RIDGE, curve @ z, curve @ z**2 + _RIDGE
        det = haa * hbb - hab**2
        a, b = a + (hbb * ga - hab * gb) / det, np.maximum(0.0, b + (haa * gb - hab * ga) / det)
    return 1 / (1 + np.exp(-(a[:, None] + b[:, None] * (grid - middle) / scale)))
