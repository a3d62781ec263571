# SPDX-License-Identifier: MIT
"""Train the float network of a run, with its teachers where it has any."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from cheep import runs
from cheep.config import FeatureConfig, TrainConfig
from cheep.config.training import BACKBONES
from cheep.convert.tflite import to_tflite
from cheep.datasets.soft import SOFT_LABELS
from cheep.errors import CheepError
from cheep.features.digests import sha256_of
from cheep.files import read_json, write_bytes, write_json
from cheep.job import OnEpoch, OnFile, OnStep, no_step
from cheep.job.scores import evaluate_keras
from cheep.job.windows import Windows, describe_data, load_windows, with_levels
from cheep.models import build_model, network_for
from cheep.models.backbone import network_of
from cheep.models.registry import Hears
from cheep.models.saved import load_keras, save_keras
from cheep.models.towers import merge
from cheep.tf_runtime import seed_everything
from cheep.training.backbone import fit_backbone
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
    on_step: OnStep = no_step,
) -> tuple[TrainResult, dict[str, Any]]:
    """Train the float network: ``model.h5``, ``bird_detector.tflite`` and ``training.json`` of the run.

    Returns
    -------
    (TrainResult, dict)
        The history, and the metrics of the float model by split.
    """
    with runs.working_in(run):
        if config.model in BACKBONES:  # is all there that it begins with?
            network_of(config, features, 1, "sigmoid")
        windows = load_windows(run, features, config, on_file)
        plan = windows.plan
        if config.towers:
            model, result = train_towers(run, windows, config, on_epoch)
        else:
            teacher = train_teachers(run, windows, config, on_epoch) if config.teacher_model else None
            if teacher:
                log.info("student of the teachers: %d epochs", config.epochs)
            seed_everything(config.seed)
            model = network_of(config, features, len(plan.labels), plan.activation)
            result = _fit(model, run, windows, config, on_epoch, teacher)
        on_step("scores of the float network")
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


def train_towers(
    run: Path, windows: Windows, config: TrainConfig, on_epoch: OnEpoch | None = None
) -> tuple[Any, TrainResult]:
    """Train the networks of ``config.towers``, or load them, and merge them into one.

    They are kept as ``tower_1_db.h5``, ``tower_2_pcen.h5``, ... with the settings that made them; each has a seed of
    its own, so that no two are mistaken alike. The history is the mean of theirs.

    Raises
    ------
    CheepError
        A form of the bands that the features do not have.
    """
    features, plan = windows.features, windows.plan
    if features.compression != "both" and set(config.towers) != {features.compression}:
        raise CheepError(
            f"towers={list(config.towers)}: the features give {features.compression!r} alone; set "
            "features.compression: both (and twice as many n_mels)"
        )
    members, histories = [], []
    for place, kind in enumerate(config.towers):
        own = config.model_copy(update={"towers": (), "seed": config.seed + 1000 * place})
        path = run / f"tower_{place + 1}_{kind}.h5"
        log.info("tower %d of %d, on %s: %d epochs", place + 1, len(config.towers), kind, own.epochs)
        histories.append(_member(run, path, features.alone(kind), own, windows, "levels", on_epoch))
        members.append((load_keras(path), kind))
    seed_everything(config.seed)
    model = network_for(config, features, len(plan.labels), plan.activation)
    merge(model, members, features)
    history = [
        {name: float(np.mean([numbers[name] for numbers in epoch])) for name in epoch[0]}
        for epoch in zip(*histories, strict=True)
    ]
    return model, TrainResult(history, 0, False)


def _fit(
    model: Any, run: Path, windows: Windows, config: TrainConfig, on_epoch: OnEpoch | None, teacher: Teacher | None
) -> TrainResult:
    """Train one network in place, in the way that its kind needs."""
    train, val = windows.splits["train"], windows.splits["val"]
    if config.model in BACKBONES:
        return fit_backbone(model, train, val, config, on_epoch, state_folder=run / "checkpoint", teacher=teacher)
    return fit(model, train, val, config, run / "checkpoint", on_epoch, teacher)


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
        features = windows.features.alone("pcen" if kind == "pcen" else "db")
        if kind == "pcen":
            features = features.model_copy(update={"pcen_eps": TEACHER_PCEN_EPS})
        path = run / f"teacher_{place + 1}_{kind}.h5"
        log.info("teacher %d of %d, on %s: %d epochs", place + 1, len(config.teachers), kind, lessons.epochs)
        hears = kind if kind in ("peak", "mean") else "levels"
        _member(run, path, features, lessons, windows, hears, on_epoch)
        members.append((path, features))
    return Teacher(
        tuple((load_keras(path), features) for path, features in members), windows.splits["train"].context_frames
    )


def _member(
    run: Path, path: Path, features: FeatureConfig, config: TrainConfig, windows: Windows, hears: Hears,
    on_epoch: OnEpoch | None,
) -> list[dict[str, float]]:  # fmt: skip
    """Train one network of several and save it as ``path``, where it is not there yet; return its history.

    What it was made by stands beside it; Ctrl-C ends the whole training, which goes on from there.
    """
    about = path.with_suffix(".json")
    made_by = {
        "features": features.to_dict(),
        "train": {key: value for key, value in config.to_dict().items() if not key.startswith("teacher")},
        "context_frames": windows.splits["train"].context_frames,
        "data": describe_data(run, windows),
    }
    if config.soft_weight:
        made_by["soft_labels"] = sha256_of(run / SOFT_LABELS)
    kept = read_json(about, runs.TRAIN_COMMAND) if path.is_file() and about.is_file() else {}
    if kept.pop("history", None) is not None and kept == made_by:
        return read_json(about, runs.TRAIN_COMMAND)["history"]
    about.unlink(missing_ok=True)
    part = load_windows(run, features, config)
    train = part.splits["train"]
    if windows.splits["train"].levels:  # the same stretches of sound for all
        train = with_levels(train, part.manifest, run)
    seed_everything(config.seed)
    shape, plan = (features.window_frames, features.n_mels), windows.plan
    model = build_model(config.model, shape, len(plan.labels), plan.activation, config.dropout, hears)
    result = fit(model, train, part.splits["val"], config, run / f"checkpoint-{path.stem}", on_epoch)
    if result.interrupted:
        raise KeyboardInterrupt
    save_keras(model, path)
    write_json(about, {**made_by, "history": result.history})
    return result.history
