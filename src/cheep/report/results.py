# SPDX-License-Identifier: MIT
"""What a report shows: typed results of one run, independent of how they were made."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from cheep.evaluate.matching import Annotation, Detection
from cheep.evaluate.windows import WindowScores


@dataclasses.dataclass(frozen=True)
class Variant:
    """One form of the model (float, QAT, int8 ...) with what was measured; None: not measured.

    Accuracies and areas lie in 0..1; ``arena_bytes`` is TFLM's need, ``ram_bytes`` and ``flash_bytes`` those of a
    compiled model, ``instructions`` one run of the network on the emulated Cortex-M4F.
    """

    name: str
    window_accuracy: float | None = None
    window_auc: float | None = None
    clip_accuracy: float | None = None
    clip_auc: float | None = None
    model_bytes: int | None = None
    arena_bytes: int | None = None
    ram_bytes: int | None = None
    flash_bytes: int | None = None
    instructions: int | None = None
    window_accuracy_interval: tuple[float, float] | None = None
    clip_accuracy_interval: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class DataRow:
    """What one label was trained and tested on."""

    label: str
    train: int
    val: int
    test: int
    recordings: int
    recordists: int
    hours: float


@dataclasses.dataclass(frozen=True)
class DataSummary:
    """The data set: rows by label, licences with their number of windows, hash of the manifest."""

    rows: tuple[DataRow, ...] = ()
    licences: tuple[tuple[str, int], ...] = ()
    recordings: int = 0
    recordists: int = 0
    hours: float = 0.0
    dataset_sha256: str = ""


@dataclasses.dataclass(frozen=True)
class History:
    """One training stage: metric name -> value per epoch.

    ``best_epoch`` is the one kept, from 0; None where the average of the last epochs was kept.
    """

    stage: str
    metrics: dict[str, list[float]]
    best_epoch: int | None = None

    @property
    def kept(self) -> str:
        """What was kept, in words for a figure that marks an epoch by a dashed line."""
        return "the average of the last epochs" if self.best_epoch is None else "the dashed epoch"


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A clip that the model gets most wrong, with its sound: int16 mono (n,)."""

    source: str
    true: str
    predicted: str
    score: float
    pcm: np.ndarray
    sample_rate_hz: int
    start_s: float = 0.0


@dataclasses.dataclass(frozen=True)
class Soundscape:
    """A long recording through the device path: what is there and what was detected.

    ``trace`` is optional, (n, labels) float32 scores with ``trace_step_s`` between rows.
    """

    name: str
    duration_s: float
    annotations: tuple[Annotation, ...]
    detections: tuple[Detection, ...]
    trace: np.ndarray | None = None
    trace_step_s: float = 0.0
    pcm: np.ndarray | None = None
    sample_rate_hz: int = 0

    @property
    def labels(self) -> set[str]:
        """Labels of the annotations and of the detections."""
        return {item.label for item in self.annotations} | {item.label for item in self.detections}


@dataclasses.dataclass(frozen=True)
class Threshold:
    """One label's threshold (None: it never makes an event), and what calibration measured of it.

    ``rate`` are false alarms per hour, ``recall`` the share of events found: (value, low, high), None: not measured.
    """

    label: str
    value: float | None
    rate: tuple[float, float | None, float | None] | None = None
    recall: tuple[float, float | None, float | None] | None = None
    hours: float = 0.0


@dataclasses.dataclass(frozen=True)
class OperatingCurve:
    """One label: false alarms per hour and recall over the threshold, and the point that calibration chose."""

    label: str
    threshold: np.ndarray
    false_alarms_per_hour: np.ndarray
    recall: np.ndarray
    chosen_threshold: float | None = None
    chosen_false_alarms_per_hour: tuple[float, float, float] | None = None  # value, low, high
    chosen_recall: tuple[float, float | None, float | None] | None = None
    hours: float = 0.0
    note: str = ""


@dataclasses.dataclass(frozen=True)
class BoardRow:
    """A board and what the detector takes of it; bytes, and ms of work for each second of audio (its clock's share)."""

    board: str
    flash_used: int
    flash_budget: int
    ram_used: int
    ram_budget: int
    ms_per_second: float | None = None
    note: str = ""

    @property
    def fits(self) -> bool:
        """Whether flash, RAM and time suffice."""
        in_time = self.ms_per_second is None or self.ms_per_second < 1000
        return self.flash_used <= self.flash_budget and self.ram_used <= self.ram_budget and in_time


@dataclasses.dataclass(frozen=True)
class RobustnessRow:
    """One way to spoil the sound, and what the detector still does. Recall 0..1, false alarms per hour."""

    condition: str
    recall: float | None
    false_alarms_per_hour: float | None
    window_auc: float | None = None


@dataclasses.dataclass(frozen=True)
class RunResults:
    """Everything that a report may show; sections without data are left out.

    ``test`` are the scores of the model as the device computes them, on windows never trained on.
    ``summary``, ``limits``: sentences. ``reproduce``: shell commands. ``settings``: section -> values.
    """

    title: str
    labels: tuple[str, ...]
    summary: tuple[str, ...] = ()
    variants: tuple[Variant, ...] = ()
    variants_on: str = "test"
    test: WindowScores | None = None
    reject_below: float | None = None
    data: DataSummary | None = None
    histories: tuple[History, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    soundscapes: tuple[Soundscape, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    stride_s: float = 0.0  # between two windows that the detector sees
    stale: str = ""  # what is not shown, and why: measured with other thresholds, recordings that have moved
    operating: tuple[OperatingCurve, ...] = ()
    temperature: float | None = None
    boards: tuple[BoardRow, ...] = ()
    robustness: tuple[RobustnessRow, ...] = ()
    pictures: tuple[tuple[str, bytes], ...] = ()  # caption, PNG
    tables: tuple[tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]], ...] = ()  # caption, head, rows
    intended_use: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()  # what split chose for these recordings, and why
    settings: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    reproduce: tuple[str, ...] = ()
    next_command: str = ""
    model_sha256: str = ""
    feature_hash: str = ""
    cheep_version: str = ""
