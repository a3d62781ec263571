# SPDX-License-Identifier: MIT
"""Backbone and recurrent step as one int8 model: a window and the state in, scores and the next state out."""

from __future__ import annotations

from typing import Any

from cheep.convert.step_model import StepModel
from cheep.errors import CheepError
from cheep.tflite.flatbuffer import pack, unpack
from cheep.tflite.model import read_model
from cheep.tflite.state import check_states


def merge_pair(backbone: bytes, step: StepModel) -> bytes:
    """Return one ``.tflite`` of both: inputs (window, states...), outputs (scores, states...).

    The backbone's output tensor becomes the step's feature input, so their shape, scale and zero point must agree
    (:func:`cheep.convert.step_model.convert_step` takes the range).

    Raises
    ------
    CheepError
        They do not.
    """
    given, taken = read_model(backbone).outputs[0], step.feature
    close = abs(given.scale / taken.scale - 1) < 1e-5
    if (given.shape, given.dtype, given.zero_point) != (taken.shape, taken.dtype, taken.zero_point) or not close:
        raise CheepError(
            f"backbone gives {given.dtype} {list(given.shape)} (scale {given.scale:g}, zero point {given.zero_point}), "
            f"the step takes {taken.dtype} {list(taken.shape)} (scale {taken.scale:g}, zero point {taken.zero_point})"
        )
    one, two = unpack(backbone), unpack(step.data)
    first, second = one.subgraphs[0], two.subgraphs[0]
    base, n_buffers = len(first.tensors), len(one.buffers)
    place = {i: base + i for i in range(len(second.tensors))}
    place[int(second.inputs[step.feature_input])] = int(first.outputs[0])
    for tensor in second.tensors:
        tensor.buffer += n_buffers
    one.buffers += two.buffers
    first.tensors += second.tensors
    codes = _join_codes(one, two)
    for operator in second.operators:
        operator.opcodeIndex = codes[operator.opcodeIndex]
        operator.inputs = [place[int(k)] if k >= 0 else -1 for k in operator.inputs]
        operator.outputs = [place[int(k)] for k in operator.outputs]
    first.operators += second.operators
    states_in = [place[int(second.inputs[i])] for i in step.state_inputs]
    states_out = [place[int(second.outputs[i])] for i in step.state_outputs]
    scores = place[int(second.outputs[step.logits_output])]
    names = {int(first.inputs[0]): "window", scores: "scores"}
    names |= {k: f"state{i}" for i, k in enumerate(states_in)} | {k: f"next{i}" for i, k in enumerate(states_out)}
    for index, name in names.items():
        first.tensors[index].name = name
    first.inputs, first.outputs = [int(first.inputs[0]), *states_in], [scores, *states_out]
    one.metadata, one.signatureDefs, one.metadataBuffer = None, None, None  # of the parts
    one.description = "backbone and recurrent step"
    merged = pack(one)
    check_states(read_model(merged), "merged model")
    return merged


def _join_codes(one: Any, two: Any) -> dict[int, int]:
    """Add the operator codes of ``two`` that ``one`` lacks; return where each of them is now."""
    places: dict[int, int] = {}
    for i, code in enumerate(two.operatorCodes):
        kind = max(code.builtinCode, code.deprecatedBuiltinCode)
        for k, known in enumerate(one.operatorCodes):
            if max(known.builtinCode, known.deprecatedBuiltinCode) == kind and known.customCode == code.customCode:
                known.version = max(known.version, code.version)
                places[i] = k
                break
        else:
            places[i] = len(one.operatorCodes)
            one.operatorCodes.append(code)
    return places
