# SPDX-License-Identifier: MIT
"""Run a configuration: its chain of steps, its folds, its table, its report."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cheep import runs
from cheep.config import RunFile, save_run_file
from cheep.datasets.manifest import Manifest
from cheep.evaluate.windows import WindowScores, accuracy_interval
from cheep.files import write_json
from cheep.job import OnEpoch, OnStep, no_step
from cheep.pipeline import steps
from cheep.pipeline.cache import StepCache
from cheep.pipeline.calibrating import calibration_step
from cheep.pipeline.checks import NEED_DATA
from cheep.pipeline.predict import PREDICTIONS, prediction_step
from cheep.pipeline.tracking import Tracker
from cheep.report import RunResults, Variant, write_report

_MISTAKES = 6  # shown of all folds together


@dataclasses.dataclass
class PipelineResult:
    """What a pipeline left: its folder, one table row per model variant, steps run and steps taken from the cache."""

    folder: Path
    rows: list[dict[str, Any]]
    executed: list[str]
    cached: list[str]
    files: list[Path]
    report: RunResults | None = None


def run_pipeline(
    config: RunFile,
    *,
    say: Callable[[str], None] = lambda text: None,
    progress: Callable[[int, int], None] | None = None,
    on_epoch: OnEpoch | None = None,
    on_step: OnStep = no_step,
) -> PipelineResult:
    """Run all steps of a checked configuration.

    Results are written to the output folder: the resolved configuration, models, ``results.json``, ``report.html``.
    """
    folder = output_folder(config)
    folder.mkdir(parents=True, exist_ok=True)
    with runs.working_in(folder):
        save_run_file(folder / runs.RUN_FILE, config, "Every setting of this run, defaults included.")
        limit_gpu(config.run.gpu_memory_gib)
        tracker = Tracker(config, folder, on_epoch)
        try:
            way = _cross_validated if config.data.split.cross_validate else _one
            outcome = way(config, folder, say, progress, tracker, on_step)
            write_json(folder / steps.RESULTS, {"rows": outcome.rows, "config_sha256": config.sha256})
            tracker.finish(outcome.rows, folder)
        except BaseException:
            tracker.abort()
            raise
    return outcome


def output_folder(config: RunFile) -> Path:
    """Return where results go: ``run.folder``, or ``runs/NAME``."""
    chosen = config.run.folder
    return Path(chosen) if chosen else runs.runs_folder() / config.run.name


def limit_gpu(gib: float | None) -> None:
    """Let TensorFlow take at most ``gib`` GiB of the first GPU, where there is one."""
    if gib is None:
        return
    from cheep.tf_runtime import import_tf

    tf = import_tf()
    devices = tf.config.list_physical_devices("GPU")
    if devices:
        limit = tf.config.LogicalDeviceConfiguration(memory_limit=round(gib * 1024))
        tf.config.set_logical_device_configuration(devices[0], [limit])


def _one(
    config: RunFile, folder: Path, say, progress, tracker: Tracker, on_step: OnStep,
    fold: tuple[str, str, Manifest] | None = None,
) -> PipelineResult:
    """Run the steps once: on examples made here, or on those of one ``fold`` (its name, the key of all, its split)."""
    cache = StepCache(Path(config.run.cache).resolve())
    context = steps.Context(config, folder, cache, say, progress, tracker.on_epoch, on_step)
    files: list[Path] = []
    results: dict[str, dict[str, Any]] = {}
    if config.run.model:
        steps.use_model(context)
    if fold is not None:
        name, key, manifest = fold
        context.keys["data"] = f"{key}, fold {name}"
        steps.use_examples(context, manifest)
    elif any(step in NEED_DATA for step in config.run.steps):
        steps.data_step(context)
    for step in config.run.steps:
        on_step(f"step {step}")
        files += _step(step, context, results)
    rows = [_row(name, values, folder) for name, values in results.items()]
    report = None
    if (folder / runs.EVALUATION).is_file() and (folder / runs.TRAINING).is_file() and "data" in context.keys:
        report = _report(config, folder, rows, fold[0] if fold else "")
        files += write_report(report, folder / runs.REPORT)
    return PipelineResult(folder, rows, context.executed, context.cached, files, report)


def _step(step: str, context: steps.Context, results: dict[str, dict[str, Any]]) -> list[Path]:
    """Run one step; its figures go into ``results`` (by model variant), its files are returned."""
    if step == "train":
        steps.training_step(context)
        return [context.run / runs.FLOAT_MODEL]
    elif step == "quantize":
        steps.quantization_step(context)
        return [context.run / runs.INT8_TFLITE]
    elif step == "calibrate":
        calibration_step(context)
    elif step.startswith("evaluate"):
        kinds = {"float": runs.FLOAT_MODEL} | ({"int8": runs.INT8_TFLITE} if step == "evaluate" else {})
        for name, file in kinds.items():
            if (context.run / file).is_file():
                results.setdefault(name, {})["evaluation"] = steps.evaluation_step(context, name == "int8")
    elif step.startswith("benchmark"):
        int8 = step == "benchmark" and (context.run / runs.INT8_TFLITE).is_file()
        for name, values in steps.benchmarking_step(context, int8).items():
            results.setdefault(name, {})["benchmark"] = values
    elif step == "predict":
        prediction_step(context, context.config.predict)
        return [context.run / PREDICTIONS]
    elif step == "deploy":
        return steps.deployment_step(context)
    return []


def _cross_validated(
    config: RunFile, folder: Path, say, progress, tracker: Tracker, on_step: OnStep
) -> PipelineResult:
    """Run the chain once per fold; the table has a row per fold and variant, and their mean."""
    whole = steps.Context(config, folder, StepCache(Path(config.run.cache).resolve()), say, progress)
    steps.data_step(whole)
    folds = steps.folds_of(whole)
    rows: list[dict[str, Any]] = []
    pooled: dict[str, list[WindowScores]] = {}
    reports: dict[str, RunResults] = {}
    executed, cached = list(whole.executed), list(whole.cached)
    for fold, manifest in folds:
        say(f"fold {fold} of {', '.join(name for name, _ in folds)} is the test set")
        target = folder / f"fold-{fold}"
        target.mkdir(exist_ok=True)
        if (folder / runs.CALIBRATION).is_file():
            shutil.copyfile(folder / runs.CALIBRATION, target / runs.CALIBRATION)
        outcome = _one(config, target, say, progress, tracker, on_step, (fold, whole.keys["data"], manifest))
        rows += [{"fold": fold, **row} for row in outcome.rows]
        if outcome.report:
            reports[fold] = outcome.report
        executed += [f"fold {fold}: {step}" for step in outcome.executed]
        cached += [f"fold {fold}: {step}" for step in outcome.cached]
        if (target / runs.INT8_TFLITE).is_file():
            context = steps.Context(config, target, whole.cache)
            pooled.setdefault("int8", []).append(steps.model_scores(context, True)["test"])
    together = {name: _pooled(parts) for name, parts in pooled.items()}
    rows += _means(rows, together)
    files = _fold_report(config, folder, rows, together.get("int8"), reports)
    return PipelineResult(folder, rows, executed, cached, files)


def _row(name: str, values: dict[str, Any], folder: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"model": name}
    evaluation, benchmark = values.get("evaluation"), values.get("benchmark", {})
    if evaluation:
        metrics = evaluation["metrics"][evaluation["split"]]
        row.update(
            split=evaluation["split"], clips=metrics["clips"], clip_accuracy=evaluation["clip_accuracy"]["value"],
            clip_accuracy_interval=evaluation["clip_accuracy"]["interval"],
            patch_accuracy=evaluation["patch_accuracy"]["value"],
            patch_accuracy_interval=evaluation["patch_accuracy"]["interval"], patch_roc_auc=evaluation["patch_roc_auc"],
        )  # fmt: skip
    model = folder / (runs.INT8_TFLITE if name == "int8" else runs.FLOAT_TFLITE)
    row["model_bytes"] = model.stat().st_size if model.is_file() else benchmark.get("model_bytes")
    for key in ("ram_bytes", "flash_bytes", "instructions"):
        row[key] = benchmark.get(key)
    return row


def _means(rows: list[dict[str, Any]], pooled: dict[str, WindowScores]) -> list[dict[str, Any]]:
    """Means over folds by model; intervals of what the folds give together."""
    out = []
    for name in dict.fromkeys(row["model"] for row in rows):
        mine = [row for row in rows if row["model"] == name]
        mean: dict[str, Any] = {"fold": "mean", "model": name}
        for key in ("clip_accuracy", "patch_accuracy", "patch_roc_auc"):
            present = [row[key] for row in mine if row.get(key) is not None]
            mean[key] = float(np.mean(present)) if present else None
        if name in pooled:
            mean["clip_accuracy_interval"] = accuracy_interval(pooled[name].clips())
            mean["patch_accuracy_interval"] = accuracy_interval(pooled[name])
        mean["clips"] = sum(row.get("clips") or 0 for row in mine)
        for key in ("model_bytes", "ram_bytes", "flash_bytes", "instructions"):
            present = [row[key] for row in mine if row.get(key) is not None]
            mean[key] = round(max(present)) if present else None
        out.append(mean)
    return out


def table_of(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Return the rows of an outcome as texts, header first."""
    folds = any("fold" in row for row in rows)
    out = [
        [*(["fold"] if folds else []), "model", "clips", "clip accuracy", "95 %", "patch accuracy", "95 %",
         "patch ROC AUC", "bytes", "RAM", "flash", "instructions"]
    ]  # fmt: skip
    for row in rows:
        cells = [
            row["model"],
            _whole(row.get("clips")),
            *(
                text
                for kind in ("clip", "patch")
                for text in (_share(row.get(f"{kind}_accuracy")), _between(row.get(f"{kind}_accuracy_interval")))
            ),
            "-" if row.get("patch_roc_auc") is None else f"{row['patch_roc_auc']:.3f}",
            *(_whole(row.get(key)) for key in ("model_bytes", "ram_bytes", "flash_bytes", "instructions")),
        ]
        out.append([*([str(row.get("fold", ""))] if folds else []), *cells])
    return out


def _report(config: RunFile, folder: Path, rows: list[dict[str, Any]], fold: str) -> RunResults:
    from cheep.report.boards import with_boards
    from cheep.report.collect import results_of_run

    folds = fold or ", ".join(config.data.split.test_folds)
    title = config.run.name + (f", tested on fold {folds}" if folds else "")
    results = results_of_run(folder, title, reproduce=(f"cheep run {folder / runs.RUN_FILE}",))
    int8 = next((row for row in rows if row["model"] == "int8"), {})
    variants = tuple(
        dataclasses.replace(
            v,
            ram_bytes=int8.get("ram_bytes"),
            flash_bytes=int8.get("flash_bytes"),
            instructions=int8.get("instructions"),
        )
        if v.name.startswith("int8")
        else v
        for v in results.variants
    )
    if int8.get("instructions") is not None:
        results = with_boards(results, folder)
    return dataclasses.replace(
        results, variants=variants, reject_below=config.evaluate.unknown_below,
        settings={**results.settings, "pipeline": config.to_dict()["data"]},
    )  # fmt: skip


def _fold_report(
    config: RunFile,
    folder: Path,
    rows: list[dict[str, Any]],
    test: WindowScores | None,
    reports: dict[str, RunResults],
) -> list[Path]:
    """One page for all folds: the pooled confusion matrix, and of the folds' own pages what can be put together."""
    table = table_of(rows)
    folds = {row["fold"] for row in rows} - {"mean"}
    first = next(iter(reports.values()), RunResults("", ()))
    variants = tuple(
        Variant(
            row["model"], window_accuracy=row.get("patch_accuracy"), window_auc=row.get("patch_roc_auc"),
            clip_accuracy=row.get("clip_accuracy"), model_bytes=row.get("model_bytes"), ram_bytes=row.get("ram_bytes"),
            flash_bytes=row.get("flash_bytes"), instructions=row.get("instructions"),
            window_accuracy_interval=row.get("patch_accuracy_interval"),
            clip_accuracy_interval=row.get("clip_accuracy_interval"),
        )
        for row in rows
        if row.get("fold") == "mean"
    )  # fmt: skip
    results = RunResults(
        title=config.run.name,
        labels=test.labels if test else config.data.labels,
        summary=(f"Cross-validated: each of {len(folds)} folds was the test set once.",),
        variants=variants,
        variants_on="every fold once (means over folds; bytes and instructions: the largest)",
        test=test,
        reject_below=config.evaluate.unknown_below,
        data=dataclasses.replace(first.data, rows=()) if first.data else None,
        histories=tuple(
            dataclasses.replace(item, stage=f"fold {fold}: {item.stage}")
            for fold, part in reports.items()
            for item in part.histories
        ),
        mistakes=tuple(
            sorted((m for part in reports.values() for m in part.mistakes), key=lambda m: -m.score)[:_MISTAKES]
        ),
        boards=first.boards,
        intended_use=first.intended_use,
        limits=first.limits,
        tables=(("Folds", tuple(table[0]), tuple(tuple(row) for row in table[1:])),),
        settings={name: values for name, values in config.to_dict().items() if isinstance(values, dict)},
        reproduce=(f"cheep run {folder / runs.RUN_FILE}",),
    )
    return write_report(results, folder / runs.REPORT)


def _pooled(scores: list[WindowScores]) -> WindowScores:
    return WindowScores(
        scores[0].labels, scores[0].activation, np.concatenate([part.targets for part in scores]),
        np.concatenate([part.scores for part in scores]),
        _apart([part.clip for part in scores]), _apart([part.groups for part in scores]),
    )  # fmt: skip


def _apart(ids: list[np.ndarray]) -> np.ndarray:
    """Return the ids of several parts in one array, none of them shared."""
    offsets = np.cumsum([0] + [int(part.max()) + 1 for part in ids])
    return np.concatenate([part + offset for part, offset in zip(ids, offsets, strict=False)])


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{round(value):,}"


def _between(interval: list[float] | None) -> str:
    return "-" if interval is None else f"{100 * interval[0]:.0f}–{100 * interval[1]:.0f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
