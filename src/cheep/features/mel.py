# SPDX-License-Identifier: MIT
"""Mel scales and the triangular filter bank, in double precision (the formulas of ``librosa.filters.mel``)."""

from __future__ import annotations

import numpy as np

from cheep.config import FeatureConfig

# Slaney's Auditory Toolbox: linear below 1 kHz (200/3 Hz per mel), logarithmic above (27 mels per factor 6.4).
_LINEAR_HZ = 200.0 / 3
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ
_LOG_STEP = np.log(6.4) / 27.0


def hz_to_mel(hz: np.ndarray | float, scale: str) -> np.ndarray:
    """Return mels, float64, for frequencies in Hz of any shape; ``scale`` is ``"slaney"`` or ``"htk"``."""
    hz = np.asarray(hz, dtype=np.float64)
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + hz / 700.0)
    high = np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(hz >= _BREAK_HZ, _BREAK_MEL + high, hz / _LINEAR_HZ)


def mel_to_hz(mel: np.ndarray | float, scale: str) -> np.ndarray:
    """Return frequencies in Hz, float64, for mels of any shape: the inverse of :func:`hz_to_mel`."""
    mel = np.asarray(mel, dtype=np.float64)
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    high = _BREAK_HZ * np.exp(_LOG_STEP * (np.maximum(mel, _BREAK_MEL) - _BREAK_MEL))
    return np.where(mel >= _BREAK_MEL, high, _LINEAR_HZ * mel)


def mel_points_hz(config: FeatureConfig) -> np.ndarray:
    """Return the corner frequencies of the triangles, (bands + 2,) float64, Hz."""
    low, high = hz_to_mel(config.fmin_hz, config.mel_scale), hz_to_mel(config.fmax_hz, config.mel_scale)
    return mel_to_hz(np.linspace(low, high, config.bands + 2), config.mel_scale)


def mel_weights(config: FeatureConfig) -> np.ndarray:
    """Return the filter bank.

    Returns
    -------
    ndarray
        (bands, fft_size // 2 + 1) float64: triangles between neighbouring mel points, straight over Hz or over mel,
        each divided by half its width in Hz when ``mel_norm`` is ``"slaney"`` (equal area).
    """
    points = mel_points_hz(config)
    bins = np.arange(config.fft_size // 2 + 1) * (config.sample_rate_hz / config.fft_size)
    corners, at = points, bins
    if config.mel_triangles == "mel":
        corners, at = hz_to_mel(points, config.mel_scale), hz_to_mel(bins, config.mel_scale)
    width = np.diff(corners)
    ramps = corners[:, None] - at[None, :]
    rising = -ramps[:-2] / width[:-1, None]
    falling = ramps[2:] / width[1:, None]
    weights = np.maximum(0.0, np.minimum(rising, falling))
    if config.mel_norm == "slaney":
        weights *= (2.0 / (points[2:] - points[:-2]))[:, None]
    return weights
