# SPDX-License-Identifier: MIT
"""What the compiled front end makes of a fixed sound: machines whose digests agree compute the same features."""

from __future__ import annotations

import functools
import hashlib

import numpy as np

from cheep.config import FeatureConfig
from cheep.features.frontend import FrontendStream, quantize


@functools.cache
def core_digest() -> str:
    """Return the sha256 of the columns (dB and PCEN) of two seconds of noise and sweeps, and of their int8 values."""
    digest = hashlib.sha256()
    for compression in ("db", "pcen"):
        config = FeatureConfig(compression=compression)
        stream = FrontendStream(config)
        for part in np.array_split(_sound(2 * config.sample_rate_hz), 7):
            columns = stream.push(part)
            digest.update(columns.tobytes())
            digest.update(quantize(columns, 0.3, -11).tobytes())
    return digest.hexdigest()


def _sound(n: int) -> np.ndarray:
    """Return (n,) int16 made of whole numbers only: noise whose level rises, and steps, the same on every machine."""
    state, out = 12345, np.empty(n, np.int64)
    for place in range(n):
        state = (1103515245 * state + 12345) % 2**31
        out[place] = ((state >> 8) % 65536 - 32768) * place // (2 * n) + (8000 if place * place // 40000 % 2 else -8000)
    return np.clip(out, -32768, 32767).astype(np.int16)
