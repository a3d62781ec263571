"""The int8 model of a run: by quantization-aware fine-tuning, or by calibration on real windows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cheep import runs
from cheep.config import FeatureConfig, QatConfig, TrainConfig
from cheep.convert.bundle import write_bundle
from cheep.convert.tflite import calibrated_int8, qat_to_int8
from cheep.datasets.manifest import load_manifest
from cheep.errors import CheepError
from cheep.evaluate.windows import summarize
from cheep.files import read_json, write_bytes, write_json
from cheep.job.scores import evaluate_keras, first_detector, golden_window, int8_scores
from cheep.job.train import OnEpoch, train_teachers
from cheep.job.windows import OnFile, Windows, describe_data, load_windows
from cheep.models.saved import load_keras
from cheep.tf_runtime import seed_everything
from cheep.tflite.tflm import TflmModel
from cheep.training.data import load_cache, window_set
from cheep.training.loop import TrainResult, fit
from cheep.training.qat import fine_tune_config, quantization_aware

#: Windows that calibrate an int8 model where nothing else is said.
CALIBRATION_WINDOWS = 500


def quantize_aware(
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
    with runs.working_in(run):
        training = read_json(run / runs.TRAINING, runs.TRAIN_COMMAND)
        features = FeatureConfig.parse(training["features"], str(run / runs.TRAINING))
        base = TrainConfig.parse(training["train"], str(run / runs.TRAINING))
        windows = load_windows(run, features, base, on_file)
        if list(windows.plan.labels) != training["labels"]:
            raise CheepError(
                f"{run / runs.DATASET}: labels {list(windows.plan.labels)} are not those of {runs.FLOAT_MODEL} "
                f"{training['labels']}; train again with {runs.TRAIN_COMMAND}"
            )
        teacher = train_teachers(run, windows, base) if base.teacher_model else None
        seed_everything(config.seed)
        model = load_keras(run / runs.FLOAT_MODEL)
        qat = quantization_aware(model)
        tuning = fine_tune_config(base, config)
        result = fit(
            qat, windows.splits["train"], windows.splits["val"], tuning, run / "checkpoint-qat", on_epoch, teacher
        )
        metrics = write_int8(
            run,
            windows,
            qat_to_int8(qat),
            {"float": training["metrics"]["float"], "qat": evaluate_keras(qat, windows)},
            data=training["data"],
            training={"train": base.to_dict(), "qat": config.to_dict()},
            result=result,
        )
    return result, metrics


def quantize_after_training(
    run: Path,
    features: FeatureConfig,
    training: TrainConfig,
    *,
    seed: int,
    examples: Path | None = None,
    share: float | None = None,
    float_io: tuple[str, Sequence[str]] | None = None,
    on_file: OnFile | None = None,
) -> dict[str, Any]:
    """Calibrate ``model.h5`` on real windows; write the int8 model, ``manifest.json`` and ``evaluation.json``.

    Parameters
    ----------
    examples : Path, optional
        Manifest whose windows calibrate; default: the training windows.
    share : float, optional
        Part of them that is used (at least 16); default: at most :data:`CALIBRATION_WINDOWS`.
    float_io : (str, pair of str), optional
        Name of a second file, of the same model with these types ("float" or "int8") of input and output.

    Returns
    -------
    dict
        The metrics of the float and the int8 (in TFLM) model by split.
    """
    with runs.working_in(run):
        seed_everything(seed)
        windows = load_windows(run, features, training, on_file)
        model = load_keras(run / runs.FLOAT_MODEL)
        part = windows.splits["train"]
        if examples is not None:
            manifest = load_manifest(examples)
            part = window_set(manifest, load_cache(manifest, features, run / "features", on_file), windows.plan)
        count = min(len(part), CALIBRATION_WINDOWS) if share is None else max(16, round(share * len(part)))
        rng = np.random.default_rng(training.seed)
        real = part.gather(np.sort(rng.permutation(len(part))[:count]))
        tflite = calibrated_int8(model, real)
        if float_io is not None:
            name, kinds = float_io
            write_bytes(run / name, calibrated_int8(model, real, *kinds))
        return write_int8(
            run,
            windows,
            tflite,
            {"float": evaluate_keras(model, windows)},
            data=describe_data(run, windows),
            training={"train": training.to_dict(), "ptq": {"windows": len(real)}},
        )


def write_int8(
    run: Path,
    windows: Windows,
    tflite: bytes,
    metrics: dict[str, Any],
    *,
    data: dict[str, Any],
    training: dict[str, Any],
    result: TrainResult | None = None,
) -> dict[str, Any]:
    """Write an int8 model with all that travels with it, and ``evaluation.json``; return ``metrics`` with its own.

    Parameters
    ----------
    metrics : dict
        Of the other models, by name and split.
    data, training : dict
        What the model was trained on and how, for its manifest.
    result : TrainResult, optional
        The fine-tuning, where there was one.
    """
    runtime = TflmModel(tflite)
    scores = int8_scores(runtime, windows)
    manifest = write_bundle(
        run,
        runs.INT8_TFLITE,
        tflite,
        features=windows.features,
        labels=windows.plan.labels,
        detector=first_detector(windows, scores["val"]),
        golden=golden_window(runtime, windows),
        data=data,
        training={**training, "background": windows.plan.background},
    )
    metrics = {**metrics, "int8": {name: summarize(values) for name, values in scores.items()}}
    sizes = {"int8": manifest["model"]["bytes"], "arena": manifest["model"]["arena_bytes"]}
    if (run / runs.FLOAT_TFLITE).is_file():
        sizes["float"] = (run / runs.FLOAT_TFLITE).stat().st_size
    write_json(
        run / runs.EVALUATION,
        {
            "metrics": metrics,
            "history_qat": result.history if result else [],
            "best_epoch_qat": result.best_epoch if result else 0,
            "bytes": sizes,
            "model_sha256": manifest["model"]["sha256"],
        },
    )
    return metrics
