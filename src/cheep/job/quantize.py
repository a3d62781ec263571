# SPDX-License-Identifier: MIT
"""The int8 model of a run: by quantization-aware fine-tuning, or by calibration on real windows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cheep import runs
from cheep.config import DetectorConfig, FeatureConfig, PtqConfig, QatConfig, QuantizeConfig, TrainConfig
from cheep.convert.bundle import write_bundle
from cheep.convert.tflite import calibrated_int8, qat_to_int8
from cheep.datasets.manifest import load_manifest
from cheep.detector import ScoreScale
from cheep.device.bundle import load_bundle
from cheep.ears.papers import KEY, NOTICE, notice, papers_beside
from cheep.errors import CheepError
from cheep.evaluate.signals import Heard, hear_signals
from cheep.evaluate.windows import summarize
from cheep.files import read_json, write_bytes, write_json, write_text
from cheep.job import OnEpoch, OnFile, OnStep, no_step
from cheep.job.scores import evaluate_keras, fast_scores, first_detector, golden_calls, int8_scores, quantize_windows
from cheep.job.signals import raised_over
from cheep.job.train import train_teachers
from cheep.job.windows import Windows, describe_data, load_windows
from cheep.models.saved import load_keras
from cheep.tf_runtime import seed_everything
from cheep.tflite.logits import logit_model
from cheep.tflite.tflm import TflmModel
from cheep.training.data import load_cache, window_set
from cheep.training.loop import TrainResult, fit
from cheep.training.qat import fine_tune_config, quantization_aware

log = logging.getLogger(__name__)

SCALE_WINDOWS = 1500  # of training, evenly drawn, that the scale of the logits is chosen by
OTHER_ENDS_TFLITE = "bird_detector_int8_other_ends.tflite"


def quantize_run(
    run: Path,
    config: QuantizeConfig,
    on_file: OnFile | None = None,
    on_epoch: OnEpoch | None = None,
    made_with: tuple[FeatureConfig, TrainConfig] | None = None,
    may_fire_on: Sequence[str] = (),
    on_step: OnStep = no_step,
) -> tuple[TrainResult | None, dict[str, Any]]:
    """Make the int8 model of a run in the way that the settings name; see the two functions below.

    Parameters
    ----------
    made_with : (FeatureConfig, TrainConfig), optional
        Of a ``model.h5`` that was not trained in this run (for ``ptq``); default: those of ``training.json``.
    may_fire_on : sequence of str
        Signals without sound that the first thresholds need not keep quiet about (:mod:`cheep.evaluate.signals`).

    Returns
    -------
    (TrainResult or None, dict)
        The history of fine-tuning, where there was one, and the metrics by model and split.
    """
    if config.method == "qat":
        return quantize_aware(run, config.qat, on_file, on_epoch, may_fire_on, on_step)
    features, training = made_with or settings_of_training(run)
    return None, quantize_after_training(run, features, training, config.ptq, on_file, may_fire_on, on_step)


def settings_of_training(run: Path) -> tuple[FeatureConfig, TrainConfig]:
    """Return the settings that ``model.h5`` of a run was trained with."""
    path = run / runs.TRAINING
    training = read_json(path, runs.TRAIN_COMMAND)
    return FeatureConfig.parse(training["features"], str(path)), TrainConfig.parse(training["train"], str(path))


def quantize_aware(
    run: Path,
    config: QatConfig,
    on_file: OnFile | None = None,
    on_epoch: OnEpoch | None = None,
    may_fire_on: Sequence[str] = (),
    on_step: OnStep = no_step,
) -> tuple[TrainResult, dict[str, Any]]:
    """Fine-tune ``model.h5`` quantization-aware; write the int8 model, ``manifest.json`` and ``evaluation.json``.

    Returns
    -------
    (TrainResult, dict)
        The history, and the metrics of the float, QAT and int8 (in TFLM) models by split.
    """
    with runs.working_in(run):
        training = read_json(run / runs.TRAINING, runs.TRAIN_COMMAND)
        features, base = settings_of_training(run)
        windows = load_windows(run, features, base, on_file)
        if list(windows.plan.labels) != training["labels"]:
            raise CheepError(
                f"{run / runs.DATASET}: labels {list(windows.plan.labels)} are not those of {runs.FLOAT_MODEL} "
                f"{training['labels']}; train again with {runs.TRAIN_COMMAND}"
            )
        teacher = train_teachers(run, windows, base, on_epoch) if base.teacher_model else None
        on_step("loading the float network")
        seed_everything(config.seed)
        model = load_keras(run / runs.FLOAT_MODEL)
        qat = quantization_aware(model)
        tuning = fine_tune_config(base, config)
        result = fit(
            qat, windows.splits["train"], windows.splits["val"], tuning, run / "checkpoint-qat", on_epoch, teacher
        )
        on_step("conversion to int8")
        tflite = qat_to_int8(qat)
        on_step("scores of the fine-tuned network")
        metrics = write_int8(
            run,
            windows,
            tflite,
            {"float": training["metrics"]["float"], "qat": evaluate_keras(qat, windows)},
            data=training["data"],
            training={"train": base.to_dict(), "qat": config.to_dict()},
            result=result,
            may_fire_on=may_fire_on,
            on_step=on_step,
        )
    return result, metrics


def quantize_after_training(
    run: Path,
    features: FeatureConfig,
    training: TrainConfig,
    config: PtqConfig,
    on_file: OnFile | None = None,
    may_fire_on: Sequence[str] = (),
    on_step: OnStep = no_step,
) -> dict[str, Any]:
    """Calibrate ``model.h5`` on real windows; write the int8 model, ``manifest.json`` and ``evaluation.json``.

    The windows are those of ``calibration.csv`` of the run where it is, else of training.

    Returns
    -------
    dict
        The metrics of the float and the int8 (in TFLM) model by split.
    """
    with runs.working_in(run):
        seed_everything(training.seed)
        windows = load_windows(run, features, training, on_file)
        model = load_keras(run / runs.FLOAT_MODEL)
        part = windows.splits["train"]
        if (run / runs.CALIBRATION).is_file():
            manifest = load_manifest(run / runs.CALIBRATION)
            part = window_set(manifest, load_cache(manifest, features, run / "features", on_file), windows.plan)
        count = min(len(part), config.windows) if config.share is None else max(16, round(config.share * len(part)))
        rng = np.random.default_rng(training.seed)
        real = part.gather(np.sort(rng.permutation(len(part))[:count]))
        on_step(f"calibration on {len(real)} windows")
        tflite = calibrated_int8(model, real)
        if (config.input, config.output) != ("int8", "int8"):
            write_bytes(run / OTHER_ENDS_TFLITE, calibrated_int8(model, real, config.input, config.output))
        on_step("scores of the float network")
        return write_int8(
            run,
            windows,
            tflite,
            {"float": evaluate_keras(model, windows)},
            data=describe_data(run, windows),
            training={"train": training.to_dict(), "ptq": {"windows": len(real)}},
            may_fire_on=may_fire_on,
            on_step=on_step,
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
    may_fire_on: Sequence[str] = (),
    on_step: OnStep = no_step,
) -> dict[str, Any]:
    """Write an int8 model with all that travels with it, and ``evaluation.json``; return ``metrics`` with its own.

    Its last activation is cut off: it gives logits, in steps chosen from training windows.

    Parameters
    ----------
    metrics : dict
        Of the other models, by name and split.
    data, training : dict
        What the model was trained on and how, for its manifest.
    result : TrainResult, optional
        The fine-tuning, where there was one.
    may_fire_on
        As :func:`quantize_run` has it. ``evaluation.json`` keeps what the detector says to every signal.
    """
    on_step("scale of the logits, on training windows")
    tflite, described = logit_model(tflite, lambda data: _training_scores(data, windows))
    runtime = TflmModel(tflite)
    scale = ScoreScale.of(runtime.output_info, described)
    on_step(f"int8 scores of {sum(len(part) for part in windows.splits.values())} windows")
    scores = int8_scores(runtime, windows, scale)
    golden = golden_calls(runtime, windows, scale)
    papers = papers_beside(run)

    def write(detector: DetectorConfig) -> tuple[dict[str, Any], list[Heard]]:
        manifest = write_bundle(
            run,
            runs.INT8_TFLITE,
            tflite,
            features=windows.features,
            labels=windows.plan.labels,
            detector=detector,
            golden=golden,
            data=data,
            training={**training, "background": windows.plan.background, **({KEY: papers} if papers else {})},
            scores=described,
        )
        return manifest, hear_signals(load_bundle(run / runs.INT8_TFLITE))

    on_step("arena, and what it says to signals without sound")
    detector = first_detector(windows, scores["val"], scale)
    manifest, heard = write(detector)
    detector, raised = raised_over(detector, windows.plan.labels, heard, may_fire_on)
    if raised:
        log.info("threshold raised: %s", "; ".join(raised))
        manifest, heard = write(detector)
    metrics = {**metrics, "int8": {name: summarize(values) for name, values in scores.items()}}
    if papers:
        write_text(run / NOTICE, notice(papers))
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
            "signals": [item.to_dict() for item in heard],
            "model_sha256": manifest["model"]["sha256"],
        },
    )
    return metrics


def _training_scores(data: bytes, windows: Windows) -> np.ndarray:
    """Return what an int8 model says of training windows, (n, classes) int8."""
    runtime, part = TflmModel(data), windows.splits["train"]
    rows = np.linspace(0, len(part) - 1, min(len(part), SCALE_WINDOWS)).astype(int)
    return fast_scores(runtime, quantize_windows(runtime, part.gather(rows)))
