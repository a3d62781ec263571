"""A ``.tflite`` flatbuffer -> :class:`Graph`. Nothing in the file is trusted.

Every vector is bounded by the file's size before it is walked, every index is checked, and what the
compiler relies on later (types, shapes, quantization, constant operands) is verified here or in
``checks.py``; anything else is a :class:`CheepError`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cheep.errors import CheepError
from cheep.tflite.graph import Graph, Node, Tensor

MAX_TENSOR_BYTES = 1 << 24
MAX_TENSORS, MAX_OPERATORS = 16384, 4096
_MAX_DIMENSIONS = 6
_DTYPES = {"FLOAT32": "float32", "INT8": "int8", "INT32": "int32"}
_NUMPY = {"float32": "<f4", "int8": "<i1", "int32": "<i4"}

# Builtin options: attribute name -> accessor of the options table.
_POOL = {
    "padding": "Padding",
    "stride_h": "StrideH",
    "stride_w": "StrideW",
    "filter_h": "FilterHeight",
    "filter_w": "FilterWidth",
    "activation": "FusedActivationFunction",
}
_CONV = {
    "padding": "Padding",
    "stride_h": "StrideH",
    "stride_w": "StrideW",
    "dilation_h": "DilationHFactor",
    "dilation_w": "DilationWFactor",
    "activation": "FusedActivationFunction",
}
_OPTIONS: dict[str, tuple[str, dict[str, str]]] = {
    "CONV_2D": ("Conv2DOptions", _CONV),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", {**_CONV, "multiplier": "DepthMultiplier"}),
    "FULLY_CONNECTED": (
        "FullyConnectedOptions",
        {"activation": "FusedActivationFunction", "format": "WeightsFormat"},
    ),
    "MAX_POOL_2D": ("Pool2DOptions", _POOL),
    "AVERAGE_POOL_2D": ("Pool2DOptions", _POOL),
    "MEAN": ("ReducerOptions", {"keep_dims": "KeepDims"}),
    "SUM": ("ReducerOptions", {"keep_dims": "KeepDims"}),
    "ADD": ("AddOptions", {"activation": "FusedActivationFunction"}),
    "SUB": ("SubOptions", {"activation": "FusedActivationFunction"}),
    "MUL": ("MulOptions", {"activation": "FusedActivationFunction"}),
    "SOFTMAX": ("SoftmaxOptions", {"beta": "Beta"}),
    "CONCATENATION": ("ConcatenationOptions", {"axis": "Axis", "activation": "FusedActivationFunction"}),
    "SPLIT": ("SplitOptions", {"n": "NumSplits"}),
    "SPLIT_V": ("SplitVOptions", {"n": "NumSplits"}),
    "STRIDED_SLICE": (
        "StridedSliceOptions",
        {
            "begin_mask": "BeginMask",
            "end_mask": "EndMask",
            "ellipsis_mask": "EllipsisMask",
            "new_axis_mask": "NewAxisMask",
            "shrink_mask": "ShrinkAxisMask",
            "offset": "Offset",
        },
    ),
    "PACK": ("PackOptions", {"n": "ValuesCount", "axis": "Axis"}),
    "UNPACK": ("UnpackOptions", {"n": "Num", "axis": "Axis"}),
}
_PLAIN = {
    "PAD",
    "PADV2",
    "RELU",
    "RELU6",
    "LOGISTIC",
    "TANH",
    "HARD_SWISH",
    "MINIMUM",
    "MAXIMUM",
    "RESHAPE",
    "SQUEEZE",
    "EXPAND_DIMS",
    "TRANSPOSE",
    "QUANTIZE",
    "DEQUANTIZE",
}
SUPPORTED = frozenset(_OPTIONS) | _PLAIN
_ACTIVATIONS = {0: "NONE", 1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6"}


def read_graph(data: bytes, name: str = "model") -> Graph:
    """Return the graph of a ``.tflite`` file's bytes.

    Raises
    ------
    CheepError
        Damaged file, more than one subgraph, or an operator, type or quantization that is not supported.
    """
    if len(data) < 64 or data[4:8] != b"TFL3":
        raise CheepError(f"{name}: not a .tflite file (no 'TFL3' mark); give a TensorFlow Lite model")
    try:
        return _read(data, name)
    except CheepError:
        raise
    except Exception as error:  # damaged offsets surface as many kinds of exceptions
        kind = type(error).__name__
        raise CheepError(f"{name}: damaged .tflite file ({kind}: {error}); convert the model again") from None


def _read(data: bytes, name: str) -> Graph:
    from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

    model = schema.Model.GetRootAs(data, 0)
    limit = len(data) // 4
    if _bounded(model.SubgraphsLength(), limit) != 1:
        raise CheepError(
            f"{name}: it has {model.SubgraphsLength()} subgraphs; the compiler takes one (no WHILE, no IF): "
            "unroll the model or use TFLM"
        )
    subgraph = model.Subgraphs(0)
    _bounded(model.BuffersLength(), limit)
    if subgraph.TensorsLength() > MAX_TENSORS or subgraph.OperatorsLength() > MAX_OPERATORS:
        raise CheepError(f"{name}: more than {MAX_TENSORS} tensors or {MAX_OPERATORS} operators; use a smaller model")
    tensors = [
        _tensor(schema, model, subgraph.Tensors(i), i, name) for i in range(_bounded(subgraph.TensorsLength(), limit))
    ]
    codes = _operator_names(schema, model, limit)

    def pick(index: int) -> Tensor:
        if not 0 <= index < len(tensors):
            raise CheepError(f"{name}: an operator refers to tensor {index} of {len(tensors)}; the file is damaged")
        return tensors[index]

    nodes = []
    written: set[int] = set()
    inputs = [pick(int(i)) for i in _vector(subgraph.InputsLength(), subgraph.InputsAsNumpy, limit)]
    known = {t.index for t in inputs}
    for i in range(_bounded(subgraph.OperatorsLength(), limit)):
        operator = subgraph.Operators(i)
        code = operator.OpcodeIndex()
        if code >= len(codes):
            raise CheepError(f"{name}: operator {i} has no code {code}; the file is damaged")
        op = codes[code]
        ins = [
            None if j == -1 else pick(int(j)) for j in _vector(operator.InputsLength(), operator.InputsAsNumpy, limit)
        ]
        outs = [pick(int(j)) for j in _vector(operator.OutputsLength(), operator.OutputsAsNumpy, limit)]
        if op not in SUPPORTED:
            where = outs[0].label if outs else f"operator {i}"
            raise CheepError(
                f"{name}: operator {op} ({where}) is not supported by the compiler; "
                "run the model with TFLM or replace the layer"
            )
        if not outs:
            raise CheepError(f"{name}: operator {i} ({op}) has no output; the file is damaged")
        for tensor in ins:
            if tensor is not None and tensor.data is None and tensor.index not in known:
                raise CheepError(f"{name}: {op} reads {tensor.label} before it is computed; the file is damaged")
        for tensor in outs:
            if tensor.data is not None or tensor.index in written or tensor.index in known:
                raise CheepError(f"{name}: {op} writes {tensor.label} twice; the file is damaged")
            written.add(tensor.index)
            known.add(tensor.index)
        nodes.append(Node(op, ins, outs, _attributes(schema, operator, op, name)))
    outputs = [pick(int(i)) for i in _vector(subgraph.OutputsLength(), subgraph.OutputsAsNumpy, limit)]
    for tensor in inputs:
        if tensor.data is not None:
            raise CheepError(f"{name}: input {tensor.label} is a constant; the file is damaged")
    for tensor in outputs:
        if tensor.data is None and tensor.index not in known:
            raise CheepError(f"{name}: output {tensor.label} is never computed; the file is damaged")
    if not inputs or not outputs or len(set(map(id, inputs))) != len(inputs):
        raise CheepError(f"{name}: it needs at least one input and one output, each once; the file is damaged")
    return Graph(inputs, outputs, nodes)


def _bounded(length: int, limit: int) -> int:
    if not 0 <= length <= limit:
        raise ValueError(f"a vector of {length} elements in a file of {4 * limit} bytes")
    return length


def _vector(length: int, as_numpy, limit: int) -> np.ndarray:
    return as_numpy() if _bounded(length, limit) else np.zeros(0, np.int32)


def _names(enum) -> dict[int, str]:
    return {value: key for key, value in vars(enum).items() if isinstance(value, int)}


def _text(value) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else (value or "")
    return "".join(c if c.isascii() and c.isprintable() and c not in "*/\\\"'?" else "_" for c in text)[:80]


def _operator_names(schema, model, limit: int) -> list[str]:
    names = _names(schema.BuiltinOperator)
    out = []
    for i in range(_bounded(model.OperatorCodesLength(), limit)):
        code = model.OperatorCodes(i)
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        op = names.get(number, f"OPERATOR_{number}")
        out.append(f"CUSTOM:{_text(code.CustomCode())}" if op == "CUSTOM" else op)
    return out


def _tensor(schema, model, source, index: int, name: str) -> Tensor:
    label = _text(source.Name())
    kind = _names(schema.TensorType).get(source.Type(), f"type {source.Type()}")
    shape = tuple(int(n) for n in _vector(source.ShapeLength(), source.ShapeAsNumpy, 64))
    where = f"{name}: tensor {index} '{label}'"
    dtype = _DTYPES.get(kind)
    if dtype is None:
        raise CheepError(
            f"{where} is {kind.lower()}: the compiler takes int8 networks (int32 biases, float32 at the edges); "
            "convert with -q int8 or use TFLM"
        )
    if len(shape) > _MAX_DIMENSIONS or any(n < 1 for n in shape):
        raise CheepError(f"{where} has shape {list(shape)}: 1 to {_MAX_DIMENSIONS} positive dimensions are needed")
    if math.prod(shape) * 4 > MAX_TENSOR_BYTES:
        raise CheepError(f"{where} has shape {list(shape)}: larger than {MAX_TENSOR_BYTES} bytes")
    if source.Sparsity() is not None or source.IsVariable():
        raise CheepError(f"{where} is sparse or a variable: not supported; use TFLM")
    scales, zeros, axis = np.zeros(0, np.float32), np.zeros(0, np.int64), 0
    quantization = source.Quantization()
    if quantization is not None and quantization.ScaleLength():
        limit = max(shape, default=1)
        scales = np.array(_vector(quantization.ScaleLength(), quantization.ScaleAsNumpy, limit), np.float32)
        zeros = np.array(_vector(quantization.ZeroPointLength(), quantization.ZeroPointAsNumpy, limit), np.int64)
        if dtype == "int8" and len(zeros) != len(scales):
            raise CheepError(f"{where} has {len(scales)} scales and {len(zeros)} zero points; convert the model again")
        zeros = zeros if len(zeros) == len(scales) else np.zeros(len(scales), np.int64)
        axis = quantization.QuantizedDimension()
        if dtype == "int8" and not (scales.min() >= 1e-18 and scales.max() <= 1e18):
            raise CheepError(f"{where} has a scale outside 1e-18 to 1e18; convert the model again")
        if dtype == "int8" and (zeros.min() < -128 or zeros.max() > 127):
            raise CheepError(f"{where} has zero point {int(zeros[0])} outside int8; convert the model again")
    return Tensor(index, label, shape, dtype, scales, zeros, axis, _constant(model, source, shape, dtype, where))


def _constant(model, source, shape, dtype: str, where: str) -> np.ndarray | None:
    number = source.Buffer()
    if number >= model.BuffersLength():
        raise CheepError(f"{where} refers to buffer {number} of {model.BuffersLength()}; the file is damaged")
    buffer = model.Buffers(number)
    if buffer is None or number == 0 or buffer.DataLength() == 0:
        return None
    raw = np.asarray(buffer.DataAsNumpy())
    values = np.frombuffer(raw.tobytes(), _NUMPY[dtype])
    if values.size != math.prod(shape):
        raise CheepError(f"{where} has {values.size} constants for shape {list(shape)}; the file is damaged")
    return values.reshape(shape)


def _attributes(schema, operator, op: str, name: str) -> dict[str, Any]:
    if op not in _OPTIONS:
        return {}
    kind, fields = _OPTIONS[op]
    options = getattr(schema, kind)()
    table = operator.BuiltinOptions()
    if table is None:
        if op in ("ADD", "SUB", "MUL", "MEAN", "SUM", "FULLY_CONNECTED", "STRIDED_SLICE"):
            return {**dict.fromkeys(fields, 0), **({"activation": "NONE"} if "activation" in fields else {})}
        raise CheepError(f"{name}: {op} has no options; the file is damaged")
    if operator.BuiltinOptionsType() != getattr(schema.BuiltinOptions, kind):
        raise CheepError(f"{name}: {op} carries options of another operator; the file is damaged")
    options.Init(table.Bytes, table.Pos)
    values = {field: getattr(options, accessor)() for field, accessor in fields.items()}
    if "activation" in values:
        code = values["activation"]
        if code not in _ACTIVATIONS:
            raise CheepError(f"{name}: {op} has fused activation {code}: not supported; use TFLM")
        values["activation"] = _ACTIVATIONS[code]
    return values
