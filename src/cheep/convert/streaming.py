# SPDX-License-Identifier: MIT
"""Two-stage streaming models: a backbone over a chunk of columns, and a recurrent step that carries a state.

The step (GRU or LSTM) is written as plain operators (FULLY_CONNECTED, ADD, SUB, MUL, LOGISTIC, TANH), each with a
range of its own, and converted to int8: no loop, nothing that TFLM lacks. State in and state out share one scale and
zero point, so feeding the output back is a copy: nothing is quantized twice.

Equations (``reset_after``, as PyTorch and Keras have them; gates in the order of :class:`Cell`):
GRU  r = s(Wr x + b + Ur h + c), z likewise, n = tanh(Wn x + b + r (Un h + c)), h' = n + z (h - n).
LSTM i, f, o = s(..), g = tanh(..), c' = f c + i g, h' = o tanh(c').
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cheep.convert.runtime import dequantize_as, quantize_as, tflm_outputs
from cheep.convert.schemes import check_calibration, to_scheme
from cheep.convert.tflite import run_converter
from cheep.errors import CheepError
from cheep.tf_runtime import import_tf
from cheep.tflite.model import TensorInfo, read_model
from cheep.tflite.tflm import TflmModel

GATES = {"gru": ("r", "z", "n"), "lstm": ("i", "f", "g", "o")}
_HALF_OPEN = (-1.0, 127 / 128)  # scale 1/128, zero point 0: what TANH gives, and the hidden state
_UNIT = (0.0, 255 / 256)  # scale 1/256, zero point -128: what LOGISTIC gives
_MAX_CELL = 8.0


@dataclasses.dataclass(frozen=True)
class Cell:
    """Weights of a recurrent step and the linear layer behind it, all float32.

    ``w`` (features, gates * hidden), ``u`` (hidden, gates * hidden), ``b`` and ``c`` (gates * hidden,): biases of the
    input and of the recurrent part; ``out_w`` (hidden, classes), ``out_b`` (classes,). Gates in the order of
    :data:`GATES`.
    """

    kind: str
    w: np.ndarray
    u: np.ndarray
    b: np.ndarray
    c: np.ndarray
    out_w: np.ndarray
    out_b: np.ndarray
    activation: str = ""  # of the scores: sigmoid, softmax, or none (logits)

    def __post_init__(self) -> None:
        gates = len(GATES.get(self.kind, ()))
        if not gates:
            raise CheepError(f"cell={self.kind!r}: must be gru or lstm")
        if self.activation not in ("", "sigmoid", "softmax"):
            raise CheepError(f"activation={self.activation!r}: must be sigmoid, softmax or none (logits)")
        hidden = self.u.shape[0]
        if self.u.shape[1] != gates * hidden or self.w.shape[1] != gates * hidden or self.out_w.shape[0] != hidden:
            raise CheepError(
                f"{self.kind}: weights of shapes {self.w.shape}, {self.u.shape}, {self.out_w.shape} do not "
                "belong together"
            )

    @property
    def hidden(self) -> int:
        """Size of the state."""
        return self.u.shape[0]

    @property
    def states(self) -> int:
        """Number of state vectors: 1 (GRU) or 2 (LSTM: hidden state and cell)."""
        return 2 if self.kind == "lstm" else 1

    def gate(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return of one gate, float32: w (features, hidden), u (hidden, hidden), b and c (hidden,)."""
        i, h = GATES[self.kind].index(name), self.hidden
        at = slice(i * h, (i + 1) * h)
        return self.w[:, at], self.u[:, at], self.b[at], self.c[at]


def cell_from_keras(layer: Any, dense: Any, activation: str = "") -> Cell:
    """Return the cell of a Keras GRU (``reset_after``) or LSTM layer followed by a Dense layer or 1 x 1 convolution."""
    kind = type(layer).__name__.lower().removesuffix("cell")
    weights = [np.asarray(w, np.float32) for w in layer.get_weights()]
    if kind == "gru":
        if not layer.reset_after if hasattr(layer, "reset_after") else False:
            raise CheepError(f"{layer.name}: reset_after=False; train with reset_after=True (the default)")
        w, u, bias = weights
        hidden = u.shape[0]
        order = [1, 0, 2]  # Keras has z, r, n

        def turn(a: np.ndarray) -> np.ndarray:
            return np.concatenate([a[..., i * hidden : (i + 1) * hidden] for i in order], axis=-1)

        w, u, bias = turn(w), turn(u), turn(bias)
        b, c = bias
    elif kind == "lstm":
        w, u, b = weights
        c = np.zeros_like(b)
    else:
        raise CheepError(f"{layer.name}: {type(layer).__name__} is neither GRU nor LSTM")
    out_w, out_b = (np.asarray(v, np.float32) for v in dense.get_weights())
    return Cell(kind, w, u, b, c, out_w.reshape(out_w.shape[-2:]), out_b, activation)


class _Float:
    """Plain numpy operators; records the range of every edge."""

    def __init__(self) -> None:
        self.ranges: dict[str, tuple[float, float]] = {}

    def edge(self, x: np.ndarray, key: str) -> np.ndarray:
        low, high = self.ranges.get(key, (0.0, 0.0))
        self.ranges[key] = min(low, float(x.min())), max(high, float(x.max()))
        return x

    def fc(self, x: np.ndarray, w: np.ndarray, b: np.ndarray, key: str) -> np.ndarray:
        return self.edge(x @ w + b, key)

    def sigmoid(self, x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    def tanh(self, x: np.ndarray) -> np.ndarray:
        return np.tanh(x)

    def softmax(self, x: np.ndarray) -> np.ndarray:
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)


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


def step(ops: Any, cell: Cell, x: Any, states: Sequence[Any]) -> tuple[Any, list[Any]]:
    """One step of ``cell`` written with ``ops``: returns (scores, new states)."""
    x, h = ops.edge(x, "feature"), ops.edge(states[0], "h")

    def sums(name: str) -> tuple[Any, Any]:
        w, u, b, c = cell.gate(name)
        return ops.fc(x, w, b, f"{name}_x"), ops.fc(h, u, c, f"{name}_h")

    def gate(name: str) -> Any:
        a, b = sums(name)
        total = ops.edge(a + b, f"{name}_sum")
        return ops.tanh(total) if name == "g" else ops.sigmoid(total)

    if cell.kind == "gru":
        reset, update = gate("r"), gate("z")
        a, b = sums("n")
        new = ops.tanh(ops.edge(a + ops.edge(reset * b, "n_reset"), "n_sum"))
        part = ops.edge(update * ops.edge(h - new, "difference"), "part")
        after = [ops.edge(new + part, "h")]
    else:
        c = ops.edge(states[1], "c")
        keep = ops.edge(gate("f") * c, "kept")
        add = ops.edge(gate("i") * gate("g"), "added")
        c_after = ops.edge(keep + add, "c")
        after = [ops.edge(gate("o") * ops.tanh(c_after), "h"), c_after]
    logits = ops.fc(after[0], cell.out_w, cell.out_b, "logits")
    if cell.activation:
        return {"sigmoid": ops.sigmoid, "softmax": ops.softmax}[cell.activation](logits), after
    return logits, after


def run_float(cell: Cell, features: np.ndarray, ops: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Run (n, steps, features) float32 from a zero state; return logits and hidden states, (n, steps, ...) each."""
    ops = ops or _Float()
    states = [np.zeros((len(features), cell.hidden)) for _ in range(cell.states)]
    logits, hidden = [], []
    for t in range(features.shape[1]):
        y, states = step(ops, cell, features[:, t].astype(np.float64), states)
        logits.append(y)
        hidden.append(states[0])
    return np.stack(logits, 1), np.stack(hidden, 1)


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
    recorder = _Float()
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
