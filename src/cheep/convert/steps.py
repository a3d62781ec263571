# SPDX-License-Identifier: MIT
"""A recurrent step as somebody wrote it (ONNX or PyTorch): inputs (feature, states...), outputs (scores, states...).

It is converted as it is, whatever its operators, with ranges from real sequences; then each state that enters takes the
scale of the one that leaves, so that feeding back is a copy of bytes.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cheep.convert.requantize import set_input_scale
from cheep.convert.runtime import dequantize_as, quantize_as
from cheep.convert.schemes import check_calibration
from cheep.convert.step_model import StepModel, StepRunner, drift_of
from cheep.convert.tflite import run_converter
from cheep.errors import CheepError
from cheep.tf_runtime import import_tf
from cheep.tflite.flatbuffer import pack, text, unpack
from cheep.tflite.model import TensorInfo, read_model

_FAR = 0.2  # of the range, within three steps: then inputs or outputs are not what they are taken for
Sequences = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass
class StepSource:
    """A step that was read. ``stages`` map (n, steps, features) float32 to the scores of the last step (n, scores)."""

    path: str
    keras: Any
    features: int
    states: tuple[int, ...]
    scores: int
    stages: list[tuple[str, Sequences]]

    def run(self, x: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Run (n, steps, features) float32 from states of zero; return scores and states, (n, steps, ...) each."""
        tf = import_tf()
        n = x.shape[0]
        first = tuple(tf.zeros((n, size)) for size in (self.scores, *self.states))

        @tf.function
        def scan(rows: Any) -> Any:
            return tf.scan(lambda s, row: tuple(self.keras([row, *s[1:]], training=False)), rows, initializer=first)

        made = [np.moveaxis(np.asarray(v), 0, 1) for v in scan(np.moveaxis(x, 1, 0).astype(np.float32))]
        return made[0], made[1:]

    def last(self, x: np.ndarray) -> np.ndarray:
        """Return the scores of the last step, (n, scores) float32."""
        return self.run(x)[0][:, -1]


def is_step(path: str) -> bool:
    """Whether an ONNX file has several inputs, which only a step has."""
    if not path.endswith(".onnx") or not Path(path).is_file():
        return False
    from cheep.convert.onnx.reader import inputs_of

    return len(inputs_of(Path(path))) > 1


def load_step(path: str, checkpoint: Path | None = None) -> StepSource:
    """Read a step: ``.onnx``, or ``MODULE.py:FACTORY`` whose module takes (feature, states...).

    Raises
    ------
    CheepError
        Not a step: behind the first, inputs and outputs must be the same states in the same order.
    """
    if ".py:" in path:
        from cheep.convert.pytorch import export_step

        with tempfile.TemporaryDirectory(prefix="cheep-step-") as folder:
            target = Path(folder) / "step.onnx"
            reference = export_step(path, checkpoint, target)
            source = _from_onnx(path, target)
        source.stages.insert(0, ("PyTorch", reference))
        return source
    if not path.endswith(".onnx"):
        raise CheepError(f"{path}: a step is an .onnx file or MODULE.py:FACTORY")
    if not Path(path).is_file():
        raise CheepError(f"{path}: no such model")
    return _from_onnx(path, Path(path))


def _from_onnx(path: str, file: Path) -> StepSource:
    from cheep.convert.onnx.reader import load_step_graph

    keras, shapes, names = load_step_graph(file)
    outputs = [tuple(int(n) for n in t.shape[1:]) for t in keras.outputs]
    inputs = [tuple(int(n) for n in shape) for shape in shapes]
    if len(inputs) < 2 or inputs[1:] != outputs[1:] or any(len(s) != 1 for s in (*inputs, *outputs)):
        raise CheepError(
            f"{path}: inputs {inputs}, outputs {outputs}: a step takes (feature, states...) and gives (scores, "
            "states...), vectors all, the states in the same order and of the same sizes"
        )
    data = file.read_bytes()

    def runtime(x: np.ndarray) -> np.ndarray:
        return _run_onnx(data, names, [s[0] for s in inputs[1:]], x)

    states = tuple(s[0] for s in inputs[1:])
    return StepSource(path, keras, inputs[0][0], states, outputs[0][0], [("ONNX", runtime)])


_ONNX_PROGRAM = """
import sys, json, numpy as np, onnxruntime
path, names, states, source, target = sys.argv[1:]
names, states, x = json.loads(names), json.loads(states), np.load(source)
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
out = []
for sequence in x:
    held = [np.zeros((1, n), np.float32) for n in states]
    for row in sequence:
        scores, *held = session.run(None, dict(zip(names, [row[None], *held])))
    out.append(scores.reshape(-1))
np.save(target, np.stack(out))
"""


def _run_onnx(data: bytes, names: list[str], states: list[int], x: np.ndarray) -> np.ndarray:
    import json

    with tempfile.TemporaryDirectory(prefix="cheep-onnx-") as folder:
        here = Path(folder)
        (here / "step.onnx").write_bytes(data)
        np.save(here / "x.npy", np.ascontiguousarray(x, np.float32))
        arguments = [here / "step.onnx", json.dumps(names), json.dumps(states), here / "x.npy", here / "y.npy"]
        child = subprocess.run(
            [sys.executable, "-c", _ONNX_PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False
        )
        if child.returncode:
            words = (child.stderr.strip().splitlines() or [f"status {child.returncode}"])[-1]
            raise CheepError(f"ONNX Runtime cannot run the step ({words[:300]})")
        return np.load(here / "y.npy")


def quantize_step(
    source: StepSource, x: np.ndarray, feature: TensorInfo | None = None, examples: int = 512
) -> StepModel:
    """Return the int8 step.

    Parameters
    ----------
    x : (n, steps, features) float32, real sequences: all ranges are measured on them.
    feature : the int8 output of the backbone, whose bytes the step takes; None: the features' own range.

    Raises
    ------
    CheepError
        The examples are no real data, or the int8 step is not the step.
    """
    check_calibration(x.reshape((-1, x.shape[-1])), (source.features,))
    _, states = source.run(x)
    before = [np.concatenate([np.zeros_like(s[:, :1]), s[:, :-1]], axis=1).reshape((-1, s.shape[-1])) for s in states]
    rows = [x.reshape((-1, x.shape[-1])), *before]
    picked = np.sort(np.random.default_rng(1).permutation(len(rows[0]))[:examples])
    ends = [np.unravel_index(place, v.shape)[0] for v in rows for place in (v.argmax(), v.argmin())]
    picked = np.union1d(picked, ends)  # every range whole
    data = _int8(source, [v[picked].astype(np.float32) for v in rows])
    info = read_model(data)
    for i in range(1, len(info.inputs)):
        data = set_input_scale(data, i, info.outputs[i].scale, info.outputs[i].zero_point)
    if feature is not None:
        data = set_input_scale(data, 0, feature.scale, feature.zero_point)
    info = read_model(data)
    places = tuple(range(1, len(info.inputs)))
    model = StepModel(data, 0, places, 0, places, info.inputs[0], info.outputs[0], info.inputs[1:])
    _check(model, source, x[:1, :3])
    return model


def _int8(source: StepSource, rows: list[np.ndarray]) -> bytes:
    tf = import_tf()
    names = ["feature", *(f"state{i}" for i in range(len(source.states)))]
    sizes = [source.features, *source.states]

    def call(*inputs: Any) -> list[Any]:
        scores, *states = source.keras(list(inputs), training=False)
        return [scores, *states]

    specs = [tf.TensorSpec((1, n), tf.float32, name=name) for n, name in zip(sizes, names, strict=True)]
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [tf.function(call).get_concrete_function(*specs)], source.keras
    )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    converter.representative_dataset = lambda: ([v[i : i + 1] for v in rows] for i in range(len(rows[0])))
    return _in_order(run_converter(converter), names)


def _in_order(data: bytes, names: list[str]) -> bytes:
    """Return the model with its inputs in the order of ``names``, its outputs in that of their numbers (``NAME:1``)."""
    model = unpack(data)
    graph = model.subgraphs[0]
    label = {int(i): text(graph.tensors[int(i)].name) for i in (*graph.inputs, *graph.outputs)}
    graph.inputs = sorted(map(int, graph.inputs), key=lambda i: next(k for k, n in enumerate(names) if n in label[i]))
    graph.outputs = sorted(map(int, graph.outputs), key=lambda i: int(label[i].rpartition(":")[2]))
    return pack(model)


def _check(model: StepModel, source: StepSource, x: np.ndarray) -> None:
    sizes = [[t.shape[-1] for t in ends] for ends in (read_model(model.data).inputs, read_model(model.data).outputs)]
    if sizes != [[source.features, *source.states], [source.scores, *source.states]]:
        raise CheepError(f"{source.path}: converted to inputs and outputs of sizes {sizes}; this is a bug")
    runner = StepRunner(model)
    scores, states = source.run(x)
    for row in quantize_as(x[0], model.feature):
        found = dequantize_as(runner.push(row), model.logits)
    far = [np.abs(found - scores[0, -1]).max() / (256 * model.logits.scale)]
    for held, info, expected in zip(runner.state, model.states, states, strict=True):
        far.append(np.abs(dequantize_as(held, info).reshape(-1) - expected[0, -1]).max() / (256 * info.scale))
    if max(far) > _FAR:
        raise CheepError(
            f"{source.path}: the int8 step departs from float by {max(far):.2f} of the range within three steps; are "
            "its inputs (feature, states...) and its outputs (scores, states...), in this order?"
        )


def scores_of(model: StepModel, x: np.ndarray) -> np.ndarray:
    """Run (n, steps, features) int8 in TFLM; return the scores of the last steps (n, scores) float32."""
    runner, rows = StepRunner(model), []
    for sequence in x:
        runner.reset()
        for row in sequence:
            last = runner.push(row)
        rows.append(dequantize_as(last, model.logits))
    return np.stack(rows)


def check_drift(model: StepModel, source: StepSource, x: np.ndarray, steps: int = 10_000) -> list[dict[str, float]]:
    """Return the state's error by thousands of steps, the sequences (n, steps, features) float32 end to end."""
    long = np.concatenate(list(x))
    long = np.tile(long, (-(-steps // len(long)), 1))[:steps].astype(np.float32)
    return drift_of(model, lambda rows: source.run(rows)[1][0], long)
