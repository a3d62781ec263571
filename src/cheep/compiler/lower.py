# SPDX-License-Identifier: MIT
"""Nodes -> steps: C statements, one operator at a time, with what each reads, writes and needs as scratch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cheep.compiler import elementwise, layers, matmul, movement, recurrent, reductions
from cheep.compiler.constants import Constants
from cheep.compiler.step import Pointers, Step, title
from cheep.tflite.graph import Node


def lower(node: Node, name: str, constants: Constants) -> Step:
    """Return the step of ``node``; ``name`` prefixes its constants."""
    return _LOWER[node.op](node, name, constants)


def _alias(node: Node, name: str, constants: Constants) -> Step:
    return Step(title(node), [node.inputs[0]], [node.output], lambda p, s: [], set(), alias=True)


def _resize(node: Node, name: str, constants: Constants) -> Step:
    source, out, a = node.inputs[0], node.output, node.attributes

    def nearest(size_in: int, size_out: int) -> list[int]:
        corners = a["align_corners"] and size_out > 1
        scale = (
            np.float32(size_in - 1) / np.float32(size_out - 1)
            if corners
            else np.float32(size_in) / np.float32(size_out)
        )
        at = (np.arange(size_out, dtype=np.float32) + np.float32(0.5 if a["half_pixels"] else 0)) * scale
        at = np.floor(at + np.float32(0.5)) if a["align_corners"] else np.floor(at)
        return np.clip(at.astype(np.int64), 0, size_in - 1).tolist()

    rows = constants.array("int16_t", f"{name}_rows", nearest(source.shape[1], out.shape[1]))
    columns = constants.array("int16_t", f"{name}_columns", nearest(source.shape[2], out.shape[2]))
    batch, height, width, depth = out.shape
    image = source.shape[1] * source.shape[2] * depth

    def lines(p: Pointers, scratch: str) -> list[str]:
        pixel = f"b * {image} + ({rows}[y] * {source.shape[2]} + {columns}[x]) * {depth}"
        loops = [f"for (int {v} = 0; {v} < {n}; ++{v}) {{" for v, n in (("b", batch), ("y", height), ("x", width))]
        copy = [f"memcpy(to, {p(source)} + {pixel}, {depth});", f"to += {depth};"]
        return ["{", f"int8_t *to = {p(out)};", *loops, *copy, "}}}", "}"]

    return Step(title(node), [source], [out], lines, set())


def _movement(node: Node, name: str, constants: Constants) -> Step:
    copies = movement.copies(node)
    copied = {id(c.source) for c in copies}
    pointers = {id(t): constants.pointer(t, f"{name}_c{i}") for i, t in enumerate(node.inputs) if id(t) in copied}
    fill = None
    if node.op in ("PAD", "PADV2"):
        fill = node.output.zero_point if node.op == "PAD" else node.inputs[2].integers[0]

    def lines(p: Pointers, scratch: str) -> list[str]:
        code = []
        if fill is not None:
            code.append(f"memset({p(node.output)}, {fill & 255}, {node.output.size});")
        for copy in copies:
            source = pointers[id(copy.source)] or p(copy.source)
            code += movement.copy_lines(copy, source, p(copy.target))
        return code

    return Step(title(node), node.variable_inputs, list(node.outputs), lines, set())


_LOWER: dict[str, Callable[[Node, str, Constants], Step]] = {
    "ALIAS": _alias,
    "CONV": layers.conv,
    "DEPTHWISE": layers.conv,
    "DENSE": layers.dense,
    "MAX_POOL_2D": layers.pool,
    "AVERAGE_POOL_2D": layers.pool,
    "MEAN": reductions.reduce,
    "SUM": reductions.reduce,
    "REDUCE_MAX": reductions.reduce,
    "PRELU": elementwise.prelu,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "ADD": elementwise.binary,
    "SUB": elementwise.binary,
    "MUL": elementwise.binary,
    "LOOKUP": elementwise.lookup,
    "SOFTMAX": elementwise.softmax,
    "QUANTIZE": elementwise.quantize_float,
    "DEQUANTIZE": elementwise.dequantize,
    "BATCH_MATMUL": matmul.lower,
    "SVDF": recurrent.lower_svdf,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": recurrent.lower_lstm,
    **dict.fromkeys(
        ("PAD", "PADV2", "CONCATENATION", "SPLIT", "SPLIT_V", "STRIDED_SLICE", "PACK", "UNPACK", "TRANSPOSE"), _movement
    ),
}
