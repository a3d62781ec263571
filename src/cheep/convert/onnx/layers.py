# SPDX-License-Identifier: MIT
"""ONNX operators that are layers: convolutions, pools, dense layers, normalization, activations.

Each takes the Keras module, the node's arguments, its attributes and a name for the layer, and gives one value.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cheep.convert.onnx.value import Value, array_of, channels_last, computed, given, integers, onnx_order
from cheep.errors import CheepError

Pads = list[tuple[int, int]]  # before and behind, by axis


def _same_pads(auto: str, sizes: list[int], kernel: list[int], strides: list[int]) -> Pads:
    out = []
    for n, width, step in zip(sizes, kernel, strides, strict=True):
        total = max(0, (-(-n // step) - 1) * step + width - n)
        low = total // 2
        out.append((low, total - low) if auto == "SAME_UPPER" else (total - low, low))
    return out


def _pads(a: dict, sizes: list[int], kernel: list[int], strides: list[int]) -> Pads:
    auto = a.get("auto_pad", "NOTSET")
    if auto.startswith("SAME"):
        return _same_pads(auto, sizes, kernel, strides)
    pads = a.get("pads") or [0] * (2 * len(sizes))
    return [(int(pads[i]), int(pads[i + len(sizes)])) for i in range(len(sizes))]


class _Sliding:
    """What slides over (batch, spatial..., channels): in one dimension as rows of height 1, as Keras sees them."""

    def __init__(self, k: Any, v: Value, a: dict, window: tuple[int, ...]):
        self.k, v = k, channels_last(k, v)
        self.x, self.flat = v.x, len(window) == 1
        self.sizes, self.window = list(v.shape[2:]), list(window)
        self.strides = list(a.get("strides", [1] * len(window)))
        self.dilations = list(a.get("dilations", [1] * len(window)))
        self.kernel = [(n - 1) * d + 1 for n, d in zip(window, self.dilations, strict=True)]
        self.pads = _pads(a, self.sizes, self.kernel, self.strides)
        if self.flat:
            self.x = k.layers.Reshape((1, *map(int, self.x.shape[1:])))(self.x)
            for one in (self.sizes, self.window, self.strides, self.dilations, self.kernel):
                one.insert(0, 1)
            self.pads.insert(0, (0, 0))

    @property
    def padded(self) -> bool:
        return any(pad != (0, 0) for pad in self.pads)

    @property
    def keras_same(self) -> bool:
        """Whether Keras's own padding "same" gives these pads."""
        return self.pads == _same_pads("SAME_UPPER", self.sizes, self.kernel, self.strides)

    def pad_zeros(self) -> None:
        self.x = self.k.layers.ZeroPadding2D(self.pads)(self.x)

    def value(self, y: Any) -> Value:
        return computed(self.k.layers.Reshape(tuple(map(int, y.shape[2:])))(y) if self.flat else y, True)


def conv(k: Any, i: list, a: dict, name: str) -> Value:
    """``Conv``: of one or two dimensions, with groups."""
    w = array_of(i[1])  # (outputs, inputs / groups, *window)
    bias = array_of(i[2]) if given(i, 2) is not None else None
    if w.ndim not in (3, 4):
        raise CheepError(f"a convolution of {w.ndim - 2} dimensions; one or two are supported")
    at = _Sliding(k, i[0], a, w.shape[2:])
    mode = "same" if at.keras_same else "valid"
    if at.padded and mode == "valid":
        at.pad_zeros()
    if len(set(at.strides)) > 1 and max(at.dilations) > 1:
        raise CheepError("strides that differ together with dilation")
    options = {
        "strides": tuple(at.strides),
        "dilation_rate": tuple(at.dilations),
        "padding": mode,
        "use_bias": bias is not None,
        "name": name,
    }
    w = w.reshape(*w.shape[:2], *at.window)
    layer, weights = _convolution(k, w, i[0].shape[1], int(a.get("group", 1)), options)
    y = layer(at.x)
    layer.set_weights([weights.astype(np.float32)] + ([bias.astype(np.float32)] if bias is not None else []))
    return at.value(y)


def _convolution(k: Any, w: np.ndarray, channels: int, groups: int, options: dict) -> tuple[Any, np.ndarray]:
    """Return the layer and its weights in Keras's order; depthwise where each channel has its own kernels."""
    by_channel = groups == channels and groups > 1 and w.shape[1] == 1 and w.shape[0] % channels == 0
    if by_channel and len(set(options["strides"])) == 1:  # Keras has no depthwise layer with two strides
        multiplier = w.shape[0] // channels
        layer = k.layers.DepthwiseConv2D(w.shape[2:], depth_multiplier=multiplier, **options)
        return layer, np.transpose(w.reshape(channels, multiplier, *w.shape[2:]), (2, 3, 0, 1))
    return k.layers.Conv2D(w.shape[0], w.shape[2:], groups=groups, **options), np.transpose(w, (2, 3, 1, 0))


def max_pool(k: Any, i: list, a: dict, name: str) -> Value:
    """``MaxPool``."""
    at = _pooled(k, i[0], a)
    mode = "same" if at.padded else "valid"
    return at.value(k.layers.MaxPooling2D(at.window, at.strides, mode, name=name)(at.x))


def average_pool(k: Any, i: list, a: dict, name: str) -> Value:
    """``AveragePool``: where padded zeros count, they are padded."""
    at = _pooled(k, i[0], a)
    mode = "same" if at.padded else "valid"
    if at.padded and a.get("count_include_pad"):
        at.pad_zeros()
        mode = "valid"
    return at.value(k.layers.AveragePooling2D(at.window, at.strides, mode, name=name)(at.x))


def _pooled(k: Any, v: Value, a: dict) -> _Sliding:
    at = _Sliding(k, v, {key: value for key, value in a.items() if key != "dilations"}, tuple(a["kernel_shape"]))
    rests = ((n + sum(p) - w) % s for n, p, w, s in zip(at.sizes, at.pads, at.window, at.strides, strict=True))
    if a.get("ceil_mode") and any(rests):
        raise CheepError("ceil_mode that adds a column; crop or pad the input so that the sizes divide")
    if at.padded and not at.keras_same:
        raise CheepError(f"pads {at.pads}: only symmetric padding that keeps the size is supported for pooling")
    return at


def global_average_pool(k: Any, i: list, a: dict, name: str) -> Value:
    """``GlobalAveragePool``."""
    return _global(k, i[0], "GlobalAveragePooling", name)


def global_max_pool(k: Any, i: list, a: dict, name: str) -> Value:
    """``GlobalMaxPool``."""
    return _global(k, i[0], "GlobalMaxPooling", name)


def _global(k: Any, v: Value, kind: str, name: str, keep: bool = True) -> Value:
    v = channels_last(k, v)
    layer = getattr(k.layers, f"{kind}{len(v.shape) - 2}D")(keepdims=keep, name=name)
    return computed(layer(v.x), keep)


def reduce_mean(k: Any, i: list, a: dict, name: str) -> Value:
    """``ReduceMean``."""
    return _reduce(k, i, a, name, k.backend.mean, "GlobalAveragePooling")


def reduce_max(k: Any, i: list, a: dict, name: str) -> Value:
    """``ReduceMax``."""
    return _reduce(k, i, a, name, k.backend.max, "GlobalMaxPooling")


def reduce_sum(k: Any, i: list, a: dict, name: str) -> Value:
    """``ReduceSum``."""
    return _reduce(k, i, a, name, k.backend.sum, None)


def _reduce(k: Any, i: list, a: dict, name: str, function: Any, pool: str | None) -> Value:
    v, axes, rank = i[0], integers(a, "axes", i, 1), len(i[0].shape)
    if axes is None:
        raise CheepError("over all axes, the batch too; name the axes")
    axes, keep = sorted(n % rank for n in axes), bool(a.get("keepdims", 1))
    if v.last and pool and axes == list(range(2, rank)):
        return _global(k, v, pool, name, keep)
    if v.last and not keep:
        v = onnx_order(k, v)
    inner = [_inner_axis(n, rank) for n in axes] if v.last else axes
    y = k.layers.Lambda(lambda t: function(t, axis=inner, keepdims=keep), name=name)(v.x)
    return computed(y, v.last and keep)


def _inner_axis(axis: int, rank: int) -> int:
    """Return where ONNX's axis lies in a tensor with its channels last."""
    return 0 if axis == 0 else rank - 1 if axis == 1 else axis - 1


def batch_normalization(k: Any, i: list, a: dict, name: str) -> Value:
    """``BatchNormalization``."""
    v = channels_last(k, i[0])
    layer = k.layers.BatchNormalization(epsilon=float(a.get("epsilon", 1e-5)), name=name)
    y = layer(v.x)
    layer.set_weights([array_of(i[n]).astype(np.float32) for n in (1, 2, 3, 4)])
    return computed(y, v.last)


def gemm(k: Any, i: list, a: dict, name: str) -> Value:
    """``Gemm`` with constant weights: a dense layer."""
    v, w = onnx_order(k, i[0]), array_of(i[1]) * float(a.get("alpha", 1.0))
    if a.get("transA"):
        raise CheepError("a transposed input")
    bias = array_of(i[2]) * float(a.get("beta", 1.0)) if given(i, 2) is not None else None
    return _dense(k, v, w.T if a.get("transB") else w, bias, name)


def matmul(k: Any, i: list, a: dict, name: str) -> Value:
    """``MatMul``: a dense layer where the right side is a constant matrix, else a product of two tensors."""
    left, right = i
    if right.constant and right.x.ndim == 2:
        return _dense(k, onnx_order(k, left), right.x, None, name)
    if left.constant or right.constant:
        raise CheepError("a constant matrix of this shape; use a linear layer")
    axes = (len(left.shape) - 1, len(right.shape) - 2)
    return computed(k.layers.Dot(axes=axes, name=name)([onnx_order(k, left).x, onnx_order(k, right).x]), False)


def _dense(k: Any, v: Value, w: np.ndarray, bias: np.ndarray | None, name: str) -> Value:
    layer = k.layers.Dense(w.shape[1], use_bias=bias is not None, name=name)
    y = layer(v.x)
    biases = [np.broadcast_to(bias, (w.shape[1],)).astype(np.float32)] if bias is not None else []
    layer.set_weights([w.astype(np.float32), *biases])
    return computed(y, False)


def sigmoid(k: Any, i: list, a: dict, name: str) -> Value:
    """``Sigmoid``."""
    return _like(i[0], k.layers.Activation("sigmoid", name=name))


def tanh(k: Any, i: list, a: dict, name: str) -> Value:
    """``Tanh``."""
    return _like(i[0], k.layers.Activation("tanh", name=name))


def softplus(k: Any, i: list, a: dict, name: str) -> Value:
    """``Softplus``."""
    return _like(i[0], k.layers.Activation("softplus", name=name))


def elu(k: Any, i: list, a: dict, name: str) -> Value:
    """``Elu``."""
    return _like(i[0], k.layers.Activation("elu", name=name))


def relu(k: Any, i: list, a: dict, name: str) -> Value:
    """``Relu``."""
    return _like(i[0], k.layers.ReLU(name=name))


def leaky_relu(k: Any, i: list, a: dict, name: str) -> Value:
    """``LeakyRelu``."""
    return _like(i[0], k.layers.LeakyReLU(float(a.get("alpha", 0.01)), name=name))


def clip(k: Any, i: list, a: dict, name: str) -> Value:
    """``Clip`` of a constant, or from 0 (ReLU, ReLU6)."""
    low, high = (
        float(array_of(i[n])) if given(i, n) is not None else a.get(key, default)
        for n, key, default in ((1, "min", -np.inf), (2, "max", np.inf))
    )
    if i[0].constant:
        return Value(np.clip(i[0].x, low, high), i[0].shape)
    if low != 0:
        raise CheepError(f"limits {low}..{high}: only a lower limit of 0 is supported (ReLU, ReLU6)")
    return _like(i[0], k.layers.ReLU(max_value=None if np.isinf(high) else float(high), name=name))


def hard_swish(k: Any, i: list, a: dict, name: str) -> Value:
    """``HardSwish``: x * relu6(x + 3) / 6."""
    x = i[0].x
    gate = k.layers.ReLU(6.0)(k.layers.Rescaling(1.0, 3.0)(x))
    return computed(k.layers.Rescaling(1 / 6, name=name)(k.layers.Multiply()([x, gate])), i[0].last)


def hard_sigmoid(k: Any, i: list, a: dict, name: str) -> Value:
    """``HardSigmoid``: a straight line between 0 and 1."""
    alpha, beta = float(a.get("alpha", 0.2)), float(a.get("beta", 0.5))
    return computed(k.layers.ReLU(1.0, name=name)(k.layers.Rescaling(alpha, beta)(i[0].x)), i[0].last)


def softmax(k: Any, i: list, a: dict, name: str) -> Value:
    """``Softmax``: integer runtimes know the last axis only, so that another one is turned there and back."""
    rank = len(i[0].shape)
    axis = int(a.get("axis", -1)) % rank
    if axis == 1:
        v = channels_last(k, i[0])
    elif axis == rank - 1:
        v = onnx_order(k, i[0])
    else:
        v = i[0]
    if (_inner_axis(axis, rank) if v.last else axis) == rank - 1:
        return _like(v, k.layers.Softmax(name=name))
    order = [n for n in range(1, rank) if n != axis] + [axis]
    turned = k.layers.Permute(order)(onnx_order(k, v).x)
    back = tuple(int(n) + 1 for n in np.argsort(order))
    return Value(k.layers.Permute(back)(k.layers.Softmax(name=name)(turned)), i[0].shape)


def _like(v: Value, layer: Any) -> Value:
    return computed(layer(v.x), v.last)
