# SPDX-License-Identifier: MIT
"""Thresholds for a promised number of false alarms, and probabilities, kept beside the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cheep import runs
from cheep.config import TrainConfig
from cheep.device.bundle import ModelBundle
from cheep.errors import CheepError, GateError
from cheep.evaluate.calibration import calibrate
from cheep.evaluate.outcome import Calibration
from cheep.evaluate.streaming import Output, ScoredRecording
from cheep.evaluate.temperature import TemperatureFit, calibrate_scores
from cheep.files import plain, read_json, write_json
from cheep.job import OnFile
from cheep.job.scores import int8_scores
from cheep.job.windows import load_windows
from cheep.tflite.tflm import TflmModel

SMOOTHING, HOLD_OFF = (1, 2, 3, 5, 8), (0, 2, 8)  # candidates in windows


def find_thresholds(
    bundle: ModelBundle,
    recordings: Sequence[ScoredRecording],
    max_per_hour: float,
    *,
    smoothing: Sequence[int] = SMOOTHING,
    hold_off: Sequence[int] = HOLD_OFF,
    silent: Sequence[str] | None = None,
    collar_s: float = 0.0,
    promise: bool = False,
    new_hours: float | None = None,
    seed: int = 0,
) -> Calibration:
    """Return the calibration of a model on held-out recordings; parameters as :func:`calibrate` has them.

    Raises
    ------
    CheepError
        ``silent`` names a label that the model does not have.
    """
    return calibrate(
        recordings, Output.of(bundle), bundle.detector, max_per_hour, smoothing=smoothing, hold_off=hold_off,
        silent=_silent(silent, bundle), rng=np.random.default_rng(seed), collar_s=collar_s, promise=promise,
        new_hours=new_hours,
    )  # fmt: skip


def check_promise(result: Calibration) -> None:
    """Raise GateError where the recordings cannot promise the rate of every label."""
    short = tuple(item for item in result.labels if not item.promised)
    if short:
        raise GateError(f"nothing written: {'; '.join(dataclasses.replace(result, labels=short).notes())}")


def keep_thresholds(bundle: ModelBundle, result: Calibration, details: Path | None = None) -> tuple[Path, Path]:
    """Write thresholds and settings into ``manifest.json``, the curves into ``calibration.json``; return both.

    A temperature that was fitted to this model before stays: it does not depend on thresholds.
    """
    path = bundle.path.parent / runs.MANIFEST
    manifest = read_json(path, runs.QAT_COMMAND)
    temperature = kept_temperature(bundle)
    manifest["detector"] = result.detector.to_dict()
    manifest["calibration"] = plain({**result.to_dict(), "temperature": temperature})
    write_json(path, manifest)
    labels = [{**item.to_dict(), "curve": item.curve} for item in result.labels]
    details = _details(bundle, details)
    write_json(details, plain({"labels": labels, "temperature": temperature, "model_sha256": bundle.model.sha256}))
    return path, details


def kept_temperature(bundle: ModelBundle) -> dict[str, Any] | None:
    """Return the temperature that an earlier calibration of the model has kept."""
    values = read_json(bundle.path.parent / runs.MANIFEST, runs.QAT_COMMAND)
    if values.get("model", {}).get("sha256") != bundle.model.sha256:
        return None
    return (values.get("calibration") or {}).get("temperature")


def fit_temperature(bundle: ModelBundle, *, seed: int = 0, on_file: OnFile | None = None) -> TemperatureFit:
    """Return the temperature that turns scores into probabilities, fitted on the run's validation windows.

    Raises
    ------
    CheepError
        There are none, or not of this model: the message says why.
    """
    run = bundle.path.parent
    if bundle.verifier is not None:
        raise CheepError("a temperature is of one network; the scores here are of two (detector.verify)")
    if not ((run / runs.DATASET).is_file() and (run / runs.TRAINING).is_file()):
        raise CheepError(f"{run} holds no data set whose validation windows could tell probabilities")
    config = TrainConfig.parse(read_json(run / runs.TRAINING, runs.TRAIN_COMMAND)["train"], "training.json")
    windows = load_windows(run, bundle.features, config, on_file, only="val")
    if tuple(windows.plan.labels) != bundle.labels:
        raise CheepError(f"{run / runs.DATASET} has other labels than the model")
    scores = int8_scores(TflmModel(bundle.path), windows, bundle.scale).get("val")
    if scores is None:
        raise CheepError(f"{run / runs.DATASET} has no validation windows")
    return calibrate_scores(scores, np.random.default_rng(seed))


def keep_temperature(bundle: ModelBundle, fit: TemperatureFit, details: Path | None = None) -> Path:
    """Add a temperature (none, where it does not help) to what :func:`keep_thresholds` wrote; return the manifest."""
    values = fit.to_dict() if fit.helps else None
    path = bundle.path.parent / runs.MANIFEST
    manifest = read_json(path, runs.QAT_COMMAND)
    manifest["calibration"]["temperature"] = values
    write_json(path, manifest)
    details = _details(bundle, details)
    write_json(details, {**read_json(details, "cheep calibrate"), "temperature": values})
    return path


def _details(bundle: ModelBundle, given: Path | None) -> Path:
    return given or bundle.path.parent / "calibration.json"


def _silent(given: Sequence[str] | None, bundle: ModelBundle) -> tuple[str, ...]:
    if given is None:
        thresholds = bundle.detector.threshold
        if len(thresholds) == len(bundle.labels):
            return tuple(label for label, t in zip(bundle.labels, thresholds, strict=True) if t is None)
        return tuple(label for label in bundle.labels if label == "background")
    for label in given:
        if label not in bundle.labels:
            raise CheepError(f"--silent {label}: not a label of the model ({', '.join(bundle.labels)})")
    return tuple(given)
