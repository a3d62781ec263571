# SPDX-License-Identifier: MIT
"""Convolutions, dense layers and poolings -> C statements, fast where their scales allow it; what each layer costs."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from cheep.compiler import fixedpoint, matrix, requantize
from cheep.compiler.constants import Constants
from cheep.compiler.kernels import wrapper_name
from cheep.compiler.step import Pointers, SlowLayer, Step, title
from cheep.tflite.graph import Node

# instructions per multiply-accumulate on a Cortex-M4F, measured on 16x16x16, 3x3 (docs/compiled-models.md)
FAST, FAST_DEPTHWISE = 1.0, 2.0
_GENERAL, _BY_PATCH, _BY_PIXEL, _DEPTHWISE = 12.0, 2.0, 3.0, 7.0
ANY_PER_OUTPUT = 25  # more where every output is rescaled with 64-bit products


def slow_layer(node: Node, reason: str, per_mac: float, more: int = 0) -> SlowLayer:
    """Describe a slow layer; ``more``: instructions besides those of its multiply-accumulates."""
    fast = FAST_DEPTHWISE if node.op == "DEPTHWISE" else FAST
    return SlowLayer(title(node), reason, round(macs(node) * per_mac) + more, round(macs(node) * fast))


def slow_scales(node: Node, c: requantize.Channels) -> SlowLayer | None:
    """Describe a layer of the fast path whose scales need the general rescaling, or None."""
    if c.limit != requantize.ANY:
        return None
    fast = FAST_DEPTHWISE if node.op == "DEPTHWISE" else FAST
    return slow_layer(node, c.reason, fast, ANY_PER_OUTPUT * node.output.size)


def pad_filters(weights: np.ndarray) -> np.ndarray:
    """Return (filters, values) int8 with the values padded by zeros to a multiple of four."""
    flat = weights.reshape(len(weights), -1)
    return np.pad(flat, ((0, 0), (0, -flat.shape[1] % 4)))


def shape_text(node: Node, filter_shape: tuple[int, int], range_: tuple[int, int]) -> str:
    """Return the initializer of a ``cheep_shape``."""
    a, source, out = node.attributes, node.inputs[0], node.output
    in_h, in_w, in_c = source.shape[1:]
    out_h, out_w, out_c = out.shape[1:]
    fours = -(-filter_shape[0] * filter_shape[1] * in_c // 4)
    values = [
        *(in_h, in_w, in_c, out_h, out_w, out_c, *filter_shape, a["stride_h"], a["stride_w"]),
        *(a.get("dilation_h", 1), a.get("dilation_w", 1), a["pad_top"], a["pad_left"], min(fours, 32767)),
        *(a.get("group_in", 1), a.get("group_out", 1), source.zero_point, out.zero_point),
    ]
    return ", ".join(map(str, values)) + f", {{{range_[0]}, {range_[1]}}}"


def conv(node: Node, name: str, constants: Constants) -> Step:
    """Return the step of a CONV or DEPTHWISE."""
    a, source, out = node.attributes, node.inputs[0], node.output
    depthwise = node.op == "DEPTHWISE"
    c = requantize.channels(node, fold=not depthwise)
    weights = a["weights"]
    filter_shape = weights.shape[:2] if depthwise else weights.shape[1:3]
    single = not depthwise and source.shape[1:3] == out.shape[1:3] == filter_shape == (1, 1)
    if single and c.fast and a["group_in"] == source.shape[3] and matrix.packable(weights):  # one pixel: a dense layer
        flat = {**a, "weights": weights.reshape(len(weights), -1), "rows": 1}
        return dense(Node("CONV", [source], [out], flat), name, constants)
    shape = constants.struct("cheep_shape", f"{name}_shape", shape_text(node, filter_shape, c.range_), 42)
    if not c.fast or (not depthwise and a["group_in"] != source.shape[3]):
        return _conv_general(node, name, constants, c, shape)
    rows = constants.structs("cheep_channel", f"{name}_channels", c.fast, 16)
    small = a.get("one_pixel", False)  # the memory of an interpreter would not hold four
    kernel = "depthwise" if depthwise else "conv_small" if small else "conv"
    call = wrapper_name(kernel, c.limit)
    if depthwise:
        w = constants.array("int8_t", f"{name}_weights", weights, f"[{']['.join(map(str, weights.shape))}]")
        why = node.attributes.get("stage")
        slow = slow_layer(node, why, _DEPTHWISE) if isinstance(why, str) else slow_scales(node, c)
        return Step(
            title(node), [source], [out], lambda p, s: [f"{call}({shape}, {p(source)}, {w}, {rows}, {p(out)});"],
            {kernel}, {(kernel, c.limit)}, slow=slow,
        )  # fmt: skip
    packed = pad_filters(weights)
    w = constants.array("int8_t", f"{name}_weights", packed, f"[{packed.shape[0]}][{packed.shape[1]}]")
    if small:
        slow = slow_layer(node, "what its fast form needs would not fit an interpreter's arena", _BY_PIXEL)
        return Step(
            title(node), [source], [out], lambda p, s: [f"{call}({shape}, {p(source)}, {w}, {rows}, {p(out)});"],
            {kernel}, {(kernel, c.limit)}, slow=slow,
        )  # fmt: skip
    return Step(
        title(node), [source], [out],
        lambda p, s: [f"{call}({shape}, {p(source)}, {w}, {rows}, {s}, {p(out)});"],
        {kernel}, {(kernel, c.limit)}, scratch=9 * packed.shape[1],
        slow=slow_layer(node, str(node.attributes.get("stage", "a convolution of its own")), _BY_PATCH),
    )  # fmt: skip


def _conv_general(node: Node, name: str, constants: Constants, c: requantize.Channels, shape: str) -> Step:
    weights, source, out = node.attributes["weights"], node.inputs[0], node.output
    if node.op == "DEPTHWISE":
        weights = np.ascontiguousarray(weights.transpose(2, 0, 1))
    w = constants.array("int8_t", f"{name}_filters", weights, f"[{']['.join(map(str, weights.shape))}]")
    rows = constants.structs("cheep_channel_general", f"{name}_general", c.general, 12)
    return Step(
        title(node), [source], [out],
        lambda p, s: [f"cheep_conv_general({shape}, {p(source)}, {w}, {rows}, {p(out)});"], {"conv_general"},
        slow=slow_layer(node, c.reason if not c.fast else "its channels are grouped", _GENERAL),
    )  # fmt: skip


def dense(node: Node, name: str, constants: Constants) -> Step:
    """Return the step of a DENSE."""
    a, source, out = node.attributes, node.inputs[0], node.output
    c = requantize.channels(node)
    n, depth = a["weights"].shape
    if not c.fast or not matrix.packable(a["weights"]):  # as a 1x1 convolution over `rows` pixels
        view = dataclasses.replace(source, shape=(1, a["rows"], 1, depth))
        made = dataclasses.replace(out, shape=(1, a["rows"], 1, n))
        plain = {"stride_h": 1, "stride_w": 1, "pad_top": 0, "pad_left": 0, "group_in": depth, "group_out": n}
        node1 = Node("CONV", [view], [made], {**a, **plain, "weights": a["weights"].reshape(n, 1, 1, depth)})
        shape = constants.struct("cheep_shape", f"{name}_shape", shape_text(node1, (1, 1), c.range_), 42)
        step = _conv_general(node1, name, constants, c, shape)
        own = step.lines
        swap = {id(view): source, id(made): out}
        why = c.reason if not c.fast else matrix.UNPACKABLE
        return dataclasses.replace(
            step,
            title=title(node),
            reads=[source],
            writes=[out],
            lines=lambda p, s: own(lambda t: p(swap[id(t)]), s),
            slow=slow_layer(node, why, _GENERAL),
        )
    packed = matrix.pack(np.pad(a["weights"], ((0, 0), (0, -depth % 8))), c, vector=True)
    w = constants.array("int8_t", f"{name}_weights", packed.weights, f"filters of {depth}, in pairs")
    rows = constants.structs("cheep_channel", f"{name}_channels", packed.channels, 16)
    text = f"{w}, {rows}, {a['rows']}, {n}, {packed.fours}, {packed.chunk}, {depth}, {{{c.range_[0]}, {c.range_[1]}}}"
    vector = constants.struct("cheep_matrix_vector", f"{name}_vector", text, 24)
    call, x = wrapper_name("dense", c.limit), 8 * packed.chunk
    totals = 4 * n if packed.chunk < packed.fours else 0

    def lines(p: Pointers, scratch: str) -> list[str]:
        sums = f"(int32_t *)(void *)({scratch} + {x})" if totals else "NULL"
        return [f"{call}({vector}, {p(source)}, {scratch}, {sums}, {p(out)});"]

    return Step(title(node), [source], [out], lines, {"dense"}, {("dense", c.limit)}, scratch=x + totals,
                slow=slow_scales(node, c))  # fmt: skip


def pool(node: Node, name: str, constants: Constants) -> Step:
    """Return the step of a pooling."""
    a, source, out = node.attributes, node.inputs[0], node.output
    for axis, i in (("h", 1), ("w", 2)):
        total = (out.shape[i] - 1) * a[f"stride_{axis}"] + a[f"filter_{axis}"] - source.shape[i]
        a["pad_top" if axis == "h" else "pad_left"] = max(total, 0) // 2
    range_ = fixedpoint.activation_range(a["activation"], out.scale, out.zero_point)
    text = shape_text(node, (a["filter_h"], a["filter_w"]), range_)
    shape = constants.struct("cheep_shape", f"{name}_shape", text, 42)
    mean = "true" if node.op == "AVERAGE_POOL_2D" else "false"
    call = wrapper_name("pool", mean)
    return Step(
        title(node), [source], [out], lambda p, s: [f"{call}({shape}, {p(source)}, {p(out)});"], {"pool"},
        {("pool", mean)},
    )  # fmt: skip


def macs(node: Node) -> int:
    """Return the multiply-accumulates of a node (0 for what does not multiply)."""
    if node.op not in ("CONV", "DEPTHWISE", "DENSE"):
        return node.macs
    weights = node.attributes["weights"]
    if node.op == "DENSE":
        return weights.size * node.attributes["rows"]
    pixels = math.prod(node.output.shape[1:3])
    return int(weights.size * pixels)
