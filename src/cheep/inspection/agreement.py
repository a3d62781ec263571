# SPDX-License-Identifier: MIT
"""``cheep verify A B``: how two models agree on real examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cheep.errors import CheepError
from cheep.inspection.runners import Trace, find_ports, run_trace
from cheep.tflite.model import read_model


def load_runner(path: Path | str, pairs: Sequence[str] = ()) -> Callable[[np.ndarray], Trace]:
    """Return a function from examples to a trace: a ``.tflite`` runs in TFLM, or else in TFLite.

    The examples are (n, *input) float32 in the model's units; of a ``.tflite`` with a state (n, steps, *input).
    """
    path = str(path)
    if Path(path).is_file() and path.endswith(".tflite"):
        model = read_model(path)
        ports = find_ports(model, pairs, path)

        def run(x: np.ndarray) -> Trace:
            try:
                return run_trace(model, ports, x, "tflm")
            except CheepError:
                return run_trace(model, ports, x, "tflite")

        return run
    from cheep.convert.load import load_source

    source = load_source(path)

    def predict(x: np.ndarray) -> Trace:
        out = source.predict(x.reshape((len(x), *source.input_shape))).reshape(len(x), 1, -1)
        return Trace(out, np.empty((len(x), 1, 0), np.float32))

    return predict


def agreement(
    a: np.ndarray, b: np.ndarray, y: np.ndarray | None = None, labels: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Compare the outputs of two models on the same examples.

    Parameters
    ----------
    a, b
        (n, classes) float32, or (n, 1): the score of the second of two classes, 0 to 1.
    y
        (n,) int64, the class numbers of the examples.

    Returns
    -------
    dict
        ``same_class`` (share), ``cosine`` (mean over examples), ``mse``, ``max_difference`` with ``worst_example``,
        and ``classes``: per class of ``y`` (or of model A) the number, the share of the same class, the largest
        difference, and both accuracies where ``y`` is known and the outputs are the classes.
    """
    if a.shape != b.shape:
        raise CheepError(
            f"outputs of shape {a.shape[1:]} and {b.shape[1:]}: the models do not answer the same question"
        )
    bad = [name for name, out in (("A", a), ("B", b)) if not np.isfinite(out).all()]
    if bad:
        raise CheepError(f"model {bad[0]} gives NaN or infinity on the examples")
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    wide = [out if out.shape[1] > 1 else np.hstack([1 - out, out]) for out in (a64, b64)]
    class_a, class_b = wide[0].argmax(1), wide[1].argmax(1)
    norms = np.linalg.norm(wide[0], axis=1) * np.linalg.norm(wide[1], axis=1)
    difference = np.abs(a64 - b64)
    known = y is not None
    judged = known and (not labels or a.shape[1] == len(labels) or (a.shape[1] == 1 and len(labels) <= 2))
    truth = np.asarray(y) if known else class_a
    rows = []
    for value in np.unique(truth):
        at = truth == value
        row = {
            "label": labels[value] if value < len(labels) else str(value),
            "examples": int(at.sum()),
            "same_class": float(np.mean(class_a[at] == class_b[at])),
            "max_difference": float(difference[at].max()),
        }
        if judged:
            row |= {
                "accuracy_a": float(np.mean(class_a[at] == value)),
                "accuracy_b": float(np.mean(class_b[at] == value)),
            }
        rows.append(row)
    result: dict[str, Any] = {
        "examples": len(a),
        "same_class": float(np.mean(class_a == class_b)),
        "cosine": float(np.mean((wide[0] * wide[1]).sum(1) / np.maximum(norms, 1e-12))),
        "mse": float(np.mean((a64 - b64) ** 2)),
        "max_difference": float(difference.max()),
        "worst_example": int(difference.max(axis=1).argmax()),
        "classes": rows,
    }
    if judged:
        result |= {"accuracy_a": float(np.mean(class_a == truth)), "accuracy_b": float(np.mean(class_b == truth))}
    return result


def along(a: Trace, b: Trace) -> dict[str, Any]:
    """Compare two traces at every step, and their states: what a difference at the last step may hide.

    Returns
    -------
    dict
        ``steps``, ``same_class`` and ``max_difference`` over all steps, and, where the states have one size, the mean
        difference of the states in the first and in the last tenth of the steps, and the largest.
    """
    if a.answers.shape != b.answers.shape:
        raise CheepError(
            f"{a.answers.shape[1]} and {b.answers.shape[1]} steps: both models must carry a state, or none"
        )
    result: dict[str, Any] = {
        "steps": int(a.answers.shape[1]),
        "same_class": float(np.mean(a.answers.argmax(2) == b.answers.argmax(2))),
        "max_difference": float(np.abs(a.answers - b.answers).max()),
    }
    if a.states.shape == b.states.shape and a.states.shape[2]:
        difference, part = np.abs(a.states - b.states), max(1, a.states.shape[1] // 10)
        result["state"] = {
            "first": float(difference[:, :part].mean()),
            "last": float(difference[:, -part:].mean()),
            "max": float(difference.max()),
        }
    return result


def takes(path: str, pairs: Sequence[str] = ()) -> tuple[tuple[int, ...], bool]:
    """Return the shape of one example (without batch) of a model, and whether it takes sequences of them."""
    if path.endswith(".tflite"):
        model = read_model(path)
        ports = find_ports(model, pairs, path)
        return model.inputs[ports.data].shape[1:], bool(ports.states)
    from cheep.convert.load import load_source

    return load_source(path).input_shape, False
