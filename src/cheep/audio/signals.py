# SPDX-License-Identifier: MIT
"""Signals of no sound: what a microphone gives that is dead, noisy, badly earthed or overdriven. int16, mono."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cheep.audio.samples import float_to_int16
from cheep.config import SIGNAL_NAMES


def silence(n_samples: int) -> np.ndarray:
    """Return digital silence, (n_samples,) int16 of zeros."""
    return np.zeros(n_samples, np.int16)


def white_noise(n_samples: int, level_dbfs: float, rng: np.random.Generator) -> np.ndarray:
    """Return white noise whose root mean square lies at ``level_dbfs`` (of 32768), (n_samples,) int16."""
    return float_to_int16((10 ** (level_dbfs / 20) * rng.standard_normal(n_samples)).astype(np.float32))


def hum(n_samples: int, rate_hz: int, level_dbfs: float, mains_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Return mains hum, 20 multiples of ``mains_hz`` that fall with their number, (n_samples,) int16."""
    t = np.arange(n_samples) / rate_hz
    total = np.zeros(n_samples)
    for k in range(1, 21):
        if k * mains_hz < rate_hz / 2:
            total += rng.uniform(0.3, 1.0) / k * np.sin(2 * np.pi * k * mains_hz * t + rng.uniform(0, 2 * np.pi))
    total *= 10 ** (level_dbfs / 20) / np.sqrt(np.mean(total**2))
    return float_to_int16(total.astype(np.float32))


def square(n_samples: int, rate_hz: int, pitch_hz: float, level_dbfs: float = 0.0) -> np.ndarray:
    """Return a square wave between plus and minus ``level_dbfs``, (n_samples,) int16."""
    up = (np.arange(n_samples) * pitch_hz / rate_hz) % 1.0 < 0.5
    return float_to_int16(np.where(up, 1.0, -1.0).astype(np.float32) * np.float32(10 ** (level_dbfs / 20)))


def steady(n_samples: int, value: int) -> np.ndarray:
    """Return a value that does not move (a line that is stuck, or an offset), (n_samples,) int16."""
    return np.full(n_samples, value, np.int16)


_Signal = Callable[[int, int], np.ndarray]
_MAKERS: tuple[_Signal, ...] = (
    lambda n, rate: silence(n),
    lambda n, rate: steady(n, -1),
    lambda n, rate: white_noise(n, -80.0, np.random.default_rng(80)),
    lambda n, rate: white_noise(n, -50.0, np.random.default_rng(50)),
    lambda n, rate: white_noise(n, -20.0, np.random.default_rng(20)),
    lambda n, rate: hum(n, rate, -30.0, 50.0, np.random.default_rng(30)),
    lambda n, rate: square(n, rate, 1000.0),
)

#: What a detector has to be silent about: name -> (samples, rate in Hz) -> int16. Always the same samples:
#: zeros, a line stuck at -1, white noise at so many dB of full scale, 50 Hz hum at -30 dB, a full-scale 1 kHz square.
TEST_SIGNALS: dict[str, _Signal] = dict(zip(SIGNAL_NAMES, _MAKERS, strict=True))


def draw_quiet(n_samples: int, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
    """Return what a dead or deaf microphone gives, (n_samples,) int16: zeros, a stuck value, noise of a few steps."""
    kind = rng.integers(0, 4)
    if kind == 0:
        return silence(n_samples)
    if kind == 1:
        return steady(n_samples, int(np.clip(np.rint(rng.standard_normal() * 10 ** rng.uniform(0, 4)), -32768, 32767)))
    return white_noise(n_samples, rng.uniform(-96, -66), rng)


def draw_signal(n_samples: int, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
    """Return a signal without any sound of the place, (n_samples,) int16, half of them as :func:`draw_quiet`.

    The others are white noise, mains hum and square waves of any level.
    """
    kind = rng.integers(0, 8)
    if kind < 4:
        return draw_quiet(n_samples, rate_hz, rng)
    level = rng.uniform(-66, -3)
    if kind < 6:
        return white_noise(n_samples, level, rng)
    if kind == 6:
        return hum(n_samples, rate_hz, level, rng.choice([50.0, 60.0]) * rng.uniform(0.998, 1.002), rng)
    loud = 0.0 if rng.uniform() < 0.5 else level
    return square(n_samples, rate_hz, 10 ** rng.uniform(1.5, np.log10(0.4 * rate_hz)), loud)
