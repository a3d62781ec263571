"""The compiler's graph: tensors with shapes and quantization, and nodes in the order of execution."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np


@dataclasses.dataclass
class Tensor:
    """One tensor. ``data`` is set for constants; ``scales`` has one value, or one per channel of ``axis``."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: np.ndarray  # (n,) float32
    zero_points: np.ndarray  # (n,) int64
    axis: int = 0
    data: np.ndarray | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """Bytes of the tensor."""
        return self.size * {"int8": 1, "float32": 4, "int32": 4}[self.dtype]

    @property
    def scale(self) -> float:
        """The scale (float32 as a Python float); the first where there are several."""
        return float(self.scales[0])

    @property
    def zero_point(self) -> int:
        """The zero point; the first where there are several."""
        return int(self.zero_points[0])

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"tensor {self.index} '{self.name}' ({self.dtype} {'x'.join(map(str, self.shape)) or 'scalar'})"


@dataclasses.dataclass
class Node:
    """One operator; ``inputs`` may hold None for an absent optional input."""

    op: str
    inputs: list[Tensor | None]
    outputs: list[Tensor]
    attributes: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def output(self) -> Tensor:
        """The first output."""
        return self.outputs[0]

    @property
    def variable_inputs(self) -> list[Tensor]:
        """Inputs that are computed at run time."""
        return [t for t in self.inputs if t is not None and t.data is None]


@dataclasses.dataclass
class Graph:
    """A whole network."""

    inputs: list[Tensor]
    outputs: list[Tensor]
    nodes: list[Node]

    def producer(self, tensor: Tensor) -> Node | None:
        """Return the node that makes ``tensor``, or None for inputs and constants."""
        return next((n for n in self.nodes if any(t is tensor for t in n.outputs)), None)

    def consumers(self, tensor: Tensor) -> list[Node]:
        """Return the nodes that read ``tensor``."""
        return [n for n in self.nodes if any(t is tensor for t in n.inputs)]

    def is_output(self, tensor: Tensor) -> bool:
        """Whether the caller receives ``tensor``."""
        return any(t is tensor for t in self.outputs)
