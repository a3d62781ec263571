# SPDX-License-Identifier: MIT
"""A detector of two small networks with random weights: the second knows a label more, in another order."""

from __future__ import annotations

import functools

import numpy as np

from cheep.config import DetectorConfig, FeatureConfig
from cheep.config.detector import VerifyConfig
from cheep.convert.bundle import write_bundle
from cheep.device.bundle import VERIFY, load_bundle
from cheep.features import compute_features, quantize
from cheep.tflite.model import read_model
from cheep.tflite.tflm import TflmModel

SECOND = FeatureConfig(n_mels=28, frame_samples=200, hop_samples=160, window_frames=40, log_offset=0.001)
LABELS, SECOND_LABELS = ("one", "two"), ("two", "other", "one")


@functools.cache
def second_network() -> bytes:
    from cheep.convert.tflite import calibrated_int8
    from cheep.models import build_model
    from cheep.tf_runtime import seed_everything

    seed_everything(8)
    shape = (SECOND.window_frames, SECOND.n_mels)
    noise = (-25 + 8 * np.random.default_rng(8).standard_normal((64, *shape))).astype(np.float32)
    return calibrated_int8(build_model("sepconv_s", shape, len(SECOND_LABELS)), noise)


def middle_scores(model: bytes, features: FeatureConfig, pcm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the middle scores of windows of ``pcm`` as they are and as probabilities, and one of the windows."""
    tensor, out = read_model(model).inputs[0], read_model(model).outputs[0]
    columns = quantize(compute_features(pcm, features), tensor.scale, tensor.zero_point)
    frames = features.window_frames
    windows = np.stack([columns[i : i + frames] for i in range(0, len(columns) - frames + 1, 4)])
    middle = np.median(TflmModel(model).scores(windows), axis=0)
    return (middle - out.zero_point) * out.scale, windows[7]


def write_two(folder, first: bytes, features: FeatureConfig, pcm: np.ndarray, *, stride=8, gate=None, second=SECOND):
    """Write a run with two networks, the thresholds of both in the middle of their scores on ``pcm``."""
    ask, window = middle_scores(first, features, pcm)
    threshold, second_window = middle_scores(second_network(), SECOND, pcm)
    data = second_network()
    write_bundle(
        folder / VERIFY, "second_int8.tflite", data, features=second, labels=SECOND_LABELS,
        detector=DetectorConfig(stride_frames=stride, threshold=(0.5,) * 3), golden=second_window,
    )  # fmt: skip
    threshold = 0.3 * ask + 0.7 * threshold[[SECOND_LABELS.index(label) for label in LABELS]]
    verify = VerifyConfig(
        network=load_bundle(folder / VERIFY).model.sha256, weight=0.3,
        ask=(float(ask[0]) + 0.01, None), idle=(-100, -90),
    )  # fmt: skip
    detector = DetectorConfig(
        stride_frames=stride, smoothing_windows=1, hold_off_windows=0, hysteresis=0.01, gate=gate, verify=verify,
        threshold=tuple(float(round(value, 4)) for value in threshold),
    )  # fmt: skip
    write_bundle(
        folder, "bird_detector_int8.tflite", first, features=features, labels=LABELS, detector=detector, golden=window
    )
    return load_bundle(folder)
