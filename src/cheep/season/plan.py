# SPDX-License-Identifier: MIT
"""How many clips to listen to, which, and what certainty that gives: said before the work.

A plan is ``SEASON/plans/NAME.json`` (what was asked, the strata, the promise), ``NAME.parquet`` (the clips, in the
order in which to hear them: any beginning of it is a sample of the same kind) and ``NAME.counts.parquet`` (how many
clips and detections the season holds, by stratum, site, month and score: what the sample stands for). The same season,
wish and seed give the same plan.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cheep.errors import CheepError
from cheep.files import atomic_path, plain, read_json, write_json
from cheep.season.frame import Frame
from cheep.season.sampling import BELOW, DETECTED, draw, strata_of
from cheep.season.sizes import Promise, Want, sizes_for
from cheep.season.verdicts import Clip, Verdict

FOLDER = "plans"
PLAN_COMMAND = "cheep season plan"
SCORE_STEP = 0.1
_NAME = re.compile(r"\w[\w.-]{0,59}")


@dataclasses.dataclass(frozen=True)
class PlanItem:
    """A clip to hear. ``weight``: how many clips of the season it stands for; ``repeat``: it is asked twice."""

    recording: str
    start_s: float
    end_s: float
    label: str
    score: float
    site: str
    night: str
    month: str
    stratum: int
    zone: int
    kind: str
    detections: int
    weight: float
    repeat: bool

    @property
    def clip(self) -> Clip:
        """As verdicts name it."""
        return Clip(self.recording, self.label, round(self.start_s * 1000), round(self.end_s * 1000))


@dataclasses.dataclass(frozen=True)
class Plan:
    """A plan as it lies in the season; ``counts`` has columns stratum, site, month, score, clips, detections, hours."""

    name: str
    label: str
    want: str
    model: str
    detector: dict[str, Any]
    seed: int
    clip_s: float
    kinds: tuple[str, ...]
    promise: Promise
    items: tuple[PlanItem, ...]
    counts: dict[str, np.ndarray]

    def write(self, season: str | os.PathLike) -> Path:
        """Write the three files; return the ``.json``."""
        path = plan_path(season, self.name)
        _write_table(path.with_suffix(".parquet"), [dataclasses.asdict(item) for item in self.items])
        with atomic_path(path.with_suffix(".counts.parquet")) as part:
            pq.write_table(pa.table(self.counts), part, compression="zstd")
        names = ("label", "want", "model", "detector", "seed", "clip_s", "kinds")
        about = {name: getattr(self, name) for name in names}
        write_json(path, plain({**about, "promise": dataclasses.asdict(self.promise), "clips": len(self.items)}))
        return path


def make_plan(
    frame: Frame,
    label: str,
    want: Want,
    *,
    name: str,
    model: str = "",
    detector: dict[str, Any] | None = None,
    seed: int = 0,
    clips: int | None = None,
    known: dict[Clip, bool] | None = None,
) -> Plan:
    """Decide how many clips to hear and draw them.

    Parameters
    ----------
    frame
        The season's clips.
    want
        What is to be known, and how well.
    seed
        Of the draw.
    clips
        This many, whatever they can promise (the plan says so); default: as many as the wish needs.
    known
        Verdicts that there are, which tell how rare the label is: for recall.

    Raises
    ------
    CheepError
        The name is none for a file, or there is nothing to draw from.
    """
    if not _NAME.fullmatch(name):
        raise CheepError(f"name={name!r}: must be 1 to 60 letters, digits, '_', '.' or '-'")
    for option, value, least in (("--clips", clips, 1), ("--seed", seed, 0)):
        if value is not None and value < least:
            raise CheepError(f"{option} {value}: must be at least {least}")
    strata = strata_of(frame)
    if want.what != "recall" and not any(item.kind == DETECTED for item in strata):
        raise CheepError(
            f"{label}: no detection in {frame.total_hours:.1f} h: nothing to verify; lower the threshold "
            f"(cheep season detect), or ask for recall ({PLAN_COMMAND} --want recall:0.1)"
        )
    heard = _known_by_stratum(frame, strata, label, known or {})
    promise = sizes_for(frame, strata, want, clips=clips, heard=heard)
    rng = np.random.default_rng([seed, len(frame)])
    sample = draw(strata, np.array(promise.sizes), rng)
    order = rng.permutation(len(sample))
    twice = set(rng.permutation(len(sample))[: promise.repeats].tolist())
    items = tuple(_item(frame, label, strata[sample.stratum[k]].kind, sample, int(k), int(k) in twice) for k in order)
    return Plan(
        name, label, want.text, model, detector or {}, seed, frame.clip_s, tuple(item.kind for item in strata), promise,
        items, _counts(frame, strata),
    )  # fmt: skip


def plan_path(season: str | os.PathLike, name: str) -> Path:
    """Return the ``.json`` of a plan."""
    return Path(season) / FOLDER / f"{name}.json"


def plans(season: str | os.PathLike) -> list[str]:
    """Return the names of a season's plans, sorted."""
    return sorted(path.stem for path in (Path(season) / FOLDER).glob("*.json"))


def read_plan(season: str | os.PathLike, name: str | None = None) -> Plan:
    """Read a plan; without a name, the only one.

    Raises
    ------
    CheepError
        There is none of this name, or several and no name.
    """
    there = plans(season)
    if name is None:
        if len(there) != 1:
            known = ", ".join(there) or f"make one with {PLAN_COMMAND}"
            raise CheepError(f"{season}: {len(there)} plans ({known}); name one (--plan NAME)")
        name = there[0]
    path = plan_path(season, name)
    about = read_json(path, PLAN_COMMAND)
    try:
        items = tuple(PlanItem(**row) for row in pq.read_table(path.with_suffix(".parquet")).to_pylist())
        counts = pq.read_table(path.with_suffix(".counts.parquet"))
        promise = _promise(about["promise"])
        columns = {column: np.array(counts[column].to_pylist()) for column in counts.column_names}
        return Plan(
            name, about["label"], about["want"], about["model"], about["detector"], about["seed"], about["clip_s"],
            tuple(about["kinds"]), promise, items, columns,
        )  # fmt: skip
    except (KeyError, TypeError, pa.ArrowException, OSError) as error:
        raise CheepError(f"{path}: damaged ({error}); make it again with {PLAN_COMMAND}") from None


@dataclasses.dataclass(frozen=True)
class ToDo:
    """A question to put: a clip of the plan, for the ``ask``-th time (from 0)."""

    item: PlanItem
    ask: int


def to_do(plan: Plan, verdicts: Iterable[Verdict], reviewer: str = "") -> list[ToDo]:
    """Return what is left to ask, in order: first questions, then those to put again.

    Asked again are: clips marked ``repeat``, and a third time where the two answers differ; and a "right" below the
    threshold, until it is said three times or taken back (a slip there would stand for hundreds of calls). Verdicts of
    all reviewers count; another reviewer's answer is as good as one's own second. What ``reviewer`` has answered comes
    behind what others have.
    """
    answers = answers_by_clip(verdicts)
    first, again = [], []
    for item in plan.items:
        given = answers.get(item.clip, [])
        sure = [verdict.present for verdict in given if verdict.present is not None]
        if not given:
            first.append(ToDo(item, 0))
            continue
        if item.kind == BELOW:
            doubted = (0 < len(sure) < 3 and all(sure)) or (item.repeat and len(sure) == 1)
        else:
            doubted = (item.repeat and len(sure) == 1) or (len(sure) == 2 and sure[0] != sure[1])
        if doubted:
            again.append((given[-1].reviewer == reviewer, ToDo(item, len(given))))
    return first + [item for _, item in sorted(again, key=lambda pair: pair[0])]


def progress(plan: Plan, verdicts: Iterable[Verdict]) -> tuple[int, int]:
    """Return how many questions of a plan are answered, and how many there are as far as is known."""
    answers = answers_by_clip(verdicts)
    done = sum(min(3, len(answers.get(item.clip, ()))) for item in plan.items)
    return done, done + len(to_do(plan, verdicts))


def answers_by_clip(verdicts: Iterable[Verdict]) -> dict[Clip, list[Verdict]]:
    """Return the verdicts on each clip, in the order in which it was asked."""
    answers: dict[Clip, list[Verdict]] = collections.defaultdict(list)
    for verdict in verdicts:
        answers[verdict.clip].append(verdict)
    for given in answers.values():
        given.sort(key=lambda item: item.ask)
    return answers


def _item(frame: Frame, label: str, kind: str, sample: Any, k: int, repeat: bool) -> PlanItem:
    row = int(sample.rows[k])
    start = float(frame.start_s[row])
    return PlanItem(
        recording=frame.recordings[frame.recording[row]], start_s=start,
        end_s=round(start + float(frame.hours[row]) * 3600, 3), label=label, score=round(float(frame.score[row]), 4),
        site=frame.sites[frame.site[row]], night=frame.nights[frame.night[row]],
        month=frame.months[frame.month[row]], stratum=int(sample.stratum[k]), zone=int(sample.zone[k]), kind=kind,
        detections=int(frame.detections[row]), weight=float(sample.weight[k]), repeat=repeat,
    )  # fmt: skip


def _known_by_stratum(
    frame: Frame, strata: Sequence[Any], label: str, known: dict[Clip, bool]
) -> list[tuple[int, int]]:
    """Return (heard, right) of each stratum from verdicts that there are."""
    if not known:
        return [(0, 0)] * len(strata)
    stratum = np.empty(len(frame), int)
    for place, item in enumerate(strata):
        stratum[item.rows] = place
    code = {name: i for i, name in enumerate(frame.recordings)}
    row_of = {
        (int(frame.recording[row]), round(float(frame.start_s[row]) * 1000)): row
        for row in np.flatnonzero(
            np.isin(frame.recording, [code[clip.recording] for clip in known if clip.recording in code])
        )
    }
    heard, right = np.zeros(len(strata), int), np.zeros(len(strata), int)
    for clip, present in known.items():
        row = row_of.get((code.get(clip.recording, -1), clip.start_ms))
        if row is not None and clip.label == label:
            heard[stratum[row]] += 1
            right[stratum[row]] += present
    return list(zip(heard.tolist(), right.tolist(), strict=True))


def _counts(frame: Frame, strata: Sequence[Any]) -> dict[str, np.ndarray]:
    """Return how many clips and detections there are, by stratum, site, month and score (in steps)."""
    stratum = np.zeros(len(frame), np.int32)
    for place, item in enumerate(strata):
        stratum[item.rows] = place
    score = np.floor(frame.score / SCORE_STEP).astype(np.int64)
    lowest = int(score.min(initial=0))
    shape = (len(strata), len(frame.sites), len(frame.months), int(score.max(initial=0)) - lowest + 1)
    where, at = np.unique(
        np.ravel_multi_index((stratum, frame.site, frame.month, score - lowest), shape), return_inverse=True
    )
    keys = np.unravel_index(where, shape)
    return {
        "stratum": keys[0].astype(np.int32),
        "site": np.array([frame.sites[code] for code in keys[1]]),
        "month": np.array([frame.months[code] for code in keys[2]]),
        "score": (keys[3] + lowest) * SCORE_STEP,
        "clips": np.bincount(at),
        "detections": np.bincount(at, frame.detections).astype(np.int64),
        "hours": np.bincount(at, frame.hours.astype(np.float64)),
    }


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    with atomic_path(path) as part:
        pq.write_table(pa.Table.from_pylist(rows), part, compression="zstd")


def _promise(values: dict[str, Any]) -> Promise:
    half = values["half_width"]  # JSON has no infinity
    return Promise(**{**values, "sizes": tuple(values["sizes"]), "half_width": np.inf if half is None else half})
