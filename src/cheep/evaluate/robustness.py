# SPDX-License-Identifier: MIT
"""Recordings spoilt on purpose: how recall and false alarms move with level, noise, microphone, wind and clock.

Each condition is a function of float32 samples (n,) at the model's rate. Where it changes the length (another clock),
the times of annotations stretch with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cheep.audio import Resampler, resample
from cheep.audio.augment import RESPONSES, apply_response, gain

Condition = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


def add_noise(
    samples: np.ndarray, snr_db: float, rng: np.random.Generator, reference: float | None = None
) -> np.ndarray:
    """Add white noise ``snr_db`` below the level of the calls; (n,) float32 in and out.

    ``reference`` is that level (root mean square); by default that of the loudest tenth of 400-sample blocks.
    """
    if reference is None:
        reference = loud_level(samples)
    noise = rng.standard_normal(len(samples)).astype(np.float32)
    return samples + noise * np.float32(reference * 10 ** (-snr_db / 20))


def add_wind(samples: np.ndarray, sample_rate_hz: int, level_db: float, rng: np.random.Generator) -> np.ndarray:
    """Add gusts of low-frequency noise, ``level_db`` above the recording's own level (root mean square).

    (n,) float32 in and out.
    """
    n = len(samples)
    if n == 0:
        return samples
    spectrum = np.fft.rfft(rng.standard_normal(n))
    frequency = np.fft.rfftfreq(n, 1 / sample_rate_hz)
    wind = np.fft.irfft(spectrum / (1 + (frequency / 80) ** 2), n)
    knots = np.abs(rng.standard_normal(int(n / sample_rate_hz / 1.5) + 3)) + 0.2
    gusts = np.interp(np.arange(n) / sample_rate_hz, 1.5 * np.arange(len(knots)), knots)
    wind *= gusts
    level = np.sqrt(np.mean(np.square(samples, dtype=np.float64))) * 10 ** (level_db / 20)
    return (samples + wind * (level / max(1e-12, np.sqrt(np.mean(wind**2))))).astype(np.float32)


def clip_at(samples: np.ndarray, share: float) -> np.ndarray:
    """Overdrive until ``share`` (0..1) of the samples stand at full scale; (n,) float32 in and out, within -1..1."""
    if len(samples) == 0:
        return samples
    top = float(np.quantile(np.abs(samples), 1 - share))
    return np.clip(samples / max(top, 1e-9), -1, 1).astype(np.float32)


def through_rate(samples: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """Resample to another rate and back: what a cheaper recorder would have kept; (n,) float32 in and out."""
    back = resample(resample(samples, from_hz, to_hz), to_hz, from_hz)
    return np.pad(back, (0, max(0, len(samples) - len(back))))[: len(samples)].astype(np.float32)


def drift(samples: np.ndarray, parts_per_million: float) -> np.ndarray:
    """Play with a clock that is off: pitch and tempo change by ``parts_per_million``.

    (n,) float32 in, about ``n * (1 + parts_per_million / 1e6)`` samples float32 out.
    """
    base = 1_000_000
    return Resampler(base, round(base * (1 + parts_per_million * 1e-6))).push(samples, last=True)


def loud_level(samples: np.ndarray, block: int = 400) -> float:
    """Return the root mean square (full scale 1.0) of the loudest tenth of blocks of (n,) float32 samples."""
    n = len(samples) // block
    if n == 0:
        return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0
    power = np.mean(np.square(samples[: n * block].reshape(n, block), dtype=np.float64), axis=1)
    return float(np.sqrt(np.sort(power)[-max(1, n // 10) :].mean()))


def conditions(sample_rate_hz: int) -> dict[str, Condition]:
    """Return the standard table's rows: name -> condition. The first is the sound as recorded."""
    out: dict[str, Condition] = {
        "as recorded": lambda x, _, __: x,
        "12 dB quieter": lambda x, _, __: gain(x, -12),
        "12 dB louder": lambda x, _, __: gain(x, 12),
        "0.1 % of samples clipped": lambda x, _, __: clip_at(x, 0.001),
        "2 % of samples clipped": lambda x, _, __: clip_at(x, 0.02),
        "noise 20 dB below the calls": lambda x, _, rng: add_noise(x, 20, rng),
        "noise 10 dB below the calls": lambda x, _, rng: add_noise(x, 10, rng),
        "noise 0 dB below the calls": lambda x, _, rng: add_noise(x, 0, rng),
        "wind 10 dB above the recording": lambda x, rate, rng: add_wind(x, rate, 10, rng),
        "wind 20 dB above the recording": lambda x, rate, rng: add_wind(x, rate, 20, rng),
    }
    for name, points in RESPONSES.items():
        out[f"microphone: {name}"] = _microphone(points)
    half = 3 * sample_rate_hz // 4
    out[f"recorded at {half} Hz"] = lambda x, rate, _: through_rate(x, rate, half)
    out["clock 2 % slow"] = lambda x, _, __: drift(x, 20_000)
    out["clock 200 ppm slow"] = lambda x, _, __: drift(x, 200)
    return out


def _microphone(points: Sequence[tuple[float, float]]) -> Condition:
    return lambda x, rate, _: apply_response(x, rate, points)
