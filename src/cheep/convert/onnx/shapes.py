# SPDX-License-Identifier: MIT
"""ONNX operators that move, cut and join, and those that are known while importing."""

from __future__ import annotations

from typing import Any

import numpy as np

from cheep.convert.onnx.value import Value, array_of, channels_last, computed, given, integers, known, onnx_order
from cheep.errors import CheepError


def flatten(k: Any, i: list, a: dict, name: str) -> Value:
    """``Flatten`` of everything but the batch."""
    if int(a.get("axis", 1)) != 1:
        raise CheepError("axis other than 1")
    v = i[0]
    return computed(k.layers.Flatten(name=name)((v if v.is_one_position else onnx_order(k, v)).x), False)


def reshape(k: Any, i: list, a: dict, name: str) -> Value:
    """``Reshape``: 0 keeps a size."""
    target = [int(n) for n in np.ravel(array_of(i[1]))]
    return _reshaped(k, i[0], [i[0].shape[n] if size == 0 else size for n, size in enumerate(target)], name)


def squeeze(k: Any, i: list, a: dict, name: str) -> Value:
    """``Squeeze``: without axes, all that are one but the batch."""
    shape, axes = i[0].shape, integers(a, "axes", i, 1)
    if i[0].steps_first:
        return _without_front(k, i[0], axes)
    gone = {n for n, size in enumerate(shape) if size == 1 and n} if axes is None else {n % len(shape) for n in axes}
    return _reshaped(k, i[0], [size for n, size in enumerate(shape) if n not in gone], name)


def _without_front(k: Any, v: Value, axes: list[int] | None) -> Value:
    """Squeeze what a recurrent layer gives: its directions, or the only step."""
    rank = len(v.shape)
    gone = sorted(n % rank for n in axes or ())
    if rank == 4 and gone == [1]:
        return Value(v.x, (v.shape[0], *v.shape[2:]), steps_first=True)
    if v.shape[0] == 1 and gone == ([0] if rank == 3 else [0, 1]):
        return Value(k.layers.Reshape((v.shape[-1],))(v.x), (1, v.shape[-1]))
    raise CheepError(f"of axes {axes} behind a recurrent layer")


def unsqueeze(k: Any, i: list, a: dict, name: str) -> Value:
    """``Unsqueeze``."""
    target, axes = list(i[0].shape), integers(a, "axes", i, 1)
    if axes is None:
        raise CheepError("it names no axes")
    rank = len(target) + len(axes)
    for n in sorted(n % rank for n in axes):
        target.insert(n, 1)
    return _reshaped(k, i[0], target, name)


def _reshaped(k: Any, v: Value, target: list[int], name: str) -> Value:
    if v.constant:
        return known(v.x.reshape(target))
    target = _without_open_size(v, target)
    flat = v if v.is_one_position else onnx_order(k, v)
    return Value(k.layers.Reshape(tuple(target[1:]), name=name)(flat.x), tuple(target))


def _without_open_size(v: Value, target: list[int]) -> list[int]:
    """Return the shape with the size that is -1 filled in; the batch stays the first axis."""
    rest = int(np.prod(v.shape[1:]))
    if target and target[0] == -1 and int(np.prod(target[1:])) == rest:
        target = [1, *target[1:]]
    if not target or target[0] not in (1, -1) or v.shape[0] != 1:
        raise CheepError(f"to {target}: the batch must stay the first axis")
    if target[0] == -1:
        raise CheepError(f"to {target}: mixes the batch with other axes")
    if -1 in target:
        stated = int(np.prod([n for n in target if n != -1]))
        target[target.index(-1)] = rest // max(1, stated)
    return target


def transpose(k: Any, i: list, a: dict, name: str) -> Value:
    """``Transpose``; between channels first and last it is only another reading of the same data."""
    v = i[0]
    order = [int(n) for n in a.get("perm", range(len(v.shape))[::-1])]
    if v.constant:
        return known(np.transpose(v.x, order))
    if order == [1, 0, 2] and not v.last and (v.steps_first or v.shape[0] == 1):  # steps and batch change places
        return Value(v.x, tuple(v.shape[n] for n in order), steps_first=not v.steps_first)
    if order[0] != 0:
        raise CheepError(f"perm {order}: the batch must stay the first axis")
    rank, shape = len(order), tuple(v.shape[n] for n in order)
    if v.last and order == [0, *range(2, rank), 1]:
        return Value(v.x, shape)
    if not v.last and order == [0, rank - 1, *range(1, rank - 1)] and rank >= 3:
        return Value(v.x, shape, True)
    return Value(k.layers.Permute(tuple(order[1:]), name=name)(onnx_order(k, v).x), shape)


def concat(k: Any, i: list, a: dict, name: str) -> Value:
    """``Concat``."""
    if all(v.constant for v in i):
        return known(np.concatenate([np.atleast_1d(v.x) for v in i], axis=int(a["axis"])))
    if any(v.constant for v in i):
        raise CheepError("a constant joined to a tensor")
    rank = len(i[0].shape)
    axis = int(a["axis"]) % rank
    parts = [channels_last(k, v) for v in i] if any(v.last for v in i) else list(i)
    inner = (rank - 1 if axis == 1 else axis - 1) if parts[0].last else axis
    return computed(k.layers.Concatenate(axis=inner, name=name)([v.x for v in parts]), parts[0].last)


def pad(k: Any, i: list, a: dict, name: str) -> Value:
    """``Pad`` with zeros, in space."""
    filled = given(i, 2)
    if a.get("mode", "constant") != "constant" or (filled is not None and float(array_of(filled)) != 0):
        raise CheepError("padding with anything but zeros")
    v = channels_last(k, i[0])
    raw = integers(a, "pads", i, 1)
    if raw is None:
        raise CheepError("it names no pads")
    rank = len(v.shape)
    pads = [(raw[n], raw[n + rank]) for n in range(rank)]
    if any(p != (0, 0) for p in pads[:2]):
        raise CheepError("padding of batch or channels")
    layer = k.layers.ZeroPadding2D(pads[2:], name=name) if rank == 4 else k.layers.ZeroPadding1D(pads[2], name=name)
    return computed(layer(v.x), v.last)


def cut(k: Any, i: list, a: dict, name: str) -> Value:
    """``Slice`` without steps."""
    v = i[0]
    starts, ends = ([int(n) for n in np.ravel(array_of(i[j]))] for j in (1, 2))
    axes = integers({}, "axes", i, 3)
    steps = integers({}, "steps", i, 4)
    taken = [slice(None)] * len(v.shape)
    for axis, start, end, step in zip(
        range(len(starts)) if axes is None else axes, starts, ends, steps or [1] * len(starts), strict=True
    ):
        taken[axis % len(v.shape)] = slice(start, None if end >= 2**31 - 1 else end, step)
    if v.constant:
        return known(v.x[tuple(taken)])
    if taken[0] != slice(None) or any(s.step not in (None, 1) for s in taken):
        raise CheepError("a cut through the batch, or with a step")
    inner = tuple([taken[0], *taken[2:], taken[1]] if v.last else taken)
    return computed(k.layers.Lambda(lambda t: t[inner], name=name)(v.x), v.last)


def split(k: Any, i: list, a: dict, name: str) -> list[Value]:
    """``Split`` along an axis."""
    v = onnx_order(k, i[0])
    axis, n = int(a.get("axis", 0)) % len(v.shape), a["results"]
    sizes = integers(a, "split", i, 1) or [-(-v.shape[axis] // n)] * n
    ends = np.cumsum(sizes)
    if axis == 0 or ends[-1] != v.shape[axis]:
        raise CheepError(f"of axis {axis} into {sizes}")
    made = []
    for part, (size, end) in enumerate(zip(sizes, ends.tolist(), strict=True)):
        at = tuple([slice(None)] * axis + [slice(end - size, end)])
        made.append(computed(k.layers.Lambda(lambda t, at=at: t[at], name=f"{name}_{part}")(v.x), False))
    return made


def expand(k: Any, i: list, a: dict, name: str) -> Value:
    """``Expand`` of a constant."""
    if not i[0].constant:
        raise CheepError("of what is computed")
    shape = [int(n) for n in np.ravel(array_of(i[1]))]
    return known(np.broadcast_to(i[0].x, np.broadcast_shapes(i[0].x.shape, tuple(shape))))


def gather(k: Any, i: list, a: dict, name: str) -> Value:
    """``Gather`` of one position along one axis."""
    index, axis = array_of(i[1]), int(a.get("axis", 0))
    if i[0].constant:
        return known(np.take(i[0].x, index.astype(np.int64), axis=axis))
    v = onnx_order(k, i[0])
    axis %= len(v.shape)
    if v.steps_first and axis == 0 and not index.ndim and len(v.shape) == 3:
        step = int(index)
        return computed(k.layers.Lambda(lambda t: t[:, step], name=name)(v.x), False)
    if index.ndim or axis == 0:
        raise CheepError("other than one position along one axis")
    at = tuple([slice(None)] * axis + [int(index)])
    return computed(k.layers.Lambda(lambda t: t[at], name=name)(v.x), False)


def identity(k: Any, i: list, a: dict, name: str) -> Value:
    """``Identity``, ``Dropout``, ``Cast``: nothing at inference."""
    return i[0]


def constant(k: Any, i: list, a: dict, name: str) -> Value:
    """``Constant``."""
    for key in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        if key in a:
            return known(a[key])
    raise CheepError("a constant that is no number")


def shape(k: Any, i: list, a: dict, name: str) -> Value:
    """``Shape``, with batch 1."""
    return known(np.array(i[0].shape, np.int64))
