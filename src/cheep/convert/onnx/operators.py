# SPDX-License-Identifier: MIT
"""Which ONNX operators are known, and what to do about the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cheep.convert.onnx import arithmetic, layers, recurrent, shapes
from cheep.convert.onnx.value import Value

# From the Keras module, the arguments, the attributes and a name for the layer to the result (several: a list).
OPERATORS: dict[str, Callable[[Any, list, dict, str], Value | list[Value]]] = {
    "Add": arithmetic.add,
    "AveragePool": layers.average_pool,
    "BatchNormalization": layers.batch_normalization,
    "Cast": shapes.identity,
    "Clip": layers.clip,
    "Concat": shapes.concat,
    "Constant": shapes.constant,
    "Conv": layers.conv,
    "Div": arithmetic.divide,
    "Dropout": shapes.identity,
    "Elu": layers.elu,
    "Flatten": shapes.flatten,
    "Gather": shapes.gather,
    "Gemm": layers.gemm,
    "Expand": shapes.expand,
    "GRU": recurrent.gru,
    "GlobalAveragePool": layers.global_average_pool,
    "GlobalMaxPool": layers.global_max_pool,
    "HardSigmoid": layers.hard_sigmoid,
    "HardSwish": layers.hard_swish,
    "Identity": shapes.identity,
    "LSTM": recurrent.lstm,
    "LeakyRelu": layers.leaky_relu,
    "MatMul": layers.matmul,
    "MaxPool": layers.max_pool,
    "Mul": arithmetic.multiply,
    "Pad": shapes.pad,
    "ReduceMax": layers.reduce_max,
    "ReduceMean": layers.reduce_mean,
    "ReduceSum": layers.reduce_sum,
    "Relu": layers.relu,
    "Reshape": shapes.reshape,
    "Shape": shapes.shape,
    "Sigmoid": layers.sigmoid,
    "Slice": shapes.cut,
    "Softmax": layers.softmax,
    "Softplus": layers.softplus,
    "Split": shapes.split,
    "Squeeze": shapes.squeeze,
    "Sub": arithmetic.subtract,
    "Tanh": layers.tanh,
    "Transpose": shapes.transpose,
    "Unsqueeze": shapes.unsqueeze,
}

_ADVICE = {
    "RNN": "use GRU or LSTM",
    "Loop": "unroll it before the export (fixed number of steps)",
    "Scan": "unroll it before the export (fixed number of steps)",
    "If": "export the branch that the device needs",
    "Einsum": "write it as MatMul and Mul",
    "STFT": "leave the front end out: Cheep computes mel columns on the device",
    "InstanceNormalization": "use BatchNormalization, which is folded into the convolution",
    "LayerNormalization": "use BatchNormalization: layer norm has no integer kernel in TFLM",
    "ConvTranspose": "use UpSampling and Conv",
    "NonZero": "its output has no fixed size",
    "QuantizeLinear": "export the float model: Cheep quantizes it",
    "DequantizeLinear": "export the float model: Cheep quantizes it",
}


def advice(op: str) -> str:
    """Return what to do about an operator that is not supported."""
    return _ADVICE.get(op, "replace it in the network, or simplify the export (constant folding, opset 13 to 18)")
