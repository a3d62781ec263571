# SPDX-License-Identifier: MIT
"""Networks that take mel windows the other way round, (bands, columns), or in another unit than dB, as ours.

A network on (bands, columns) is one on (columns, bands) whose kernels, strides, pools and paddings are transposed; a
unit is a factor of its first kernel. Nothing is added that the device would have to compute.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cheep.errors import CheepError
from cheep.tf_runtime import import_tf

_SAME = ("Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "BatchNormalization", "Add", "Subtract", "Multiply",
         "Average", "Maximum", "Minimum", "Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout",
         "Concatenate", "Rescaling")  # fmt: skip
_TRANSPOSED = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "MaxPooling2D", "AveragePooling2D", "ZeroPadding2D",
               "Cropping2D")  # fmt: skip
_POOLED = ("GlobalAveragePooling2D", "GlobalMaxPooling2D")
_BEFORE = ("ZeroPadding2D", "Permute", "Dropout")  # the unit passes
_SCALED = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D")


def layout_of(shape: tuple[int, ...], columns: int, bands: int, name: str) -> str:
    """Return how a network of this input shape takes windows: ``columns`` (columns, bands) or ``bands``.

    A square window may be either: ``columns`` then.

    Raises
    ------
    CheepError
        The shape is neither.
    """
    sizes = tuple(shape[:2])
    if sizes == (columns, bands):
        return "columns"
    if sizes == (bands, columns):
        return "bands"
    raise CheepError(
        f"{name}: takes windows of {' x '.join(map(str, shape))}, the features give {columns} columns of {bands} bands "
        f"(or, the other way round, {bands} x {columns}); set the features that it was trained with"
    )


def on_columns(model: Any, bands_first: bool, unit_db: float = 1.0) -> Any:
    """Return a Keras network as one on (columns, bands, 1) in dB.

    Parameters
    ----------
    model
        On (columns, bands, 1), or with ``bands_first`` (bands, columns, 1); one input, one output.
    unit_db
        What a unit of its input is in dB: 20 / ln(10) for natural logarithms of magnitudes.

    Raises
    ------
    CheepError
        A layer whose axes cannot be exchanged.
    """
    keras = import_tf().keras
    if len(model.inputs) != 1 or len(model.outputs) != 1 or len(model.input_shape) != 4:
        raise CheepError(
            f"a network of input {model.input_shape}: must be one window (columns, bands, 1) and one output"
        )
    shape = tuple(model.input_shape[1:])
    if bands_first:
        shape = (shape[1], shape[0], shape[2])
    start = keras.Input(shape, name="mel")
    rebuilt = _Rebuilt(bands_first)
    return keras.Model(start, rebuilt.follow(model, [_Value(start, bands_first, scale=unit_db)])[0].tensor)


class _Value:
    """A tensor of the new network: transposed against the old one's or not, or flat with its values reordered."""

    def __init__(self, tensor: Any, flipped: bool = False, order: np.ndarray | None = None, scale: float = 1.0):
        self.tensor, self.flipped, self.order, self.scale = tensor, flipped, order, scale


class _Rebuilt:
    """Follows a network layer by layer and makes each anew."""

    def __init__(self, bands_first: bool) -> None:
        self._bands_first = bands_first
        self._names: set[str] = set()

    def follow(self, model: Any, inputs: list[_Value]) -> list[_Value]:
        """Return what a (sub)network makes of ``inputs``."""
        known = {id(tensor): value for tensor, value in zip(model.inputs, inputs, strict=True)}
        for depth in sorted(model._nodes_by_depth, reverse=True):
            for node in model._nodes_by_depth[depth]:
                layer = node.layer
                if type(layer).__name__ == "InputLayer":
                    continue
                given = [known[id(tensor)] for tensor in node.keras_inputs]
                made = self.follow(layer, given) if hasattr(layer, "_nodes_by_depth") else [self._layer(layer, given)]
                outputs = node.outputs if isinstance(node.outputs, list | tuple) else [node.outputs]
                known.update({id(tensor): value for tensor, value in zip(outputs, made, strict=True)})
        return [known[id(tensor)] for tensor in model.outputs]

    def _layer(self, layer: Any, given: list[_Value]) -> _Value:
        kind, first = type(layer).__name__, given[0]
        if first.scale != 1.0 and kind not in (*_BEFORE, *_SCALED):
            scaled = import_tf().keras.layers.Rescaling(1 / first.scale, name="unit")
            given = [_Value(scaled(first.tensor), first.flipped)]
            first = given[0]
        if any(value.flipped != first.flipped for value in given) or any(v.order is not None for v in given[1:]):
            raise CheepError(f"layer {layer.name!r} ({kind}): joins tensors of two layouts, which is not offered")
        if kind == "Permute" and tuple(layer.dims) == (2, 1, 3):
            return _Value(first.tensor, not first.flipped, scale=first.scale)
        if kind == "Flatten" and first.flipped:
            return self._flattened(layer, first)
        if first.order is not None:
            return self._ordered(layer, first)
        if first.flipped and kind not in (*_SAME, *_TRANSPOSED, *_POOLED):
            raise CheepError(
                f"layer {layer.name!r} ({kind}): its axes cannot be exchanged; give a network on (columns, bands)"
            )
        made = self._copy(layer, first.flipped and kind in _TRANSPOSED)
        result = made([value.tensor for value in given] if len(given) > 1 else first.tensor)
        weights = [np.asarray(item) for item in layer.get_weights()]
        if first.flipped and kind in _TRANSPOSED:
            weights = [np.swapaxes(item, 0, 1) if item.ndim == 4 else item for item in weights]
        if kind in _SCALED and first.scale != 1.0:
            weights[0] = (weights[0] / first.scale).astype(np.float32)
        made.set_weights(weights)
        return _Value(result, first.flipped and kind not in _POOLED, scale=first.scale if kind in _BEFORE else 1.0)

    def _flattened(self, layer: Any, value: _Value) -> _Value:
        rows, columns, depth = (int(n) for n in value.tensor.shape[1:])
        order = np.arange(rows * columns * depth).reshape(columns, rows, depth).swapaxes(0, 1).ravel()
        return _Value(self._copy(layer, False)(value.tensor), order=order)

    def _ordered(self, layer: Any, value: _Value) -> _Value:
        """What follows a flattened tensor whose values stand in another order."""
        kind = type(layer).__name__
        made = self._copy(layer, False)
        result = made(value.tensor)
        if kind in ("Dropout", "Activation", "ReLU"):
            return _Value(result, order=value.order)
        if kind != "Dense":
            raise CheepError(
                f"layer {layer.name!r} ({kind}): after Flatten only Dense can take another order of values"
            )
        kernel, *rest = layer.get_weights()
        made.set_weights([kernel[value.order], *rest])
        return _Value(result)

    def _copy(self, layer: Any, transposed: bool) -> Any:
        config = layer.get_config()
        config.pop("batch_input_shape", None)
        while config["name"] in self._names:
            config["name"] += "_again"
        self._names.add(config["name"])
        if transposed:
            for name in ("kernel_size", "strides", "dilation_rate", "pool_size", "padding", "cropping"):
                if isinstance(config.get(name), list | tuple):
                    config[name] = tuple(reversed(config[name]))
        return type(layer).from_config(config)
