# SPDX-License-Identifier: MIT
"""Accuracy of the committed recipes on real recordings, through the int8 device path.

  python scripts/bench_accuracy.py --task bird --train DIR              cross-validated by split_group (ESC-10: by fold)
  python scripts/bench_accuracy.py --task bird --train DIR --seeds 1,2,3
  python scripts/bench_accuracy.py --task esc10 --train DIR --test DIR2 --json

DIR holds one folder per set (``esc10``, ``xc_species3``, ...) with ``LABEL/*.flac`` and ``metadata.csv``
(file, label, split_group, fold, ...); for the bird task ``manifest_bird_vs_background.csv`` with the levels of each
second. Every fold trains recipes/TASK.yaml from its seed, as cheep run would (data, training, int8 model: the same
functions); the scores are those of the int8 model in TensorFlow Lite Micro. What is to be judged is looked at before
the first training; every finished training and its figures are kept (--keep, default build/bench/TASK-...), so that the
same command, given again, goes on where it was.

  python scripts/bench_accuracy.py --task bird --train DIR --verify recipes/bird_verify.yaml

judges the recipe with a second network behind it (``bird.two_stage.*``, docs/verify.md), trained on the same folds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from bench_bird import (
    BIRD,
    EVENT_RECALL,
    STRONGEST,
    Counted,
    alarms_by_kind,
    bird_windows,
    check_birds,
    jura_windows,
    operating_points,
    synthetic_windows,
)
from bench_fold import digest, forest_accuracy, run_fold, without_gaps
from bench_two_stages import check_second, judge, load_fold
from cheep.audio import probe
from cheep.config import DataConfig, RunFile, SplitConfig, VoicesConfig, load_run_file
from cheep.datasets.manifest import Manifest
from cheep.datasets.split import assign_splits, fold_splits
from cheep.ears import Ears
from cheep.errors import CheepError
from cheep.evaluate.field import alarm_rate
from cheep.files import write_csv, write_json
from cheep.job.split import make_examples

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
#: What is judged; recipes/TASK.yaml has its data section, which says how windows are cut and folds are made.
TASKS = (BIRD, "xc_species3", "esc10", "fsdd_digits")


def data_of(task: str, recipe: RunFile, args: argparse.Namespace) -> DataConfig:
    """Return how windows are cut and split: as the recipe says, or, where it does not cross-validate, the task's."""
    data = recipe.data
    if not data.split.cross_validate:
        data = load_run_file(RECIPES / f"{task}.yaml").data
        windows = data.windows.model_copy(update={"window_s": recipe.data.windows.window_s})
        data = data.model_copy(update={"windows": windows, "sample_rate_hz": recipe.data.sample_rate_hz})
    split = data.split if args.seed is None else data.split.model_copy(update={"seed": args.seed})
    if args.test:
        split = split.model_copy(update={"cross_validate": False, "fold_count": 0, "test": 0.0})
    return data.model_copy(update={"folder": "", "csv": "", "audio_root": "", "split": split})


def examples_of(task: str, recipe: RunFile, args: argparse.Namespace, folder: Path) -> Manifest:
    """Return the windows of a task, to be split: as cheep run cuts them, or (bird) by the levels of each second."""

    def of(root: Path, voices: VoicesConfig | None) -> Manifest:
        if task == BIRD:
            features = recipe.features
            rows = bird_windows(root.resolve(), features.window_s, features.sample_rate_hz)
            return Manifest.from_rows(rows, root.resolve())
        data = data_of(task, recipe, args)
        whole = data.split.model_copy(update={"cross_validate": True})
        data = data.model_copy(update={"folder": str(root / task), "split": whole})
        return make_examples(data, folder, voices).manifest

    manifest = of(args.train, recipe.voices)
    if task == BIRD and recipe.data.synthetic_background is not None:
        rate, window_s = recipe.features.sample_rate_hz, recipe.features.window_s
        made = synthetic_windows(recipe.data.synthetic_background, rate, window_s, folder / "synthetic")
        manifest = Manifest.from_rows([*manifest.anchored().rows(), *made])
    if not args.test:
        return manifest
    tests = of(args.test, None)
    tests = tests.with_column("split", ["test"] * len(tests))
    return Manifest.from_rows([*manifest.anchored().rows(), *tests.anchored().rows()])


def splits(manifest: Manifest, config: SplitConfig) -> list[Manifest]:
    """Return the manifest once per fold; once where the test set is given."""
    if config.cross_validate:
        return [part for _, part in fold_splits(manifest, config)]
    names = np.array(manifest.column("split"), object)
    drawn = np.array(names == "", bool)
    if drawn.any():
        names[drawn] = assign_splits(manifest.select(drawn), config).column("split")
    return [manifest.with_column("split", names.tolist())]


def load_recipe(task: str, path: Path | None, changes: Sequence[str] = ()) -> RunFile:
    """Return ``recipes/TASK.yaml`` or another run file, with ``section.key=value`` changes."""
    return load_run_file(path or RECIPES / f"{task}.yaml", changes)


def summary(task: str, results: list[dict[str, Any]], forests: list[float]) -> dict[str, tuple[float, str]]:
    """Return (value, unit) by name of one seed: means over folds of the int8 model, deviations, sizes."""
    out: dict[str, tuple[float, str]] = {}

    def add(name: str, values: list[float], unit: str) -> None:
        values = [value for value in values if value is not None]
        if values:
            out[f"{task}.{name}"] = (float(np.mean(values)), unit)
            if len(values) > 1:
                out[f"{task}.{name}.std"] = (float(np.std(values, ddof=1)), unit)

    for key, name in (("clip_accuracy", "clip_accuracy"), ("window_auc", "window_auc"), ("clip_auc", "clip_auc")):
        for model, prefix in (("int8", ""), ("float", "float.")):
            add(prefix + name, [r["metrics"][model]["test"][key] for r in results if model in r["metrics"]], "1")
    add("streamed_clip_accuracy", [r.get("streamed") for r in results], "1")
    if forests:
        add("forest.clip_accuracy", forests, "1")
    add("train_seconds", [r["seconds"] for r in results], "s")
    if "memory" not in results[0]:
        return out
    if any(r["narrow_windows"] for r in results):
        add("full_band.window_auc", [r["full_band"] and r["full_band"]["window_auc"] for r in results], "1")
    if "field" in results[0]:
        add("jura.window_auc", [r["field"]["window_auc"] for r in results], "1")
    add("model_bytes", [r["bytes"]["int8"] for r in results], "B")
    add("arena_bytes", [r["bytes"]["arena"] for r in results], "B")
    for name in results[0]["memory"]:
        add(name, [r["memory"][name] for r in results], "B")
    if counted := [r["counted"] for r in results if "counted" in r]:
        out |= {f"{task}.{name}": value for name, value in bird_figures(counted).items()}
    return out


def bird_figures(folds: list[Counted]) -> dict[str, tuple[float, str]]:
    """Return false alarms an hour at 80 % recall, recall at given rates, both with intervals by group, and by kind."""
    out: dict[str, tuple[float, str]] = {}
    pairs = [
        (group, part)
        for fold in folds
        for group, item, part in zip(fold.groups, fold.streamed.recordings, fold.at_recall(), strict=True)
        if not item.annotations
    ]
    groups, parts = zip(*pairs, strict=True)
    rate = alarm_rate(parts, groups)
    name = f"false_alarms_per_hour_at_{EVENT_RECALL * 100:.0f}_recall"
    for end, value in (("", rate.value), (".low", rate.low), (".high", rate.high)):
        out[name + end] = (value, "1/h")
    out["background_hours"] = (sum(part.hours for part in parts), "h")
    out["background_groups"] = (float(len(set(groups))), "1")
    points = operating_points(folds)
    for rate_, (value, low, high, extrapolated) in points.recall.items():
        name = f"recall_at_{rate_:g}_per_hour"
        for end, number in (("", value), (".low", low), (".high", high)):
            out[name + end] = (number, "1 (extrapolated)" if extrapolated else "1")
    for kind, hours, alarms in alarms_by_kind(folds):
        out[f"kind.{kind.replace(' ', '_')}.false_alarms_at_80_recall"] = (float(alarms), f"in {hours:.3f} h")
    return out


def over_seeds(by_seed: dict[int, dict[str, tuple[float, str]]]) -> list[dict[str, Any]]:
    """Return the list of name, value, unit: means over seeds, and (of several) the deviation between them."""
    first, *_ = by_seed.values()
    out = []
    for name, (_, unit) in first.items():
        values = [figures[name][0] for figures in by_seed.values() if name in figures]
        out.append({"name": name, "value": float(np.mean(values)), "unit": unit})
        if len(values) > 1 and not name.endswith((".std", ".low", ".high")) and ".kind." not in name:
            out.append({"name": f"{name}.seed_std", "value": float(np.std(values, ddof=1)), "unit": unit})
    task = next(iter(first)).partition(".")[0]
    return [*out, {"name": f"{task}.seeds", "value": float(len(by_seed)), "unit": "1"}]


def main() -> int:
    """Run the folds and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", required=True, choices=sorted(TASKS))
    parser.add_argument("--train", required=True, type=Path, metavar="DIR", help="recordings to train on")
    parser.add_argument("--test", type=Path, metavar="DIR", help="recordings to test on (default: cross-validation)")
    parser.add_argument("--recipe", type=Path, metavar="FILE", help="settings (default recipes/TASK.yaml)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change a setting of the recipe"
    )
    parser.add_argument(
        "--soften", metavar="MODEL", help="whose ears make soft labels for train.soft_weight: birdnet, FILE,LABELS"
    )
    parser.add_argument("--float", action="store_true", help="only the float network: to compare choices")
    parser.add_argument("--folds", help="only these folds, from 0, such as 0,2")
    parser.add_argument("--seed", type=int, help="of the folds (default: the recipe's)")
    parser.add_argument("--seeds", metavar="N,N", help="of the training, such as 1,2,3 (default: the recipe's alone)")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep finished trainings here (default build/bench/TASK-...)"
    )
    group = parser.add_argument_group("a second network behind the first (bird)")
    group.add_argument("--verify", type=Path, metavar="FILE", help="its recipe: two stages are judged, too")
    group.add_argument(
        "--verify-set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change a setting of it"
    )
    group.add_argument(
        "--verify-keep", type=Path, metavar="DIR", help="where its trainings are kept (default: second in --keep)"
    )
    parser.add_argument("--json", action="store_true", help="print a list of name, value, unit")
    args = parser.parse_args()
    try:
        return _run(args)
    except CheepError as error:
        print(f"bench_accuracy.py: {error}", file=sys.stderr)
        return error.exit_status


def _run(args: argparse.Namespace) -> int:
    recipe = load_recipe(args.task, args.recipe, args.set)
    if bool(args.soften) != bool(recipe.train.soft_weight):
        raise CheepError(
            f"--soften {args.soften or '(not given)'}, train.soft_weight={recipe.train.soft_weight:g}: both or none "
            "(--soften MODEL --set train.soft_weight=0.6)"
        )
    ears = Ears(args.soften) if args.soften else None
    work = args.keep
    if work is None:
        places = [str(path and path.resolve()) for path in (args.train, args.test)]
        key = [recipe.features.to_dict(), recipe.train.to_dict(), recipe.quantize.to_dict(), args.seed, places]
        name = digest([*key, *([ears.key] if ears else [])])
        work = Path("build", "bench", f"{args.task}-{name[:10]}")
    parts = splits(examples_of(args.task, recipe, args, work / "cache"), data_of(args.task, recipe, args).split)
    chosen = _numbers(args.folds, len(parts)) if args.folds else range(len(parts))
    field = _check(args, recipe, parts)
    seeds = _seeds(args.seeds, recipe.train.seed)
    second = _second(args, recipe, parts, chosen, seeds) if args.verify else None
    print(f"trainings and their figures are kept in {work}", file=sys.stderr, flush=True)
    by_seed, counted = {}, []
    for seed in seeds:
        own = recipe.model_copy(update={"train": recipe.train.model_copy(update={"seed": seed})})
        results, forests = [], []
        for fold in chosen:
            name = f"{args.task}-{fold}" + (f"-seed{seed}" if seed != recipe.train.seed else "")
            results.append(run_fold(parts[fold], own, work / name, work / "cache", field, args.float, ears))
            if args.task == "xc_species3" and not args.float:
                forests.append(forest_accuracy(parts[fold], recipe.features, work / "cache"))
            _show(args.task, fold, results[-1], forests)
        by_seed[seed] = summary(args.task, results, forests)
        if second is not None:
            by_seed[seed] |= _two_stages(args, second, chosen, work)
        counted += [result["counted"] for result in results if "counted" in result]
        write_json(work / "figures.json", over_seeds(by_seed))
    if counted:
        _strongest(counted, work / "false_alarms.csv", quiet=args.json)
    values = over_seeds(by_seed)
    if args.json:
        print(json.dumps(values, indent=1))
    else:
        for value in values:
            print(f"{value['name']:52} {value['value']:12.4f} {value['unit']}")
        if len(seeds) == 1:
            print("of one seed: another seed gives other figures (--seeds 1,2,3)")
    return 0


def _second(
    args: argparse.Namespace, recipe: RunFile, parts: list[Manifest], chosen: Sequence[int], seeds: list[int]
) -> tuple[RunFile, list[Manifest]]:
    """Return the recipe of the second network and its windows by fold, checked before anything is trained."""
    if args.task != BIRD or args.test or args.float or len(seeds) > 1 or len(chosen) < 2:
        raise CheepError("--verify: judges birds, int8, one seed, two folds or more (without --test, --float, --seeds)")
    own = load_run_file(args.verify, args.verify_set)
    check_second(recipe.features, own.features, str(args.verify))
    split = data_of(args.task, recipe, args).split
    cache = _verify_folder(args) / "cache"
    others = splits(examples_of(args.task, own, args, cache), split)
    for fold in chosen:
        one, two = (set(part[fold].of_split("train").column("group")) for part in (parts, others))
        heard = set(parts[fold].of_split("test").column("group"))
        if two & heard:
            raise CheepError(f"--verify {args.verify}: trains on groups that fold {fold} judges, such as "
                             f"{min(two & heard)!r}: give it the same sets as the first recipe")  # fmt: skip
        if one - two:
            print(f"fold {fold}: the second recipe does not train on {len(one - two)} groups of the first one's",
                  file=sys.stderr)  # fmt: skip
    return own, others


def _two_stages(
    args: argparse.Namespace, second: tuple[RunFile, list[Manifest]], chosen: Sequence[int], work: Path
) -> dict[str, tuple[float, str]]:
    """Train the second network on the folds, and return the figures of both, ``bird.two_stage.*``."""
    recipe, parts = second
    folder = _verify_folder(args)
    folds = []
    for fold in chosen:
        name = f"{args.task}-{fold}"
        run_fold(parts[fold], recipe, folder / name, folder / "cache", None, measured=False)
        folds.append(load_fold(work / name, folder / name, args.train.resolve()))
    counted, figures = judge(folds)
    _strongest(counted, folder / "false_alarms.csv", quiet=args.json)
    return {f"{args.task}.two_stage.{name}": value for name, value in (bird_figures(counted) | figures).items()}


def _verify_folder(args: argparse.Namespace) -> Path:
    return args.verify_keep or (args.keep or Path("build", "bench")) / f"second-{args.verify.stem}"


def _check(args: argparse.Namespace, recipe: RunFile, parts: list[Manifest]) -> Manifest | None:
    """Look at everything that is to be judged before anything is trained; return the field test, where there is one."""
    if args.test:
        groups = {name: set(parts[0].of_split(name).column("group")) for name in ("train", "val", "test")}
        shared = sorted((groups["train"] | groups["val"]) & groups["test"])
        if shared:
            print(
                f"warning: {len(shared)} groups are in --train and in --test, such as {shared[0]!r}: the result will "
                "flatter",
                file=sys.stderr,
            )
    for part in parts:
        if not len(part.of_split("test")) or not len(part.of_split("train")):
            raise CheepError(f"{args.test or args.train}: no windows to train on, or none to test on")
    if args.task != BIRD:
        return None
    for part in parts:
        check_birds(without_gaps(part.of_split("test")))
    root = (args.test or args.train).resolve()
    rows = jura_windows(root, recipe.features.window_s)
    if not rows:
        print(f"{root / 'soundscapes'}: no labelled birds and background: no figures of the field", file=sys.stderr)
        return None
    field = Manifest.from_rows(rows, root)
    for path in sorted(set(field.column("path"))):
        probe(root / path)
    return field


def _strongest(counted: list[Counted], path: Path, quiet: bool) -> None:
    """Write the strongest false alarms of all folds, and say them."""
    alarms: dict[str, tuple[float, str, str, float]] = {}
    for row in (row for fold in counted for row in fold.strongest()):
        alarms[row[1]] = max(row, alarms.get(row[1], row))
    rows = sorted(alarms.values(), reverse=True)[:STRONGEST]
    write_csv(path, ["score", "file", "kind", "start_s"], [(f"{a:.4f}", b, c, f"{d:.1f}") for a, b, c, d in rows])
    stream = sys.stderr if quiet else sys.stdout
    print(f"the strongest {len(rows)} false alarms (listen: a bird may be in them; {path}):", file=stream)
    for score, name, kind, start_s in rows:
        print(f"  {score:.4f}  {kind:14} {name} at {start_s:.1f} s", file=stream)


def _seeds(text: str | None, default: int) -> list[int]:
    """Return the seeds of ``--seeds``."""
    if text is None:
        return [default]
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() for part in parts) or len(set(parts)) < len(parts):
        raise CheepError(f"--seeds {text}: must be different whole numbers with commas between them, such as 1,2,3")
    return [int(part) for part in parts]


def _numbers(text: str, count: int) -> list[int]:
    """Return the folds named by ``--folds``."""
    chosen = [int(part) if part.strip().isdigit() else count for part in text.split(",")]
    if max(chosen) >= count:
        raise CheepError(f"--folds {text}: must be numbers from 0 to {count - 1}, with commas between them")
    return chosen


def _show(task: str, fold: int, result: dict[str, Any], forests: list[float]) -> None:
    test = result["metrics"]["int8" if "int8" in result["metrics"] else "float"]["test"]
    extra = f", field AUC {result['field']['window_auc']:.4f}" if "field" in result else ""
    extra += f", forest {forests[-1]:.4f}" if forests else ""
    print(
        f"{task} fold {fold}: clip accuracy {test['clip_accuracy']:.4f}, window AUC {test['window_auc']:.4f}{extra}, "
        f"{result['seconds']:.0f} s",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())
