"""The parts of a ``.tflite`` as plain Python: tensors, operators with parameters, MACs. Hostile files give an error."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from cheep.errors import CheepError
from cheep.tflite.model import read_model

ITEM_BYTES = {
    "float32": 4,
    "float16": 2,
    "int32": 4,
    "uint8": 1,
    "int64": 8,
    "bool": 1,
    "int16": 2,
    "int8": 1,
    "float64": 8,
    "uint64": 8,
    "uint32": 4,
    "uint16": 2,
}
MAX_TENSORS = 100_000


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor; ``constant`` holds its bytes, or None for an activation. ``scales`` has one value per channel."""

    index: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    channel_axis: int
    constant: bytes | None

    @property
    def elements(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape, dtype=np.int64)) if self.shape else 1

    @property
    def bytes(self) -> int:
        """Size in memory (int4 packs two to a byte)."""
        return -(-self.elements // 2) if self.dtype == "int4" else self.elements * ITEM_BYTES.get(self.dtype, 1)

    @property
    def per_channel(self) -> bool:
        """Whether weights have a scale per channel."""
        return len(self.scales) > 1


@dataclasses.dataclass(frozen=True)
class Operator:
    """One operator: tensors by index (-1: absent), its options by name, multiply-accumulates."""

    index: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any]
    macs: int


@dataclasses.dataclass(frozen=True)
class Graph:
    """The first (and for a device only) subgraph of a model."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraphs: int
    data: bytes

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(operator.macs for operator in self.operators)


def read_graph(source: Path | str | bytes) -> Graph:
    """Read a model.

    Raises
    ------
    CheepError
        Not a ``.tflite``, truncated, or with contents that contradict each other (named).
    """
    name = "model" if isinstance(source, bytes) else str(source)
    info = read_model(source)
    try:
        return _read(info.data, name)
    except CheepError:
        raise
    except Exception as error:  # the flatbuffer library raises many kinds on damaged bytes
        raise CheepError(f"{name}: damaged .tflite file ({type(error).__name__}: {error})") from None


def _read(data: bytes, name: str) -> Graph:
    from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

    model = schema.Model.GetRootAs(data, 0)
    graph = model.Subgraphs(0)
    types, names = _enum(schema.TensorType), _enum(schema.BuiltinOperator)
    n = graph.TensorsLength()
    if not 0 < n <= MAX_TENSORS or graph.OperatorsLength() > MAX_TENSORS:
        raise CheepError(f"{name}: claims {n} tensors and {graph.OperatorsLength()} operators; the file is damaged")
    tensors = tuple(_tensor(model, graph.Tensors(i), i, types, name, len(data)) for i in range(n))
    operators = []
    for i in range(graph.OperatorsLength()):
        raw = graph.Operators(i)
        code = model.OperatorCodes(raw.OpcodeIndex())
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        kind = names.get(number, f"OPERATOR_{number}")
        if kind == "CUSTOM":
            kind = f"CUSTOM:{(code.CustomCode() or b'?').decode('utf-8', 'replace')}"
        inputs = tuple(int(raw.Inputs(k)) for k in range(raw.InputsLength()))
        outputs = tuple(int(raw.Outputs(k)) for k in range(raw.OutputsLength()))
        if any(not -1 <= k < n for k in inputs) or any(not 0 <= k < n for k in outputs):
            raise CheepError(f"{name}: operator {i} ({kind}) names a tensor that does not exist; the file is damaged")
        options = _options(schema, raw)
        operators.append(Operator(i, kind, inputs, outputs, options, _macs(kind, inputs, outputs, tensors, options)))
    ends = tuple(int(k) for k in graph.InputsAsNumpy()), tuple(int(k) for k in graph.OutputsAsNumpy())
    if any(not 0 <= k < n for k in (*ends[0], *ends[1])):
        raise CheepError(f"{name}: an input or output names a tensor that does not exist; the file is damaged")
    return Graph(tensors, tuple(operators), *ends, model.SubgraphsLength(), data)


def _tensor(model: Any, raw: Any, index: int, types: dict[int, str], name: str, size: int) -> Tensor:
    label = (raw.Name() or b"").decode("utf-8", "replace")
    shape = tuple(int(raw.Shape(k)) for k in range(raw.ShapeLength()))
    if any(extent < 0 for extent in shape) or float(np.prod(shape, dtype=np.float64)) > 1e9:
        raise CheepError(f"{name}: tensor {index} ({label[:60]}) has the impossible shape {shape}")
    if not 0 <= raw.Buffer() < model.BuffersLength():
        raise CheepError(f"{name}: tensor {index} ({label[:60]}) names buffer {raw.Buffer()}, which does not exist")
    buffer = model.Buffers(raw.Buffer())
    length = buffer.DataLength()
    if length > size:
        raise CheepError(f"{name}: buffer {raw.Buffer()} claims {length} bytes in a file of {size}")
    constant = bytes(buffer.DataAsNumpy()) if length else None
    quantization = raw.Quantization()
    scales: tuple[float, ...] = ()
    zeros: tuple[int, ...] = ()
    axis = 0
    if quantization is not None:
        if max(quantization.ScaleLength(), quantization.ZeroPointLength()) > size:
            raise CheepError(f"{name}: tensor {index} ({label[:60]}) claims impossibly many scales")
        scales = tuple(float(quantization.Scale(k)) for k in range(quantization.ScaleLength()))
        zeros = tuple(int(quantization.ZeroPoint(k)) for k in range(quantization.ZeroPointLength()))
        axis = int(quantization.QuantizedDimension())
    tensor = Tensor(
        index, label, types.get(raw.Type(), f"type {raw.Type()}").lower(), shape, scales, zeros, axis, constant
    )
    if constant is not None and tensor.dtype in ITEM_BYTES and len(constant) != tensor.bytes:
        raise CheepError(
            f"{name}: tensor {index} ({label[:60]}) has {len(constant)} bytes, its shape {shape} needs "
            f"{tensor.bytes}; the file is damaged"
        )
    return tensor


def _enum(enum: Any) -> dict[int, str]:
    return {value: key for key, value in vars(enum).items() if isinstance(value, int)}


def _options(schema: Any, raw: Any) -> dict[str, Any]:
    kind = _enum(schema.BuiltinOptions).get(raw.BuiltinOptionsType(), "NONE")
    table = raw.BuiltinOptions()
    if kind == "NONE" or table is None:
        return {}
    reader = getattr(schema, kind)()
    reader.Init(table.Bytes, table.Pos)
    unpacked = getattr(schema, kind + "T").InitFromObj(reader)
    found = {}
    for key, value in vars(unpacked).items():
        if isinstance(value, np.ndarray):
            value = value.tolist()
        if key == "padding":
            value = _enum(schema.Padding).get(value, value)
        elif key == "fusedActivationFunction":
            value = _enum(schema.ActivationFunctionType).get(value, value)
        if value is not None:
            found[key] = value
    return found


def _macs(
    kind: str, inputs: tuple[int, ...], outputs: tuple[int, ...], tensors: tuple[Tensor, ...], options: dict[str, Any]
) -> int:
    if kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED") and len(inputs) > 1:
        weights, out = tensors[inputs[1]], tensors[outputs[0]]
        if kind == "FULLY_CONNECTED":
            return out.elements * (weights.shape[-1] if weights.shape else 1)
        if len(weights.shape) != 4:
            return 0
        window = weights.shape[1] * weights.shape[2]
        return out.elements * window * (weights.shape[3] if kind == "CONV_2D" else 1)
    if kind == "BATCH_MATMUL" and len(inputs) > 1:
        return tensors[outputs[0]].elements * (tensors[inputs[0]].shape[-1] if tensors[inputs[0]].shape else 1)
    if kind == "TRANSPOSE_CONV" and len(inputs) > 2:
        weights = tensors[inputs[1]]
        return tensors[inputs[2]].elements * int(np.prod(weights.shape[:3]))
    if kind == "UNIDIRECTIONAL_SEQUENCE_LSTM" and len(inputs) > 5:
        steps = max(1, int(np.prod(tensors[inputs[0]].shape[:2])))
        return steps * sum(tensors[k].elements for k in inputs[1:9] if k >= 0)
    return 0
