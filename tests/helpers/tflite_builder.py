# SPDX-License-Identifier: MIT
"""Single-operator int8 .tflite files made with the flatbuffer schema (no TensorFlow)."""

from __future__ import annotations

import dataclasses

import flatbuffers
import numpy as np
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

_TYPES = {
    "int8": schema.TensorType.INT8,
    "int16": schema.TensorType.INT16,
    "resource": schema.TensorType.RESOURCE,
    "uint8": schema.TensorType.UINT8,
    "int32": schema.TensorType.INT32,
    "float32": schema.TensorType.FLOAT32,
}


@dataclasses.dataclass
class T:
    """A tensor: shape, scales and zero points (lists for per-channel), constant data."""

    shape: tuple[int, ...]
    scale: float | list[float] | None = None
    zero: int | list[int] = 0
    data: np.ndarray | None = None
    dtype: str = "int8"
    axis: int = 0
    variable: bool = False


class Builder:
    """Collects tensors and operators; ``build`` returns the bytes of the file."""

    def __init__(self):
        self._model = schema.ModelT()
        self._model.version = 3
        self._model.operatorCodes, self._model.buffers = [], [schema.BufferT()]
        self._graph = schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        self._graph.name = "main"
        self._model.subgraphs = [self._graph]

    def tensor(self, t: T) -> int:
        """Add a tensor; return its index."""
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.isVariable = list(t.shape), _TYPES[t.dtype], t.variable
        tensor.name = f"t{len(self._graph.tensors)}"
        tensor.buffer = 0
        if t.data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(t.data, t.dtype).tobytes(), np.uint8)
            self._model.buffers.append(buffer)
            tensor.buffer = len(self._model.buffers) - 1
        if t.scale is not None:
            q = schema.QuantizationParametersT()
            q.scale = list(np.atleast_1d(np.asarray(t.scale, np.float32)))
            zeros = [t.zero] * len(q.scale) if isinstance(t.zero, int) else t.zero
            q.zeroPoint, q.quantizedDimension = zeros, t.axis
            tensor.quantization = q
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def op(self, name: str, inputs: list[int], outputs: list[int], options: str | None = None, **values) -> None:
        """Add an operator; ``options`` names the schema's options table."""
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = 1
        self._model.operatorCodes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self._model.operatorCodes) - 1
        operator.inputs, operator.outputs = inputs, outputs
        if options:
            table = getattr(schema, options + "T")()
            for key, value in values.items():
                assert hasattr(table, key), key
                setattr(table, key, value)
            operator.builtinOptions = table
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
        self._graph.operators.append(operator)

    def subgraph(self) -> None:
        """Add a subgraph without inputs and outputs; tensors and operators go there until ``main``."""
        self._graph = schema.SubGraphT()
        self._graph.tensors, self._graph.operators, self._graph.inputs, self._graph.outputs = [], [], [], []
        self._model.subgraphs.append(self._graph)

    def main(self) -> None:
        """Go back to the main subgraph."""
        self._graph = self._model.subgraphs[0]

    def build(self, inputs: list[int], outputs: list[int]) -> bytes:
        """Return the file."""
        self._graph.inputs, self._graph.outputs = inputs, outputs
        builder = flatbuffers.Builder(4096)
        builder.Finish(self._model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


def constant(values, scale=None, zero=0, dtype: str = "int8", axis: int = 0) -> T:
    """A constant tensor with its values' shape."""
    array = np.asarray(values, dtype)
    return T(array.shape, scale, zero, array, dtype, axis)


def same_size(size: int, kernel: int, stride: int, dilation: int, padding: str) -> int:
    """Output size of a window operator."""
    reach = (kernel - 1) * dilation + 1
    return -(-size // stride) if padding == "SAME" else -(-(size - reach + 1) // stride)
