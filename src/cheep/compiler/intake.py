# SPDX-License-Identifier: MIT
"""What the compiler takes of a ``.tflite``: int8 networks of the operators below, with the attributes it works on.

Types, shapes, quantization and the order of execution are verified here, each operator's own conditions in ``checks``;
anything else is a :class:`CheepError`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cheep.compiler.variables import VARIABLE_OPERATORS, find_states
from cheep.errors import CheepError
from cheep.tflite.graph import Graph, Node, Tensor
from cheep.tflite.reader import read_graph

MAX_TENSOR_BYTES = 1 << 24
MAX_TENSORS, MAX_OPERATORS = 16384, 4096
_MAX_DIMENSIONS = 6
_DTYPES = ("int8", "uint8", "float32", "int32")
_OF_STATES = ("SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM")  # their states and time weights may be int16

_WINDOW = {
    "padding": "padding",
    "stride_h": "strideH",
    "stride_w": "strideW",
    "activation": "fusedActivationFunction",
}
_POOL = {**_WINDOW, "filter_h": "filterHeight", "filter_w": "filterWidth"}
_CONV = {**_WINDOW, "dilation_h": "dilationHFactor", "dilation_w": "dilationWFactor"}
_ACTIVATION = {"activation": "fusedActivationFunction"}
# The table of options of an operator, and attribute -> name in it.
_OPTIONS: dict[str, tuple[str, dict[str, str]]] = {
    "CONV_2D": ("Conv2DOptions", _CONV),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", {**_CONV, "multiplier": "depthMultiplier"}),
    "FULLY_CONNECTED": ("FullyConnectedOptions", {**_ACTIVATION, "format": "weightsFormat"}),
    "MAX_POOL_2D": ("Pool2DOptions", _POOL),
    "AVERAGE_POOL_2D": ("Pool2DOptions", _POOL),
    "MEAN": ("ReducerOptions", {"keep_dims": "keepDims"}),
    "SUM": ("ReducerOptions", {"keep_dims": "keepDims"}),
    "REDUCE_MAX": ("ReducerOptions", {"keep_dims": "keepDims"}),
    "LEAKY_RELU": ("LeakyReluOptions", {"alpha": "alpha"}),
    "RESIZE_NEAREST_NEIGHBOR": (
        "ResizeNearestNeighborOptions",
        {"align_corners": "alignCorners", "half_pixels": "halfPixelCenters"},
    ),
    "ADD": ("AddOptions", _ACTIVATION),
    "SUB": ("SubOptions", _ACTIVATION),
    "MUL": ("MulOptions", _ACTIVATION),
    "SOFTMAX": ("SoftmaxOptions", {"beta": "beta"}),
    "CONCATENATION": ("ConcatenationOptions", {**_ACTIVATION, "axis": "axis"}),
    "SPLIT": ("SplitOptions", {"n": "numSplits"}),
    "SPLIT_V": ("SplitVOptions", {"n": "numSplits"}),
    "STRIDED_SLICE": (
        "StridedSliceOptions",
        {
            "begin_mask": "beginMask",
            "end_mask": "endMask",
            "ellipsis_mask": "ellipsisMask",
            "new_axis_mask": "newAxisMask",
            "shrink_mask": "shrinkAxisMask",
            "offset": "offset",
        },
    ),
    "SHAPE": ("ShapeOptions", {"type": "outType"}),
    "PACK": ("PackOptions", {"n": "valuesCount", "axis": "axis"}),
    "UNPACK": ("UnpackOptions", {"n": "num", "axis": "axis"}),
    "BATCH_MATMUL": ("BatchMatMulOptions", {"adjoint_a": "adjX", "adjoint_b": "adjY"}),
    "SVDF": ("SVDFOptions", {"rank": "rank"}),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (
        "UnidirectionalSequenceLSTMOptions",
        {"cell_activation": "fusedActivationFunction", "cell_clip": "cellClip", "time_major": "timeMajor"},
    ),
}
_MAY_LACK_OPTIONS = ("ADD", "SUB", "MUL", "MEAN", "SUM", "REDUCE_MAX", "FULLY_CONNECTED", "STRIDED_SLICE", "SHAPE")
_PLAIN = {
    "PAD",
    "PADV2",
    "RELU",
    "RELU6",
    "LOGISTIC",
    "TANH",
    "HARD_SWISH",
    "ELU",
    "PRELU",
    "MINIMUM",
    "MAXIMUM",
    "RESHAPE",
    "SQUEEZE",
    "EXPAND_DIMS",
    "TRANSPOSE",
    "QUANTIZE",
    "DEQUANTIZE",
}
_REFUSED = ((("WHILE", "IF"), "it runs another subgraph: unroll the loop (unroll=True in Keras), or use TFLM"),)
SUPPORTED = frozenset(_OPTIONS) | _PLAIN | frozenset(VARIABLE_OPERATORS)
_ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6")
_PADDINGS = {"SAME": 0, "VALID": 1}


def read_network(data: bytes, name: str = "model") -> Graph:
    """Return the graph of a ``.tflite``'s bytes, with the compiler's attributes.

    Raises
    ------
    CheepError
        Damaged file, or an operator, type or quantization that is not supported.
    """
    graph = read_graph(data, name)
    if len(graph.tensors) > MAX_TENSORS or len(graph.nodes) > MAX_OPERATORS:
        raise CheepError(f"{name}: more than {MAX_TENSORS} tensors or {MAX_OPERATORS} operators; use a smaller model")
    for tensor in [*graph.tensors, *(t for g in graph.called.values() for t in g.tensors)]:
        tensor.name = _printable(tensor.name)
    for i, node in enumerate(graph.nodes):  # an operator that is not supported explains the odd tensors that it brings
        _check_supported(node, i, name)
    find_states(graph, name)
    wide = {id(t) for n in graph.nodes if n.op in _OF_STATES for t in (*n.inputs, *n.outputs)}
    used = [*graph.sources, *graph.results, *(t for n in graph.nodes for t in (*n.inputs, *n.outputs))]
    for tensor in {id(t): t for t in used}.values():  # what nobody uses may be anything, as in TFLM
        _take_tensor(tensor, f"{name}: tensor {tensor.index} '{tensor.name}'", id(tensor) in wide)
    for i, node in enumerate(graph.nodes):
        _take_node(node, i, name)
    _check_order(graph, name)
    _fold_shapes(graph)
    return graph


def _fold_shapes(graph: Graph) -> None:
    """Compute what is made of shapes: a Keras Flatten with an open batch makes its own from its input's."""
    kept = []
    for node in graph.nodes:
        value = _of_shapes(node)
        if value is None or value.size != node.output.size:
            kept.append(node)
        else:
            node.output.data = value.reshape(node.output.shape).astype(np.int32)
    graph.nodes = kept


def _of_shapes(node: Node) -> np.ndarray | None:
    if node.absent:
        return None
    if node.op == "SHAPE" and node.inputs:
        return np.array(node.inputs[0].shape, np.int32)
    values = [t.data for t in node.inputs if t.data is not None and t.dtype == "int32"]
    if not values or len(values) < len(node.inputs) or node.output.dtype != "int32":
        return None
    if node.op == "PACK":
        return np.concatenate([v.reshape(-1) for v in values])
    if node.op != "STRIDED_SLICE" or len(values) != 4 or any(v.size != 1 for v in values[1:]) or values[0].ndim != 1:
        return None
    a, (begin, end, step) = node.attributes, (int(v.reshape(-1)[0]) for v in values[1:])
    if step == 0 or a["ellipsis_mask"] or a["new_axis_mask"] or a["offset"]:
        return None
    if a["shrink_mask"]:
        return values[0][begin : begin + 1] if begin != -1 else values[0][-1:]
    return values[0][None if a["begin_mask"] else begin : None if a["end_mask"] else end : step]


def _printable(text: str) -> str:
    """Return a name that may stand in a C comment."""
    return "".join(c if c.isascii() and c.isprintable() and c not in "*/\\\"'?" else "_" for c in text)[:80]


def _take_tensor(tensor: Tensor, where: str, wide: bool) -> None:
    if tensor.dtype not in _DTYPES and not (wide and tensor.dtype == "int16"):
        raise CheepError(
            f"{where} is {tensor.dtype}: the compiler takes int8 networks (int32 biases, float32 at the edges); "
            "convert with -q int8 or use TFLM"
        )
    if len(tensor.shape) > _MAX_DIMENSIONS or any(n < 1 for n in tensor.shape):
        raise CheepError(
            f"{where} has shape {list(tensor.shape)}: 1 to {_MAX_DIMENSIONS} positive dimensions are needed"
        )
    if tensor.size * 4 > MAX_TENSOR_BYTES:
        raise CheepError(f"{where} has shape {list(tensor.shape)}: larger than {MAX_TENSOR_BYTES} bytes")
    if tensor.is_sparse:
        raise CheepError(f"{where} is sparse: not supported; use TFLM")
    scales, zeros = tensor.scales, tensor.zero_points
    if len(scales) > max(tensor.shape, default=1):
        raise CheepError(f"{where} has {len(scales)} scales for shape {list(tensor.shape)}; the file is damaged")
    if tensor.dtype == "uint8" and (len(scales) != 1 or len(zeros) != 1 or not 0 <= zeros[0] <= 255):
        raise CheepError(f"{where} is uint8 without one scale and a zero point of 0 to 255; convert the model again")
    if tensor.dtype in ("int8", "uint8", "int16") and len(scales):
        if len(zeros) != len(scales):
            raise CheepError(f"{where} has {len(scales)} scales and {len(zeros)} zero points; convert the model again")
        if not (scales.min() >= 1e-18 and scales.max() <= 1e18):
            raise CheepError(f"{where} has a scale outside 1e-18 to 1e18; convert the model again")
        if tensor.dtype == "int8" and (zeros.min() < -128 or zeros.max() > 127):
            raise CheepError(f"{where} has zero point {int(zeros[0])} outside int8; convert the model again")
    if len(zeros) != len(scales):
        tensor.zero_points = np.zeros(len(scales), np.int64)


def _check_supported(node: Node, index: int, name: str) -> None:
    if node.op in SUPPORTED:
        return
    where = node.output.label if node.outputs else next((t.label for t in node.inputs), f"operator {index}")
    reason = next((why for names, why in _REFUSED if node.op in names), "run the model with TFLM or replace the layer")
    raise CheepError(f"{name}: operator {_printable(node.op)} ({where}) is not supported by the compiler; {reason}")


def _take_node(node: Node, index: int, name: str) -> None:
    if not node.outputs:
        raise CheepError(f"{name}: operator {index} ({node.op}) has no output; the file is damaged")
    node.attributes = _attributes(node, name)


def _attributes(node: Node, name: str) -> dict[str, Any]:
    if node.op not in _OPTIONS:
        return {}
    kind, fields = _OPTIONS[node.op]
    if not node.options:
        if node.op in _MAY_LACK_OPTIONS:
            return {**dict.fromkeys(fields, 0), **({"activation": "NONE"} if "activation" in fields else {})}
        raise CheepError(f"{name}: {node.op} has no options; the file is damaged")
    if node.options != kind:
        raise CheepError(f"{name}: {node.op} carries options of another operator; the file is damaged")
    values = {field: node.attributes[key] for field, key in fields.items()}
    if values.get("activation", "NONE") not in _ACTIVATIONS:
        raise CheepError(f"{name}: {node.op} has fused activation {values['activation']}: not supported; use TFLM")
    if "padding" in values:
        values["padding"] = _PADDINGS.get(values["padding"], values["padding"])
    return values


def _check_order(graph: Graph, name: str) -> None:
    """Refuse what is read before it is computed, written twice, or never."""
    known = {t.index for t in graph.sources}
    for node in graph.nodes:
        for tensor in node.inputs:
            if tensor.data is None and tensor.index not in known:
                raise CheepError(f"{name}: {node.op} reads {tensor.label} before it is computed; the file is damaged")
        for tensor in node.outputs:
            if tensor.data is not None or tensor.index in known:
                raise CheepError(f"{name}: {node.op} writes {tensor.label} twice; the file is damaged")
            known.add(tensor.index)
    for tensor in graph.inputs:
        if tensor.data is not None:
            raise CheepError(f"{name}: input {tensor.label} is a constant; the file is damaged")
    for tensor in graph.results:
        if tensor.data is None and tensor.index not in known:
            raise CheepError(f"{name}: output {tensor.label} is never computed; the file is damaged")
    if not graph.inputs or not graph.outputs or len(set(map(id, graph.inputs))) != len(graph.inputs):
        raise CheepError(f"{name}: it needs at least one input and one output, each once; the file is damaged")
