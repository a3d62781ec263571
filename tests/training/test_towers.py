# SPDX-License-Identifier: MIT
"""Several networks in one: the mean of their logits, on one form of the bands or on both."""

from __future__ import annotations

import numpy as np
import pytest

from cheep.config import FeatureConfig, TrainConfig
from cheep.errors import CheepError
from cheep.features import compute_features
from cheep.models import build_model, network_for
from cheep.models.towers import merge

BOTH = FeatureConfig(n_mels=48, hop_samples=256, window_frames=31, compression="both")


@pytest.fixture(scope="module")
def columns():
    """Columns of moving noise in both forms, and in each alone: (31, values) float32."""
    rng = np.random.default_rng(3)
    pcm = (rng.normal(size=9000) * np.repeat(rng.uniform(3, 9000, 9), 1000)).clip(-32768, 32767).astype(np.int16)
    forms = {kind: compute_features(pcm, BOTH.alone(kind))[:31] for kind in ("db", "pcen")}
    return compute_features(pcm, BOTH)[:31], forms


def _logits(model, x):
    from cheep.tf_runtime import import_tf

    short = import_tf().keras.Model(model.input, model.get_layer("flat").output)
    return short.predict(x[None, ..., None], verbose=0)[0]


def _member(n_outputs: int, seed: int):
    """A network with random weights and statistics."""
    rng = np.random.default_rng(seed)
    model = build_model("sepconv_s", (31, 24), n_outputs, "sigmoid")
    model.set_weights([w + rng.uniform(0.05, 0.3, w.shape) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("kinds", [("db", "pcen"), ("pcen", "db", "db")])
def test_logits_are_the_mean_of_those_of_the_members(columns, kinds):
    both, forms = columns
    members = [(_member(2, seed), kind) for seed, kind in enumerate(kinds)]
    model = network_for(TrainConfig(model="sepconv_s", towers=kinds), BOTH, 2, "sigmoid")
    merge(model, members, BOTH)
    mean = np.mean([_logits(member, forms[kind]) for member, kind in members], axis=0)
    assert np.allclose(_logits(model, both), mean, rtol=2e-4, atol=2e-3)
    assert model.get_layer("embedding").output.shape[-1] == 32 * len(kinds)


def test_towers_on_one_form(columns):
    _, forms = columns
    members = [(_member(1, seed), "pcen") for seed in (1, 2)]
    features = BOTH.alone("pcen")
    model = network_for(TrainConfig(model="sepconv_s", towers=("pcen", "pcen")), features, 1, "sigmoid")
    merge(model, members, features)
    mean = np.mean([_logits(member, forms["pcen"]) for member, _ in members], axis=0)
    assert np.allclose(_logits(model, forms["pcen"]), mean, rtol=2e-4, atol=1e-4)


def test_what_cannot_stand_side_by_side():
    with pytest.raises(CheepError, match="leave one of them out"):
        TrainConfig.parse({"towers": ["db", "pcen"], "teacher_model": "sepconv_m"}, "x")
    with pytest.raises(CheepError, match="cannot stand beside itself"):
        build_model("crnn", (39, 40), 2, towers=2)
    with pytest.raises(CheepError, match="one network on levels alone"):
        build_model("sepconv_s", (31, 24), 2, hears="peak", towers=2)
    with pytest.raises(CheepError, match="hears one form of each band"):
        network_for(TrainConfig(model="time_conv"), BOTH, 1)
    with pytest.raises(CheepError, match="must be even"):
        FeatureConfig.parse({"compression": "both", "n_mels": 41}, "x")
