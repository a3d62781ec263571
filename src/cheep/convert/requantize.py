# SPDX-License-Identifier: MIT
"""Another scale for an input of an int8 ``.tflite``: that of the output which is fed back, or of the network before."""

from __future__ import annotations

from typing import Any

import numpy as np

from cheep.errors import CheepError
from cheep.tflite.flatbuffer import pack, schema, unpack

_SAME = ("RESHAPE", "STRIDED_SLICE", "SPLIT", "SPLIT_V", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS")
_ANY = ("ADD", "SUB", "MUL", "LOGISTIC", "TANH", "QUANTIZE", "BATCH_MATMUL")
_WITH_BIAS = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D")


def set_input_scale(data: bytes, index: int, scale: float, zero_point: int) -> bytes:
    """Return the model with input ``index`` (int8) in another scale and zero point.

    Kernels take an input's scale as it is; only biases, which are in units of input times weights, are written again.

    Raises
    ------
    CheepError
        The input goes into an operator that would need its output's scale changed too.
    """
    model = unpack(data)
    graph = model.subgraphs[0]
    todo = [(int(graph.inputs[index]), np.float32(scale))]
    names = {v: k for k, v in vars(schema().BuiltinOperator).items() if isinstance(v, int)}
    outputs = {int(i) for i in graph.outputs}
    while todo:
        place, wanted = todo.pop()
        tensor = graph.tensors[place]
        before = np.float32(tensor.quantization.scale[0])
        tensor.quantization.scale, tensor.quantization.zeroPoint = [float(wanted)], [zero_point]
        for operator in graph.operators:
            places = [int(i) for i in operator.inputs]
            if place not in places:
                continue
            code = model.operatorCodes[operator.opcodeIndex]
            name = names.get(max(code.builtinCode, code.deprecatedBuiltinCode), "?")
            if name in _WITH_BIAS and places[1:].count(place) == 0:
                _rescale_bias(model, operator, wanted, before)
            elif name in _SAME and not outputs & {int(i) for i in operator.outputs}:
                todo += [(int(i), wanted) for i in operator.outputs]
            elif name not in _ANY:
                raise CheepError(
                    f"input {index} goes into {name}, whose output would need another scale too; give the state an "
                    "operator of its own (Gemm, Add, Mul) in the network"
                )
    return pack(model)


def _rescale_bias(model: Any, operator: Any, wanted: np.float32, before: np.float32) -> None:
    graph = model.subgraphs[0]
    if len(operator.inputs) < 3 or int(operator.inputs[2]) < 0:
        return
    tensor = graph.tensors[int(operator.inputs[2])]
    old = np.frombuffer(bytes(np.array(model.buffers[tensor.buffer].data, np.uint8)), np.int32)
    weights = np.array(graph.tensors[int(operator.inputs[1])].quantization.scale, np.float32)
    values = np.rint(old.astype(np.float64) * float(before) / float(wanted))
    if np.abs(values).max(initial=0) >= 2**31:
        raise CheepError("a bias does not fit 32 bits in the state's scale; the network's weights are extreme")
    buffer = schema().BufferT()  # of its own: others may read the old one
    buffer.data = np.frombuffer(values.astype(np.int32).tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor.buffer = len(model.buffers) - 1
    tensor.quantization.scale = [float(s) for s in weights * wanted]
