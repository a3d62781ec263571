# SPDX-License-Identifier: MIT
"""Input kind x scheme x method: a cell works, runs in TFLM within its stated loss, or is refused for a true reason."""

import numpy as np
import pytest

import convert_cases as cases
from cheep.convert import job, lookup, shrink
from cheep.convert.channels import prune_channels
from cheep.convert.config import SCHEMES, ConvertConfig
from cheep.convert.layer_graph import calls_of
from cheep.convert.runtime import interpreter_outputs, tflm_outputs
from cheep.convert.schemes import check_calibration, to_scheme
from cheep.errors import CheepError, GateError
from cheep.tflite.model import read_model
from cheep.tflite.tflm import TflmModel

KINDS = {
    "detector": (cases.detector, cases.patterns),
    "mlp": (cases.mlp, cases.table),
    "gru": (lambda: cases.recurrent("GRU"), cases.sequences),
    "lstm": (lambda: cases.recurrent("LSTM"), cases.sequences),
    "onnx": (cases.onnx, cases.patterns),
    "pytorch": (cases.pytorch, cases.patterns),
}
MAX_LOSS = 0.03  # of 80 to 100 test examples
INPUT_TYPE = {"int8": "int8", "int16x8": "int16"}


@pytest.fixture(autouse=True)
def _quick_arena(monkeypatch):
    """The search for the arena starts a dozen processes; one test below does it."""
    monkeypatch.setattr(TflmModel, "arena_bytes", property(lambda self: 0))


QUICK = {
    "detector": SCHEMES,
    "mlp": ("int8", "int16x8"),
    "gru": ("int8",),
    "lstm": ("int8",),
    "onnx": (),
    "pytorch": ("int8",),
}
CELLS = [
    pytest.param(kind, scheme, marks=() if scheme in QUICK[kind] else pytest.mark.slow)
    for kind in KINDS
    for scheme in SCHEMES
]


@pytest.mark.parametrize(("kind", "scheme"), CELLS)
def test_after_training(kind, scheme):
    source, data = (make() for make in KINDS[kind])
    variant = job.convert(source, data, ConvertConfig(scheme=scheme, calibration_examples=48))
    assert variant.float_accuracy > 0.85, "the model itself must have learnt something"
    assert variant.float_accuracy - variant.accuracy <= MAX_LOSS
    assert variant.agreement >= 0.95
    info = read_model(variant.model)
    assert info.inputs[0].dtype == INPUT_TYPE.get(scheme, "float32")
    assert info.outputs[0].dtype == INPUT_TYPE.get(scheme, "float32")
    forbidden = {"WHILE", "IF"} | {name for name in info.operators if name.startswith("CUSTOM")}
    assert not forbidden & set(info.operators)
    if scheme == "float16":
        assert "DEQUANTIZE" in variant.tflm, "TFLM has no half-precision weights, and says so"
    elif scheme == "dynamic" and variant.tflm != "yes":
        assert "ybrid" in variant.tflm or "type" in variant.tflm.lower()
    else:
        assert variant.tflm == "yes"


CHANGES = [
    {"prune_channels": 0.3},
    {"prune": 0.5, "cluster": 16, "method": "qat"},
    *(
        pytest.param(values, marks=pytest.mark.slow)
        for values in (
            {"method": "qat"},
            {"method": "qat", "scheme": "int8_float_io"},
            {"prune": 0.5},
            {"cluster": 16},
            {"prune": 0.5, "cluster": 16},
            {"prune_channels": 0.3, "method": "qat"},
        )
    ),
]


@pytest.mark.parametrize("values", CHANGES, ids=str)
def test_detector_changed(values):
    config = ConvertConfig(epochs=4, learning_rate=2e-3, batch_size=32, **values)
    variant = job.convert(cases.detector(), cases.patterns(), config)
    assert variant.tflm == "yes"
    assert variant.float_accuracy - variant.accuracy <= 2 * MAX_LOSS
    if config.prune and config.method == "ptq":
        assert variant.sparsity == pytest.approx(config.prune, abs=0.02)
    elif config.prune:
        assert job.integer_sparsity(variant.model) > 0.3
    if config.cluster and config.method == "ptq":
        assert variant.distinct <= config.cluster
    if config.prune_channels:
        plain = to_scheme(cases.detector().keras, cases.SHAPE, "int8", cases.patterns().x["train"][:64])
        assert len(variant.model) < len(plain)
        assert all(after < before for before, after in variant.channels.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    "values",
    [
        {"prune": 0.5},
        {"cluster": 16},
        {"prune_channels": 0.25},
    ],
    ids=str,
)
def test_onnx_changed(values):
    """What came from ONNX is a network of layers, so it can be changed."""
    config = ConvertConfig(epochs=6, learning_rate=2e-3, batch_size=32, **values)
    variant = job.convert(cases.onnx(), cases.patterns(), config)
    assert variant.tflm == "yes"
    assert variant.float_accuracy - variant.accuracy <= 2 * MAX_LOSS


@pytest.mark.parametrize(
    "values",
    [{"method": "qat"}, *(pytest.param(v, marks=pytest.mark.slow) for v in ({"prune_channels": 0.4}, {"prune": 0.6}))],
)
def test_mlp_changed(values):
    config = ConvertConfig(epochs=5, learning_rate=3e-3, batch_size=32, **values)
    variant = job.convert(cases.mlp(), cases.table(), config)
    assert variant.tflm == "yes"
    assert variant.float_accuracy - variant.accuracy <= 0.07


@pytest.mark.parametrize(
    ("kind", "values", "reason"),
    [
        ("gru", {"method": "qat"}, "tfmot cannot handle a layer .*GRU"),
        ("lstm", {"prune_channels": 0.5}, "no layer whose channels could be removed"),
        pytest.param("onnx", {"method": "qat"}, "tfmot cannot handle a layer .*Multiply", marks=pytest.mark.slow),
    ],
)
def test_refused_cells_say_why(kind, values, reason):
    source, data = (make() for make in KINDS[kind])
    with pytest.raises(CheepError, match=reason):
        job.convert(source, data, ConvertConfig(epochs=1, **values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scheme": "int16x8", "method": "qat"}, "8-bit activations"),
        ({"scheme": "float16", "method": "qat"}, "half precision"),
        ({"scheme": "dynamic", "method": "qat"}, "activations stay float"),
        ({"scheme": "none", "method": "qat"}, "nothing is quantized"),
        ({"cluster": 1}, "cluster=1"),
        ({"prune": 1.0}, "prune"),
        ({"scheme": "int4"}, "scheme"),
        ({"shceme": "int8"}, "did you mean 'scheme'"),
    ],
)
def test_impossible_options(values, message):
    with pytest.raises(CheepError, match=message):
        ConvertConfig.parse(values, "options")


def test_graph_without_layers_is_quantized_but_not_changed(tmp_path):
    from cheep.convert.load import load_source
    from cheep.tf_runtime import import_tf

    import_tf().saved_model.save(cases.detector().keras, str(tmp_path / "saved"))
    source = load_source(str(tmp_path / "saved"))
    assert (source.kind, source.input_shape) == ("saved_model", cases.SHAPE)
    variant = job.convert(source, cases.patterns(), ConvertConfig())
    assert variant.tflm == "yes"
    assert variant.agreement >= 0.97
    with pytest.raises(CheepError, match="SavedModel has no layers"):
        job.convert(source, cases.patterns(), ConvertConfig(prune=0.5))


def test_channel_pruning_removes_exactly_the_dead_channels():
    """Channels whose weights are zero go first, and the output stays the same."""
    model = cases.detector().keras
    copy = type(model).from_config(model.get_config())
    copy.set_weights(model.get_weights())
    layers = [layer for layer in copy.layers if type(layer).__name__ == "Conv2D"]
    norms = [layer for layer in copy.layers if type(layer).__name__ == "BatchNormalization"]
    kernel = layers[0].get_weights()[0]
    kernel[..., [2, 7, 9]] = 0
    layers[0].set_weights([kernel])
    for norm in norms[:2]:  # the normalization and the depthwise convolution that follow the first convolution
        weights = norm.get_weights()
        for array in weights[:3]:  # scale, shift, moving mean
            array[[2, 7, 9]] = 0
        norm.set_weights(weights)
    small, report = prune_channels(copy, 0.25)
    assert report[layers[0].name] == (12, 9)
    assert small.count_params() < 0.75 * copy.count_params()
    x = cases.patterns().x["val"][:16]
    whole = prune_channels_only_first(copy, x)
    assert np.allclose(whole, copy.predict(x, verbose=0), atol=1e-5)


def prune_channels_only_first(model, x):
    """Prune with every group but the first frozen, and predict."""
    from cheep.convert import channels

    groups, calls = channels._Groups(), calls_of(model)
    traced = channels._trace(model, calls, groups)
    keep = channels._choose(calls, traced, groups, 0.25)
    first = min(keep)
    small, _ = channels._rebuild(model, calls, traced, groups, {first: keep[first]})
    return small.predict(x, verbose=0)


def test_residual_networks_lose_tied_channels_together():
    from cheep.models import build_model

    model = build_model("resnet", (39, 40), 4)
    small, report = prune_channels(model, 0.3)
    assert small.output_shape == model.output_shape
    assert len(report) >= 8
    assert small(np.zeros((1, 39, 40, 1), np.float32)).shape == (1, 4)


def test_lookup_tables_give_the_same_bits_in_tflm():
    """A wide perceptron: 64 x 64 weights of 8 values need 3 bits each and a small table per channel."""
    from cheep.tf_runtime import import_tf

    k = import_tf().keras
    k.utils.set_random_seed(2)
    layers = [k.layers.Dense(n, activation="relu") for n in (64, 64)]
    model = k.Sequential([k.layers.Input((8,)), *layers, k.layers.Dense(1, activation="sigmoid")])
    data, config = cases.table(), ConvertConfig(cluster=8, epochs=1)
    calibration, x = data.x["train"][:48], data.x["test"]
    with pytest.raises(CheepError, match="cluster first"):
        lookup.compress(to_scheme(model, (8,), "int8", calibration))
    clustered = shrink.cluster_weights(model, data, config)
    assert shrink.distinct_weights(clustered) <= 8
    plain = to_scheme(clustered, (8,), "int8", calibration)
    packed, rows = lookup.compress(plain)
    assert any("DECODE" in name for name in read_model(packed).operators)
    assert len(packed) < len(plain)
    assert all(row["compressed"] < row["bytes"] for row in rows)
    assert min(row["bits"] for row in rows) <= 3  # the wide layer; one of 512 weights may gain more from one wide table
    assert np.array_equal(tflm_outputs(packed, x), tflm_outputs(plain, x))


@pytest.mark.parametrize("examples", [
    np.random.default_rng(0).normal(size=(64, *cases.SHAPE)),
    np.random.default_rng(0).uniform(size=(64, *cases.SHAPE)),
    np.random.default_rng(0).integers(-128, 128, (64, *cases.SHAPE)),
    np.zeros((64, *cases.SHAPE)),
    np.repeat(np.random.default_rng(0).normal(size=(1, *cases.SHAPE)), 64, 0),
    None,
], ids=["normal", "uniform", "bytes", "zeros", "repeated", "nothing"])  # fmt: skip
def test_calibration_on_what_is_no_data_is_refused(examples):
    examples = None if examples is None else examples.astype(np.float32)
    with pytest.raises(CheepError, match="real"):
        to_scheme(cases.detector().keras, cases.SHAPE, "int8", examples)


def test_calibration_takes_real_examples():
    check_calibration(cases.patterns().x["train"][:32], cases.SHAPE)
    with pytest.raises(CheepError, match="at least 16"):
        check_calibration(cases.patterns().x["train"][:8], cases.SHAPE)
    with pytest.raises(CheepError, match="shape"):
        check_calibration(cases.patterns().x["train"][:32], (16, 20, 1))


def test_int8_in_tflm_and_in_the_interpreter():
    model = to_scheme(cases.detector().keras, cases.SHAPE, "int8", cases.patterns().x["train"][:64])
    x = cases.patterns().x["test"][:32]
    step = read_model(model).outputs[0].scale
    assert np.abs(tflm_outputs(model, x) - interpreter_outputs(model, x)).max() <= 1.01 * step


def test_too_much_loss_is_a_gate():
    variant = job.convert(cases.mlp(), cases.table(), ConvertConfig())
    job.check_loss(variant, 5.0)
    variant.accuracy = variant.float_accuracy - 0.06
    with pytest.raises(GateError, match=r"loses 6\.00 points"):
        job.check_loss(variant, 5.0)


def test_sensitivity_finds_the_layer_that_loses():
    """A weight of 300 on an input that is always zero makes one layer's weights coarse: keeping it float pays."""
    from cheep.convert.sensitivity import layer_sensitivity
    from cheep.convert.source import SourceModel
    from cheep.tf_runtime import import_tf

    k = import_tf().keras
    data = cases.table()
    inner = [layer.get_weights() for layer in cases.mlp().keras.layers]
    layers = [
        k.layers.Dense(33, activation="relu"),
        k.layers.Dense(24, activation="relu", name="coarse"),
        k.layers.Dense(1, activation="sigmoid"),
    ]
    model = k.Sequential([k.layers.Input((8,)), *layers])
    (w, b), (v, c) = inner[0], inner[1]
    layers[0].set_weights([np.hstack([w, np.zeros((8, 1))]), np.append(b, -1)])
    layers[1].set_weights([np.vstack([v, np.full((1, 24), 300.0)]), c])
    layers[2].set_weights(inner[2])
    report = layer_sensitivity(SourceModel("m", "keras", model, None, (8,)), data, ConvertConfig())
    assert report["float_accuracy"] - report["int8_accuracy"] > 0.05
    assert "coarse" in report["layers"][0]["layer"]
    assert report["layers"][0]["error"] < 0.5
    assert report["layers"][0]["gain"] > 3
    assert report["mixed"]["accuracy"] > report["mixed"]["int8_accuracy"]
    assert report["not_tried"] == []


def test_sensitivity_says_which_layers_it_could_not_try(monkeypatch):
    from cheep.convert import sensitivity

    real = sensitivity._quantize

    def refuse(source, calibration, float_tensors):
        if float_tensors and refused.setdefault("name", float_tensors[0]) == float_tensors[0]:
            raise CheepError("cannot quantize")
        return real(source, calibration, float_tensors)

    refused = {}
    monkeypatch.setattr(sensitivity, "_quantize", refuse)
    report = sensitivity.layer_sensitivity(cases.mlp(), cases.table(), ConvertConfig())
    assert [row["reason"] for row in report["not_tried"]] == ["cannot quantize"]
    assert refused["name"] not in {row["tensor"] for row in report["layers"]}
