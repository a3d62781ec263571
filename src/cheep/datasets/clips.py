# SPDX-License-Identifier: MIT
"""Clips prepared as a whole before they are cut: lengthened, silence taken out, padded."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from cheep.audio import int16_to_float, read_audio, write_wav
from cheep.config import ClipConfig
from cheep.datasets.sources.recording import Recording
from cheep.errors import CheepError
from cheep.parallel import map_each


def prepare_clips(
    recordings: Sequence[Recording],
    config: ClipConfig,
    sample_rate_hz: int,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> list[Recording]:
    """Write every recording, prepared, to ``folder`` as WAV; return the recordings with their new files.

    Raises
    ------
    CheepError
        A recording is a marked stretch of a file: clips are prepared whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tasks = []
    for number, item in enumerate(recordings):
        if item.strong:
            raise CheepError(f"{item.path}: a marked stretch; data.clips prepares whole files: leave it out")
        tasks.append((item.path, folder / f"{number:05d}-{re.sub('[^A-Za-z0-9._-]', '_', item.path.stem)}.wav"))
    work = functools.partial(_prepare, config, sample_rate_hz)
    made = [outcome.value for outcome in map_each(work, tasks, progress=progress)]
    return [dataclasses.replace(item, path=path) for item, path in zip(recordings, made, strict=True)]


def _prepare(config: ClipConfig, sample_rate_hz: int, task: tuple[Path, Path]) -> Path:
    source, target = task
    write_wav(target, prepared(read_audio(source, sample_rate_hz), config, sample_rate_hz), sample_rate_hz)
    return target


def prepared(pcm: np.ndarray, config: ClipConfig, sample_rate_hz: int) -> np.ndarray:
    """Return a recording as the settings want it: int16 mono (n,) in, (m,) out, both at ``sample_rate_hz``."""
    least = round(config.min_s * sample_rate_hz)
    if config.lengthen == "before":
        pcm = _repeat(pcm, least)
    if config.silence_db is not None:
        pcm = without_silence(pcm, config.silence_db, config.silence_frame_samples, config.silence_hop_samples)
    if config.lengthen == "after":
        pcm = _repeat(pcm, least)
    if config.whole_seconds:
        pcm = pcm[: max(1, len(pcm) // sample_rate_hz) * sample_rate_hz]
    pcm = pcm[: round(config.max_s * sample_rate_hz)]
    if not config.pad_samples:
        return pcm
    mode = config.pad_mode if len(pcm) > config.pad_samples else "constant"
    return np.pad(pcm, config.pad_samples, mode=mode)


def without_silence(pcm: np.ndarray, below_db: float, frame_samples: int, hop_samples: int) -> np.ndarray:
    """Return ``pcm`` without the hops whose frame lies more than ``below_db`` under the loudest (root mean square).

    A recording that is silent throughout stays as it is. (n,) int16 in, (m,) int16 out.
    """
    x = int16_to_float(pcm).astype(np.float64)
    padded = np.pad(x**2, frame_samples // 2)
    total = np.concatenate([[0.0], np.cumsum(padded)])
    starts = np.arange(0, max(1, len(padded) - frame_samples + 1), hop_samples)
    power = (total[np.minimum(starts + frame_samples, len(padded))] - total[starts]) / frame_samples
    if power.max() <= 0:
        return pcm
    keep = power > power.max() * 10 ** (-below_db / 10)
    kept = np.repeat(keep, hop_samples)[: len(pcm)]
    return pcm[: len(kept)][kept]


def _repeat(pcm: np.ndarray, least: int) -> np.ndarray:
    if 0 < len(pcm) < least:
        return np.tile(pcm, -(-least // len(pcm)))[:least]
    return pcm
