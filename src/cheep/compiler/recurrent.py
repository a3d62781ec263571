# SPDX-License-Identifier: MIT
"""Operators that keep a state: SVDF and UNIDIRECTIONAL_SEQUENCE_LSTM, with TFLM's conditions and arithmetic."""

from __future__ import annotations

import math

import numpy as np

from cheep.compiler.constants import Constants
from cheep.compiler.movement import Unfit
from cheep.compiler.step import Pointers, Step, general, title
from cheep.tflite.graph import Node, Tensor

_GATES = ("forget", "input", "cell", "output")
_INPUT_WEIGHTS, _HIDDEN_WEIGHTS, _BIASES = (2, 1, 3, 4), (6, 5, 7, 8), (13, 12, 14, 15)  # places, in the order of gates
_VARIANTS = {**dict.fromkeys((9, 10, 11), "peepholes"), **dict.fromkeys((16, 17), "a projection"),
             **dict.fromkeys((20, 21, 22, 23), "layer normalization")}  # fmt: skip
_HIDDEN, _CELL = 18, 19
_GATE_SCALE, _ACTIVATED = 2.0**-12, 2.0**-15
_LARGEST = 1 << 30
# Where the runtime's table of sigmoid(i / 24) * 2^16 is one above the rounded value.
_ABOVE = (
    *(4, 8, 12, 14, 15, 16, 17, 19, 20, 21, 22, 25, 27, 28, 29, 30, 31, 33, 34, 35, 37, 39, 40, 41, 43, 44, 45, 46, 49),
    *(50, 54, 62, 63, 64, 66, 82, 86, 93, 100, 103, 112, 116, 135, 255),
)


def sigmoid_table() -> list[int]:
    """Return TFLM's 256 values of sigmoid(i / 24) with 16 fraction bits."""
    exact = [math.floor(65536 / (1 + math.exp(-i / 24)) + 0.5) for i in range(256)]
    return [min(65535, value + (i in _ABOVE)) for i, value in enumerate(exact)]


def _need(condition: bool, rule: str) -> None:
    if not condition:
        raise Unfit(rule)


def by_place(node: Node) -> dict[int, Tensor]:
    """Return the inputs that are there, by their place."""
    places = (i for i in range(len(node.inputs) + len(node.absent)) if i not in node.absent)
    return dict(zip(places, node.inputs, strict=False))


def _quantized(tensor: Tensor, dtype: str = "int8") -> None:
    _need(tensor.dtype == dtype and len(tensor.scales) == 1, f"{tensor.label} must be {dtype} with one scale")


def _weights(tensor: Tensor, shape: tuple[int, ...], dtype: str = "int8") -> None:
    _quantized(tensor, dtype)
    _need(
        tensor.data is not None and tensor.shape == shape, f"{tensor.label} must be a constant of shape {list(shape)}"
    )
    _need(tensor.zero_point == 0, f"{tensor.label} must have zero point 0")


def _bias(tensor: Tensor, n: int) -> None:
    good = tensor.dtype == "int32" and tensor.data is not None and tensor.shape == (n,)
    _need(good, f"{tensor.label} must be {n} constant int32")
    _need(bool(np.abs(tensor.constant.astype(np.int64)).max(initial=0) < _LARGEST), f"{tensor.label} is too large")


def _shrinks(ratio: float) -> None:
    _need(2**-30 < ratio <= 1, f"a scale that is {ratio:.3g} times another's")


# ---- SVDF


def check_svdf(node: Node) -> None:
    """Raise :class:`Unfit` for an SVDF that cannot be compiled exactly."""
    found = by_place(node)
    _need(sorted(found) == [0, 1, 2, 3, 4] and len(node.outputs) == 2, "input, two weights, bias and state are needed")
    source, feature, time, bias, state = (found[i] for i in range(5))
    out, rank = node.output, node.attributes["rank"]
    _quantized(source)
    _quantized(out)
    _need(len(source.shape) == len(feature.shape) == len(time.shape) == len(out.shape) == 2, "matrices are needed")
    batches, inputs = source.shape
    filters, memory = feature.shape[0], time.shape[1]
    _need(rank >= 1 and filters % rank == 0, f"{filters} filters do not divide by rank {rank}")
    _need(out.shape == (batches, filters // rank), "the output's shape does not fit")
    _need(inputs <= 32767 and filters * memory * batches <= 1 << 22, "it is too large")
    _weights(feature, (filters, inputs))
    wide = time.dtype == "int16"
    _weights(time, (filters, memory), "int16" if wide else "int8")
    _quantized(state, "int16" if wide else "int8")
    _need(state.shape == (batches, filters * memory), f"{state.label} does not fit")
    _need(not wide or state.zero_point == 0, f"{state.label} must have zero point 0")
    _bias(bias, filters // rank)
    _need(len(bias.scales) == 1, f"{bias.label} must have one scale")
    product = float(np.float32(state.scales[0]) * np.float32(time.scales[0]))
    _need(abs(bias.scale - product) < 1e-5, f"{bias.label} must have the scale of the state's times the weights'")
    ratio, last = _svdf_ratios(node)
    _need(ratio > 2**-30, f"a scale that is {ratio:.3g} times another's")
    _need(inputs * 127 * 255 * max(1.0, 2 * ratio) < 2**31, "its sums need more than 32 bits")
    _shrinks(last)


def _svdf_ratios(node: Node) -> tuple[float, float]:
    source, feature, time, _, state = (t.scales[:1].astype(np.float32)[0] for t in node.inputs[:5])
    return float(source * feature / state), float(state * time / np.float32(node.output.scale))


def lower_svdf(node: Node, name: str, constants: Constants) -> Step:
    """Return the step of an SVDF."""
    source, feature, time, bias, before = node.inputs
    out, after = node.outputs
    wide = time.dtype == "int16"
    filters, memory = time.shape
    rank = node.attributes["rank"]
    folded = -source.zero_point * feature.constant.astype(np.int64).sum(axis=1)
    arrays = (
        constants.array("int8_t", f"{name}_feature", feature.constant),
        constants.array("int32_t", f"{name}_folded", folded),
        constants.array("int32_t", f"{name}_bias", bias.constant),
    )
    weights = constants.array("int16_t" if wide else "int8_t", f"{name}_time", time.constant)
    first, second = (general(ratio) for ratio in _svdf_ratios(node))
    numbers = (source.shape[0], source.shape[1], filters // rank, rank, memory, before.zero_point, out.zero_point)
    text = ", ".join(map(str, (*arrays, *numbers, first, second)))
    spec = constants.struct("cheep_svdf_spec", f"{name}_svdf", text, 60)

    def lines(p: Pointers, scratch: str) -> list[str]:
        states = f"{p(before)}, {p(after)}, {p(out)}, {'true' if wide else 'false'}"
        return [f"cheep_svdf({spec}, {p(source)}, {weights}, {states});"]

    return Step(title(node), [source, before], [out, after], lines, {"svdf"}, updates=True)


# ---- UNIDIRECTIONAL_SEQUENCE_LSTM


def check_lstm(node: Node) -> None:
    """Raise :class:`Unfit` for an LSTM that cannot be compiled exactly."""
    found, a = by_place(node), node.attributes
    _need(len(node.inputs) + len(node.absent) == 24 and len(node.outputs) == 3, "24 inputs are needed")
    for place, what in _VARIANTS.items():
        _need(place not in found, f"an LSTM with {what}")
    needed = (0, *range(1, 9), *range(12, 16), _HIDDEN, _CELL)
    _need(all(i in found for i in needed), "an LSTM with gates that share weights")
    _need(a["cell_activation"] == "TANH", f"cell activation {a['cell_activation']}")
    source, hidden, cell, out = found[0], found[_HIDDEN], found[_CELL], node.output
    for tensor in (source, hidden, out):
        _quantized(tensor)
    _quantized(cell, "int16")
    _need(cell.zero_point == 0, f"{cell.label} must have zero point 0")
    _need(len(source.shape) == len(out.shape) == 3, "three dimensions are needed")
    batches = source.shape[1 if a["time_major"] else 0]
    inputs, units = source.shape[2], out.shape[2]
    _need(out.shape[:2] == source.shape[:2], "the output's shape does not fit")
    _need(hidden.shape[-1:] == (units,) and len(hidden.shape) == 2, f"{hidden.label} does not fit")
    _need(hidden.size == cell.size == batches * units, f"{cell.label} does not fit")
    _need(inputs <= 32767 and units <= 32767, "it is too large")
    for gate in range(4):
        _weights(found[_INPUT_WEIGHTS[gate]], (units, inputs))
        _weights(found[_HIDDEN_WEIGHTS[gate]], (units, units))
        _bias(found[_BIASES[gate]], units)
        bias = int(np.abs(found[_BIASES[gate]].constant.astype(np.int64)).max(initial=0))
        for ratio, most in zip(_gate_ratios(found, gate), (inputs * 127 * 255 + bias, units * 127 * 255), strict=True):
            _need(ratio > 2**-30 and most * max(1.0, 2 * ratio) < 2**31, f"a scale that is {ratio:.3g} times another's")
    power = math.log2(cell.scale)
    _need(power == int(power) and -15 <= power <= 0, "the cell's scale must be a power of two, 2^-15 to 1")
    _need(math.isfinite(a["cell_clip"]) and a["cell_clip"] >= 0, f"cell_clip={a['cell_clip']}")
    _shrinks(_ACTIVATED**2 / cell.scale)
    _shrinks(_ACTIVATED**2 / hidden.scale)


def _gate_ratios(found: dict[int, Tensor], gate: int) -> tuple[float, float]:
    pairs = ((found[0], found[_INPUT_WEIGHTS[gate]]), (found[_HIDDEN], found[_HIDDEN_WEIGHTS[gate]]))
    one, two = (float(np.float32(a.scale) * np.float32(b.scale)) / _GATE_SCALE for a, b in pairs)
    return one, two


def lower_lstm(node: Node, name: str, constants: Constants) -> Step:
    """Return the step of an LSTM."""
    found, a = by_place(node), node.attributes
    source, hidden, cell = found[0], found[_HIDDEN], found[_CELL]
    out, hidden_after, cell_after = node.outputs
    major = bool(a["time_major"])
    batches, steps = (source.shape[1], source.shape[0]) if major else source.shape[:2]
    units = out.shape[2]
    of_input, of_hidden = (
        np.stack([found[i].constant for i in places]) for places in (_INPUT_WEIGHTS, _HIDDEN_WEIGHTS)
    )
    biases = np.stack([found[i].constant.astype(np.int64) for i in _BIASES])
    folded = np.stack(
        [
            biases - source.zero_point * of_input.astype(np.int64).sum(axis=2),
            -hidden.zero_point * of_hidden.astype(np.int64).sum(axis=2),
        ],
        axis=-1,
    )  # (gates, units, 2)
    arrays = (
        constants.array("int8_t", f"{name}_inputs", of_input, f"weights of the inputs: {', '.join(_GATES)}"),
        constants.array("int8_t", f"{name}_hidden", of_hidden, "weights of the hidden values"),
        constants.array("int32_t", f"{name}_biases", folded),
        constants.array("uint16_t", f"{name}_sigmoid", sigmoid_table(), "sigmoid(i / 24) * 2^16"),
    )
    power = 12 + int(math.log2(cell.scale))
    tanh = (3 << power, 0) if power >= 0 else (3, -power)
    clip = int(min(max(float(np.float32(a["cell_clip"])) / cell.scale, -32768.0), 32767.0))
    numbers = (batches, steps, source.shape[2], units, *((1, batches) if major else (steps, 1)))
    gates = ", ".join("{" + ", ".join(map(general, _gate_ratios(found, g))) + "}" for g in range(4))
    ratios = (_ACTIVATED, _ACTIVATED**2 / cell.scale, _ACTIVATED**2 / hidden.scale)
    text = ", ".join(
        map(str, (*arrays, *numbers, hidden.zero_point, clip, *tanh, f"{{{gates}}}", *map(general, ratios)))
    )
    spec = constants.struct("cheep_lstm_spec", f"{name}_lstm", text, 144)

    def lines(p: Pointers, scratch: str) -> list[str]:
        states = f"{p(hidden)}, {p(cell)}, {p(out)}, {p(hidden_after)}, {p(cell_after)}"
        return [f"cheep_lstm({spec}, {p(source)}, {states});"]

    return Step(title(node), [source, hidden, cell], [out, hidden_after, cell_after], lines, {"lstm"}, updates=True)
