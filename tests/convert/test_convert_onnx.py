# SPDX-License-Identifier: MIT
"""ONNX and PyTorch come in as networks of layers. Optional packages: see requirements-convert.txt."""

import textwrap

import numpy as np
import pytest

import convert_cases as cases
from cheep.convert.load import load_source
from cheep.convert.runtime import tflm_outputs
from cheep.convert.schemes import to_scheme
from cheep.convert.stages import check_stages
from cheep.errors import CheepError

onnx = pytest.importorskip("onnx", reason="reading ONNX is optional: requirements-convert.txt brings it")


def real(n, shape, seed=0):
    """Random walks: smooth like features."""
    return (np.random.default_rng(seed).normal(size=(n, *shape)).cumsum(1) * 0.3).astype(np.float32)


def write_onnx(path, nodes, weights, shape=(1, 2, 9, 8), out=(1, 3)):
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node(*n[:3], **n[3]) for n in nodes], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(v, k) for k, v in weights.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


def weights(**shapes):
    rng = np.random.default_rng(1)
    return {k: rng.normal(0, 0.4, s).astype(np.float32) for k, s in shapes.items()}


def test_layouts_of_a_convolution_with_flatten(tmp_path):
    """Flatten after NCHW: the weights of the last layer see channels first, whatever the order here."""
    nodes = [
        ("Conv", ["x", "w", "b"], ["c"], {"pads": [1, 2, 1, 0], "strides": [2, 1]}),
        ("Relu", ["c"], ["r"], {}),
        ("Conv", ["r", "d"], ["e"], {"group": 4, "pads": [1, 1, 1, 1]}),
        ("Add", ["e", "r"], ["s"], {}),
        ("Flatten", ["s"], ["f"], {}),
        ("Gemm", ["f", "g", "h"], ["l"], {"transB": 1}),
        ("Softmax", ["l"], ["y"], {"axis": 1}),
    ]
    path = write_onnx(tmp_path / "m.onnx", nodes, weights(w=(4, 2, 3, 3), b=(4,), d=(4, 1, 3, 3), g=(3, 160), h=(3,)))
    source = load_source(str(path))
    assert source.input_shape == (9, 8, 2)
    x = real(40, (9, 8, 2))
    rows = check_stages([*source.stages, ("TensorFlow", source.predict)], x[:8])
    assert rows[0]["max_difference"] < 1e-5
    model = to_scheme(source.keras, source.input_shape, "int8", x)
    assert np.abs(tflm_outputs(model, x[:8]) - source.predict(x[:8])).max() < 0.1


def test_a_stage_that_departs_is_named(tmp_path):
    x = real(4, (3,))
    with pytest.raises(CheepError, match="stage TensorFlow departs from ONNX: by 1 on example"):
        check_stages([("ONNX", lambda v: v), ("TensorFlow", lambda v: v + 1.0)], x)
    with pytest.raises(CheepError, match="stage B: gives NaN"):
        check_stages([("A", lambda v: v), ("B", lambda v: v * np.nan)], x)
    assert check_stages([("A", lambda v: v), ("B", lambda v: v)], x)[0]["same_class"] == 1


@pytest.mark.parametrize(
    ("op", "message"),
    [
        ("RNN", "operator RNN has no counterpart: use GRU or LSTM"),
        ("InstanceNormalization", "operator InstanceNormalization has no counterpart: use BatchNormalization"),
        ("Det", "operator Det has no counterpart: replace it"),
    ],
)
def test_unsupported_operators_are_named_with_what_to_do(op, message):
    from onnx import TensorProto, helper

    from cheep.convert.onnx.reader import import_graph

    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 4)) for name in "xy"]
    graph = helper.make_graph([helper.make_node(op, ["x"], ["y"])], "g", info[:1], info[1:])
    with pytest.raises(CheepError, match=message):
        import_graph(helper.make_model(graph), "m.onnx")


def test_damaged_and_open_sizes(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"\x08\x07rubbish" * 9)
    with pytest.raises(CheepError, match="damaged or no ONNX model"):
        load_source(str(tmp_path / "m.onnx"))
    path = write_onnx(tmp_path / "n.onnx", [("Relu", ["x"], ["y"], {})], {}, ("n", 2, "h", 4), ("n", 2, "h", 4))
    with pytest.raises(CheepError, match="open sizes"):
        load_source(str(path))


NETWORK = textwrap.dedent("""
    import torch
    from torch import nn
    INPUT_SHAPE = (1, 20, 16)
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Conv2d(1, 8, 3, stride=2, padding=1)
            self.b = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
            self.n = nn.BatchNorm2d(8)
            gate = [nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1), nn.Sigmoid()]
            self.gate = nn.Sequential(*gate)
            self.out = nn.Linear(8, 3)
        def forward(self, x):
            x = nn.functional.relu6(self.a(x))
            y = self.n(self.b(x))
            x = torch.relu(x + y * self.gate(y))
            return self.out(x.mean((2, 3)))
    def make():
        return Net()
    class Stream(nn.Module):
        def __init__(self):
            super().__init__()
            parts = [nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 2 * 14, 12), nn.ReLU()]
            self.backbone = nn.Sequential(*parts)
            self.cell = nn.GRU(12, 16, batch_first=True)
            self.head = nn.Linear(16, 3)
    def stream():
        Stream.input_shape = (1, 4, 16)
        return Stream()
""")


def test_pytorch_with_residual_and_attention(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is optional: requirements-convert.txt brings it")
    (tmp_path / "net.py").write_text(NETWORK)
    source = load_source(f"{tmp_path / 'net.py'}:make")
    x = cases.patterns().x["train"][:64]
    rows = check_stages([*source.stages, ("TensorFlow", source.predict)], x[:6])
    assert [(r["from"], r["to"]) for r in rows] == [("PyTorch", "ONNX"), ("ONNX", "TensorFlow")]
    model = to_scheme(source.keras, source.input_shape, "int8", x)
    expected = source.predict(x[:16])
    assert np.abs(tflm_outputs(model, x[:16]) - expected).max() < 0.1 * max(0.1, np.ptp(expected))
    (tmp_path / "w.pt").write_bytes(b"rubbish")
    with pytest.raises(CheepError, match="cannot be read as weights"):
        load_source(f"{tmp_path / 'net.py'}:make", tmp_path / "w.pt")
    with pytest.raises(CheepError, match="has no function nothing"):
        load_source(f"{tmp_path / 'net.py'}:nothing")


def test_pytorch_streaming_pair(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is optional: requirements-convert.txt brings it")
    from cheep.convert.streaming_job import convert_pair

    (tmp_path / "net.py").write_text(NETWORK)
    data = cases.patterns()
    arrays = {f"x_{k}": v[..., 0] for k, v in data.x.items()} | {f"y_{k}": v for k, v in data.y.items()}
    np.savez(tmp_path / "s.npz", **arrays)
    out = tmp_path / "out"
    out.mkdir()
    job = {"input": f"{tmp_path / 'net.py'}:stream", "dataset": str(tmp_path / "s.npz"), "export": True}
    result = convert_pair(job, out, lambda text: None)
    pair = result["streaming"]
    assert result["stages"][0]["max_difference"] < 1e-4
    assert pair["agreement"] > 0.85
    assert pair["drift"][-1]["mean"] < 1.3 * pair["drift"][0]["mean"]
    assert pair["bytes"]["both"] < 75000
    assert {path.name for path in out.iterdir()} >= {"streaming.c", "streaming.h", "streaming_step.c", "streaming.json"}
    _compiled_pair_agrees(out, data.x["test"][:4, :, :, 0])


def _compiled_pair_agrees(folder, x):
    """The C files of the pair, compiled here, give TFLM's bytes after every chunk."""
    import ctypes

    from cheep.ccore import compile_shared
    from cheep.convert.runtime import quantize_as
    from cheep.tflite.model import read_model
    from cheep.tflite.tflm import TflmModel

    sources = [folder / f"{name}.c" for name in ("streaming", "streaming_backbone", "streaming_step")]
    library = ctypes.CDLL(str(compile_shared(sources, [folder], [], "streaming")))
    backbone, step = (TflmModel(folder / f"{name}.tflite") for name in ("backbone", "step"))
    chunks = quantize_as(x, read_model(folder / "backbone.tflite").inputs[0]).reshape((len(x), -1, 4 * 16))
    memory = ctypes.create_string_buffer(1 << 16)
    for sequence in chunks:
        library.streaming_reset(memory)
        state = np.zeros((1, 16), np.int8)
        for chunk in sequence:
            logits = np.zeros(3, np.int8)
            library.streaming_push(
                memory,
                np.ascontiguousarray(chunk).ctypes.data_as(ctypes.c_void_p),
                logits.ctypes.data_as(ctypes.c_void_p),
            )
            feature = np.array(backbone.invoke(chunk.reshape(backbone.input_shape)))
            expected = np.array(step.invoke(feature, state)).reshape(-1)
            state = np.array(step.output(1))
            assert np.array_equal(logits, expected)
