"""How far a measured figure can be trusted: bootstrap by recording, and counts of rare events."""

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
        Percentile interval. No interval with fewer than two recordings or where more than half of the draws are
        undefined; None where the statistic is undefined on the data themselves.
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
    return Estimate(float(value), float(low), float(high), confidence)


def dispersion(counts: np.ndarray, hours: np.ndarray) -> float:
    """Return how much more the events of recordings vary than independent events would: 1 = Poisson, never less.

    Pearson's chi-square over its degrees of freedom, of ``counts`` (n,) events in ``hours`` (n,) of n recordings.
    False alarms come in clusters (one cricket, one gate), which makes fewer recordings' worth of evidence.
    """
    counts, hours = np.asarray(counts, np.float64), np.asarray(hours, np.float64)
    keep = hours > 0
    counts, hours = counts[keep], hours[keep]
    if len(counts) < 2 or counts.sum() == 0:
        return 1.0
    expected = hours * counts.sum() / hours.sum()
    return max(1.0, float(np.sum((counts - expected) ** 2 / expected) / (len(counts) - 1)))


def rate_interval(
    events: float, hours: float, dispersion_: float = 1.0, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return the interval of a rate (per hour) after ``events`` events in ``hours``.

    Garwood's exact Poisson interval; with a dispersion above 1, of the ``events / dispersion`` independent clusters
    seen. Without a single event the low end is 0 and the high end ``3.69 * dispersion / hours`` (at 95 %).
    """
    from scipy.stats import gamma

    if hours <= 0:
        raise ValueError(f"hours={hours}: must be positive")
    tail, clusters = (1 - confidence) / 2, events / dispersion_
    low = float(gamma.ppf(tail, clusters)) if clusters > 0 else 0.0
    return low * dispersion_ / hours, float(gamma.ppf(1 - tail, clusters + 1)) * dispersion_ / hours


def prediction_interval(
    events: float, hours: float, new_hours: float, dispersion_: float = 1.0, confidence: float = CONFIDENCE
) -> tuple[int, int]:
    """Return between how many events to expect in ``new_hours`` after ``events`` in ``hours``.

    Negative binomial: the rate's uncertainty (a gamma distribution with ``events + 0.5`` events, Jeffreys) and the
    new count's own chance, both widened by the dispersion.
    """
    from scipy.stats import nbinom

    if hours <= 0 or new_hours <= 0:
        raise ValueError(f"hours={hours}, new_hours={new_hours}: must be positive")
    tail = (1 - confidence) / 2
    distribution = nbinom((events + 0.5) / dispersion_, hours / (hours + new_hours))
    return int(np.floor(distribution.ppf(tail) * dispersion_)), int(np.ceil(distribution.ppf(1 - tail) * dispersion_))


def proportion_interval(hits: int, n: int, confidence: float = CONFIDENCE) -> Estimate:
    """Return a share with Wilson's score interval (for independent trials, such as clips)."""
    from scipy.stats import norm

    if n <= 0:
        raise ValueError(f"n={n}: must be positive")
    z = float(norm.ppf((1 + confidence) / 2))
    share = hits / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Estimate(share, max(0.0, float(centre - half)), min(1.0, float(centre + half)), confidence)
