# SPDX-License-Identifier: MIT
"""Every activation's range on real examples, by the TFLite interpreter with all tensors preserved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cheep.convert.runtime import dequantize_as, quantize_as
from cheep.inspection.runners import find_ports
from cheep.tf_runtime import import_tf, quiet_stderr
from cheep.tflite.graph import Graph, Node, Tensor
from cheep.tflite.model import TfliteModel, read_model
from cheep.tflite.state import zero_state

_LIMITS = {"int8": (-128, 127), "int16": (-32768, 32767), "uint8": (0, 255)}
_BOUNDED = ("LOGISTIC", "SOFTMAX", "TANH", "RELU", "RELU6", "HARD_SWISH")
_PASSES = ("MAX_POOL_2D", "RESHAPE", "MEAN", "AVERAGE_POOL_2D", "STRIDED_SLICE", "PAD")


def measure_ranges(graph: Graph, examples: np.ndarray, states: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return one row per quantized activation: real range, share of the type's range used, share that saturates.

    ``examples`` : (n, *input) float32 in the model's units, of a model with a state (n, steps, *input).

    ``bounded``: the values are cut by design (a rectifier, a sigmoid), so values at an end are no sign of trouble.
    """
    tf = import_tf()
    info = read_model(graph.data)
    with quiet_stderr():
        interpreter = tf.lite.Interpreter(
            model_content=graph.data,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_REF,
        )
        interpreter.allocate_tensors()
    wanted = [t for t in graph.tensors if t.data is None and t.dtype in _LIMITS and len(t.scales) == 1]
    makers = {t.index: node for node in graph.nodes for t in node.outputs}
    low = {t.index: np.inf for t in wanted}
    high = {t.index: -np.inf for t in wanted}
    cut, seen = dict.fromkeys(low, 0), dict.fromkeys(low, 0)
    for _ in _runs(interpreter, info, examples, states):
        for t in wanted:
            try:
                values = interpreter.get_tensor(t.index)
            except ValueError:  # a tensor that no operator fills
                continue
            low[t.index], high[t.index] = min(low[t.index], int(values.min())), max(high[t.index], int(values.max()))
            ends = _LIMITS[t.dtype]
            cut[t.index] += int(np.count_nonzero((values == ends[0]) | (values == ends[1])))
            seen[t.index] += values.size
    rows = []
    for t in wanted:
        if not seen[t.index]:
            continue
        ends, node = _LIMITS[t.dtype], makers.get(t.index)
        fused = node.attributes.get("fusedActivationFunction", "NONE") if node else "NONE"
        bounded = (node is not None and node.op in _BOUNDED) or fused != "NONE" or _rectified(t, makers)
        rows.append(
            {
                "tensor": t.index,
                "name": t.name,
                "operator": node.op if node else "input",
                "bounded": bounded,
                "low": float((low[t.index] - t.zero_point) * t.scale),
                "high": float((high[t.index] - t.zero_point) * t.scale),
                "used": float((high[t.index] - low[t.index]) / (ends[1] - ends[0])),
                "saturated": cut[t.index] / seen[t.index],
            }
        )
    return rows


def _rectified(tensor: Tensor, makers: dict[int, Node], depth: int = 20) -> bool:
    """Whether zeros of a rectifier or of a bounded function arrive at a tensor, so that many values lie at an end."""
    node = makers.get(tensor.index)
    if node is None or depth == 0:
        return False
    if node.attributes.get("fusedActivationFunction", "NONE") != "NONE" or node.op.startswith("RELU"):
        return True
    if node.op == "MUL":  # a gate times a rectified value
        return any(_rectified(t, makers, depth - 1) for t in node.inputs)
    return node.op in _PASSES and _rectified(node.inputs[0], makers, depth - 1)


def _runs(interpreter: Any, info: TfliteModel, examples: np.ndarray, states: Sequence[str]) -> Iterator[None]:
    """Run every example, or every step of every sequence from the zero state; yield after each run."""
    ports = find_ports(info, states)
    details = interpreter.get_input_details(), interpreter.get_output_details()
    sources, targets = ([d["index"] for d in side] for side in details)
    tensor = info.inputs[ports.data]
    steps = examples.shape[1] if ports.states else 1
    for sequence in quantize_as(examples, tensor).reshape((len(examples), steps, *tensor.shape)):
        for a, _ in ports.states:
            interpreter.set_tensor(sources[a], zero_state(info.inputs[a]))
        for row in sequence:
            interpreter.set_tensor(sources[ports.data], row)
            interpreter.invoke()
            yield
            for a, b in ports.states:
                one, two = info.inputs[a], info.outputs[b]
                value = dequantize_as(interpreter.get_tensor(targets[b]), two)
                interpreter.set_tensor(sources[a], quantize_as(value, one).reshape(one.shape))
