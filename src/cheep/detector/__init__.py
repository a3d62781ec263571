# SPDX-License-Identifier: MIT
"""The detector: scores become events in the C core, the same in evaluation, live test and firmware."""

from cheep.detector.engine import Detector, Event, check_classes, threshold_sum, threshold_sums

__all__ = ["Detector", "Event", "check_classes", "threshold_sum", "threshold_sums"]
