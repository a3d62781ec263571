# SPDX-License-Identifier: MIT
"""ONNX's Add, Sub, Mul and Div: of two tensors, of a tensor and a constant, of two constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cheep.convert.onnx.value import Value, channels_last, computed, known, onnx_order
from cheep.errors import CheepError

# From a constant in the order of the tensor's axes to what is done with the tensor.
Elementwise = Callable[[np.ndarray], Callable[[Any], Any]]


def add(k: Any, i: list, a: dict, name: str) -> Value:
    """``Add``."""
    return _binary(k, i, np.add, k.layers.Add(name=name), lambda c: (1.0, c), lambda c: lambda t: t + c)


def multiply(k: Any, i: list, a: dict, name: str) -> Value:
    """``Mul``."""
    return _binary(k, i, np.multiply, k.layers.Multiply(name=name), lambda c: (c, 0.0), _times)


def subtract(k: Any, i: list, a: dict, name: str) -> Value:
    """``Sub``."""
    layer = k.layers.Subtract(name=name)
    if i[0].constant:
        return _binary(k, i, np.subtract, layer, lambda c: (-1.0, c), lambda c: lambda t: c - t)
    return _binary(k, i, np.subtract, layer, lambda c: (1.0, -c), lambda c: lambda t: t - c)


def divide(k: Any, i: list, a: dict, name: str) -> Value:
    """``Div``; of a tensor and a constant, the constant must be the divisor."""
    if i[0].constant and not i[1].constant:
        raise CheepError("a constant divided by a tensor")
    layer = k.layers.Lambda(lambda t: t[0] / t[1], name=name)
    return _binary(k, i, np.divide, layer, lambda c: (1.0 / c, 0.0), lambda c: _times(1 / c))


def _times(factor: np.ndarray) -> Callable[[Any], Any]:
    return lambda tensor: tensor * factor


def _binary(
    k: Any,
    i: list,
    function: Callable[..., np.ndarray],
    layer: Any,
    rescaling: Callable[[float], tuple[float, float]],
    elementwise: Elementwise,
) -> Value:
    """Return ``function`` of two constants, ``layer`` of two tensors, and of a tensor and a constant: scale and offset
    where it is one number, else an element-wise function.
    """
    left, right = i
    if left.constant and right.constant:
        return known(np.asarray(function(left.x, right.x), np.asarray(left.x).dtype))
    if not (left.constant or right.constant):
        if left.last != right.last:
            turn = channels_last if len(left.shape) == len(right.shape) else onnx_order
            left, right = turn(k, left), turn(k, right)
        return computed(layer([left.x, right.x]), left.last)
    v, c = (right, left) if left.constant else (left, right)
    array = np.asarray(c.x, np.float32)
    if array.size == 1:
        scale, offset = rescaling(float(array.ravel()[0]))
        return computed(k.layers.Rescaling(scale, offset, name=layer.name)(v.x), v.last)
    return computed(k.layers.Lambda(elementwise(_as_laid(array, v)), name=layer.name)(v.x), v.last)


def _as_laid(array: np.ndarray, v: Value) -> np.ndarray:
    """Return a constant in the order of the tensor's axes."""
    if v.last and array.ndim > 1:
        return np.moveaxis(array.reshape((1,) * (len(v.shape) - array.ndim) + array.shape), 1, -1)
    if v.last:  # along the last ONNX axis, which is not the channels
        return array.reshape((1, *([1] * (len(v.shape) - 3)), array.size, 1))
    return array
