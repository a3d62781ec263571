# SPDX-License-Identifier: MIT
"""One kept bird benchmark, or two beside each other: the same folds, seeds and groups, with intervals.

  python scripts/bench_accuracy.py --task bird --train DIR --seeds 1,2,3 --keep A
  python scripts/bench_accuracy.py --task bird --train DIR --seeds 1,2,3 --keep B --set augment.time_warp=0.2
  python scripts/bench_paired.py A B               what B is worth over A
  python scripts/bench_paired.py A B --json
  python scripts/bench_paired.py A                 what A reaches, seed by seed
  python scripts/bench_paired.py A --without freesound:26255,freesound:4201
  python scripts/bench_paired.py A --background DIR     birds held out as before, background that no fold knows

Figures are means over the seeds that both have, all folds of a seed under one threshold. Intervals: 95 % of 500 draws
of whole groups, the same draw for both and for all seeds, so that what is hard for both cancels in their difference.
The worst group is the source of background with the most false alarms at 80 % event recall. --without leaves the
background of these groups out. --background judges on every recording in a folder (a group each, known to hold no bird)
in place of the held-out background, and names those with the most false alarms.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from bench_bird import BIRD, EVENT_RECALL, Counted, Pooled, Streamed
from bench_fold import STATE, STREAMED
from bench_leaderboard import deviation
from cheep import runs
from cheep.audio import audio_files
from cheep.device.bundle import load_bundle
from cheep.errors import CheepError
from cheep.evaluate.streaming import score_recordings
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


def pooled(folders: list[Path], background: Path | None = None) -> Pooled:
    """Return the folds of one seed under one threshold; on ``background`` in place of what they were judged on."""
    return Pooled([Counted(streamed(folder, background)) for folder in folders])


def streamed(folder: Path, background: Path | None) -> Streamed:
    """Return the scores of a kept fold: its birds, with its own background or with every recording in a folder.

    Raises
    ------
    CheepError
        The folder holds no audio, or a recording that cannot be read.
    """
    kept = Streamed.load(folder / STREAMED, folder / runs.INT8_TFLITE)
    if background is None:
        return kept
    bundle = load_bundle(folder / runs.INT8_TFLITE)
    print(f"{folder.name}: hears {background}", file=sys.stderr, flush=True)
    plan = [(file, file.relative_to(background).as_posix(), ()) for file in audio_files(background)]
    heard = [item for item in score_recordings(bundle, plan) if len(item.scores) >= kept.detector.smoothing_windows]
    birds = [(item, kind) for item, kind in zip(kept.recordings, kept.kinds, strict=True) if item.annotations]
    items = [*(item for item, _ in birds), *heard]
    return Streamed(items, [*(kind for _, kind in birds), *(item.group for item in heard)], kept.output, kept.detector)


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


def compare(
    first: Path, second: Path, draws: int = DRAWS, without: Sequence[str] = (), background: Path | None = None
) -> dict[str, Any]:
    """Return figures of two kept benchmarks and their differences (second less first), without these groups.

    Raises
    ------
    CheepError
        They have no seed with the same folds in common, or heard other recordings.
    """
    kept = [seeds_of(first), seeds_of(second)]
    seeds = [seed for seed in kept[0] if kept[0][seed].keys() == kept[1].get(seed, {}).keys()]
    if not seeds:
        raise CheepError(f"{first}, {second}: no seed has the same finished folds in both; train what is missing")
    arms = [[pooled(list(side[seed].values()), background) for seed in seeds] for side in kept]
    reference = arms[0][0]
    for item in (item for arm in arms for item in arm):
        if (
            not np.array_equal(item.groups, reference.groups)
            or abs(item.hours.sum() / reference.hours.sum() - 1) > 0.02
        ):
            raise CheepError(f"{first}, {second}: they were judged on other recordings; draw the folds alike")
    by_seed, drawn = _drawn(arms, draws, without)
    low, high = np.quantile(drawn[1] - drawn[0], [0.025, 0.975], axis=0)
    rows: dict[str, dict[str, Any]] = {}
    for place, name in enumerate(FIGURES):
        values = [[figure[place] for figure in arm] for arm in by_seed]
        rows[name] = _row(values) | {"low": float(low[place]), "high": float(high[place])}
    about = _about(seeds, len(kept[0][seeds[0]]), reference, without, background) | {"rows": rows}
    if background is not None:
        return about | {"most": _most([item for arm in arms for item in arm], rows)}
    fold_aucs = [[aucs(list(side[seed].values())) for seed in seeds] for side in kept]
    rows[AUC] = _row([[float(np.mean(folds)) for folds in arm] for arm in fold_aucs])
    paired = np.subtract(fold_aucs[1], fold_aucs[0]).mean(axis=0)  # by fold
    rows[AUC] |= {"low": float(paired.mean()) - deviation(paired), "high": float(paired.mean()) + deviation(paired)}
    rows[WORST_AUC] = _row([[float(np.min(folds)) for folds in arm] for arm in fold_aucs])
    return about


def reached(
    keep: Path, draws: int = DRAWS, without: Sequence[str] = (), background: Path | None = None
) -> dict[str, Any]:
    """Return the figures of one kept benchmark with intervals, without these groups.

    Raises
    ------
    CheepError
        It has no finished fold, or its seeds have not the same folds.
    """
    kept = seeds_of(keep)
    if len({tuple(folds) for folds in kept.values()}) > 1:
        finished = "; ".join(f"{seed or 'the recipe’s'}: {', '.join(map(str, kept[seed]))}" for seed in kept)
        raise CheepError(f"{keep}: its seeds have not the same finished folds ({finished}); train what is missing")
    arm = [pooled(list(folds.values()), background) for folds in kept.values()]
    (by_seed,), (drawn,) = _drawn([arm], draws, without)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    rows: dict[str, dict[str, Any]] = {}
    for place, name in enumerate(FIGURES):
        values = [figure[place] for figure in by_seed]
        rows[name] = {"mean": float(np.mean(values)), "by_seed": values}
        rows[name] |= {"low": float(low[place]), "high": float(high[place])}
    about = _about(list(kept), len(next(iter(kept.values()))), arm[0], without, background) | {"rows": rows}
    if background is not None:
        return about | {"most": _most(arm, rows)}
    fold_aucs = [aucs(list(folds.values())) for folds in kept.values()]
    for name, of_folds in ((AUC, np.mean), (WORST_AUC, np.min)):
        values = [float(of_folds(folds)) for folds in fold_aucs]
        rows[name] = {"mean": float(np.mean(values)), "by_seed": values}
    return about


def _most(items: Sequence[Pooled], rows: dict[str, Any], count: int = 10) -> dict[str, float]:
    """Return the recordings with the most false alarms at EVENT_RECALL, mean of networks; the row of the worst goes."""
    del rows[FIGURES[-1]]  # each fold hears every recording: it would count as often as there are folds
    every = [np.bincount(i.group, i.alarms_at(EVENT_RECALL, np.ones(len(i.hours))), len(i.groups)) for i in items]
    networks = np.bincount(items[0].group, items[0].hours > 0, len(items[0].groups))
    mean = np.mean(every, axis=0) / np.maximum(1, networks)
    order = np.argsort(-mean, kind="stable")[:count]
    return {str(items[0].groups[place]): float(mean[place]) for place in order if mean[place] > 0}


def _drawn(arms: list[list[Pooled]], draws: int, without: Sequence[str]) -> tuple[list[list[list[float]]], np.ndarray]:
    """Return the FIGURES of each arm and seed, and means over the seeds of drawn groups, (arms, draws, FIGURES)."""
    reference = arms[0][0]
    unknown = sorted(set(without) - set(reference.groups))
    if unknown:
        raise CheepError(f"--without {unknown[0]}: no group of this name, as {reference.groups[0]!r}")
    kept = [[~(np.isin(item.groups, without)[item.group] & (item.hours > 0)) for item in arm] for arm in arms]

    def of(weights: Callable[[Pooled], np.ndarray]) -> list[list[list[float]]]:
        return [
            [figures(item, weights(item) * keep) for item, keep in zip(*pair, strict=True)]
            for pair in zip(arms, kept, strict=True)
        ]

    rng = np.random.default_rng(1)
    means = []
    for _ in range(draws):
        counts = reference.draw_groups(rng)
        means.append(np.mean(of(lambda item, counts=counts: counts[item.group]), axis=1))
    return of(lambda item: np.ones(len(item.hours))), np.swapaxes(means, 0, 1)


def _about(
    seeds: list[str], folds: int, reference: Pooled, without: Sequence[str], background: Path | None
) -> dict[str, Any]:
    heard = 1 if background is None else folds  # how many networks heard each recording of background
    left_out = np.isin(reference.groups, without)[reference.group] & (reference.hours > 0)
    return {
        "seeds": [seed or "the recipe's" for seed in seeds],
        "folds": folds,
        "hours": float(reference.hours[~left_out].sum()) / heard,
        "groups": len(reference.groups),
        "left_out": {"groups": list(without), "recordings": int(left_out.sum()) // heard},
    }


def _row(values: list[list[float]]) -> dict[str, Any]:
    first, second = (float(np.mean(arm)) for arm in values)
    return {"first": first, "second": second, "difference": second - first, "by_seed": values}


def table(found: dict[str, Any], names: Sequence[str]) -> str:
    """Return the comparison, or the figures of one, as Markdown."""
    head = (
        f"{len(found['seeds'])} seeds, {found['folds']} folds, {found['hours']:.2f} h of background, "
        f"{found['groups']} groups (background and birds)"
    )
    if found["left_out"]["groups"]:
        head += f"; without {found['left_out']['recordings']} recordings of {', '.join(found['left_out']['groups'])}"
    last = "95 %, by group" if len(names) == 1 else "difference (95 %, by group)"
    lines = [head, "", f"| | {' | '.join(f'{name} (by seed)' for name in names)} | {last} |"]
    lines.append("|---|" + "---|" * (len(names) + 1))
    for name, row in found["rows"].items():
        digits = 1 if name.startswith("false") else 3
        sides = ("first", "second") if len(names) == 2 else ("mean",)
        by_seed = row["by_seed"] if len(names) == 2 else [row["by_seed"]]
        cells = [
            f"{row[side]:.{digits}f} ({', '.join(f'{value:.{digits}f}' for value in values)})"
            for side, values in zip(sides, by_seed, strict=True)
        ]
        if len(names) == 1:
            last = f"{row['low']:.{digits}f} to {row['high']:.{digits}f}" if "low" in row else ""
        else:
            between = f" ({row['low']:+.{digits}f} to {row['high']:+.{digits}f})" if "low" in row else ""
            last = f"{row['difference']:+.{digits}f}{between}"
        lines.append(f"| {name} | {' | '.join(cells)} | {last} |")
    if found.get("most"):
        lines += ["", f"False alarms at {EVENT_RECALL * 100:.0f} %, mean of the networks:"]
        lines += [f"  {alarms:6.2f}  {name}" for name, alarms in found["most"].items()]
    return "\n".join(lines)


def main() -> int:
    """Judge or compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path, metavar="A", help="--keep of bench_accuracy.py --task bird")
    parser.add_argument("second", type=Path, metavar="B", nargs="?", help="the same, of other settings")
    parser.add_argument("--without", default="", metavar="GROUP,GROUP", help="leave the background of these out")
    parser.add_argument("--background", type=Path, metavar="DIR", help="judge on these recordings without birds")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    without = [name for name in args.without.split(",") if name]
    names = [path.name for path in (args.first, args.second) if path is not None]
    try:
        found = (
            reached(args.first, DRAWS, without, args.background)
            if args.second is None
            else compare(args.first, args.second, DRAWS, without, args.background)
        )
    except CheepError as error:
        print(f"bench_paired.py: {error}", file=sys.stderr)
        return error.exit_status
    print(json.dumps(found, indent=1) if args.json else table(found, names))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
