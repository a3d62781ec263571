# SPDX-License-Identifier: MIT
"""What a detector says to signals that hold no sound: a dead, noisy, badly earthed or overdriven microphone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from cheep.audio.signals import TEST_SIGNALS
from cheep.detector import show_probability
from cheep.device.bundle import ModelBundle
from cheep.device.engine import Engine
from cheep.errors import GateError
from cheep.evaluate.streaming import best_scorer

_LISTEN_S = 8.0  # beside the windows that the detector needs: PCEN has settled, and events have ended


@dataclasses.dataclass(frozen=True)
class Heard:
    """What the detector says to one signal of :data:`cheep.audio.signals.TEST_SIGNALS`.

    ``scores`` is the highest score of each label, as a probability; ``label`` the one of the highest among
    those that may fire (``score``); ``fires`` names the labels that gave an event.
    """

    signal: str
    label: str
    score: float
    fires: tuple[str, ...]
    scores: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {**dataclasses.asdict(self), "score": round(self.score, 4), "scores": [round(s, 4) for s in self.scores]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Heard:
        """Return what :meth:`to_dict` gave."""
        return cls(values["signal"], values["label"], values["score"], tuple(values["fires"]), tuple(values["scores"]))


def hear_signals(bundle: ModelBundle, signals: Sequence[str] = tuple(TEST_SIGNALS)) -> list[Heard]:
    """Play the test signals to a detector by the device path: front end, int8 network, detector and thresholds."""
    scorer, _ = best_scorer(bundle)
    engine = Engine(bundle, scorer=scorer)
    detector, rate = bundle.detector, bundle.features.sample_rate_hz
    windows = detector.smoothing_windows + detector.min_windows + detector.hold_off_windows
    seconds = _LISTEN_S + bundle.features.window_s + windows * bundle.stride_s
    thresholds = detector.threshold if len(detector.threshold) > 1 else detector.threshold * len(bundle.labels)
    may_fire = np.array([value is not None for value in thresholds])
    out = []
    for name in signals:
        engine.reset()
        step = engine.push(TEST_SIGNALS[name](int(seconds * rate), rate))
        events = [*step.events, *engine.flush()]
        scores = np.stack([engine.probability(window.scores) for window in step.windows])
        highest = scores.max(axis=0)
        top = int(np.where(may_fire, highest, -1.0).argmax())
        fires = tuple(sorted({event.label for event in events}))
        out.append(Heard(name, bundle.labels[top], float(highest[top]), fires, tuple(map(float, highest))))
    return out


def check_signals(heard: Sequence[Heard], may_fire_on: Sequence[str] = ()) -> None:
    """Raise GateError where the detector fires on signals that are not named in ``may_fire_on`` (or all: ``"all"``)."""
    wrong = [item for item in heard if item.fires and item.signal not in may_fire_on and "all" not in may_fire_on]
    if wrong:
        said = "; ".join(f"{item.signal}: {', '.join(item.fires)} ({item.score:.3f})" for item in wrong)
        raise GateError(
            f"the detector fires on signals without any sound ({said}): with a dead or broken microphone it would "
            "report for ever. Train with more of them (train.augment.signal_probability), raise the threshold (cheep "
            "calibrate), or, where a target sounds like that, name them: --may-fire-on SIGNAL (evaluate.may_fire_on)"
        )


def signal_rows(heard: Sequence[Heard]) -> list[list[str]]:
    """Return the table in words: a head, then a row for each signal."""
    rows = [["signal without sound", "highest score", "of", "events"]]
    for item in heard:
        rows.append([item.signal, show_probability(item.score, 3), item.label, ", ".join(item.fires) or "none"])
    return rows
