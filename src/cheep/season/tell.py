# SPDX-License-Identifier: MIT
"""From a plan and its verdicts to what is said of the season: by site, by month, at every threshold."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from cheep.files import plain
from cheep.season.curves import ScorePoint, ThresholdRow, score_curve, threshold_table
from cheep.season.estimate import FEWEST, Estimates, Heard, estimate, naive
from cheep.season.plan import Plan, PlanItem, answers_by_clip
from cheep.season.sampling import BELOW
from cheep.season.verdicts import Clip, Verdict

ALL = "all"
#: From this share of slips on, they are said: more than a plan counts on.
MANY_SLIPS = 0.1


@dataclasses.dataclass(frozen=True)
class SeasonRow:
    """Estimates of a part of the season: ``by`` is "all", "site" or "month", ``name`` which."""

    by: str
    name: str
    hours: float
    estimates: Estimates


@dataclasses.dataclass(frozen=True)
class SeasonEstimate:
    """All that a plan's verdicts say. ``without_design`` is what ignoring the weights would say, for comparison.

    ``unsure`` clips were heard without an answer, ``open`` not yet; ``slips`` of ``slip_trials`` answers were found to
    be slips (clips asked twice, and first answers below the threshold that were overturned).
    """

    plan: Plan
    rows: tuple[SeasonRow, ...]
    without_design: Estimates
    curve: tuple[ScorePoint, ...]
    thresholds: tuple[ThresholdRow, ...]
    unsure: int
    open: int
    slips: int
    slip_trials: int
    notes: tuple[str, ...]

    @property
    def whole(self) -> Estimates:
        """Of the whole season."""
        return self.rows[0].estimates

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return plain(
            {
                "plan": self.plan.name,
                "label": self.plan.label,
                "model": self.plan.model,
                "rows": [dataclasses.asdict(row) for row in self.rows],
                "without_design": dataclasses.asdict(self.without_design),
                "curve": [dataclasses.asdict(point) for point in self.curve],
                "thresholds": [dataclasses.asdict(row) for row in self.thresholds],
                "unsure": self.unsure,
                "open": self.open,
                "slips": self.slips,
                "slip_trials": self.slip_trials,
                "notes": list(self.notes),
            }
        )


def estimate_season(plan: Plan, verdicts: Iterable[Verdict], seed: int = 0, details: bool = True) -> SeasonEstimate:
    """Estimate from all verdicts on a plan's clips (whatever plan or program they came from).

    Without ``details`` only the whole season: no sites, months, curve and thresholds.
    """
    answers = answers_by_clip(verdicts)
    items, first, final, unsure = [], [], [], 0
    for item in plan.items:
        given = [verdict.present for verdict in answers.get(item.clip, ())]
        sure = [value for value in given if value is not None]
        if not sure:
            unsure += bool(given)
            continue
        items.append(item)
        first.append(sure[0])
        final.append(_final(item, sure))
    slips, trials = _slips(plan.items, answers)
    heard = _heard(plan, items, np.array(first, bool), np.array(final, bool), slips, trials)
    score = np.array([item.score for item in items], float)
    rows = [SeasonRow(ALL, ALL, heard.hours, estimate(heard, np.random.default_rng([seed, 0])))]
    for by in ("site", "month") if details else ():
        names = np.array([getattr(item, by) for item in items])
        known = np.unique(plan.counts[by])
        for place, name in enumerate(known if len(known) > 1 else ()):
            part = _part(plan, heard, names == name, plan.counts[by] == name)
            rows.append(SeasonRow(by, str(name), part.hours, estimate(part, np.random.default_rng([seed, 1, place]))))
    rng = np.random.default_rng([seed, 2])
    curve = tuple(score_curve(heard, score, rng)) if details else ()
    table = tuple(threshold_table(heard, score, plan.counts, rng)) if details else ()
    whole = rows[0].estimates
    if table and table[0].detections == whole.detections and whole.precision and whole.false_alarms:
        # the lowest threshold is the season's own: the same figures, not other draws of them
        first_row = dataclasses.replace(table[0], precision=whole.precision, false_alarms=whole.false_alarms)
        table = (first_row, *table[1:])
    notes = _notes(plan, heard, unsure, answers, slips, trials) + _recall_notes(heard, rows)
    return SeasonEstimate(
        plan, tuple(rows), naive(heard), curve, table, unsure,
        sum(item.clip not in answers for item in plan.items), slips, trials, tuple(notes),
    )  # fmt: skip


def known_answers(verdicts: Iterable[Verdict]) -> dict[Clip, bool]:
    """Return what is known of clips, for a plan that follows another: right where no sure answer says otherwise."""
    out: dict[Clip, bool] = {}
    for clip, given in answers_by_clip(verdicts).items():
        sure = [item.present for item in given if item.present is not None]
        if sure:
            out[clip] = all(sure)
    return out


def _heard(plan: Plan, items: list[PlanItem], first: np.ndarray, final: np.ndarray, slips: int, trials: int) -> Heard:
    n = len(plan.kinds)
    clips, peaks = (
        np.bincount(plan.counts["stratum"], plan.counts[name].astype(float), n) for name in ("clips", "detections")
    )
    return Heard(
        np.array([item.stratum for item in items], int), np.array([item.zone for item in items], int), first, final,
        np.array([item.detections for item in items], int), plan.kinds, clips, peaks,
        float(plan.counts["hours"].sum()), slips, trials,
    )  # fmt: skip


def _part(plan: Plan, heard: Heard, rows: np.ndarray, counted: np.ndarray) -> Heard:
    stratum = plan.counts["stratum"][counted]
    clips, peaks = (
        np.bincount(stratum, plan.counts[name][counted].astype(float), len(plan.kinds))
        for name in ("clips", "detections")
    )
    return heard.domain(rows, clips, peaks, float(plan.counts["hours"][counted].sum()))


def _final(item: PlanItem, sure: list[bool]) -> bool:
    """Return what all answers come to: below the threshold all must say so, else most of them (a tie: the first)."""
    if item.kind == BELOW:
        return all(sure)
    return sure[0] if 2 * sum(sure) == len(sure) else 2 * sum(sure) > len(sure)


def _slips(items: tuple[PlanItem, ...], answers: dict[Clip, list[Verdict]]) -> tuple[int, int]:
    """Return how many answers were found to be slips, of how many that would have shown one.

    Two answers to one question show a slip of either. Below the threshold, where hardly any clip holds the label, a
    first "right" that is taken back is one, and every first answer could have been.
    """
    slips = trials = 0
    asked_again = False
    for item in items:
        sure = [verdict.present for verdict in answers.get(item.clip, ()) if verdict.present is not None]
        mixed = len(set(sure)) > 1
        asked_again |= len(sure) > 1
        if item.kind == BELOW and sure:
            trials += len(sure) - mixed
            slips += mixed
        elif item.repeat and len(sure) > 1:
            trials += 2
            slips += sure[0] != sure[1]
    return (slips, trials) if asked_again else (0, 0)


def _recall_notes(heard: Heard, rows: list[SeasonRow]) -> list[str]:
    """Return why recall is not known, or only bounded, of the season or a part of it."""
    whole, *parts = (row.estimates for row in rows)
    below = np.array([kind == BELOW for kind in heard.kinds])
    there = float(heard.clips[below].sum())
    notes = []
    if not whole.verdicts_below and there:
        notes.append("no clip below the threshold was judged: recall and calls are not known")
    elif whole.recall is None and 0 < whole.verdicts_below < min(FEWEST, there):
        notes.append(
            f"{whole.verdicts_below} clip(s) below the threshold were judged, at least {FEWEST} are needed: recall and "
            "calls are not known"
        )
    elif whole.recall is not None and whole.recall.value >= 1 and there > whole.verdicts_below:
        notes.append(
            f"none of the {whole.verdicts_below} clips judged below the threshold holds a call, of {there:.0f}: "
            "no miss was met, so recall has a lower bound only"
        )
    elif whole.recall is not None and (unknown := sum(item.recall is None for item in parts)):
        notes.append(f"{unknown} site(s) or month(s) have too few verdicts, or no call: their recall is not known (-)")
    return notes


def _open_notes(plan: Plan, answers: dict[Clip, list[Verdict]]) -> list[str]:
    """Return notes on clips without a verdict: a plan's beginning is a sample, with holes it may not be."""
    judged = [item.clip in answers for item in plan.items]
    if all(judged) or not any(judged):
        return []
    end = len(judged) - judged[::-1].index(True)
    holes = end - sum(judged)
    notes = []
    if holes:
        notes.append(
            f"{holes} of the plan's first {end} clips have no verdict, though later ones have: left out for a reason ("
            "a filter of the review, a table that does not name quiet recordings) they make the figures lean, and "
            "no interval says so; judge them (cheep review)"
        )
    if end < len(judged):
        notes.append(
            f"the first {end} of {len(judged)} clips are judged: the plan's promise is for all of them; the intervals "
            "are those of now"
        )
    return notes


def _notes(
    plan: Plan, heard: Heard, unsure: int, answers: dict[Clip, list[Verdict]], slips: int, trials: int
) -> list[str]:
    notes = _open_notes(plan, answers)
    if not trials:
        notes.append("no clip was asked twice: the intervals take every answer for the truth")
    if slips > max(1, MANY_SLIPS * trials):
        notes.append(
            f"{slips} slips in {trials} answers to clips that were asked again: what reviewers are unsure of makes the "
            "intervals wide; judge such clips as unsure, or agree first on what counts"
        )
    if unsure:
        notes.append(f"{unsure} clip(s) of which nobody is sure are left out, as if they were like the others")
    doubtful = sum(
        item.kind == BELOW and len(given) < 3 and all(verdict.present for verdict in given)
        for item in plan.items
        if (given := answers.get(item.clip))
    )
    if doubtful:
        notes.append(
            f'{doubtful} "right" below the threshold were not asked three times (cheep review does): a slip there '
            "stands for many calls"
        )
    return notes
