# SPDX-License-Identifier: MIT
"""Score calibration: one temperature, so that a score can be read as a probability; reliability of scores."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from cheep.evaluate.windows import WindowScores

_FOLDS = 5
_NOTHING = 1e-4  # for a score of 0 or 1, as a sigmoid inside an int8 network gives them: below half a step of 1/256
_LEAST = 1e-12


@dataclasses.dataclass(frozen=True)
class Reliability:
    """Stated against observed probability in equal bins of the score, each array (bins,).

    ``error`` is the expected calibration error: the mean gap, weighted by rows.
    """

    stated: np.ndarray
    observed: np.ndarray
    rows: np.ndarray
    error: float

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values; empty bins are left out."""
        return {
            "stated": self.stated.round(6).tolist(),
            "observed": self.observed.round(6).tolist(),
            "rows": self.rows.tolist(),
            "expected_calibration_error": self.error,
        }


@dataclasses.dataclass(frozen=True)
class TemperatureFit:
    """One temperature, on what it was fitted, and what it does to scores that it was not fitted on.

    ``value`` is fitted on all windows; the errors (expected calibration error) and losses (negative log-likelihood)
    after are those of groups of recordings that the temperature was not fitted on: it is fitted on the other folds.
    """

    value: float
    windows: int
    clips: int
    groups: int
    error_before: float
    error_after: float
    loss_before: float
    loss_after: float

    @property
    def helps(self) -> bool:
        """Whether scores become better probabilities by it, judged where it was not fitted, by both measures."""
        return self.error_after < self.error_before and self.loss_after < self.loss_before

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return dataclasses.asdict(self)


def calibrate_scores(values: WindowScores, rng: np.random.Generator) -> TemperatureFit:
    """Fit the temperature of held-out windows and judge it on groups left out, in up to five folds."""
    names, inverse = np.unique(values.groups, return_inverse=True)
    fold = (rng.permutation(len(names)) % min(_FOLDS, len(names)))[inverse]
    scores = values.scores.astype(np.float64)
    probabilities = scores.copy()
    for part in (fold == number for number in np.unique(fold)):
        if not part.all():
            value = fit_temperature(values.targets[~part], values.scores[~part], values.activation)
            probabilities[part] = apply_temperature(values.scores[part], value, values.activation)
    return TemperatureFit(
        fit_temperature(values.targets, values.scores, values.activation),
        len(values.scores),
        len(np.unique(values.clip)),
        len(names),
        reliability(values.targets, scores, values.activation).error,
        reliability(values.targets, probabilities, values.activation).error,
        negative_log_likelihood(values.targets, _open(scores), values.activation),
        negative_log_likelihood(values.targets, probabilities, values.activation),
    )


def apply_temperature(scores: np.ndarray, temperature: float, activation: str) -> np.ndarray:
    """Return probabilities (n, classes) float64: the logits behind ``scores`` divided by ``temperature``.

    ``scores`` : (n, classes) float in 0..1.

    softmax: ``softmax(log p / T)``; sigmoid: ``sigmoid(logit p / T)`` class by class. T above 1 makes scores humbler.
    """
    if temperature <= 0:
        raise ValueError(f"temperature={temperature}: must be positive")
    p = _open(scores)
    if activation == "softmax":
        logits = np.log(p) / temperature
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shifted / shifted.sum(axis=1, keepdims=True)
    return 1 / (1 + np.exp(-np.log(p / (1 - p)) / temperature))


def _open(scores: np.ndarray) -> np.ndarray:
    """Return scores (n, classes) with a logit: none is 0 or 1, and those of logits keep their digits."""
    p = np.asarray(scores, np.float64)
    p = np.where(p <= 0, _NOTHING, np.where(p >= 1, 1 - _NOTHING, p))
    return np.clip(p, _LEAST, 1 - _LEAST)


def negative_log_likelihood(targets: np.ndarray, probabilities: np.ndarray, activation: str) -> float:
    """Return the mean of -log(probability of what was true), nats; both arrays (n, classes) float in 0..1."""
    p = np.clip(probabilities, 1e-12, 1 - 1e-12)
    if activation == "softmax":
        return float(-np.mean(np.sum(targets * np.log(p), axis=1)))
    return float(-np.mean(targets * np.log(p) + (1 - targets) * np.log(1 - p)))


def fit_temperature(targets: np.ndarray, scores: np.ndarray, activation: str) -> float:
    """Return the temperature (0.05..20) that makes ``targets`` likeliest; both (n, classes) float in 0..1."""
    from scipy.optimize import minimize_scalar

    targets = np.asarray(targets, np.float64)
    if len(targets) == 0:
        raise ValueError("no rows: temperature needs held-out scores")

    def loss(log_t: float) -> float:
        return negative_log_likelihood(targets, apply_temperature(scores, np.exp(log_t), activation), activation)

    best = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(best.x))


def reliability(
    targets: np.ndarray, probabilities: np.ndarray, activation: str = "softmax", bins: int = 10
) -> Reliability:
    """Return how often what the score states is true.

    softmax: the winning score against whether it is right; sigmoid: every score against its target.
    ``targets`` and ``probabilities`` : (n, classes) float in 0..1; ``bins`` equal parts of 0..1.
    """
    if activation == "softmax":
        best = probabilities.argmax(axis=1)
        stated = probabilities.max(axis=1)
        right = targets[np.arange(len(targets)), best] >= 0.5
    else:
        stated, right = probabilities.reshape(-1), targets.reshape(-1) >= 0.5
    which = np.clip((stated * bins).astype(int), 0, bins - 1)
    rows = np.bincount(which, minlength=bins)
    used = rows > 0
    mean_stated = np.bincount(which, stated, bins)[used] / rows[used]
    observed = np.bincount(which, right, bins)[used] / rows[used]
    error = float(np.sum(rows[used] * np.abs(mean_stated - observed)) / max(1, rows.sum()))
    return Reliability(mean_stated, observed, rows[used], error)
