# SPDX-License-Identifier: MIT
"""The constant tables of the front end: computed in double precision, handed over as float32."""

from __future__ import annotations

import functools
import logging
import math
from dataclasses import dataclass

import numpy as np

from cheep.config import FeatureConfig
from cheep.errors import CheepError
from cheep.features.mel import mel_points_hz, mel_weights

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FrontendTables:
    """Tables of ``cheep_frontend_spec``, in the order and layout that the C core reads.

    Attributes
    ----------
    window
        (frame_samples,) float32: periodic Hann window / 32768, order in ``cheep_fft.c``.
    twiddle
        (twiddle_count,) float32, layout in ``cheep_fft.c``.
    band_start, band_count
        (bands,) uint16: first FFT bin and number of bins of each band (0 for a band without a bin).
    band_weight
        (weight_count,) float32: the weights, band after band.
    """

    window: np.ndarray
    twiddle: np.ndarray
    band_start: np.ndarray
    band_count: np.ndarray
    band_weight: np.ndarray

    @property
    def size_bytes(self) -> int:
        """Bytes of constant memory on the device."""
        return sum(getattr(self, name).nbytes for name in self.__dataclass_fields__)


def hann_window(n: int) -> np.ndarray:
    """Return the periodic Hann window, (n,) float64 (``scipy.signal.get_window("hann", n)``)."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)


def window_table(config: FeatureConfig) -> np.ndarray:
    """Return the window / 32768, (frame_samples,) float32; frames of 256 points: in the order of the columns."""
    window = (hann_window(config.frame_samples) / 32768).astype(np.float32)
    return window.reshape(16, 16).T.ravel() if config.frame_samples == config.fft_size == 256 else window


def twiddle_table(fft_size: int) -> np.ndarray:
    """Return the FFT's constants, (twiddle_count,) float32, layout in ``cheep_fft.c``."""
    residues = fft_size // 16
    n = np.arange(16).reshape(4, 4).T.ravel()[1:]  # 4, 8, 12, 1, 5, ...
    angles = [2 * np.pi * n * k / fft_size for k in range(1, residues // 2)]
    angles.append(-2 * np.pi * np.arange(1, 8) / 32)
    if fft_size != 256:
        angles.append(2 * np.pi * np.arange(residues // 2) / residues)
    angle = np.concatenate(angles)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32).ravel()


def pcen_smoothing(config: FeatureConfig) -> float:
    """Return the coefficient of PCEN's running mean for its time constant (the formula of ``librosa.pcen``)."""
    frames = config.pcen_time_constant_s * config.sample_rate_hz / config.hop_samples
    return (math.sqrt(1 + 4 * frames**2) - 1) / (2 * frames**2)


@functools.lru_cache(maxsize=32)
def frontend_spec_tables(config: FeatureConfig) -> FrontendTables:
    """Return the tables of the C front end for ``config``.

    The filter bank is sparse: for each band the first bin, the number of bins, and their weights.
    Bands narrower than the spacing of the bins are empty and give the floor; a warning says so.
    """
    weights = mel_weights(config).astype(np.float32)  # (bands, bins)
    points = mel_points_hz(config)
    bins = np.arange(weights.shape[1]) * (config.sample_rate_hz / config.fft_size)
    edge = np.searchsorted(bins, points, side="right")  # first bin above each mel point
    start, count = edge[:-2].astype(np.uint16), (edge[2:] - edge[:-2]).astype(np.uint16)
    packed = [row[a:b] for row, a, b in zip(weights, edge[:-2], edge[2:], strict=True)]
    empty = int((count == 0).sum())
    if empty == config.bands:
        raise CheepError(
            f"fmin_hz={config.fmin_hz}, fmax_hz={config.fmax_hz}: no FFT bin lies in any mel band "
            f"(bins are {config.sample_rate_hz / config.fft_size:g} Hz apart: raise fft_size or widen the range)"
        )
    if empty:
        log.warning(
            "%d of %d mel bands hold no FFT bin and stay at the floor (fewer n_mels, a larger fft_size or fmin_hz)",
            empty, config.bands,
        )  # fmt: skip
    tables = FrontendTables(
        window=window_table(config),
        twiddle=twiddle_table(config.fft_size),
        band_start=start,
        band_count=count,
        band_weight=np.concatenate(packed),
    )
    for name in tables.__dataclass_fields__:
        getattr(tables, name).setflags(write=False)
    return tables
