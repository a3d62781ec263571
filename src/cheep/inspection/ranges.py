"""Every activation's range on real examples, by the TFLite interpreter with all tensors preserved."""

from __future__ import annotations

from typing import Any

import numpy as np

from cheep.convert.runtime import quantize_as
from cheep.inspection.graph import Graph
from cheep.tf_runtime import import_tf, quiet_stderr
from cheep.tflite_model import read_model

_LIMITS = {"int8": (-128, 127), "int16": (-32768, 32767), "uint8": (0, 255)}
_BOUNDED = ("LOGISTIC", "SOFTMAX", "TANH", "RELU", "RELU6", "HARD_SWISH")


def measure_ranges(graph: Graph, examples: np.ndarray) -> list[dict[str, Any]]:
    """Return one row per quantized activation: real range, share of the type's range used, share that saturates.

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
    wanted = [t for t in graph.tensors if t.constant is None and t.dtype in _LIMITS and len(t.scales) == 1]
    makers = {k: op for op in graph.operators for k in op.outputs}
    low = {t.index: np.inf for t in wanted}
    high = {t.index: -np.inf for t in wanted}
    cut, seen = dict.fromkeys(low, 0), dict.fromkeys(low, 0)
    q = quantize_as(examples, info.inputs[0]).reshape((len(examples), *info.inputs[0].shape))
    source = interpreter.get_input_details()[0]["index"]
    for row in q:
        interpreter.set_tensor(source, row)
        interpreter.invoke()
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
        ends, op = _LIMITS[t.dtype], makers.get(t.index)
        fused = op.options.get("fusedActivationFunction", "NONE") if op else "NONE"
        ahead = makers.get(op.inputs[0]) if op and op.inputs else None
        passes = op is not None and op.name in ("MAX_POOL_2D", "RESHAPE", "MEAN", "AVERAGE_POOL_2D", "STRIDED_SLICE")
        bounded = fused != "NONE" or (op is not None and op.name in _BOUNDED) or (passes and ahead is not None)
        rows.append(
            {
                "tensor": t.index,
                "name": t.name,
                "operator": op.name if op else "input",
                "bounded": bounded,
                "low": float((low[t.index] - t.zero_points[0]) * t.scales[0]),
                "high": float((high[t.index] - t.zero_points[0]) * t.scales[0]),
                "used": float((high[t.index] - low[t.index]) / (ends[1] - ends[0])),
                "saturated": cut[t.index] / seen[t.index],
            }
        )
    return rows
