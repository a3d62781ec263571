# SPDX-License-Identifier: MIT
"""One operator's code: C statements, with what it reads, writes and needs as scratch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from cheep.compiler import fixedpoint
from cheep.tflite.graph import Node, Tensor

if TYPE_CHECKING:
    from cheep.compiler.pipeline import Pipeline

Pointers = Callable[[Tensor], str]


@dataclasses.dataclass(frozen=True)
class SlowLayer:
    """A layer that left the fast path: which, why, and what it costs."""

    title: str
    reason: str
    instructions: int
    fast_instructions: int


@dataclasses.dataclass
class Step:
    """One operator's code. ``lines(pointer, scratch)`` gives C statements; ``kernels`` are the parts it calls."""

    title: str
    reads: list[Tensor]
    writes: list[Tensor]
    lines: Callable[[Pointers, str], list[str]]
    kernels: set[str]
    wrappers: set[tuple[str, str]] = dataclasses.field(default_factory=set)
    scratch: int = 0
    in_place: bool = False  # the first input's memory may become the first output's
    alias: bool = False  # no code: the output is the input
    updates: bool = False  # a state that it reads may lie where it writes what the state becomes
    slow: SlowLayer | None = None
    rows: Pipeline | None = None  # many layers at once, row by row: its code is made when all has its place


def title(node: Node) -> str:
    """Return the comment above a step: operator and shapes."""
    shapes = ", ".join("x".join(map(str, t.shape)) or "1" for t in node.inputs)
    made = ", ".join("x".join(map(str, t.shape)) or "1" for t in node.outputs)
    op = node.attributes.get("from", node.op)
    return f"{op}: {shapes} -> {made}"


def rescale(pair: tuple[int, int], left: int = 0) -> str:
    """Return the initializer of a ratio in C: multiplier, left and right shift."""
    multiplier, shift = pair
    return f"{{{multiplier}, {left + max(shift, 0)}, {max(-shift, 0)}}}"


def general(ratio: float) -> str:
    """Return the initializer of a ``cheep_general``: ``ratio`` as TFLM quantizes it."""
    return rescale(fixedpoint.quantize_multiplier(ratio))
