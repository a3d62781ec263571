# SPDX-License-Identifier: MIT
"""The detector: scores become events in the C core, the same in evaluation, live test and firmware."""

from cheep.detector.engine import Detector, Event, check_classes, threshold_sums
from cheep.detector.scores import ScoreScale, describe_scores, kept_threshold, logit, probability, show_probability

__all__ = [
    "Detector",
    "Event",
    "ScoreScale",
    "check_classes",
    "describe_scores",
    "kept_threshold",
    "logit",
    "probability",
    "show_probability",
    "threshold_sums",
]
