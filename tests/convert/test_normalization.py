# SPDX-License-Identifier: MIT
"""Networks that come without their normalization: they get one to be fine-tuned with, and compute the same."""

import numpy as np
import pytest

import convert_cases as cases
from cheep.convert import job
from cheep.convert.config import ConvertConfig
from cheep.convert.normalization import with_normalization
from cheep.convert.source import SourceModel
from cheep.tf_runtime import import_tf
from cheep.tflite.model import read_model
from cheep.tflite.tflm import TflmModel


@pytest.fixture(scope="module")
def folded():
    """The detector of the conversion tests as an export leaves it: normalizations are part of the convolutions."""
    k = import_tf().keras
    x = start = k.Input(cases.SHAPE)
    weights, new = [], None
    for layer in cases.detector().keras.layers[1:]:
        kind = type(layer).__name__
        if kind == "BatchNormalization":
            gamma, beta, mean, variance = layer.get_weights()
            scale = gamma / np.sqrt(variance + layer.epsilon)
            kernel = weights[-1][1][0]
            by_output = scale[:, None] if kernel.shape[-1] == 1 and kernel.shape[-2] == len(scale) else scale
            weights[-1] = (weights[-1][0], [kernel * by_output, beta - mean * scale])
            continue
        config = layer.get_config()
        if config.get("use_bias") is False:
            config["use_bias"] = True
        new = type(layer).from_config(config)
        x = new(x)
        weights.append((new, layer.get_weights()))
    model = k.Model(start, x, name="folded")
    for layer, values in weights:
        layer.set_weights(values)
    examples = cases.patterns().x["val"]
    assert np.allclose(
        model.predict(examples, verbose=0), cases.detector().keras.predict(examples, verbose=0), atol=1e-4
    )
    return model


def test_the_same_function_with_statistics_of_the_data(folded):
    data = cases.patterns()
    normalized = with_normalization(folded, data.x["train"])
    x, train = data.x["test"], data.x["train"]
    assert np.allclose(normalized.predict(x, verbose=0), folded.predict(x, verbose=0), atol=1e-5)
    norms = [layer for layer in normalized.layers if type(layer).__name__ == "BatchNormalization"]
    assert len(norms) == 5  # one behind each convolution, also the one with its activation inside
    seen = (
        import_tf().keras.Model(normalized.inputs, [norm.input for norm in norms]).predict(train, verbose=0)
    )
    for norm, values in zip(norms, seen, strict=True):
        mean, variance = norm.get_weights()[2:]
        assert np.allclose(mean, values.mean((0, 1, 2)), atol=1e-3)
        assert np.allclose(variance, values.var((0, 1, 2)), rtol=1e-2, atol=1e-4)


def test_networks_with_normalization_or_without_convolutions_are_left_alone():
    for source, data in ((cases.detector(), cases.patterns()), (cases.mlp(), cases.table())):
        assert with_normalization(source.keras, data.x["train"]) is source.keras


@pytest.mark.parametrize("values", [{"prune": 0.5}, {"cluster": 16}, {"prune_channels": 0.25}], ids=str)
def test_a_folded_network_finds_back_what_a_change_took(folded, values, monkeypatch):
    monkeypatch.setattr(TflmModel, "arena_bytes", property(lambda self: 0))
    source = SourceModel("folded", "keras", folded, None, cases.SHAPE)
    config = ConvertConfig(epochs=3, learning_rate=2e-3, batch_size=32, **values)
    variant = job.convert(source, cases.patterns(), config)
    assert variant.float_accuracy - variant.accuracy <= 0.03
    assert variant.tflm == "yes"
    plain = job.convert(source, cases.patterns(), ConvertConfig())
    assert read_model(variant.model).operators == read_model(plain.model).operators  # the normalization is folded again
