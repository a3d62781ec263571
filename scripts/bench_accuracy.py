# SPDX-License-Identifier: MIT
"""Accuracy of the committed recipes on real recordings, through the int8 device path.

  python scripts/bench_accuracy.py --task bird --train DIR              cross-validated by split_group (ESC-10: by fold)
  python scripts/bench_accuracy.py --task esc10 --train DIR --test DIR2 --json

DIR holds one folder per set (``esc10``, ``xc_species3``, ...) with ``LABEL/*.flac`` and ``metadata.csv``
(file, label, split_group, fold, ...); for the bird task ``manifest_bird_vs_background.csv`` with the levels of each
second. Every fold trains recipes/TASK.yaml from its seed, as cheep run would (data, training, int8 model: the same
functions); the scores are those of the int8 model in TensorFlow Lite Micro.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from cheep import runs
from cheep.audio import probe, read_audio
from cheep.config import DataConfig, FeatureConfig, RunFile, SplitConfig, VoicesConfig, load_run_file
from cheep.datasets.manifest import Manifest
from cheep.datasets.split import assign_splits, fold_splits
from cheep.device.bundle import load_bundle
from cheep.errors import CheepError
from cheep.evaluate.field import alarm_rate
from cheep.evaluate.matching import Annotation, EventCounts, add_counts
from cheep.evaluate.streaming import Output, ScoreTiming, best_scorer, score_blocks, score_recording
from cheep.evaluate.sweep import LevelSweep
from cheep.evaluate.windows import WindowScores, summarize
from cheep.features.cache import centre_in_silence
from cheep.job.quantize import quantize_run
from cheep.job.scores import int8_scores
from cheep.job.split import make_examples
from cheep.job.train import train_network
from cheep.job.windows import load_windows
from cheep.tflite.tflm import TflmModel
from cheep.training.data import load_cache, window_set

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
BIRD_SNR_DB = 12.0  # a bird window holds a bird: its level over the recording's floor, 0.9-3.9 kHz
BIRD = "bird"
EVENT_RECALL = 0.8
GAP_SNR_DB = 6.0  # a window of a bird recording that stays below this is background (training only)


def bird_windows(root: Path, window_s: float) -> list[dict[str, Any]]:
    """Return bird and background windows of the joint manifest without the soundscapes, and gaps to train on.

    Labels are known by the second. A longer window stands around its second; a gap is quiet in all of its window.
    """
    out = []
    for row in _table(root / "manifest_bird_vs_background.csv"):
        if row["set"] == "soundscapes":
            continue
        low, full = _levels(row, "win1s_snr_lt4k_db"), _levels(row, "win1s_snr_db")
        loud = np.maximum(low[: len(full)], full[: len(low)])
        for second in range(max(1, int(float(row["duration_s"])))):
            start = _around(second, window_s, row)
            if row["binary"] != BIRD:
                out.append(_window(row["file"], "background", start, row, window_s))
            elif second < len(low) and low[second] >= BIRD_SNR_DB:
                out.append(_window(row["file"], BIRD, start, row, window_s))
            elif second < len(loud) and max(loud[int(start) : int(np.ceil(start + window_s))]) <= GAP_SNR_DB:
                out.append(_window(row["file"], "background", start, row, window_s) | {"reason": "gap"})
    return out


def jura_windows(root: Path, window_s: float) -> list[dict[str, Any]]:
    """Return every second of the labelled soundscapes: the field test, never trained on."""
    names = {"bird": BIRD, "no_bird": "background"}
    return [
        _window(f"soundscapes/{row['file']}", names[row["label"]], _around(second, window_s, row), row, window_s)
        for row in _table(root / "soundscapes" / "metadata.csv")
        if row["label"] in names
        for second in range(int(float(row["duration_s"])))
    ]


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
            return Manifest.from_rows(bird_windows(root.resolve(), recipe.features.window_s), root.resolve())
        data = data_of(task, recipe, args)
        whole = data.split.model_copy(update={"cross_validate": True})
        data = data.model_copy(update={"folder": str(root / task), "split": whole})
        return make_examples(data, folder, voices).manifest

    manifest = of(args.train, recipe.voices)
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


def run_fold(
    manifest: Manifest,
    recipe: RunFile,
    folder: Path,
    cache: Path,
    field: Manifest | None,
    float_only: bool = False,
) -> dict[str, Any]:
    """Train the recipe on one split; return the metrics of float, QAT and int8, sizes, and field scores.

    ``float_only`` stops after the float network: enough to compare choices, in half of the time.
    """
    folder.mkdir(parents=True)
    cache.mkdir(parents=True, exist_ok=True)
    (folder / "features").symlink_to(cache, target_is_directory=True)
    gap = np.array([reason == "gap" for reason in _column(manifest, "reason")])
    test = np.array([split == "test" for split in manifest.column("split")])
    data = manifest.select(~(gap & test))
    data.write(folder / runs.DATASET)
    begin = time.monotonic()
    _, metrics = train_network(folder, recipe.features, recipe.train)
    if float_only:
        return {"metrics": {"float": metrics}, "seconds": time.monotonic() - begin}
    quantize_run(folder, recipe.quantize)
    result = json.loads((folder / runs.EVALUATION).read_text())
    result["seconds"] = time.monotonic() - begin
    result["memory"] = _compiled_memory(folder / runs.INT8_TFLITE, recipe.features)
    heard = manifest.select(test & ~gap)
    result["streamed"] = streamed_accuracy(folder, heard)
    wide = full_band(heard, recipe.features.sample_rate_hz)
    result["narrow_windows"] = len(heard) - len(wide)
    result["full_band"] = result["metrics"]["int8"]["test"] if len(wide) else None
    if 0 < len(wide) < len(heard):
        result["full_band"] = summarize(field_scores(folder, wide, recipe, cache))
    if field is not None:
        result["field"] = summarize(field_scores(folder, field, recipe, cache))
        result["alarms"] = alarms_at_recall(folder, heard)
    return result


def field_scores(folder: Path, field: Manifest, recipe: RunFile, cache: Path) -> WindowScores:
    """Return the int8 scores of recordings that are no part of the data set."""
    windows = load_windows(folder, recipe.features, recipe.train)
    part = window_set(field, load_cache(field, recipe.features, cache), windows.plan)
    runtime = TflmModel(folder / runs.INT8_TFLITE)
    outside = dataclasses.replace(windows, splits={"field": part})
    return int8_scores(runtime, outside)["field"]


def full_band(test: Manifest, sample_rate_hz: int) -> Manifest:
    """Return the windows of recordings made at the features' rate or above.

    A recording made at a lower rate has empty upper bands: a network may tell by them where a sound comes from.
    """
    rate = {path: probe(test.folder / path).sample_rate_hz for path in set(test.column("path"))}
    return test.select(np.array([rate[path] >= sample_rate_hz for path in test.column("path")], bool))


def streamed_accuracy(folder: Path, test: Manifest) -> float | None:
    """Return the share of clips whose strongest score, streamed through the device's path, is their label's.

    A window every ``stride_frames`` columns, as on the device; the class with the highest score anywhere in the clip is
    the answer. A clip shorter than a window stands in silence. None for a detector of one label.
    """
    bundle = load_bundle(folder / runs.INT8_TFLITE)
    if len(bundle.labels) == 1:
        return None
    scorer, _ = best_scorer(bundle)
    right = []
    for path, label in {row["path"]: row["label"] for row in test.rows()}.items():
        pcm = read_audio(test.folder / path, bundle.features.sample_rate_hz)
        pcm = centre_in_silence(pcm, bundle.features.window_samples)
        scores, _ = score_blocks(bundle, scorer, [pcm])
        right.append(bundle.labels[int(scores.max(axis=0).argmax())] == label)
    return float(np.mean(right))


def alarms_at_recall(folder: Path, test: Manifest) -> list[tuple[str, EventCounts]]:
    """Run the device's path over the test recordings; return (group, counts) of each of background.

    Every test recording is streamed through front end, int8 model and detector at its default stride and smoothing.
    A recording with a bird window is one event; the threshold is the highest that still finds 80 % of them.
    Recordings too short for the window and the smoothing are left out.
    """
    bundle = load_bundle(folder / runs.INT8_TFLITE)
    scorer, _ = best_scorer(bundle)
    rows = {row["path"]: row for row in test.rows()}
    scored = []
    for path, row in rows.items():
        found = [Annotation(BIRD, 0.0, 1e6)] if row["label"] == BIRD else []
        item = score_recording(bundle, scorer, test.folder / path, group=row["group"], annotations=found)
        if len(item.scores) >= bundle.detector.smoothing_windows:
            scored.append(item)
    output = Output(bundle.labels, bundle.output.scale, bundle.output.zero_point, ScoreTiming.of(bundle))
    sweep = LevelSweep(scored, output, bundle.detector, BIRD)
    sweep.measure(range(min(sweep.counts), max(sweep.counts) + 1))
    enough = [level for level in sweep.counts if add_counts(sweep.counts[level]).recall >= EVENT_RECALL]
    counts = sweep.counts[max(enough)]
    return [(item.group, part) for item, part in zip(scored, counts, strict=True) if not item.annotations]


def forest_accuracy(manifest: Manifest, features: FeatureConfig, cache: Path) -> float:
    """Return the clip accuracy of a random forest on log-mel statistics, fitted on the same split (train and val)."""
    from sklearn.ensemble import RandomForestClassifier

    data = load_cache(manifest, features.model_copy(update={"compression": "db"}), cache)
    names = manifest.column("path")
    _, first = np.unique(np.array(names), return_index=True)
    x, y, test = [], [], []
    labels, split = manifest.column("label"), manifest.column("split")
    for row in first:
        begin, count = data.spans[names[row]]
        columns = data.columns[begin : begin + count]
        statistics = [columns.mean(0), columns.std(0), *np.percentile(columns, [10, 50, 90], axis=0)]
        x.append(np.concatenate(statistics))
        y.append(labels[row])
        test.append(split[row] == "test")
    x, y, test = np.array(x), np.array(y), np.array(test)
    forest = RandomForestClassifier(500, random_state=1, n_jobs=2).fit(x[~test], y[~test])
    return float(forest.score(x[test], y[test]))


def load_recipe(task: str, path: Path | None, changes: Sequence[str] = ()) -> RunFile:
    """Return ``recipes/TASK.yaml`` or another run file, with ``section.key=value`` changes."""
    return load_run_file(path or RECIPES / f"{task}.yaml", changes)


def summary(task: str, results: list[dict[str, Any]], forests: list[float]) -> list[dict[str, Any]]:
    """Return the list of name, value, unit: means over folds of the int8 model, deviations, sizes."""
    out = []

    def add(name: str, values: list[float], unit: str) -> None:
        values = [value for value in values if value is not None]
        if values:
            out.append({"name": f"{task}.{name}", "value": float(np.mean(values)), "unit": unit})
            if len(values) > 1:
                out.append({"name": f"{task}.{name}.std", "value": float(np.std(values, ddof=1)), "unit": unit})

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
    alarms = [pair for r in results for pair in r.get("alarms", [])]
    if alarms:
        groups, parts = zip(*alarms, strict=True)
        rate = alarm_rate(parts, groups, np.random.default_rng(1), 1000, 0.95)
        for name, value in (("", rate.value), (".low", rate.low), (".high", rate.high)):
            add(f"false_alarms_per_hour_at_80_recall{name}", [value], "1/h")
        add("background_hours", [sum(part.hours for part in parts)], "h")
    add("model_bytes", [r["bytes"]["int8"] for r in results], "B")
    add("arena_bytes", [r["bytes"]["arena"] for r in results], "B")
    for name in results[0]["memory"]:
        add(name, [r["memory"][name] for r in results], "B")
    return out


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
    parser.add_argument("--float", action="store_true", help="only the float network: to compare choices")
    parser.add_argument("--folds", help="only these folds, from 0, such as 0,2")
    parser.add_argument("--seed", type=int, help="of the folds (default: the recipe's)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the run folders here")
    parser.add_argument("--json", action="store_true", help="print a list of name, value, unit")
    args = parser.parse_args()
    try:
        return _run(args)
    except CheepError as error:
        print(f"bench_accuracy.py: {error}", file=sys.stderr)
        return error.exit_status


def _run(args: argparse.Namespace) -> int:
    recipe = load_recipe(args.task, args.recipe, args.set)
    with tempfile.TemporaryDirectory(prefix="cheep-bench-") as name:
        return _bench(args, recipe, args.keep or Path(name))


def _bench(args: argparse.Namespace, recipe: RunFile, work: Path) -> int:
    parts = splits(examples_of(args.task, recipe, args, work / "cache"), data_of(args.task, recipe, args).split)
    if args.test:
        groups = {name: set(parts[0].of_split(name).column("group")) for name in ("train", "val", "test")}
        shared = sorted((groups["train"] | groups["val"]) & groups["test"])
        if shared:
            print(
                f"warning: {len(shared)} groups are in --train and in --test, such as {shared[0]!r}: the result will "
                "flatter",
                file=sys.stderr,
            )
    chosen = _numbers(args.folds, len(parts)) if args.folds else range(len(parts))
    field_root = (args.test or args.train).resolve()
    field = None
    if args.task == BIRD and (field_root / "soundscapes" / "metadata.csv").is_file():
        field = Manifest.from_rows(jura_windows(field_root, recipe.features.window_s), field_root)
    results, forests = [], []
    for fold in chosen:
        result = run_fold(parts[fold], recipe, work / f"{args.task}-{fold}", work / "cache", field, args.float)
        results.append(result)
        if args.task == "xc_species3" and not args.float:
            forests.append(forest_accuracy(parts[fold], recipe.features, work / "cache"))
        _show(args.task, fold, result, forests)
    values = summary(args.task, results, forests)
    if args.json:
        print(json.dumps(values, indent=1))
    else:
        for value in values:
            print(f"{value['name']:40} {value['value']:12.4f} {value['unit']}")
    return 0


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


def _compiled_memory(path: Path, features: FeatureConfig) -> dict[str, int]:
    """Return the RAM of the compiled network: whole windows (with the window itself), and column by column."""
    from cheep.compiler import compile_model

    try:
        compiled = compile_model(path)
    except CheepError:
        return {}
    out = {"ram_bytes": compiled.memory_bytes + features.window_frames * features.n_mels}
    if compiled.stream:
        out["stream_ram_bytes"] = compiled.stream["memory_bytes"]
    return out


def _around(second: int, window_s: float, row: dict[str, str]) -> float:
    """Return where a window starts, s, that has a second in its middle, as far as the recording's ends allow."""
    return round(max(0.0, min(second + 0.5 - window_s / 2, float(row["duration_s"]) - window_s)), 3)


def _window(path: str, label: str, start_s: float, row: dict[str, str], window_s: float) -> dict[str, Any]:
    return {
        "path": path,
        "label": label,
        "start_s": float(start_s),
        "duration_s": round(window_s, 3),
        "recording": path,
        "group": row["split_group"],
        "fold": row.get("fold", ""),
        "licence": row.get("license", ""),
        "attribution": row.get("author", ""),
        "reason": "",
        "split": "",
    }


def _levels(row: dict[str, str], name: str) -> list[float]:
    return [float(value) for value in row[name].split(";") if value]


def _column(manifest: Manifest, name: str) -> list[str]:
    return manifest.column(name) if name in manifest.columns else [""] * len(manifest)


def _table(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise CheepError(f"{path}: no such file; --train and --test want a folder of sets with metadata.csv")
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


if __name__ == "__main__":
    raise SystemExit(main())
