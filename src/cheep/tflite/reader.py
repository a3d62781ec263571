# SPDX-License-Identifier: MIT
"""A ``.tflite`` -> :class:`Graph`. Nothing in the file is trusted: every vector is bounded by the file's size before
it is walked, every index is checked, constants must have the size of their shape.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from cheep.errors import CheepError
from cheep.tflite.flatbuffer import dtype_of, is_outside, names_of, operator_name, read_bytes, schema, text
from cheep.tflite.graph import ITEM_BYTES, Graph, Node, Tensor

MAX_TENSORS = 100_000
MAX_ELEMENTS = 1_000_000_000
_NAMED_OPTIONS = {"padding": "Padding", "fusedActivationFunction": "ActivationFunctionType"}


def read_graph(source: str | os.PathLike | bytes, name: str | None = None) -> Graph:
    """Return the graph of a ``.tflite``, of any type and operator.

    Parameters
    ----------
    name : str, optional
        How messages name the model; default: its path.

    Raises
    ------
    CheepError
        Not a ``.tflite``, truncated, or with contents that contradict each other (named).
    """
    name, data = read_bytes(source, name)
    try:
        return _Reader(data, name).graph()
    except CheepError:
        raise
    except Exception as error:  # damaged offsets surface as many kinds of exceptions
        kind = type(error).__name__
        raise CheepError(f"{name}: damaged .tflite file ({kind}: {error}); convert the model again") from None


class _Reader:
    def __init__(self, data: bytes, name: str):
        self.data, self.name = data, name
        self.model = schema().Model.GetRootAs(data, 0)
        self.tensors: list[Tensor] = []

    def graph(self) -> Graph:
        subgraphs, buffers = (self.model.SubgraphsLength(), self.model.BuffersLength())
        self.bounded(subgraphs)
        self.bounded(buffers)
        graph = self.subgraph(0, subgraphs)
        for node in graph.nodes:
            if node.op == "CALL_ONCE":
                index = int(node.attributes.get("initSubgraphIndex", 0))
                if not 0 < index < subgraphs:
                    raise CheepError(f"{self.name}: CALL_ONCE names subgraph {index} of {subgraphs}")
                if index not in graph.called:
                    graph.called[index] = self.subgraph(index, subgraphs)
        return graph

    def subgraph(self, index: int, subgraphs: int) -> Graph:
        raw = self.model.Subgraphs(index)
        tensors, operators = raw.TensorsLength(), raw.OperatorsLength()
        if not 0 < tensors <= MAX_TENSORS or operators > MAX_TENSORS:
            raise CheepError(f"{self.name}: claims {tensors} tensors and {operators} operators; the file is damaged")
        self.tensors = [self.tensor(raw.Tensors(i), i) for i in range(self.bounded(tensors))]
        codes = [
            operator_name(self.model.OperatorCodes(i)) for i in range(self.bounded(self.model.OperatorCodesLength()))
        ]
        nodes = [self.node(raw.Operators(i), i, codes) for i in range(self.bounded(operators))]
        what = "an input or output"
        inputs = [self.pick(k, what) for k in self.vector(raw.InputsLength(), raw.InputsAsNumpy)]
        outputs = [self.pick(k, what) for k in self.vector(raw.OutputsLength(), raw.OutputsAsNumpy)]
        return Graph(inputs, outputs, nodes, self.tensors, subgraphs, self.data)

    def bounded(self, length: int) -> int:
        """Return the length of a vector whose elements take at least four bytes each."""
        if not 0 <= length <= len(self.data) // 4:
            raise ValueError(f"a vector of {length} elements in a file of {len(self.data)} bytes")
        return length

    def vector(self, length: int, as_numpy: Callable[[], np.ndarray]) -> list[int]:
        return [int(n) for n in as_numpy()] if self.bounded(length) else []

    def pick(self, index: int, what: str) -> Tensor:
        if not 0 <= index < len(self.tensors):
            raise CheepError(
                f"{self.name}: {what} refers to tensor {index} of {len(self.tensors)}; the file is damaged"
            )
        return self.tensors[index]

    def tensor(self, raw: Any, index: int) -> Tensor:
        label, where = text(raw.Name()), f"{self.name}: tensor {index} ({text(raw.Name())[:60]})"
        shape = tuple(self.vector(raw.ShapeLength(), raw.ShapeAsNumpy))
        if any(extent < 0 for extent in shape) or float(np.prod(shape, dtype=np.float64)) > MAX_ELEMENTS:
            raise CheepError(f"{where} has the impossible shape {shape}")
        scales, zeros, axis = np.zeros(0, np.float32), np.zeros(0, np.int64), 0
        quantization = raw.Quantization()
        if quantization is not None:
            if self.bounded(quantization.ScaleLength()):
                scales = np.array(quantization.ScaleAsNumpy(), np.float32)
            if self.bounded(quantization.ZeroPointLength()):
                zeros = np.array(quantization.ZeroPointAsNumpy(), np.int64)
            axis = int(quantization.QuantizedDimension())
        sparse, variable = raw.Sparsity() is not None, bool(raw.IsVariable())
        tensor = Tensor(index, label, shape, dtype_of(raw), scales, zeros, axis, is_sparse=sparse, is_variable=variable)
        tensor.data = self.constant(raw.Buffer(), tensor, where)
        return tensor

    def constant(self, number: int, tensor: Tensor, where: str) -> np.ndarray | None:
        if not 0 <= number < self.model.BuffersLength():
            raise CheepError(f"{where} refers to buffer {number} of {self.model.BuffersLength()}; the file is damaged")
        buffer = self.model.Buffers(number)
        if number == 0 or buffer is None:
            return None
        if is_outside(buffer):
            start, end = buffer.Offset(), buffer.Offset() + buffer.Size()
            if end > len(self.data):
                raise CheepError(
                    f"{where}: buffer {number} lies at {start} to {end} in a file of {len(self.data)} bytes"
                )
            return self.values(self.data[start:end], tensor, where)
        if buffer.DataLength() == 0:
            return None
        if buffer.DataLength() > len(self.data):
            raise CheepError(
                f"{where}: buffer {number} claims {buffer.DataLength()} bytes in a file of {len(self.data)}"
            )
        return self.values(np.asarray(buffer.DataAsNumpy()).tobytes(), tensor, where)

    def values(self, raw: bytes, tensor: Tensor, where: str) -> np.ndarray:
        if tensor.dtype not in ITEM_BYTES:
            return np.frombuffer(raw, np.uint8)
        if len(raw) != tensor.n_bytes:
            raise CheepError(
                f"{where} has {len(raw)} bytes, its shape {tensor.shape} needs {tensor.n_bytes}; the file is damaged"
            )
        return np.frombuffer(raw, np.dtype(tensor.dtype).newbyteorder("<")).reshape(tensor.shape)

    def node(self, raw: Any, index: int, codes: list[str]) -> Node:
        if raw.OpcodeIndex() >= len(codes):
            raise CheepError(f"{self.name}: operator {index} has no code {raw.OpcodeIndex()}; the file is damaged")
        op = codes[raw.OpcodeIndex()]
        what = f"operator {index} ({op})"
        places = self.vector(raw.InputsLength(), raw.InputsAsNumpy)
        inputs = [self.pick(k, what) for k in places if k != -1]
        absent = tuple(i for i, k in enumerate(places) if k == -1)
        outputs = [self.pick(k, what) for k in self.vector(raw.OutputsLength(), raw.OutputsAsNumpy)]
        options, attributes = _options(raw)
        return Node(op, inputs, outputs, attributes, options, absent)


def _options(raw: Any) -> tuple[str, dict[str, Any]]:
    """Return the name of an operator's table of options and its values; paddings and activations by name."""
    kind = names_of("BuiltinOptions").get(raw.BuiltinOptionsType(), "NONE")
    table = raw.BuiltinOptions()
    if kind == "NONE" or table is None:
        return "", {}
    reader = getattr(schema(), kind)()
    reader.Init(table.Bytes, table.Pos)
    values = {}
    for key, value in vars(getattr(schema(), kind + "T").InitFromObj(reader)).items():
        if key in _NAMED_OPTIONS:
            value = names_of(_NAMED_OPTIONS[key]).get(value, value)
        elif isinstance(value, np.ndarray):
            value = value.tolist()
        if value is not None:
            values[key] = value
    return kind, values
