# SPDX-License-Identifier: MIT
"""What is measured of a file before it is cut: its content's hash, length, activity and announcements."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from cheep.audio import iter_audio, scan
from cheep.config.data import ActivityConfig, BuildConfig
from cheep.datasets.activity import LevelMeter, Levels
from cheep.datasets.sources.recording import Recording
from cheep.datasets.speech import SpeechMeter
from cheep.features.digests import sha256_of


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was measured of a file; ``speech`` and ``zeros`` are stretches, s; ``levels`` where asked for."""

    sha256: str
    levels: Levels | None
    duration_s: float
    speech: tuple[tuple[float, float], ...]
    zeros: tuple[tuple[float, float], ...] = ()
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What to measure of a file: levels for activity, and announcements (by voice)."""

    path: Path
    sample_rate_hz: int
    activity: ActivityConfig
    levels: bool
    speech: bool


def measure_file(task: Measurement) -> Measured:
    """Hash, length, activity and announcements of one file, in bounded memory; CheepError where it is unreadable."""
    digest = sha256_of(task.path)
    if not task.levels:
        heard = scan(task.path)
        return Measured(digest, None, heard.duration_s, (), heard.zeros, heard.notes)
    notes: list[str] = []
    meter = LevelMeter(task.sample_rate_hz, task.activity)
    speech = SpeechMeter(task.sample_rate_hz) if task.speech else None
    samples = 0
    for block in iter_audio(task.path, task.sample_rate_hz, notes=notes):
        samples += len(block)
        meter.push(block)
        if speech is not None:
            speech.push(block)
    stretches = speech.stretches() if speech is not None else ()
    levels = meter.levels()
    return Measured(digest, levels, samples / task.sample_rate_hz, stretches, levels.zeros, tuple(notes))


def measurements(by_file: dict[Path, list[Recording]], config: BuildConfig) -> list[Measurement]:
    """Return what to measure of each file, in the order of ``by_file``."""
    windows = config.windows
    tasks = []
    for path, group in by_file.items():
        weak = any(not recording.strong and not windows.is_background(recording.label) for recording in group)
        levels = (windows.selection and weak) or windows.gaps
        speech = levels and windows.announcements and weak
        tasks.append(Measurement(path, config.sample_rate_hz, windows.activity, levels, speech))
    return tasks
