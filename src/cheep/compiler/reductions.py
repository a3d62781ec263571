# SPDX-License-Identifier: MIT
"""MEAN, SUM and REDUCE_MAX -> C statements."""

from __future__ import annotations

from cheep.compiler import fixedpoint, movement
from cheep.compiler.constants import Constants
from cheep.compiler.ctext import loops
from cheep.compiler.step import Pointers, Step, title
from cheep.tflite.graph import Node


def mean_constants(node: Node) -> tuple[int, int, int]:
    """Return (multiplier, shift, elements summed) of a MEAN or SUM."""
    source, out = node.inputs[0], node.output
    multiplier, shift = fixedpoint.quantize_multiplier(source.scale / out.scale)
    n = source.size // out.size
    if node.op == "MEAN":
        extra = min(n.bit_length() - 1, 32, 31 + shift)
        multiplier = (multiplier << extra) // n
        shift -= extra
    return multiplier, shift, n


def reduce(node: Node, name: str, constants: Constants) -> Step:
    """Return the step of a MEAN, SUM or REDUCE_MAX."""
    source, out = node.inputs[0], node.output
    axes = {i % len(source.shape) for i in node.inputs[1].integers}
    largest = node.op == "REDUCE_MAX"
    multiplier, shift, n = (0, 0, 0) if largest else mean_constants(node)
    steps = movement.strides(source.shape)
    kept = _joined([(m, s) for i, (m, s) in enumerate(zip(source.shape, steps, strict=True)) if i not in axes])
    gone = _joined([(m, s) for i, (m, s) in enumerate(zip(source.shape, steps, strict=True)) if i in axes])

    def lines(p: Pointers, scratch: str) -> list[str]:
        outer, index = loops("i", kept)
        inner, offset = loops("k", gone)
        if largest:
            value = f"({p(source)})[{index} + {offset}]"
            code = [f"int8_t *to = {p(out)};", *outer, "int8_t best = -128;", *inner]
            code += [f"best = {value} > best ? {value} : best;", "}" * len(gone), "*to++ = best;"]
            return ["{", *code, "}" * len(kept), "}"]
        code = [f"int8_t *to = {p(out)};", *outer, "int32_t sum = 0;", *inner]
        code += [f"sum += ({p(source)})[{index} + {offset}];", "}" * len(gone)]
        code += [
            f"*to++ = cheep_limit(cheep_scale(sum - {n * source.zero_point}, {multiplier}, {max(shift, 0)}, "
            f"{max(-shift, 0)}) + {out.zero_point}, -128, 127);"
        ]
        return ["{", *code, "}" * len(kept), "}"]

    return Step(title(node), [source], [out], lines, {"limit"})


def _joined(dims: list[tuple[int, int]]) -> list[tuple[int, int]]:
    dims = [d for d in dims if d[0] > 1]
    out: list[tuple[int, int]] = []
    for n, s in reversed(dims):
        if out and s == out[0][0] * out[0][1]:
            out[0] = (n * out[0][0], out[0][1])
        else:
            out.insert(0, (n, s))
    return out
