# SPDX-License-Identifier: MIT
"""From the file that xeno-canto sent to the one that is kept: decoded to its end, resampled, measured."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from cheep.audio import Resampler, float_to_int16, int16_to_float, iter_audio, probe
from cheep.config import ActivityConfig
from cheep.datasets.activity import LevelMeter
from cheep.datasets.web import Transient
from cheep.errors import CheepError
from cheep.features.digests import sha256_of

#: What a note must hold to count: a recording whose note lacks any of it is fetched again.
FACTS = frozenset({"length_s", "original_rate_hz", "original_sha256", "sha256", "band_edges_hz", "band_energy"})


class BadContent(Transient):
    """The file arrived and is not what it should be: fetched anew, a few times."""


def convert(source: Path, converted: Path, sample_rate_hz: int, channels: int, container: str) -> dict[str, Any]:
    """Write ``source`` as int16 at ``sample_rate_hz`` to ``converted``; return what was measured (:data:`FACTS`).

    ``channels`` are kept at most; ``container`` is ``flac`` or ``wav``.

    Raises
    ------
    BadContent
        It cannot be decoded.
    """
    try:
        info = probe(source)
    except CheepError as error:
        raise BadContent(str(error)) from None
    meter = LevelMeter(info.sample_rate_hz, ActivityConfig())
    samples = 0
    channels = min(channels, info.channels)
    with soundfile.SoundFile(str(converted), "w", sample_rate_hz, channels, "PCM_16", format=container.upper()) as out:
        for mono, block in _blocks(source, info.sample_rate_hz, sample_rate_hz, channels):
            samples += len(mono)
            meter.push(mono)
            out.write(block)
    edges, energy = meter.band_energy()
    return {
        "length_s": round(samples / info.sample_rate_hz, 3),
        "original_rate_hz": info.sample_rate_hz,
        "original_sha256": sha256_of(source),
        "sha256": sha256_of(converted),
        "band_edges_hz": [round(float(edge), 1) for edge in edges],
        "band_energy": [round(float(value), 4) for value in energy],
    }


def _blocks(source: Path, from_hz: int, to_hz: int, channels: int) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Yield ``(mono int16 at the original rate, int16 converted (n,) or (n, channels))``."""
    if channels == 1:
        resampler = Resampler(from_hz, to_hz)
        blocks = iter_audio(source, from_hz)
        while True:
            try:
                mono = next(blocks, None)
            except CheepError as error:
                raise BadContent(str(error)) from None
            if mono is None:
                break
            yield mono, float_to_int16(resampler.push(int16_to_float(mono)))
        yield np.zeros(0, np.int16), float_to_int16(resampler.push(np.zeros(0, np.float32), last=True))
        return
    resamplers = [Resampler(from_hz, to_hz) for _ in range(channels)]
    try:
        with soundfile.SoundFile(str(source)) as file:
            for block in file.blocks(1 << 18, dtype="float32", always_2d=True):
                done = [item.push(block[:, at]) for at, item in enumerate(resamplers)]
                yield float_to_int16(block.mean(axis=1)), float_to_int16(np.stack(done, axis=1))
        done = [item.push(np.zeros(0, np.float32), last=True) for item in resamplers]
        yield np.zeros(0, np.int16), float_to_int16(np.stack(done, axis=1))
    except soundfile.LibsndfileError as error:
        raise BadContent(f"cannot be decoded: {error}") from None
