"""The main job's stages, each reading files of a run folder and writing files to it.

The scripts, the demo and the pipelines call these; nothing here prints.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cheep import runs
from cheep.config import DetectorConfig, FeatureConfig, QatConfig, TrainConfig, default_stride
from cheep.convert.bundle import write_bundle
from cheep.convert.tflite import qat_to_int8, to_tflite
from cheep.datasets.manifest import Manifest, load_manifest
from cheep.errors import CheepError
from cheep.evaluate.windows import WindowScores, summarize
from cheep.features import quantize
from cheep.models import build_model
from cheep.tf_runtime import import_tf, seed_everything
from cheep.tflite.tflm import TflmModel
from cheep.training.data import LabelPlan, WindowSet, load_cache, window_set
from cheep.training.distill import Teacher
from cheep.training.loop import TrainResult, fit
from cheep.training.qat import fine_tune_config, quantization_aware

log = logging.getLogger(__name__)

SPLIT_COMMAND = "python src/split_dataset.py"
TRAIN_COMMAND = "python src/train.py"
QAT_COMMAND = "python src/train_QAT.py"
TRAINING = "training.json"
EVALUATION = "evaluation.json"

TEACHER_PCEN_EPS = 1e-8  # below the noise of quiet recordings, so that PCEN follows them too

OnEpoch = Callable[[int, int, dict[str, float]], None]
OnFile = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Windows:
    """The run's windows by split, and what the labels mean."""

    plan: LabelPlan
    features: FeatureConfig
    splits: dict[str, WindowSet]
    manifest: Manifest


def plan_of(run: Path, config: TrainConfig) -> LabelPlan:
    """Return what the outputs of a network trained on this run will mean."""
    return LabelPlan.of(load_manifest(runs.needed(run / runs.DATASET, SPLIT_COMMAND)), config)


def load_windows(run: Path, features: FeatureConfig, config: TrainConfig, on_file: OnFile | None = None) -> Windows:
    """Read ``dataset.csv`` of a run, compute (or reuse) the features, and return the windows by split."""
    manifest = load_manifest(runs.needed(run / runs.DATASET, SPLIT_COMMAND))
    plan = LabelPlan.of(manifest, config)
    cache = load_cache(manifest, features, run / "features", on_file)
    splits = {name: window_set(manifest.of_split(name), cache, plan) for name in ("train", "val", "test")}
    if features.compression == "pcen" or (config.teacher_model and "pcen" in config.teachers):
        splits["train"] = _with_levels(splits["train"], manifest, run)
    for name in ("train", "val"):
        if not len(splits[name]):
            raise CheepError(f"{run / runs.DATASET}: no windows in split {name!r}; split again with {SPLIT_COMMAND}")
    return Windows(plan, features, splits, manifest)


def train_stage(
    run: Path,
    features: FeatureConfig,
    config: TrainConfig,
    on_file: OnFile | None = None,
    on_epoch: OnEpoch | None = None,
) -> tuple[TrainResult, dict[str, Any]]:
    """Train the float network: ``model.h5``, ``bird_detector.tflite`` and ``training.json`` of the run.

    Returns
    -------
    (TrainResult, dict)
        The history, and the metrics of the float model by split.
    """
    windows = load_windows(run, features, config, on_file)
    plan = windows.plan
    teacher = train_teachers(run, windows, config, on_epoch) if config.teacher_model else None
    if teacher:
        log.info("student of the teachers: %d epochs", config.epochs)
    seed_everything(config.seed)
    shape = (features.window_frames, features.n_mels)
    model = build_model(config.model, shape, len(plan.labels), plan.activation, config.dropout, config.hears)
    result = fit(model, windows.splits["train"], windows.splits["val"], config, run / "checkpoint", on_epoch, teacher)
    save_keras(model, run / runs.FLOAT_MODEL)
    runs.write_bytes(run / runs.FLOAT_TFLITE, to_tflite(model))
    metrics = evaluate_keras(model, windows)
    runs.write_json(
        run / TRAINING,
        {
            "features": features.to_dict(),
            "train": config.to_dict(),
            "labels": list(plan.labels),
            "activation": plan.activation,
            "background": plan.background,
            "history": result.history,
            "best_epoch": result.best_epoch,
            "parameters": int(model.count_params()),
            "data": describe_data(run, windows),
            "metrics": {"float": metrics},
        },
    )
    return result, metrics


def train_teachers(run: Path, windows: Windows, config: TrainConfig, on_epoch: OnEpoch | None = None) -> Teacher:
    """Train the teachers of a distillation, or load them: a network for each of ``config.teachers``.

    They are kept as ``teacher_1_db.h5``, ``teacher_2_pcen.h5``, ... with the settings that made them, so that another
    teacher at the end of the list, or another weight, costs no lesson twice. Teachers that hear the same differ in
    their seed.
    """
    members = []
    lessons = config.model_copy(
        update={"model": config.teacher_model, "teacher_model": "", "epochs": config.teacher_epochs, "hears": "levels"}
    )
    for place, kind in enumerate(config.teachers):
        lessons = lessons.model_copy(update={"seed": config.seed + config.teachers[:place].count(kind)})
        changes = {"compression": "pcen", "pcen_eps": TEACHER_PCEN_EPS} if kind == "pcen" else {"compression": "db"}
        features = windows.features.model_copy(update=changes)
        path = run / f"teacher_{place + 1}_{kind}.h5"
        about = path.with_suffix(".json")
        made_by = {
            "features": features.to_dict(),
            "train": {key: value for key, value in lessons.to_dict().items() if not key.startswith("teacher")},
            "context_frames": windows.splits["train"].context_frames,
            "data": describe_data(run, windows),
        }
        if not (path.is_file() and about.is_file() and runs.read_json(about, TRAIN_COMMAND) == made_by):
            about.unlink(missing_ok=True)
            part = load_windows(run, features, lessons)
            train = part.splits["train"]
            if windows.splits["train"].levels:  # the same stretches of sound for all teachers
                train = _with_levels(train, part.manifest, run)
            log.info("teacher %d of %d, on %s: %d epochs", place + 1, len(config.teachers), kind, lessons.epochs)
            seed_everything(lessons.seed)
            shape, plan = (features.window_frames, features.n_mels), windows.plan
            hears = kind if kind in ("peak", "mean") else "levels"
            model = build_model(lessons.model, shape, len(plan.labels), plan.activation, lessons.dropout, hears)
            fit(model, train, part.splits["val"], lessons, run / f"checkpoint-{path.stem}", on_epoch)
            save_keras(model, path)
            runs.write_json(about, made_by)
        members.append((path, features))
    return Teacher(
        tuple((load_keras(path), features) for path, features in members), windows.splits["train"].context_frames
    )


def qat_stage(
    run: Path,
    config: QatConfig,
    on_file: OnFile | None = None,
    on_epoch: OnEpoch | None = None,
) -> tuple[TrainResult, dict[str, Any]]:
    """Fine-tune ``model.h5`` quantization-aware; write the int8 model, ``manifest.json`` and ``evaluation.json``.

    Returns
    -------
    (TrainResult, dict)
        The history, and the metrics of the float, QAT and int8 (in TFLM) models by split.
    """
    training = runs.read_json(run / TRAINING, TRAIN_COMMAND)
    features = FeatureConfig.parse(training["features"], str(run / TRAINING))
    base = TrainConfig.parse(training["train"], str(run / TRAINING))
    windows = load_windows(run, features, base, on_file)
    if list(windows.plan.labels) != training["labels"]:
        raise CheepError(
            f"{run / runs.DATASET}: labels {list(windows.plan.labels)} are not those of {runs.FLOAT_MODEL} "
            f"{training['labels']}; train again with {TRAIN_COMMAND}"
        )
    teacher = train_teachers(run, windows, base) if base.teacher_model else None
    seed_everything(config.seed)
    model = load_keras(run / runs.FLOAT_MODEL)
    qat = quantization_aware(model)
    tuning = fine_tune_config(base, config)
    result = fit(qat, windows.splits["train"], windows.splits["val"], tuning, run / "checkpoint-qat", on_epoch, teacher)
    tflite = qat_to_int8(qat)
    runtime = TflmModel(tflite)
    scores = int8_scores(runtime, windows)
    detector = first_detector(windows, scores["val"])
    manifest = write_bundle(
        run,
        runs.INT8_TFLITE,
        tflite,
        features=features,
        labels=windows.plan.labels,
        detector=detector,
        golden=_golden_window(runtime, windows),
        data=training["data"],
        training={"train": base.to_dict(), "qat": config.to_dict(), "background": windows.plan.background},
    )
    metrics = {
        "float": training["metrics"]["float"],
        "qat": evaluate_keras(qat, windows),
        "int8": {name: summarize(scores[name]) for name in scores},
    }
    runs.write_json(
        run / EVALUATION,
        {
            "metrics": metrics,
            "history_qat": result.history,
            "best_epoch_qat": result.best_epoch,
            "bytes": {
                "float": (run / runs.FLOAT_TFLITE).stat().st_size,
                "int8": manifest["model"]["bytes"],
                "arena": manifest["model"]["arena_bytes"],
            },
            "model_sha256": manifest["model"]["sha256"],
        },
    )
    return result, metrics


def evaluate_keras(model: Any, windows: Windows) -> dict[str, Any]:
    """Return the metrics of a Keras model on each split that has windows."""
    return {
        name: summarize(_scores_of(part, windows.plan, model.predict(part.all()[..., None], batch_size=512, verbose=0)))
        for name, part in windows.splits.items()
        if len(part)
    }


def int8_scores(runtime: TflmModel, windows: Windows) -> dict[str, WindowScores]:
    """Return the scores of the int8 model in TFLM for each split that has windows."""
    out = {}
    for name, part in windows.splits.items():
        if len(part):
            raw = runtime.scores(quantize_windows(runtime, part.all()))
            out[name] = _scores_of(part, windows.plan, dequantize_scores(runtime, raw))
    return out


def quantize_windows(runtime: TflmModel, x: np.ndarray) -> np.ndarray:
    """Quantize float windows (n, frames, mels) with the model's own input scale, by the device's rule."""
    detail = runtime.input_info
    return quantize(x, detail.scale, detail.zero_point)


def dequantize_scores(runtime: TflmModel, q: np.ndarray) -> np.ndarray:
    """Return int8 scores (n, classes) as float32 in 0..1."""
    detail = runtime.output_info
    return ((q.astype(np.float32) - detail.zero_point) * np.float32(detail.scale)).astype(np.float32)


def first_detector(windows: Windows, val: WindowScores, false_rate: float = 0.01) -> DetectorConfig:
    """Return a detector whose thresholds let at most ``false_rate`` of the validation windows of others through.

    It stands until ``cheep calibrate`` measures false alarms per hour on long recordings.
    """
    plan = windows.plan
    thresholds: list[float | None] = []
    for i, label in enumerate(plan.labels):
        if label == plan.background:
            thresholds.append(None)
            continue
        others = np.sort(val.scores[val.targets[:, i] == 0, i])
        value = (
            float(others[min(len(others) - 1, int(np.ceil(len(others) * (1 - false_rate))))]) if len(others) else 0.5
        )
        thresholds.append(round(min(max(value + 1 / 256, 0.1), 0.98), 4))
    return DetectorConfig(stride_frames=default_stride(windows.features.hop_s), threshold=tuple(thresholds))


def save_keras(model: Any, path: Path) -> None:
    """Save a legacy-Keras model as HDF5, whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".h5")
    os.close(handle)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # HDF5 is what users of legacy Keras expect
            model.save(name, save_format="h5", include_optimizer=False)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def load_keras(path: Path) -> Any:
    """Load a Keras HDF5 model; CheepError where it is missing or damaged."""
    keras = import_tf().keras
    try:
        return keras.models.load_model(runs.needed(path, TRAIN_COMMAND), compile=False)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise CheepError(f"{path}: not a Keras model ({reason}); train again with {TRAIN_COMMAND}") from None


def describe_data(run: Path, windows: Windows) -> dict[str, Any]:
    """Return what the model was trained on: hash of the manifest, counts by label and split."""
    import hashlib

    counts: dict[str, dict[str, int]] = {}
    for label, split in zip(windows.manifest.column("label"), windows.manifest.column("split"), strict=True):
        counts.setdefault(label, {}).setdefault(split, 0)
        counts[label][split] += 1
    return {
        "dataset_sha256": hashlib.sha256((run / runs.DATASET).read_bytes()).hexdigest(),
        "windows": counts,
        "recordings": len(set(windows.manifest.column("recording"))),
        "hours": round(float(np.sum(windows.manifest.duration_s)) / 3600, 3),
    }


def _with_levels(part: WindowSet, manifest: Manifest, run: Path) -> WindowSet:
    levels = part.cache.config.model_copy(update={"compression": "db"})
    return dataclasses.replace(part, levels=load_cache(manifest, levels, run / "features"))


def _scores_of(part: WindowSet, plan: LabelPlan, scores: np.ndarray) -> WindowScores:
    return WindowScores(plan.labels, plan.activation, part.targets, np.asarray(scores, np.float32), part.clip)


def _golden_window(runtime: TflmModel, windows: Windows) -> np.ndarray:
    part = windows.splits["val"]
    rows = np.linspace(0, len(part) - 1, min(len(part), 256)).astype(int)
    q = quantize_windows(runtime, part.gather(rows))
    scores = runtime.scores(q).astype(int)
    return q[int(np.argmax(scores.max(axis=1) - np.abs(scores.mean(axis=1))))]
