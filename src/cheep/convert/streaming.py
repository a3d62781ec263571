# SPDX-License-Identifier: MIT
"""Two-stage streaming models: a backbone over a chunk of columns, and a recurrent step that carries a state."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from cheep.convert.recurrent_cell import Cell, run_float
from cheep.convert.runtime import dequantize_as, quantize_as, tflm_outputs
from cheep.convert.schemes import to_scheme
from cheep.convert.step_model import StepModel, StepRunner, check_drift, convert_step
from cheep.errors import CheepError
from cheep.tflite.model import read_model
from cheep.tflite.tflm import TflmModel


@dataclasses.dataclass
class StreamingResult:
    """Both int8 parts, and accuracies by the logits of the last step of each sequence (share of right classes)."""

    backbone: bytes
    step: StepModel
    float_accuracy: float
    accuracy: float
    agreement: float
    arena_bytes: tuple[int, int]
    drift: list[dict[str, float]]

    @property
    def bytes(self) -> int:
        """Size of both files together."""
        return len(self.backbone) + len(self.step.data)


def convert_streaming(
    backbone: Any,
    cell: Cell,
    train: np.ndarray,
    test: np.ndarray,
    labels: np.ndarray,
    calibration_chunks: int = 512,
    seed: int = 1,
    drift_steps: int = 10000,
) -> StreamingResult:
    """Convert backbone and step to int8 and judge them together in TFLM.

    Parameters
    ----------
    backbone : Keras model from a chunk to (1, features).
    train, test : (n, steps, *chunk) float32, real sequences of chunks; ``labels`` (n,) int of ``test``.
    """
    chunk = train.shape[2:]
    rng = np.random.default_rng(seed)
    chunks = train.reshape((-1, *chunk))
    picked = chunks[np.sort(rng.permutation(len(chunks))[:calibration_chunks])]
    model = to_scheme(backbone, chunk, "int8", picked)
    out = read_model(model).outputs[0]
    feature_range = ((-128 - out.zero_point) * out.scale, (127 - out.zero_point) * out.scale)
    float_train = _features(backbone, train)
    step_model = convert_step(cell, float_train, feature_range)
    if abs(step_model.feature.scale / out.scale - 1) > 1e-5 or step_model.feature.zero_point != out.zero_point:
        raise CheepError(
            f"backbone output (scale {out.scale:g}, zero point {out.zero_point}) and step input (scale "
            f"{step_model.feature.scale:g}, zero point {step_model.feature.zero_point}) differ"
        )
    float_logits = run_float(cell, _features(backbone, test))[0][:, -1]
    runtime, runner = TflmModel(model), StepRunner(step_model)
    chunks = test.reshape((-1, *chunk))
    features = quantize_as(tflm_outputs(model, chunks, runtime), step_model.feature).reshape((*test.shape[:2], -1))
    logits = []
    for sequence in features:
        runner.reset()
        for row in sequence:
            last = runner.push(row)
        logits.append(dequantize_as(last, step_model.logits))
    found, expected = np.stack(logits).argmax(1), float_logits.argmax(1)
    long = np.concatenate(list(_features(backbone, test)))
    long = np.tile(long, (-(-drift_steps // len(long)), 1))[:drift_steps]
    return StreamingResult(
        model,
        step_model,
        float(np.mean(expected == labels)),
        float(np.mean(found == labels)),
        float(np.mean(found == expected)),
        (runtime.arena_bytes, runner.arena_bytes),
        check_drift(step_model, cell, long.astype(np.float32)),
    )


def _features(backbone: Any, x: np.ndarray) -> np.ndarray:
    """Return features (n, steps, features) float32 of (n, steps, *chunk)."""
    flat = backbone.predict(x.reshape((-1, *x.shape[2:])), batch_size=512, verbose=0)
    return np.asarray(flat).reshape((*x.shape[:2], -1))


def describe(model: StepModel, backbone: bytes | None) -> dict[str, Any]:
    """Return the part of ``specs.json`` that a firmware needs to run the pair (or the step alone)."""
    info = read_model(model.data)
    ends = read_model(backbone) if backbone else None
    before = {"backbone": {"input": ends.inputs[0].to_dict(), "output": ends.outputs[0].to_dict()}} if ends else {}
    return {
        **before,
        "step": {
            "feature_input": model.feature_input,
            "logits_output": model.logits_output,
            "states": [
                {"input": a, "output": b, "initial": info.inputs[a].zero_point, **info.inputs[a].to_dict()}
                for a, b in zip(model.state_inputs, model.state_outputs, strict=True)
            ],
            "operators": info.operators,
        },
    }
