# SPDX-License-Identifier: MIT
"""A detector's network without its last activation: int8 logits, with their steps where thresholds live.

A sigmoid in 8 bits has four steps between 0.984 and 1, where a detector that is to raise one false alarm a day must
choose; the logit before it, in the same 8 bits, has dozens. So LOGISTIC or SOFTMAX is cut off the int8 model, and the
scale of what stood before it is chosen anew: accumulators of a convolution are int32, and what scale they are rounded
to is written in the output tensor alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cheep.errors import CheepError
from cheep.tflite.flatbuffer import drop_unused, names_of, pack, unpack
from cheep.tflite.model import read_model

LEAST_LOGIT = -8.0  # 0.0003: no threshold lies below, so that steps there would be lost
LEAST_HIGH = 4.0  # 0.982: the scale always reaches it
_KINDS = {"LOGISTIC": "logit", "SOFTMAX": "log_odds"}
_SAME = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")  # what only changes the shape
_DENSE = ("CONV_2D", "FULLY_CONNECTED", "DEPTHWISE_CONV_2D")
_WIDER, _TRIES = 4.0, 6


def cut_activation(data: bytes) -> tuple[bytes, str | None]:
    """Return an int8 model without the LOGISTIC or SOFTMAX that gives its first output, and the kind of its scores.

    ``"logit"`` or ``"log_odds"``; the model as it is and None where it ends otherwise. Metadata is dropped.
    """
    net = unpack(data)
    graph = net.subgraphs[0]
    last, after = _giver(graph, int(graph.outputs[0])), []
    while last is not None and _kind(net, graph.operators[last]) in _SAME:  # converters put them behind, too
        after.append(graph.operators[last])
        last = _giver(graph, int(after[-1].inputs[0]))
    if len(net.subgraphs) != 1 or last is None or _kind(net, graph.operators[last]) not in _KINDS:
        return data, None
    kind = _KINDS[_kind(net, graph.operators[last])]
    logits = int(graph.operators[last].inputs[0])
    if any(logits in op.inputs for i, op in enumerate(graph.operators) if i != last):
        return data, None  # something else needs them as they are
    if after:
        if sum(int(graph.operators[last].outputs[0]) in op.inputs for op in graph.operators) > 1:
            return data, None
        after[-1].inputs = np.array([logits, *after[-1].inputs[1:]], np.int32)
        for op in after:
            graph.tensors[int(op.outputs[0])].quantization = graph.tensors[logits].quantization
        graph.operators = [op for i, op in enumerate(graph.operators) if i != last]
        drop_unused(net, graph)
        net.signatureDefs = []
        return pack(net), kind
    shape = [int(n) for n in graph.tensors[int(graph.outputs[0])].shape]
    graph.tensors[logits].name = graph.tensors[int(graph.outputs[0])].name
    if [int(n) for n in graph.tensors[logits].shape] != shape:
        return data, None
    graph.outputs = np.array([logits, *graph.outputs[1:]], np.int32)
    graph.operators = [op for i, op in enumerate(graph.operators) if i != last]
    drop_unused(net, graph)
    net.signatureDefs = []
    return pack(net), kind


def with_output_scale(data: bytes, scale: float, zero_point: int) -> bytes:
    """Return an int8 model whose first output has another scale: exact where a dense layer or convolution gives it.

    Raises
    ------
    CheepError
        Another operator gives it.
    """
    net = unpack(data)
    graph = net.subgraphs[0]
    tensor = int(graph.outputs[0])
    while True:
        quantization = graph.tensors[tensor].quantization
        quantization.scale = np.array([scale], np.float32)
        quantization.zeroPoint = np.array([zero_point], np.int64)
        quantization.min = quantization.max = None
        giver = _giver(graph, tensor)
        kind = "nothing" if giver is None else _kind(net, graph.operators[giver])
        if giver is None or kind not in (*_SAME, *_DENSE):
            raise CheepError(f"the model's logits come from {kind}: only {', '.join(_DENSE)} can be scaled anew")
        if kind in _DENSE:
            if getattr(graph.operators[giver].builtinOptions, "fusedActivationFunction", 0):
                raise CheepError(f"the model's logits come from {kind} with an activation: they cannot be scaled anew")
            return pack(net)
        tensor = int(graph.operators[giver].inputs[0])


def logit_model(data: bytes, score: Callable[[bytes], np.ndarray]) -> tuple[bytes, dict[str, Any] | None]:
    """Return an int8 detector that gives logits, and the section ``scores`` of its manifest.

    Parameters
    ----------
    data : bytes
        An int8 model that ends in LOGISTIC or SOFTMAX.
    score : callable
        What a model says of training windows: (n, classes) int8. They decide the scale.

    Returns
    -------
    (bytes, dict or None)
        The section says ``kind``, ``scale``, ``zero_point`` and the share of training scores at either end of the
        scale (``saturated``). The model as it is, and None, where it ends in no such activation, or where what stands
        before it cannot be scaled anew.
    """
    cut, kind = cut_activation(data)
    if kind is None:
        return data, None
    try:
        low, high = _reach(cut, kind, score)
    except CheepError:
        return data, None
    scale, zero_point = choose_scale(low, high)
    made = with_output_scale(cut, scale, zero_point)
    scores = score(made)
    out = read_model(made).outputs[0]
    return made, {
        "kind": kind,
        "scale": out.scale,
        "zero_point": out.zero_point,
        "saturated": {
            "windows": len(scores),
            "low": float(np.mean(scores == -128)),
            "high": float(np.mean(scores == 127)),
        },
    }


def choose_scale(low: float, high: float) -> tuple[float, int]:
    """Return scale and zero point of int8 logits from ``low`` to ``high``, which 0 lies between."""
    scale = float(np.float32((high - low) / 255))
    return scale, round(-128 - low / scale)


def _reach(cut: bytes, kind: str, score: Callable[[bytes], np.ndarray]) -> tuple[float, float]:
    """Return the least and the largest logit that the scale is to tell apart."""
    scale = max(read_model(cut).outputs[0].scale * _WIDER, 0.1)
    for _ in range(_TRIES):  # as wide as it takes to see all of them
        scores = score(with_output_scale(cut, scale, 0)).astype(np.float64)
        if not len(scores):
            raise CheepError("no training windows to choose the scale of the logits by")
        if np.mean((scores == -128) | (scores == 127)) < 1e-3:
            break
        scale *= 2
    values = scores * scale
    low, high = (float(q) for q in np.quantile(values, (0.005, 0.999)))
    high = max(high + scale / 2 + 0.15 * abs(high), LEAST_HIGH)  # room for what is clearer than the training windows
    low = min(low - scale / 2, -1.0)
    return (low if kind == "log_odds" else max(low, LEAST_LOGIT)), high


def _giver(graph: Any, tensor: int) -> int | None:
    for i, op in enumerate(graph.operators):
        if tensor in [int(k) for k in op.outputs]:
            return i
    return None


def _kind(net: Any, op: Any) -> str:
    code = net.operatorCodes[op.opcodeIndex]
    return names_of("BuiltinOperator").get(max(code.builtinCode, code.deprecatedBuiltinCode), "?")
