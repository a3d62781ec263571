# SPDX-License-Identifier: MIT
"""An int8 network of others as one that the device runs: int8 ends, windows as (columns, bands), levels in dB.

A network on (bands, columns) is one on (columns, bands) whose kernels, strides, pools and paddings are transposed. The
unit of its input is written in scales alone: of the input, and of the first kernel, whose product stays. So every
integer that it computes stays what it was.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cheep.errors import CheepError
from cheep.tflite.flatbuffer import drop_unused, names_of, pack, unpack

_SAME = ("ADD", "SUB", "MUL", "RELU", "RELU6", "LEAKY_RELU", "LOGISTIC", "TANH", "HARD_SWISH", "QUANTIZE",
         "CONCATENATION", "PRELU")  # fmt: skip
_KERNELS = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1}  # operator: the input that is its kernel
_POOLS = ("MAX_POOL_2D", "AVERAGE_POOL_2D")
_PAIRS = (("strideW", "strideH"), ("dilationWFactor", "dilationHFactor"), ("filterWidth", "filterHeight"))
_INT8 = 9


def input_sizes(data: bytes) -> tuple[int, ...]:
    """Return the shape of one window that a model takes."""
    graph = unpack(data).subgraphs[0]
    return tuple(int(n) for n in graph.tensors[int(graph.inputs[0])].shape[1:])


def on_columns(data: bytes, bands_first: bool, unit_db: float = 1.0) -> bytes:
    """Return an int8 network with int8 ends, on (columns, bands) in dB.

    Parameters
    ----------
    data
        A ``.tflite`` of one input and one output whose inside is int8; ends in uint8 or float are taken off.
    bands_first
        It takes (bands, columns).
    unit_db
        What a unit of its input is in dB.

    Raises
    ------
    CheepError
        It is not int8 inside, or an operator's axes cannot be exchanged.
    """
    net = unpack(data)
    graph = net.subgraphs[0]
    if len(net.subgraphs) != 1 or len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise CheepError("must be one network of one input and one output")
    _int8_ends(net, graph)
    _Exchange(net, graph, bands_first, unit_db).run()
    drop_unused(net, graph)
    net.signatureDefs = []
    return pack(net)


def _kind(net: Any, op: Any) -> str:
    code = net.operatorCodes[op.opcodeIndex]
    return names_of("BuiltinOperator").get(max(code.builtinCode, code.deprecatedBuiltinCode), "?")


def _int8_ends(net: Any, graph: Any) -> None:
    """Take off the QUANTIZE and DEQUANTIZE operators at the ends."""
    for end, places in (("inputs", ("inputs", "outputs")), ("outputs", ("outputs", "inputs"))):
        outer = int(getattr(graph, end)[0])
        users = [op for op in graph.operators if outer in [int(i) for i in getattr(op, places[0])]]
        if (
            len(users) == 1
            and _kind(net, users[0]) in ("QUANTIZE", "DEQUANTIZE")
            and graph.tensors[outer].type != _INT8
        ):
            inner = int(getattr(users[0], places[1])[0])
            graph.operators.remove(users[0])
            setattr(graph, end, np.array([inner], np.int32))
        tensor = graph.tensors[int(getattr(graph, end)[0])]
        if tensor.type != _INT8 or tensor.quantization is None or tensor.quantization.scale is None:
            kind = names_of("TensorType").get(tensor.type, "?").lower()
            raise CheepError(f"its {end[:-1]} is {kind}: must be an int8 network (quantize the float model: cheep run)")


class _Exchange:
    """Goes through the operators in order and notes which tensors are transposed against what they were."""

    def __init__(self, net: Any, graph: Any, bands_first: bool, unit_db: float):
        self.net, self.graph = net, graph
        start = int(graph.inputs[0])
        self.flipped = {start} if bands_first else set()
        self.order: dict[int, np.ndarray] = {}
        self.scaled = {start} if unit_db != 1.0 else set()
        self.unit_db = unit_db
        self.done: set[int] = set()

    def run(self) -> None:
        """Exchange the axes and put the unit into the first kernel."""
        for op in list(self.graph.operators):
            self._operator(op, _kind(self.net, op))
        for index in self.flipped:
            tensor = self.graph.tensors[index]
            tensor.shape = np.array([tensor.shape[i] for i in (0, 2, 1, 3)], np.int32)
            tensor.shapeSignature = None
        for index in self.scaled:
            quantization = self.graph.tensors[index].quantization
            quantization.scale = (np.asarray(quantization.scale) * self.unit_db).astype(np.float32)
            quantization.min = quantization.max = None

    def _operator(self, op: Any, kind: str) -> None:
        first, out = int(op.inputs[0]), int(op.outputs[0])
        flipped = first in self.flipped
        self._unit(op, kind, first, out)
        if kind == "TRANSPOSE" and list(self._numbers(int(op.inputs[1]))) == [0, 2, 1, 3]:
            self._without_transpose(op, first, out)
        elif first in self.order:
            self._ordered(op, kind, first, out)
        elif not flipped:
            if any(int(i) in self.flipped for i in op.inputs):
                raise CheepError(f"{kind} joins tensors of two layouts, which is not offered")
        elif kind in _KERNELS or kind in _POOLS:
            self._turn(op, kind)
            self.flipped.add(out)
        elif kind in ("PAD", "PADV2"):
            self._turn_buffer(int(op.inputs[1]), lambda rows: rows[[0, 2, 1, 3]])
            self.flipped.add(out)
        elif kind == "MEAN" and sorted(int(n) % 4 for n in self._numbers(int(op.inputs[1]))) == [1, 2]:
            if len(self.graph.tensors[out].shape) == 4:
                self.flipped.add(out)
        elif kind == "RESHAPE" and len(self.graph.tensors[out].shape) == 2:
            rows, columns, depth = (int(n) for n in self.graph.tensors[first].shape[1:])  # as it was
            self.order[out] = np.arange(rows * columns * depth).reshape(rows, columns, depth).swapaxes(0, 1).ravel()
        elif kind in _SAME and all(self._goes_along(int(i)) for i in op.inputs):
            self.flipped.add(out)
        else:
            raise CheepError(f"{kind}: its axes cannot be exchanged; give a network on (columns, bands)")

    def _goes_along(self, index: int) -> bool:
        """Whether a tensor is turned as well, or the same for all places."""
        shape = [int(n) for n in self.graph.tensors[index].shape]
        return index in self.flipped or all(n == 1 for n in shape[:-1])

    def _without_transpose(self, op: Any, first: int, out: int) -> None:
        """What the operator did is what the new layout is: its output is its input."""
        for other in self.graph.operators:
            other.inputs = np.array([first if int(i) == out else int(i) for i in other.inputs], np.int32)
        self.graph.operators.remove(op)
        self.scaled.discard(out)
        if first in self.flipped:  # turned to what the rest wants: it is that now
            self.flipped.discard(first)
            tensor = self.graph.tensors[first]
            tensor.shape, tensor.shapeSignature = self.graph.tensors[out].shape, None
        else:
            self.flipped.add(first)

    def _ordered(self, op: Any, kind: str, first: int, out: int) -> None:
        order = self.order[first]
        if kind in _SAME:
            self.order[out] = order
        elif kind == "FULLY_CONNECTED":
            self._turn_buffer(int(op.inputs[1]), lambda kernel: kernel[:, order])
        else:
            raise CheepError(f"{kind}: after RESHAPE only FULLY_CONNECTED can take another order of values")

    def _unit(self, op: Any, kind: str, first: int, out: int) -> None:
        """Let the unit pass to what follows, up to the first kernel."""
        if first not in self.scaled:
            return
        if kind in ("TRANSPOSE", "PAD", "PADV2"):
            self.scaled.add(out)
        elif kind in _KERNELS:
            quantization = self.graph.tensors[int(op.inputs[1])].quantization
            quantization.scale = (np.asarray(quantization.scale) / self.unit_db).astype(np.float32)
            quantization.min = quantization.max = None
        else:
            raise CheepError(f"{kind}: takes the columns; the unit of a network's input passes into a convolution only")

    def _turn(self, op: Any, kind: str) -> None:
        options = op.builtinOptions
        for one, other in _PAIRS:
            if hasattr(options, one):
                left, right = getattr(options, one), getattr(options, other)
                setattr(options, one, right)
                setattr(options, other, left)
        if kind in _KERNELS:
            tensor = self.graph.tensors[int(op.inputs[1])]
            self._turn_buffer(int(op.inputs[1]), lambda kernel: kernel.swapaxes(1, 2))
            tensor.shape = np.array([tensor.shape[i] for i in (0, 2, 1, 3)], np.int32)

    def _numbers(self, index: int) -> np.ndarray:
        data = self.net.buffers[self.graph.tensors[index].buffer].data
        if data is None:
            raise CheepError("an operator's sizes are computed, not written: not offered")
        return np.frombuffer(np.asarray(data, np.uint8).tobytes(), "<i4")

    def _turn_buffer(self, index: int, turn: Any) -> None:
        """Reorder a constant, once however many operators use it."""
        tensor = self.graph.tensors[index]
        buffer = self.net.buffers[tensor.buffer]
        if tensor.buffer in self.done or buffer.data is None:
            return
        kinds = {"INT8": "i1", "INT32": "<i4", "INT64": "<i8"}
        kind = names_of("TensorType").get(tensor.type, "?")
        if kind not in kinds:
            raise CheepError(f"a constant of {kind.lower()}: must be an int8 network")
        values = np.frombuffer(np.asarray(buffer.data, np.uint8).tobytes(), kinds[kind])
        turned = turn(values.reshape([int(n) for n in tensor.shape]))
        buffer.data = np.frombuffer(np.ascontiguousarray(turned).tobytes(), np.uint8)
        self.done.add(tensor.buffer)
