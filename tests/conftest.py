# SPDX-License-Identifier: MIT
"""Shared fixtures: small real models and audio files, made by code."""

from __future__ import annotations

import signal

import numpy as np
import pytest
import soundfile

from cheep.config import FeatureConfig


@pytest.fixture
def rng():
    """A seeded generator."""
    return np.random.default_rng(7)


@pytest.fixture
def tone(tmp_path):
    """Write a WAV of a 1 kHz tone: ``tone(name, rate_hz, seconds, channels, subtype)`` -> path."""

    def write(name="tone.wav", rate_hz=8000, seconds=1.0, channels=1, subtype="PCM_16"):
        t = np.arange(int(rate_hz * seconds)) / rate_hz
        samples = 0.5 * np.sin(2 * np.pi * 1000 * t)
        path = tmp_path / name
        soundfile.write(path, np.repeat(samples[:, None], channels, 1), rate_hz, subtype=subtype)
        return path

    return write


@pytest.fixture(scope="session")
def small_features():
    """Cheap feature settings: 31 columns of 24 bands."""
    return FeatureConfig(n_mels=24, hop_samples=256, window_frames=31)


@pytest.fixture(scope="session")
def int8_model(small_features):
    """The bytes of a small int8 network with fixed random weights, quantized on random walks like mel columns."""
    from cheep.convert.tflite import calibrated_int8
    from cheep.models import build_model
    from cheep.tf_runtime import seed_everything

    seed_everything(3)
    shape = (small_features.window_frames, small_features.n_mels)
    rng = np.random.default_rng(3)
    windows = (-60 + 8 * rng.standard_normal((64, *shape))).astype(np.float32)
    return calibrated_int8(build_model("sepconv_s", shape, 2), windows)


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c():
    """Hear SIGINT, also in programs that tests start: shells make their background jobs ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _loggers_speak():
    """Switch Cheep's loggers on again: packages that configure logging from a file silence those that exist."""
    import logging

    logging.disable(logging.NOTSET)  # the parsers' fuzzer, which a test calls, switches logging off
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("cheep") and isinstance(logger, logging.Logger):
            logger.disabled = False


@pytest.fixture(scope="session")
def recording():
    """14 s at 8 kHz of noise that comes and goes in other bands, so that scores move, int16."""
    rng = np.random.default_rng(5)
    t = np.arange(14 * 8000) / 8000
    tone = np.sin(2 * np.pi * (300 + 250 * t) * t)
    loud = 0.5 + 0.5 * np.sin(2 * np.pi * t / 2.3)
    return np.rint(2500 * (rng.normal(0, 1, len(t)) * loud + tone * (1 - loud))).clip(-32768, 32767).astype(np.int16)
