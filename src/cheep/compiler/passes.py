# SPDX-License-Identifier: MIT
"""Graph -> simpler graph with the same bits. Each pass is a function from graph to graph (changed in place).

Order: :func:`run_passes`. After it the nodes left are CONV, DEPTHWISE, DENSE, pools, MEAN, SUM, ADD, SUB, MUL,
LOOKUP (every one-byte activation), SOFTMAX, COPY-like movements, ALIAS (a relabelling: no code), QUANTIZE_FLOAT
and DEQUANTIZE.
"""

from __future__ import annotations

import numpy as np

from cheep.compiler import fixedpoint, matmul
from cheep.tflite.graph import Graph, Node, Tensor

RELABELLING = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
_WHOLE = ("CONCATENATION", "SPLIT", "SPLIT_V", "PACK", "UNPACK")


def run_passes(graph: Graph) -> Graph:
    """Run every pass in order."""
    for step in (
        fold_constants,
        alias_relabellings,
        normalize_convolutions,
        fold_padding,
        tabulate,
        merge_tables,
        drop_identities,
        drop_unused,
        branches_in_turn,
    ):
        step(graph)
    return graph


def branches_in_turn(graph: Graph) -> None:
    """Put one branch after the other where several convolutions read the input: each can take the memory of the last.

    Converters give the first layers of all branches first.
    """
    readers = graph.consumers(graph.inputs[0]) if graph.inputs else []
    readers += [n for alias in readers if alias.op == "ALIAS" for n in graph.consumers(alias.output)]
    if sum(n.op in ("CONV", "DEPTHWISE") for n in readers) < 2 or graph.states:
        return
    waiting = list(graph.nodes)
    made = {id(t) for node in waiting for t in node.outputs}
    order: list[Node] = []
    while waiting:
        ready = [n for n in waiting if not any(id(t) in made for t in n.variable_inputs)]
        last = {id(t) for t in order[-1].outputs} if order else set()
        node = next((n for n in ready if any(id(t) in last for t in n.variable_inputs)), ready[0])
        waiting = [n for n in waiting if n is not node]
        order.append(node)
        made -= {id(t) for t in node.outputs}
    graph.nodes[:] = order


def fold_constants(graph: Graph) -> None:
    """Compute relabellings, transpositions and conversions of constants at compile time."""
    kept = []
    for node in graph.nodes:
        source = node.inputs[0] if node.inputs else None
        out = node.output
        if source is not None and source.data is not None and not node.variable_inputs:
            if node.op in RELABELLING and source.size == out.size:
                out.data = source.data.reshape(out.shape)
                continue
            if node.op == "TRANSPOSE":
                out.data = np.ascontiguousarray(source.data.transpose(node.inputs[1].integers))
                continue
            if node.op == "DEQUANTIZE":
                centred = source.data.astype(np.float64) - source.zero_point
                out.data = (centred * source.scale).astype(np.float32)
                continue
            if node.op == "QUANTIZE" and source.dtype == "int8":
                values = fixedpoint.requantize_table(source.scale, source.zero_point, out.scale, out.zero_point)
                out.data = values[source.data.astype(np.int32) + 128]
                continue
            if node.op == "QUANTIZE" and source.dtype == "float32":
                ratio = (source.data / np.float32(out.scale)).astype(np.float64)
                ratio = np.clip(ratio, -1e6, 1e6)
                rounded = np.where(ratio >= 0, np.floor(ratio + 0.5), np.ceil(ratio - 0.5))
                out.data = np.clip(rounded + out.zero_point, -128, 127).astype(np.int8)
                continue
        kept.append(node)
    graph.nodes = kept


def alias_relabellings(graph: Graph) -> None:
    """Turn operators that move no byte (reshape, transposition of single dimensions, whole slices) into ALIAS."""
    for node in graph.nodes:
        source, out = node.inputs[0] if node.inputs else None, node.output
        if source is None or source.data is not None:
            continue
        same = source.size == out.size and len(node.outputs) == 1
        if node.op in RELABELLING and same:
            node.op, node.inputs = "ALIAS", [source]
        elif node.op == "TRANSPOSE" and same:
            order = node.inputs[1].integers
            if [i for i in order if source.shape[i] > 1] == [i for i in sorted(order) if source.shape[i] > 1]:
                node.op, node.inputs = "ALIAS", [source]
        elif (
            node.op == "QUANTIZE"
            and source.dtype == out.dtype == "int8"
            and source.scale == out.scale
            and source.zero_point == out.zero_point
        ):
            node.op, node.inputs = "ALIAS", [source]
        elif node.op in _WHOLE and same and len(node.variable_inputs) == 1:
            node.op, node.inputs = "ALIAS", node.variable_inputs


def normalize_convolutions(graph: Graph) -> None:
    """Write CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED in their cheapest form, with explicit padding.

    A grouped convolution with one channel per group becomes DEPTHWISE; a depthwise one over a single channel
    becomes CONV. Weights: CONV [out][h][w][in of the group], DEPTHWISE [h][w][channels], DENSE [out][in].
    """
    for node in graph.nodes:
        if node.op == "BATCH_MATMUL":
            _product_as_dense(node)
        if node.op not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            continue
        source, weights, out = node.inputs[0], node.inputs[1].constant, node.output
        a = node.attributes
        a["bias"] = (
            node.inputs[2].constant.astype(np.int64).reshape(-1)
            if len(node.inputs) > 2
            else np.zeros(out.shape[-1], np.int64)
        )
        a["scales"] = node.inputs[1].scales
        if node.op == "FULLY_CONNECTED":
            node.op = "DENSE"
            a["weights"] = weights.reshape(weights.shape[-2], weights.shape[-1])
            a["rows"] = source.size // weights.shape[-1]
        else:
            depthwise = node.op == "DEPTHWISE_CONV_2D"
            height, width = weights.shape[1:3]
            for axis, size, kernel in (("h", 1, height), ("w", 2, width)):
                reach = (kernel - 1) * a[f"dilation_{axis}"] + 1
                total = (out.shape[size] - 1) * a[f"stride_{axis}"] + reach - source.shape[size]
                a["pad_top" if axis == "h" else "pad_left"] = max(total, 0) // 2
            if depthwise and source.shape[3] > 1 and a["multiplier"] == 1:
                node.op, a["weights"], a["group_in"], a["group_out"] = "DEPTHWISE", weights[0], 1, 1
            elif depthwise:
                node.op = "CONV"
                a["weights"] = np.ascontiguousarray(weights[0].transpose(2, 0, 1)[..., None])
                a["group_in"], a["group_out"] = 1, a["multiplier"]
            else:
                groups = source.shape[3] // weights.shape[3]
                a["group_in"], a["group_out"] = weights.shape[3], out.shape[3] // groups
                if a["group_in"] == a["group_out"] == 1 and groups > 1:
                    node.op, a["weights"] = "DEPTHWISE", np.ascontiguousarray(weights[..., 0].transpose(1, 2, 0))
                else:
                    node.op, a["weights"] = "CONV", weights
        node.inputs = [source]


def _product_as_dense(node: Node) -> None:
    weights = matmul.dense_form(node)
    if weights is None:
        return
    a = {"activation": "NONE", "bias": np.zeros(len(weights), np.int64), "scales": node.inputs[1].scales}
    rows = node.inputs[0].size // weights.shape[1]
    node.op, node.attributes, node.inputs = "DENSE", {**a, "weights": weights, "rows": rows}, node.inputs[:1]


def fold_padding(graph: Graph) -> None:
    """Give the padding of a PAD (of height and width, with the zero point) to the convolution that follows."""
    for node in list(graph.nodes):
        if node.op not in ("CONV", "DEPTHWISE"):
            continue
        pad, chain = _pad_before(graph, node)
        if pad is None or not _pads_with_zero(pad, node.inputs[0]):
            continue
        amounts = _pad_of_view(pad, node.inputs[0])
        view = _unpadded_view(pad.inputs[0], node.inputs[0], amounts) if amounts else None
        if amounts is None or view is None:
            continue
        node.attributes["pad_top"] += amounts[1][0]
        node.attributes["pad_left"] += amounts[2][0]
        index = next(i for i, n in enumerate(graph.nodes) if n is pad)
        graph.nodes[index] = Node("ALIAS", [pad.inputs[0]], [view])
        graph.nodes = [n for n in graph.nodes if not any(n is c for c in chain)]
        node.inputs = [view]


def _pad_before(graph: Graph, node: Node) -> tuple[Node | None, list[Node]]:
    """Return the PAD that only ``node`` sees, and the aliases between them; None where there is none."""
    tensor, chain = node.inputs[0], []
    producer = graph.producer(tensor)
    while producer is not None and producer.op == "ALIAS" and len(graph.consumers(tensor)) == 1:
        chain.append(producer)
        tensor = producer.inputs[0]
        producer = graph.producer(tensor)
    if producer is None or producer.op not in ("PAD", "PADV2") or len(graph.consumers(tensor)) != 1:
        return None, []
    if any(graph.is_output(t) for t in (tensor, *(n.output for n in chain))):
        return None, []
    return producer, chain


def _pads_with_zero(pad: Node, seen: Tensor) -> bool:
    """Say whether what is padded is the zero of the tensor that the convolution sees, in the same quantization."""
    value = pad.inputs[2] if len(pad.inputs) > 2 else None
    filled = pad.output.zero_point if value is None else value.integers[0]
    inner = pad.inputs[0]
    same = inner.data is None and inner.zero_point == seen.zero_point and inner.scale == seen.scale
    return filled == seen.zero_point and same


def _pad_of_view(pad: Node, seen: Tensor) -> list[tuple[int, int]] | None:
    """Return the padding by dimension of the convolution's view, or None where it is not of height and width only."""
    shape, amounts = list(pad.output.shape), [(int(a), int(b)) for a, b in pad.inputs[1].constant.reshape(-1, 2)]
    while len(shape) < 4:
        shape.insert(0, 1)
        amounts.insert(0, (0, 0))
    if len(shape) != 4:
        return None
    if tuple(shape) != seen.shape and [n for n in shape if n > 1] == [n for n in seen.shape if n > 1]:
        shape, amounts = _moved(shape, amounts, seen.shape)
    if tuple(shape) != seen.shape or amounts[0] != (0, 0) or amounts[3] != (0, 0):
        return None
    return amounts


def _unpadded_view(inner: Tensor, seen: Tensor, amounts: list[tuple[int, int]]) -> Tensor | None:
    """Return what the convolution sees, without the padding."""
    shape = tuple(n - a - b for n, (a, b) in zip(seen.shape, amounts, strict=True))
    if any(n < 1 for n in shape):
        return None
    return Tensor(-1 - seen.index, inner.name, shape, "int8", inner.scales, inner.zero_points)


def _moved(shape: list[int], pad: list[tuple[int, int]], seen: tuple[int, ...]):
    """Carry the padding of the dimensions larger than one over to their places in ``seen``."""
    large = [p for n, p in zip(shape, pad, strict=True) if n > 1]
    if any(p != (0, 0) for n, p in zip(shape, pad, strict=True) if n == 1):
        return shape, pad
    rest = iter(large)
    return list(seen), [next(rest) if n > 1 else (0, 0) for n in seen]


def tabulate(graph: Graph) -> None:
    """Replace every one-byte function by a table of 256 bytes (LOOKUP)."""
    for node in graph.nodes:
        out = node.output
        source = node.inputs[0] if node.inputs else None
        if (
            source is not None
            and node.op == "QUANTIZE"
            and "uint8" in (source.dtype, out.dtype)
            and source.data is None
        ):
            node.attributes = {"table": fixedpoint.byte_table(source, out), "from": node.op}
            node.op, node.inputs = "LOOKUP", [source]
            continue
        if source is None or out.dtype != "int8":
            continue
        values = None
        if node.op in ("ADD", "SUB", "MUL", "MINIMUM", "MAXIMUM"):
            source, values = _table_of_binary(node)
        elif source.data is not None or source.dtype != "int8":
            continue
        elif node.op == "LOGISTIC":
            values = fixedpoint.logistic_table(source.scale, source.zero_point)
        elif node.op == "TANH":
            values = fixedpoint.tanh_table(source.scale, source.zero_point)
        elif node.op == "RELU":
            values = fixedpoint.relu_table(source.scale, source.zero_point, out.scale, out.zero_point)
        elif node.op == "RELU6":
            values = fixedpoint.relu6_table(source.scale, source.zero_point)
        elif node.op == "LEAKY_RELU":
            alpha = node.attributes["alpha"]
            values = fixedpoint.leaky_relu_table(source.scale, source.zero_point, out.scale, out.zero_point, alpha)
        elif node.op == "ELU":
            values = fixedpoint.elu_table(source.scale, source.zero_point, out.scale, out.zero_point)
        elif node.op == "HARD_SWISH":
            values = fixedpoint.hard_swish_table(source.scale, source.zero_point, out.scale, out.zero_point)
        elif node.op == "QUANTIZE":
            values = fixedpoint.requantize_table(source.scale, source.zero_point, out.scale, out.zero_point)
        if values is not None:
            node.attributes = {"table": values, "from": node.op}
            node.op, node.inputs = "LOOKUP", [source]


def _table_of_binary(node: Node) -> tuple[Tensor, np.ndarray | None]:
    a, b = node.inputs
    if (a.data is None) == (b.data is None):
        return a, None
    constant, variable = (a, b) if a.data is not None else (b, a)
    if constant.size != 1 or variable.size != node.output.size:
        return variable, None
    value = constant.integers[0]
    order = (lambda q: (value, q)) if constant is a else (lambda q: (q, value))
    function = binary_function(node)
    return variable, fixedpoint.table(lambda q: function(*order(q)))


def binary_function(node: Node):
    """Return the exact scalar function of an ADD, SUB, MUL, MINIMUM or MAXIMUM node: ``(int, int) -> int``."""
    if node.op in ("MINIMUM", "MAXIMUM"):
        return min if node.op == "MINIMUM" else max
    spec = binary_spec(node)
    low, high = spec["range"]
    za, zb, zo = (t.zero_point for t in (*node.inputs, node.output))
    if node.op == "MUL":
        return lambda x, y: fixedpoint.clamp(fixedpoint.scale((x - za) * (y - zb), *spec["product"]) + zo, low, high)
    sign = -1 if node.op == "SUB" else 1

    def value(x: int, y: int) -> int:
        total = fixedpoint.scale((x - za) << 20, *spec["a"]) + sign * fixedpoint.scale((y - zb) << 20, *spec["b"])
        return fixedpoint.clamp(fixedpoint.scale(total, *spec["sum"]) + zo, low, high)

    return value


def binary_spec(node: Node) -> dict:
    """Return the multipliers and shifts of an ADD, SUB or MUL, computed as TFLM computes them."""
    a, b, out = node.inputs[0], node.inputs[1], node.output
    spec: dict = {"range": fixedpoint.activation_range(node.attributes["activation"], out.scale, out.zero_point)}
    if node.op == "MUL":
        spec["product"] = fixedpoint.quantize_multiplier(a.scale * b.scale / out.scale)
    else:  # older TFLM computed SUB's ratios in single precision; the tflite-micro package computes both alike
        twice = 2 * max(a.scale, b.scale)
        spec["a"] = fixedpoint.quantize_multiplier(a.scale / twice)
        spec["b"] = fixedpoint.quantize_multiplier(b.scale / twice)
        spec["sum"] = fixedpoint.quantize_multiplier(twice / ((1 << 20) * out.scale))
    return spec


def merge_tables(graph: Graph) -> None:
    """Join a LOOKUP into the only LOOKUP that reads it."""
    for node in list(graph.nodes):
        if node.op != "LOOKUP":
            continue
        producer = graph.producer(node.inputs[0])
        middle = node.inputs[0]
        if producer is None or producer.op != "LOOKUP" or graph.is_output(middle):
            continue
        if len(graph.consumers(middle)) != 1:
            continue
        first, second = producer.attributes["table"], node.attributes["table"]
        node.attributes["table"] = second[first.astype(np.int32) + 128]
        node.attributes["from"] = f"{producer.attributes['from']} {node.attributes['from']}"
        node.inputs = [producer.inputs[0]]
        graph.nodes = [n for n in graph.nodes if n is not producer]


def drop_identities(graph: Graph) -> None:
    """Turn a LOOKUP that changes no byte (a limit at the end of the range) into an ALIAS."""
    for node in graph.nodes:
        alike = node.output.dtype == node.inputs[0].dtype if node.op == "LOOKUP" else False
        if alike and np.array_equal(node.attributes["table"], np.arange(-128, 128)):
            node.op, node.attributes = "ALIAS", {}


def drop_unused(graph: Graph) -> None:
    """Remove the nodes whose results nobody reads."""
    needed = {id(t) for t in graph.results}
    kept = []
    for node in reversed(graph.nodes):
        if any(id(t) in needed for t in node.outputs):
            kept.append(node)
            needed |= {id(t) for t in node.inputs}
    graph.nodes = kept[::-1]
