# SPDX-License-Identifier: MIT
"""Do stated intervals hold the truth? A plan, a reviewer and an estimate on a season of which the truth is known."""

from __future__ import annotations

import dataclasses

import numpy as np

from cheep.evaluate.intervals import Estimate
from cheep.season.estimate import Estimates, half_width
from cheep.season.frame import Frame
from cheep.season.plan import Plan, make_plan, to_do
from cheep.season.simulated import SimulatedSeason
from cheep.season.sizes import Want
from cheep.season.tell import estimate_season, known_answers
from cheep.season.verdicts import Clip, Verdict

WHAT = ("precision", "rate", "recall")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one wish on one season.

    ``held`` and ``naive_held``: does the interval hold the truth, of all three (None: no interval)? ``half`` is what
    was reached of what was ``wanted``; ``promised``: the plan said so.
    """

    want: str
    kind: str
    slips: float
    clips: int
    questions: int
    promised: bool
    wanted: float
    half: float
    held: dict[str, bool | None]
    naive_held: dict[str, bool | None]


class Reviewer:
    """Answers by the truth, and slips in a share of the answers, each time anew."""

    def __init__(self, season: SimulatedSeason, slips: float, rng: np.random.Generator) -> None:
        frame = season.frame
        names = [frame.recordings[code] for code in frame.recording]
        self._present = dict(zip(zip(names, frame.start_s.tolist(), strict=True), season.present.tolist(), strict=True))
        self._slips, self._rng = slips, rng
        self.questions = 0

    def answer(self, plan: Plan) -> list[Verdict]:
        """Return verdicts until nothing is left to ask."""
        verdicts: list[Verdict] = []
        while questions := to_do(plan, verdicts):
            for question in questions:
                item = question.item
                there = self._present[item.recording, item.start_s] ^ bool(self._rng.random() < self._slips)
                verdicts.append(
                    Verdict(item.recording, item.label, item.start_s, item.end_s, "right" if there else "wrong",
                            ask=question.ask)
                )  # fmt: skip
                self.questions += 1
        return verdicts


def truth_of(frame: Frame, present: np.ndarray) -> dict[str, float]:
    """Return precision, false alarms per hour and recall of a season whose presence, (n,) bool, is known."""
    peaks, right = int(frame.detections.sum()), int((frame.detections * present).sum())
    return {
        "precision": right / peaks if peaks else 0.0,
        "rate": (peaks - right) / frame.total_hours,
        "recall": float((present & frame.found).sum() / max(1, present.sum())),
    }


def try_want(season: SimulatedSeason, want: Want, slips: float, seed: int) -> Outcome:
    """Plan, review and estimate; recall is planned again after a first hundred verdicts, as the plan asks for."""
    rng = np.random.default_rng([seed, 5])
    reviewer = Reviewer(season, slips, rng)
    known: dict[Clip, bool] = {}
    if want.what == "recall":
        first = make_plan(season.frame, "bird", want, name="first", seed=seed, clips=150)
        known = known_answers(reviewer.answer(first))
    plan = make_plan(season.frame, "bird", want, name="plan", seed=seed + 1, known=known)
    if not plan.promise.kept and want.what == "recall":  # what it cannot promise is not heard in full
        plan = make_plan(season.frame, "bird", want, name="plan", seed=seed + 1, clips=600, known=known)
    found = estimate_season(plan, reviewer.answer(plan), seed, details=False)
    truth = truth_of(season.frame, season.present)
    pairs = {"precision": "precision", "rate": "false_alarms", "recall": "recall"}

    def held(estimates: Estimates) -> dict[str, bool | None]:
        return {what: _holds(getattr(estimates, name), truth[what]) for what, name in pairs.items()}

    half = half_width(getattr(found.whole, pairs[want.what]))
    return Outcome(
        want.what, season.kind, slips, len(plan.items), reviewer.questions, plan.promise.kept, want.value, half,
        held(found.whole), held(found.without_design),
    )  # fmt: skip


def _holds(item: Estimate | None, truth: float) -> bool | None:
    if item is None or item.low is None or item.high is None:
        return None
    return item.low - 1e-9 <= truth <= item.high + 1e-9
