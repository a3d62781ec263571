# SPDX-License-Identifier: MIT
"""The device path in Python: front end -> int8 columns -> network each stride -> detector.

The front end and the detector are the C core's, the network runs in TFLM (or compiled), so that what comes out is
what the board would compute from the same samples.
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from cheep.device.bundle import ModelBundle, load_bundle
from cheep.device.scoring import Scorer, WindowScorer, make_scorer, second_scorer

if TYPE_CHECKING:
    from cheep.detector import Event


@dataclasses.dataclass(frozen=True)
class ScoredWindow:
    """One run of the network. ``index`` counts from 0; ``end_s`` is the end of its audio since the start, s."""

    index: int
    end_s: float
    scores: np.ndarray  # (classes,) int8


@dataclasses.dataclass(frozen=True)
class LiveEvent:
    """A detection.

    ``start_s`` is the start of the audio of the first window whose smoothed score counted, ``end_s`` the end of the
    last one's; ``decided_s`` is the end of the audio that was needed to report this (start or end of the event).
    ``score`` is the largest smoothed score so far as a probability, 0..1, ``logit`` the same as a logit (None where the
    model's activation is inside).
    """

    label: str
    ended: bool
    start_s: float
    end_s: float
    decided_s: float
    score: float
    first_window: int
    last_window: int
    logit: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values, times to the millisecond."""
        return {
            "label": self.label,
            "state": "end" if self.ended else "start",
            "start_s": round(self.start_s, 3),
            "end_s": round(self.end_s, 3),
            "decided_s": round(self.decided_s, 3),
            "score": round(self.score, 6),
            **({} if self.logit is None else {"logit": round(self.logit, 3)}),
            "first_window": self.first_window,
            "last_window": self.last_window,
        }


@dataclasses.dataclass(frozen=True)
class StepResult:
    """What one chunk of audio gave: columns (k, mels) int8, runs of the network, events."""

    columns: np.ndarray
    windows: list[ScoredWindow]
    events: list[LiveEvent]


class Engine:
    """A detector that listens to int16 mono samples at the model's rate.

    Parameters
    ----------
    source : ModelBundle, path or None
        A run folder, a model folder, a ``.tflite``; None: the latest run.
    backend : {"tflm", "compiled"}
        What runs the network; both give the same bits.
    scorer : Scorer, optional
        Runs the network instead of ``backend`` (tests).
    """

    def __init__(
        self,
        source: ModelBundle | str | os.PathLike | None = None,
        backend: str = "tflm",
        scorer: Scorer | None = None,
    ):
        from cheep.detector import Detector

        self.bundle = source if isinstance(source, ModelBundle) else load_bundle(source)
        self._detector = Detector(self.bundle.detector, len(self.bundle.labels), self.bundle.scale)
        first = scorer if scorer is not None else make_scorer(self.bundle, backend)
        self._scoring = WindowScorer(self.bundle, first, second_scorer(self.bundle, backend))
        self._windows = 0

    def reset(self) -> None:
        """Forget the past: the next sample is the first of a new recording."""
        self._scoring.reset()
        self._detector.reset()
        self._windows = 0

    @property
    def windows(self) -> int:
        """Runs of the network since the start."""
        return self._windows

    @property
    def samples(self) -> int:
        """Samples taken since the start."""
        return self._scoring.samples

    def push(self, pcm: np.ndarray) -> StepResult:
        """Take int16 mono samples, shape (n,), any n; return what they completed."""
        columns, rows = self._scoring.push(pcm)
        windows, events = [], []
        for row in rows:
            index = self._windows
            windows.append(ScoredWindow(index, window_end_s(self.bundle, index), row))
            found = self._detector.push(row[None, :])
            self._windows += 1
            events += [live_event(self.bundle, item, index) for item in found]
        return StepResult(columns, windows, events)

    def flush(self) -> list[LiveEvent]:
        """End the events that are running (the recording is over)."""
        return [live_event(self.bundle, item, self._windows - 1) for item in self._detector.flush()]

    def run(self, pcm: np.ndarray, block: int = 1 << 17) -> list[LiveEvent]:
        """Reset, take a whole recording, (n,) int16, in blocks of ``block`` samples; return its ended events."""
        self.reset()
        events = []
        for first in range(0, len(pcm), block):
            events += self.push(pcm[first : first + block]).events
        events += self.flush()
        return [event for event in events if event.ended]

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """Return int8 scores (..., classes) as probabilities, float64, same shape."""
        return self.bundle.scale.probabilities(scores)


def window_end_s(bundle: ModelBundle, index: int) -> float:
    """Return when the audio of a window ends, s since the start."""
    return index * bundle.detector.stride_frames * bundle.features.hop_s + bundle.features.window_s


def live_event(bundle: ModelBundle, event: Event, decided: int) -> LiveEvent:
    """Return an event of the C detector with its times; ``decided``: the window with which it was reported."""
    return LiveEvent(
        label=bundle.labels[event.label],
        ended=event.ended,
        start_s=event.first_window * bundle.detector.stride_frames * bundle.features.hop_s,
        end_s=window_end_s(bundle, event.last_window),
        decided_s=window_end_s(bundle, decided),
        score=float(event.peak),
        first_window=int(event.first_window),
        last_window=int(event.last_window),
        logit=event.peak_logit,
    )
