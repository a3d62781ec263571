# SPDX-License-Identifier: MIT
"""The grid of small models on which the compiled C must give TFLM's bits: (name, .tflite bytes) pairs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import numpy as np

from cheep.compiler.kernels import kernel_parts
from recurrent_grid import products, recurrent
from tflite_builder import Builder, T, constant, same_size

_PADDING = {"SAME": 0, "VALID": 1}
_ACTIVATION = {"NONE": 0, "RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}


def one(name: str, inputs: list[T], outputs: list[T], options: str | None = None, **values) -> bytes:
    """A model of one operator; its inputs without data are the model's inputs."""
    b = Builder()
    ins = [b.tensor(t) for t in inputs]
    outs = [b.tensor(t) for t in outputs]
    b.op(name, ins, outs, options, **values)
    return b.build([i for i, t in zip(ins, inputs, strict=True) if t.data is None], outs)


def _bias(rng, n: int, scale) -> T:
    return constant(rng.integers(-3000, 3000, n), scale, dtype="int32")


def convolution(
    rng, shape=(1, 7, 9, 3), out_channels=5, kernel=(3, 3), stride=(1, 1), dilation=(1, 1), padding="SAME",
    activation="NONE", groups=1, per_channel=True, zeros=(-7, 4), out_scale=None, bias=True, multiplier=None,
) -> bytes:  # fmt: skip
    """CONV_2D, or DEPTHWISE_CONV_2D with a depth multiplier."""
    depthwise = multiplier is not None
    if depthwise:
        out_channels = shape[3] * multiplier
        w_shape, n_scales, axis = (1, *kernel, out_channels), out_channels, 3
        terms = kernel[0] * kernel[1]
    else:
        w_shape, n_scales, axis = (out_channels, *kernel, shape[3] // groups), out_channels, 0
        terms = kernel[0] * kernel[1] * shape[3] // groups
    weights = rng.integers(-127, 128, w_shape)
    scales = rng.uniform(0.002, 0.02, n_scales if per_channel else 1).astype(np.float32)
    in_scale = 0.05
    out_scale = out_scale or float(in_scale * scales.mean() * 73 * 40 * np.sqrt(terms) / 64)
    out = (
        1,
        same_size(shape[1], kernel[0], stride[0], dilation[0], padding),
        same_size(shape[2], kernel[1], stride[1], dilation[1], padding),
        out_channels,
    )
    inputs = [T(shape, in_scale, zeros[0]), constant(weights, list(map(float, scales)), axis=axis)]
    if bias:
        inputs.append(_bias(rng, out_channels, list(map(float, scales * in_scale))))
    window = {
        "padding": _PADDING[padding], "strideH": stride[0], "strideW": stride[1], "dilationHFactor": dilation[0],
        "dilationWFactor": dilation[1], "fusedActivationFunction": _ACTIVATION[activation],
    }  # fmt: skip
    if depthwise:
        name, options = "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions"
        window["depthMultiplier"] = multiplier
    else:
        name, options = "CONV_2D", "Conv2DOptions"
    return one(name, inputs, [T(out, out_scale, zeros[1])], options, **window)


def convolutions(rng) -> Iterator[tuple[str, bytes]]:
    """Padding, stride, dilation, channels, groups, quantization, activations, saturation."""
    strides, dilations = ((1, 1), (2, 1), (2, 2), (3, 2)), ((1, 1), (2, 1), (2, 3))
    for padding, stride, dilation in itertools.product(("SAME", "VALID"), strides, dilations):
        if max(stride) > 1 and max(dilation) > 1:
            continue
        window = {"stride": stride, "dilation": dilation, "padding": padding}
        yield f"conv {window}", convolution(rng, (1, 11, 10, 3), **window)
        yield f"depthwise {window}", convolution(rng, (1, 11, 10, 6), **window, multiplier=1)
    for kernel in ((1, 1), (1, 5), (5, 1), (2, 2), (4, 3)):
        yield f"conv kernel {kernel}", convolution(rng, kernel=kernel)
        yield f"depthwise kernel {kernel}", convolution(rng, kernel=kernel, multiplier=1)
    for channels, out in ((1, 1), (1, 8), (2, 3), (4, 4), (7, 5), (8, 9), (16, 12), (33, 2)):
        yield f"conv 1x1 {channels}->{out}", convolution(rng, (1, 5, 3, channels), out, (1, 1))
        yield f"conv 3x3 {channels}->{out}", convolution(rng, (1, 5, 5, channels), out, (3, 3))
    for channels, multiplier in ((1, 1), (1, 4), (3, 2), (4, 1), (5, 3), (9, 1)):
        yield f"depthwise {channels}x{multiplier}", convolution(rng, (1, 6, 5, channels), multiplier=multiplier)
    for channels, out, groups in ((4, 4, 4), (4, 8, 4), (6, 4, 2), (6, 9, 3), (8, 8, 8)):
        yield f"groups {channels}->{out}/{groups}", convolution(rng, (1, 6, 5, channels), out, groups=groups)
    for zeros in ((-128, -128), (127, 127), (-128, 127), (127, -128), (0, 0)):
        for activation in _ACTIVATION:
            for kind in (None, 1):
                data = convolution(rng, zeros=zeros, activation=activation, multiplier=kind)
                yield f"conv {kind} zeros {zeros} {activation}", data
    for kind in (None, 1):
        for per_channel, bias in itertools.product((True, False), (True, False)):
            data = convolution(rng, per_channel=per_channel, bias=bias, multiplier=kind)
            yield f"conv {kind} per_channel={per_channel} bias={bias}", data
        for out_scale in (1e-6, 1e-4, 2e-4, 5e-4, 1e-3, 0.01, 10.0, 1e6, 1e9):  # saturation, and nothing left
            yield f"conv {kind} out_scale={out_scale}", convolution(rng, out_scale=out_scale, multiplier=kind)
    yield "conv over one row", convolution(rng, (1, 1, 18, 16), 16, (1, 3), dilation=(1, 4))
    yield "depthwise over one row", convolution(rng, (1, 1, 18, 16), kernel=(1, 3), dilation=(1, 4), multiplier=1)


def dense(rng) -> Iterator[tuple[str, bytes]]:
    """FULLY_CONNECTED: sizes, rows, scales per tensor and per channel, activations."""
    sizes = ((1, 1, 1), (1, 32, 5), (1, 13, 7), (3, 16, 4), (2, 30, 1))
    for (rows, depth, n), per_channel, activation in itertools.product(sizes, (False, True), ("NONE", "RELU")):
        scales = rng.uniform(0.002, 0.02, n if per_channel else 1).astype(np.float32)
        weights = constant(rng.integers(-127, 128, (n, depth)), list(map(float, scales)))
        bias = constant(rng.integers(-2000, 2000, n), list(map(float, scales * 0.05)), dtype="int32")
        out = T((rows, n), float(0.05 * scales.mean() * np.sqrt(depth) * 40), 11)
        data = one("FULLY_CONNECTED", [T((rows, depth), 0.05, -9), weights, bias], [out], "FullyConnectedOptions",
                   fusedActivationFunction=_ACTIVATION[activation])  # fmt: skip
        yield f"dense {rows}x{depth}->{n} {per_channel} {activation}", data
    weights = constant(rng.integers(-127, 128, (4, 6)), 0.7)
    yield "dense scale above one", one("FULLY_CONNECTED", [T((1, 6), 0.9, 3), weights], [T((1, 4), 0.3, -5)],
                                       "FullyConnectedOptions")  # fmt: skip


def pools(rng) -> Iterator[tuple[str, bytes]]:
    """MAX_POOL_2D and AVERAGE_POOL_2D."""
    for name, padding, (kernel, stride), activation in itertools.product(
        ("MAX_POOL_2D", "AVERAGE_POOL_2D"), ("SAME", "VALID"),
        (((2, 2), (2, 2)), ((3, 3), (2, 2)), ((3, 2), (1, 1)), ((1, 4), (1, 3)), ((7, 9), (1, 1))), ("NONE", "RELU6"),
    ):  # fmt: skip
        out = (1, same_size(7, kernel[0], stride[0], 1, padding), same_size(9, kernel[1], stride[1], 1, padding), 5)
        data = one(name, [T((1, 7, 9, 5), 0.03, -20)], [T(out, 0.03, -20)], "Pool2DOptions", padding=_PADDING[padding],
                   strideH=stride[0], strideW=stride[1], filterHeight=kernel[0], filterWidth=kernel[1],
                   fusedActivationFunction=_ACTIVATION[activation])  # fmt: skip
        yield f"{name} {padding} {kernel} {stride} {activation}", data


def reductions(rng) -> Iterator[tuple[str, bytes]]:
    """MEAN and SUM over every set of axes."""
    shape = (2, 5, 4, 3)
    sets = ([1, 2], [2, 1], [1], [3], [-1], [0, 2], [1, 3], [0, 1, 2, 3])
    for name, axes in itertools.product(("MEAN", "SUM"), sets):
        for keep, (scale, zero) in itertools.product((True, False), ((0.02, 5), (0.3, -128))):
            gone = {a % 4 for a in axes}
            out = tuple(1 if i in gone else n for i, n in enumerate(shape) if keep or i not in gone)
            axis = constant(axes, dtype="int32")
            data = one(name, [T(shape, 0.05, -30), axis], [T(out, scale, zero)], "ReducerOptions", keepDims=keep)
            yield f"{name} {axes} {keep} {scale}", data


def edges(rng) -> Iterator[tuple[str, bytes]]:
    """uint8 at the edges; a Flatten that takes the batch from its input's shape."""
    for scale, zero in ((0.05, 128), (0.05, 0), (0.031, 255), (0.2, 77)):
        byte, own = T((1, 256), scale, zero, dtype="uint8"), T((1, 256), 0.05, 0)
        yield f"QUANTIZE uint8 {scale} {zero}", one("QUANTIZE", [byte], [own], "QuantizeOptions")
        yield f"QUANTIZE to uint8 {scale} {zero}", one("QUANTIZE", [own], [byte], "QuantizeOptions")
    b = Builder()  # what is computed lies where the caller wants its bytes
    x, y, z = (b.tensor(t) for t in (T((1, 6), 0.05, 3), T((1, 4), 0.4, -4), T((1, 4), 0.4, 124, dtype="uint8")))
    b.op(
        "FULLY_CONNECTED",
        [x, b.tensor(constant(rng.integers(-127, 128, (4, 6)), 0.01)), -1],
        [y],
        "FullyConnectedOptions",
    )
    b.op("QUANTIZE", [y], [z], "QuantizeOptions")
    yield "FULLY_CONNECTED to uint8", b.build([x], [z])
    b = Builder()
    x, shape, batch, whole = (
        b.tensor(t)
        for t in (T((1, 4, 3, 2), 0.05, 3), T((4,), dtype="int32"), T((), dtype="int32"), T((2,), dtype="int32"))
    )
    begin, end, step, rest = (b.tensor(constant(np.array(v), dtype="int32")) for v in ([0], [1], [1], -1))
    flat, out = b.tensor(T((1, 24), 0.05, 3)), b.tensor(T((1, 5), 0.6, -4))
    w = b.tensor(constant(rng.integers(-127, 128, (5, 24)), 0.01))
    b.op("SHAPE", [x], [shape], "ShapeOptions", outType=2)
    b.op("STRIDED_SLICE", [shape, begin, end, step], [batch], "StridedSliceOptions", shrinkAxisMask=1)
    b.op("PACK", [batch, rest], [whole], "PackOptions", valuesCount=2)
    b.op("RESHAPE", [x, whole], [flat])
    b.op("FULLY_CONNECTED", [flat, w, -1], [out], "FullyConnectedOptions")
    yield "SHAPE of a Flatten", b.build([x], [out])


def resizes(rng) -> Iterator[tuple[str, bytes]]:
    """REDUCE_MAX over every set of axes; RESIZE_NEAREST_NEIGHBOR."""
    shape = (2, 5, 4, 3)
    for axes, keep in itertools.product(([1, 2], [1], [3], [-1], [0, 2], [0, 1, 2, 3]), (True, False)):
        gone = {a % 4 for a in axes}
        out = tuple(1 if i in gone else n for i, n in enumerate(shape) if keep or i not in gone)
        tensors = [T(shape, 0.05, -30), constant(axes, dtype="int32")]
        data = one("REDUCE_MAX", tensors, [T(out, 0.05, -30)], "ReducerOptions", keepDims=keep)
        yield f"REDUCE_MAX {axes} {keep}", data
    for size, (corners, half) in itertools.product(
        ((10, 8), (3, 9), (1, 1), (7, 5)), ((False, False), (True, False), (False, True))
    ):
        tensors = [T((1, 5, 4, 3), 0.04, 7), constant(size, dtype="int32")]
        yield f"RESIZE_NEAREST {size} {corners} {half}", one(
            "RESIZE_NEAREST_NEIGHBOR", tensors, [T((1, *size, 3), 0.04, 7)], "ResizeNearestNeighborOptions",
            alignCorners=corners, halfPixelCenters=half,
        )  # fmt: skip


def binaries(rng) -> Iterator[tuple[str, bytes]]:
    """ADD, SUB, MUL: broadcasts, constants, scales, zero points, activations."""
    shapes = (
        ((1, 4, 5, 3), (1, 4, 5, 3)), ((1, 4, 5, 3), (1, 1, 1, 3)), ((1, 4, 5, 3), (3,)), ((1, 1, 1, 3), (1, 4, 5, 3)),
        ((1, 4, 1, 3), (1, 1, 5, 1)), ((2, 7), (1,)), ((1, 18, 4), (1, 1, 4)),
    )  # fmt: skip
    for name, options in (("ADD", "AddOptions"), ("SUB", "SubOptions"), ("MUL", "MulOptions")):
        for (sa, sb), constant_b in itertools.product(shapes, (False, True)):
            out = np.broadcast_shapes(sa, sb)
            b = constant(rng.integers(-128, 128, sb), 0.031, 17) if constant_b else T(sb, 0.031, 17)
            scale = 0.05 if name != "MUL" else 0.02
            data = one(name, [T(sa, 0.02, -3), b], [T(out, scale, -40)], options)
            yield f"{name} {sa} {sb} {constant_b}", data
        ends = ((-128, 127, 0, "NONE"), (127, -128, -128, "RELU"), (0, 0, 127, "RELU6"), (5, -5, 3, "RELU_N1_TO_1"))
        ratios = ((0.01, 0.01, 0.01), (0.5, 0.001, 0.3), (0.001, 0.5, 0.02), (0.003, 0.004, 0.0001), (1.0, 1.0, 100.0))
        for za, zb, zo, activation in ends:
            for scales in ratios:
                if name != "MUL" and 2 * max(scales[:2]) / scales[2] >= 2**20:
                    continue
                tensors = [T((2, 40), scales[0], za), T((2, 40), scales[1], zb)]
                out = [T((2, 40), scales[2], zo)]
                data = one(name, tensors, out, options, fusedActivationFunction=_ACTIVATION[activation])
                yield f"{name} {za} {zb} {zo} {activation} {scales}", data


def unaries(rng) -> Iterator[tuple[str, bytes]]:
    """One-byte functions over all 256 values; SOFTMAX."""
    shape = (1, 256)
    for scale, zero in ((0.001, 0), (0.02, -128), (0.05, 127), (0.0625, 3), (0.17, -20), (1.0, 5), (2.5, 0)):
        x = T(shape, scale, zero)
        yield f"LOGISTIC {scale} {zero}", one("LOGISTIC", [x], [T(shape, 1 / 256, -128)])
        yield f"TANH {scale} {zero}", one("TANH", [x], [T(shape, 1 / 128, 0)])
        for out_scale, out_zero in ((scale, zero), (scale * 0.7, -128), (scale * 2.9, 12)):
            y = T(shape, out_scale, out_zero)
            yield f"RELU {scale} {zero} {out_scale}", one("RELU", [x], [y])
            yield f"QUANTIZE {scale} {zero} {out_scale}", one("QUANTIZE", [x], [y], "QuantizeOptions")
            if scale / 128 / out_scale < 1:
                yield f"HARD_SWISH {scale} {zero} {out_scale}", one("HARD_SWISH", [x], [y], "HardSwishOptions")
        for out_scale, out_zero in ((scale, zero), (scale * 0.7, -128), (scale * 2.9, 12)):
            y = T(shape, out_scale, out_zero)
            for alpha in (0.0, 0.01, 0.3, 1.0, 2.5):
                data = one("LEAKY_RELU", [x], [y], "LeakyReluOptions", alpha=alpha)
                yield f"LEAKY_RELU {scale} {zero} {out_scale} {alpha}", data
            yield f"ELU {scale} {zero} {out_scale}", one("ELU", [x], [y])
            slopes = constant(rng.integers(-128, 128, 8), 0.011, -20)
            wide = T((1, 4, 8, 8), scale, zero), T((1, 4, 8, 8), out_scale, out_zero)
            yield f"PRELU {scale} {zero} {out_scale}", one("PRELU", [wide[0], slopes], [wide[1]])
        yield f"RELU6 {scale} {zero}", one("RELU6", [x], [x])
        for name, limit in itertools.product(("MINIMUM", "MAXIMUM"), (-128, -3, 127)):
            operands = [x, constant(limit, scale, zero)]
            yield f"{name} {scale} {zero} {limit}", one(name, operands[:: 1 if scale < 1 else -1], [x])
        for rows, depth, beta in ((1, 2, 1.0), (3, 10, 1.0), (1, 1, 1.0), (2, 100, 0.5), (4, 5, 3.0)):
            out = T((rows, depth), 1 / 256, -128)
            data = one("SOFTMAX", [T((rows, depth), scale, zero)], [out], "SoftmaxOptions", beta=beta)
            yield f"SOFTMAX {scale} {rows}x{depth} {beta}", data


def movements(rng) -> Iterator[tuple[str, bytes]]:
    """PAD, CONCATENATION, SPLIT, STRIDED_SLICE, PACK, UNPACK, RESHAPE, TRANSPOSE, DEQUANTIZE, QUANTIZE."""
    q = (0.04, -11)
    for pads in ([[0, 0], [1, 2], [3, 0], [0, 0]], [[0, 0], [0, 0], [0, 0], [2, 1]], [[1, 0], [0, 1], [1, 1], [0, 2]]):
        out = tuple(n + a + b for n, (a, b) in zip((1, 4, 5, 3), pads, strict=True))
        tensors = [T((1, 4, 5, 3), *q), constant(pads, dtype="int32")]
        yield f"PAD {pads}", one("PAD", tensors, [T(out, *q)], "PadOptions")
        yield f"PADV2 {pads}", one("PADV2", [*tensors, constant(np.array([77]), *q)], [T(out, *q)])
    for axis in (1, 2, 3, -1):
        shapes = [[1, 4, 5, 3] for _ in range(3)]
        for i, s in enumerate(shapes):
            s[axis] = i + 1
        out = [1, 4, 5, 3]
        out[axis] = 6
        tensors = [T(tuple(s), *q) for s in shapes]
        data = one("CONCATENATION", tensors, [T(tuple(out), *q)], "ConcatenationOptions", axis=axis)
        yield f"CONCATENATION {axis}", data
        part = [2, 4, 6, 8]
        part[axis] //= 2
        a = constant(axis, dtype="int32")
        halves = [T(tuple(part), *q)] * 2
        yield f"SPLIT {axis}", one("SPLIT", [a, T((2, 4, 6, 8), *q)], halves, "SplitOptions", numSplits=2)
        sizes = constant([1, part[axis] * 2 - 1], dtype="int32")
        parts = [list(part), list(part)]
        parts[0][axis], parts[1][axis] = 1, part[axis] * 2 - 1
        yield f"SPLIT_V {axis}", one("SPLIT_V", [T((2, 4, 6, 8), *q), sizes, a], [T(tuple(p), *q) for p in parts],
                                     "SplitVOptions", numSplits=2)  # fmt: skip
    slices = (
        ([0, 1, 0, 0], [1, 4, 6, 3], [1, 1, 1, 1], {}, (1, 3, 6, 3)),
        ([0, 0, 5, 0], [1, 5, 0, 3], [1, 2, -2, 1], {}, (1, 3, 3, 3)),
        ([0, 2, -2, 1], [0, 0, 0, 2], [1, 1, 1, 1], {"beginMask": 1, "endMask": 7}, (1, 3, 2, 1)),
        ([0, 3, 0, 0], [1, 4, 6, 3], [1, 1, 1, 1], {"shrinkAxisMask": 2}, (1, 6, 3)),
    )
    for begin, end, step, masks, out in slices:
        operands = [constant(v, dtype="int32") for v in (begin, end, step)]
        yield f"STRIDED_SLICE {begin} {masks}", one("STRIDED_SLICE", [T((1, 5, 6, 3), *q), *operands], [T(out, *q)],
                                                    "StridedSliceOptions", **masks)  # fmt: skip
    for axis, out in ((0, (3, 4, 5)), (1, (4, 3, 5)), (2, (4, 5, 3)), (-1, (4, 5, 3))):
        yield f"PACK {axis}", one("PACK", [T((4, 5), *q)] * 3, [T(out, *q)], "PackOptions", valuesCount=3, axis=axis)
        yield f"UNPACK {axis}", one("UNPACK", [T(out, *q)], [T((4, 5), *q)] * 3, "UnpackOptions", num=3, axis=axis)
    for order in ([0, 1, 2, 3], [0, 2, 1, 3], [0, 3, 1, 2], [3, 2, 1, 0]):
        out = tuple((1, 4, 5, 3)[i] for i in order)
        data = one("TRANSPOSE", [T((1, 4, 5, 3), *q), constant(order, dtype="int32")], [T(out, *q)], "TransposeOptions")
        yield f"TRANSPOSE {order}", data
    reshape = one("RESHAPE", [T((1, 4, 5), *q), constant([5, 4], dtype="int32")], [T((5, 4), *q)], "ReshapeOptions")
    yield "RESHAPE", reshape
    byte, real = T((1, 256), 0.0371, -77), T((1, 256), dtype="float32")
    yield "DEQUANTIZE", one("DEQUANTIZE", [byte], [real], "DequantizeOptions")
    yield "QUANTIZE float", one("QUANTIZE", [real], [byte], "QuantizeOptions")


def grid(seed: int = 0) -> list[tuple[str, bytes]]:
    """Return all models."""
    rng = np.random.default_rng(seed)
    makers = (convolutions, dense, pools, reductions, edges, resizes, binaries, unaries, movements, recurrent, products)
    return [pair for maker in makers for pair in maker(rng)]


def one_file(compiled: list) -> str:
    """Return all networks as one C file with each kernel once (a tenth of the time of separate files)."""
    parts = kernel_parts()
    wrapper = re.compile(
        r"CHEEP_NOINLINE static void cheep_\w+_\w+\([^{]*\{\n    cheep_\w+\([^}]*\n\}\n|^CHEEP_MATRIX.*\n", re.MULTILINE
    )
    used, wrappers, bodies = set(), {}, []
    for c in compiled:
        text = c.source
        for name, (_, kernel) in parts.items():
            if kernel in text:
                used.add(name)
                text = text.replace(kernel, "")
        wrappers.update(dict.fromkeys(wrapper.findall(text)))
        text = wrapper.sub("", text)
        bodies.append(text)
    kernels = "\n".join(parts[name][1] for name in parts if name in used)
    includes = [f"#include <{name}.h>" for name in ("stdbool", "stddef", "stdint", "string")]
    return "\n".join([*includes, kernels, *wrappers, *bodies])


class Network:
    """A chain of layers with random weights, for the row pipeline."""

    def __init__(self, rng, frames: int, mels: int, channels: int = 1):
        self._rng, self._b = rng, Builder()
        self.shape = (1, frames, mels, channels)
        self._zero, self._scale = int(rng.integers(-30, 30)), 0.05
        self._input = self._tensor = self._b.tensor(T(self.shape, self._scale, self._zero))

    def conv(
        self, out: int, kernel=(1, 1), stride=(1, 1), padding="SAME", activation="RELU", depthwise=False, dead=None
    ) -> Network:
        """Add a convolution (``depthwise``: multiplier 1; ``dead``: channel -> real value, as TensorFlow writes it)."""
        rng, n_in = self._rng, self.shape[3]
        out = n_in if depthwise else out
        weights = rng.integers(-127, 128, (1, *kernel, n_in) if depthwise else (out, *kernel, n_in))
        scales = rng.uniform(0.004, 0.01, out).astype(np.float32)
        terms = kernel[0] * kernel[1] * (1 if depthwise else n_in)
        shape = tuple(same_size(n, k, s, 1, padding) for n, k, s in zip(self.shape[1:3], kernel, stride, strict=True))
        scale = float(self._scale * scales.mean() * 73 * np.sqrt(terms) * 0.9)
        biases = rng.integers(-900, 900, out)
        for c, value in (dead or {}).items():
            weights[(..., c) if depthwise else c] = 0
            scales[c], biases[c] = abs(value) / 2**30 / self._scale, 2**30 if value > 0 else -(2**30)
        w = self._b.tensor(constant(weights, list(map(float, scales)), axis=3 if depthwise else 0))
        bias = self._b.tensor(constant(biases, list(map(float, scales * np.float32(self._scale))), dtype="int32"))
        zero = int(rng.choice([-128, -110, -3, 14])) if activation == "NONE" else int(rng.choice([-128, -119]))
        window = {"padding": _PADDING[padding], "strideH": stride[0], "strideW": stride[1], "dilationHFactor": 1,
                  "dilationWFactor": 1, "fusedActivationFunction": _ACTIVATION[activation]}  # fmt: skip
        name, options = ("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions") if depthwise else ("CONV_2D", "Conv2DOptions")
        if depthwise:
            window["depthMultiplier"] = 1
        return self._add(name, [w, bias], (1, *shape, out), scale, zero, options, **window)

    def separable(
        self, out: int, kernel=(3, 3), stride=(1, 1), padding="SAME", activation="RELU", dead=None
    ) -> Network:
        """Add a depthwise and a pointwise convolution."""
        return self.conv(0, kernel, stride, padding, "NONE", depthwise=True).conv(out, activation=activation, dead=dead)

    def pool(self, size=(2, 2), kind="MAX", padding="VALID", stride=None) -> Network:
        """Add pooling (stride = size where it is not given)."""
        stride = stride or size
        shape = (
            1,
            *(same_size(n, k, s, 1, padding) for n, k, s in zip(self.shape[1:3], size, stride, strict=True)),
            self.shape[3],
        )
        window = {"padding": _PADDING[padding], "strideH": stride[0], "strideW": stride[1], "filterHeight": size[0],
                  "filterWidth": size[1]}  # fmt: skip
        return self._add(f"{kind}_POOL_2D" if kind == "MAX" else "AVERAGE_POOL_2D", [], shape, self._scale, self._zero,
                         "Pool2DOptions", **window)  # fmt: skip

    def under_peak(self, swapped: bool = False) -> Network:
        """Subtract from each channel's maximum (``swapped``: subtract the maximum)."""
        source, shape, scale, zero = self._tensor, self.shape, self._scale, self._zero
        peak = self.pool(shape[1:3])._tensor
        self._tensor = peak if not swapped else source
        operand = source if not swapped else peak
        return self._add("SUB", [operand], shape, scale * 0.7, zero + 100 if swapped else -128, "SubOptions")

    def here(self) -> tuple:
        """Return the current tensor, to come back to or to add."""
        return self._tensor, self.shape, self._scale, self._zero

    def back(self, place: tuple) -> Network:
        """Go on from ``place``."""
        self._tensor, self.shape, self._scale, self._zero = place
        return self

    def add(self, place: tuple, activation: str = "NONE", name: str = "ADD", swapped: bool = False) -> Network:
        """Add the tensor at ``place`` (or multiply with it, or subtract it)."""
        own, scale = self._tensor, self._scale + place[2]
        operand = place[0]
        if swapped:
            self._tensor, operand = operand, own
        scale = scale if name != "MUL" else self._scale * place[2] * 90
        options = f"{name.title()}Options"
        act = _ACTIVATION[activation]
        return self._add(name, [operand], self.shape, scale, -20, options, fusedActivationFunction=act)

    def pad(self, time: int, mels: int) -> Network:
        """Add zero padding on both sides."""
        pads = self._b.tensor(constant([[0, 0], [time, time], [mels, mels], [0, 0]], dtype="int32"))
        _, h, w, c = self.shape
        return self._add("PAD", [pads], (1, h + 2 * time, w + 2 * mels, c), self._scale, self._zero, "PadOptions")

    def mean(self) -> Network:
        """Add global average pooling."""
        axes = self._b.tensor(constant([1, 2], dtype="int32"))
        return self._add("MEAN", [axes], (1, self.shape[3]), self._scale * 0.6, -100, "ReducerOptions", keepDims=False)

    def largest(self) -> Network:
        """Add global max pooling, as REDUCE_MAX."""
        axes = self._b.tensor(constant([1, 2], dtype="int32"))
        return self._add(
            "REDUCE_MAX", [axes], (1, self.shape[3]), self._scale, self._zero, "ReducerOptions", keepDims=False
        )

    def dense(self, n: int) -> Network:
        """Flatten and add a dense layer and LOGISTIC."""
        size = int(np.prod(self.shape))
        if len(self.shape) > 2:
            target = self._b.tensor(constant([1, size], dtype="int32"))
            self._add("RESHAPE", [target], (1, size), self._scale, self._zero, "ReshapeOptions")
        w = self._b.tensor(constant(self._rng.integers(-127, 128, (n, size)), 0.01))
        self._add("FULLY_CONNECTED", [w, -1], (1, n), self._scale * 0.01 * 73 * float(np.sqrt(size)), 9,
                  "FullyConnectedOptions")  # fmt: skip
        return self._add("LOGISTIC", [], (1, n), 1 / 256, -128)

    def build(self) -> bytes:
        """Return the file."""
        return self._b.build([self._input], [self._tensor])

    def _add(self, name, operands, shape, scale, zero, options=None, **values) -> Network:
        out = self._b.tensor(T(shape, scale, zero))
        self._b.op(name, [self._tensor, *operands], [out], options, **values)
        self._tensor, self.shape, self._scale, self._zero = out, shape, scale, zero
        return self


def networks(seed: int = 0) -> list[tuple[str, bytes]]:
    """Return detectors of every shape that the row pipeline takes, and some that it must leave alone."""
    rng = np.random.default_rng(seed)

    def new(frames=20, mels=12, channels=1) -> Network:
        return Network(rng, frames, mels, channels)

    def residual(net: Network) -> Network:
        start = net.conv(6, (3, 3)).here()
        net.conv(6, (3, 3)).conv(6, (3, 3), activation="NONE").add(start, "RELU")
        start = net.here()
        return net.conv(6, (3, 3)).conv(6, (1, 1), activation="NONE").add(start, swapped=True)

    def projection(net: Network) -> Network:
        start = net.conv(5, (3, 3)).here()
        main = net.conv(8, (3, 3), (2, 2)).conv(8, (3, 3), activation="NONE").here()
        net.back(start).conv(8, (1, 1), (2, 2), activation="NONE").add(main, "RELU")
        start = net.here()
        short = net.conv(9, (1, 1), (2, 2), activation="NONE").here()
        return net.back(start).conv(9, (3, 3), (2, 2)).conv(9, (3, 3), activation="NONE").add(short, "RELU6")

    def inverted(net: Network) -> Network:
        start = net.conv(4, (3, 3), (2, 2)).here()
        net.conv(12).separable(4, activation="NONE").add(start)
        start = net.here()
        net.conv(12).separable(4, activation="NONE").add(start, name="SUB")
        return net.conv(12).separable(7, stride=(2, 2), activation="NONE")

    def gated(net: Network) -> Network:
        start = net.conv(6, (3, 3)).here()
        gate = net.conv(6, activation="NONE").here()
        return net.back(start).separable(6).add(gate, name="MUL")

    def outside(net: Network) -> Network:
        start = net.conv(6, (3, 3)).here()
        net.conv(6, (3, 3)).pool().conv(6).mean()
        side = net.here()
        return net.back(start).separable(6).mean().add(side)

    def deep(net: Network) -> Network:
        for k in range(9):
            net.conv(12, (3, 3), (2, 2) if k == 1 else (1, 1))
        return net

    def towers(net: Network) -> Network:
        start = net.here()
        first = net.conv(8, (3, 3), **v).here()
        second = net.back(start).conv(8, (3, 3), **v).here()  # converters put the first layers first
        side = net.back(first).pool().separable(12, **v).mean().here()
        return net.back(second).pool().separable(12, **v).mean().add(side)

    v = {"padding": "VALID"}
    return [
        ("same", new().separable(8).pool().separable(12).pool().separable(16).mean().dense(3).build()),
        ("valid", new().separable(8, **v).pool().separable(12, **v).separable(9, **v).mean().dense(2).build()),
        ("odd", new(23, 13).separable(7, **v).pool().separable(5, **v).mean().dense(1).build()),
        ("largest", new().separable(8).pool().separable(12).largest().dense(3).build()),
        ("largest valid", new().separable(8, **v).pool().separable(12, **v).largest().dense(2).build()),
        ("odd same", new(23, 15).separable(7).pool().separable(5).pool((2, 1)).mean().dense(1).build()),
        ("strides", new(24, 16).separable(8, stride=(2, 2)).separable(16, stride=(2, 1)).mean().dense(2).build()),
        ("valid strides", new(25, 16).separable(8, stride=(2, 2), **v).separable(6, stride=(1, 2), **v).mean().build()),
        ("conv front", new().conv(8, (3, 3)).pool().separable(12).mean().dense(2).build()),
        ("conv front valid", new().conv(6, (4, 3), (2, 1), "VALID").conv(9, (3, 3), **v).mean().dense(2).build()),
        ("pools", new(24, 24).separable(8, **v).pool((1, 2)).separable(8).pool((2, 1), "AVERAGE").separable(4).build()),
        ("average", new(24, 24).separable(6).pool((2, 2), "AVERAGE").conv(5).pool((2, 2), "AVERAGE").mean().build()),
        ("pool of three", new(24, 24).separable(6, **v).pool((3, 1)).separable(6, **v).pool((1, 3)).dense(2).build()),
        (
            "big kernel",
            new(20, 20).separable(6, (5, 5), **v).separable(7, (4, 2), **v).separable(5, (1, 7)).dense(2).build(),
        ),
        ("flatten", new(16, 10).separable(5, **v).pool().separable(4, **v).dense(3).build()),
        ("padded bands", new(20, 12).pad(0, 1).separable(8, **v).pad(0, 1).separable(8, **v).mean().dense(2).build()),
        ("channels", new(12, 9, 3).separable(8).separable(8, **v).mean().dense(2).build()),
        ("activations", new().separable(8, activation="NONE").pool().separable(8, activation="RELU6").mean().build()),
        (
            "overlapping pool",
            new().separable(8).pool((2, 2), padding="SAME").separable(5, stride=(3, 3)).mean().build(),
        ),
        ("short", new(4, 5).separable(3).separable(2).mean().build()),
        ("single band", new(12, 1).conv(4, (3, 1), **v).conv(4, (3, 1), **v).mean().dense(2).build()),
        ("under peak", new().under_peak().conv(8, (3, 3), **v).pool().separable(12, **v).mean().dense(2).build()),
        ("peaks of channels", new(9, 7, 3).under_peak(swapped=True).separable(5).pool().separable(4).dense(2).build()),
        (
            "dead",
            new().separable(8).conv(6, dead={0: 3.0, 3: -2.0, 5: 1e-9}).pool().separable(12).mean().dense(2).build(),
        ),
        (
            "dead valid",
            new()
            .conv(6, (3, 3), dead={5: 0.8})
            .separable(8, **v)
            .conv(7, activation="NONE", dead={1: 0.9, 2: -0.7})
            .pool((2, 2), "AVERAGE")
            .conv(0, (3, 3), padding="VALID", activation="NONE", depthwise=True, dead={0: 0.4})
            .conv(9, dead={8: 2.0})
            .dense(3)
            .build(),
        ),
        ("residual", residual(new()).mean().build()),
        ("residual in the middle", residual(new().separable(5).pool((2, 2), padding="SAME")).build()),
        ("projection", projection(new()).pool((5, 3), "AVERAGE").build()),
        ("inverted", inverted(new(24, 16, 2)).mean().build()),
        (
            "pooled stem",
            residual(new(26, 19, 2).conv(7, (5, 5), (2, 2)).pad(1, 1).pool((3, 3), stride=(2, 2))).mean().build(),
        ),
        (
            "pools alone",
            new(24, 17, 3)
            .conv(8, (3, 3))
            .pool((3, 2), padding="SAME", stride=(2, 1))
            .separable(9)
            .pool((3, 3), "AVERAGE", stride=(2, 2))
            .conv(5, (3, 3))
            .pool((3, 3), stride=(1, 1))
            .mean()
            .build(),
        ),
        ("pool in time", new(30).conv(6, (3, 3), **v).pool((3, 3), stride=(2, 2)).conv(5, (2, 2), **v).mean().build()),
        ("deep", deep(new(12, 8, 4)).mean().build()),
        ("gated", gated(new()).pool((20, 12), "AVERAGE").build()),
        ("two heads", outside(new()).build()),
        ("skipped rows", new(21, 13).conv(6, (1, 1), (3, 2)).conv(5, (2, 2), (3, 3)).mean().build()),
        ("many channels", new(6, 5, 130).conv(150, (3, 3)).conv(7, (3, 3)).build()),
        ("still more", new(3, 2, 300).conv(64, (3, 3), (2, 1)).conv(9, (2, 2)).build()),
        ("all dead", new().conv(3, (3, 3), dead={0: 1.0, 1: -1.0, 2: 2.0}).separable(4).mean().dense(2).build()),
        ("under peak alone", new(9, 7).under_peak().under_peak(swapped=True).dense(2).build()),
        ("towers", towers(new()).dense(2).build()),
    ]
