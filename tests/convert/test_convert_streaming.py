# SPDX-License-Identifier: MIT
"""The recurrent step in int8: no loop, no drift, the same bytes compiled; exports that check themselves."""

import json
import subprocess
import sys

import numpy as np
import pytest

import convert_cases as cases
from cheep.ccore import compile_shared
from cheep.compiler import CompiledModel
from cheep.convert import exports
from cheep.convert.config import ConvertConfig
from cheep.convert.recurrent_cell import GATES, Cell, cell_from_keras, run_float
from cheep.convert.runtime import quantize_as
from cheep.convert.schemes import to_scheme
from cheep.convert.specs import extended_specs
from cheep.convert.step_model import StepRunner, check_drift, convert_step
from cheep.errors import CheepError
from cheep.tflite.model import read_model
from cheep.tflite.tflm import TflmModel

FEATURES, HIDDEN = 10, 16


def make_cell(kind, seed=1):
    rng = np.random.default_rng(seed)
    gates = len(GATES[kind]) * HIDDEN
    shapes = (FEATURES, gates), (HIDDEN, gates), (gates,), (gates,), (HIDDEN, 3), (3,)
    return Cell(kind, *(rng.normal(0, 0.3, shape).astype(np.float32) for shape in shapes))


def make_features(n, steps, seed=2):
    rng = np.random.default_rng(seed)
    slow = np.sin(np.arange(steps) / 7)[None, :, None] * np.linspace(0.3, 1.5, FEATURES)
    return (slow + rng.normal(0, 0.4, (n, steps, FEATURES))).astype(np.float32)


@pytest.fixture(scope="module", params=["gru", "lstm"])
def pair(request):
    cell = make_cell(request.param)
    return cell, convert_step(cell, make_features(8, 60))


def test_plain_operators_and_one_scale_for_the_state(pair):
    cell, model = pair
    operators = set(read_model(model.data).operators)
    assert operators <= {"FULLY_CONNECTED", "ADD", "SUB", "MUL", "LOGISTIC", "TANH"}
    info = read_model(model.data)
    for a, b in zip(model.state_inputs, model.state_outputs, strict=True):
        assert (info.inputs[a].scale, info.inputs[a].zero_point) == (info.outputs[b].scale, info.outputs[b].zero_point)
    assert model.states[0].scale == 1 / 128
    assert model.states[0].zero_point == 0
    assert len(model.states) == cell.states
    assert all(t.dtype == "int8" for t in (*info.inputs, *info.outputs))


def test_ten_thousand_steps_do_not_drift(pair):
    cell, model = pair
    blocks = check_drift(model, cell, make_features(1, 10000)[0])
    means = np.array([row["mean"] for row in blocks])
    assert len(blocks) == 10
    assert means[0] < 0.03
    assert means[-1] < 1.2 * means[0]
    assert means.max() < 1.3 * means.min()
    assert max(row["max"] for row in blocks) < 0.25


def test_compiled_step_gives_the_bytes_of_tflm(pair):
    _, model = pair
    compiled, runner = CompiledModel(model.data), StepRunner(model)
    state = [s.copy() for s in runner.state]
    for row in quantize_as(make_features(1, 300, seed=5)[0], model.feature):
        inputs = [None] * (1 + len(state))
        inputs[model.feature_input] = row[None]
        for index, value in zip(model.state_inputs, state, strict=True):
            inputs[index] = value
        outputs = compiled.invoke(*inputs)
        state = [np.asarray(outputs[i]).reshape(1, -1) for i in model.state_outputs]
        assert np.array_equal(runner.push(row), np.ravel(outputs[model.logits_output]))
        assert all(np.array_equal(a, b) for a, b in zip(state, runner.state, strict=True))


def test_reset_replays(pair):
    _, model = pair
    runner = StepRunner(model)
    rows = quantize_as(make_features(1, 20)[0], model.feature)
    first = [runner.push(row) for row in rows]
    runner.reset()
    assert np.array_equal(first, [runner.push(row) for row in rows])
    assert not np.array_equal(first[-1], runner.push(rows[-1])), "the state matters"


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_equations_are_those_of_keras(kind):
    model = cases.recurrent(kind).keras
    cell = cell_from_keras(model.layers[-2], model.layers[-1])
    x = cases.sequences().x["test"]
    logits = run_float(cell, x)[0][:, -1]
    p = np.exp(logits - logits.max(1, keepdims=True))
    assert np.allclose(p / p.sum(1, keepdims=True), model.predict(x, verbose=0), atol=1e-5)


def test_int8_step_keeps_the_accuracy_of_keras():
    model, data = cases.recurrent("GRU").keras, cases.sequences()
    cell = cell_from_keras(model.layers[-2], model.layers[-1])
    step = convert_step(cell, data.x["train"])
    runner, found = StepRunner(step), []
    for sequence in quantize_as(data.x["test"], step.feature):
        runner.reset()
        for row in sequence:
            last = runner.push(row)
        found.append(int(last.argmax()))
    expected = model.predict(data.x["test"], verbose=0).argmax(1)
    assert np.mean(expected == data.y["test"]) > 0.9
    assert np.mean(np.array(found) == expected) >= 0.95


def test_wrong_cells_are_refused():
    with pytest.raises(CheepError, match="must be gru or lstm"):
        Cell("rnn", *[np.zeros((1, 1))] * 6)
    good = make_cell("gru")
    with pytest.raises(CheepError, match="do not belong together"):
        Cell("lstm", good.w, good.u, good.b, good.c, good.out_w, good.out_b)
    with pytest.raises(CheepError, match="real"):
        convert_step(good, np.zeros((8, 60, FEATURES), np.float32))


@pytest.fixture(scope="module")
def exported():
    data = cases.table()
    model = to_scheme(cases.mlp().keras, (8,), "int8", data.x["train"][:64])
    info = read_model(model)
    golden = quantize_as(data.x["val"][:1], info.inputs[0])
    return model, golden, np.array(TflmModel(model).invoke(golden))


def test_c_array_holds_the_bytes(exported, tmp_path):
    model, _, _ = exported
    (tmp_path / "net.h").write_text(exports.render_c_header(model, "net", 1234, ("no", 'y"es')))
    (tmp_path / "net.c").write_text(
        exports.render_c_source(model, "net").replace("alignas(16) ", "_Alignas(16) ")
        + "const char *labels[] = NET_LABELS;\nunsigned arena(void) { return NET_ARENA_BYTES; }\n"
        + "float scale(void) { return NET_INPUT0_SCALE; }\nint zero(void) { return NET_INPUT0_ZERO_POINT; }\n"
    )
    import ctypes

    library = ctypes.CDLL(str(compile_shared([tmp_path / "net.c"], [tmp_path], [], "net")))
    assert bytes((ctypes.c_ubyte * len(model)).in_dll(library, "net")) == model
    assert ctypes.addressof(ctypes.c_ubyte.in_dll(library, "net")) % 16 == 0
    assert library.arena() == 1234
    library.scale.restype = ctypes.c_float
    info = read_model(model).inputs[0]
    assert (library.scale(), library.zero()) == (np.float32(info.scale), info.zero_point)
    assert [s.decode() for s in (ctypes.c_char_p * 2).in_dll(library, "labels")] == ["no", 'y"es']
    first = (tmp_path / "net.h").read_text().splitlines()[0]
    assert read_model(model).sha256 in first
    assert "DO NOT EDIT" in first


def test_python_module_loads_and_checks_itself(exported, tmp_path):
    model, golden, out = exported
    path = tmp_path / "net.py"
    path.write_text(exports.render_python(model, ("no", "yes"), golden, out))
    ran = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=True)
    assert ran.stdout == "model ok\n"
    text = path.read_text()
    assert "typing" not in text, "MicroPython has no typing module"
    scope: dict = {"__name__": "net"}
    exec(compile(text, "net.py", "exec"), scope)
    assert scope["data"]() == model
    x = cases.table().x["val"][0]
    assert scope["quantize"]([float(v) for v in x]) == quantize_as(x, read_model(model).inputs[0]).tolist()
    assert scope["check"](lambda raw: out.tobytes())
    assert not scope["check"](lambda raw: bytes(len(out.tobytes())))
    scope["_DATA"] = scope["_DATA"][:100] + b"!" + scope["_DATA"][101:]
    with pytest.raises(ValueError, match="damaged"):
        scope["data"]()


def test_specs_are_extended_and_the_users_keys_stay(exported):
    model, _, _ = exported
    before = {"units": "mm", "input": {"unit": "counts"}, "labels": ["no", "yes"]}
    specs = extended_specs(before, model, ConvertConfig(), ("0", "1"), ((1.0,), (2.0,)), 99, "net.tflite")
    assert specs["units"] == "mm"
    assert specs["labels"] == ["no", "yes"]
    assert specs["input"] == {"unit": "counts", "mean": [1.0], "std": [2.0]}
    assert specs["model"]["sha256"] == read_model(model).sha256
    assert specs["model"]["inputs"][0]["scale"] == read_model(model).inputs[0].scale
    assert json.loads(json.dumps(specs)) == specs
    assert before == {"units": "mm", "input": {"unit": "counts"}, "labels": ["no", "yes"]}, (
        "nothing of the user's changed"
    )
