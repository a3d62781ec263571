# SPDX-License-Identifier: MIT
"""Seasons of which the truth is known: to see whether stated intervals hold it.

Sites are unlike each other (how often the label is there, how far its callers are, how loud the place is), nights are
correlated (a warm night has more of everything, a cricket or rain raises the scores of a whole night at a site), calls
come in bouts, and both drift over the season.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from cheep.season.frame import CLIP_S, Frame


@dataclasses.dataclass(frozen=True)
class SimulatedSeason:
    """A frame and its truth, ``present`` (n,) bool; ``kind`` says what sort of season it is."""

    frame: Frame
    present: np.ndarray
    kind: str


def simulate_season(rng: np.random.Generator, kind: str = "common", clips: int = 60_000) -> SimulatedSeason:
    """Return a season of about ``clips`` clips.

    Parameters
    ----------
    kind : {"common", "rare"}
        The label is in some 8 % of the clips, or in some 0.5 %.
    """
    n_sites, n_nights = int(rng.integers(3, 9)), int(rng.integers(12, 41))
    per_night = max(20, clips // (n_sites * n_nights))
    shape = (n_sites, n_nights, per_night)
    day = np.linspace(-0.5, 0.5, n_nights)[None, :, None]
    base = -3.0 if kind == "common" else -6.0
    warm = _correlated(rng, n_nights, 0.7)[None, :, None]
    often = base + rng.normal(0, 0.9, (n_sites, 1, 1)) + 0.6 * warm + rng.normal(0, 0.5) * 2 * day
    often = often + rng.normal(0, 0.5, (n_sites, n_nights, 1))
    present = _bouts(rng, 1 / (1 + np.exp(-often)), shape)

    near = rng.normal(0, 0.7, (n_sites, 1, 1))
    noise = rng.normal(0, 0.5, (n_sites, 1, 1)) + 0.4 * _correlated(rng, n_nights, 0.5)[None, :, None]
    drift = rng.normal(0, 0.6) * day
    score = np.where(present, 1.0 + near - 0.3 * noise, -4.0 + noise + drift)
    score = score + np.where(present, rng.normal(0, 1.8, shape), rng.normal(0, 1.0, shape))
    cricket = (rng.random((n_sites, n_nights, 1)) < 0.08) & (rng.random(shape) < 0.25)
    score = np.where(cricket & ~present, score + rng.normal(3.2, 1.0, shape), score)

    absent = np.sort(score[~present])
    threshold = absent[int(len(absent) * (1 - 10 ** rng.uniform(-3.5, -2)))]
    found, peaks = _detections(score >= threshold, score)
    site, night, _ = np.indices(shape)
    n = score.size
    frame = Frame(
        score=score.ravel().astype(np.float32),
        detections=peaks.ravel().astype(np.int16),
        found=found.ravel(),
        site=site.ravel().astype(np.int32),
        night=night.ravel().astype(np.int32),
        month=(night.ravel() // 15).astype(np.int32),
        hours=np.full(n, CLIP_S / 3600, np.float32),
        recording=(site * n_nights + night).ravel().astype(np.int32),
        start_s=(np.arange(n) % per_night * CLIP_S).astype(np.float32),
        sites=tuple(f"site{i}" for i in range(n_sites)),
        nights=tuple(f"night{i:02d}" for i in range(n_nights)),
        months=tuple(f"2026-{i + 4:02d}" for i in range(n_nights // 15 + 1)),
        recordings=tuple(f"s{i}n{j}" for i in range(n_sites) for j in range(n_nights)),
    )
    return SimulatedSeason(frame, present.ravel(), kind)


def _correlated(rng: np.random.Generator, n: int, rho: float) -> np.ndarray:
    """Return (n,) values of variance 1, each like the one before it."""
    steps = rng.normal(size=n)
    out = np.empty(n)
    out[0] = steps[0]
    for i in range(1, n):
        out[i] = rho * out[i - 1] + np.sqrt(1 - rho**2) * steps[i]
    return out


def _bouts(rng: np.random.Generator, share: np.ndarray, shape: tuple[int, ...], length: float = 4.0) -> np.ndarray:
    """Return presence in bouts of ``length`` clips on average, in ``share`` of the clips."""
    starts = rng.random(shape) < np.broadcast_to(share, shape) / length
    lengths = rng.geometric(1 / length, shape)
    present = np.zeros(shape, bool)
    for back in range(int(lengths.max())):
        on = starts & (lengths > back)
        present[..., back:] |= on[..., : shape[-1] - back] if back else on
    return present


def _detections(over: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which clips a detection reaches into, and where its peak is: clips over the threshold in a row are one."""
    flat, values = over.reshape(-1, over.shape[-1]), score.reshape(-1, over.shape[-1])
    before = np.pad(flat, ((0, 0), (1, 0)))[:, :-1]
    run = np.cumsum(flat & ~before, axis=None).reshape(flat.shape) * flat
    peaks = np.zeros(flat.shape, int)
    order = np.lexsort((-values.ravel(), run.ravel()))
    ordered = run.ravel()[order]
    first = np.r_[True, ordered[1:] != ordered[:-1]] & (ordered > 0)
    peaks.ravel()[order[first]] = 1
    return over, peaks.reshape(over.shape)
