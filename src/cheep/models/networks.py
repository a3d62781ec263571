# SPDX-License-Identifier: MIT
"""The networks. ``k`` is the Keras module, ``x`` the input tensor (batch, columns, mels, 1).

Convolutions are ``valid`` in both axes: no padding in time means that a column's contribution does not depend on
where the window starts, and no PAD operator is needed. Residual branches are cropped to match.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cheep.models.spec import ModelSpec


def _norm_relu(k: Any, x: Any, relu: bool = True) -> Any:
    x = k.layers.BatchNormalization(momentum=0.95)(x)
    return k.layers.ReLU()(x) if relu else x


def _conv(k: Any, x: Any, units: int, size: Any = 1, strides: Any = 1, relu: bool = True) -> Any:
    x = k.layers.Conv2D(units, size, strides=strides, padding="valid", use_bias=False)(x)
    return _norm_relu(k, x, relu)


def _depthwise(k: Any, x: Any, size: Any = 3, strides: Any = 1, relu: bool = True) -> Any:
    x = k.layers.DepthwiseConv2D(size, strides=strides, padding="valid", use_bias=False)(x)
    return _norm_relu(k, x, relu)


def _pool(k: Any, x: Any, kind: str, size: Any) -> Any:
    layer = k.layers.MaxPooling2D if kind == "max" else k.layers.AveragePooling2D
    return layer(size)(x)


def _embed(k: Any, x: Any) -> Any:
    return k.layers.GlobalAveragePooling2D(keepdims=True, name="embedding")(x)


def sepconv(
    k: Any,
    x: Any,
    units: Sequence[int],
    first_size: Any = 3,
    pools: Sequence[Any] = (2, 2),
    depthwise_relu: bool = False,
) -> Any:
    """Convolution, then separable convolutions with max pooling, then global average pooling."""
    x = _conv(k, x, units[0], first_size)
    for i, width in enumerate(units[1:]):
        if i < len(pools):
            x = _pool(k, x, "max", pools[i])
        x = _depthwise(k, x, relu=depthwise_relu)
        x = _conv(k, x, width)
    return _embed(k, x)


def sepconv_time(k: Any, x: Any, units: Sequence[int], size: int = 5) -> Any:
    """As :func:`sepconv`, then the bands in one, and separable convolutions over time alone.

    What is left of the bands is weighted by place (a depthwise convolution over all of them), so that the averaging
    at the end mixes no frequencies, and each output hears more than half a second at a column every 10 ms. Short
    windows take shorter convolutions.
    """
    x = _conv(k, x, units[0], 3)
    for width in units[1:3]:
        x = _conv(k, _depthwise(k, _pool(k, x, "max", 2), relu=False), width)
    x = _conv(k, _depthwise(k, x, (3, x.shape[2]), relu=False), units[3])
    for width in units[4:]:
        x = _conv(k, _depthwise(k, x, (min(size, x.shape[1]), 1), relu=False), width)
    return _embed(k, x)


def ds_cnn(k: Any, x: Any, width: int, blocks: int, first_size: Any = (10, 4), first_strides: Any = (2, 2)) -> Any:
    """DS-CNN of keyword spotting (Zhang et al. 2017, arXiv:1711.07128): one width, no pooling until the end."""
    x = _conv(k, x, width, first_size, first_strides)
    for _ in range(blocks):
        x = _depthwise(k, x)
        x = _conv(k, x, width)
    return _embed(k, x)


def _crop_like(k: Any, x: Any, y: Any) -> Any:
    rows, columns = x.shape[1] - y.shape[1], x.shape[2] - y.shape[2]
    return k.layers.Cropping2D(((rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)))(x)


def resnet(k: Any, x: Any, units: Sequence[int]) -> Any:
    """Small residual network of plain 3 x 3 convolutions (He et al. 2015), one block per width."""
    x = _pool(k, _conv(k, x, units[0], 3), "max", 2)
    for i, width in enumerate(units):
        if i:
            x = _pool(k, x, "max", 2) if min(x.shape[1], x.shape[2]) >= 16 else x
            x = _conv(k, x, width)
        y = _conv(k, x, width, 3)
        y = _conv(k, y, width, 3, relu=False)
        x = k.layers.ReLU()(k.layers.Add()([_crop_like(k, x, y), y]))
    return _embed(k, x)


def inverted_residual(k: Any, x: Any, units: Sequence[int], expand: int = 3) -> Any:
    """MobileNetV2 blocks (Sandler et al. 2018): expand, depthwise, project; residual where the widths agree."""
    x = _pool(k, _conv(k, x, units[0], 3), "max", 2)
    for i, width in enumerate(units[1:]):
        if i == 1:
            x = _pool(k, x, "max", 2)
        y = _conv(k, x, x.shape[-1] * expand)
        y = _depthwise(k, y)
        y = _conv(k, y, width, relu=False)
        x = k.layers.Add()([_crop_like(k, x, y), y]) if width == x.shape[-1] else y
    return _embed(k, _conv(k, x, units[-1] * 2))


def time_conv(k: Any, x: Any, units: Sequence[int], size: int = 5) -> Any:
    """1-D separable convolutions over time; the mel bands are the channels of the first layer."""
    x = k.layers.Reshape((x.shape[1], 1, x.shape[2]))(x)
    x = _conv(k, x, units[0], (3, 1))
    for i, width in enumerate(units[1:]):
        if i == 0:
            x = _pool(k, x, "max", (2, 1))
        x = _depthwise(k, x, (size, 1), relu=False)
        x = _conv(k, x, width)
    return _embed(k, x)


def crnn(k: Any, x: Any, units: Sequence[int], hidden: int) -> Any:
    """Streaming CRNN: convolutions down to one vector per four columns, then a GRU over them, unrolled.

    Over a window it runs like any other network; ``cheep.convert.streaming`` takes it apart into a backbone over a
    chunk and a recurrent step (``hidden`` must be the last of ``units``).
    Convert it with ``--ptq``: tfmot has no quantization-aware recurrent layer.
    """
    x = _pool(k, _conv(k, x, units[0], 3), "max", 2)
    for i, width in enumerate(units[1:]):
        x = _conv(k, _depthwise(k, x, relu=False), width)
        x = _pool(k, x, "max", 2) if i == 0 else x
    x = _depthwise(k, x, (1, x.shape[2]), relu=False)
    x = k.layers.Reshape((x.shape[1], x.shape[3]))(x)
    # The zero state is computed (zero times the features): a constant one is folded into float operators.
    zero = k.layers.Rescaling(0.0, name="zero_state")(k.layers.Cropping1D((0, x.shape[1] - 1))(x))
    zero = k.layers.Reshape((x.shape[2],))(zero)
    x = k.layers.GRU(hidden, unroll=True, name="recurrent")(x, initial_state=zero)
    return k.layers.Reshape((1, 1, hidden), name="embedding")(x)


SPECS: dict[str, ModelSpec] = {
    "sepconv_s": ModelSpec("separable convolutions 8/16/32, about 1 k parameters", sepconv, {"units": (8, 16, 32)}),
    "sepconv_m": ModelSpec(
        "separable convolutions 16/32/48/64, about 6 k parameters; the default",
        sepconv,
        {"units": (16, 32, 48, 64)},
    ),
    "sepconv_n": ModelSpec(
        "separable convolutions 16/48/96/128, about 19 k parameters; narrow at the front: for towers in 10 KB",
        sepconv,
        {"units": (16, 48, 96, 128)},
    ),
    "sepconv_l": ModelSpec(
        "separable convolutions 24/48/64/96/128, about 25 k parameters",
        sepconv,
        {"units": (24, 48, 64, 96, 128)},
    ),
    "sepconv_time": ModelSpec(
        "separable convolutions 24/48/64, bands in one, then over time 96/128/128; about 47 k parameters",
        sepconv_time,
        {"units": (24, 48, 64, 96, 128, 128)},
    ),
    "ds_cnn": ModelSpec("DS-CNN, 32 channels, 4 blocks", ds_cnn, {"width": 32, "blocks": 4}),
    "resnet": ModelSpec("residual network 16/24/32", resnet, {"units": (16, 24, 32)}),
    "inverted_residual": ModelSpec(
        "inverted residuals 12/16/24/24/32", inverted_residual, {"units": (12, 16, 24, 24, 32)}
    ),
    "crnn": ModelSpec("convolutions 16/24/32 and a GRU of 32, unrolled", crnn, {"units": (16, 24, 32), "hidden": 32}),
    "time_conv": ModelSpec("1-D convolutions over time, 48/48/64/64", time_conv, {"units": (48, 48, 64, 64)}),
}
