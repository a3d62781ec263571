# SPDX-License-Identifier: MIT
"""How far a measured figure can be trusted: bootstrap by recording, shares, the spread between groups."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value with its confidence interval; ``low``/``high`` None where the data give none."""

    value: float
    low: float | None = None
    high: float | None = None
    confidence: float = CONFIDENCE

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return dataclasses.asdict(self)

    def text(self, digits: int = 3, scale: float = 1.0, unit: str = "") -> str:
        """Return ``0.912 (0.880-0.941)``."""
        main = f"{self.value * scale:.{digits}f}{unit}"
        if self.low is None or self.high is None:
            return main
        return f"{main} ({self.low * scale:.{digits}f}–{self.high * scale:.{digits}f})"


def bootstrap(
    statistic: Callable[[np.ndarray], float | None],
    groups: Sequence[Any] | np.ndarray,
    rng: np.random.Generator,
    draws: int = 1000,
    confidence: float = CONFIDENCE,
) -> Estimate | None:
    """Bootstrap a statistic by recording: whole recordings are drawn with replacement, their rows stay together.

    Parameters
    ----------
    statistic : callable
        Takes row weights (n,) float64 (how often each row's recording was drawn), returns a number or None
        (undefined on this draw, which is then left out).
    groups : (n,) of anything
        The recording of each row.
    rng : numpy.random.Generator
    draws : int
    confidence : float in 0..1

    Returns
    -------
    Estimate or None
        Percentile interval. No interval with fewer than two recordings, where more than half of the draws are
        undefined, or where all draws give the same (one recording holds all that counts: no certainty, no knowledge);
        None where the statistic is undefined on the data themselves.
    """
    groups = np.asarray(groups)
    value = statistic(np.ones(len(groups)))
    if value is None:
        return None
    names, inverse = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        return Estimate(float(value), confidence=confidence)
    found = []
    for _ in range(draws):
        counts = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names)).astype(np.float64)
        drawn = statistic(counts[inverse])
        if drawn is not None:
            found.append(drawn)
    if len(found) < draws / 2:
        return Estimate(float(value), confidence=confidence)
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    if np.ptp(found) == 0:
        return Estimate(float(value), confidence=confidence)
    return Estimate(float(value), float(low), float(high), confidence)


def spread_between(counts: np.ndarray, hours: np.ndarray) -> float:
    """Return how much more the events of recordings vary than independent events would, at least 1 (Poisson).

    Parameters
    ----------
    counts, hours : (n,) float64
        Events in, and hours of, n recordings (or sites, nights, recordists: whatever is alike within).

    Notes
    -----
    False alarms come in clusters (one cricket, one gate), which makes fewer recordings' worth of evidence. Two
    estimates compete and the larger counts: Pearson's chi-square over its degrees of freedom, and the cluster-robust
    variance of the sum (squared residuals of recordings, without dividing each by what it expects), which sees that it
    is the long recordings that are unlike.
    """
    counts, hours = np.asarray(counts, np.float64), np.asarray(hours, np.float64)
    keep = hours > 0
    counts, hours = counts[keep], hours[keep]
    n = len(counts)
    if n < 2 or counts.sum() == 0:
        return 1.0
    expected = hours * counts.sum() / hours.sum()
    squares = (counts - expected) ** 2
    pearson = float(np.sum(squares / expected)) / (n - 1)
    robust = float(squares.sum() / counts.sum()) * n / (n - 1)
    return max(1.0, pearson, robust)


def proportion_interval(hits: int, n: int, confidence: float = CONFIDENCE) -> Estimate:
    """Return a share with Wilson's score interval (for independent trials, such as clips)."""
    from scipy.stats import norm

    if n <= 0:
        raise ValueError(f"n={n}: must be positive")
    return _wilson(hits / n, n, float(norm.ppf((1 + confidence) / 2)), confidence)


def grouped_proportion(
    right: np.ndarray, groups: Sequence[Any] | np.ndarray, confidence: float = CONFIDENCE
) -> Estimate | None:
    """Return the share of ``right`` (n,) bool with an interval that admits that rows of one group are alike.

    Wilson's interval of as many independent rows as the groups are worth: n over the design effect, with Student's t
    for few groups. The effect is the cluster-robust variance of the share (residuals of groups left out) over the
    binomial one, what exceeds 1 widened by Student's t over the normal quantile, squared (Satterthwaite's degrees of
    freedom), and at most that of groups of one kind each, which also
    stands where all rows are right or all wrong. Unlike a bootstrap by group it does not shrink to a point near 100 %,
    and covers 93 to 99 % (simulated; the bootstrap 83 to 92 %).

    Returns
    -------
    Estimate or None
        No interval of fewer than two groups; None without rows.
    """
    from scipy.stats import norm, t

    right = np.asarray(right, np.float64)
    n = len(right)
    if n == 0:
        return None
    names, inverse = np.unique(np.asarray(groups), return_inverse=True)
    share, m, tail = float(right.mean()), len(names), (1 + confidence) / 2
    if m < 2:
        return Estimate(share, confidence=confidence)
    sizes = np.bincount(inverse)
    effect = float((sizes**2).sum()) / n
    binomial = n * share * (1 - share)
    if binomial > 0:
        squares = ((np.bincount(inverse, right) - share * sizes) / (1 - sizes / n)) ** 2
        raw = float(squares.sum()) * (m - 1) / m / binomial
        wider = 0.0
        if raw > 1:
            freedom = max(1.0, min(m - 1.0, 2 * float(squares.sum() ** 2 / (squares**2).sum())))
            wider = float(t.ppf(tail, freedom) / norm.ppf(tail)) ** 2
        effect = min(effect, 1 + (raw - 1) * wider)
    return _wilson(share, n / effect, float(t.ppf(tail, m - 1)), confidence)


def _wilson(share: float, n: float, z: float, confidence: float) -> Estimate:
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = max(0.0, float(centre - half)), min(1.0, float(centre + half))
    return Estimate(share, min(low, share), max(high, share), confidence)  # at 0 and 1 rounding leaves the share out
