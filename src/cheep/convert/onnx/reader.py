# SPDX-License-Identifier: MIT
"""ONNX -> legacy Keras: a network of real layers, channels last, that every other tool of Cheep can work on.

ONNX images are (batch, channels, height, width); here they become (batch, height, width, channels), once, at the
input. Each tensor carries the order of its axes, and an operator whose meaning depends on the order is translated.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from cheep.convert.onnx.operators import OPERATORS, advice
from cheep.convert.onnx.value import Value, known, onnx_order
from cheep.convert.source import SourceModel
from cheep.errors import CheepError
from cheep.tf_runtime import import_tf

MAX_BYTES = 512 << 20


def load_onnx(path: Path) -> SourceModel:
    """Read an ``.onnx`` file of one input and one output, which keeps its shape.

    Raises
    ------
    CheepError
        The packages are missing, the file is damaged, or an operator has no counterpart (named, with what to do).
    """
    onnx = _import_onnx()
    if path.stat().st_size > MAX_BYTES:
        raise CheepError(f"{path}: {path.stat().st_size >> 20} MB; at most {MAX_BYTES >> 20} MB are read")
    _check_in_child(path)
    model = onnx.load_model(str(path))
    keras_model, shape = import_graph(model, str(path), "features")
    inputs = [v for v in model.graph.input if v.name not in {i.name for i in model.graph.initializer}]
    channels_first = len(shape) == 3

    def reference(x: np.ndarray) -> np.ndarray:
        return run_onnx(
            path, inputs[0].name, _fixed_shape(inputs[0], str(path)), np.moveaxis(x, -1, 1) if channels_first else x
        )

    made = tuple(int(n) for n in keras_model.output.shape[1:])
    return SourceModel(str(path), "onnx", keras_model, None, shape, [("ONNX", reference)], output_shape=made)


def inputs_of(path: Path) -> list[str]:
    """Return the names of the inputs of an ``.onnx`` file."""
    onnx = _import_onnx()
    _check_in_child(path)
    graph = onnx.load_model(str(path), load_external_data=False).graph
    initial = {i.name for i in graph.initializer}
    return [v.name for v in graph.input if v.name not in initial]


def load_step_graph(path: Path) -> tuple[Any, tuple, list[str]]:
    """Return (Keras model, shapes of its inputs without batch, their names) of a file with any number of both ends."""
    names = inputs_of(path)
    model, shapes = import_graph(_import_onnx().load_model(str(path)), str(path), "step")
    return model, shapes, names


def _import_onnx() -> Any:
    try:
        import onnx
    except ImportError:
        raise CheepError(
            "reading .onnx needs onnx: pip install onnx onnxruntime (tested: requirements-convert.txt)"
        ) from None
    return onnx


def _check_in_child(path: Path) -> None:
    """Parse and check the file in a process of its own: onnx is native code, and the file may be anything."""
    program = "import sys, onnx; m = onnx.load_model(sys.argv[1]); onnx.checker.check_model(m); print('fine')"
    child = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
    if "fine" not in child.stdout:
        words = [line for line in child.stderr.strip().splitlines() if line.strip()]
        reason = words[-1][:300] if words else f"the reader ended with status {child.returncode}"
        raise CheepError(f"{path}: damaged or no ONNX model ({reason}); export it again")


def run_onnx(path: Path, input_name: str, shape: tuple[int, ...], x: np.ndarray) -> np.ndarray:
    """Run ONNX Runtime (else onnx's reference evaluator) in a process of its own.

    Parameters
    ----------
    shape
        Of the input, with its batch of 1.
    x
        (n, ...), cast to float32: examples with their axes in ONNX's order.

    Returns
    -------
    ndarray
        (n, outputs), of the dtype of the model's first output (float32 as a rule).

    Raises
    ------
    CheepError
        It cannot run the model.
    """
    program = """
import sys, numpy as np
path, name, data, out = sys.argv[1:]
x = np.load(data)
try:
    import onnxruntime
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
except ImportError:
    from onnx.reference import ReferenceEvaluator
    session = ReferenceEvaluator(path)
np.save(out, np.stack([session.run(None, {name: row})[0].reshape(-1) for row in x]))
"""
    with tempfile.TemporaryDirectory(prefix="cheep-onnx-") as folder:
        source, target = os.path.join(folder, "x.npy"), os.path.join(folder, "y.npy")
        np.save(source, np.ascontiguousarray(x.reshape((len(x), *shape)), np.float32))
        child = subprocess.run(
            [sys.executable, "-c", program, str(path), input_name, source, target],
            capture_output=True,
            text=True,
            check=False,
        )
        if not Path(target).is_file():
            words = (child.stderr.strip().splitlines() or [f"status {child.returncode}"])[-1]
            raise CheepError(f"{path}: ONNX Runtime cannot run it ({words[:300]})")
        return np.load(target)


def _fixed_shape(value: Any, name: str) -> tuple[int, ...]:
    dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
    if not dims:
        raise CheepError(f"{name}: input {value.name} has no shape; export it with fixed sizes")
    dims[0] = dims[0] or 1
    if any(d <= 0 for d in dims):
        raise CheepError(
            f"{name}: input {value.name} has open sizes {dims}; export it with fixed sizes (batch may be open)"
        )
    if dims[0] != 1:
        raise CheepError(f"{name}: input {value.name} has batch {dims[0]}; export it with batch 1")
    return tuple(dims)


def import_graph(model: Any, name: str, task: str = "classes") -> tuple[Any, tuple]:
    """Return (Keras model, its input shape without batch) of an ``onnx.ModelProto``.

    ``task`` : ``classes`` gives a vector of scores, ``features`` the output in its own shape; ``step`` takes any number
    of inputs and outputs, and returns the shapes of all inputs.
    """
    from onnx import numpy_helper

    graph = model.graph
    initial = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    inputs = [v for v in graph.input if v.name not in initial]
    if task != "step" and (len(inputs) != 1 or len(graph.output) != 1):
        raise CheepError(
            f"{name}: {len(inputs)} inputs and {len(graph.output)} outputs; a classifier has one of each (a recurrent "
            "step with its states in and out: --step)"
        )
    missing = sorted({node.op_type for node in graph.node} - set(OPERATORS))
    if missing:
        raise CheepError(f"{name}: " + "; ".join(f"operator {op} has no counterpart: {advice(op)}" for op in missing))
    keras = import_tf().keras
    values = {key: known(array) for key, array in initial.items()}
    starts = []
    for place, value in enumerate(inputs):
        shape = _fixed_shape(value, name)
        images = len(shape) == 4
        inside = (shape[2], shape[3], shape[1]) if images else shape[1:]
        starts.append(keras.Input(inside, name=f"input{place or ''}"))
        values[value.name] = Value(starts[-1], shape, images)
    for number, node in enumerate(graph.node):
        made = _applied(keras, node, number, values, name)
        values.update(zip(node.output, made, strict=False))
    ends = [_end(keras, values.get(v.name), v.name, name) for v in graph.output]
    if task == "step":
        return keras.Model(starts, ends, name="onnx"), tuple(s.shape[1:] for s in starts)
    end = ends[0]
    if task == "classes" and len(end.shape) > 2:
        end = keras.layers.Flatten(name="output")(end)
    return keras.Model(starts[0], end, name="onnx"), tuple(starts[0].shape[1:])


def _end(keras: Any, out: Value | None, output: str, name: str) -> Any:
    """Return an output, with its axes in ONNX's order."""
    if out is None:
        raise CheepError(f"{name}: output {output} is computed by no operator; the file is damaged")
    if out.constant:
        raise CheepError(f"{name}: the output {output} does not depend on the input")
    return (out if out.is_one_position else onnx_order(keras, out)).x


def _applied(keras: Any, node: Any, number: int, values: dict[str, Value], name: str) -> list[Value]:
    """Return what an operator gives for the values so far; an error names it."""
    where = f"{name}: operator {node.op_type} ({node.name or number})"
    try:
        arguments = [values[key] if key else None for key in node.input]
        attributes = {**{a.name: _attribute(a) for a in node.attribute}, "results": len(node.output)}
        made = OPERATORS[node.op_type](keras, arguments, attributes, f"{node.op_type.lower()}_{number}")
        return made if isinstance(made, list) else [made]
    except CheepError as error:
        raise CheepError(f"{where}: {error}") from None
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        said = str(error).splitlines()[0][:160] if str(error) else ""
        raise CheepError(
            f"{where} is used in a form that is not supported ({type(error).__name__}: {said}); {advice(node.op_type)}"
        ) from None


def _attribute(a: Any) -> Any:
    from onnx import helper, numpy_helper

    value = helper.get_attribute_value(a)
    if a.type == a.TENSOR:
        return numpy_helper.to_array(value)
    return (
        value.decode("utf-8", "replace")
        if isinstance(value, bytes)
        else list(value)
        if hasattr(value, "__len__") and not isinstance(value, str)
        else value
    )


def summary(path: Path) -> str:
    """Return the operators of an ``.onnx`` file with their number, as JSON."""
    from collections import Counter

    return json.dumps(Counter(node.op_type for node in _import_onnx().load_model(str(path)).graph.node))
