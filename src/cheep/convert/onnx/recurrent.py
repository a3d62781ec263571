# SPDX-License-Identifier: MIT
"""ONNX's GRU and LSTM, taken apart: dense layers and gates, a copy of them for each step.

ONNX has the steps first, (steps, batch, values); here they stay behind the batch (``Value.steps_first``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cheep.convert.onnx.value import Value, array_of, given
from cheep.errors import CheepError

MAX_STEPS = 128


def gru(k: Any, i: list, a: dict, name: str) -> list[Value]:
    """``GRU``: gates z, r, h."""
    cell = _Cell(k, i, a, name, 3)
    before = bool(a.get("linear_before_reset", 0))

    def step(x: Any, states: list[Any]) -> list[Any]:
        (h,) = states
        z, r = cell.gate(0, x, h, "sigmoid"), cell.gate(1, x, h, "sigmoid")
        if before:
            kept = k.layers.Multiply()([r, cell.of_state(2, h)]) if h is not None else cell.times_bias(2, r)
            total = k.layers.Add()([cell.of_input(2, x), kept])
        else:
            reset = None if h is None else k.layers.Multiply()([r, h])
            total = cell.sum(2, x, reset)
        new = k.layers.Activation("tanh")(total)
        if h is None:
            return [k.layers.Subtract()([new, k.layers.Multiply()([z, new])])]
        return [k.layers.Add()([new, k.layers.Multiply()([z, k.layers.Subtract()([h, new])])])]

    return cell.run(step, [given(i, 5)])


def lstm(k: Any, i: list, a: dict, name: str) -> list[Value]:
    """``LSTM``: gates i, o, f, c."""
    if given(i, 7) is not None:
        raise CheepError("peepholes")
    cell = _Cell(k, i, a, name, 4)

    def step(x: Any, states: list[Any]) -> list[Any]:
        h, c = states
        take, show = cell.gate(0, x, h, "sigmoid"), cell.gate(1, x, h, "sigmoid")
        made = k.layers.Multiply()([take, cell.gate(3, x, h, "tanh")])
        if c is not None:
            made = k.layers.Add()([k.layers.Multiply()([cell.gate(2, x, h, "sigmoid"), c]), made])
        return [k.layers.Multiply()([show, k.layers.Activation("tanh")(made)]), made]

    return cell.run(step, [given(i, 5), given(i, 6)])


class _Cell:
    """The layers of one GRU or LSTM: of each gate, one for the input and one for the state."""

    def __init__(self, k: Any, i: list, a: dict, name: str, gates: int):
        self.k, source = k, i[0]
        if a.get("direction", "forward") != "forward" or a.get("layout", 0):
            raise CheepError("in one direction, with the steps first, is what is supported")
        if a.get("activations") or a.get("clip") or given(i, 4) is not None:
            raise CheepError("with activations, limits or lengths of its own")
        if not source.steps_first and source.shape[0] != 1:
            raise CheepError("its input must be (steps, batch, values)")
        self.steps = source.shape[0]
        if self.steps > MAX_STEPS:
            raise CheepError(f"{self.steps} steps: unrolled, at most {MAX_STEPS}; convert the step alone (--step)")
        self.x = source.x if source.steps_first else k.layers.Reshape((1, source.shape[-1]))(source.x)
        w, r = array_of(i[1])[0], array_of(i[2])[0]  # (gates * hidden, inputs), (gates * hidden, hidden)
        self.hidden = r.shape[1]
        bias = array_of(i[3])[0] if given(i, 3) is not None else np.zeros(2 * len(w))
        parts = [np.split(v.astype(np.float32), gates) for v in (w, bias[: len(w)], r, bias[len(w) :])]
        self.state_bias = parts[3]
        self._input = [self._dense(f"{name}_x{g}", w, b) for g, (w, b) in enumerate(zip(*parts[:2], strict=True))]
        self._state = [self._dense(f"{name}_h{g}", w, b) for g, (w, b) in enumerate(zip(*parts[2:], strict=True))]

    def _dense(self, name: str, weights: np.ndarray, bias: np.ndarray) -> Any:
        layer = self.k.layers.Dense(len(weights), name=name)
        layer.build((None, weights.shape[1]))
        layer.set_weights([weights.T, bias])
        return layer

    def of_input(self, gate: int, x: Any) -> Any:
        return self._input[gate](x)

    def of_state(self, gate: int, h: Any) -> Any:
        return self._state[gate](h)

    def times_bias(self, gate: int, x: Any) -> Any:
        """Return ``x`` times what the gate gives for a state of zero."""
        bias = self.state_bias[gate]
        return self.k.layers.Lambda(lambda t: t * bias)(x)

    def sum(self, gate: int, x: Any, h: Any) -> Any:
        """Return the gate before its activation; ``h`` None: the state is zero."""
        if h is not None:
            return self.k.layers.Add()([self.of_input(gate, x), self.of_state(gate, h)])
        bias = self.state_bias[gate]
        return self.k.layers.Lambda(lambda t: t + bias)(self.of_input(gate, x))

    def gate(self, gate: int, x: Any, h: Any, activation: str) -> Any:
        return self.k.layers.Activation(activation)(self.sum(gate, x, h))

    def run(self, step: Any, initial: list[Value | None]) -> list[Value]:
        """Return all hidden values, and each state at the end."""
        states = [self._first(value) for value in initial]
        rows = []
        for t in range(self.steps):
            x = self.k.layers.Lambda(lambda v, at=t: v[:, at])(self.x)
            states = step(x, states)
            rows.append(self.k.layers.Reshape((1, self.hidden))(states[0]))
        whole = rows[0] if len(rows) == 1 else self.k.layers.Concatenate(axis=1)(rows)
        made = [Value(whole, (self.steps, 1, 1, self.hidden), steps_first=True)]
        ends = [self.k.layers.Reshape((1, self.hidden))(s) for s in states]
        return made + [Value(end, (1, 1, self.hidden), steps_first=True) for end in ends]

    def _first(self, value: Value | None) -> Any:
        if value is None or (value.constant and not np.any(value.x)):
            return None
        if value.constant:
            raise CheepError("a first state that is a constant other than zero; make it an input")
        return self.k.layers.Reshape((self.hidden,))(value.x)
