# SPDX-License-Identifier: MIT
"""Two stages: what a second network adds on held-out recordings, when it is asked, and how much it weighs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cheep.config import DetectorConfig
from cheep.config.detector import VerifyConfig
from cheep.detector import kept_threshold, probability
from cheep.device.bundle import ModelBundle, check_verifier, with_verifier
from cheep.device.verify import VerifyStage
from cheep.errors import CheepError
from cheep.evaluate.intervals import Estimate, grouped_proportion
from cheep.evaluate.matching import match_events
from cheep.evaluate.streaming import Output, ScoredRecording, ScoreTiming, detect

#: Of the events that are found when the second network hears every window, at most this share may be lost.
MOST_LOST = 0.005
WEIGHTS = (0.0, 0.25, 0.5, 0.75)
_STEPS = 64  # thresholds of the first stage that are tried


def alone(bundle: ModelBundle) -> ModelBundle:
    """Return the first network of a detector without gate and second network."""
    detector = bundle.detector.model_copy(update={"verify": None, "gate": None})
    return dataclasses.replace(bundle, detector=detector, scale=bundle.own_scale, verifier=None)


def always_second(bundle: ModelBundle, second: ModelBundle) -> ModelBundle:
    """Return the detector whose scores are those of the second network, on every window.

    Raises
    ------
    CheepError
        ``second`` cannot verify ``bundle``.
    """
    check_verifier(alone(bundle), second, "--verify")
    n = len(bundle.labels)
    config = VerifyConfig(network=second.model.sha256, ask=(0.0,) * n, idle=(-128,) * n, weight=0.0)
    return with_verifier(alone(bundle), second, config, "--verify")


@dataclasses.dataclass(frozen=True)
class Pair:
    """Held-out recordings, scored by both networks on every window.

    ``first_scores`` and ``second_scores`` are of one order; their scores are (windows, labels) int8.
    """

    bundle: ModelBundle
    second: ModelBundle
    first_scores: tuple[ScoredRecording, ...]
    second_scores: tuple[ScoredRecording, ...]

    def with_config(self, config: VerifyConfig) -> ModelBundle:
        """Return the detector of two networks."""
        return with_verifier(alone(self.bundle), self.second, config, "--verify")

    def rows(self, config: VerifyConfig) -> list[ScoredRecording]:
        """Return the recordings as the detector of two networks scores them, (windows, labels) int8 each."""
        stage = VerifyStage(self.with_config(config), None)
        out = []
        for one, two in zip(self.first_scores, self.second_scores, strict=True):
            asked = stage.asks(one.scores)
            said = np.where(asked[:, None], two.scores, np.array(config.idle, np.int8))
            out.append(dataclasses.replace(one, scores=stage.mean(one.scores, said)))
        return out

    def asked(self, config: VerifyConfig) -> list[np.ndarray]:
        """Return of each recording which windows the second network is asked about, (windows,) bool."""
        stage = VerifyStage(self.with_config(config), None)
        return [stage.asks(item.scores) for item in self.first_scores]

    def always(self, weight: float) -> VerifyConfig:
        """Return the settings with which every window is asked about; ``idle``: what it says to background."""
        n = len(self.bundle.labels)
        background = [item.scores for item in self.second_scores if not item.annotations]
        rows = np.concatenate(background or [item.scores for item in self.second_scores])
        idle = tuple(int(value) for value in np.floor(np.median(rows, axis=0)))
        return VerifyConfig(network=self.second.model.sha256, ask=(0.0,) * n, idle=idle, weight=weight)

    def halves(self) -> tuple[Pair, Pair] | None:
        """Return two halves of whole groups, about as long; None where there are too few groups.

        Recordings with annotations and those without are shared out each for themselves: neither half lacks one.
        """
        windows: dict[str, int] = {}
        for item in self.first_scores:
            windows[item.group] = windows.get(item.group, 0) + len(item.scores)
        annotated = {item.group for item in self.first_scores if item.annotations}
        first: set[str] = set()
        for part in (annotated, set(windows) - annotated):
            if len(part) == 1 or (not part and part is annotated):
                return None
            mine = theirs = 0
            for group in sorted(part, key=lambda name: (-windows[name], name)):
                if mine <= theirs:
                    first.add(group)
                    mine += windows[group]
                else:
                    theirs += windows[group]
        return self._part(lambda group: group in first), self._part(lambda group: group not in first)

    def _part(self, wanted: Callable[[str], bool]) -> Pair:
        where = [number for number, item in enumerate(self.first_scores) if wanted(item.group)]
        one, two = (tuple(scores[number] for number in where) for scores in (self.first_scores, self.second_scores))
        return Pair(self.bundle, self.second, one, two)


@dataclasses.dataclass(frozen=True)
class VerifyChoice:
    """When the second network is asked, and what that does to held-out recordings.

    ``share`` is the share of the windows without an annotation that are asked about, ``lost`` that of the ``events``
    found when all windows are asked about that are not found now; both with intervals by group. ``run`` is the share of
    all windows that are asked about. ``chosen_on`` groups, none of which these shares were measured on, weight and
    ``ask`` were chosen; 0: on the very recordings, because there were too few groups to part them.
    """

    config: VerifyConfig
    share: Estimate
    lost: Estimate
    events: int
    run: float
    hours: float
    chosen_on: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {
            "share": self.share.to_dict(),
            "lost": self.lost.to_dict(),
            "events": self.events,
            "run": round(self.run, 5),
            "hours": round(self.hours, 3),
            "chosen_on_groups": self.chosen_on,
        }

    def text(self) -> str:
        """Return what it does, for people."""
        whence = "the same recordings, which flatters a little: there are too few groups to part them"
        if self.chosen_on:
            whence = f"{self.chosen_on} other groups of the recordings"
        return (
            f"the second network looks at {self.share.text(1, 100, ' %')} of the background; that loses "
            f"{self.lost.text(2, 100, ' %')} of {self.events} events ({self.hours:.2f} h; 95 % intervals by group); "
            f"weight and ask were chosen on {whence}"
        )


def measure_choice(pair: Pair, config: VerifyConfig, detector: DetectorConfig, chosen_on: int = 0) -> VerifyChoice:
    """Return what ``config`` does to ``pair`` at the thresholds of ``detector``."""
    always = config.model_copy(update={"ask": (0.0,) * len(config.ask)})
    detector = detector.model_copy(update={"verify": None})
    choice = _judge(pair, config, detector, _found(pair, always, detector))
    return dataclasses.replace(choice, chosen_on=chosen_on)


def choose_ask(pair: Pair, detector: DetectorConfig, weight: float, most_lost: float = MOST_LOST) -> VerifyChoice:
    """Return the highest threshold of the first stage that loses at most ``most_lost`` of the events.

    Parameters
    ----------
    pair : Pair
    detector : DetectorConfig
        With the thresholds of the mean that count, smoothing and hold-off.
    weight : float
        Of the first network.

    Raises
    ------
    CheepError
        No annotated event is found at these thresholds.
    """
    always = pair.always(weight)
    before = _found(pair, always, detector)
    events = int(sum(found.sum() for found in before))
    if not events:
        raise CheepError(
            "no annotated event is found at these thresholds, so nobody can tell what asking less would lose: give "
            "annotated recordings (--recordings)"
        )
    wanted = [t is not None for t in _thresholds(detector, len(pair.bundle.labels))]
    values = np.concatenate([pair.bundle.own_scale.values(item.scores)[:, wanted] for item in pair.first_scores])
    levels = np.unique(np.quantile(values.max(axis=1), np.linspace(0, 1, _STEPS)))

    def at(level: float) -> VerifyConfig:
        p = kept_threshold(float(probability(level) if pair.bundle.own_scale.logits else level))
        return always.model_copy(update={"ask": tuple(p if want else None for want in wanted)})

    low, high = 0, len(levels) - 1
    best = _judge(pair, at(levels[0]), detector, before)
    while low < high:
        middle = (low + high + 1) // 2
        choice = _judge(pair, at(levels[middle]), detector, before)
        if choice.lost.value <= most_lost:
            low, best = middle, choice
        else:
            high = middle - 1
    return best


def _thresholds(detector: DetectorConfig, n: int) -> Sequence[float | None]:
    return detector.threshold * n if len(detector.threshold) == 1 else detector.threshold


def _found(pair: Pair, config: VerifyConfig, detector: DetectorConfig) -> list[np.ndarray]:
    bundle = pair.with_config(config)
    output = Output.of(bundle)
    timing = ScoreTiming.of(bundle)
    out = []
    for item in pair.rows(config):
        detections = detect(item.scores, detector, output.labels, timing, output.scale)
        out.append(np.array(match_events(detections, item.annotations).found, bool))
    return out


def _judge(pair: Pair, config: VerifyConfig, detector: DetectorConfig, before: list[np.ndarray]) -> VerifyChoice:
    timing = ScoreTiming.of(pair.bundle)
    share, groups, lost, lost_groups, run = [], [], [], [], 0
    asked = pair.asked(config)
    after = _found(pair, config, detector)
    for item, mask, found, still in zip(pair.first_scores, asked, before, after, strict=True):
        background = background_windows(item, timing)
        run += int(mask.sum())
        share.append(mask[background])
        groups += [item.group] * int(background.sum())
        lost.append(~still[found])
        lost_groups += [item.group] * int(found.sum())
    nothing = Estimate(0.0)
    windows = sum(len(item.scores) for item in pair.first_scores)
    return VerifyChoice(
        config=config,
        share=grouped_proportion(np.concatenate(share), groups) or nothing,
        lost=grouped_proportion(np.concatenate(lost), lost_groups) or nothing,
        events=len(lost_groups),
        run=run / max(1, windows),
        hours=sum(item.duration_s for item in pair.first_scores) / 3600,
    )


def background_windows(item: ScoredRecording, timing: ScoreTiming) -> np.ndarray:
    """Return which windows of a recording hold no annotation, (windows,) bool."""
    start = np.arange(len(item.scores)) * timing.stride_s
    out = np.ones(len(item.scores), bool)
    for event in item.annotations:
        out &= (start >= event.end_s) | (start + timing.window_s <= event.start_s)
    return out
