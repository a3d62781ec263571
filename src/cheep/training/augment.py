# SPDX-License-Identifier: MIT
"""Random changes of training windows, on mel columns in dB, before PCEN where the front end ends in it.

Adding energies of mel bands stands for adding waveforms (their cross terms average out over a band), a gain in dB is
a level, a smooth curve over the bands is another microphone or distance; so no waveform is needed while training.
"""

from __future__ import annotations

import functools
import json

import numpy as np

from cheep.audio.signals import draw_quiet, draw_signal
from cheep.config import AugmentConfig, FeatureConfig
from cheep.features import FrontendStream
from cheep.features.mel import mel_points_hz
from cheep.training.data import WindowSet
from cheep.training.distill import Teacher, network_input

_NOISE_SLOPE_DB = 15.0  # from white to that of wind and traffic, lowest band against highest: 30 dB
_NOISE_SPREAD_DB = 4.0
_KNOTS = 6  # of a smoothly varying factor, over a window's columns or bands
_SIGNALS, _SIGNAL_SEED = 192, 26  # windows without sound that training draws from
_FLOOR_SPREAD_DB = 0.01  # single precision and interpolation about the floor


def draw_epoch(
    windows: WindowSet,
    index: np.ndarray,
    config: AugmentConfig,
    rng: np.random.Generator,
    teacher: Teacher | None = None,
    teacher_weight: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return augmented inputs (n, columns, mels, 1) float32 and targets (n, classes) float32 of rows ``index``.

    A window of digital silence (recordings are filled up with it) says nothing of its recording's label: its target is
    ``windows.silence``, and so is that of the signals without sound that replace some windows (:func:`put_signals`).

    With a teacher the targets are ``teacher_weight`` of its judgement of the changed sound, and the rest the labels.
    With a weight of 1 the labels do not count, and the student learns the teacher's function (Beyer et al. 2022,
    arXiv:2106.05237): the teacher judges the very input, masks and mixes of any two windows included.
    """
    n = len(index)
    shift = rng.integers(-config.shift_frames, config.shift_frames + 1, n)
    levels = windows.gather_levels(index, shift)  # (n, context + frames, mels) dB
    y = windows.targets[index]
    y = np.where(is_silent(levels[:, windows.context_frames :], windows.cache.config)[:, None], windows.silence, y)
    levels = warp_frequency(levels, windows.cache.config, config.frequency_warp, rng, config.local_frequency_warp)
    levels = warp_time(levels, config.time_warp, rng, config.local_time_warp)
    levels = mix_background(levels, windows, config, rng)
    levels = add_noise(levels, config, rng)
    levels = trim(levels, windows.cache.config.silence_db, config, rng)
    levels = levels + _level(n, levels.shape[2], config, rng)
    if config.cell_db:
        levels = levels + rng.normal(0, config.cell_db, levels.shape).astype(np.float32)
    levels, y = put_signals(levels, y, windows, config, rng)
    if teacher is not None and teacher_weight == 1:
        levels, _ = mixup(spec_augment(levels, config, rng), y, 1.0, rng)
        x = network_input(levels, windows.cache.config, windows.context_frames)
        return x[..., None].astype(np.float32), teacher.targets(levels)
    if teacher is not None:
        y = (1 - np.float32(teacher_weight)) * y + np.float32(teacher_weight) * teacher.targets(levels)
    x = network_input(levels, windows.cache.config, windows.context_frames)
    x = spec_augment(x, config, rng, windows.cache.config.forms)
    x, y = mixup(x, y, config.mixup_alpha, rng)
    return x[..., None].astype(np.float32), y


def put_signals(
    levels: np.ndarray, y: np.ndarray, windows: WindowSet, config: AugmentConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Put signals without any sound in the place of a share of the windows: what a dead microphone gives is no bird.

    Digital silence and noise of a few steps; where there is background to call them, also louder noise, hum and square
    waves. They keep their levels. ``levels`` is (n, context + columns, mels) float32 dB, ``y`` (n, classes) float32.
    """
    chosen = np.flatnonzero(rng.random(len(levels)) < config.signal_probability)
    if not len(chosen):
        return levels, y
    loud = config.loud_signals and bool(windows.is_background.any())
    bank = _signal_bank(windows.cache.config.alone("db").to_json(), levels.shape[1], loud)
    levels, y = levels.copy(), y.copy()
    levels[chosen] = bank[rng.integers(0, len(bank), len(chosen))]
    y[chosen] = windows.silence
    return levels, y


@functools.lru_cache(maxsize=4)
def _signal_bank(features_json: str, columns: int, loud: bool) -> np.ndarray:
    """Return windows of signals, (``_SIGNALS``, columns, mels) float32 dB; always the same."""
    features = FeatureConfig.parse(json.loads(features_json), "features")
    n_samples = features.frame_samples + (columns - 1) * features.hop_samples
    rng = np.random.default_rng(_SIGNAL_SEED)
    draw = draw_signal if loud else draw_quiet
    pcm = [draw(n_samples, features.sample_rate_hz, rng) for _ in range(_SIGNALS)]
    return np.stack([FrontendStream(features).push(item)[:columns] for item in pcm])


def is_silent(levels: np.ndarray, features: FeatureConfig) -> np.ndarray:
    """Return which windows (n, columns, mels) in dB hold digital silence, no cell above the floor: (n,) bool."""
    return levels.max(axis=(1, 2)) < features.silence_db + _FLOOR_SPREAD_DB


def warp_frequency(
    x: np.ndarray, features: FeatureConfig, most: float, rng: np.random.Generator, local: float = 0.0
) -> np.ndarray:
    """Scale the frequencies of each window by a random factor between ``1 - most`` and ``1 / (1 - most)``.

    Vocal tract length perturbation (Jaitly, Hinton 2013) on mel bands: every band takes the level, interpolated, that
    stood at its scaled centre frequency; beyond the outer bands the outer bands are repeated. With ``local`` the
    factor also varies smoothly over the bands, by as much: another accent moves one formant and not the next.
    ``x`` and what comes back are (n, columns, mels) float32, dB.
    """
    if most <= 0 and local <= 0:
        return x
    n, _, mels = x.shape
    centre = mel_points_hz(features)[1:-1]
    factor = _factors(n, mels, most, local, rng)
    place = np.interp((centre * factor).ravel(), centre, np.arange(mels)).reshape(n, 1, mels)
    low = np.minimum(place.astype(int), mels - 2)
    share = (place - low).astype(np.float32)
    low = np.broadcast_to(low, x.shape)
    return np.take_along_axis(x, low, 2) * (1 - share) + np.take_along_axis(x, low + 1, 2) * share


def warp_time(x: np.ndarray, most: float, rng: np.random.Generator, local: float = 0.0) -> np.ndarray:
    """Change the speed of each window about its middle by a factor between ``1 - most`` and ``1 / (1 - most)``.

    With ``local`` the speed also varies smoothly inside the window, by as much: a vowel is drawn out and the rest is
    not. Where a shortened window ends, its outer columns are repeated. (n, columns, mels) float32, dB, in and out.
    """
    if most <= 0 and local <= 0:
        return x
    n, frames, _ = x.shape
    middle = (frames - 1) / 2
    place = np.cumsum(_factors(n, frames, most, local, rng), axis=1)
    place += middle - place[:, [int(np.floor(middle)), int(np.ceil(middle))]].mean(axis=1, keepdims=True)
    place = np.clip(place, 0, frames - 1)
    low = np.minimum(place.astype(int), frames - 2)
    share = (place - low).astype(np.float32)[:, :, None]
    rows = np.arange(n)[:, None]
    return x[rows, low] * (1 - share) + x[rows, low + 1] * share


def mix_background(x: np.ndarray, windows: WindowSet, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Add the mel energies of random background windows at a random signal-to-noise ratio to a share of ``x``.

    ``x`` and what comes back are (n, columns, mels) float32, dB, with the context columns of ``windows``.
    """
    pool = np.flatnonzero(windows.is_background)
    chosen = np.flatnonzero(rng.random(len(x)) < config.mix_probability)
    if not len(pool) or not len(chosen):
        return x
    noise = windows.gather_levels(rng.choice(pool, len(chosen)))
    signal = x[chosen]
    snr_db = rng.uniform(*config.mix_snr_db, len(chosen))
    loudest = _mean_db(signal) - _mean_db(noise)  # what brings the noise to the signal's level
    noise = noise + (loudest - snr_db)[:, None, None].astype(np.float32)
    x = x.copy()
    x[chosen] = add_db(signal, noise)
    return x


def add_noise(x: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Add steady noise, a microphone's or a room's, of a random slope over the bands to a share of ``x``.

    In a band of a few bins the power of noise spreads by about 4 dB (chi-squared of as many degrees of freedom).
    ``x`` and what comes back are (n, columns, mels) float32, dB.
    """
    if config.noise_probability <= 0:
        return x
    chosen = np.flatnonzero(rng.random(len(x)) < config.noise_probability)
    signal = x[chosen]
    n, _, mels = signal.shape
    level = _mean_db(signal) - rng.uniform(*config.noise_snr_db, n)
    slope = rng.uniform(-1, 1, (n, 1)) * _NOISE_SLOPE_DB * np.linspace(-1, 1, mels)
    noise = (level[:, None] + slope)[:, None, :] + rng.normal(0, _NOISE_SPREAD_DB, signal.shape)
    x = x.copy()
    x[chosen] = add_db(signal, noise.astype(np.float32))
    return x


def trim(x: np.ndarray, silence_db: float, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Put silence before and after what is loud enough in a share of ``x``: recordings are cut out more or less tight.

    From the first to the last column that is at most ``trim_db`` below the loudest one stays. The weak beginnings
    (*f*, *th*) and ends of a word that a collection's cutting took away are so no longer needed to tell it.
    ``x`` and what comes back are (n, columns, mels) float32, dB.
    """
    if config.trim_probability <= 0:
        return x
    chosen = rng.random(len(x)) < config.trim_probability
    depth = np.where(chosen, rng.uniform(*config.trim_db, len(x)), np.inf)
    column = np.mean(10 ** (x / 10), axis=2)
    loud = column >= column.max(axis=1, keepdims=True) * 10 ** (-depth[:, None] / 10)
    kept = np.maximum.accumulate(loud, axis=1) & np.maximum.accumulate(loud[:, ::-1], axis=1)[:, ::-1]
    return np.where(kept[:, :, None], x, np.float32(silence_db))


def add_db(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the level in dB of the sum of two energies given in dB, elementwise: float32 arrays of the same shape."""
    high, low = np.maximum(a, b), np.minimum(a, b)
    return high + np.float32(10 / np.log(10)) * np.log1p(np.exp((low - high) * np.float32(np.log(10) / 10)))


def spec_augment(x: np.ndarray, config: AugmentConfig, rng: np.random.Generator, forms: int = 1) -> np.ndarray:
    """SpecAugment (Park et al. 2019): replace a random time span and a random band range by the window's mean.

    ``x`` and what comes back are (n, columns, mels) float32, dB or PCEN, with so many ``forms`` of a band in turn.
    """
    n, frames, mels = x.shape
    columns = _span(n, frames, config.mask_frames, rng)[:, :, None]
    bands = np.repeat(_span(n, mels // forms, config.mask_bands, rng), forms, axis=1)[:, None, :]
    mean = x.mean(axis=(1, 2), keepdims=True)
    if forms > 1:
        mean = np.tile(x.reshape(n, -1, forms).mean(axis=1), mels // forms)[:, None, :]
    return np.where(columns | bands, mean, x)


def mixup(x: np.ndarray, y: np.ndarray, alpha: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Mixup (Zhang et al. 2018): convex combinations of random pairs of inputs and of their targets.

    ``x`` : (n, columns, mels) float32, ``y`` : (n, classes) float32; the same comes back.
    """
    if alpha <= 0:
        return x, y
    share = rng.beta(alpha, alpha, len(x)).astype(np.float32)
    share = np.maximum(share, 1 - share)
    other = rng.permutation(len(x))
    a = share[:, None, None]
    return a * x + (1 - a) * x[other], share[:, None] * y + (1 - share[:, None]) * y[other]


def _factors(n: int, places: int, most: float, local: float, rng: np.random.Generator) -> np.ndarray:
    """Return (n, places) factors: one of each row, times one that is drawn at a few knots and interpolated (in log)."""
    row = rng.uniform(-1, 1, (n, 1)) * -np.log1p(-most)
    if local <= 0:
        return np.exp(row) * np.ones(places)
    knots = row + rng.uniform(-1, 1, (n, _KNOTS)) * -np.log1p(-local)
    at = np.linspace(0, _KNOTS - 1, places)
    low = np.minimum(at.astype(int), _KNOTS - 2)
    return np.exp(knots[:, low] * (low + 1 - at) + knots[:, low + 1] * (at - low))


def _span(n: int, length: int, longest: int, rng: np.random.Generator) -> np.ndarray:
    size = rng.integers(0, min(longest, length) + 1, n)
    start = (rng.random(n) * (length - size + 1)).astype(int)
    place = np.arange(length)
    return (place >= start[:, None]) & (place < (start + size)[:, None])


def _level(n: int, mels: int, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    gain = rng.normal(0, 1, (n, 1)) * config.gain_db
    place = np.linspace(-1, 1, mels)
    curve = rng.normal(0, 1, (n, 1)) * place + rng.normal(0, 1, (n, 1)) * (place**2 - 1 / 3)
    bands = rng.normal(0, 1, (n, mels)) * config.band_db
    return (gain + curve * config.tilt_db + bands)[:, None, :].astype(np.float32)


def _mean_db(x: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.mean(10 ** (x / 10), axis=(1, 2)))
