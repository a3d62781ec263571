# SPDX-License-Identifier: MIT
"""Augmented copies of the training recordings: waveform changes that mel columns cannot imitate exactly.

Another microphone, distance with reverberation, and background mixed in before the microphone are made once, as
files; level, shift, masks and mixup are drawn anew in every epoch from the columns.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cheep.audio import float_to_int16, int16_to_float, read_audio, write_wav
from cheep.audio.augment import NoiseBank, WaveformAugment, augment
from cheep.datasets.manifest import Manifest
from cheep.errors import CheepError
from cheep.features.cache import check_there
from cheep.parallel import map_each

log = logging.getLogger(__name__)

_NOISE_RECORDINGS = 200
_NOISE_S = 30.0
_HEADROOM = 0.98


def add_copies(
    manifest: Manifest,
    folder: Path,
    sample_rate_hz: int,
    settings: WaveformAugment,
    copies: int = 1,
    seed: int = 1,
    background: str = "background",
    progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Return ``manifest`` with augmented copies of its training recordings.

    Only rows of split ``train`` get copies; a copy keeps recording, recordist and group, so that no split leaks.
    The files are named by content and settings: what exists is not made again. The same seed gives the same bytes.

    Parameters
    ----------
    folder : Path
        Where the WAV files go.
    settings : WaveformAugment
        What is drawn; its time shift is ignored (the windows' places must hold).
    copies : int
        Per recording, at least 1.
    background : str
        Label of the recordings that are mixed in.

    Raises
    ------
    CheepError
        No training rows, recordings that are not there, or mixing is asked for without background recordings.
    """
    if copies < 1:
        raise CheepError(f"copies={copies}: must be at least 1")
    train = [row for row in manifest.rows() if row["split"] == "train"]
    if not train:
        raise CheepError("no rows of split 'train'; split the data first (cheep split-dataset)")
    settings = dataclasses.replace(settings, shift_s=0.0)
    paths = sorted({row["path"] for row in train})
    check_there([manifest.folder / name for name in paths])
    noises = _noises(manifest, train, settings, background)
    folder.mkdir(parents=True, exist_ok=True)
    keys = [(seed, copy) for copy in range(copies)]
    work = functools.partial(_make_all, folder, sample_rate_hz, settings, noises, keys)
    outcomes = map_each(work, [manifest.folder / name for name in paths], progress=progress)
    made = {name: outcome.value for name, outcome in zip(paths, outcomes, strict=True)}
    rows = list(manifest.anchored().rows())
    for row in train:
        for copy in range(copies):
            target, digest = made[row["path"]][copy]
            rows.append({**row, "path": str(target.resolve()), "sha256": digest, "reason": f"augmented {copy + 1}"})
    return Manifest.from_rows(rows)


def _noises(manifest, train, settings: WaveformAugment, background: str) -> tuple[tuple[Path, int], ...]:
    """Return the recordings that are mixed in, with their times of change: none without mixing."""
    if settings.mix_probability <= 0:
        return ()
    names = sorted({row["path"] for row in train if row["label"] == background})
    if not names:
        raise CheepError(
            f"mixing needs recordings labelled {background!r} in split 'train'; add some or switch mixing off"
        )
    step = max(1, len(names) // _NOISE_RECORDINGS)
    paths = [manifest.folder / name for name in names[::step]]
    return tuple((path, path.stat().st_mtime_ns) for path in paths)


@functools.lru_cache(maxsize=1)  # in each worker
def _noise_bank(files: tuple[tuple[Path, int], ...], rate: int) -> NoiseBank | None:
    limit = int(_NOISE_S * rate)
    return NoiseBank([int16_to_float(read_audio(path, rate)[:limit]) for path, _ in files]) if files else None


def _make_all(
    folder: Path,
    rate: int,
    settings: WaveformAugment,
    noises: tuple[tuple[Path, int], ...],
    keys: list[tuple[int, int]],
    source: Path,
) -> list[tuple[Path, str]]:
    bank = _noise_bank(noises, rate)
    return [_make(source, folder, rate, settings, bank, key) for key in keys]


def _make(source: Path, folder: Path, rate: int, settings: WaveformAugment, noises, key: tuple[int, int]):
    data = source.read_bytes()
    about = f"{rate}|{settings}|{key}|{len(noises) if noises else 0}"
    name = hashlib.sha256(hashlib.sha256(data).digest() + about.encode()).hexdigest()[:24]
    target = folder / f"{name}.wav"
    if not target.is_file():
        rng = np.random.default_rng(int(name, 16))
        out = augment(int16_to_float(read_audio(source, rate)), rate, settings, rng, noises)
        peak = float(np.max(np.abs(out), initial=0.0))
        if peak > _HEADROOM:  # clipping is a fault of one device, not of the field
            out = out * np.float32(_HEADROOM / peak)
        write_wav(target, float_to_int16(out), rate)
    return target, hashlib.sha256(target.read_bytes()).hexdigest()
