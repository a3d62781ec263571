# SPDX-License-Identifier: MIT
"""A network as plain Python: tensors with shapes and quantization, and operators in the order of execution."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cheep.errors import CheepError

ITEM_BYTES = {
    **{"float64": 8, "int64": 8, "uint64": 8, "float32": 4, "int32": 4, "uint32": 4},
    **{"float16": 2, "int16": 2, "uint16": 2, "int8": 1, "uint8": 1, "bool": 1},
}


@dataclasses.dataclass
class Tensor:
    """One tensor: ``real = (q - zero_point) * scale``.

    ``data`` holds the values of a constant, as raw bytes (uint8) where numpy does not have the type, and is None for
    what is computed. ``scales`` has one value, one per channel of ``axis``, or none.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: np.ndarray  # (n,) float32
    zero_points: np.ndarray  # (n,) int64
    axis: int = 0
    data: np.ndarray | None = None
    is_sparse: bool = False
    is_variable: bool = False  # keeps its value from run to run

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """Bytes of the tensor (int4 packs two to a byte)."""
        return -(-self.size // 2) if self.dtype == "int4" else self.size * ITEM_BYTES.get(self.dtype, 1)

    @property
    def constant(self) -> np.ndarray:
        """``data`` of what must be a constant; raises :class:`CheepError` for what is computed.

        It has the tensor's shape and dtype (int8 weights, int32 biases); of a type that numpy lacks (int4), it is the
        raw bytes, (n_bytes,) uint8.
        """
        if self.data is None:
            raise CheepError(f"{self.label} is computed where a constant is needed; convert the model again")
        return self.data

    @property
    def integers(self) -> list[int]:
        """The values of a constant of whole numbers: axes, sizes, an order."""
        return self.constant.reshape(-1).tolist()

    @property
    def scale(self) -> float:
        """The scale (float32 as a Python float); the first where there are several."""
        return float(self.scales[0])

    @property
    def zero_point(self) -> int:
        """The zero point; the first where there are several, 0 where there is none."""
        return int(self.zero_points[0]) if len(self.zero_points) else 0

    @property
    def per_channel(self) -> bool:
        """Whether weights have a scale per channel."""
        return len(self.scales) > 1

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"tensor {self.index} '{self.name}' ({self.dtype} {'x'.join(map(str, self.shape)) or 'scalar'})"


@dataclasses.dataclass
class Node:
    """One operator; ``inputs`` are those that are there, ``absent`` the places of optional ones that are not.

    ``attributes`` are its options as the file names them, ``options`` the name of their table ("": it has none). The
    compiler has nodes and attributes of its own.
    """

    op: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    attributes: dict[str, Any] = dataclasses.field(default_factory=dict)
    options: str = ""
    absent: tuple[int, ...] = ()

    @property
    def output(self) -> Tensor:
        """The first output."""
        return self.outputs[0]

    @property
    def variable_inputs(self) -> list[Tensor]:
        """Inputs that are computed at run time."""
        return [t for t in self.inputs if t.data is None]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of an operator of a file (0 for those that do not multiply)."""
        count = _MACS.get(self.op)
        return count(self) if count and self.outputs else 0


def _shape(node: Node, index: int) -> tuple[int, ...]:
    return (node.inputs[index].shape if index < len(node.inputs) else ()) or (1,)


def _conv_macs(node: Node) -> int:
    weights = _shape(node, 1)
    return node.output.size * math.prod(weights[1:]) if len(weights) == 4 else 0


def _depthwise_macs(node: Node) -> int:
    weights = _shape(node, 1)
    return node.output.size * weights[1] * weights[2] if len(weights) == 4 else 0


def _transpose_conv_macs(node: Node) -> int:
    return node.inputs[2].size * math.prod(_shape(node, 1)[:3]) if len(node.inputs) > 2 else 0


def _lstm_macs(node: Node) -> int:
    if len(node.inputs) <= 5:
        return 0
    weights = node.inputs[1 : 9 - sum(k < 9 for k in node.absent)]
    return max(1, math.prod(_shape(node, 0)[:2])) * sum(t.size for t in weights)


_MACS: dict[str, Callable[[Node], int]] = {
    "CONV_2D": _conv_macs,
    "DEPTHWISE_CONV_2D": _depthwise_macs,
    "FULLY_CONNECTED": lambda node: node.output.size * _shape(node, 1)[-1] if len(node.inputs) > 1 else 0,
    "BATCH_MATMUL": lambda node: node.output.size * _shape(node, 0)[-1] if len(node.inputs) > 1 else 0,
    "TRANSPOSE_CONV": _transpose_conv_macs,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm_macs,
}


@dataclasses.dataclass
class State:
    """What a network keeps from run to run: it is read as ``before``, and what it becomes is ``after``.

    ``initial`` : its value before the first run, of ``before``'s shape and dtype (int8 or int16).
    """

    name: str
    before: Tensor
    after: Tensor
    initial: np.ndarray


@dataclasses.dataclass
class Graph:
    """A whole network: the first (and for a device only) subgraph of a file.

    ``called`` : the subgraphs that its CALL_ONCE operators name; ``states`` are found by the compiler.
    """

    inputs: list[Tensor]
    outputs: list[Tensor]
    nodes: list[Node]
    tensors: list[Tensor] = dataclasses.field(default_factory=list)  # all, also those that no operator uses
    subgraphs: int = 1
    data: bytes = b""  # the file
    called: dict[int, Graph] = dataclasses.field(default_factory=dict)
    states: list[State] = dataclasses.field(default_factory=list)

    @property
    def sources(self) -> list[Tensor]:
        """What is there before the first operator: the inputs, then the states."""
        return [*self.inputs, *(s.before for s in self.states)]

    @property
    def results(self) -> list[Tensor]:
        """What must be there behind the last operator: the outputs, then what the states become."""
        return [*self.outputs, *(s.after for s in self.states)]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(node.macs for node in self.nodes)

    def producer(self, tensor: Tensor) -> Node | None:
        """Return the node that makes ``tensor``, or None for inputs and constants."""
        return next((n for n in self.nodes if any(t is tensor for t in n.outputs)), None)

    def consumers(self, tensor: Tensor) -> list[Node]:
        """Return the nodes that read ``tensor``."""
        return [n for n in self.nodes if any(t is tensor for t in n.inputs)]

    def is_output(self, tensor: Tensor) -> bool:
        """Whether the caller receives ``tensor``, or a state becomes it."""
        return any(t is tensor for t in self.results)
