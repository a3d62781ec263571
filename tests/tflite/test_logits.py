# SPDX-License-Identifier: MIT
"""The last activation cut off an int8 model, and the scale of what stands before it chosen anew."""

import numpy as np
import pytest

from cheep.compiler import CompiledModel
from cheep.detector import ScoreScale
from cheep.tflite.logits import choose_scale, cut_activation, logit_model, with_output_scale
from cheep.tflite.model import read_model
from cheep.tflite.reader import read_graph
from cheep.tflite.tflm import TflmModel
from tone_model import FEATURES, tone_model


@pytest.fixture(scope="module")
def windows():
    rng = np.random.default_rng(3)
    shape = (400, FEATURES.window_frames, FEATURES.n_mels)
    level, tone = rng.integers(-60, 40, (400, 1, 1)), rng.integers(-60, 60, (400, 1, FEATURES.n_mels))
    return np.clip(rng.integers(-9, 10, shape) + level + tone, -128, 127).astype(np.int8)


def test_the_logits_are_those_under_the_sigmoid(windows):
    whole = tone_model()
    cut, kind = cut_activation(whole)
    info = read_model(cut)
    assert kind == "logit" and "LOGISTIC" not in info.operators and "LOGISTIC" in read_model(whole).operators
    out = info.outputs[0]
    logits = (TflmModel(cut).scores(windows).astype(float) - out.zero_point) * out.scale
    scores = (TflmModel(whole).scores(windows).astype(float) + 128) / 256
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), scores, atol=1 / 256 + 1e-9)
    assert cut_activation(cut) == (cut, None)


def test_another_scale_is_the_same_network_to_half_a_step(windows):
    cut, _ = cut_activation(tone_model())
    fine = with_output_scale(cut, 0.02, 40)
    coarse = with_output_scale(cut, 0.2, 0)
    a, b = (
        (TflmModel(data).scores(windows).astype(float) - z) * s for data, s, z in ((fine, 0.02, 40), (coarse, 0.2, 0))
    )
    inside = (a > -3.2) & (a < 1.6)  # what the fine scale reaches
    assert inside.mean() > 0.05
    assert np.abs(a - b)[inside].max() <= 0.1 + 0.01 + 1e-6
    np.testing.assert_array_equal(CompiledModel(fine).scores(windows), TflmModel(fine).scores(windows))


def test_the_scale_comes_from_training_scores_and_says_what_saturates(windows):
    made, section = logit_model(tone_model(), lambda data: TflmModel(data).scores(windows))
    assert section["kind"] == "logit"
    scale = ScoreScale.of(read_model(made).outputs[0], section)
    scores = TflmModel(made).scores(windows)
    assert section["saturated"] == {
        "windows": 400, "low": float(np.mean(scores == -128)), "high": float(np.mean(scores == 127)),
    }  # fmt: skip
    assert section["saturated"]["high"] < 0.005
    assert scale.values(np.int8([[127]]))[0, 0] >= 4  # reaches 0.982 in any case
    assert scale.values(np.int8([[-128]]))[0, 0] >= -8.1  # and spends no steps below 0.0003
    assert scale.scale < 0.15
    # broken once: a scale that reaches only half as far saturates, and says so
    narrow = with_output_scale(made, scale.scale / 2, scale.zero_point)
    assert np.mean(TflmModel(narrow).scores(windows) == 127) > section["saturated"]["high"]


def test_a_model_without_such_an_end_stays_as_it_is():
    cut, _ = cut_activation(tone_model())
    assert logit_model(cut, lambda data: pytest.fail("nothing to score")) == (cut, None)


@pytest.mark.parametrize(("low", "high"), [(-8.0, 4.0), (-1.0, 14.0), (-8.0, 30.0)])
def test_a_scale_holds_its_ends(low, high):
    scale, zero_point = choose_scale(low, high)
    assert -128 <= zero_point <= 127
    assert (-128 - zero_point) * scale == pytest.approx(low, abs=scale / 2 + 1e-6)
    assert (127 - zero_point) * scale == pytest.approx(high, abs=scale / 2 + 1e-6)


def test_an_activation_before_the_last_reshape_is_cut_off_too():
    """As post-training quantization leaves a sigmoid: LOGISTIC, then RESHAPE."""
    from cheep.convert.tflite import calibrated_int8
    from cheep.models import build_model
    from cheep.tf_runtime import import_tf

    rng = np.random.default_rng(4)
    import_tf().keras.utils.set_random_seed(4)
    model = build_model("sepconv_s", (31, 24), 2, "sigmoid")
    model.set_weights([1.3 * weights for weights in model.get_weights()])  # scores from 0.02 to 0.19
    data = calibrated_int8(model, rng.normal(0, 10, (64, 31, 24)).astype(np.float32))
    assert [node.op for node in read_graph(data).nodes][-2:] == ["LOGISTIC", "RESHAPE"]
    windows = np.clip(rng.normal(0, 40, (60, 31, 24)), -128, 127).astype(np.int8)
    made, described = logit_model(data, lambda data: TflmModel(data).scores(windows))
    assert described is not None and described["kind"] == "logit"
    raw = TflmModel(made).scores(windows)
    before = (TflmModel(data).scores(windows).astype(float) + 128) / 256
    scale = ScoreScale.of(read_model(made).outputs[0], described)
    np.testing.assert_allclose(scale.probabilities(raw), before, atol=0.03)
    assert np.array_equal(CompiledModel(made).scores(windows), raw)
