# SPDX-License-Identifier: MIT
"""First thresholds that a dead or broken microphone does not reach."""

from __future__ import annotations

from collections.abc import Sequence

from cheep.config import DetectorConfig
from cheep.detector import kept_threshold, logit, probability
from cheep.evaluate.signals import Heard

HIGHEST = 0.98  # a label that says more than this to a signal is not kept quiet by a threshold: the gate refuses it
_ABOVE = 0.5  # how far a threshold lies over a signal's score, as a logit


def raised_over(
    detector: DetectorConfig, labels: Sequence[str], heard: Sequence[Heard], may_fire_on: Sequence[str] = ()
) -> tuple[DetectorConfig, list[str]]:
    """Return the detector with thresholds over what its labels say to signals without sound, and what was raised.

    Signals named in ``may_fire_on`` (``"all"``: all) do not count. The thresholds are those of a fresh model, from its
    validation windows, which hold no such signal.
    """
    counted = [item for item in heard if item.signal not in may_fire_on and "all" not in may_fire_on]
    given = detector.threshold if len(detector.threshold) > 1 else detector.threshold * len(labels)
    thresholds, said = list(given), []
    for i, (label, value) in enumerate(zip(labels, given, strict=True)):
        if value is None or not counted:
            continue
        worst = max(counted, key=lambda item: item.scores[i])
        top = worst.scores[i]
        if value <= top < HIGHEST:
            thresholds[i] = kept_threshold(float(probability(logit(top) + _ABOVE)))
            said.append(f"{label}: {value:g} to {thresholds[i]:g}, over what it says to {worst.signal}")
    return detector.model_copy(update={"threshold": tuple(thresholds)}), said
