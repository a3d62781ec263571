"""ONNX's Add, Sub, Mul and Div: of two tensors, or of a tensor and a constant."""

from __future__ import annotations

from typing import Any

import numpy as np

from cheep.convert.onnx.value import Value, channels_last, computed, known, onnx_order
from cheep.errors import CheepError


def add(k: Any, i: list, a: dict, name: str) -> Value:
    """``Add``."""
    left, right = i
    if left.constant and right.constant:
        return _folded(np.add, left, right)
    if not (left.constant or right.constant):
        return _joined(k, k.layers.Add(name=name), left, right)
    v, c, number = _parts(left, right)
    if number is not None:
        return computed(k.layers.Rescaling(1.0, number, name=name)(v.x), v.last)
    return _elementwise(k, v, lambda t: t + c, name)


def multiply(k: Any, i: list, a: dict, name: str) -> Value:
    """``Mul``."""
    left, right = i
    if left.constant and right.constant:
        return _folded(np.multiply, left, right)
    if not (left.constant or right.constant):
        return _joined(k, k.layers.Multiply(name=name), left, right)
    v, c, number = _parts(left, right)
    if number is not None:
        return computed(k.layers.Rescaling(number, 0.0, name=name)(v.x), v.last)
    return _elementwise(k, v, lambda t: t * c, name)


def subtract(k: Any, i: list, a: dict, name: str) -> Value:
    """``Sub``."""
    left, right = i
    if left.constant and right.constant:
        return _folded(np.subtract, left, right)
    if not (left.constant or right.constant):
        return _joined(k, k.layers.Subtract(name=name), left, right)
    v, c, number = _parts(left, right)
    if number is not None:
        scale, offset = (-1.0, number) if left.constant else (1.0, -number)
        return computed(k.layers.Rescaling(scale, offset, name=name)(v.x), v.last)
    return _elementwise(k, v, (lambda t: c - t) if left.constant else (lambda t: t - c), name)


def divide(k: Any, i: list, a: dict, name: str) -> Value:
    """``Div``; a constant may only be the divisor."""
    left, right = i
    if left.constant and right.constant:
        return _folded(np.divide, left, right)
    if left.constant:
        raise CheepError("a constant divided by a tensor")
    if not right.constant:
        return _joined(k, k.layers.Lambda(lambda t: t[0] / t[1], name=name), left, right)
    v, c, number = _parts(left, right)
    if number is not None:
        return computed(k.layers.Rescaling(1.0 / number, 0.0, name=name)(v.x), v.last)
    inverse = 1 / c
    return _elementwise(k, v, lambda t: t * inverse, name)


def _folded(function: Any, left: Value, right: Value) -> Value:
    return known(np.asarray(function(left.x, right.x), np.asarray(left.x).dtype))


def _joined(k: Any, layer: Any, left: Value, right: Value) -> Value:
    if left.last != right.last:
        turn = channels_last if len(left.shape) == len(right.shape) else onnx_order
        left, right = turn(k, left), turn(k, right)
    return computed(layer([left.x, right.x]), left.last)


def _parts(left: Value, right: Value) -> tuple[Value, np.ndarray, float | None]:
    """Return the tensor, the constant in the order of the tensor's axes, and the number that it is, if it is one."""
    v, c = (right, left) if left.constant else (left, right)
    array = np.asarray(c.x, np.float32)
    if array.size == 1:
        return v, array, float(array.ravel()[0])
    if v.last and array.ndim > 1:
        array = np.moveaxis(array.reshape((1,) * (len(v.shape) - array.ndim) + array.shape), 1, -1)
    elif v.last:  # along the last ONNX axis, which is not the channels
        array = array.reshape((1, *([1] * (len(v.shape) - 3)), array.size, 1))
    return v, array, None


def _elementwise(k: Any, v: Value, function: Any, name: str) -> Value:
    return computed(k.layers.Lambda(function, name=name)(v.x), v.last)
