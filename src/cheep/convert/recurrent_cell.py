# SPDX-License-Identifier: MIT
"""A recurrent step (GRU or LSTM) with the linear layer behind it: its weights, and its equations in plain operators.

Equations (``reset_after``, as PyTorch and Keras have them; gates in the order of :class:`Cell`):
GRU  r = s(Wr x + b + Ur h + c), z likewise, n = tanh(Wn x + b + r (Un h + c)), h' = n + z (h - n).
LSTM i, f, o = s(..), g = tanh(..), c' = f c + i g, h' = o tanh(c').
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from cheep.errors import CheepError

GATES = {"gru": ("r", "z", "n"), "lstm": ("i", "f", "g", "o")}


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


class FloatOperators:
    """Plain numpy operators; records the range of every edge."""

    def __init__(self) -> None:
        self.ranges: dict[str, tuple[float, float]] = {}

    def edge(self, x: np.ndarray, key: str) -> np.ndarray:
        """Note the range of ``x``, (batch, units) float32, under a name; return ``x``."""
        low, high = self.ranges.get(key, (0.0, 0.0))
        self.ranges[key] = min(low, float(x.min())), max(high, float(x.max()))
        return x

    def fc(self, x: np.ndarray, w: np.ndarray, b: np.ndarray, key: str) -> np.ndarray:
        """Return ``x @ w + b``: (batch, n) by (n, units) and (units,), float32."""
        return self.edge(x @ w + b, key)

    def sigmoid(self, x: np.ndarray) -> np.ndarray:
        """Return the logistic function of ``x``, (batch, units) float32."""
        return 1 / (1 + np.exp(-x))

    def tanh(self, x: np.ndarray) -> np.ndarray:
        """Return the hyperbolic tangent of ``x``, (batch, units) float32."""
        return np.tanh(x)

    def softmax(self, x: np.ndarray) -> np.ndarray:
        """Return the softmax of ``x``, (batch, units) float32, over the units."""
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)


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
    ops = ops or FloatOperators()
    states = [np.zeros((len(features), cell.hidden)) for _ in range(cell.states)]
    logits, hidden = [], []
    for t in range(features.shape[1]):
        y, states = step(ops, cell, features[:, t].astype(np.float64), states)
        logits.append(y)
        hidden.append(states[0])
    return np.stack(logits, 1), np.stack(hidden, 1)
