# SPDX-License-Identifier: MIT
"""How many clips a wish needs, and where they are heard.

Precision and false alarms are promised for the worst case (half of the detections right), for reviewers who slip in up
to 3 of 100 answers, and 4 of 100 clips of which nobody is sure. Recall depends on how rare the label is below the
threshold, which nobody knows before: the number is found by trying the sample on seasons like this one, with shares
guessed from the scores or, better, told by the verdicts that there are.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence

import numpy as np

from cheep.errors import CheepError
from cheep.evaluate.intervals import CONFIDENCE
from cheep.season.estimate import Heard, estimate, half_width
from cheep.season.frame import Frame
from cheep.season.sampling import BELOW, DETECTED, REACHED, Stratum, allocate, proportional

#: Clips that are asked twice, to see how often a reviewer slips: at least, and of all.
REPEATS, REPEAT_SHARE = 40, 0.08
MIN_DETECTED, MIN_BELOW = 30, 60
SLIPS, UNSURE = 0.03, 0.04
SLIPS_SEEN = 0.05  # what 3 of 100 may look like among the few that are asked twice
KEPT = 0.95  # of the seasons like this one in which the promise must hold, to be given
MOST = 20_000
ROOM = 0.8  # recall: of what is wanted, what trials must reach: shares known from a first look are rough
TRIALS = 40
DRAWS = 800
_Z = 1.96 * 1.04  # what the interval of a small sample is longer by than the normal one
_WISH = re.compile(r"(precision|rate|recall|threshold)(?::([0-9.]+)(/h)?)?")
_DEFAULTS = {"precision": 0.05, "rate": 0.5, "recall": 0.1, "threshold": 0.9}
#: Shares of clips that hold the label, guessed where nobody has listened: detected, reached, and below from the top.
_GUESS = {DETECTED: (0.6,), REACHED: (0.5,), BELOW: (0.25, 0.08, 0.02, 0.006, 0.002)}


@dataclasses.dataclass(frozen=True)
class Want:
    """What is to be known: ``precision``, ``rate`` or ``recall`` to +- ``value``; ``threshold`` for that precision."""

    what: str
    value: float

    @property
    def text(self) -> str:
        """As ``--want`` takes it."""
        return f"{self.what}:{self.value:g}" + ("/h" if self.what == "rate" else "")


def parse_want(text: str) -> Want:
    """Return the wish of ``precision:0.05``, ``rate:0.5/h``, ``recall:0.1`` or ``threshold:0.9`` (values optional).

    Raises
    ------
    CheepError
        It is none of these, or out of range.
    """
    match = _WISH.fullmatch(text.strip())
    if match is None or (match[3] and match[1] != "rate"):
        raise CheepError(f"--want {text}: must be precision:0.05, rate:0.5/h, recall:0.1 or threshold:0.9")
    value = float(match[2]) if match[2] else _DEFAULTS[match[1]]
    if not value > 0 or (match[1] != "rate" and not value < 1):
        raise CheepError(f"--want {text}: must lie between 0 and 1 (rate: above 0)")
    return Want(match[1], value)


@dataclasses.dataclass(frozen=True)
class Promise:
    """How many clips of each stratum to hear, how many of them twice, and what half of the interval's length will be.

    ``half_width`` is of what was wanted (of precision, for ``threshold``); ``kept``: it is promised. ``why`` says in
    words what bounds it, or what was assumed.
    """

    sizes: tuple[int, ...]
    repeats: int
    half_width: float
    kept: bool
    why: str

    @property
    def clips(self) -> int:
        """All of them."""
        return sum(self.sizes)


def sizes_for(
    frame: Frame,
    strata: Sequence[Stratum],
    want: Want,
    *,
    clips: int | None = None,
    heard: Sequence[tuple[int, int]] = (),
) -> Promise:
    """Return how many clips of each stratum a wish needs.

    Parameters
    ----------
    frame, strata
        The season's clips, and how they are cut.
    want
        The wish.
    clips
        This many instead, whatever they can promise.
    heard
        (clips heard, with the label) of each stratum, where there are verdicts.
    """
    if want.what == "recall":
        return _for_recall(frame, strata, want, clips, list(heard) or [(0, 0)] * len(strata))
    counts = np.array([item.size if item.kind == DETECTED else 0 for item in strata])
    held = int(counts.sum())
    per_hour = float(frame.detections.sum()) / frame.total_hours
    value = want.value if want.what == "precision" else 0.05 if want.what == "threshold" else want.value / per_hour
    total = min(clips if clips is not None else _needed(value, held), held)
    repeats = min(total, max(REPEATS, round(REPEAT_SHARE * total), _repeats_for(value)))
    even = np.where(counts > 0, held / max(1, (counts > 0).sum()), 0)  # for a curve, every band tells as much
    sizes = proportional(counts, total, 2) if want.what != "threshold" else allocate(even, counts, total, 2)
    half = _half_width(total, held, repeats)
    kept = half <= value * (1 + 1e-9)
    why = f"of {held} detections, for the worst case (half of them right)"
    if total == held:
        why = f"all {held} detections: nothing is left to chance but slips of reviewers"
    if not kept and clips is None:
        why += f", which alone leave +-{half:.3f} of the share of right ones"
    reached = half * per_hour if want.what == "rate" else half
    return Promise(tuple(int(n) for n in sizes), repeats, float(reached), bool(kept), why)


def _needed(value: float, held: int) -> int:
    """Return the least number of verdicts that promise +- ``value`` of a share of ``held`` detections."""
    low, high = min(MIN_DETECTED, held), held
    while low < high:
        n = (low + high) // 2
        low, high = (low, n) if _half_width(n, held, min(n, _repeats_for(value))) <= value else (n + 1, high)
    return low


def _repeats_for(value: float) -> int:
    """Return how many clips to ask twice, so that what is not known of a reviewer's slips stays below +- ``value``."""
    spread = value * (1 - 2 * SLIPS_SEEN) / _Z
    return max(REPEATS, math.ceil(0.7 * SLIPS_SEEN * (1 - SLIPS_SEEN) / spread**2))  # leaves room for the rest


def _half_width(n: int, held: int, repeats: int) -> float:
    """Return half of the interval of a share, at its widest, after ``n`` of ``held`` were heard, some of them twice.

    Its variance is linear in ``(1 - 2 share)^2``, and largest at one end: where half are right, by chance; where all or
    none are, by what is not known of slips.
    """
    sure = max(1.0, n * (1 - UNSURE))
    finite = max(0.0, 1 - sure / held)
    noise = SLIPS * (1 - SLIPS) * (1 - finite) / sure
    unknown = SLIPS_SEEN * (1 - SLIPS_SEEN) / max(1, 2 * repeats)
    return _Z * math.sqrt(noise + max(0.25 * finite / sure, unknown)) / (1 - 2 * SLIPS_SEEN)


# -- recall ----------------------------------------------------------------------------------


def _for_recall(
    frame: Frame, strata: Sequence[Stratum], want: Want, clips: int | None, heard: list[tuple[int, int]]
) -> Promise:
    told = any(n for n, _ in heard)
    guessed = "guessed: plan again (under another --name) after the first hundred verdicts"
    from_ = "from the verdicts so far" if told else guessed
    rng = np.random.default_rng(len(frame))
    shares = _shares(strata, heard, rng)
    if clips is None:
        total = MIN_DETECTED + MIN_BELOW
        while total < MOST:
            half = _try(frame, strata, total, shares, rng)
            if half <= ROOM * want.value:
                break
            total = int(total * (1.5 if half > 1.5 * want.value else 1.15)) + 1
        total = min(total, MOST)
    else:
        total = clips
    sizes = _recall_sizes(strata, total, shares.mean(axis=0))
    half = _try(frame, strata, total, shares, rng)
    kept = half <= want.value
    why = f"shares below the threshold are {from_}"
    if not kept:
        left = f"at +-{half:.2f}" if math.isfinite(half) else "unknown"
        why += (
            f"; {int(sizes.sum())} clips leave it {left}: most of the season lies below, and a single call "
            "heard there stands for hundreds"
        )
    repeats = min(int(sizes.sum()), max(REPEATS, round(REPEAT_SHARE * total)))
    return Promise(tuple(int(n) for n in sizes), repeats, float(half), bool(kept), why)


def _shares(strata: Sequence[Stratum], heard: list[tuple[int, int]], rng: np.random.Generator) -> np.ndarray:
    """Return what the shares of the label may be, (TRIALS, strata)."""
    pairs = zip(_guesses(strata), heard, strict=True)
    told = [rng.beta(right + guess, n - right + 1, TRIALS) if n >= 5 else np.full(TRIALS, guess)
            for guess, (n, right) in pairs]  # fmt: skip
    return np.stack(told, axis=1)


def _guesses(strata: Sequence[Stratum]) -> np.ndarray:
    """Return the shares of the label to expect, (strata,), from the kind of stratum and its place."""
    out, place = [], 0
    for item in strata:
        guesses = _GUESS[item.kind]
        out.append(guesses[min(place if item.kind == BELOW else 0, len(guesses) - 1)])
        place += item.kind == BELOW
    return np.array(out)


def _recall_sizes(strata: Sequence[Stratum], total: int, shares: np.ndarray) -> np.ndarray:
    """Share clips among strata: by how much of the doubt about recall each holds."""
    counts = np.array([item.size for item in strata], float)
    detected = np.array([item.kind == DETECTED for item in strata])
    shares = (shares + _guesses(strata)) / 2  # a stratum in which a first look heard nothing is not left alone
    need = counts * np.sqrt(shares * (1 - shares))
    missed = float((counts * shares)[[item.kind == BELOW for item in strata]].sum())
    there = float((counts * shares).sum())
    need[detected] *= missed / max(there, 1e-9)  # an error of what is found weighs as much as what is missed
    return allocate(need, counts, total, 6)


def _try(frame: Frame, strata: Sequence[Stratum], total: int, shares: np.ndarray, rng: np.random.Generator) -> float:
    """Return the half length of recall's interval that :data:`KEPT` of the trials stay below."""
    sizes = np.minimum(_recall_sizes(strata, total, shares.mean(axis=0)), [item.size for item in strata])
    stratum = np.repeat(np.arange(len(strata)), sizes)
    clips = np.array([item.size for item in strata], float)
    peaks = np.array([frame.detections[item.rows].sum() for item in strata], float)
    kinds = tuple(item.kind for item in strata)
    halves = []
    for share in shares:
        seen = share[stratum] * (1 - SLIPS) ** 3 + (1 - share[stratum]) * SLIPS**3  # below: three of three
        right = rng.random(len(stratum)) < seen
        ones = (np.array(kinds)[stratum] == DETECTED).astype(int)
        heard = Heard(
            stratum, np.arange(len(stratum)), right, right, ones, kinds, clips, peaks, frame.total_hours,
            round(SLIPS * total), total, DRAWS,
        )  # fmt: skip
        halves.append(half_width(estimate(heard, rng, CONFIDENCE).recall))
    return sorted(halves)[min(TRIALS - 1, math.ceil(KEPT * TRIALS))]  # may be infinite: nothing to say
