# SPDX-License-Identifier: MIT
"""Operators on one value at a time -> C statements: arithmetic of two tensors, tables, slopes, softmax, types."""

from __future__ import annotations

import numpy as np

from cheep.compiler import fixedpoint, movement
from cheep.compiler.constants import Constants
from cheep.compiler.ctext import loops
from cheep.compiler.passes import binary_spec
from cheep.compiler.step import Pointers, Step, rescale, title
from cheep.tflite.graph import Node, Tensor


def binary(node: Node, name: str, constants: Constants) -> Step:
    """Return the step of an ADD, SUB or MUL of two tensors."""
    (a, b), out = node.inputs, node.output
    spec = binary_spec(node)
    zeros = f"{a.zero_point}, {b.zero_point}, {out.zero_point}, {spec['range'][0]}, {spec['range'][1]}"
    if node.op == "MUL":
        kernel = "mul"
        text = f"{rescale(spec['product'])}, {zeros}"
    else:
        kernel = "add"
        text = ", ".join(rescale(spec[k], 20 if k != "sum" else 0) for k in ("a", "b", "sum"))
        text += f", {zeros}, {'true' if node.op == 'SUB' else 'false'}"
    spec_line = f"const cheep_{kernel}_spec spec = {{{text}}};"
    pa, pb = constants.pointer(a, name + "_a"), constants.pointer(b, name + "_b")
    dims = _broadcast(a, b, out)

    def lines(p: Pointers, scratch: str) -> list[str]:
        left, right = pa or p(a), pb or p(b)
        *outer, (n, sa, sb, _) = dims
        if not outer:
            return ["{", spec_line, f"cheep_{kernel}(spec, {left}, {sa}, {right}, {sb}, {p(out)}, {n});", "}"]
        code, ia = loops("i", [(m, s) for m, s, _, _ in outer])
        ib = " + ".join(f"{s} * i{i}" for i, (_, _, s, _) in enumerate(outer))
        io = " + ".join(f"{s} * i{i}" for i, (_, _, _, s) in enumerate(outer))
        call = f"cheep_{kernel}(spec, {left} + {ia}, {sa}, {right} + {ib}, {sb}, {p(out)} + {io}, {n});"
        return ["{", spec_line, *code, call, "}" * len(outer), "}"]

    in_place = a.data is None and a.size == out.size and (b.data is not None or b is not a)
    return Step(title(node), node.variable_inputs, [out], lines, {kernel}, in_place=in_place)


def _broadcast(a: Tensor, b: Tensor, out: Tensor) -> list[tuple[int, int, int, int]]:
    """Return loops (n, step of a, step of b, step of out), outermost first, as few as possible."""
    rank = len(out.shape)

    def steps(t: Tensor) -> list[int]:
        shape = (1,) * (rank - len(t.shape)) + t.shape
        return [0 if n == 1 else s for n, s in zip(shape, movement.strides(shape), strict=True)]

    dims = [d for d in zip(out.shape, steps(a), steps(b), movement.strides(out.shape), strict=True) if d[0] > 1] or [
        (1, 1, 1, 1)
    ]
    joined = [dims[-1]]
    for n, sa, sb, so in reversed(dims[:-1]):
        m, a1, b1, o1 = joined[0]
        if (sa, sb, so) == (m * a1, m * b1, m * o1):
            joined[0] = (n * m, a1, b1, o1)
        else:
            joined.insert(0, (n, sa, sb, so))
    return joined


def lookup(node: Node, name: str, constants: Constants) -> Step:
    """Return the step of an operator that is a table of 256 bytes."""
    source, out = node.inputs[0], node.output
    table = constants.array("int8_t", f"{name}_table", node.attributes["table"], node.attributes["from"])
    read, write = ("(const int8_t *)" if t.dtype != "int8" else "" for t in (source, out))

    def lines(p: Pointers, scratch: str) -> list[str]:
        to = f"(int8_t *)({p(out)})" if write else p(out)
        given = f"{read}({p(source)})" if read else p(source)
        return [f"cheep_lookup({table}, {given}, {to}, {out.size});"]

    return Step(title(node), [source], [out], lines, {"lookup"}, in_place=True)


def prelu(node: Node, name: str, constants: Constants) -> Step:
    """Return the step of a PRELU."""
    source, slopes, out = node.inputs[0], node.inputs[1], node.output
    ref = constants.array("int8_t", f"{name}_slopes", slopes.constant)
    whole, part = (
        fixedpoint.quantize_multiplier(ratio)
        for ratio in (source.scale / out.scale, source.scale * slopes.scale / out.scale)
    )
    numbers = [whole[0], max(whole[1], 0), max(-whole[1], 0), part[0], max(part[1], 0), max(-part[1], 0)]
    zeros = f"{source.zero_point}, {slopes.zero_point}, {out.zero_point}"
    spec = f"const cheep_prelu_spec spec = {{{', '.join(map(str, numbers))}, {zeros}}};"
    n = source.shape[-1]
    return Step(
        title(node), [source], [out],
        lambda p, s: ["{", spec, f"cheep_prelu(&spec, {p(source)}, {ref}, {out.size // n}, {n}, {p(out)});", "}"],
        {"prelu"}, in_place=True,
    )  # fmt: skip


def softmax(node: Node, name: str, constants: Constants) -> Step:
    """Return the step of a SOFTMAX."""
    source, out = node.inputs[0], node.output
    values = fixedpoint.softmax_exponents(node.attributes["beta"], source.scale)
    ref = constants.array("int32_t", f"{name}_exponents", values, "exp(-d)")
    depth = source.shape[-1]
    return Step(
        title(node), [source], [out],
        lambda p, s: [f"cheep_softmax({p(source)}, {p(out)}, {out.size // depth}, {depth}, {ref}, {len(values)});"],
        {"softmax"},
    )  # fmt: skip


def quantize_float(node: Node, name: str, constants: Constants) -> Step:
    """Return the step of a QUANTIZE from float32."""
    source, out = node.inputs[0], node.output
    scale = float(np.float32(out.scale)).hex()
    return Step(
        title(node), [source], [out],
        lambda p, s: [f"cheep_quantize({p(source)}, {p(out)}, {out.size}, {scale}f, {out.zero_point});"], {"quantize"},
    )  # fmt: skip


def dequantize(node: Node, name: str, constants: Constants) -> Step:
    """Return the step of a DEQUANTIZE to float32."""
    source, out = node.inputs[0], node.output
    scale = float(np.float32(source.scale)).hex()
    return Step(
        title(node), [source], [out],
        lambda p, s: [f"cheep_dequantize({p(source)}, {p(out)}, {out.size}, {scale}f, {source.zero_point});"],
        {"dequantize"},
    )  # fmt: skip
