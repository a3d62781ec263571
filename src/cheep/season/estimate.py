# SPDX-License-Identifier: MIT
"""What verdicts on a drawn sample tell of the whole season: precision, false alarms, calls, recall, with intervals.

Method. Within a stratum every clip had the same chance, so shares are weighted means. Three kinds of uncertainty enter
as random draws of what the truth may be, 4,000 of each, and an interval is what holds the middle of them:

* *Shares of detections* (Korn and Graubard's way): the variance comes from what two clips of one zone differ by, which
  admits that nights are correlated and sites unlike; it makes an effective number of independent verdicts, and this a
  mid-p interval of Clopper and Pearson. The ratio to the binomial variance leans on 1 with the weight of 20 verdicts.
* *What lies below the threshold* (the mid-p gamma interval of Fay and Kim): of many clips few were heard, and none may
  hold the label. Half of the draws have one more clip with it.
* *Reviewers err.* Clips that were asked twice, and first answers that were overturned, give an error rate; shares are
  corrected for it (Rogan and Gladen). A "right" below the threshold counts when three answers of three say so
  (:mod:`cheep.season.plan` asks again), since a single slip there would stand for hundreds of calls.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from cheep.evaluate.intervals import CONFIDENCE, Estimate
from cheep.season.sampling import BELOW, DETECTED

DRAWS = 4000
PRIOR_VERDICTS = 20  # how strongly the design effect leans on 1
PRIOR_RIGHT = 12  # how strongly "one more clip with the label" leans on clips of the usual weight, not of those seen
FEWEST = 5  # verdicts; fewer tell nothing of a site or month


@dataclasses.dataclass(frozen=True)
class Heard:
    """The verdicts on a sample, as columns of n rows (unsure ones left out), and the strata they stand for.

    Attributes
    ----------
    stratum, zone
        (n,) int: of each clip.
    first, final
        (n,) bool: the first answer, and what all answers come to.
    detections
        (n,) int: peaks in the clip.
    kinds
        Kind of each stratum (:data:`cheep.season.sampling.DETECTED`, ...).
    clips, peaks
        (strata,) float64: how many clips and detections the strata hold.
    hours
        Of all of them.
    errors, error_trials
        Answers found to be slips, of how many that would have shown one.
    draws
        Random draws of what the truth may be.
    """

    stratum: np.ndarray
    zone: np.ndarray
    first: np.ndarray
    final: np.ndarray
    detections: np.ndarray
    kinds: tuple[str, ...]
    clips: np.ndarray
    peaks: np.ndarray
    hours: float
    errors: int = 0
    error_trials: int = 0
    draws: int = DRAWS

    def domain(self, rows: np.ndarray, clips: np.ndarray, peaks: np.ndarray, hours: float) -> Heard:
        """Return the part of a site or month: its ``rows`` (n,) bool, clips and detections (strata,), hours."""
        columns = {name: getattr(self, name)[rows] for name in ("stratum", "zone", "first", "final", "detections")}
        return dataclasses.replace(self, **columns, clips=clips, peaks=peaks, hours=hours)


@dataclasses.dataclass(frozen=True)
class Estimates:
    """Of a label in a season, a site or a month; None: the verdicts tell nothing of it.

    ``precision`` is the share of right detections, ``false_alarms`` and ``detections`` are per hour, ``calls`` clips
    with the label per hour, ``recall`` the share of them into which a detection reaches. ``verdicts`` are those on
    clips with a detection, ``verdicts_below`` those on clips without any; fewer than :data:`FEWEST` of the latter (of
    more) tell nothing of calls and recall.
    """

    precision: Estimate | None
    false_alarms: Estimate | None
    calls: Estimate | None
    recall: Estimate | None
    detections: float
    verdicts: int
    verdicts_below: int
    error_rate: float

    def recall_text(self, nothing: str = "-") -> str:
        """Return recall for people; where no miss was met only what it is at least: 1.00 would claim too much."""
        if self.recall is None:
            return nothing
        if self.recall.value >= 1 and self.recall.low is not None:
            return f"{self.recall.low:.2f} or more" if self.recall.low < 0.995 else "1.00"
        return self.recall.text(2)


def estimate(heard: Heard, rng: np.random.Generator, confidence: float = CONFIDENCE) -> Estimates:
    """Estimate from the verdicts; see the module.

    Parameters
    ----------
    heard : Heard
    rng : numpy.random.Generator
        Of the draws.
    confidence : float
        Of the intervals.
    """
    slips = _slips(heard, rng)
    detected = _of_kind(heard, DETECTED)
    peaks = float(heard.peaks[detected].sum())
    in_detected = np.isin(heard.stratum, np.flatnonzero(detected))
    of_below = _of_kind(heard, BELOW)
    below = int(of_below[heard.stratum].sum())
    n = int(in_detected.sum())
    per_hour = peaks / heard.hours if heard.hours else 0.0
    precision = false_alarms = calls = recall = None
    share: tuple[float, np.ndarray] | None = None
    enough = n >= min(FEWEST, int(heard.clips[detected].sum()))  # a few detections are enough where they are all
    if enough and peaks:
        share = _share(heard, in_detected, rng, slips)
        precision = _interval(*share, confidence)
        false_alarms = _interval((1 - share[0]) * per_hour, (1 - share[1]) * per_hour, confidence)
    elif not peaks:
        share = 0.0, np.zeros(heard.draws)
        false_alarms = Estimate(0.0, 0.0, 0.0, confidence)
    if share is not None and below >= min(FEWEST, int(heard.clips[of_below].sum())):
        clips = float(heard.clips[detected].sum())
        found, missed = _others(heard, ~in_detected, rng, slips)
        held = _share(heard, in_detected, rng, slips, by_peaks=False) if peaks else share
        there = held[0] * clips + found[0], held[1] * clips + found[1]
        total = there[0] + missed[0], there[1] + missed[1]
        calls = _interval(total[0] / heard.hours, total[1] / heard.hours, confidence)
        if total[0] > 0:
            ratio = np.divide(there[1], total[1], out=np.ones(heard.draws), where=total[1] > 0)
            recall = _interval(there[0] / total[0], ratio, confidence)
    return Estimates(precision, false_alarms, calls, recall, per_hour, n, below, float(np.mean(slips)))


def naive(heard: Heard) -> Estimates:
    """Estimate as if every clip had had the same chance and all were independent: to see what the design is worth."""
    from cheep.evaluate.intervals import proportion_interval

    detected = np.isin(heard.stratum, np.flatnonzero(_of_kind(heard, DETECTED)))
    n, right = int(detected.sum()), int((heard.first & detected).sum())
    per_hour = float(heard.peaks.sum()) / heard.hours
    precision = proportion_interval(right, n) if n else None
    rate = None
    if precision is not None and precision.low is not None and precision.high is not None:
        rate = Estimate(*(per_hour * (1 - x) for x in (precision.value, precision.high, precision.low)))
    found = ~_of_kind(heard, BELOW)[heard.stratum]
    there, below = int(heard.first.sum()), int((~found).sum())
    recall = proportion_interval(int((heard.first & found).sum()), there) if there and below else None
    return Estimates(precision, rate, None, recall, per_hour, n, below, 0.0)


# -- parts -----------------------------------------------------------------------------------


def _of_kind(heard: Heard, kind: str) -> np.ndarray:
    return np.array([item == kind for item in heard.kinds], bool)


def _weights(heard: Heard, rows: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return how much of ``sizes`` (strata,) each heard clip of ``rows`` stands for; unsure clips' share is spread."""
    stratum = heard.stratum[rows]
    n = np.bincount(stratum, minlength=len(sizes))
    return (sizes / np.maximum(n, 1))[stratum]


def _slips(heard: Heard, rng: np.random.Generator) -> np.ndarray:
    """Return draws of the rate at which answers are slips; zeros where no clip was asked twice."""
    if not heard.error_trials:
        return np.zeros(heard.draws)
    return rng.beta(heard.errors + 0.5, heard.error_trials - heard.errors + 0.5, heard.draws)


def _share(
    heard: Heard, rows: np.ndarray, rng: np.random.Generator, slips: np.ndarray, by_peaks: bool = True
) -> tuple[float, np.ndarray]:
    """Return the share of detections (of clips with one) that are right, and draws of it."""
    first, zone = heard.first[rows].astype(float), heard.zone[rows]
    if by_peaks:
        weight = _weights(heard, rows, heard.peaks) * heard.detections[rows] / np.maximum(1, _mean_peaks(heard, rows))
    else:
        weight = _weights(heard, rows, heard.clips)
    if not weight.sum():
        return 0.0, np.zeros(heard.draws)
    sampled = _weights(heard, rows, heard.clips)
    left = 1 - 1 / np.maximum(sampled, 1)  # finite population: what was heard is known
    weight = weight / weight.sum()
    share = float(weight @ first)
    ratio = _design_effect(first, zone, weight, left, share)
    spread = float((weight**2 * left).sum())
    value = float(np.clip((share - slips.mean()) / (1 - 2 * slips.mean()), 0, 1))
    if spread <= 0:
        drawn = np.full(heard.draws, share)
    else:
        worth = 1 / (spread * ratio)
        drawn = _mid_p(share * worth, worth, rng, heard.draws)
    if slips.any():
        noise = rng.normal(0, np.sqrt(np.maximum(0, slips * (1 - slips) * float((weight**2 * (1 - left)).sum()))))
        drawn = np.clip((drawn + noise - slips) / (1 - 2 * slips), 0, 1)
    return value, drawn


def _mean_peaks(heard: Heard, rows: np.ndarray) -> np.ndarray:
    stratum = heard.stratum[rows]
    total = np.bincount(stratum, heard.detections[rows], len(heard.clips))
    return (total / np.maximum(np.bincount(stratum, minlength=len(heard.clips)), 1))[stratum]


def _design_effect(right: np.ndarray, zone: np.ndarray, weight: np.ndarray, left: np.ndarray, share: float) -> float:
    """Return the variance of a share over that of as many independent verdicts, at most 1 (zones only help)."""
    binomial = float((weight**2 * left).sum()) * share * (1 - share)
    if binomial <= 0:
        return 1.0
    _, place, size = np.unique(zone, return_inverse=True, return_counts=True)
    apart = (right - (np.bincount(place, right) / size)[place]) ** 2 * (size / np.maximum(size - 1, 1))[place]
    alone = (size == 1)[place]
    apart = np.where(alone, share * (1 - share), apart)
    variance = float((weight**2 * left * apart).sum())
    n = len(right)
    return min(1.0, (n * variance / binomial + PRIOR_VERDICTS) / (n + PRIOR_VERDICTS))


def _mid_p(right: float, n: float, rng: np.random.Generator, draws: int) -> np.ndarray:
    """Return draws of a share of which ``right`` of ``n`` (not whole numbers) were seen: the mid-p distribution."""
    low = rng.beta(right, n - right + 1, draws) if right > 0 else np.zeros(draws)
    high = rng.beta(right + 1, n - right, draws) if right < n else np.ones(draws)
    return np.where(rng.random(draws) < 0.5, low, high)


def _others(
    heard: Heard, rows: np.ndarray, rng: np.random.Generator, slips: np.ndarray
) -> tuple[tuple[float, np.ndarray], tuple[float, np.ndarray]]:
    """Return how many clips with the label are found though no peak lies in them, and how many missed; with draws."""
    out = []
    for below in (False, True):
        strata = np.array([kind not in (DETECTED,) and (kind == BELOW) == below for kind in heard.kinds])
        part = rows & np.isin(heard.stratum, np.flatnonzero(strata))
        out.append(_total(heard, part, np.where(strata, heard.clips, 0), rng, slips))
    return out[0], out[1]


def _total(
    heard: Heard, rows: np.ndarray, sizes: np.ndarray, rng: np.random.Generator, slips: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return the number of clips with the label among ``sizes`` (strata,), and draws of it."""
    stratum = heard.stratum[rows]
    heard_of = np.bincount(stratum, minlength=len(sizes)).astype(float)
    right = np.bincount(stratum, heard.final[rows], len(sizes))
    covered = np.where(heard_of > 0, sizes, 0)
    value = float((right / np.maximum(heard_of, 1) * covered).sum())
    drawn = np.zeros(heard.draws)
    for yes, n, size in zip(right, heard_of, sizes, strict=True):
        if n and yes:
            drawn += yes + rng.binomial(max(0, int(size - n)), rng.beta(yes, n - yes + 1, heard.draws))
    if heard_of.sum():
        each = np.log1p(np.maximum(0, covered - heard_of) / np.maximum(heard_of, 1))
        like = PRIOR_RIGHT * heard_of / heard_of.sum() + right  # where one more would be: as those that were heard
        one_more = np.expm1(float(each @ like / like.sum()))
        drawn += rng.poisson(rng.exponential(one_more, heard.draws)) * (rng.random(heard.draws) < 0.5)
    unheard = float(np.where(heard_of > 0, 0, sizes).sum())  # in strata of which nobody heard anything
    drawn += unheard * rng.random(heard.draws)
    if slips.any():  # three of three
        wrongly, lost = slips**3, 1 - (1 - slips) ** 3
        slip, miss = float(wrongly.mean()), float(lost.mean())
        value = max(0.0, (value - covered.sum() * slip) / (1 - slip - miss))
        drawn = np.maximum(0, (drawn - covered.sum() * wrongly) / (1 - wrongly - lost))
    return value, drawn


def _interval(value: float, drawn: np.ndarray, confidence: float) -> Estimate:
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(value), float(min(low, value)), float(max(high, value)), confidence)


def half_width(item: Estimate | None) -> float:
    """Return half the length of an interval; infinite where there is none."""
    if item is None or item.low is None or item.high is None:
        return float("inf")
    return (item.high - item.low) / 2
