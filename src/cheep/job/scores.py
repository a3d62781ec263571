# SPDX-License-Identifier: MIT
"""What a network says of a run's windows: scores, metrics, the first thresholds, the window of the boot check."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from cheep.compiler.engine import CompiledModel
from cheep.config import DetectorConfig, default_stride
from cheep.detector import ScoreScale, kept_threshold, logit, probability
from cheep.errors import CheepError
from cheep.evaluate.windows import WindowScores, summarize
from cheep.features import quantize
from cheep.job.windows import Windows
from cheep.tflite.reader import read_graph
from cheep.tflite.tflm import TflmModel
from cheep.training.data import LabelPlan, WindowSet
from cheep.training.loop import predict_windows

log = logging.getLogger(__name__)

_WORTH_COMPILING = 3e9  # multiply-accumulates in all: below, the C compiler takes longer than it saves
_COMPARED = 32  # windows that TFLM scores as well


def keras_scores(model: Any, windows: Windows) -> dict[str, WindowScores]:
    """Return the scores of a Keras model for each split that has windows.

    Raises
    ------
    CheepError
        The model has another number of outputs than the run has labels.
    """
    out = {}
    for name, part in windows.splits.items():
        if len(part):
            scores = predict_windows(model, part)
            if scores.shape[1] != part.targets.shape[1]:
                raise CheepError(
                    f"the model has {scores.shape[1]} outputs, the data set {part.targets.shape[1]} labels "
                    f"({', '.join(windows.plan.labels)}); use the labels that the model was trained on"
                )
            out[name] = _scores_of(part, windows.plan, scores)
    return out


def evaluate_keras(model: Any, windows: Windows) -> dict[str, Any]:
    """Return the metrics of a Keras model on each split that has windows."""
    return {name: summarize(scores) for name, scores in keras_scores(model, windows).items()}


def int8_scores(runtime: TflmModel, windows: Windows, scale: ScoreScale) -> dict[str, WindowScores]:
    """Return the scores of the int8 model, as probabilities, for each split that has windows.

    Many windows are scored by the compiled network, which gives TFLM's bits many times faster; the first of each split
    by both.

    Raises
    ------
    CheepError
        The compiled network says something else than TFLM.
    """
    compiled = _compiled(runtime, sum(len(part) for part in windows.splits.values()))
    out = {}
    for name, part in windows.splits.items():
        if len(part):
            blocks = (quantize_windows(runtime, x) for x in part.blocks())
            raw = np.concatenate([(compiled or runtime).scores(x) for x in blocks])
            if compiled:
                _compare(runtime, quantize_windows(runtime, part.gather(np.arange(min(_COMPARED, len(part))))), raw)
            out[name] = _scores_of(part, windows.plan, scale.probabilities(raw))
    return out


def fast_scores(runtime: TflmModel, windows: np.ndarray) -> np.ndarray:
    """Return what the int8 model says of windows, (n, columns, mels) int8 in, (n, classes) int8 out.

    As :func:`int8_scores`: by the compiled network where there are many, the first of them by TFLM, too.
    """
    compiled = _compiled(runtime, len(windows))
    raw = (compiled or runtime).scores(windows)
    if compiled:
        _compare(runtime, windows[:_COMPARED], raw)
    return raw


def _compare(runtime: TflmModel, windows: np.ndarray, raw: np.ndarray) -> None:
    if not np.array_equal(runtime.scores(windows), raw[: len(windows)]):
        raise CheepError(
            "the compiled network does not say what TFLM says; please report it (python scripts/check_reference.py RUN "
            "shows where)"
        )


def _compiled(runtime: TflmModel, n_windows: int) -> CompiledModel | None:
    """Return the network as machine code; None where that does not pay, or where it cannot be had."""
    if n_windows * read_graph(runtime.data).macs < _WORTH_COMPILING:
        return None
    try:
        return CompiledModel(runtime.data)
    except (CheepError, ImportError) as error:
        log.info("scored by TFLM, the compiled model is not available: %s", error)
        return None


def quantize_windows(runtime: TflmModel, x: np.ndarray) -> np.ndarray:
    """Quantize float windows (n, columns, mels) with the model's own input scale, by the device's rule: int8."""
    detail = runtime.input_info
    return quantize(x, detail.scale, detail.zero_point)


def first_detector(windows: Windows, val: WindowScores, scale: ScoreScale, false_rate: float = 0.01) -> DetectorConfig:
    """Return a detector whose thresholds let at most ``false_rate`` of the validation windows of others through.

    They lie half a step above the score of such a window, from 0.1 to 0.98 (where the model gives logits: to a step
    below its largest). It stands until ``cheep calibrate`` measures false alarms per hour on long recordings.
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
        if scale.logits:
            most = float(probability((126 - scale.zero_point) * scale.scale))
            value = kept_threshold(min(max(float(probability(logit(value) + scale.scale / 2)), 0.1), most))
        else:
            value = round(min(max(value + 1 / 256, 0.1), 0.98), 4)
        thresholds.append(value)
    return DetectorConfig(stride_frames=default_stride(windows.features.hop_s), threshold=tuple(thresholds))


def golden_calls(runtime: TflmModel, windows: Windows, scale: ScoreScale) -> dict[str, np.ndarray]:
    """Return by label the validation window, (columns, mels) int8, that scores highest for it (as the detector counts).

    A board runs them at boot. A label without a validation window has none.
    """
    part = windows.splits["val"]
    found: dict[str, np.ndarray] = {}
    for i, label in enumerate(windows.plan.labels):
        rows = np.flatnonzero(part.targets[:, i] > 0)
        if len(rows):
            rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), 64)).astype(int)]
            q = quantize_windows(runtime, part.gather(rows))
            found[label] = q[int(np.argmax(scale.units(runtime.scores(q))[:, i]))]
    return found


def _scores_of(part: WindowSet, plan: LabelPlan, scores: np.ndarray) -> WindowScores:
    scores = np.asarray(scores, np.float64)  # in single precision, all above 0.99999994 would be 1
    return WindowScores(plan.labels, plan.activation, part.targets, scores, part.clip, part.group)
