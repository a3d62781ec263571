# SPDX-License-Identifier: MIT
"""Two kept bird benchmarks beside each other: the same folds, seeds and groups, differences with intervals.

  python scripts/bench_accuracy.py --task bird --train DIR --seeds 1,2,3 --keep A
  python scripts/bench_accuracy.py --task bird --train DIR --seeds 1,2,3 --keep B --set augment.time_warp=0.2
  python scripts/bench_paired.py A B               what B is worth over A
  python scripts/bench_paired.py A B --json

Figures are means over the seeds that both have, all folds of a seed under one threshold. Intervals of differences: 95 %
of 500 draws of whole groups, the same draw for both and for all seeds, so that what is hard for both cancels. The worst
group is the source of background with the most false alarms at 80 % event recall.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from bench_bird import BIRD, EVENT_RECALL, Counted, Pooled, Streamed
from bench_fold import STATE, STREAMED
from bench_leaderboard import deviation
from cheep import runs
from cheep.errors import CheepError
from cheep.files import read_json

RATES = (10.0, 5.0, 1.0)
DRAWS = 500
FIGURES = (
    f"false alarms an hour at {EVENT_RECALL * 100:.0f} %",
    *(f"recall at {rate:g} an hour" for rate in RATES),
    f"false alarms of the worst group at {EVENT_RECALL * 100:.0f} %",
)
AUC, WORST_AUC = "window ROC AUC", "window ROC AUC of the worst fold"


def seeds_of(keep: Path) -> dict[str, dict[int, Path]]:
    """Return the finished folds of a kept benchmark by seed ("" : the recipe's own).

    Raises
    ------
    CheepError
        There are none.
    """
    out: dict[str, dict[int, Path]] = {}
    for path in sorted(keep.glob(f"{BIRD}-*/{STREAMED}")):
        fold, _, seed = path.parent.name.removeprefix(f"{BIRD}-").partition("-seed")
        if "result" in read_json(path.parent / STATE, "bench_accuracy.py"):
            out.setdefault(seed, {})[int(fold)] = path.parent
    if not out:
        raise CheepError(f"{keep}: no finished fold of the bird task; bench_accuracy.py --task bird --keep {keep}")
    return out


def pooled(folders: list[Path]) -> Pooled:
    """Return the folds of one seed under one threshold."""
    return Pooled([Counted(Streamed.load(folder / STREAMED, folder / runs.INT8_TFLITE)) for folder in folders])


def figures(item: Pooled, weights: np.ndarray) -> list[float]:
    """Return FIGURES of one seed; ``weights`` as in :class:`Pooled`."""
    alarms = item.alarms_at(EVENT_RECALL, weights)
    worst = np.bincount(item.group, alarms).max() if len(alarms) else 0.0
    rate = alarms.sum() / max(1e-9, float(item.hours @ weights))
    return [float(rate), *item.recalls(RATES, weights), float(worst)]


def aucs(folders: list[Path]) -> list[float]:
    """Return the int8 window ROC AUC of each fold."""
    read = [read_json(folder / runs.EVALUATION, "bench_accuracy.py") for folder in folders]
    return [item["metrics"]["int8"]["test"]["window_auc"] for item in read]


def compare(first: Path, second: Path, draws: int = DRAWS) -> dict[str, Any]:
    """Return figures of two kept benchmarks and their differences (second less first).

    Raises
    ------
    CheepError
        They have no seed with the same folds in common, or heard other recordings.
    """
    kept = [seeds_of(first), seeds_of(second)]
    seeds = [seed for seed in kept[0] if kept[0][seed].keys() == kept[1].get(seed, {}).keys()]
    if not seeds:
        raise CheepError(f"{first}, {second}: no seed has the same finished folds in both; train what is missing")
    arms: list[list[Pooled]] = [[pooled(list(side[seed].values())) for seed in seeds] for side in kept]
    reference = arms[0][0]
    for item in (item for arm in arms for item in arm):
        if (
            not np.array_equal(item.groups, reference.groups)
            or abs(item.hours.sum() / reference.hours.sum() - 1) > 0.02
        ):
            raise CheepError(f"{first}, {second}: they were judged on other recordings; draw the folds alike")
    by_seed = [[figures(item, np.ones(len(item.hours))) for item in arm] for arm in arms]
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(draws):
        counts = reference.draw_groups(rng)
        means = [np.mean([figures(item, counts[item.group]) for item in arm], axis=0) for arm in arms]
        drawn.append(means[1] - means[0])
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    rows: dict[str, dict[str, Any]] = {}
    for place, name in enumerate(FIGURES):
        values = [[figure[place] for figure in arm] for arm in by_seed]
        rows[name] = _row(values) | {"low": float(low[place]), "high": float(high[place])}
    fold_aucs = [[aucs(list(side[seed].values())) for seed in seeds] for side in kept]
    rows[AUC] = _row([[float(np.mean(folds)) for folds in arm] for arm in fold_aucs])
    paired = np.subtract(fold_aucs[1], fold_aucs[0]).mean(axis=0)  # by fold
    rows[AUC] |= {"low": float(paired.mean()) - deviation(paired), "high": float(paired.mean()) + deviation(paired)}
    rows[WORST_AUC] = _row([[float(np.min(folds)) for folds in arm] for arm in fold_aucs])
    return {
        "seeds": [seed or "the recipe's" for seed in seeds],
        "folds": len(kept[0][seeds[0]]),
        "hours": float(reference.hours.sum()),
        "groups": len(reference.groups),
        "rows": rows,
    }


def _row(values: list[list[float]]) -> dict[str, Any]:
    first, second = (float(np.mean(arm)) for arm in values)
    return {"first": first, "second": second, "difference": second - first, "by_seed": values}


def table(found: dict[str, Any], names: tuple[str, str]) -> str:
    """Return the comparison as Markdown."""
    lines = [
        f"{len(found['seeds'])} seeds, {found['folds']} folds, {found['hours']:.2f} h of background, "
        f"{found['groups']} groups (background and birds)",
        "",
        f"| | {names[0]} (by seed) | {names[1]} (by seed) | difference (95 %, by group) |",
        "|---|---|---|---|",
    ]
    for name, row in found["rows"].items():
        digits = 1 if name.startswith("false") else 3
        cells = [
            f"{row[side]:.{digits}f} ({', '.join(f'{value:.{digits}f}' for value in values)})"
            for side, values in zip(("first", "second"), row["by_seed"], strict=True)
        ]
        between = f" ({row['low']:+.{digits}f} to {row['high']:+.{digits}f})" if "low" in row else ""
        lines.append(f"| {name} | {' | '.join(cells)} | {row['difference']:+.{digits}f}{between} |")
    return "\n".join(lines)


def main() -> int:
    """Compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path, metavar="A", help="--keep of bench_accuracy.py --task bird")
    parser.add_argument("second", type=Path, metavar="B", help="the same, of other settings")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    try:
        found = compare(args.first, args.second)
    except CheepError as error:
        print(f"bench_paired.py: {error}", file=sys.stderr)
        return error.exit_status
    print(json.dumps(found, indent=1) if args.json else table(found, (args.first.name, args.second.name)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
