# SPDX-License-Identifier: MIT
"""Stored scores -> detections, by the C detector: for a new recording, and again for other thresholds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from cheep.detector import Detector
from cheep.season.schema import USABLE, Detection, ModelRow, Recording
from cheep.season.store import read_part, read_scores, write_part


def detections_of(model: ModelRow, row: Recording, scores: np.ndarray) -> tuple[Detection, ...]:
    """Return the detections in a recording's raw scores, (windows, labels) int8; none where it is not usable."""
    if row.status not in USABLE:
        return ()
    detector = Detector(model.detector, len(model.labels), model.score_scale)
    events = [event for event in (*detector.push(scores), *detector.flush()) if event.ended]
    return tuple(
        Detection(
            model.labels[event.label],
            event.first_window * model.stride_s,
            event.last_window * model.stride_s + model.window_s,
            float(event.peak),
            int(event.first_window),
            int(event.last_window),
            int(event.peak_sum),
        )
        for event in sorted(events, key=lambda item: (item.first_window, item.last_window, item.label))
    )


def detect_again(model: ModelRow, path: Path) -> bool:
    """Bring the detections of one recording's file up to the settings of ``model``; return whether it was changed."""
    part = read_part(path)
    if part.settings == model.settings:
        return False
    scores = read_scores(path, model)
    found = detections_of(model, part.row, scores)
    write_part(path, model, scores, dataclasses.replace(part, detections=found, settings=model.settings))
    return True
