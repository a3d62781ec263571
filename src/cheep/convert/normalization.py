# SPDX-License-Identifier: MIT
"""Batch normalization for the fine-tuning of networks that come without: folded into the weights by an export.

A network whose normalization was folded (ONNX, PyTorch in ``eval``) trains badly: pruned or clustered, it does not find
back in the few epochs of a fine-tuning what it lost. Each convolution gets a normalization whose scale and shift undo
what its mean and variance do, so that the network computes the same; conversion folds it again, and it costs nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cheep.convert.layer_graph import Call, calls_of
from cheep.errors import CheepError
from cheep.tf_runtime import import_tf

_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2D")
_WEIGHTED = (*_CONVOLUTIONS, "SeparableConv2D", "Conv1D", "SeparableConv1D", "Dense")
_NORMALIZATIONS = ("BatchNormalization", "LayerNormalization", "GroupNormalization")
MOMENTUM, EPSILON = 0.9, 1e-3  # the mean of some ten batches: a fine-tuning is short


def with_normalization(model: Any, x: np.ndarray) -> Any:
    """Return a copy of ``model`` with a batch normalization behind each inner convolution, which computes the same.

    A model that has normalizations, has no inner convolution, or is no plain graph of layers is returned as it is.

    Parameters
    ----------
    x : (n, ...) float32 examples in the model's units, which means and variances are of.
    """
    try:
        calls = calls_of(model)
    except CheepError:
        return model
    if any(call.kind in _NORMALIZATIONS for call in calls):
        return model
    known = {call.output for call in calls}
    last = _last_weighted(model, calls)
    bare = [call for call in calls if call.kind in _CONVOLUTIONS and call.output not in last]
    if not bare or any(one not in known for call in calls for one in call.inputs):
        return model
    copy, norms = _rebuilt(model, calls, {call.output for call in bare})
    for norm, (mean, variance) in zip(norms, _moments(copy, norms, x), strict=True):
        norm.set_weights([np.sqrt(variance + EPSILON), mean, mean, variance])
    return copy


def _last_weighted(model: Any, calls: list[Call]) -> set[int]:
    """Return the outputs of the layers with weights that reach an output of the model through no other such layer."""
    by_output = {call.output: call for call in calls}
    waiting, seen, last = [id(tensor) for tensor in model.outputs], set[int](), set[int]()
    while waiting:
        tensor = waiting.pop()
        if tensor in seen or tensor not in by_output:
            continue
        seen.add(tensor)
        if by_output[tensor].kind in _WEIGHTED:
            last.add(tensor)
        else:
            waiting.extend(by_output[tensor].inputs)
    return last


def _moments(model: Any, norms: list[Any], x: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return mean and variance, (channels,) float32 each, of what reaches each normalization."""
    probe = import_tf().keras.Model(model.inputs, [norm.input for norm in norms])
    sums: list[Any] = [(0, 0.0, 0.0)] * len(norms)
    for first in range(0, len(x), 64):
        given = probe.predict_on_batch(x[first : first + 64])
        for i, values in enumerate(given if len(norms) > 1 else [given]):
            rows = values.reshape(-1, values.shape[-1]).astype(np.float64)
            n, total, squares = sums[i]
            sums[i] = n + len(rows), total + rows.sum(axis=0), squares + (rows**2).sum(axis=0)
    means = [(total / n, squares / n) for n, total, squares in sums]
    return [(mean.astype(np.float32), np.maximum(square - mean**2, 0).astype(np.float32)) for mean, square in means]


def _rebuilt(model: Any, calls: list[Call], bare: set[int]) -> tuple[Any, list[Any]]:
    """Return a copy with a normalization that changes nothing yet behind each output in ``bare``, and these layers."""
    keras = import_tf().keras
    made: dict[int, Any] = {}
    weights: list[tuple[Any, list[np.ndarray]]] = []
    norms = []
    for call in calls:
        if call.kind == "InputLayer":
            made[call.output] = keras.Input(call.layer.input_shape[0][1:], name=call.layer.name)
            continue
        config = call.layer.get_config()
        normalized = call.output in bare
        new = type(call.layer).from_config(config | ({"activation": "linear"} if normalized else {}))
        sources = [made[one] for one in call.inputs]
        y = new(sources if len(sources) > 1 else sources[0], **call.arguments)
        weights.append((new, call.layer.get_weights()))
        if normalized:
            norms.append(
                keras.layers.BatchNormalization(
                    momentum=MOMENTUM,
                    epsilon=EPSILON,
                    moving_variance_initializer=keras.initializers.Constant(1 - EPSILON),
                    name=f"{new.name}_normalized",
                )
            )
            y = norms[-1](y)
            if config["activation"] == "relu":
                y = keras.layers.ReLU(name=f"{new.name}_relu")(y)
            elif config["activation"] != "linear":
                y = keras.layers.Activation(config["activation"], name=f"{new.name}_activation")(y)
        made[call.output] = y
    inputs, outputs = ([made[id(tensor)] for tensor in tensors] for tensors in (model.inputs, model.outputs))
    copy = keras.Model(inputs, outputs, name=model.name)
    for layer, values in weights:
        layer.set_weights(values)
    return copy, norms
