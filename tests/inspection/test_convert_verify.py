# SPDX-License-Identifier: MIT
"""cheep verify on models that carry a state, and one model in several runtimes."""

import json

import numpy as np
import pytest

from cheep.cli import main
from cheep.convert.recurrent_cell import Cell
from cheep.convert.runtime import quantize_as
from cheep.convert.step_model import StepModel, StepRunner, convert_step
from cheep.errors import CheepError
from cheep.inspection.runners import RUNTIMES, find_ports, run_trace
from cheep.tflite.model import TensorInfo, TfliteModel, read_model

FEATURES, HIDDEN, CLASSES, STEPS = 6, 8, 3, 25


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two recurrent steps of unlike weights, and sequences to run them on."""
    folder = tmp_path_factory.mktemp("steps")
    rng = np.random.default_rng(7)
    slow = np.sin(np.arange(STEPS) / 5 + rng.uniform(0, 6, (40, 1)))[..., None] * np.linspace(0.3, 1.2, FEATURES)
    x = (slow + rng.normal(0, 0.3, (40, STEPS, FEATURES))).astype(np.float32)
    shapes = (FEATURES, 3 * HIDDEN), (HIDDEN, 3 * HIDDEN), (3 * HIDDEN,), (3 * HIDDEN,), (HIDDEN, CLASSES), (CLASSES,)
    for name in ("one", "two"):
        weights = [rng.normal(0, 0.4, shape).astype(np.float32) for shape in shapes]
        (folder / f"{name}.tflite").write_bytes(convert_step(Cell("gru", *weights), x[:24]).data)
    y = rng.integers(0, CLASSES, 40)
    np.savez(folder / "x.npz", x_train=x[:24], y_train=y[:24], x_val=x[24:32], y_val=y[24:32], x_test=x[32:],
             y_test=y[32:])  # fmt: skip
    return folder


def test_a_state_is_carried_through_each_sequence_and_starts_anew(files):
    model = read_model(files / "one.tflite")
    ports = find_ports(model)
    assert (ports.data, ports.answer, ports.states) == (0, 0, ((1, 1),))
    x = np.load(files / "x.npz")["x_test"]
    trace = run_trace(model, ports, x, "tflm")
    cell = StepModel(model.data, 0, (1,), 0, (1,), model.inputs[0], model.outputs[0], (model.inputs[1],))
    runner = StepRunner(cell)
    for sequence, answers in zip(x, trace.answers, strict=True):
        runner.reset()
        for row, answer in zip(quantize_as(sequence, model.inputs[0]), answers, strict=True):
            raw = runner.push(row)
            assert np.allclose((raw.astype(float) - model.outputs[0].zero_point) * model.outputs[0].scale, answer)


def test_one_model_in_every_runtime(files, capsys):
    data = ["--data", str(files / "x.npz")]
    assert main("verify", [str(files / "one.tflite"), *data, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["reference"] == "tflm"
    assert (result["examples"], result["steps"]) == (8, STEPS)
    by_runtime = {row["runtime"]: row for row in result["runtimes"]}
    assert set(by_runtime) == set(RUNTIMES) - {"tflm"}
    assert by_runtime["compiled"]["equal"] == 1.0, "the compiled network gives TFLM's bytes, states included"
    assert by_runtime["tflite"]["same_class"] > 0.9
    assert main("verify", [str(files / "one.tflite"), *data, "--min-agreement", "0.9"]) == 0
    assert "against TensorFlow Lite Micro on 8 examples (test) of 25 steps" in capsys.readouterr().out


def test_two_steps_are_compared_over_all_steps_and_states(files, capsys):
    data = ["--data", str(files / "x.npz")]
    same = [str(files / "one.tflite"), str(files / "one.tflite"), *data]
    assert main("verify", [*same, "--max-difference", "0", "--min-agreement", "1"]) == 0
    assert "over all 25 steps: same class 100.00 %" in capsys.readouterr().out
    pair = [str(files / "one.tflite"), str(files / "two.tflite"), *data]
    assert main("verify", [*pair, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["along"]["steps"] == STEPS
    assert result["along"]["state"]["max"] > 0.1
    assert main("verify", [*pair, "--max-difference", "0.01"]) == 1


def test_inspect_measures_ranges_along_the_sequences(files, capsys):
    command = [str(files / "one.tflite"), "--data", str(files / "x.npz"), "--examples", "3", "--no-tflm", "--json"]
    assert main("inspect", command) == 0
    ranges = json.loads(capsys.readouterr().out)["ranges"]
    inputs = [row for row in ranges if row["operator"] == "input"]
    assert len(inputs) == 2
    assert min(row["used"] for row in inputs) > 0.2, "the state moves from step to step"


def _tensor(name, size, scale=0.5):
    return TensorInfo(name, (1, size), "int8", scale, 0)


def _model(inputs, outputs):
    return TfliteModel(b"", tuple(inputs), tuple(outputs), {}, None)


def test_ports_by_name_by_scale_and_by_the_user():
    named = _model([_tensor("x", 4), _tensor("hidden_state", 4)], [_tensor("out", 4, 0.25), _tensor("logits", 2)])
    assert find_ports(named).states == ((1, 0),), "the scale may differ: the name decides"
    scaled = _model([_tensor("a", 4), _tensor("b", 6)], [_tensor("c", 2), _tensor("d", 6)])
    assert find_ports(scaled).states == ((1, 1),)
    unclear = _model([_tensor("a", 4), _tensor("b", 4)], [_tensor("c", 4, 0.1), _tensor("d", 2)])
    with pytest.raises(CheepError, match="name the pairs with --state"):
        find_ports(unclear)
    assert find_ports(unclear, ["0:0"]).data == 1
    for wrong in ("1", "2:0", "0:-1", "x:y"):
        with pytest.raises(CheepError, match="INPUT:OUTPUT"):
            find_ports(unclear, [wrong])
    with pytest.raises(CheepError, match="differ in size"):
        find_ports(unclear, ["1:1"])


def test_wrong_shapes_are_said(files, tmp_path, capsys):
    np.savez(tmp_path / "flat.npz", x=np.random.default_rng(0).normal(size=(40, 5)), y=np.arange(40) % 3)
    assert main("verify", [str(files / "one.tflite"), "--data", str(tmp_path / "flat.npz")]) == 2
    assert "takes sequences" in capsys.readouterr().err
