# SPDX-License-Identifier: MIT
"""The C detector from Python: int8 scores of successive windows in, events out."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from cheep.ccore import load_core
from cheep.config import DetectorConfig
from cheep.detector.scores import NEVER, CScale, ScoreScale
from cheep.errors import CheepError

MAX_CLASSES, MAX_SMOOTHING, MAX_SCORES = 64, 32, 512  # CHEEP_CLASS_LIMIT and its sisters in cheep_detector.h
_EVENTS = 256  # that one call of the C core may give


@dataclass(frozen=True)
class Event:
    """One class, from the first to the last window in which it was on.

    Attributes
    ----------
    label
        Index of the class.
    ended
        False: the event has just started (``last_window`` and ``peak`` are of this moment). True: it has ended.
    first_window, last_window
        Indices of windows since the start or reset, both included.
    peak
        Largest smoothed score so far as a probability, 0..1 (of logits: in millionths, as a board writes it).
    peak_sum
        The same as the exact integer sum of units.
    peak_logit
        The same as a logit, None where the activation is in the network.
    """

    label: int
    ended: bool
    first_window: int
    last_window: int
    peak: float
    peak_sum: int
    peak_logit: float | None = None


class _Threshold(ctypes.Structure):
    _fields_ = [("on_sum", ctypes.c_int32), ("off_sum", ctypes.c_int32)]


class _Spec(ctypes.Structure):
    _fields_ = [
        ("n_classes", ctypes.c_uint16),
        ("smoothing", ctypes.c_uint16),
        ("min_windows", ctypes.c_uint16),
        ("hold_off", ctypes.c_uint16),
        ("threshold", ctypes.POINTER(_Threshold)),
        ("scores", CScale),
    ]


class _Event(ctypes.Structure):
    _fields_ = [
        ("label", ctypes.c_uint16),
        ("ended", ctypes.c_bool),
        ("first_window", ctypes.c_uint64),
        ("last_window", ctypes.c_uint64),
        ("peak_sum", ctypes.c_int32),
    ]


class _ClassState(ctypes.Structure):
    _fields_ = [
        ("sum", ctypes.c_int32),
        ("peak_sum", ctypes.c_int32),
        ("first_window", ctypes.c_uint64),
        ("last_window", ctypes.c_uint64),
        ("run", ctypes.c_uint16),
        ("quiet", ctypes.c_uint16),
        ("active", ctypes.c_bool),
    ]


class _Detector(ctypes.Structure):
    _fields_ = [
        ("spec", ctypes.POINTER(_Spec)),
        ("windows", ctypes.c_uint64),
        ("next", ctypes.c_uint16),
        ("units", ctypes.c_int16 * MAX_SCORES),
        ("classes", _ClassState * MAX_CLASSES),
    ]


@functools.cache
def _library() -> ctypes.CDLL:
    core = load_core()
    detector, events = ctypes.POINTER(_Detector), ctypes.POINTER(_Event)
    core.cheep_detector_init.argtypes = [detector, ctypes.POINTER(_Spec)]
    core.cheep_detector_init.restype = ctypes.c_int
    core.cheep_detector_reset.argtypes = [detector]
    core.cheep_detector_reset.restype = None
    size = ctypes.c_size_t
    for name in ("cheep_detector_run", "cheep_detector_run_units"):
        getattr(core, name).argtypes = [detector, ctypes.c_void_p, size, events, size, ctypes.POINTER(size)]
        getattr(core, name).restype = size
    core.cheep_detector_flush.argtypes = [detector, events]
    core.cheep_detector_flush.restype = ctypes.c_uint16
    return core


def check_classes(n_classes: int) -> None:
    """Raise :class:`CheepError` for more classes than a detector takes, on a board and here."""
    if not 1 <= n_classes <= MAX_CLASSES:
        raise CheepError(
            f"{n_classes} labels: a detector takes 1 to {MAX_CLASSES} (CHEEP_CLASS_LIMIT in the firmware): leave "
            "labels out, or merge them"
        )


def threshold_sums(config: DetectorConfig, n_classes: int, scale: ScoreScale) -> list[tuple[int, int]]:
    """Return ``(on_sum, off_sum)`` per class for ``cheep_detector_spec`` (``NEVER, NEVER`` for a silent class).

    Parameters
    ----------
    config
        Thresholds in 0..1, one per class, or a single one for all classes.
    n_classes
        Outputs of the network.
    scale
        What the model's scores mean.
    """
    thresholds = config.threshold * n_classes if len(config.threshold) == 1 else config.threshold
    if len(thresholds) != n_classes:
        raise CheepError(
            f"threshold={list(config.threshold)}: has {len(config.threshold)} values for {n_classes} classes "
            "(one value per label; null for a label that never makes an event)"
        )
    check_classes(n_classes)
    if n_classes * config.smoothing_windows > MAX_SCORES:
        raise CheepError(
            f"n_classes={n_classes}, smoothing_windows={config.smoothing_windows}: n_classes * smoothing_windows must "
            f"be at most {MAX_SCORES}: set smoothing_windows to {MAX_SCORES // n_classes} or less"
        )
    sums = []
    for value in thresholds:
        if value is None:
            sums.append((NEVER, NEVER))
            continue
        smoothing = config.smoothing_windows
        sums.append((scale.on_sum(value, smoothing), scale.off_sum(value, config.hysteresis, smoothing)))
    return sums


class Detector:
    """Smoothing, thresholds with hysteresis, and hold-off: the device's detector.

    Parameters
    ----------
    config
        Detector settings (of the model's manifest).
    n_classes
        Outputs of the network.
    scale
        What the model's int8 scores mean.
    """

    def __init__(self, config: DetectorConfig, n_classes: int, scale: ScoreScale) -> None:
        self.config, self.n_classes, self.scale = config, n_classes, scale
        self._core = _library()
        sums = threshold_sums(config, n_classes, scale)
        self._thresholds = (_Threshold * n_classes)(*[_Threshold(*pair) for pair in sums])
        self._spec = _Spec(
            n_classes, config.smoothing_windows, config.min_windows, config.hold_off_windows, self._thresholds, scale.c
        )
        self._events = (_Event * max(n_classes, _EVENTS))()
        self._state = _Detector()
        if self._core.cheep_detector_init(self._state, self._spec) != 0:
            raise CheepError(f"{config.to_json()}: the C detector refuses these settings")

    @property
    def windows(self) -> int:
        """Windows seen since the start or the last :meth:`reset`."""
        return int(self._state.windows)

    def push(self, scores: np.ndarray) -> list[Event]:
        """Take scores of successive windows, (n, n_classes) or (n_classes,) int8; return the events in order."""
        return self._push(scores, np.int8, self._core.cheep_detector_run)

    def push_units(self, units: np.ndarray) -> list[Event]:
        """Take what :meth:`ScoreScale.units` gives, (n, n_classes) or (n_classes,) int16; return the events."""
        return self._push(units, np.int16, self._core.cheep_detector_run_units)

    def _push(self, values: np.ndarray, kind: type, run: Any) -> list[Event]:
        rows = np.asarray(values)
        rows = rows[None, :] if rows.ndim == 1 else rows
        if rows.dtype != kind or rows.ndim != 2 or rows.shape[1] != self.n_classes:
            raise CheepError(
                f"scores={rows.dtype} {rows.shape}: must be {np.dtype(kind)} of shape (windows, {self.n_classes})"
            )
        rows = np.ascontiguousarray(rows)
        events: list[Event] = []
        done, taken = 0, ctypes.c_size_t()
        while done < len(rows):
            start = rows.ctypes.data + done * rows.strides[0]
            count = run(self._state, start, len(rows) - done, self._events, len(self._events), taken)
            events += self._take(count)
            done += taken.value
        return events

    def flush(self) -> list[Event]:
        """Close the events that are running (end of a recording)."""
        return self._take(self._core.cheep_detector_flush(self._state, self._events))

    def reset(self) -> None:
        """Forget the past: the next window is window 0."""
        self._core.cheep_detector_reset(self._state)

    def _take(self, count: int) -> list[Event]:
        smoothing = self.config.smoothing_windows
        return [
            Event(
                label=e.label,
                ended=e.ended,
                first_window=e.first_window,
                last_window=e.last_window,
                peak=self.scale.peak(e.peak_sum, smoothing),
                peak_sum=e.peak_sum,
                peak_logit=self.scale.value_of(e.peak_sum, smoothing) if self.scale.logits else None,
            )
            for e in self._events[:count]
        ]
