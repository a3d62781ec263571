# SPDX-License-Identifier: MIT
"""A tensor on its way from ONNX to Keras, with the order of its axes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from cheep.errors import CheepError


@dataclasses.dataclass
class Value:
    """A tensor while importing: ``x`` a Keras tensor or a numpy constant, ``shape`` as ONNX sees it, batch included.

    ``last`` says that the axes of ``x`` are channels last (batch, spatial..., channels) while ONNX says channels first;
    ``steps_first`` that ONNX has the steps of a sequence before the batch, (steps, batch, ..., values), while ``x`` is
    (batch, steps, values).
    """

    x: Any
    shape: tuple[int, ...]
    last: bool = False
    steps_first: bool = False

    @property
    def constant(self) -> bool:
        """Whether the value is known while importing."""
        return isinstance(self.x, np.ndarray)

    @property
    def is_one_position(self) -> bool:
        """Whether the order of the axes does not matter, since all but the channels are one."""
        return self.last and int(np.prod(self.shape[2:])) == 1


def computed(x: Any, last: bool) -> Value:
    """Return the value of a Keras tensor whose axes lie channels last or as ONNX has them."""
    sizes = tuple(1 if size is None else int(size) for size in x.shape)
    return Value(x, (sizes[0], sizes[-1], *sizes[1:-1]) if last else sizes, last)


def known(x: Any) -> Value:
    """Return the value of a constant."""
    array = np.asarray(x)
    return Value(array, array.shape)


def array_of(value: Value | None) -> np.ndarray:
    """Return a constant in its own shape and dtype (weights float32, axes and sizes int64).

    Raises
    ------
    CheepError
        The value is computed, or was left out.
    """
    if value is None or not value.constant:
        raise CheepError("an argument that must be constant is computed; export with constant folding")
    return value.x


def given(values: list[Value | None], index: int) -> Value | None:
    """Return the argument ``index``, or None where it was left out."""
    return values[index] if len(values) > index else None


def integers(attributes: dict[str, Any], key: str, values: list[Value | None], index: int) -> list[int] | None:
    """Return a list of integers: an attribute in older opsets, an argument in newer ones; None where neither is."""
    if key in attributes:
        return [int(n) for n in attributes[key]]
    value = given(values, index)
    return None if value is None else [int(n) for n in np.ravel(array_of(value))]


def onnx_order(k: Any, v: Value) -> Value:
    """Return ``v`` with its axes in ONNX's order."""
    if not v.last or v.constant:
        return v
    rank = len(v.shape)
    return Value(k.layers.Permute((rank - 1, *range(1, rank - 1)))(v.x), v.shape)


def channels_last(k: Any, v: Value) -> Value:
    """Return ``v`` with its channels last."""
    if v.last or v.constant or len(v.shape) < 3:
        return v
    rank = len(v.shape)
    return Value(k.layers.Permute((*range(2, rank), 1))(v.x), v.shape, True)
