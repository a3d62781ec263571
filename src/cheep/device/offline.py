# SPDX-License-Identifier: MIT
"""Files through the device path, block by block: heard as far as they can be read, whatever is wrong with them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable

import numpy as np

from cheep.audio import AudioInfo, NoiseMeter, ZeroMeter, open_audio
from cheep.device.bundle import ModelBundle
from cheep.device.engine import LiveEvent, live_event
from cheep.device.scoring import WindowScorer
from cheep.errors import CheepError


@dataclasses.dataclass(frozen=True)
class Heard:
    """What was heard of a file.

    Attributes
    ----------
    info
        What the file holds; None where not even that could be read.
    length_s, silent_s
        Of the samples that could be read, s, and of the exact zeros among them.
    noise_db
        Level of its quiet seconds, dB of full scale; None: less than a second was heard.
    scores
        Raw scores of every window, (windows, classes) int8.
    error
        What ended the reading; None: the end of the file.
    """

    info: AudioInfo | None
    length_s: float
    silent_s: float
    scores: np.ndarray
    error: Exception | None = None
    noise_db: float | None = None


def nothing_heard(bundle: ModelBundle, error: Exception) -> Heard:
    """Return what was heard of a file whose work ended in ``error``."""
    return Heard(None, 0.0, 0.0, np.zeros((0, len(bundle.labels)), np.int8), error)


def hear_file(
    scorer: WindowScorer, path: str | os.PathLike, microphone: Callable[[np.ndarray], np.ndarray] | None = None
) -> Heard:
    """Score a file in bounded memory; ``microphone`` filters the samples, (n,) int16, first."""
    rate = scorer.sample_rate_hz
    scorer.reset()
    zeros, noise = ZeroMeter(rate), NoiseMeter(rate)
    rows = [np.zeros((0, scorer.classes), np.int8)]
    info, error, samples = None, None, 0
    try:
        info, blocks = open_audio(path, rate)
        for block in blocks:
            samples += len(block)
            zeros.push(block)
            noise.push(block)
            rows.append(scorer.push(block if microphone is None else microphone(block))[1])
    except (CheepError, OSError) as found:
        error = found
    return Heard(info, samples / rate, zeros.seconds(), np.concatenate(rows), error, noise.level_db())


def ended_events(bundle: ModelBundle, scores: np.ndarray) -> list[LiveEvent]:
    """Return the events of a whole recording's scores, (windows, classes) int8, as the engine reports their ends."""
    from cheep.detector import Detector

    detector = Detector(bundle.detector, len(bundle.labels), bundle.scale)
    events = [event for event in (*detector.push(scores), *detector.flush()) if event.ended]
    # an event ends with the first window that it does not count, or with the recording
    return [live_event(bundle, event, min(event.last_window + 1, len(scores) - 1)) for event in events]
