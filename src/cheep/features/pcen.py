# SPDX-License-Identifier: MIT
"""PCEN of mel energies that training has changed, by the code that the front end runs."""

from __future__ import annotations

import ctypes

import numpy as np

from cheep.config import FeatureConfig
from cheep.errors import CheepError
from cheep.features.frontend import FrontendStream

LEVEL_DB = 32  # a level of 1 beside PCEN units, over silence: CHEEP_BOTH_PER_DB


def interleave(levels: np.ndarray, changes: np.ndarray) -> np.ndarray:
    """Return both forms of each band one after the other.

    Parameters
    ----------
    levels, changes : (..., bands) float32
        Decibels, and PCEN units, of the same bands.

    Returns
    -------
    (..., 2 * bands) float32
    """
    return np.stack([levels, changes], axis=-1).reshape(*levels.shape[:-1], -1)


def pcen_windows(energy: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """Return PCEN units of windows of mel energies (Wang et al. 2017), each window a new recording.

    Parameters
    ----------
    energy : (n, columns, bands) float32
        Mel energies, at least 0.
    config : FeatureConfig
        ``compression`` must be ``pcen``, or ``both``: then levels are among what comes back.

    Returns
    -------
    (n, columns, n_mels) float32

    Raises
    ------
    CheepError
        Another compression, or a shape that does not fit.
    """
    if config.compression == "both":
        levels = np.float32(10) * np.log10(np.maximum(energy, np.float32(config.log_floor)))
        levels = (levels - np.float32(config.silence_db)) / np.float32(LEVEL_DB)
        return interleave(levels, pcen_windows(energy, config.alone("pcen")))
    if config.compression != "pcen" or energy.ndim != 3 or energy.shape[2] != config.n_mels:
        raise CheepError(
            f"energy {energy.shape}, compression={config.compression!r}: need (n, frames, {config.n_mels}) and 'pcen'"
        )
    out = np.array(energy, np.float32, order="C")
    stream = FrontendStream(config)
    function = stream.core.cheep_pcen_windows
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
    function.restype = None
    function(ctypes.byref(stream.state), out.ctypes.data, out.shape[0], out.shape[1])
    return out
