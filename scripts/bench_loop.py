#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The field loop, measured: do stated intervals hold, what is an order of review worth, what does a round of learning.

  python scripts/bench_loop.py --seasons 300 --json               simulated seasons
  python scripts/bench_loop.py --seasons 300 --data DIR --json    and rounds on real recordings

Prints loop.coverage.{precision,rate,recall}: the part of seasons whose interval (95 %) holds the truth, and
loop.verify_kept: the part in which "verify N" gave the promised half-width; beside them the same of the estimator that
ignores how clips were drawn. loop.verdict_ratio: how many times as many random verdicts it takes to reach what the
loop's order reaches with 200. With --data (folders with metadata.csv and manifest_bird_vs_background.csv, as
bench_accuracy.py takes them) loop.rounds.false_alarm_ratio. docs/field-loop.md has results, and what they are worth.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np

from bench_orders import orders, rounds
from cheep.parallel import map_each
from cheep.season.simulated import simulate_season
from cheep.season.sizes import parse_want
from cheep.season.trial import WHAT, Outcome, try_want

WANTS = ("precision:0.06", "rate:1/h", "recall:0.15")
KINDS, SLIPS = ("common", "rare"), (0.0, 0.03)


def main(argv: list[str] | None = None) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seasons", type=int, default=300, help="simulated seasons (default %(default)s)")
    parser.add_argument("--clips", type=int, default=40_000, help="clips of a season (default %(default)s)")
    parser.add_argument("--order-seasons", type=int, default=24, help="for the order of review (default %(default)s)")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--data", type=Path, metavar="DIR", help="real recordings, for the rounds")
    parser.add_argument("--json", action="store_true", help="one JSON object on the standard output")
    args = parser.parse_args(argv)
    result: dict[str, Any] = dict(intervals(args.seasons, args.clips, args.seed))
    result |= orders(args.order_seasons, args.seed)
    if args.data is not None:
        result |= rounds(args.data)
    if args.json:
        print(json.dumps(result, indent=1))
    else:
        for name, value in result.items():
            print(f"{name:45s} {value}")
    return 0


def intervals(seasons: int, clips: int, seed: int) -> dict[str, float | int | None]:
    """Return coverage and kept promises over simulated seasons, each with every wish."""
    work = functools.partial(outcomes_of, clips=clips, seed=seed)
    found: list[Outcome] = []
    for outcome in map_each(work, list(range(seasons))):
        if outcome.error is not None:
            raise outcome.error
        found += outcome.value
    out: dict[str, float | int | None] = {"loop.seasons": seasons}
    for what in WHAT:
        own = [item for item in found if what in (item.want, "rate" if item.want == "precision" else "")]
        out[f"loop.coverage.{what}"] = _share([item.held[what] for item in own])
        out[f"loop.coverage_naive.{what}"] = _share([item.naive_held[what] for item in own])
        for kind in KINDS:
            for slips in SLIPS:
                part = [item.held[what] for item in own if (item.kind, item.slips) == (kind, slips)]
                out[f"loop.coverage.{what}.{kind}.slips_{slips:g}"] = _share(part)
    promised = [item for item in found if item.promised]
    out["loop.verify_kept"] = _share([item.half <= item.wanted for item in promised])
    out["loop.verify_promised"] = len(promised) / max(1, len(found))
    for what in WHAT:
        own = [item for item in promised if item.want == what]
        out[f"loop.verify_kept.{what}"] = _share([item.half <= item.wanted for item in own])
        out[f"loop.verify_promised.{what}"] = len(own) / max(1, sum(item.want == what for item in found))
        out[f"loop.clips.{what}"] = float(np.median([item.clips for item in own])) if own else None
        out[f"loop.questions.{what}"] = float(np.median([item.questions for item in own])) if own else None
    return out


def outcomes_of(number: int, clips: int, seed: int) -> list[Outcome]:
    """Return what becomes of every wish on one season: by turns a common and a rare label, slips and none."""
    kind, slips = KINDS[number % 2], SLIPS[number // 2 % 2]
    season = simulate_season(np.random.default_rng([seed, number]), kind, clips)
    return [try_want(season, parse_want(want), slips, seed + number) for want in WANTS]


def _share(values: list[bool | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 4) if known else None


if __name__ == "__main__":
    raise SystemExit(main())
