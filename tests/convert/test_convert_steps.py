# SPDX-License-Identifier: MIT
"""Recurrent layers in ONNX taken apart, steps as they are, a backbone with its step, features, LSTMs in SavedModels."""

from __future__ import annotations

import json

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="reading ONNX is optional: requirements-convert.txt brings it")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from cheep import cli  # noqa: E402
from cheep.compiler import CompiledModel  # noqa: E402
from cheep.convert.data import load_data  # noqa: E402
from cheep.convert.onnx.reader import import_graph  # noqa: E402
from cheep.convert.requantize import set_input_scale  # noqa: E402
from cheep.convert.runtime import quantize_as  # noqa: E402
from cheep.convert.steps import check_drift, load_step, quantize_step, scores_of  # noqa: E402
from cheep.errors import CheepError  # noqa: E402
from cheep.tflite.model import read_model  # noqa: E402
from cheep.tflite.tflm import TflmModel  # noqa: E402
from tflite_builder import Builder, T, constant  # noqa: E402

F, H, K = 6, 5, 3


def _model(nodes, weights, inputs, outputs, path=None):
    info = [
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in ends.items()] for ends in (inputs, outputs)
    ]
    initial = [numpy_helper.from_array(np.asarray(v), n) for n, v in weights.items()]
    made = helper.make_model(
        helper.make_graph(nodes, "g", *info, initial), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    if path is not None:
        onnx.save(made, str(path))
    return made


def _runs(model, inputs):
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(model).run(None, inputs)


@pytest.mark.parametrize("kind, options", [("GRU", {"linear_before_reset": 1}), ("GRU", {}), ("LSTM", {})])
@pytest.mark.parametrize("with_state", [False, True])
def test_gru_and_lstm_become_plain_layers(rng, kind, options, with_state):
    gates, states, steps = {"GRU": (3, 1, 4), "LSTM": (4, 2, 4)}[kind]
    weights = {
        "w": rng.normal(0, 0.5, (1, gates * H, F)).astype("f4"),
        "r": rng.normal(0, 0.5, (1, gates * H, H)).astype("f4"),
        "b": rng.normal(0, 0.3, (1, 2 * gates * H)).astype("f4"),
        "front": np.array([0], np.int64),
        "side": np.array([1], np.int64),
    }
    names = ["h", "c"][:states] if with_state else []
    raised = ["h0", "c0"][:states]
    weights |= {"nothing": np.zeros((1, 1, 1), np.float32), "wide": np.array([1, 1, H], np.int64)}
    nodes = [  # a state that is given; or zeros, as PyTorch writes them
        helper.make_node("Unsqueeze", [r[0], "front"], [r])
        if with_state
        else helper.make_node("Expand", ["nothing", "wide"], [r])
        for r in raised
    ]
    nodes += [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node(kind, ["t", "w", "r", "b", "", *raised],
                         ["y", *["yh", "yc"][:states]], hidden_size=H, **options),
        helper.make_node("Squeeze", ["y", "side"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["out"], perm=[1, 0, 2]),
        *(helper.make_node("Squeeze", [n, "front"], [f"{n}1"]) for n in ["yh", "yc"][:states]),
    ]  # fmt: skip
    inputs = {"x": (1, steps, F), **{n: (1, H) for n in names}}
    outputs = {"out": (1, steps, H), **{f"{n}1": (1, H) for n in ["yh", "yc"][:states]}}
    model = _model(nodes, weights, inputs, outputs)
    keras, _ = import_graph(model, "m.onnx", "step")
    values = {n: rng.normal(0, 1, s).astype("f4") for n, s in inputs.items()}
    made = keras(list(values.values()) if len(values) > 1 else values["x"])
    for got, expected in zip(made, _runs(model, values), strict=True):
        assert np.abs(np.asarray(got) - expected).max() < 1e-5


def _step(path, rng):
    """A step of gates with an attention head, hidden state in and out."""
    weights = {
        "w": rng.normal(0, 0.4, (2 * H, F)).astype("f4"), "u": rng.normal(0, 0.4, (2 * H, H)).astype("f4"),
        "b": rng.normal(0, 0.2, 2 * H).astype("f4"), "a": rng.normal(0, 0.5, (H, H)).astype("f4"),
        "k": rng.normal(0, 0.8, (K, H)).astype("f4"),
    }  # fmt: skip
    n = helper.make_node
    nodes = [
        n("Gemm", ["x", "w", "b"], ["gx"], transB=1), n("Gemm", ["h", "u"], ["gh"], transB=1),
        n("Split", ["gx"], ["zx", "nx"], axis=1), n("Split", ["gh"], ["zh", "nh"], axis=1),
        n("Add", ["zx", "zh"], ["za"]), n("Sigmoid", ["za"], ["z"]), n("Add", ["nx", "nh"], ["na"]),
        n("Tanh", ["na"], ["new"]),
        n("Sub", ["h", "new"], ["d"]), n("Mul", ["d", "z"], ["dz"]), n("Add", ["dz", "new"], ["h2"]),
        n("Gemm", ["h2", "a"], ["e"], transB=1), n("Softmax", ["e"], ["s"], axis=-1), n("Mul", ["h2", "s"], ["hs"]),
        n("Gemm", ["hs", "k"], ["y"], transB=1),
    ]  # fmt: skip
    return _model(nodes, weights, {"x": (1, F), "h": (1, H)}, {"y": (1, K), "h2": (1, H)}, path)


def _sequences(rng, n, steps):
    slow = np.sin(np.arange(steps) / 3)[None, :, None] * np.linspace(0.3, 1.5, F)
    return (slow + rng.normal(0, 0.4, (n, steps, F))).astype("f4")


def test_a_step_as_it_is(tmp_path, rng):
    _step(tmp_path / "s.onnx", rng)
    source = load_step(str(tmp_path / "s.onnx"))
    assert (source.features, source.states, source.scores) == (F, (H,), K)
    x = _sequences(rng, 24, 12)
    runtime = dict(source.stages)["ONNX"](x[:4])
    assert np.abs(runtime - source.last(x[:4])).max() < 1e-5
    model = quantize_step(source, x)
    info = read_model(model.data)
    assert (info.inputs[1].scale, info.inputs[1].zero_point) == (info.outputs[1].scale, info.outputs[1].zero_point)
    scores = scores_of(model, quantize_as(x, model.feature))
    assert np.mean(scores.argmax(1) == source.last(x).argmax(1)) >= 0.85
    drift = check_drift(model, source, x, steps=3000)
    assert drift[-1]["mean"] < 1.3 * drift[0]["mean"] < 0.05
    compiled, reference = CompiledModel(model.data), TflmModel(model.data)
    state = np.zeros((1, H), np.int8)
    for row in quantize_as(x[0], model.feature):
        made = compiled.invoke(row, state)
        reference.invoke(row[None], state)
        assert [m.tobytes() for m in made] == [reference.output(i).tobytes() for i in range(2)]
        state = made[1]


def test_what_is_no_step(tmp_path, rng):
    n = helper.make_node
    ends = {"x": (1, 4), "h": (1, 4)}, {"y": (1, 4), "z": (1, 4)}
    _model([n("Add", ["x", "h"], ["y"]), n("Relu", ["x"], ["z"])], {}, *ends, tmp_path / "ok.onnx")
    load_step(str(tmp_path / "ok.onnx"))
    _model(
        [n("Concat", ["x", "h"], ["y"], axis=1)], {}, {"x": (1, 4), "h": (1, 3)}, {"y": (1, 7)}, tmp_path / "no.onnx"
    )
    with pytest.raises(CheepError, match=r"a step takes \(feature, states...\)"):
        load_step(str(tmp_path / "no.onnx"))
    with pytest.raises(CheepError, match=r"an \.onnx file or MODULE\.py:FACTORY"):
        load_step("step.h5")


def test_another_scale_for_an_input():
    b = Builder()
    x, y = b.tensor(T((1, 4), 0.05, 3)), b.tensor(T((1, 2), 0.4, -4))
    w, bias = (
        b.tensor(constant([[90, -4, 3, 1], [5, 60, -70, 8]], 0.01)),
        b.tensor(constant([400, -900], 0.0005, dtype="int32")),
    )
    b.op("FULLY_CONNECTED", [x, w, bias], [y], "FullyConnectedOptions")
    data = b.build([x], [y])
    changed = set_input_scale(data, 0, 0.1, -7)
    real = np.array([[1.0, -2.0, 3.0, 0.5]])
    one, two = (TflmModel(d).invoke(quantize_as(real, read_model(d).inputs[0])) for d in (data, changed))
    assert np.abs(one.astype(int) - two).max() <= 1 and read_model(changed).inputs[0].zero_point == -7
    b = Builder()
    x, y = b.tensor(T((1, 4), 0.05, 3)), b.tensor(T((1, 8), 0.05, 3))
    b.op("CONCATENATION", [x, x], [y], "ConcatenationOptions", axis=1)
    with pytest.raises(CheepError, match="goes into CONCATENATION"):
        set_input_scale(b.build([x], [y]), 0, 0.1, 0)


def test_a_pair_and_its_verification(tmp_path, rng, capsys):
    """One command: the backbone's features are the step's, and a page says what was proven."""
    _step(tmp_path / "step.onnx", rng)
    w = rng.normal(0, 0.5, (4, F)).astype("f4")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Relu", ["m"], ["y"])]
    _model(nodes, {"w": w}, {"x": (1, 7, 4)}, {"y": (1, 7, F)}, tmp_path / "backbone.onnx")
    x = np.cumsum(rng.normal(0, 0.4, (100, 7, 4)), axis=1).astype("f4")
    np.savez(tmp_path / "d.npz", x=x, y=rng.integers(0, K, 100))
    out = tmp_path / "out"
    arguments = ["--backbone", str(tmp_path / "backbone.onnx"), "--step", str(tmp_path / "step.onnx")]
    assert cli.main("convert", [*arguments, "--dataset", str(tmp_path / "d.npz"), "--output", str(out), "-e"]) == 0
    assert "sequences of 7 steps" in capsys.readouterr().out
    text = (out / "verification.md").read_text()
    assert "ONNX | TensorFlow" in text and "Everything is int8" in text and "| 9,000 |" in text
    pair = json.loads((out / "results.json").read_text())["pair"]
    assert pair["agreement"] >= 0.8 and pair["bytes"]["both"] == sum(
        (out / f"{name}.tflite").stat().st_size for name in ("backbone", "step")
    )
    made, taken = read_model(out / "backbone.tflite").outputs[0], read_model(out / "step.tflite").inputs[0]
    assert (made.scale, made.zero_point) == (taken.scale, taken.zero_point)
    _same_in_c(out, x[:4])
    wrong = {
        "--backbone a.onnx": "needs --step",
        "--input a.onnx --step b.onnx": "not together",
        "": "nothing to convert",
    }
    for options, message in wrong.items():
        assert cli.main("convert", [*options.split(), "--dataset", "d.npz"]) == 2
        assert message in capsys.readouterr().err


def test_sequences_of_columns_are_cut_for_either_order_of_a_backbone(tmp_path, rng, capsys):
    """(n, columns, bands), twice as long as the window: the same features for (columns, bands) and (bands, columns)."""
    from cheep.convert.streaming_job import as_chunks

    _step(tmp_path / "step.onnx", rng)
    w = rng.normal(0, 0.5, (4, F)).astype("f4")
    project = helper.make_node("MatMul", ["t", "w"], ["y"])
    for name, shape, order in (("columns", (1, 7, 4), [0, 1, 2]), ("bands", (1, 4, 7), [0, 2, 1])):
        turn = helper.make_node("Transpose", ["x"], ["t"], perm=order)
        _model([turn, project], {"w": w}, {"x": shape}, {"y": (1, 7, F)}, tmp_path / f"{name}.onnx")
    x = np.cumsum(rng.normal(0, 0.4, (100, 16, 4)), axis=1).astype("f4")
    np.savez(tmp_path / "d.npz", x=x, y=rng.integers(0, K, 100))
    data, results = load_data(tmp_path / "d.npz", None, {}), {}
    turned = as_chunks(data, (4, 7, 1)).x["val"]
    assert turned.shape == (len(data.x["val"]), 2, 4, 7, 1)
    assert np.array_equal(turned[:, 1, :, 3, 0], data.x["val"][:, 10])
    for name in ("columns", "bands"):
        arguments = ["--backbone", str(tmp_path / f"{name}.onnx"), "--step", str(tmp_path / "step.onnx")]
        out = tmp_path / name
        assert cli.main("convert", [*arguments, "--dataset", str(tmp_path / "d.npz"), "--output", str(out)]) == 0
        said = capsys.readouterr()
        assert "2 chunks an example" in said.out + said.err and "sequences of 14 steps" in said.out
        results[name] = json.loads((out / "results.json").read_text())["pair"]
    assert results["columns"]["float_accuracy"] == results["bands"]["float_accuracy"]
    assert min(r["agreement"] for r in results.values()) >= 0.8
    np.savez(tmp_path / "d.npz", x=x[:, :, :3], y=rng.integers(0, K, 100))
    assert cli.main("convert", [*arguments, "--dataset", str(tmp_path / "d.npz"), "--output", str(out)]) == 2
    assert "give (n, steps, *chunk) or (n, columns, bands)" in capsys.readouterr().err


def _same_in_c(out, x):
    """The compiled pair gives the bytes of both networks in TFLM, the state carried from window to window."""
    import ctypes

    from cheep.ccore import compile_shared

    sources = [out / name for name in ("streaming.c", "streaming_backbone.c", "streaming_step.c")]
    library = ctypes.CDLL(str(compile_shared(sources, [out], ["-O1"], "pair")))
    backbone, step = TflmModel((out / "backbone.tflite").read_bytes()), TflmModel((out / "step.tflite").read_bytes())
    memory, scores = np.zeros(1 << 14, np.uint64), np.zeros(K, np.int8)
    library.streaming_reset(ctypes.c_void_p(memory.ctypes.data))
    state = np.full((1, H), read_model(out / "step.tflite").inputs[1].zero_point, np.int8)
    for row in quantize_as(x, backbone.input_info).reshape((len(x), *backbone.input_shape)):
        library.streaming_push(*(ctypes.c_void_p(a.ctypes.data) for a in (memory, row, scores)))
        for feature in np.array(backbone.invoke(row)).reshape((-1, F)):
            expected = step.invoke(feature[None], state)
            state = np.array(step.output(1))
        assert scores.tobytes() == expected.tobytes()


def test_features_need_no_classes(tmp_path, rng):
    from cheep.convert.config import ConvertConfig
    from cheep.convert.job import convert, load_all

    w = rng.normal(0, 0.5, (4, F)).astype("f4")
    _model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        {"w": w},
        {"x": (1, 7, 4)},
        {"y": (1, 7, F)},
        tmp_path / "b.onnx",
    )
    np.savez(tmp_path / "d.npz", x=np.cumsum(rng.normal(0, 0.4, (100, 7, 4)), axis=1).astype("f4"))
    source, data, _ = load_all(str(tmp_path / "b.onnx"), tmp_path / "d.npz")
    assert source.extracts and source.output_shape == (7, F)
    made = convert(source, data, ConvertConfig())
    assert made.accuracy is None and made.cosine > 0.999 and made.error_db < -25
    assert read_model(made.model).outputs[0].shape == (1, 7, F)
    with pytest.raises(CheepError, match="no classes to learn again"):
        convert(source, data, ConvertConfig(prune=0.5))
    with pytest.raises(CheepError, match="must hold x and y"):
        load_all(str(tmp_path / "b.onnx"), tmp_path / "d.npz", task="classes")


def test_class_numbers_where_labels_are_words(tmp_path):
    rows = [f"{i},{i % 7},{i % 3}.0000" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,label", *rows]) + "\n")
    data = load_data(tmp_path / "t.csv", specs={"labels": ["falling", "steady", "rising"]})
    assert data.labels == ("falling", "steady", "rising") and set(data.y["train"]) == {0, 1, 2}
    with pytest.raises(CheepError, match="class 2 but only 2 labels"):
        load_data(tmp_path / "t.csv", specs={"labels": ["falling", "rising"]})


def test_a_saved_model_with_an_lstm(tmp_path, rng):
    """Saved without its layers: TFLite makes one operator of the LSTM, whose state must not outlive an example."""
    from cheep.convert.config import ConvertConfig
    from cheep.convert.job import convert, load_all
    from cheep.tf_runtime import import_tf, quiet_stderr

    tf = import_tf()
    k = tf.keras
    start = k.Input((24,))
    end = k.layers.Dense(3, activation="softmax")(k.layers.LSTM(5)(k.layers.Reshape((6, 4))(start)))
    with quiet_stderr():
        tf.saved_model.save(k.Model(start, end), str(tmp_path / "lstm"))
    x = np.cumsum(rng.normal(0, 0.3, (90, 24)), axis=1)
    rows = [",".join(f"{v:.4f}" for v in row) + f",{i % 3}" for i, row in enumerate(x)]
    (tmp_path / "t.csv").write_text("\n".join([",".join("c" * 25), *rows]) + "\n")
    source, data, _ = load_all(str(tmp_path / "lstm"), tmp_path / "t.csv")
    made = convert(source, data, ConvertConfig())
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in read_model(made.model).operators and made.tflm == "yes"
    assert made.agreement > 0.85 and made.cosine > 0.99
    assert any("reset" in note for note in made.notes)
    with pytest.raises(CheepError, match="a SavedModel has no layers"):
        convert(source, data, ConvertConfig(prune=0.5))
    again = k.Model(start, k.layers.Dense(3)(k.layers.GRU(5)(k.layers.Reshape((6, 4))(start))))
    with quiet_stderr():
        tf.saved_model.save(again, str(tmp_path / "gru"))
    with pytest.raises(CheepError, match="a loop over a list of tensors that is no LSTM layer"):
        load_all(str(tmp_path / "gru"), tmp_path / "t.csv")


_TORCH = """
from torch import nn
INPUT_SHAPE = (3, 8, 8)
class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.projection, self.classifier = nn.Linear(6, 16), nn.Linear(16, 3)
    def forward(self, x):
        return self.classifier(self.projection(x).relu())
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self.head = nn.Conv2d(3, 6, 3, 2, 1), Head()
    def forward(self, x):
        return self.head(self.backbone(x).relu().mean((2, 3)))
class Step(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.out = nn.GRUCell(6, 5), nn.Linear(5, 3)
    def forward(self, x, h):
        h = self.cell(x, h)
        return self.out(h), h
"""


def test_a_network_of_pytorch_cut_at_a_layer_and_a_step(tmp_path, rng):
    pytest.importorskip("torch", reason="PyTorch is optional: requirements-convert.txt brings it")
    from cheep.convert.load import load_source
    from cheep.convert.stages import check_stages

    (tmp_path / "net.py").write_text(_TORCH)
    source = load_source(f"{tmp_path / 'net.py'}:Net", cut="head.projection")
    x = rng.normal(0, 1, (4, 8, 8, 3)).astype("f4")
    assert source.output_shape == (16,)
    check_stages([*source.stages, ("TensorFlow", source.predict)], x)
    step = load_step(f"{tmp_path / 'net.py'}:Step")
    assert (step.features, step.states, step.scores) == (6, (5,), 3)
    check_stages([*step.stages, ("TensorFlow", step.last)], _sequences(rng, 3, 4))
    with pytest.raises(CheepError, match=r"no such layer; it has backbone, head, head.projection"):
        load_source(f"{tmp_path / 'net.py'}:Net", cut="neck")
    with pytest.raises(CheepError, match=r"a step takes \(feature, states...\)|needs the sizes"):
        load_step(f"{tmp_path / 'net.py'}:Net")
