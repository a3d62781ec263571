"""``cheep verify A B``: how two models agree on real examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cheep.errors import CheepError


def load_runner(path: Path | str) -> Any:
    """Return a function from (n, ...) float32 to (n, outputs) float32: ``.tflite`` runs in TFLM."""
    path = str(path)
    if Path(path).is_file() and path.endswith(".tflite"):
        from cheep.convert.runtime import interpreter_outputs, tflm_outputs
        from cheep.inspection.graph import read_graph
        from cheep.inspection.report import tflm_support

        graph = read_graph(path)
        if len(graph.inputs) != 1:
            raise CheepError(
                f"{path}: has {len(graph.inputs)} inputs; verify compares models of one input (a recurrent "
                "step: cheep.convert.streaming.check_drift)"
            )
        support = tflm_support(graph.data, arena=False)
        run = tflm_outputs if support["runs"] else interpreter_outputs
        return lambda x: run(graph.data, x)
    from cheep.convert.load import load_source

    source = load_source(path)
    return lambda x: source.predict(x.reshape((len(x), *source.input_shape)))


def agreement(
    a: np.ndarray, b: np.ndarray, y: np.ndarray | None = None, labels: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Compare outputs (n, classes) of two models.

    Returns
    -------
    dict
        ``same_class`` (share), ``cosine`` (mean over examples), ``mse``, ``max_difference`` with ``worst_example``,
        and ``classes``: per class of ``y`` (or of model A) the number, the share of the same class, the largest
        difference, and both accuracies where ``y`` is known.
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
        if known:
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
    if known:
        result |= {"accuracy_a": float(np.mean(class_a == truth)), "accuracy_b": float(np.mean(class_b == truth))}
    return result


def shape_of(path: str) -> tuple[int, ...]:
    """Return the input shape of a model, without batch."""
    if path.endswith(".tflite"):
        from cheep.inspection.graph import read_graph

        graph = read_graph(path)
        return graph.tensors[graph.inputs[0]].shape[1:]
    from cheep.convert.load import load_source

    return load_source(path).input_shape
