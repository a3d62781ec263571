# SPDX-License-Identifier: MIT
"""What an order of review is worth, and what rounds of learning do: the parts of bench_loop.py that need embeddings."""

from __future__ import annotations

import collections
import csv
import functools
from pathlib import Path

import numpy as np

from cheep.config import FeatureConfig
from cheep.parallel import map_each
from cheep.season.order import by_value

BUDGETS = (40, 60, 80, 100, 140, 200, 300, 400, 600, 800, 1000, 1400, 2000)
ORDERS = ("random", "score", "value")
BATCH = 20
PER_HOUR = 0.5


class Pool:
    """Clips of a season and of sites held out, and what the first model was taught: embedding and presence of each."""

    def __init__(self, base, season, held) -> None:
        self.base_embedding, self.base_present = base
        self.embedding, self.present = season
        self.test_embedding, self.test_present = held
        self.held_hours = len(self.test_present) * 3 / 3600
        self.logit = self.taught(np.zeros(0, int), self.embedding)

    def taught(self, rows: np.ndarray, embedding: np.ndarray) -> np.ndarray:
        """Return the logits of a head taught by the first model's examples and the verdicts on ``rows``."""
        from sklearn.linear_model import LogisticRegression

        x = np.concatenate([self.base_embedding, self.embedding[rows]])
        y = np.concatenate([self.base_present, self.present[rows]])
        return LogisticRegression(C=1.0, class_weight="balanced", max_iter=300).fit(x, y).decision_function(embedding)


def simulated_pool(rng: np.random.Generator, clips: int = 12_000, dims: int = 24) -> Pool:
    """Return a season in a space of embeddings: common backgrounds, a few rare ones that look like calls, rare calls.

    The first model was taught by the common backgrounds and one of three kinds of call; sites held out have the same
    kinds of sound in other shares.
    """
    kinds, calls = 24, 3
    centre = rng.normal(0, 1.0, (kinds + calls, dims))
    for place in range(kinds - 6, kinds):  # look-alikes lie between a call and a background
        centre[place] = 0.6 * centre[kinds + place % calls] + 0.4 * centre[place]
    for place in range(1, calls):  # kinds of call have something in common
        centre[kinds + place] = 0.5 * centre[kinds] + 0.7 * centre[kinds + place]

    def draw(n: int, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        kind = rng.choice(kinds + calls, n, p=share / share.sum())
        return centre[kind] + rng.normal(0, 0.6, (n, dims)), kind >= kinds

    def site() -> np.ndarray:
        return rng.dirichlet(np.r_[np.full(kinds - 6, 4.0), np.full(6, 0.6), np.full(calls, 0.5)])

    base = np.r_[np.full(kinds - 6, 1.0), np.zeros(6), kinds - 6.0, np.zeros(calls - 1)]
    return Pool(draw(600, base), draw(clips, site()), draw(40_000, site()))


def recall_after(pool: Pool, rows: np.ndarray, per_hour: float = PER_HOUR) -> float:
    """Return recall on the held-out sites at ``per_hour`` false alarms, of a head taught by verdicts on ``rows``."""
    score = pool.taught(rows, pool.test_embedding)
    wrong = np.sort(score[~pool.test_present])[::-1]
    allowed = int(per_hour * pool.held_hours)
    return float((score[pool.test_present] > wrong[min(allowed, len(wrong) - 1)]).mean())


def verdicts_in_order(pool: Pool, order: str, most: int, rng: np.random.Generator) -> np.ndarray:
    """Return rows of the season in the order of review, (most,) int."""
    n = len(pool.logit)
    if order == "random":
        return rng.permutation(n)[:most]
    if order == "score":
        return np.argsort(-pool.logit, kind="stable")[:most]
    heard = np.zeros(0, int)
    while len(heard) < min(most, n):
        batch = by_value(pool.logit, pool.embedding, BATCH, heard=heard, present=pool.present[heard], seed=len(heard))
        heard = np.concatenate([heard, batch])
    return heard[:most]


def order_curves(number: int, seed: int) -> dict[str, list[float]]:
    """Return recall by budget for each order, on one simulated season."""
    rng = np.random.default_rng([seed, number, 7])
    pool = simulated_pool(rng)
    out = {}
    for order in ORDERS:
        most = BUDGETS[-1] if order == "random" else 400
        rows = verdicts_in_order(pool, order, most, rng)
        out[order] = [recall_after(pool, rows[:n]) for n in BUDGETS if n <= most]
    return out


def orders(seasons: int, seed: int) -> dict[str, object]:
    """Return what the loop's order reaches with 200 verdicts, and how many random ones it takes."""
    found = [item.value for item in map_each(functools.partial(order_curves, seed=seed), list(range(seasons)))]
    mean = {order: np.mean([item[order] for item in found], axis=0).tolist() for order in ORDERS}
    at_200 = mean["value"][BUDGETS.index(200)]
    random = np.maximum.accumulate(mean["random"])
    needed = float(np.interp(at_200, random, BUDGETS)) if random[-1] >= at_200 else float("inf")
    return {
        "loop.orders.seasons": seasons,
        "loop.verdict_ratio": round(needed / 200, 2) if np.isfinite(needed) else f"> {BUDGETS[-1] / 200:g}",
        **{
            f"loop.orders.{name}": dict(zip(BUDGETS, np.round(values, 3).tolist(), strict=False))
            for name, values in mean.items()
        },
    }


# -- rounds on real recordings ---------------------------------------------------------------


def rounds(data: Path, verdicts: int = 200, seed: int = 0) -> dict[str, object]:
    """Return false alarms per hour at 80 % of birds found, of two rounds on hard background over the first model.

    The stand-in for the network is a logistic head on statistics of the device's own log-mel columns (mean, deviation,
    extremes of each band over a second): fast, and not what ships; the figures are of the loop, not of the network.
    """
    windows = _real_windows(data)
    rng = np.random.default_rng(seed)
    x = np.stack([item[0] for item in windows])
    bird = np.array([item[1] for item in windows])
    group = np.array([item[2] for item in windows])
    hard = np.array([item[3] for item in windows])
    clip = np.array([item[4] for item in windows])
    names = rng.permutation(np.unique(group))
    test = np.isin(group, names[: len(names) // 2])
    train = ~test & (~hard | bird)
    season = ~test & hard & ~bird
    taught = np.flatnonzero(train)
    ratios, rates, intervals = [], [], []
    model = None
    for number in range(3):
        if number:
            score = _predict(model, x[season])
            order = np.flatnonzero(season)[np.argsort(-score)]
            fresh = order[~np.isin(clip[order], clip[taught])]
            first = fresh[np.unique(clip[fresh], return_index=True)[1]]
            first = first[np.argsort(-_predict(model, x[first]))][: verdicts // 2]
            taught = np.r_[taught, np.flatnonzero(np.isin(clip, clip[first]))]
        model = _fit(x[taught], bird[taught])
        score = _predict(model, x)
        rates.append(_alarms(score, bird, clip, group, test, hard))
        if number:
            ratios.append(rates[-1].sum() / max(1e-9, rates[0].sum()))
    draws = []
    for _ in range(500):
        w = np.bincount(rng.integers(0, len(rates[0]), len(rates[0])), minlength=len(rates[0]))
        if (w * rates[0]).sum():
            draws.append((w * rates[2]).sum() / (w * rates[0]).sum())
    intervals = np.quantile(draws, [0.025, 0.975]).round(3).tolist()
    return {
        "loop.rounds.false_alarm_ratio": round(float(ratios[-1]), 3),
        "loop.rounds.interval": intervals,
        "loop.rounds.by_round": [round(float(value), 3) for value in ratios],
        "loop.rounds.false_alarms": [int(item.sum()) for item in rates],
        "loop.rounds.hours": round(float(np.sum(test & hard & ~bird)) / 3600, 3),
        "loop.rounds.groups": len(rates[0]),
    }


def _alarms(score, bird, clip, group, test, hard) -> np.ndarray:
    """Return false alarms (clips) of each held-out hard group, where 80 % of held-out bird clips are found."""
    best: dict[int, float] = collections.defaultdict(lambda: -np.inf)
    for row in np.flatnonzero(test):
        best[clip[row]] = max(best[clip[row]], score[row])
    of_birds = np.sort([best[c] for c in np.unique(clip[test & bird])])
    threshold = of_birds[int(0.2 * len(of_birds))]
    names = np.unique(group[test & hard & ~bird])
    rows = test & hard & ~bird
    return np.array([len(np.unique(clip[rows & (group == name) & (score >= threshold)])) for name in names], float)


def _real_windows(data: Path) -> list[tuple[np.ndarray, bool, str, bool, int]]:
    with open(data / "manifest_bird_vs_background.csv", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["set"] != "soundscapes"]
    items = [(str(data / row["file"]), row["win1s_snr_lt4k_db"], row["binary"] == "bird") for row in rows]
    out = []
    for number, (row, outcome) in enumerate(zip(rows, map_each(_statistics, items), strict=True)):
        hard = row["set"] in ("us8k_more", "us8k_subset", "esc10")
        out += [(vector, row["binary"] == "bird", row["split_group"], hard, number) for vector in outcome.value]
    return out


def _statistics(item: tuple[str, str, bool]) -> list[np.ndarray]:
    from cheep.audio import read_audio
    from cheep.features import compute_features

    path, levels, bird = item
    config = FeatureConfig()
    columns = compute_features(read_audio(Path(path), config.sample_rate_hz), config)
    per_s = max(1, round(1 / config.hop_s))
    snr = [float(text) for text in levels.split(";") if text]
    out = []
    for second in range(max(1, len(columns) // per_s)):
        if bird and second < len(snr) and snr[second] < 12:
            continue
        part = columns[second * per_s : (second + 1) * per_s]
        if len(part) >= per_s // 2:
            level = part - np.median(part)
            out.append(
                np.concatenate([level.mean(0), level.std(0), level.max(0), np.abs(np.diff(level, axis=0)).mean(0)])
            )
    return out


def _fit(x: np.ndarray, y: np.ndarray):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=0.05, class_weight="balanced", max_iter=400)).fit(x, y)


def _predict(model, x: np.ndarray) -> np.ndarray:
    return model.decision_function(x)
