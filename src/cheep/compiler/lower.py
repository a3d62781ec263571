# SPDX-License-Identifier: MIT
"""Nodes -> steps: C statements, one operator at a time, with what each reads, writes and needs as scratch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from cheep.compiler import fixedpoint, matmul, matrix, movement, recurrent, requantize
from cheep.compiler.constants import Constants
from cheep.compiler.passes import binary_spec
from cheep.compiler.step import Pointers, SlowLayer, Step, rescale, title
from cheep.tflite.graph import Node, Tensor

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


# kernel -> (function, parameters, arguments) of the function that fixes its limit
WRAPPERS = {
    "conv": (
        "conv",
        "const cheep_shape *s, const int8_t *in, const int8_t *weights, const cheep_channel *channels, "
        "int8_t *scratch, int8_t *out",
        "s, in, weights, channels, scratch, out, {limit}",
    ),
    "depthwise": (
        "depthwise",
        "const cheep_shape *s, const int8_t *in, const int8_t *weights, const cheep_channel *channels, int8_t *out",
        "s, in, weights, channels, out, {limit}",
    ),
    "conv_small": (
        "conv_small",
        "const cheep_shape *s, const int8_t *in, const int8_t *weights, const cheep_channel *channels, int8_t *out",
        "s, in, weights, channels, out, {limit}",
    ),
    "dense": (
        "dense",
        "const cheep_matrix_vector *m, const int8_t *in, int8_t *scratch, int32_t *totals, int8_t *out",
        "m, in, (uint32_t *)(void *)scratch, totals, out, {limit}",
    ),
    "pool": ("pool", "const cheep_shape *s, const int8_t *in, int8_t *out", "s, in, out, {limit}"),
}


def wrapper_name(kernel: str, limit: str) -> str:
    """Return the name of ``kernel`` with its limit fixed."""
    return f"cheep_{kernel}_{limit.lower().removeprefix('cheep_')}"


def lower(node: Node, name: str, constants: Constants) -> Step:
    """Return the step of ``node``; ``name`` prefixes its constants."""
    return _LOWER[node.op](node, name, constants)


def pad_filters(weights: np.ndarray) -> np.ndarray:
    """Return (filters, values) int8 with the values padded by zeros to a multiple of four."""
    flat = weights.reshape(len(weights), -1)
    return np.pad(flat, ((0, 0), (0, -flat.shape[1] % 4)))


def _alias(node: Node, name: str, constants: Constants) -> Step:
    return Step(title(node), [node.inputs[0]], [node.output], lambda p, s: [], set(), alias=True)


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


def _conv(node: Node, name: str, constants: Constants) -> Step:
    a, source, out = node.attributes, node.inputs[0], node.output
    depthwise = node.op == "DEPTHWISE"
    c = requantize.channels(node, fold=not depthwise)
    weights = a["weights"]
    filter_shape = weights.shape[:2] if depthwise else weights.shape[1:3]
    single = not depthwise and source.shape[1:3] == out.shape[1:3] == filter_shape == (1, 1)
    if single and c.fast and a["group_in"] == source.shape[3] and matrix.packable(weights):  # one pixel: a dense layer
        flat = {**a, "weights": weights.reshape(len(weights), -1), "rows": 1}
        return _dense(Node("CONV", [source], [out], flat), name, constants)
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


def _dense(node: Node, name: str, constants: Constants) -> Step:
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


def _pool(node: Node, name: str, constants: Constants) -> Step:
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


def mean_constants(node: Node) -> tuple[int, int, int]:
    """Return (multiplier, shift, elements summed) of a MEAN or SUM."""
    source, out = node.inputs[0], node.output
    multiplier, shift = fixedpoint.quantize_multiplier(source.scale / out.scale)
    n = source.size // out.size
    if node.op == "MEAN":
        extra = min(n.bit_length() - 1, 32, 31 + shift)
        multiplier = (multiplier << extra) // n
        shift -= extra
    return multiplier, shift, n


def _reduce(node: Node, name: str, constants: Constants) -> Step:
    source, out = node.inputs[0], node.output
    axes = {i % len(source.shape) for i in node.inputs[1].integers}
    largest = node.op == "REDUCE_MAX"
    multiplier, shift, n = (0, 0, 0) if largest else mean_constants(node)
    steps = movement.strides(source.shape)
    kept = _joined([(m, s) for i, (m, s) in enumerate(zip(source.shape, steps, strict=True)) if i not in axes])
    gone = _joined([(m, s) for i, (m, s) in enumerate(zip(source.shape, steps, strict=True)) if i in axes])

    def lines(p: Pointers, scratch: str) -> list[str]:
        outer, index = _loops("i", kept)
        inner, offset = _loops("k", gone)
        if largest:
            value = f"({p(source)})[{index} + {offset}]"
            code = [f"int8_t *to = {p(out)};", *outer, "int8_t best = -128;", *inner]
            code += [f"best = {value} > best ? {value} : best;", "}" * len(gone), "*to++ = best;"]
            return ["{", *code, "}" * len(kept), "}"]
        code = [f"int8_t *to = {p(out)};", *outer, "int32_t sum = 0;", *inner]
        code += [f"sum += ({p(source)})[{index} + {offset}];", "}" * len(gone)]
        code += [
            f"*to++ = cheep_limit(cheep_scale(sum - {n * source.zero_point}, {multiplier}, {max(shift, 0)}, "
            f"{max(-shift, 0)}) + {out.zero_point}, -128, 127);"
        ]
        return ["{", *code, "}" * len(kept), "}"]

    return Step(title(node), [source], [out], lines, {"limit"})


def _joined(dims: list[tuple[int, int]]) -> list[tuple[int, int]]:
    dims = [d for d in dims if d[0] > 1]
    out: list[tuple[int, int]] = []
    for n, s in reversed(dims):
        if out and s == out[0][0] * out[0][1]:
            out[0] = (n * out[0][0], out[0][1])
        else:
            out.insert(0, (n, s))
    return out


def _loops(letter: str, dims: list[tuple[int, int]]) -> tuple[list[str], str]:
    code, terms = [], []
    for i, (n, step) in enumerate(dims):
        v = f"{letter}{i}"
        code.append(f"for (int {v} = 0; {v} < {n}; ++{v}) {{")
        terms.append(v if step == 1 else f"{step} * {v}")
    return code, " + ".join(terms) or "0"


def _binary(node: Node, name: str, constants: Constants) -> Step:
    (a, b), out = node.inputs, node.output
    spec = binary_spec(node)
    zeros = f"{a.zero_point}, {b.zero_point}, {out.zero_point}, {spec['range'][0]}, {spec['range'][1]}"
    if node.op == "MUL":
        kernel = "mul"
        text = f"{rescale(spec['product'])}, {zeros}"
    else:
        kernel = "add"
        text = ", ".join(rescale(spec[k], 20 if k != "sum" else 0) for k in ("a", "b", "sum"))
        text += f", {zeros}, {'true' if node.op == 'SUB' else 'false'}"
    spec_line = f"const cheep_{kernel}_spec spec = {{{text}}};"
    pa, pb = _constant_pointer(a, name + "_a", constants), _constant_pointer(b, name + "_b", constants)
    dims = _broadcast(a, b, out)

    def lines(p: Pointers, scratch: str) -> list[str]:
        left, right = pa or p(a), pb or p(b)
        *outer, (n, sa, sb, _) = dims
        if not outer:
            return ["{", spec_line, f"cheep_{kernel}(spec, {left}, {sa}, {right}, {sb}, {p(out)}, {n});", "}"]
        code, ia = _loops("i", [(m, s) for m, s, _, _ in outer])
        ib = " + ".join(f"{s} * i{i}" for i, (_, _, s, _) in enumerate(outer))
        io = " + ".join(f"{s} * i{i}" for i, (_, _, _, s) in enumerate(outer))
        call = f"cheep_{kernel}(spec, {left} + {ia}, {sa}, {right} + {ib}, {sb}, {p(out)} + {io}, {n});"
        return ["{", spec_line, *code, call, "}" * len(outer), "}"]

    in_place = a.data is None and a.size == out.size and (b.data is not None or b is not a)
    return Step(title(node), node.variable_inputs, [out], lines, {kernel}, in_place=in_place)


def _constant_pointer(tensor: Tensor, name: str, constants: Constants) -> str | None:
    return None if tensor.data is None else constants.array("int8_t", name, tensor.data)


def _broadcast(a: Tensor, b: Tensor, out: Tensor) -> list[tuple[int, int, int, int]]:
    """Return loops (n, step of a, step of b, step of out), outermost first, as few as possible."""
    rank = len(out.shape)

    def steps(t: Tensor) -> list[int]:
        shape = (1,) * (rank - len(t.shape)) + t.shape
        return [0 if n == 1 else s for n, s in zip(shape, movement.strides(shape), strict=True)]

    dims = [d for d in zip(out.shape, steps(a), steps(b), movement.strides(out.shape), strict=True) if d[0] > 1] or [
        (1, 1, 1, 1)
    ]
    joined = [dims[-1]]
    for n, sa, sb, so in reversed(dims[:-1]):
        m, a1, b1, o1 = joined[0]
        if (sa, sb, so) == (m * a1, m * b1, m * o1):
            joined[0] = (n * m, a1, b1, o1)
        else:
            joined.insert(0, (n, sa, sb, so))
    return joined


def _lookup(node: Node, name: str, constants: Constants) -> Step:
    source, out = node.inputs[0], node.output
    table = constants.array("int8_t", f"{name}_table", node.attributes["table"], node.attributes["from"])
    read, write = ("(const int8_t *)" if t.dtype != "int8" else "" for t in (source, out))

    def lines(p: Pointers, scratch: str) -> list[str]:
        to = f"(int8_t *)({p(out)})" if write else p(out)
        given = f"{read}({p(source)})" if read else p(source)
        return [f"cheep_lookup({table}, {given}, {to}, {out.size});"]

    return Step(title(node), [source], [out], lines, {"lookup"}, in_place=True)


def _prelu(node: Node, name: str, constants: Constants) -> Step:
    source, slopes, out = node.inputs[0], node.inputs[1], node.output
    ref = constants.array("int8_t", f"{name}_slopes", slopes.constant)
    whole, part = (
        fixedpoint.quantize_multiplier(ratio)
        for ratio in (source.scale / out.scale, source.scale * slopes.scale / out.scale)
    )
    numbers = [whole[0], max(whole[1], 0), max(-whole[1], 0), part[0], max(part[1], 0), max(-part[1], 0)]
    zeros = f"{source.zero_point}, {slopes.zero_point}, {out.zero_point}"
    spec = f"const cheep_prelu_spec spec = {{{', '.join(map(str, numbers))}, {zeros}}};"
    n = source.shape[-1]
    return Step(
        title(node), [source], [out],
        lambda p, s: ["{", spec, f"cheep_prelu(&spec, {p(source)}, {ref}, {out.size // n}, {n}, {p(out)});", "}"],
        {"prelu"}, in_place=True,
    )  # fmt: skip


def _resize(node: Node, name: str, constants: Constants) -> Step:
    source, out, a = node.inputs[0], node.output, node.attributes

    def nearest(size_in: int, size_out: int) -> list[int]:
        corners = a["align_corners"] and size_out > 1
        scale = (
            np.float32(size_in - 1) / np.float32(size_out - 1)
            if corners
            else np.float32(size_in) / np.float32(size_out)
        )
        at = (np.arange(size_out, dtype=np.float32) + np.float32(0.5 if a["half_pixels"] else 0)) * scale
        at = np.floor(at + np.float32(0.5)) if a["align_corners"] else np.floor(at)
        return np.clip(at.astype(np.int64), 0, size_in - 1).tolist()

    rows = constants.array("int16_t", f"{name}_rows", nearest(source.shape[1], out.shape[1]))
    columns = constants.array("int16_t", f"{name}_columns", nearest(source.shape[2], out.shape[2]))
    batch, height, width, depth = out.shape
    image = source.shape[1] * source.shape[2] * depth

    def lines(p: Pointers, scratch: str) -> list[str]:
        pixel = f"b * {image} + ({rows}[y] * {source.shape[2]} + {columns}[x]) * {depth}"
        loops = [f"for (int {v} = 0; {v} < {n}; ++{v}) {{" for v, n in (("b", batch), ("y", height), ("x", width))]
        copy = [f"memcpy(to, {p(source)} + {pixel}, {depth});", f"to += {depth};"]
        return ["{", f"int8_t *to = {p(out)};", *loops, *copy, "}}}", "}"]

    return Step(title(node), [source], [out], lines, set())


def _softmax(node: Node, name: str, constants: Constants) -> Step:
    source, out = node.inputs[0], node.output
    values = fixedpoint.softmax_exponents(node.attributes["beta"], source.scale)
    ref = constants.array("int32_t", f"{name}_exponents", values, "exp(-d)")
    depth = source.shape[-1]
    return Step(
        title(node), [source], [out],
        lambda p, s: [f"cheep_softmax({p(source)}, {p(out)}, {out.size // depth}, {depth}, {ref}, {len(values)});"],
        {"softmax"},
    )  # fmt: skip


def _movement(node: Node, name: str, constants: Constants) -> Step:
    copies = movement.copies(node)
    pointers = {
        id(t): _constant_pointer(t, f"{name}_c{i}", constants)
        for i, t in enumerate(node.inputs)
        if t.data is not None and any(c.source is t for c in copies)
    }
    fill = None
    if node.op in ("PAD", "PADV2"):
        fill = node.output.zero_point if node.op == "PAD" else node.inputs[2].integers[0]

    def lines(p: Pointers, scratch: str) -> list[str]:
        code = []
        if fill is not None:
            code.append(f"memset({p(node.output)}, {fill & 255}, {node.output.size});")
        for copy in copies:
            source = pointers.get(id(copy.source)) or p(copy.source)
            code += movement.copy_lines(copy, source, p(copy.target))
        return code

    return Step(title(node), node.variable_inputs, list(node.outputs), lines, set())


def _quantize_float(node: Node, name: str, constants: Constants) -> Step:
    source, out = node.inputs[0], node.output
    scale = float(np.float32(out.scale)).hex()
    return Step(
        title(node), [source], [out],
        lambda p, s: [f"cheep_quantize({p(source)}, {p(out)}, {out.size}, {scale}f, {out.zero_point});"], {"quantize"},
    )  # fmt: skip


def _dequantize(node: Node, name: str, constants: Constants) -> Step:
    source, out = node.inputs[0], node.output
    scale = float(np.float32(source.scale)).hex()
    return Step(
        title(node), [source], [out],
        lambda p, s: [f"cheep_dequantize({p(source)}, {p(out)}, {out.size}, {scale}f, {source.zero_point});"],
        {"dequantize"},
    )  # fmt: skip


_LOWER: dict[str, Callable[[Node, str, Constants], Step]] = {
    "ALIAS": _alias,
    "CONV": _conv,
    "DEPTHWISE": _conv,
    "DENSE": _dense,
    "MAX_POOL_2D": _pool,
    "AVERAGE_POOL_2D": _pool,
    "MEAN": _reduce,
    "SUM": _reduce,
    "REDUCE_MAX": _reduce,
    "PRELU": _prelu,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "ADD": _binary,
    "SUB": _binary,
    "MUL": _binary,
    "LOOKUP": _lookup,
    "SOFTMAX": _softmax,
    "QUANTIZE": _quantize_float,
    "DEQUANTIZE": _dequantize,
    "BATCH_MATMUL": matmul.lower,
    "SVDF": recurrent.lower_svdf,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": recurrent.lower_lstm,
    **dict.fromkeys(
        ("PAD", "PADV2", "CONCATENATION", "SPLIT", "SPLIT_V", "STRIDED_SLICE", "PACK", "UNPACK", "TRANSPOSE"), _movement
    ),
}


def macs(node: Node) -> int:
    """Return the multiply-accumulates of a node (0 for what does not multiply)."""
    if node.op not in ("CONV", "DEPTHWISE", "DENSE"):
        return node.macs
    weights = node.attributes["weights"]
    if node.op == "DENSE":
        return weights.size * node.attributes["rows"]
    pixels = math.prod(node.output.shape[1:3])
    return int(weights.size * pixels)
