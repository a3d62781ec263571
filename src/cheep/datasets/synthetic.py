# SPDX-License-Identifier: MIT
"""Recordings of synthesized background, made once as files: what ``data.synthetic_background`` asks for."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cheep.audio import float_to_int16, write_wav
from cheep.config import NUISANCE_KINDS, SyntheticBackgroundConfig
from cheep.datasets.nuisances import nuisance
from cheep.datasets.sources.recording import Recording
from cheep.parallel import map_each


def synthesize_background(
    folder: Path,
    config: SyntheticBackgroundConfig,
    sample_rate_hz: int,
    label: str = "background",
    progress: Callable[[int, int], None] | None = None,
) -> list[Recording]:
    """Fill ``folder`` with ``KIND/NUMBER.wav``, the kinds in turn, and return the recordings, all of split ``train``.

    The same settings and rate give the same files. What exists is not made again.
    """
    kinds = config.kinds or NUISANCE_KINDS
    count = max(len(kinds), round(config.hours * 3600 / config.recording_s))
    jobs = [(kinds[number % len(kinds)], number // len(kinds)) for number in range(count)]
    work = functools.partial(_one, folder=folder, config=config, sample_rate_hz=sample_rate_hz, label=label)
    return [outcome.value for outcome in map_each(work, jobs, progress=progress)]


def _one(
    job: tuple[str, int], folder: Path, config: SyntheticBackgroundConfig, sample_rate_hz: int, label: str
) -> Recording:
    kind, number = job
    key = hashlib.sha256(f"{kind}|{number}|{config.recording_s}|{config.seed}|{sample_rate_hz}".encode()).digest()
    path = folder / kind / f"{key.hex()[:16]}.wav"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(int.from_bytes(key[:8], "little"))
        samples = nuisance(kind, round(config.recording_s * sample_rate_hz), sample_rate_hz, rng)
        write_wav(path, float_to_int16(samples.astype(np.float32)), sample_rate_hz)
    return Recording(
        path,
        label,
        recording=f"{kind}-{path.stem}",
        licence="CC0-1.0",
        attribution=f"synthesized by Cheep ({kind}, seed {config.seed})",
        end_s=config.recording_s,
        strong=True,  # every window of it is an example
        split="train",
    )
