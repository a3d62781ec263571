# SPDX-License-Identifier: MIT
"""Settings: strict, hashable, with errors that name value, rule and fix."""

import pytest

from cheep.config import AugmentConfig, DetectorConfig, FeatureConfig, TrainConfig, canonical_json, default_stride
from cheep.errors import CheepError


def test_hash_depends_on_every_field_and_on_nothing_else():
    base = FeatureConfig()
    assert FeatureConfig.parse(base.to_dict()).hash32 == base.hash32
    changes = {"sample_rate_hz": 16000, "n_mels": 41, "log_floor": 1e-9, "mel_scale": "htk", "window_frames": 40}
    hashes = {base.hash32} | {base.model_copy(update={k: v}).hash32 for k, v in changes.items()}
    assert len(hashes) == 1 + len(changes)


def test_canonical_json_is_one_text():
    assert canonical_json({"b": 1.0, "a": [1e-10, "ä"]}) == '{"a":[1e-10,"\\u00e4"],"b":1.0}'


def test_derived_values():
    config = FeatureConfig(sample_rate_hz=8000, frame_samples=256, hop_samples=200, window_frames=39)
    assert config.window_samples == 256 + 38 * 200
    assert config.frames_of(255) == 0
    assert config.frames_of(256) == 1
    assert config.frames_of(config.window_samples) == 39


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (FeatureConfig, {"hop_sample": 80}, "did you mean 'hop_samples'"),
        (FeatureConfig, {"hop_samples": 0}, "hop_samples=0: must be at least 1"),
        (FeatureConfig, {"fft_size": 300}, "fft_size=300: must be a power of two"),
        (FeatureConfig, {"frame_samples": 512}, "raise it"),
        (FeatureConfig, {"fmax_hz": 5000}, "fmax_hz=5000.0: must be at most half"),
        (FeatureConfig, {"fmin_hz": 4000.0}, "must be below fmax_hz"),
        (FeatureConfig, {"n_mels": "many"}, "n_mels='many'"),
        (FeatureConfig, {"log_floor": float("nan")}, "log_floor=nan"),
        (DetectorConfig, {"threshold": (1.5,)}, "threshold=1.5: must lie in 0..1"),
        (TrainConfig, {"label_smoothing": 0.7}, "label_smoothing=0.7"),
        (TrainConfig, {"towers": ["db"]}, "towers=..db..: one network is no row of towers"),
        (AugmentConfig, {"gain": 3}, "did you mean 'gain_db'"),
    ],
)
def test_wrong_settings_are_named(kind, values, message):
    with pytest.raises(CheepError, match=message):
        kind.parse(values, "settings.yaml")


def test_every_problem_is_said_at_once():
    with pytest.raises(CheepError) as caught:
        FeatureConfig.parse({"n_mels": 0, "hopsamples": 1, "mel_scale": "bark"})
    text = str(caught.value)
    assert "n_mels=0" in text
    assert "hopsamples" in text
    assert "mel_scale='bark'" in text


def test_the_network_runs_every_half_second_at_multiples_of_its_pooling():
    assert DetectorConfig().stride_frames == default_stride(FeatureConfig().hop_s) == 20
    assert default_stride(0.010) == 48
    assert default_stride(0.032) == 16
    assert default_stride(2.0) == 4
