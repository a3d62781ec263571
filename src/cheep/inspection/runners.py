# SPDX-License-Identifier: MIT
"""A ``.tflite`` of any number of inputs, run on real examples in TFLM, the TFLite interpreter or compiled to C.

A model that carries a state has inputs that an output feeds at the next step. It runs over sequences, each from the
zero state; where the state's scale differs between output and input, it is requantized as a firmware would have to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cheep.convert.runtime import dequantize_as, quantize_as
from cheep.detector import ScoreScale
from cheep.errors import CheepError
from cheep.tflite.model import TensorInfo, TfliteModel, read_model
from cheep.tflite.state import zero_state

RUNTIMES = ("tflm", "tflite", "compiled")
TITLES = {"tflm": "TensorFlow Lite Micro", "tflite": "TFLite reference interpreter", "compiled": "compiled C"}
_STATE_NAMES = ("state", "hidden", "carry", "memory", "cell")

Invoke = Callable[[list[np.ndarray]], list[np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Ports:
    """Which input takes the examples, which output answers, and which (input, output) pairs carry a state."""

    data: int
    answer: int
    states: tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class Trace:
    """What a model gave.

    ``answers`` is (n, steps, outputs) float32, ``states`` (n, steps, values) float32 after each step; a model without
    a state has one step and no values.
    """

    answers: np.ndarray
    states: np.ndarray


def find_ports(model: TfliteModel, pairs: Sequence[str] = (), name: str = "model") -> Ports:
    """Return the ports of a model.

    Parameters
    ----------
    pairs : of str
        ``"INPUT:OUTPUT"`` by number, as the user names them. Without them a state is an input whose name says so, or
        that has an output's shape, type and scale.

    Raises
    ------
    CheepError
        The pairs cannot be found, or do not fit the model.
    """
    states = [_pair(text, model, name) for text in pairs]
    if not states and len(model.inputs) > 1:
        states = _named(model) or _matching(model)
    left = [i for i in range(len(model.inputs)) if i not in {a for a, _ in states}]
    answers = [i for i in range(len(model.outputs)) if i not in {b for _, b in states}]
    taken = [b for _, b in states]
    if len(left) != 1 or not answers or len(set(taken)) != len(taken):
        ins = ", ".join(f"{i} {t.name} {list(t.shape)}" for i, t in enumerate(model.inputs))
        outs = ", ".join(f"{i} {t.name} {list(t.shape)}" for i, t in enumerate(model.outputs))
        raise CheepError(
            f"{name}: inputs {ins}; outputs {outs}: exactly one input must take the examples, the others a state that "
            "an output gives; name the pairs with --state INPUT:OUTPUT (by number)"
        )
    return Ports(left[0], answers[0], tuple(states))


def _pair(text: str, model: TfliteModel, name: str) -> tuple[int, int]:
    try:
        source, target = (int(part) for part in text.split(":"))
        one, two = model.inputs[source], model.outputs[target]
        if min(source, target) < 0:
            raise IndexError(text)
    except (ValueError, IndexError):
        raise CheepError(
            f"--state {text}: must be INPUT:OUTPUT by number; {name} has {len(model.inputs)} inputs and "
            f"{len(model.outputs)} outputs, counted from 0"
        ) from None
    if np.prod(one.shape) != np.prod(two.shape):
        raise CheepError(f"--state {text}: {name}: input {list(one.shape)} and output {list(two.shape)} differ in size")
    return source, target


def _named(model: TfliteModel) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for i, one in enumerate(model.inputs):
        if any(word in one.name.lower() for word in _STATE_NAMES):
            free = [k for k, two in enumerate(model.outputs) if k not in {b for _, b in found} and _alike(one, two)]
            if not free:
                return []
            found.append((i, free[0]))
    return found


def _matching(model: TfliteModel) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for i, one in enumerate(model.inputs):
        for k, two in enumerate(model.outputs):
            same = _alike(one, two) and (one.scale, one.zero_point) == (two.scale, two.zero_point)
            if same and k not in {b for _, b in found}:
                found.append((i, k))
                break
    return found


def _alike(one: TensorInfo, two: TensorInfo) -> bool:
    return (one.shape, one.dtype) == (two.shape, two.dtype)


def run_trace(model: TfliteModel, ports: Ports, x: np.ndarray, runtime: str) -> Trace:
    """Run real examples, (n, *input) or with a state (n, steps, *input) float32, in one of :data:`RUNTIMES`.

    Raises
    ------
    CheepError
        The runtime cannot run the model.
    """
    invoke = _invoker(model, runtime)
    source, answer = model.inputs[ports.data], model.outputs[ports.answer]
    steps = x.shape[1] if ports.states else 1
    read = _reader(model, answer)
    q = quantize_as(x, source).reshape((len(x), steps, *source.shape))
    answers = np.empty((len(x), steps, int(np.prod(answer.shape))), np.float32)
    width = sum(int(np.prod(model.outputs[b].shape)) for _, b in ports.states)
    states = np.empty((len(x), steps, width), np.float32)
    inputs: list[Any] = [None] * len(model.inputs)
    for i, sequence in enumerate(q):
        for a, _ in ports.states:
            inputs[a] = zero_state(model.inputs[a])
        for t, row in enumerate(sequence):
            inputs[ports.data] = row
            outputs = invoke(inputs)
            answers[i, t] = read(outputs[ports.answer]).ravel()
            parts = []
            for a, b in ports.states:
                one, two = model.inputs[a], model.outputs[b]
                value = dequantize_as(outputs[b], two)
                parts.append(value.ravel())
                same = (one.dtype, one.scale, one.zero_point) == (two.dtype, two.scale, two.zero_point)
                inputs[a] = (np.array(outputs[b]) if same else quantize_as(value, one)).reshape(one.shape)
            if parts:
                states[i, t] = np.concatenate(parts)
    return Trace(answers, states)


def _reader(model: TfliteModel, answer: TensorInfo) -> Callable[[np.ndarray], np.ndarray]:
    """Return what makes an answer real: probabilities of a detector's logits, so that it compares with the network."""
    described = (model.metadata or {}).get("scores")
    if described and answer is model.outputs[0]:
        return ScoreScale.of(answer, described).probabilities
    return lambda q: dequantize_as(q, answer)


def _invoker(model: TfliteModel, runtime: str) -> Invoke:
    if runtime == "tflm":
        return _tflm(model)
    if runtime == "tflite":
        return _tflite(model)
    from cheep.compiler import CompiledModel

    compiled = CompiledModel(model.data)
    return lambda inputs: compiled.invoke(*inputs)


def _tflm(model: TfliteModel) -> Invoke:
    from cheep.tflite.tflm import TflmModel, tflm_support

    support = tflm_support(model.data, arena=False)  # in a process of its own: a damaged model may crash it
    if not support["runs"]:
        raise CheepError(f"TFLM cannot run it: {support['reason']}")
    runtime = TflmModel(model.data)

    def invoke(inputs: list[np.ndarray]) -> list[np.ndarray]:
        runtime.run({index: np.ascontiguousarray(value) for index, value in enumerate(inputs)})
        return [np.array(runtime.output(i)) for i in range(len(model.outputs))]

    return invoke


def _tflite(model: TfliteModel) -> Invoke:
    from cheep.tf_runtime import import_tf, quiet_stderr

    tf = import_tf()
    with quiet_stderr():
        try:
            interpreter = tf.lite.Interpreter(
                model_content=model.data,
                experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_REF,
            )
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise CheepError(f"the TFLite interpreter cannot run it: {str(error).splitlines()[0]}") from None
    source = [d["index"] for d in interpreter.get_input_details()]
    target = [d["index"] for d in interpreter.get_output_details()]

    def invoke(inputs: list[np.ndarray]) -> list[np.ndarray]:
        for index, value in zip(source, inputs, strict=True):
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in target]

    return invoke


def compare_runtimes(path: str, pairs: Sequence[str], x: np.ndarray) -> dict[str, Any]:
    """Run one model in every runtime that takes it, on the same examples, against the first that does.

    Parameters
    ----------
    pairs
        See :func:`find_ports`.
    x
        (n, *input) float32 in the model's units, of a model with a state (n, steps, *input).

    Returns
    -------
    dict
        ``reference`` (a runtime), ``examples``, ``steps``, and ``runtimes``: per other runtime the share of equal
        values of answers and states, and the largest difference in steps of the output's scale; or the reason.
    """
    model = read_model(path)
    ports = find_ports(model, pairs, path)
    traces: dict[str, Trace] = {}
    rows: list[dict[str, Any]] = []
    for runtime in RUNTIMES:
        try:
            traces[runtime] = run_trace(model, ports, x, runtime)
        except CheepError as error:
            rows.append({"runtime": runtime, "reason": str(error)})
    if len(traces) < 2:
        reasons = "; ".join(f"{TITLES[row['runtime']]}: {row['reason']}" for row in rows)
        raise CheepError(f"{path}: fewer than two runtimes take it, nothing to compare ({reasons})")
    first = next(iter(traces))
    scale = model.outputs[ports.answer].scale or 1.0
    for runtime, trace in list(traces.items())[1:]:
        one, two = traces[first], trace
        equal = [one.answers == two.answers] + ([one.states == two.states] if ports.states else [])
        rows.append(
            {
                "runtime": runtime,
                "equal": float(np.mean(np.concatenate([e.reshape(-1) for e in equal]))),
                "max_difference": float(np.abs(one.answers - two.answers).max()),
                "max_steps": float(np.abs(one.answers - two.answers).max() / scale),
                "max_state_difference": float(np.abs(one.states - two.states).max()) if ports.states else 0.0,
                "same_class": float(np.mean(one.answers[:, -1].argmax(1) == two.answers[:, -1].argmax(1))),
            }
        )
    return {"reference": first, "examples": len(x), "steps": int(traces[first].answers.shape[1]), "runtimes": rows}
