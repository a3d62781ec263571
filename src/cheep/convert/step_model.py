# SPDX-License-Identifier: MIT
"""The int8 form of a recurrent step: converted, run in TFLM with its state carried as bytes, and watched for drift.

The step is written as plain operators (FULLY_CONNECTED, ADD, SUB, MUL, LOGISTIC, TANH), each with a range of its own:
no loop, nothing that TFLM lacks. State in and state out share one scale and zero point, so feeding the output back is
a copy: nothing is quantized twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from cheep.convert.recurrent_cell import Cell, FloatOperators, run_float, step
from cheep.convert.runtime import dequantize_as, quantize_as
from cheep.convert.schemes import check_calibration
from cheep.convert.tflite import run_converter
from cheep.errors import CheepError
from cheep.tf_runtime import import_tf
from cheep.tflite.model import TensorInfo, read_model
from cheep.tflite.tflm import TflmModel

_HALF_OPEN = (-1.0, 127 / 128)  # scale 1/128, zero point 0: what TANH gives, and the hidden state
_UNIT = (0.0, 255 / 256)  # scale 1/256, zero point -128: what LOGISTIC gives
_MAX_CELL = 8.0


class _Quantized:
    """TensorFlow operators with the range of every edge fixed, as the converter reads it."""

    def __init__(self, ranges: dict[str, tuple[float, float]]) -> None:
        self.tf, self.ranges = import_tf(), ranges

    def edge(self, x: Any, key: str) -> Any:
        low, high = self.ranges[key]
        return self.tf.quantization.fake_quant_with_min_max_args(x, low, high, 8)

    def fc(self, x: Any, w: np.ndarray, b: np.ndarray, key: str) -> Any:
        most = max(1e-6, float(np.abs(w).max()))
        kernel = self.tf.quantization.fake_quant_with_min_max_args(
            self.tf.constant(w, self.tf.float32), -most, most, 8, narrow_range=True
        )
        return self.edge(self.tf.matmul(x, kernel) + self.tf.constant(b, self.tf.float32), key)

    def sigmoid(self, x: Any) -> Any:
        return self.tf.quantization.fake_quant_with_min_max_args(self.tf.sigmoid(x), *_UNIT, 8)

    def tanh(self, x: Any) -> Any:
        return self.tf.quantization.fake_quant_with_min_max_args(self.tf.tanh(x), *_HALF_OPEN, 8)

    def softmax(self, x: Any) -> Any:
        return self.tf.quantization.fake_quant_with_min_max_args(self.tf.nn.softmax(x), *_UNIT, 8)


@dataclasses.dataclass(frozen=True)
class StepModel:
    """An int8 step: the flatbuffer, and which input and output is what (``states`` in the same order in and out)."""

    data: bytes
    feature_input: int
    state_inputs: tuple[int, ...]
    logits_output: int
    state_outputs: tuple[int, ...]
    feature: TensorInfo
    logits: TensorInfo
    states: tuple[TensorInfo, ...]


def convert_step(cell: Cell, features: np.ndarray, feature_range: tuple[float, float] | None = None) -> StepModel:
    """Return the int8 step of ``cell``.

    Parameters
    ----------
    features : (n, steps, features) float32, real sequences: every range but the state's is measured on them.
    feature_range : the range that the backbone's int8 output stands for, so that its bytes are the step's input.

    Raises
    ------
    CheepError
        The features are no real data, or the converter did not keep state in and state out on one scale.
    """
    flat = features.reshape((-1, features.shape[-1]))
    check_calibration(flat, (features.shape[-1],))
    recorder = FloatOperators()
    run_float(cell, features, recorder)
    ranges = {key: _roomy(low, high) for key, (low, high) in recorder.ranges.items()}
    ranges["h"] = _HALF_OPEN
    if feature_range is not None:
        ranges["feature"] = feature_range
    if "c" in ranges:
        # Beyond +-8 the cell may saturate: tanh(8) is 1 to 6 digits; a finer step is worth more.
        most = min(_MAX_CELL, 1.25 * max(abs(v) for v in recorder.ranges["c"]))
        ranges["c"] = (-most, most * 127 / 128)
        ranges["kept"] = max(ranges["kept"][0], -most), min(ranges["kept"][1], most)
    tf = import_tf()
    names = ["feature", *(f"state{i}" for i in range(cell.states))]
    sizes = [features.shape[-1], *([cell.hidden] * cell.states)]

    def call(*inputs: Any) -> list[Any]:
        logits, states = step(_Quantized(ranges), cell, inputs[0], inputs[1:])
        return [tf.identity(logits, "logits"), *(tf.identity(s, f"state{i}") for i, s in enumerate(states))]

    concrete = tf.function(call).get_concrete_function(
        *(tf.TensorSpec((1, n), tf.float32, name=name) for n, name in zip(sizes, names, strict=True))
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], None)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    model = _described(run_converter(converter), cell)
    _check_one_step(model, cell, features[0])
    return model


def _check_one_step(model: StepModel, cell: Cell, features: np.ndarray) -> None:
    """See that every input and output is what it is taken for: a few steps in TFLM are near those in float."""
    runner = StepRunner(model)
    logits, hidden = run_float(cell, features[None, :3])
    for row in quantize_as(features[:3], model.feature):
        found = dequantize_as(runner.push(row), model.logits)
        state = dequantize_as(runner.state[0], model.states[0]).reshape(-1)
    far = max(np.abs(found - logits[0, -1]).max() / (256 * model.logits.scale), np.abs(state - hidden[0, -1]).max())
    if far > 0.2:
        raise CheepError(
            f"{cell.kind}: the int8 step departs from float by {far:.2f} of the range within three steps; "
            "are the weights those of this kind of cell?"
        )


def _roomy(low: float, high: float) -> tuple[float, float]:
    low, high = min(low, -1e-3), max(high, 1e-3)
    return 1.05 * low, 1.05 * high


def _described(data: bytes, cell: Cell) -> StepModel:
    info = read_model(data)
    feature, states_in = (
        0,
        tuple(range(1, 1 + cell.states)),
    )  # the converter keeps the order; shapes and scales are seen to
    logits, states_out = 0, tuple(range(1, 1 + cell.states))
    shapes = [t.shape[-1] for t in info.inputs], [t.shape[-1] for t in info.outputs]
    wanted = [cell.w.shape[0], *[cell.hidden] * cell.states], [cell.out_b.size, *[cell.hidden] * cell.states]
    if shapes != wanted:
        raise CheepError(f"{cell.kind}: converted to inputs and outputs of sizes {shapes}, not {wanted}; this is a bug")
    for a, b in zip(states_in, states_out, strict=True):
        one, two = info.inputs[a], info.outputs[b]
        if one.dtype != "int8" or (one.scale, one.zero_point) != (two.scale, two.zero_point):
            raise CheepError(
                f"{cell.kind}: state in ({one.dtype}, scale {one.scale:g}, zero point {one.zero_point}) and out "
                f"(scale {two.scale:g}, zero point {two.zero_point}) differ; this is a bug of the converter"
            )
    return StepModel(
        data,
        feature,
        states_in,
        logits,
        states_out,
        info.inputs[feature],
        info.outputs[logits],
        tuple(info.inputs[i] for i in states_in),
    )


class StepRunner:
    """The int8 step in TFLM, carrying its state as bytes from output to input."""

    def __init__(self, model: StepModel):
        self._model, self._runtime = model, TflmModel(model.data)
        self.reset()

    @property
    def arena_bytes(self) -> int:
        """Arena by TFLM's own allocator."""
        return self._runtime.arena_bytes

    def reset(self) -> None:
        """Start a new recording: the state is zero (the zero point)."""
        self.state = [np.full(info.shape, info.zero_point, np.int8) for info in self._model.states]

    def push(self, feature: np.ndarray) -> np.ndarray:
        """Take one feature vector (features,) int8; return logits (classes,) int8."""
        m, runtime = self._model, self._runtime
        inputs = {m.feature_input: np.ascontiguousarray(feature, np.int8).reshape(m.feature.shape)}
        runtime.run({**inputs, **dict(zip(m.state_inputs, self.state, strict=True))})
        self.state = [np.array(runtime.output(index)) for index in m.state_outputs]
        return np.array(runtime.output(m.logits_output)).reshape(-1)


def check_drift(model: StepModel, cell: Cell, features: np.ndarray, block: int = 1000) -> list[dict[str, float]]:
    """Run (steps, features) float32 through the int8 step in TFLM and through float; return the state's error by block.

    A state that is carried as bytes must not drift: the mean error of the last block is that of the first.
    """
    return drift_of(model, lambda rows: run_float(cell, rows)[1], features, block)


def drift_of(
    model: StepModel, hidden_states: Callable[[np.ndarray], np.ndarray], features: np.ndarray, block: int = 1000
) -> list[dict[str, float]]:
    """Return the error of the first state by block, against ``hidden_states`` of (1, steps, features) float32."""
    runner = StepRunner(model)
    q = quantize_as(features, model.feature)
    hidden = hidden_states(dequantize_as(q, model.feature)[None])
    errors = np.empty(hidden.shape[1:])
    for t, row in enumerate(q):
        runner.push(row)
        errors[t] = np.abs(dequantize_as(runner.state[0], model.states[0]).reshape(-1) - hidden[0, t])
    return [
        {
            "from": start,
            "mean": float(errors[start : start + block].mean()),
            "max": float(errors[start : start + block].max()),
        }
        for start in range(0, len(errors), block)
    ]
