# SPDX-License-Identifier: MIT
"""Operators that only move bytes as strided copies: PAD, CONCATENATION, SPLIT, STRIDED_SLICE, PACK, TRANSPOSE."""

from __future__ import annotations

import dataclasses
import math

from cheep.tflite.graph import Node, Tensor


class Unfit(Exception):
    """The operator's operands contradict its shapes."""


@dataclasses.dataclass
class Copy:
    """``target[t0 + sum(i * ts)] = source[s0 + sum(i * ss)]`` over ``extents``, in elements."""

    source: Tensor
    target: Tensor
    source_start: int
    target_start: int
    extents: list[int]
    source_steps: list[int]
    target_steps: list[int]


def strides(shape: tuple[int, ...]) -> list[int]:
    """Return the element strides of a dense tensor."""
    return [math.prod(shape[i + 1 :]) for i in range(len(shape))]


def copies(node: Node) -> list[Copy]:
    """Return the copies that ``node`` stands for; raises :class:`Unfit`. PAD's fill is not among them."""
    parts = node.inputs if node.op == "PACK" else node.outputs
    if node.attributes.get("n", len(parts)) != len(parts):
        raise Unfit(f"{len(parts)} parts where its options say {node.attributes['n']}")
    found = _MAKERS[node.op](node)
    for copy in found:
        _bounds(copy.source.size, copy.source_start, copy.extents, copy.source_steps)
        _bounds(copy.target.size, copy.target_start, copy.extents, copy.target_steps)
    if node.op not in ("PAD", "PADV2"):
        moved = sum(math.prod(c.extents) for c in found)
        if moved != sum(t.size for t in node.outputs):
            raise Unfit("the shapes do not fit together")
    return [_merged(c) for c in found]


def _bounds(size: int, start: int, extents: list[int], steps: list[int]) -> None:
    low = start + sum(min(0, (n - 1) * s) for n, s in zip(extents, steps, strict=True))
    high = start + sum(max(0, (n - 1) * s) for n, s in zip(extents, steps, strict=True))
    if low < 0 or high >= size:
        raise Unfit("it reaches outside its input or output")


def _merged(copy: Copy) -> Copy:
    """Drop single dimensions and join those that are contiguous in both tensors."""
    dims = [d for d in zip(copy.extents, copy.source_steps, copy.target_steps, strict=True) if d[0] > 1] or [(1, 1, 1)]
    out = [dims[-1]]
    for n, s, t in reversed(dims[:-1]):
        m, s1, t1 = out[0]
        if s == m * s1 and t == m * t1:
            out[0] = (n * m, s1, t1)
        else:
            out.insert(0, (n, s, t))
    copy.extents, copy.source_steps, copy.target_steps = (list(x) for x in zip(*out, strict=True))
    return copy


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise Unfit(f"axis {axis} is outside {rank} dimensions")
    return axis % rank


def _pad(node: Node) -> list[Copy]:
    source, out, pads = node.inputs[0], node.output, node.inputs[1].constant
    rank = len(source.shape)
    if pads.dtype.kind != "i" or pads.size != 2 * rank or len(out.shape) != rank:
        raise Unfit("the padding does not fit the shape")
    pairs = pads.reshape(rank, 2).tolist()
    if any(a < 0 or b < 0 for a, b in pairs):
        raise Unfit("negative padding")
    if any(n + a + b != m for n, (a, b), m in zip(source.shape, pairs, out.shape, strict=True)):
        raise Unfit("the padding does not fit the shape")
    target = strides(out.shape)
    start = sum(a * s for (a, _), s in zip(pairs, target, strict=True))
    if len(node.inputs) > 2 and (node.inputs[2].dtype != "int8" or node.inputs[2].size != 1):
        raise Unfit("the padding value must be one int8")
    return [Copy(source, out, 0, start, list(source.shape), strides(source.shape), target)]


def _along(parts: list[Tensor], whole: Tensor, axis: int, join: bool) -> list[Copy]:
    axis = _axis(axis, len(whole.shape))
    steps, start, found = strides(whole.shape), 0, []
    for part in parts:
        if len(part.shape) != len(whole.shape):
            raise Unfit("ranks differ")
        if any(n != m for i, (n, m) in enumerate(zip(part.shape, whole.shape, strict=True)) if i != axis):
            raise Unfit("shapes differ outside the axis")
        here, own = start * steps[axis], strides(part.shape)
        if join:
            found.append(Copy(part, whole, 0, here, list(part.shape), own, steps))
        else:
            found.append(Copy(whole, part, here, 0, list(part.shape), steps, own))
        start += part.shape[axis]
    if start != whole.shape[axis]:
        raise Unfit("the parts do not add up to the whole")
    return found


def _concatenation(node: Node) -> list[Copy]:
    if node.attributes["activation"] != "NONE":
        raise Unfit("a fused activation")
    return _along(node.inputs, node.output, node.attributes["axis"], join=True)


def _split(node: Node) -> list[Copy]:
    axis, source = (node.inputs[0], node.inputs[1]) if node.op == "SPLIT" else (node.inputs[2], node.inputs[0])
    if axis.size != 1 or axis.dtype != "int32":
        raise Unfit("the axis must be one int32")
    return _along(node.outputs, source, axis.integers[0], join=False)


def _stacked(parts: list[Tensor], whole: Tensor, axis: int, join: bool) -> list[Copy]:
    axis = _axis(axis, len(whole.shape))
    shape = whole.shape[:axis] + whole.shape[axis + 1 :]
    if len(parts) != whole.shape[axis] or any(p.shape != shape for p in parts):
        raise Unfit("the shapes of the parts do not fit")
    steps = strides(whole.shape)
    rest = steps[:axis] + steps[axis + 1 :]
    found = []
    for i, part in enumerate(parts):
        here, own = i * steps[axis], strides(shape)
        if join:
            found.append(Copy(part, whole, 0, here, list(shape), own, rest))
        else:
            found.append(Copy(whole, part, here, 0, list(shape), rest, own))
    return found


def _strided_slice(node: Node) -> list[Copy]:
    source, out, a = node.inputs[0], node.output, node.attributes
    if a["ellipsis_mask"] or a["new_axis_mask"] or a["offset"]:
        raise Unfit("an ellipsis, a new axis or an offset in the slice")
    rank = len(source.shape)
    begin, end, step = (t.integers for t in node.inputs[1:])
    if not len(begin) == len(end) == len(step) <= rank or any(t.dtype != "int32" for t in node.inputs[1:]):
        raise Unfit("the slice does not fit the shape")
    extents, steps, start = [], [], 0
    own = strides(source.shape)
    for i, n in enumerate(source.shape):
        if i >= len(begin):
            first, count, stride = 0, n, 1
        else:
            stride = step[i]
            if stride == 0:
                raise Unfit("a stride of 0")
            low, high = (0, n) if stride > 0 else (-1, n - 1)
            first = (0 if stride > 0 else n - 1) if a["begin_mask"] >> i & 1 else _clip(begin[i], n, low, high)
            last = (n if stride > 0 else -1) if a["end_mask"] >> i & 1 else _clip(end[i], n, low, high)
            count = max(0, -(-(last - first) // stride))
            if a["shrink_mask"] >> i & 1:
                count = 1
        start += first * own[i]
        extents.append(count)
        steps.append(own[i] * stride)
    if math.prod(extents) != out.size or 0 in extents:
        raise Unfit("the slice does not fit the output's shape")
    dense = [math.prod(extents[i + 1 :]) for i in range(rank)]
    return [Copy(source, out, start, 0, extents, steps, dense)]


def _clip(index: int, size: int, low: int, high: int) -> int:
    return min(max(index + size if index < 0 else index, low), high)


def _transpose(node: Node) -> list[Copy]:
    source, out = node.inputs[0], node.output
    order = node.inputs[1].integers
    if sorted(order) != list(range(len(source.shape))) or tuple(source.shape[i] for i in order) != out.shape:
        raise Unfit("the permutation does not fit the shape")
    own = strides(source.shape)
    return [Copy(source, out, 0, 0, list(out.shape), [own[i] for i in order], strides(out.shape))]


def copy_lines(copy: Copy, source: str, target: str) -> list[str]:
    """Return C statements that do ``copy`` between the pointers ``source`` and ``target``."""
    dims = list(zip(copy.extents, copy.source_steps, copy.target_steps, strict=True))
    *outer, (n, ss, ts) = dims
    start = [str(copy.source_start)] if copy.source_start else []
    to = [str(copy.target_start)] if copy.target_start else []
    code = []
    for i, (m, s, t) in enumerate(outer):
        code.append(f"for (int i{i} = 0; i{i} < {m}; ++i{i}) {{")
        start.append(f"{s} * i{i}")
        to.append(f"{t} * i{i}")
    if ss == ts == 1:
        code.append(f"memcpy({' + '.join([target, *to])}, {' + '.join([source, *start])}, {n});")
    else:
        code.append(f"for (int k = 0; k < {n}; ++k) {{")
        at = " + ".join([*to, f"{ts} * k"])
        code += [f"({target})[{at}] = ({source})[{' + '.join([*start, f'{ss} * k'])}];", "}"]
    return [*code, "}" * len(outer)] if outer else code


_MAKERS = {
    "PAD": _pad,
    "PADV2": _pad,
    "CONCATENATION": _concatenation,
    "SPLIT": _split,
    "SPLIT_V": _split,
    "PACK": lambda n: _stacked(n.inputs, n.output, n.attributes["axis"], join=True),
    "UNPACK": lambda n: _stacked(n.outputs, n.inputs[0], n.attributes["axis"], join=False),
    "STRIDED_SLICE": _strided_slice,
    "TRANSPOSE": _transpose,
}
