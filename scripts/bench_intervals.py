# SPDX-License-Identifier: MIT
"""Do the intervals of false alarms per hour hold? Thresholds from some groups, counts in the others, again and again.

  python scripts/bench_accuracy.py --task bird --train DIR --keep KEEP       trains, and keeps the held-out scores
  python scripts/bench_intervals.py KEEP --json                              everything else is counting

Each draw parts the held-out background into two halves: by group (whole recordists, sources), and by kind of sound
(dogs, sirens, rain, ...: one half holds kinds that the other has never met). The threshold comes from one half by the
rule of cheep calibrate, for each wanted rate; what the other half shows is compared with the interval that was stated
for as many hours. --half 0 or 1 takes every group whose name's sha256 begins with an even or odd byte: the method was
chosen on half 0 and is judged on half 1. Scores of several folds are compared by probability. Seeds of a benchmark
heard the same recordings: each is drawn from alone, --draws times, and the means over the seeds are shown.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from bench_bird import Counted, Streamed
from bench_fold import STREAMED
from cheep import runs
from cheep.errors import CheepError
from cheep.evaluate.calibration import expected_rate
from cheep.evaluate.rates import fit_rates
from cheep.evaluate.sweep import LevelSweep

RATES = (30.0, 10.0, 5.0, 1.0)


class CountedSweep(LevelSweep):
    """The sweep of calibration over counts that are known: groups at every threshold."""

    def __init__(self, alarms: np.ndarray, hours: np.ndarray):
        self._alarms = dict(enumerate(alarms))  # levels are places in the table
        self.counts = {level: [] for level in self._alarms}
        self._group, self._groups, self._hours = np.arange(len(hours)), len(hours), hours
        self.hours, self._spreads = float(hours.sum()), {}


def places_by_seed(folders: list[Path]) -> list[list[Path]]:
    """Return the folders with held-out scores, those of one seed (``...-seedN``) together.

    Raises
    ------
    CheepError
        A folder holds no scores.
    """
    found: dict[str, set[Path]] = {}
    for path in (path for folder in folders for path in folder.rglob(STREAMED)):
        found.setdefault(path.parent.name.partition("-seed")[2], set()).add(path.parent)
    if not found:
        raise CheepError(
            f"{folders[0]}: no {STREAMED} in it or below; make it with bench_accuracy.py --task bird --keep"
        )
    return [sorted(found[seed]) for seed in sorted(found)]


def load_groups(places: list[Path]) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    """Return false alarms (thresholds, groups), hours, names and kinds of groups of background, of one seed's folds."""
    folds = [Counted(Streamed.load(place / STREAMED, place / runs.INT8_TFLITE)) for place in places]
    grid = np.append(np.unique(np.concatenate([fold.thresholds for fold in folds])), 1.0)
    alarms = np.concatenate([fold.at(grid)[0] for fold in folds], axis=1)
    hours = np.concatenate([fold.hours for fold in folds])
    names = [f"{group}" for fold in folds for group in fold.groups]
    kinds = [kind for fold in folds for kind in fold.streamed.kinds]
    keep = hours > 0
    groups, first, inverse = np.unique(np.array(names)[keep], return_index=True, return_inverse=True)
    table = np.array([np.bincount(inverse, row, len(groups)) for row in alarms[:, keep]])
    return table, np.bincount(inverse, hours[keep], len(groups)), groups.tolist(), np.array(kinds)[keep][first].tolist()


def coverage(
    alarms: np.ndarray, hours: np.ndarray, kinds: list[str], split: str, rate: float, draws: int, seed: int
) -> dict[str, float]:
    """Return how often the counts of one half lie in the interval that the other half stated, and means."""
    rng = np.random.default_rng([seed, int(rate * 10), split == "kind"])
    names, kind = np.unique(kinds, return_inverse=True)
    below = above = 0
    rows = []
    for _ in range(draws):
        if split == "group":
            first = rng.permutation(len(hours)) < len(hours) // 2
        else:
            first = (rng.permutation(len(names)) < len(names) // 2)[kind]
        sweep = CountedSweep(alarms[:, first], hours[first])
        level = sweep.lowest(lambda level, sweep=sweep: expected_rate(sweep, level) <= rate * (1 + 1e-12))
        if level is None:
            fewest = sweep.false_alarms(max(sweep.counts))
            level = sweep.lowest(lambda level, sweep=sweep, fewest=fewest: sweep.false_alarms(level) <= fewest)
        new_hours = float(hours[~first].sum())
        low, high = fit_rates(*sweep.by_group(level), chosen=True).predict(new_hours)
        count = float(alarms[level, ~first].sum())
        below, above = below + (count < low), above + (count > high)
        rows.append((expected_rate(sweep, level), count / new_hours, low / new_hours, high / new_hours))
    expected, counted, low, high = np.mean(rows, axis=0)
    return {
        "inside": 1 - (below + above) / draws,
        "above": above / draws,
        "expected": expected,
        "counted": counted,
        "foretold_low": low,
        "foretold_high": high,
    }


def _half(
    alarms: np.ndarray, hours: np.ndarray, groups: list[str], kinds: list[str], half: int
) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    mine = np.array([hashlib.sha256(name.encode()).digest()[0] & 1 == half for name in groups])
    return (
        alarms[:, mine],
        hours[mine],
        [name for name, keep in zip(groups, mine, strict=True) if keep],
        [kind for kind, keep in zip(kinds, mine, strict=True) if keep],
    )


def main() -> int:
    """Measure the coverage and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("keep", type=Path, nargs="+", help="folders of bench_accuracy.py --task bird --keep")
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES), help="false alarms an hour")
    parser.add_argument("--half", type=int, choices=(0, 1), help="use only this half of the groups")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print a list of name, value, unit")
    args = parser.parse_args()
    try:
        seeds = [load_groups(places) for places in places_by_seed(args.keep)]
    except CheepError as error:
        print(f"bench_intervals.py: {error}", file=sys.stderr)
        return error.exit_status
    if args.half is not None:
        seeds = [_half(*seed, args.half) for seed in seeds]
    _, hours, _, kinds = seeds[0]
    print(
        f"{len(hours)} groups, {len(set(kinds))} kinds, {hours.sum():.2f} h, never trained on; {len(seeds)} seeds",
        file=sys.stderr,
    )
    values = []
    for split in ("group", "kind"):
        for rate in args.rates:
            drawn = [coverage(alarms, hours, kinds, split, rate, args.draws, args.seed)
                     for alarms, hours, _, kinds in seeds]  # fmt: skip
            found = {name: float(np.mean([item[name] for item in drawn])) for name in drawn[0]}
            units = {"inside": "share of draws", "above": "share of draws"}
            values += [
                {
                    "name": f"intervals.{split}.{rate:g}_per_hour.{key}",
                    "value": float(value),
                    "unit": units.get(key, "1/h"),
                }
                for key, value in found.items()
            ]
            if not args.json:
                print(
                    f"by {split:5}, for {rate:4g}/h: {found['inside']:6.1%} of {len(seeds)} x {args.draws} inside "
                    f"({found['above']:.1%} above); expected {found['expected']:.1f}, counted {found['counted']:.1f}, "
                    f"foretold {found['foretold_low']:.1f} to {found['foretold_high']:.1f}",
                    flush=True,
                )
    if args.json:
        print(json.dumps(values, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
