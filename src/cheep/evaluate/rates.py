# SPDX-License-Identifier: MIT
"""Rates of false alarms that hold for recordings not met yet: a heavy-tailed model of groups, with a prior.

The model. Groups of recordings (sites, nights, sources) have rates of their own: a gamma distribution with mean ``mu``
and scale ``theta``, false alarms an hour of a group that does set the detector off; the counts of groups are negative
binomial. Seen from the threshold, ``theta`` hardly changes (a cricket sets the detector off hundreds of times an hour,
or not at all) while ``mu`` falls with the share of groups that do: so ``theta`` has a prior learned from a library of
backgrounds, and groups that hold no loud one still leave room for one among the next. A group that lasts longer than
the library's clips holds other sounds, too: its scale is ``theta (hours / 10 s)^-b``, with ``b`` from 0.1 (nearly the
same sound all night) to 1 (another every ten seconds), as the counts say. New recordings hold kinds of sound of their
own: their mean rate differs from ``mu`` by a log-normal factor, learned from the same library by leaving kinds out.
``docs/evaluation.md`` says how all this was learned, and what the intervals cover.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from cheep.evaluate.intervals import CONFIDENCE

#: Prior of ``theta``: a median of so many an hour, and the deviation of its logarithm. From 245 groups of background
#: (half of those of ESC-10, UrbanSound8K and a bird collection, 0.5 h) under a bird detector: 140 to 520 at
#: thresholds for 10 to 120 false alarms an hour.
LOUD_PER_HOUR, LOUD_DEVIATION = 350.0, 0.8
#: Deviation of the logarithm of the rate of other kinds of sound: the least that covers halves of the kinds of these
#: 245 groups (dogs, sirens, rain, ...) at rates from 10 to 120 an hour.
KINDS_DEVIATION = 0.4

_CLIP_HOURS = 10 / 3600
_THETAS, _MIXES, _RATES = 15, 6, 140
_SIZES = 12  # of groups: quantiles of their hours
_DRAWS = 20_000
_LEAST_SHAPE = 1e-9


@dataclasses.dataclass(frozen=True)
class RateModel:
    """What counts of groups say of the rate: a table of weights over mean rate and loudness.

    Attributes
    ----------
    rates : np.ndarray
        (rates,) float64, per hour: the mean rate of recordings like these.
    theta, mix : np.ndarray
        (kinds,) float64: scale, per hour, and exponent ``b``, of each row of ``weights``.
    likelihood, prior : np.ndarray
        (kinds, rates) float64: logarithms.
    weights : np.ndarray
        (kinds, rates) float64: of the two together, summing to 1.
    sizes : np.ndarray
        (sizes,) float64: hours of groups, as many of each.
    """

    rates: np.ndarray
    theta: np.ndarray
    mix: np.ndarray
    likelihood: np.ndarray
    prior: np.ndarray
    weights: np.ndarray
    sizes: np.ndarray

    @classmethod
    def weighed(
        cls,
        rates: np.ndarray,
        kinds: tuple[np.ndarray, np.ndarray],
        tables: tuple[np.ndarray, np.ndarray],
        sizes: np.ndarray,
    ) -> RateModel:
        """Return the model of ``kinds`` (theta, mix: (kinds,) float64 each) and ``tables`` (likelihood, prior).

        ``rates`` is (rates,), ``sizes`` (sizes,), tables are (kinds, rates) float64.
        """
        log = tables[0] + tables[1]
        weights = np.exp(log - log.max())
        return cls(rates, *kinds, *tables, weights / weights.sum(), sizes)

    def repeated(self, times: float) -> RateModel:
        """Return what so many times as many groups like these would say."""
        tables = (times * self.likelihood, self.prior)
        return RateModel.weighed(self.rates, (self.theta, self.mix), tables, self.sizes)

    @property
    def mean_group_hours(self) -> float:
        """Hours of a group."""
        return float(self.sizes.mean())

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Return between which rates (per hour) new recordings lie in the long run, other kinds of sound included."""
        tail = (1 - confidence) / 2
        low, high = np.quantile(self._draws()[0], [tail, 1 - tail])
        return float(low), float(high)

    def predict(self, new_hours: float, confidence: float = CONFIDENCE) -> tuple[int, int]:
        """Return between how many events ``new_hours`` of new groups, as long as these, will show."""
        if not new_hours > 0:
            raise ValueError(f"new_hours={new_hours}: must be positive")
        mean, kind, rng = self._draws()
        many = new_hours / self.mean_group_hours / len(self.sizes)
        expected = np.zeros(_DRAWS)
        for size in self.sizes:
            loud = _scale(self.theta[kind], self.mix[kind], size)
            expected += rng.gamma(np.maximum(many * mean / loud, _LEAST_SHAPE)) * loud * size
        tail = (1 - confidence) / 2
        low, high = np.quantile(rng.poisson(np.minimum(expected, 1e12)), [tail, 1 - tail])
        return int(np.floor(low)), int(np.ceil(high))

    def silent_groups_needed(self, target: float, confidence: float = CONFIDENCE) -> float:
        """Return how many groups like these, none with an event, would promise at most ``target`` per hour."""
        spread = self.weights.sum(axis=1)
        loud = _scale(self.theta[:, None], self.mix[:, None], self.sizes)
        each = np.mean(np.log1p(loud * self.sizes) / loud, axis=1)  # (kinds,) independent hours of one group
        nodes, share = np.polynomial.hermite_e.hermegauss(21)
        worth = each[:, None] * target * np.exp(-KINDS_DEVIATION * nodes)[None, :]
        weight = spread[:, None] * (share / share.sum())[None, :]

        def doubt(groups: float) -> float:
            return float(np.sum(weight * np.exp(-groups * worth)))

        low, high = 1e-6, 1e15
        for _ in range(200):
            middle = float(np.sqrt(low * high))
            low, high = (middle, high) if doubt(middle) > (1 - confidence) / 2 else (low, middle)
        return high

    def _draws(self) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
        """Return draws of the mean rate of new recordings and of rows of weights, (draws,) each; always the same."""
        rng = np.random.default_rng(0)
        cell = np.searchsorted(np.cumsum(self.weights.ravel()), rng.random(_DRAWS))
        kind, rate = np.unravel_index(np.minimum(cell, self.weights.size - 1), self.weights.shape)
        step = float(np.log(self.rates[1] / self.rates[0]))
        within = np.exp(step * (rng.random(_DRAWS) - 0.5))
        kinds = np.exp(KINDS_DEVIATION * rng.standard_normal(_DRAWS))
        return self.rates[rate] * within * kinds, kind, rng


def fit_rates(counts: np.ndarray, hours: np.ndarray, *, chosen: bool = False) -> RateModel:
    """Return what events of groups say of the rate of groups not met yet.

    Parameters
    ----------
    counts, hours : (n,) float64
        Events in, and hours of, n groups; those without hours are left out.
    chosen : bool
        The counts are those of a threshold that was chosen just above the next event (prior flat in the rate, as
        inverse sampling wants it), not of a fixed one (Jeffreys).

    Raises
    ------
    ValueError
        There are no hours.
    """
    from scipy.special import gammaln

    counts, hours = np.asarray(counts, np.float64), np.asarray(hours, np.float64)
    counts, hours = counts[hours > 0], hours[hours > 0]
    if not len(hours):
        raise ValueError("hours: no group has any")
    z = np.repeat(np.linspace(-3, 3, _THETAS), _MIXES)
    theta, mix = LOUD_PER_HOUR * np.exp(LOUD_DEVIATION * z), np.tile(np.linspace(0.1, 1, _MIXES), _THETAS)
    about = (counts.sum() + 1) / hours.sum()
    rates = about * np.exp(np.linspace(np.log(1e-4), np.log(100), _RATES))
    log = np.zeros((len(z), _RATES))
    for (n, h), many in _repeated(counts, hours):
        loud = _scale(theta, mix, h)
        shape = rates[None, :] / loud[:, None]
        term = -shape * np.log1p(loud * h)[:, None]
        if n > 0:
            term += gammaln(n + shape) - gammaln(shape) + (n * np.log(loud * h / (1 + loud * h)))[:, None]
        log += many * term
    prior = -0.5 * z[:, None] ** 2 + np.log(mix)[:, None] + (1.0 if chosen else 0.5) * np.log(rates)[None, :]
    sizes = np.quantile(hours, (np.arange(_SIZES) + 0.5) / _SIZES)
    return RateModel.weighed(rates, (theta, mix), (log, prior), sizes * hours.mean() / sizes.mean())


def hours_that_narrow(model: RateModel, rate: float, hours: float, factor: float) -> float | None:
    """Return about how many hours in all, of groups like these, bring the interval's upper end to ``factor`` the rate.

    ``model`` is that of ``hours`` with so many events an hour. None where a thousand times as many would not do.
    """
    for times in 2.0 ** np.arange(11):
        if model.repeated(float(times)).interval()[1] <= factor * rate:
            return float(times * hours)
    return None


def _scale(theta: np.ndarray, mix: np.ndarray, hours: float | np.ndarray) -> np.ndarray:
    """Return the scale, per hour, of groups that last ``hours``."""
    return theta * np.maximum(1.0, hours / _CLIP_HOURS) ** -mix


def _repeated(counts: np.ndarray, hours: np.ndarray) -> list[tuple[tuple[float, float], int]]:
    """Return (events, hours) of groups, and how many groups have just these (hours to two digits or so)."""
    pairs: dict[tuple[float, float], int] = {}
    steps = np.rint(np.log(hours) * 20)
    mean = {step: float(hours[steps == step].mean()) for step in set(steps.tolist())}
    for n, step in zip(counts.tolist(), steps.tolist(), strict=True):
        pairs[n, mean[step]] = pairs.get((n, mean[step]), 0) + 1
    return list(pairs.items())
