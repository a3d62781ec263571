# SPDX-License-Identifier: MIT
"""What ``cheep verify`` and ``cheep inspect --data`` do in a process of their own (native runtimes may crash)."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from cheep.convert.data import ConversionData, classes_of, load_data
from cheep.convert.job import fit_shape
from cheep.convert.load import beside, features_of
from cheep.errors import CheepError


def verify(job: dict[str, Any], _say: Any) -> dict[str, Any]:
    """Compare models ``a`` and ``b``, or the runtimes of ``a`` where ``b`` is None, on the examples of ``data``."""
    from cheep.inspection.agreement import agreement, along, load_runner, takes
    from cheep.inspection.runners import compare_runtimes

    a, b = job["a"], job["b"]
    specs = {**(beside(b) if b else {}), **beside(a)}
    shape, sequences = takes(b or a, job["states"])
    data = load_data(Path(job["data"]), features_of(specs), specs)
    data = as_sequences(data, shape) if sequences else fit_shape(data, shape)
    x, y = data.x[data.judged][: job["examples"]], classes_of(data.y[data.judged])[: job["examples"]]
    if b is None:
        if not a.endswith(".tflite"):
            raise CheepError(f"{a}: give a second model to compare with; runtimes are compared of a .tflite alone")
        return {"judged": data.judged, **compare_runtimes(a, job["states"], x)}
    one, two = load_runner(a, job["states"])(x), load_runner(b, job["states"])(x)
    result = {"judged": data.judged, **agreement(one.answers[:, -1], two.answers[:, -1], y, data.labels)}
    if sequences:
        result["along"] = along(one, two)
    return result


def inspect_on_data(job: dict[str, Any], _say: Any) -> dict[str, Any]:
    """Inspect ``model`` with the ranges of its activations on examples of ``data``."""
    from cheep.inspection.report import inspect_model
    from cheep.inspection.runners import find_ports
    from cheep.tflite.model import read_model

    model = read_model(job["model"])
    ports = find_ports(model, job["states"], job["model"])
    specs = beside(job["model"])
    data = load_data(Path(job["data"]), features_of(specs), specs)
    shape = model.inputs[ports.data].shape[1:]
    data = as_sequences(data, shape) if ports.states else fit_shape(data, shape)
    return inspect_model(job["model"], data.x["val"][: job["examples"]], job["tflm"], job["states"])


def as_sequences(data: ConversionData, shape: tuple[int, ...]) -> ConversionData:
    """Return ``data`` as sequences (n, steps, *shape); examples of exactly ``shape`` are one step each."""
    size, xs = int(np.prod(shape)), {}
    for split, x in data.x.items():
        if x.shape[1:] == tuple(shape):
            xs[split] = x[:, None]
        elif x.ndim >= 3 and int(np.prod(x.shape[2:])) == size:
            xs[split] = x.reshape((*x.shape[:2], *shape))
        else:
            raise CheepError(
                f"{data.source}: examples of shape {x.shape[1:]}; a model with a state takes sequences of {shape}: "
                f"(n, steps, {', '.join(map(str, shape))})"
            )
    return dataclasses.replace(data, x=xs)
