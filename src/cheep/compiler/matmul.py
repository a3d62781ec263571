# SPDX-License-Identifier: MIT
"""BATCH_MATMUL: products of two computed matrices (attention); one with a constant is a dense layer."""

from __future__ import annotations

import math

import numpy as np

from cheep.compiler import movement
from cheep.compiler.constants import Constants
from cheep.compiler.movement import Unfit
from cheep.compiler.step import Pointers, Step, general, title
from cheep.tflite.graph import Node, Tensor


def check(node: Node) -> None:
    """Raise :class:`Unfit` for a product that cannot be compiled exactly."""
    a, b, out = node.inputs[0], node.inputs[1], node.output
    for tensor in (a, b, out):
        if tensor.dtype != "int8" or len(tensor.scales) != 1:
            raise Unfit(f"{tensor.label} must be int8 with one scale")
    if not (2 <= len(a.shape) <= 5 and 2 <= len(b.shape) <= 5) or len(out.shape) != max(len(a.shape), len(b.shape)):
        raise Unfit("two to five dimensions are needed")
    batch, rows, columns, depth = _sizes(node)
    if out.shape != (*batch, rows, columns):
        raise Unfit(f"the output's shape {list(out.shape)} does not fit")
    if depth > 32767:
        raise Unfit("the vectors are too long")
    if not depth * 255 * 255 * max(1.0, 2 * _ratio(node)) < 2**31:
        raise Unfit("the output's scale is too small")


def dense_form(node: Node) -> np.ndarray | None:
    """Return the weights (outputs, depth) int8 of a product with one constant matrix, or None."""
    a, b = node.inputs[0], node.inputs[1]
    plain = a.data is None and b.data is not None and not node.attributes["adjoint_a"] and b.zero_point == 0
    if not plain or math.prod(b.shape[:-2]) != 1:
        return None
    matrix = b.constant.reshape(b.shape[-2:])
    return np.ascontiguousarray(matrix if node.attributes["adjoint_b"] else matrix.T)


def _sizes(node: Node) -> tuple[tuple[int, ...], int, int, int]:
    """Return (batch dimensions, rows, columns, length of the vectors)."""
    a, b = node.inputs[0].shape, node.inputs[1].shape
    rows, depth = (a[-1], a[-2]) if node.attributes["adjoint_a"] else (a[-2], a[-1])
    columns, other = (b[-2], b[-1]) if node.attributes["adjoint_b"] else (b[-1], b[-2])
    if depth != other:
        raise Unfit(f"rows of {depth} values meet columns of {other}")
    try:
        batch = np.broadcast_shapes(a[:-2], b[:-2])
    except ValueError:
        raise Unfit("the batches do not broadcast") from None
    return batch, rows, columns, depth


def _ratio(node: Node) -> float:
    a, b = (np.float32(t.scale) for t in node.inputs[:2])
    return float(a * b) / node.output.scale


def lower(node: Node, name: str, constants: Constants) -> Step:
    """Return the step of a BATCH_MATMUL."""
    a, b, out = node.inputs[0], node.inputs[1], node.output
    batch, rows, columns, depth = _sizes(node)
    a_row, a_step = (1, rows) if node.attributes["adjoint_a"] else (depth, 1)
    b_column, b_step = (depth, 1) if node.attributes["adjoint_b"] else (1, columns)
    zeros = (a.zero_point, b.zero_point, out.zero_point)
    numbers = (rows, columns, depth, a_row, a_step, b_column, b_step, *zeros)
    text = ", ".join(map(str, (*numbers, general(_ratio(node)))))
    spec = constants.struct("cheep_matmul_spec", f"{name}_matmul", text, 48)
    fixed = {id(t): constants.pointer(t, f"{name}_c{i}") for i, t in enumerate((a, b))}

    def lines(p: Pointers, scratch: str) -> list[str]:
        left, right = (fixed[id(t)] or p(t) for t in (a, b))
        loops, terms = [], []
        for i, n in enumerate(batch):
            if n > 1:
                loops.append(f"for (int i{i} = 0; i{i} < {n}; ++i{i}) {{")
            terms.append(f"i{i}" if n > 1 else "")
        at = [_offset(t, batch, terms) for t in (a, b)]
        result = _sum([(rows * columns * math.prod(batch[i + 1 :]), v) for i, v in enumerate(terms)])
        call = f"cheep_matmul({spec}, {left}{at[0]}, {right}{at[1]}, {p(out)}{result});"
        return ["{", *loops, call, *("}" for _ in loops), "}"] if loops else [call]

    return Step(title(node), node.variable_inputs, [out], lines, {"matmul"})


def _offset(tensor: Tensor, batch: tuple[int, ...], terms: list[str]) -> str:
    """Return " + offset" of the matrix of a tensor for the loops' variables."""
    shape = tensor.shape[:-2]
    steps = movement.strides(tensor.shape)[:-2]
    lead = len(batch) - len(shape)
    return _sum([(0 if shape[i] == 1 else steps[i], terms[lead + i]) for i in range(len(shape))])


def _sum(parts: list[tuple[int, str]]) -> str:
    return "".join(f" + {step} * {variable}" for step, variable in parts if step and variable)
