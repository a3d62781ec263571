# SPDX-License-Identifier: MIT
"""Train the float network of a run, with its teachers where it has any."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from cheep import runs
from cheep.config import FeatureConfig, TrainConfig
from cheep.convert.tflite import to_tflite
from cheep.files import read_json, write_bytes, write_json
from cheep.job import OnEpoch, OnFile
from cheep.job.scores import evaluate_keras
from cheep.job.windows import Windows, describe_data, load_windows, with_levels
from cheep.models import build_model
from cheep.models.saved import load_keras, save_keras
from cheep.tf_runtime import seed_everything
from cheep.training.distill import Teacher
from cheep.training.loop import TrainResult, fit

log = logging.getLogger(__name__)

TEACHER_PCEN_EPS = 1e-8  # below the noise of quiet recordings, so that PCEN follows them too


def train_network(
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
    with runs.working_in(run):
        windows = load_windows(run, features, config, on_file)
        plan = windows.plan
        teacher = train_teachers(run, windows, config, on_epoch) if config.teacher_model else None
        if teacher:
            log.info("student of the teachers: %d epochs", config.epochs)
        seed_everything(config.seed)
        shape = (features.window_frames, features.n_mels)
        model = build_model(config.model, shape, len(plan.labels), plan.activation, config.dropout, config.hears)
        result = fit(
            model, windows.splits["train"], windows.splits["val"], config, run / "checkpoint", on_epoch, teacher
        )
        save_keras(model, run / runs.FLOAT_MODEL)
        write_bytes(run / runs.FLOAT_TFLITE, to_tflite(model))
        metrics = evaluate_keras(model, windows)
        write_json(
            run / runs.TRAINING,
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
        if not (path.is_file() and about.is_file() and read_json(about, runs.TRAIN_COMMAND) == made_by):
            about.unlink(missing_ok=True)
            part = load_windows(run, features, lessons)
            train = part.splits["train"]
            if windows.splits["train"].levels:  # the same stretches of sound for all teachers
                train = with_levels(train, part.manifest, run)
            log.info("teacher %d of %d, on %s: %d epochs", place + 1, len(config.teachers), kind, lessons.epochs)
            seed_everything(lessons.seed)
            shape, plan = (features.window_frames, features.n_mels), windows.plan
            hears = kind if kind in ("peak", "mean") else "levels"
            model = build_model(lessons.model, shape, len(plan.labels), plan.activation, lessons.dropout, hears)
            fit(model, train, part.splits["val"], lessons, run / f"checkpoint-{path.stem}", on_epoch)
            save_keras(model, path)
            write_json(about, made_by)
        members.append((path, features))
    return Teacher(
        tuple((load_keras(path), features) for path, features in members), windows.splits["train"].context_frames
    )
