# SPDX-License-Identifier: MIT
"""What each operator must satisfy before code is made for it: TFLM's own conditions, and the compiler's."""

from __future__ import annotations

import math

import numpy as np

from cheep.compiler import matmul, movement, recurrent
from cheep.compiler.variables import UPDATED
from cheep.errors import CheepError
from cheep.tflite.graph import Graph, Node, Tensor

_MOVING = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "CONCATENATION", "SPLIT", "SPLIT_V", "STRIDED_SLICE",
           "PACK", "UNPACK", "PAD", "PADV2")  # fmt: skip
_OF_CONSTANTS = ("ADD", "SUB", "MUL", "BATCH_MATMUL", *_MOVING)  # may have one where others have what they compute from
_UNARY = ("RELU", "RELU6", "LEAKY_RELU", "ELU", "LOGISTIC", "TANH", "HARD_SWISH", "SOFTMAX")
_MAX_DIMENSION = 32767
# number of inputs: least, most (None: any)
_ARITY = {
    "CONV_2D": (2, 3),
    "DEPTHWISE_CONV_2D": (2, 3),
    "FULLY_CONNECTED": (2, 3),
    "ADD": (2, 2),
    "SUB": (2, 2),
    "MUL": (2, 2),
    "MINIMUM": (2, 2),
    "MAXIMUM": (2, 2),
    "MEAN": (2, 2),
    "SUM": (2, 2),
    "REDUCE_MAX": (2, 2),
    "PRELU": (2, 2),
    "RESIZE_NEAREST_NEIGHBOR": (2, 2),
    "RESHAPE": (1, 2),
    "EXPAND_DIMS": (2, 2),
    "TRANSPOSE": (2, 2),
    "SPLIT": (2, 2),
    "SPLIT_V": (3, 3),
    "STRIDED_SLICE": (4, 4),
    "PAD": (2, 2),
    "PADV2": (3, 3),
    "CONCATENATION": (1, None),
    "PACK": (1, None),
    "BATCH_MATMUL": (2, 2),
    "SVDF": (5, 5),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (24, 24),
}
# operand positions that must be constants
_CONSTANT = {
    "CONV_2D": (1, 2),
    "DEPTHWISE_CONV_2D": (1, 2),
    "FULLY_CONNECTED": (1, 2),
    "MEAN": (1,),
    "SUM": (1,),
    "REDUCE_MAX": (1,),
    "PRELU": (1,),
    "RESIZE_NEAREST_NEIGHBOR": (1,),
    "TRANSPOSE": (1,),
    "SPLIT": (0,),
    "SPLIT_V": (1, 2),
    "STRIDED_SLICE": (1, 2, 3),
    "PAD": (1,),
    "PADV2": (1, 2),
}


def check_graph(graph: Graph, name: str) -> None:
    """Raise :class:`CheepError` for the first operator that cannot be compiled exactly."""
    for node in graph.nodes:
        try:
            _check(node)
        except (_Refused, movement.Unfit) as reason:
            raise CheepError(
                f"{name}: {node.op} ({node.output.label}): {reason}; use TFLM for this model or change the layer"
            ) from None


def check_inputs(graph: Graph) -> None:
    """Raise :class:`CheepError` for the first thing in a graph after the passes that nothing is computed for."""
    for tensor in graph.outputs:
        if tensor.data is not None:
            raise CheepError(f"output {tensor.label} is a constant: nothing to compute; fix the model")
    for node in graph.nodes:
        if node.inputs[0].data is not None and node.op not in _OF_CONSTANTS:
            raise CheepError(f"{node.output.label} is computed from the constant {node.inputs[0].label}: fix the model")


class _Refused(Exception):
    pass


def _need(condition: bool, rule: str) -> None:
    if not condition:
        raise _Refused(rule)


def _check(node: Node) -> None:
    least, most = _ARITY.get(node.op, (1, 1))
    count = len(node.inputs) + len(node.absent)
    _need(least <= count and (most is None or count <= most), "a wrong number of inputs")
    for i in node.absent if node.op not in UPDATED else ():
        bias = i == 2 and node.op in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
        _need(bias, f"input {i} is missing")
    for i, tensor in enumerate(node.inputs):
        if i in _CONSTANT.get(node.op, ()):
            _need(tensor.data is not None, f"its operand {i} must be a constant")
    many = node.op in ("SPLIT", "SPLIT_V", "UNPACK", *UPDATED)
    _need(many or len(node.outputs) == 1, "a wrong number of outputs")
    for tensor in (*node.inputs, *node.outputs):
        _need(all(n <= _MAX_DIMENSION for n in tensor.shape), f"a dimension is larger than {_MAX_DIMENSION}")
    if node.op in _CHECKS:
        _CHECKS[node.op](node)
    elif node.op in _MOVING:
        _moving(node)
    elif node.op in _UNARY:
        _unary(node)
    else:
        raise _Refused("the compiler has no code for it")


def _int8(*tensors: Tensor) -> None:
    for tensor in tensors:
        _need(tensor.dtype == "int8", f"{tensor.label} is not int8")
        _need(len(tensor.scales) == 1, f"{tensor.label} must have one scale and zero point")


def _window(node: Node, kernel_h: int, kernel_w: int) -> None:
    a, source, out = node.attributes, node.inputs[0], node.output
    _need(a["padding"] in (0, 1), f"padding {a['padding']} is unknown")
    _need(source.shape[0] == out.shape[0] == 1, "the batch must be 1")
    for axis, i, kernel in (("h", 1, kernel_h), ("w", 2, kernel_w)):
        stride, dilation = a[f"stride_{axis}"], a.get(f"dilation_{axis}", 1)
        _need(1 <= stride <= 1024 and 1 <= dilation <= 1024, "stride and dilation must be 1 to 1024")
        reach = (kernel - 1) * dilation + 1
        _need(reach <= _MAX_DIMENSION, f"the filter reaches over more than {_MAX_DIMENSION} cells")
        size = source.shape[i]
        expected = -(-size // stride) if a["padding"] == 0 else -(-(size - reach + 1) // stride)
        _need(expected == out.shape[i] and expected >= 1, f"output size {out.shape[i]} where {expected} is right")


def _convolution(node: Node) -> None:
    source, weights, out = node.inputs[0], node.inputs[1], node.output
    _int8(source, out)
    _need(weights.dtype == "int8", "weights must be int8")
    _need(len(source.shape) == len(weights.shape) == len(out.shape) == 4, "four dimensions are needed")
    depthwise = node.op == "DEPTHWISE_CONV_2D"
    channels = weights.shape[3] if depthwise else weights.shape[0]
    _need(out.shape[3] == channels, "the output's channels differ from the weights'")
    if depthwise:
        multiplier = node.attributes["multiplier"]
        _need(
            weights.shape[0] == 1 and multiplier >= 1 and source.shape[3] * multiplier == channels,
            "the depth multiplier does not fit",
        )
    else:
        group = weights.shape[3]
        _need(source.shape[3] % group == 0 and channels % (source.shape[3] // group) == 0, "groups do not fit")
    _quantized_weights(weights, channels, 3 if depthwise else 0)
    _bias(node, channels)
    _ratio(source, weights, out)
    _need(weights.size // channels <= 4 * _MAX_DIMENSION, "the filter is too large")
    _window(node, weights.shape[1], weights.shape[2])


def _dense(node: Node) -> None:
    source, weights, out = node.inputs[0], node.inputs[1], node.output
    _int8(source, out)
    _need(weights.dtype == "int8" and len(weights.shape) >= 2, "weights must be an int8 matrix")
    _need(node.attributes["format"] == 0, "shuffled weights")
    depth, channels = weights.shape[-1], weights.shape[-2]
    _need(weights.size == depth * channels, "weights must be a matrix")
    _need(len(out.shape) >= 1 and out.shape[-1] == channels, "the output's channels differ from the weights'")
    _need(source.size % depth == 0 and source.size // depth * channels == out.size, "sizes do not fit")
    _quantized_weights(weights, channels, weights.axis)
    _bias(node, channels)
    _ratio(source, weights, out)
    _need(depth <= 4 * _MAX_DIMENSION, "the filter is too large")


def _quantized_weights(weights: Tensor, channels: int, axis: int) -> None:
    n = len(weights.scales)
    _need(n == 1 or (n == channels and weights.axis == axis), f"weights have {n} scales for {channels} channels")
    _need(not np.any(weights.zero_points), "weights must have zero point 0")


def _ratio(source: Tensor, weights: Tensor, out: Tensor) -> None:
    largest = source.scale * float(weights.scales.max()) / out.scale
    _need(largest < 2**15, "the output's scale is too small for the input's and the weights'")


def _bias(node: Node, channels: int) -> None:
    for bias in node.inputs[2:]:
        _need(bias.dtype == "int32" and bias.size == channels, "the bias must be one int32 per channel")


def _pool(node: Node) -> None:
    source, out, a = node.inputs[0], node.output, node.attributes
    _int8(source, out)
    _need(len(source.shape) == len(out.shape) == 4 and source.shape[3] == out.shape[3], "shapes do not fit")
    _need(1 <= a["filter_h"] <= 4096 and 1 <= a["filter_w"] <= 4096, "the filter must be 1 to 4096")
    _need(
        abs(source.scale - out.scale) <= 1e-6 and source.zero_point == out.zero_point,
        "input and output must have the same quantization",
    )
    _window(node, a["filter_h"], a["filter_w"])


def _binary(node: Node) -> None:
    a, b, out = node.inputs[0], node.inputs[1], node.output
    _int8(a, b, out)
    rank = len(out.shape)
    _need(len(a.shape) <= rank and len(b.shape) <= rank, "shapes do not broadcast")
    for tensor in (a, b):
        shape = (1,) * (rank - len(tensor.shape)) + tensor.shape
        _need(all(n in (1, m) for n, m in zip(shape, out.shape, strict=True)), "shapes do not broadcast")
    for i, n in enumerate(out.shape):
        sizes = [t.shape[i - rank + len(t.shape)] if i - rank + len(t.shape) >= 0 else 1 for t in (a, b)]
        _need(max(sizes) == n, "shapes do not broadcast")
    if node.op == "MUL":
        ratio = a.scale * b.scale / out.scale
        _need(ratio < 2**13, "the output's scale is too small for the inputs'")
    else:
        ratio = 2 * max(a.scale, b.scale) / (2**20 * out.scale)
        _need(ratio < 1, "the output's scale is too small for the inputs'")


def _extreme(node: Node) -> None:
    """MINIMUM and MAXIMUM with a constant: a limit. TFLM compares the bytes as they are."""
    _int8(*node.inputs, node.output)
    _need(len(node.variable_inputs) == 1, "one operand must be a constant")
    limit = next(t for t in node.inputs if t.data is not None)
    _need(limit.size == 1 and node.variable_inputs[0].shape == node.output.shape, "the constant must be a single value")


def _reduce(node: Node) -> None:
    source, axes, out = node.inputs[0], node.inputs[1], node.output
    _int8(source, out)
    _need(axes.dtype == "int32", "axes must be int32")
    rank = len(source.shape)
    given = axes.integers
    _need(1 <= len(given) <= 6 and all(-rank <= i < rank for i in given), "axes are outside the input")
    resolved = {i % rank for i in given}
    kept = [n for i, n in enumerate(source.shape) if i not in resolved]
    _need(
        math.prod(kept) == out.size and [n for n in out.shape if n > 1] == [n for n in kept if n > 1],
        "the output's shape does not fit",
    )
    _need(source.size // out.size <= 1 << 20, "too many elements")
    _need(source.scale / out.scale < 2**15, "the output's scale is too small")


def _largest(node: Node) -> None:
    """REDUCE_MAX: the bytes as they are."""
    source, out = node.inputs[0], node.output
    _reduce(node)
    _need(source.scale == out.scale and source.zero_point == out.zero_point, "input and output must be quantized alike")


def _prelu(node: Node) -> None:
    source, slopes, out = node.inputs[0], node.inputs[1], node.output
    _int8(source, slopes, out)
    _need(source.shape == out.shape, "shapes differ")
    _need(
        source.shape[-1:] == slopes.shape[-1:] == (slopes.size,),
        "one slope per channel is needed",
    )
    _need(source.scale / out.scale < 2**15, "the output's scale is too small")
    _need(source.scale * slopes.scale / out.scale < 2**12, "the output's scale is too small")


def _resize(node: Node) -> None:
    source, size, out = node.inputs[0], node.inputs[1], node.output
    _int8(source, out)
    _need(len(source.shape) == len(out.shape) == 4, "four dimensions are needed")
    _need(size.dtype == "int32" and size.size == 2, "the size must be two numbers")
    wanted = (source.shape[0], *size.integers, source.shape[3])
    _need(out.shape == wanted, "the output's shape does not fit")
    a = node.attributes
    _need(not (a["align_corners"] and a["half_pixels"]), "corners and half pixels at once")


def _quantize(node: Node) -> None:
    source, out = node.inputs[0], node.output
    bytes_ = ("int8", "uint8")
    _need(source.size == out.size, "shapes differ")
    if source.dtype in bytes_ and out.dtype in bytes_:  # uint8 at the edges, as converters write it
        _need(len(source.scales) == len(out.scales) == 1, "input and output must have one scale and zero point")
        _need(source.scale / out.scale < 2**22, "the output's scale is too small")
        return
    _int8(out)
    _need(source.dtype == "float32", "its input must be float32, int8 or uint8")


def _dequantize(node: Node) -> None:
    source, out = node.inputs[0], node.output
    _need(source.dtype == "int8" and len(source.scales) == 1, "its input must be int8 with one scale")
    _need(out.dtype == "float32" and source.size == out.size, "its output must be float32 of the same shape")


def _unary(node: Node) -> None:
    source, out = node.inputs[0], node.output
    _int8(source, out)
    _need(source.size == out.size and source.data is None, "shapes differ")
    if node.op == "RELU":
        _need(source.scale / out.scale < 2**22, "the output's scale is too small")
    if node.op == "RELU6":
        _need(source.scale > 2**-20, "the input's scale is too small")  # TFLM makes an int32 of 6 / scale
    if node.op == "LEAKY_RELU":
        alpha = node.attributes["alpha"]
        _need(math.isfinite(alpha) and 0 <= alpha < 2**10, "its slope must lie between 0 and 1024")
        _need(max(1.0, alpha) * source.scale / out.scale < 2**22, "the output's scale is too small")
    if node.op == "ELU":
        _need(2**-20 < source.scale < 2**20 and 2**-20 < out.scale < 2**20, "scales must lie between 2^-20 and 2^20")
    if node.op == "LOGISTIC":
        _need(out.zero_point == -128, "the output's zero point must be -128")
    if node.op in ("LOGISTIC", "TANH"):
        _need(2**-27 < source.scale < 8, "the input's scale must lie between 2^-27 and 8")
    if node.op == "SOFTMAX":
        _need(len(source.shape) >= 1 and source.shape == out.shape, "shapes differ")
        _need(out.zero_point == -128 and out.scale == 1 / 256, "the output must have scale 1/256, zero point -128")
        beta = node.attributes["beta"]
        _need(math.isfinite(beta) and beta > 0 and beta * source.scale * 2**26 > 1, "the input's scale is too small")
    if node.op == "HARD_SWISH":
        _need(source.scale / 128 / out.scale < 1, "the output's scale is too small")
        _need(  # TFLM shifts 16-bit values by both exponents: beyond 15 what comes out is not defined
            source.scale / 128 / out.scale >= 2**-15 and source.scale >= 2**-20, "the input's scale is too small"
        )


def _moving(node: Node) -> None:
    for tensor in (*node.variable_inputs, *node.outputs):
        _need(tensor.dtype == "int8", f"{tensor.label} is not int8")
    if node.op in ("RESHAPE", "SQUEEZE", "EXPAND_DIMS"):
        _need(node.inputs[0].size == node.output.size, "sizes differ")
        return
    movement.copies(node)


_CHECKS = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "FULLY_CONNECTED": _dense,
    "MAX_POOL_2D": _pool,
    "AVERAGE_POOL_2D": _pool,
    "ADD": _binary,
    "SUB": _binary,
    "MUL": _binary,
    "MINIMUM": _extreme,
    "MAXIMUM": _extreme,
    "MEAN": _reduce,
    "SUM": _reduce,
    "REDUCE_MAX": _largest,
    "PRELU": _prelu,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "QUANTIZE": _quantize,
    "DEQUANTIZE": _dequantize,
    "BATCH_MATMUL": matmul.check,
    "SVDF": recurrent.check_svdf,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": recurrent.check_lstm,
}
