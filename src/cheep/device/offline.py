# SPDX-License-Identifier: MIT
"""Files through the device path, block by block."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from cheep.audio import iter_audio
from cheep.device.engine import Engine, StepResult


def detect_file(engine: Engine, path: str | os.PathLike) -> Iterator[StepResult]:
    """Reset ``engine``, yield what each block of the file gives, and last the events that its end closes."""
    engine.reset()
    for block in iter_audio(path, engine.bundle.features.sample_rate_hz):
        yield engine.push(block)
    yield StepResult(np.zeros((0, engine.bundle.features.n_mels), np.int8), [], engine.flush())
