# SPDX-License-Identifier: MIT
"""Draw clips to listen to, so that what is heard speaks of the whole season.

Strata are what the scores tell: clips with the peak of a detection, in bands of score; clips that a detection only
reaches into; and clips without any detection, in bands of score whose lowest holds most of the season. Within a stratum
the clips are drawn by a systematic sample along site, night and time from a random start, so that every site and night
has its share. Every clip of a stratum has the same chance; its inverse is the weight.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from cheep.season.frame import Frame

#: Clips with a detection are cut into bands of equal counts, those below at these parts of them from the top.
DETECTED_BANDS = 4
BELOW_SHARES = (0.004, 0.02, 0.08, 0.3)
#: No stratum smaller than this: it joins the next lower one.
MIN_STRATUM = 20
DETECTED, REACHED, BELOW = "detected", "reached", "below"


@dataclasses.dataclass(frozen=True)
class Stratum:
    """A part of the frame: ``rows`` (N,) int64, in the order site, night, time; scores lie in ``low`` to ``high``."""

    kind: str
    low: float
    high: float
    rows: np.ndarray

    @property
    def size(self) -> int:
        """Clips in it."""
        return len(self.rows)


@dataclasses.dataclass(frozen=True)
class Draw:
    """A sample: rows of the frame, the stratum and the zone of each (n,) int64, and its weight (n,) float64."""

    rows: np.ndarray
    stratum: np.ndarray
    zone: np.ndarray
    weight: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


def strata_of(frame: Frame) -> list[Stratum]:
    """Cut a frame into strata: of detections (highest scores first), of clips that they reach into, of the others."""
    order = np.lexsort((frame.start_s, frame.recording, frame.night, frame.site))
    detected = frame.detections[order] > 0
    reached = frame.found[order] & ~detected
    out = _bands(frame, order[detected], DETECTED, np.arange(1, DETECTED_BANDS) / DETECTED_BANDS)
    if reached.any():
        out += _bands(frame, order[reached], REACHED, np.zeros(0))
    return out + _bands(frame, order[~frame.found[order] & ~detected], BELOW, np.array(BELOW_SHARES))


def _bands(frame: Frame, rows: np.ndarray, kind: str, shares: np.ndarray) -> list[Stratum]:
    """Cut rows by score at the counts ``shares`` (from the highest) of them."""
    if not len(rows):
        return []
    score = frame.score[rows]
    falling = np.sort(score)[::-1]
    edges: list[float] = []
    taken = 0
    for share in shares:
        count = round(share * len(rows))
        edge = falling[min(count, len(rows) - 1)]  # clips of one score stay together
        inside = int(np.searchsorted(-falling, -edge, side="left"))
        if inside - taken >= MIN_STRATUM and len(rows) - inside >= MIN_STRATUM:
            edges.append(float(edge))
            taken = inside
    band = np.zeros(len(rows), int)
    for edge in edges:
        band += score <= edge
    return [
        Stratum(kind, float(score[part].min()), float(score[part].max()), rows[part])
        for part in (band == i for i in range(len(edges) + 1))
    ]


def draw(strata: list[Stratum], sizes: np.ndarray, rng: np.random.Generator) -> Draw:
    """Draw ``sizes`` (strata,) int clips: of each stratum two from each of its zones, at random.

    A zone is a stretch of a stratum along site, night and time; zones of a stratum are of one size (give or take a
    clip), and the largest one gives three clips where their number is odd. What two clips of a zone differ by tells how
    certain the sample is.
    """
    rows, which, zones, weights = [], [], [], []
    zone = 0
    for place, (stratum, size) in enumerate(zip(strata, sizes, strict=True)):
        n = min(int(size), stratum.size)
        if not n:
            continue
        count = max(1, n // 2)
        edges = np.round(np.arange(count + 1) * stratum.size / count).astype(int)
        taken = np.full(count, 2)
        taken[np.argmax(np.diff(edges))] += n - 2 * count
        if n == stratum.size:
            edges, taken = np.array([0, n]), np.array([n])
        for begin, end, k in zip(edges[:-1], edges[1:], taken, strict=True):
            rows.append(np.sort(begin + rng.choice(end - begin, k, replace=False)))
            rows[-1] = stratum.rows[rows[-1]]
            which.append(np.full(k, place))
            zones.append(np.full(k, zone))
            weights.append(np.full(k, (end - begin) / k))
            zone += 1
    if not rows:
        none = np.zeros(0, np.int64)
        return Draw(none, none, none, np.zeros(0))
    return Draw(np.concatenate(rows), np.concatenate(which), np.concatenate(zones), np.concatenate(weights))


def proportional(counts: np.ndarray, total: int, least: int = 0) -> np.ndarray:
    """Share ``total`` by ``counts`` (strata,) float64, ``least`` each, at most what they hold; (strata,) int64."""
    counts = np.asarray(counts, np.float64)
    return allocate(counts, counts, total, least)


def allocate(need: np.ndarray, capacity: np.ndarray, total: int, least: int = 0) -> np.ndarray:
    """Share ``total`` by ``need`` (strata,), at least ``least`` and at most ``capacity`` of each; (strata,) int64."""
    need, capacity = np.asarray(need, np.float64), np.floor(np.asarray(capacity, np.float64))
    floor = np.minimum(least, capacity)
    low, high = 0.0, max(1.0, float(total)) / max(1e-300, float(need[need > 0].min(initial=1.0)))
    for _ in range(100):  # the factor at which the parts add up
        factor = (low + high) / 2
        if np.clip(need * factor, floor, capacity).sum() > total:
            high = factor
        else:
            low = factor
    exact = np.clip(need * low, floor, capacity)
    sizes = np.floor(exact)
    left = int(min(total, capacity.sum()) - sizes.sum())
    for place in np.argsort(sizes - exact, kind="stable")[: max(0, left)]:
        sizes[place] += sizes[place] < capacity[place]
    return sizes.astype(np.int64)
