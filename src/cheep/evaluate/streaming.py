# SPDX-License-Identifier: MIT
"""Long recordings through the device path: front end, int8 columns, network at each stride, detector.

Scores are computed once per recording (:func:`score_recording`); detectors with other settings are then run over the
same scores, which is what calibration does hundreds of times.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cheep.audio.augment import MicrophonePath
from cheep.config import DetectorConfig
from cheep.detector import Detector, ScoreScale
from cheep.device.bundle import ModelBundle
from cheep.device.offline import hear_file
from cheep.device.scoring import Scorer, WindowScorer, make_scorer
from cheep.errors import CheepError
from cheep.evaluate.matching import Annotation, Detection
from cheep.parallel import map_each

log = logging.getLogger(__name__)
_SCORERS: dict[str, tuple[Scorer, str]] = {}  # of the model in use, by sha256: a worker scores many recordings


@dataclasses.dataclass(frozen=True)
class ScoreTiming:
    """When a window of scores was heard: window i spans ``i * stride_s`` .. ``i * stride_s + window_s``."""

    stride_s: float
    window_s: float

    @classmethod
    def of(cls, bundle: ModelBundle) -> ScoreTiming:
        """Return the timing of a model's detector."""
        return cls(bundle.stride_s, bundle.features.window_s)


@dataclasses.dataclass(frozen=True)
class Output:
    """The int8 output of a model: labels, what a score means, and when it was heard."""

    labels: tuple[str, ...]
    scale: ScoreScale
    timing: ScoreTiming

    @classmethod
    def of(cls, bundle: ModelBundle) -> Output:
        """Return the output of a model."""
        return cls(bundle.labels, bundle.scale, ScoreTiming.of(bundle))


@dataclasses.dataclass(frozen=True)
class ScoredRecording:
    """Scores of one recording.

    ``duration_s`` is the time that was listened to, without ``silent_s`` of exact zeros (a recorder's pauses).
    ``scores`` is (windows, classes) int8, ``group`` what is drawn together in a bootstrap (recordist, site, or the
    recording itself), ``annotations`` what is truly there (empty: background).
    """

    name: str
    group: str
    duration_s: float
    scores: np.ndarray
    annotations: tuple[Annotation, ...] = ()
    silent_s: float = 0.0
    noise_db: float | None = None


def best_scorer(bundle: ModelBundle) -> tuple[Scorer, str]:
    """Return the fastest runner of the model on this machine, and its name; all give TFLM's bits."""
    if bundle.model.sha256 not in _SCORERS:
        _SCORERS.clear()
        _SCORERS[bundle.model.sha256] = _make_best(bundle)
    return _SCORERS[bundle.model.sha256]


def _make_best(bundle: ModelBundle) -> tuple[Scorer, str]:
    try:
        return make_scorer(bundle, "compiled"), "compiled"
    except (CheepError, ImportError) as error:
        log.info("compiled model not available (%s); using TFLM", error)
        return make_scorer(bundle, "tflm"), "tflm"


def score_blocks(bundle: ModelBundle, scorer: Scorer, blocks: Iterable[np.ndarray]) -> tuple[np.ndarray, int]:
    """Score int16 mono audio that comes in blocks at the model's rate.

    Returns
    -------
    (scores, samples)
        ``scores`` (windows, classes) int8, one row per stride; the number of samples seen.
    """
    windows = WindowScorer(bundle, scorer)
    rows = [np.zeros((0, len(bundle.labels)), np.int8)]
    rows += [windows.push(block)[1] for block in blocks]
    return np.concatenate(rows), windows.samples


def score_recordings(
    bundle: ModelBundle,
    plan: Sequence[tuple[Path, str, Sequence[Annotation]]],
    *,
    microphone: Callable[[], MicrophonePath] | None = None,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[ScoredRecording]:
    """Yield the scores of the recordings of ``plan`` (file, group, annotations), in its order, on every core.

    Raises
    ------
    CheepError
        For the first recording that cannot be read.
    """
    work = functools.partial(_score_planned, bundle, microphone)
    for outcome in map_each(work, plan, jobs=jobs, progress=progress):
        yield outcome.value


def _score_planned(bundle: ModelBundle, microphone: Any, item: tuple[Path, str, Sequence[Annotation]]):
    path, group, annotations = item
    scorer, _ = best_scorer(bundle)
    return score_recording(bundle, scorer, path, group=group, annotations=annotations, microphone=microphone)


def score_recording(
    bundle: ModelBundle,
    scorer: Scorer,
    path: str | os.PathLike,
    *,
    group: str | None = None,
    annotations: Sequence[Annotation] = (),
    microphone: Callable[[], MicrophonePath] | None = None,
) -> ScoredRecording:
    """Score an audio file (decoded block by block, so that its length does not matter).

    ``microphone`` makes a filter that the samples go through first.
    """
    heard = hear_file(WindowScorer(bundle, scorer), path, None if microphone is None else microphone().push)
    if heard.error is not None:
        raise heard.error
    if heard.info is not None and heard.info.note:
        log.warning("%s: %s", path, heard.info.note)
    name = str(path)
    duration_s = max(0.0, heard.length_s - heard.silent_s)
    group = name if group is None else group
    return ScoredRecording(name, group, duration_s, heard.scores, tuple(annotations), heard.silent_s, heard.noise_db)


def detect(
    scores: np.ndarray,
    config: DetectorConfig,
    labels: Sequence[str],
    timing: ScoreTiming,
    scale: ScoreScale,
) -> list[Detection]:
    """Run the C detector over one recording; return its ended events in order.

    ``scores`` are (windows, classes): int8 as the model gives them, or int16 units (:meth:`ScoreScale.units`).
    """
    detector = Detector(config, len(labels), scale)
    found = detector.push_units(scores) if scores.dtype == np.int16 else detector.push(scores)
    events = [event for event in (*found, *detector.flush()) if event.ended]
    return [
        Detection(
            labels[event.label],
            event.first_window * timing.stride_s,
            event.last_window * timing.stride_s + timing.window_s,
            float(event.peak),
        )
        for event in events
    ]


def detect_at_levels(
    column: np.ndarray,
    levels: Sequence[float],
    config: DetectorConfig,
    label: str,
    timing: ScoreTiming,
    scale: ScoreScale,
) -> list[list[Detection]]:
    """Return one list of detections per threshold in ``levels``, for the units of one class, (windows,) int16.

    The C detector is given the class once per threshold, as if they were classes, so that one pass does them all.
    """
    many = max(1, min(64, 512 // config.smoothing_windows))
    out: list[list[Detection]] = []
    for first in range(0, len(levels), many):
        part = list(levels[first : first + many])
        settings = config.model_copy(update={"threshold": tuple(part)})
        found: list[list[Detection]] = [[] for _ in part]
        names = [str(i) for i in range(len(part))]
        rows = np.repeat(column[:, None], len(part), axis=1)
        for item in detect(rows, settings, names, timing, scale):
            found[int(item.label)].append(Detection(label, item.start_s, item.end_s, item.score))
        out += found
    return out
