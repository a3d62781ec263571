# SPDX-License-Identifier: MIT
"""What the review knows: clips, verdicts, progress. The page asks it; every answer goes to the disk first."""

from __future__ import annotations

import collections
import dataclasses
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cheep.detector.scores import probability
from cheep.errors import CheepError
from cheep.review.alike import Alike, candidates_of
from cheep.review.clips import LIKE, ORDERS, VALUE, Clips, Filter, add_clips, chosen, detected_clips, in_order
from cheep.review.sound import ClipSound, read_clip
from cheep.review.told import clock, no_plan, shown
from cheep.season import Season
from cheep.season.plan import Plan, plans, progress, read_plan, to_do
from cheep.season.rank import read_ranks
from cheep.season.store import recording_of
from cheep.season.verdicts import FOLDER, Clip, MarkedBox, Verdict, VerdictLog, agreements, judge, read_verdicts

_DETECTIONS = "detections"


@dataclasses.dataclass(frozen=True)
class Question:
    """A clip to hear, by number, and how often it was asked before (``ask``)."""

    number: int
    ask: int


class Desk:
    """The review of one season by one reviewer. Its methods may be called from several threads.

    Parameters
    ----------
    season : Season
    reviewer : str
        Names the file of verdicts.
    model : str, optional
        Beginning of its id, where the season has several.
    context_s : float
        Sound around each clip, s.
    plan : str, optional
        Which plan the page opens with.

    Raises
    ------
    CheepError
        The season has no such model or plan, a plan is damaged, or the reviewer's name can be none of a file.
    """

    def __init__(
        self, season: Season, reviewer: str, model: str | None = None, context_s: float = 2.0, plan: str | None = None
    ) -> None:
        if not 0 <= context_s <= 30:
            raise CheepError(f"context={context_s:g} s: must be 0 to 30 (--context)")
        self.season = season
        self.log = VerdictLog(season.folder, reviewer)
        self.model = season.model(model)
        self.context_s = context_s
        self.clips: Clips = detected_clips(season, self.model)
        self.detected = len(self.clips)
        self.plans: dict[str, Plan] = {name: read_plan(season.folder, name) for name in plans(season.folder)}
        if plan is not None and plan not in self.plans:
            raise CheepError(f"--plan {plan}: {no_plan(plan, list(self.plans))}")
        self.first_plan = plan
        self.alike: Alike | None = None
        self._lock = threading.RLock()
        self._rows: pa.Table | None = None
        self._row_of: dict[str, int] = {}
        self.ranks = read_ranks(season.folder)
        self._add_plan_clips()
        self._of_clip: dict[str, dict[Clip, int]] = {
            name: self.clips.find(item.clip for item in plan.items) for name, plan in self.plans.items()
        }
        found = {label: self.clips.find(clip for clip, *_ in rank) for label, rank in self.ranks.items()}
        self.ranked = {
            f"rank:{label}": np.array([found[label][clip] for clip, *_ in rank], np.int64)
            for label, rank in self.ranks.items()
        }
        self._files: tuple[Any, ...] = ()
        self._read()

    def embed(self, most: int, progress: Callable[[int, int], None] | None = None) -> list[str]:
        """Make embeddings of up to ``most`` detections, for two more orders; return what could not be read."""
        found = Alike(self.season, self.model, self.clips, candidates_of(self.clips, self.detected, most), progress)
        self.alike = found if len(found.numbers) else None
        return found.problems

    # -- what the page shows --------------------------------------------------------------------

    def about(self) -> dict[str, Any]:
        """Return what stays the same during a review, JSON-able."""
        features = self.model.features
        return {
            "season": self.season.folder.name,
            "reviewer": self.log.reviewer,
            "model": {"id": self.model.model, "file": self.model.file, "labels": list(self.model.labels)},
            "band_hz": [features["fmin_hz"], features["fmax_hz"]],
            "labels": sorted(set(self.clips.labels) | set(self.model.labels)),
            "sites": sorted(self.clips.sites),
            "detections": self.detected,
            "plans": [
                {"name": name, "label": plan.label, "want": plan.want, "clips": len(plan.items)}
                for name, plan in self.plans.items()
            ],
            "ranks": {name: len(numbers) for name, numbers in self.ranked.items()},
            "plan": self.first_plan,
            "orders": self._orders(),
            "context_s": self.context_s,
        }

    def status(self, source: str) -> dict[str, Any]:
        """Return progress, the counts of the verdicts, and how far the reviewers agree."""
        with self._lock:
            self._refresh()
            verdicts = self._all()
            pairs = [
                {"who": f"{pair.first}, {pair.second}", "clips": pair.clips, "kappa": pair.kappa,
                 "agreement": pair.agreement}
                for pair in agreements(verdicts)
            ]  # fmt: skip
            plan = self._plan(source)
            done, of = progress(plan, self._planned(plan)) if plan else (int(self._done.sum()), len(self.clips))
            return {
                "done": done,
                "of": of,
                "mine": sum(item.reviewer == self.log.reviewer for item in verdicts),
                "reviewers": dict(collections.Counter(item.reviewer for item in verdicts)),
                "agreement": pairs,
                "problems": self._problems,
            }

    def questions(self, source: str, wanted: Filter, order: str, like: int | None = None) -> list[Question]:
        """Return the clips to hear, in order.

        Parameters
        ----------
        source
            ``detections``, or ``plan:NAME``.
        order
            One of :data:`cheep.review.clips.ORDERS`; ``plan`` is the plan's own (of detections: as the table has them).
            With embeddings also ``value`` (the next batch whose verdicts teach most) and ``like this one``.
        like
            The clip that is meant by it.

        Raises
        ------
        CheepError
            No such plan or order, or a filter that is none.
        """
        if order not in self._orders():
            raise CheepError(f"order={order!r}: must be one of {', '.join(self._orders())}")
        if wanted.state not in ("", "open", "done", "disputed"):
            raise CheepError(f"state={wanted.state!r}: must be open, done or disputed")
        with self._lock:
            self._refresh()
            plan = self._plan(source)
            asks: dict[int, int] = {}
            if source in self.ranked:
                numbers = self.ranked[source]
            elif plan is None:
                numbers = np.arange(self.detected)
            else:
                where = self._of_clip[plan.name]
                left = to_do(plan, self._planned(plan), self.log.reviewer)
                asks = {where[item.item.clip]: item.ask for item in left}
                first = list(asks)
                numbers = np.array(first + [n for n in where.values() if n not in asks], np.int64)
            done = self._done.copy()
            if plan is not None:  # of a plan open is what it asks, for the second time too
                done[:] = True
                done[list(asks)] = False
            try:
                kept = chosen(self.clips, numbers, wanted, done, self._disputed)
            except ValueError:
                raise CheepError(f"dates {wanted.first_date!r}, {wanted.last_date!r}: must be YYYY-MM-DD") from None
            return [Question(n, asks.get(n, 0)) for n in self._sorted(kept, order, like).tolist()]

    def clip(self, number: int, ask: int = 0) -> dict[str, Any]:
        """Return what is known of a clip; verdicts are left out where it is asked again."""
        with self._lock:
            clip = self._clip(number)
            row = self._recording(clip.recording)
            given = () if ask else self._of.get(clip, ())
            return {
                **self.rows([number])[0],
                "number": number,
                "file": row["path"],
                "recording": clip.recording,
                "start_s": clip.start_ms / 1000,
                "end_s": clip.end_ms / 1000,
                "opinions": self._opinions(clip),
                "verdicts": [shown(item) for item in given],
            }

    def rows(self, numbers: list[int]) -> list[dict[str, Any]]:
        """Return what a list of clips shows of each."""
        with self._lock:
            out = []
            for number in numbers:
                clip, local = self._clip(number), int(self.clips.local_ms[number])
                out.append(
                    {
                        "label": clip.label,
                        "site": self.clips.sites[self.clips.site[number]],
                        "local": clock(local) if local >= 0 else "",
                        "score": round(float(self.clips.score[number]), 4),
                    }
                )
            return out

    def sound(self, number: int) -> ClipSound:
        """Return sound and picture of a clip; CheepError where its recording cannot be read."""
        with self._lock:
            clip = self._clip(number)
            row = self._recording(clip.recording)
        path = Path(row["folder"], row["path"])
        return read_clip(path, clip.start_ms / 1000, clip.end_ms / 1000, self.context_s)

    # -- what the reviewer says -----------------------------------------------------------------

    def answer(self, number: int, values: dict[str, Any], source: str) -> dict[str, Any]:
        """Write a verdict; return it. It is on the disk then.

        ``values``: answer, and where given other, boxes (start_s, end_s, label, low_hz, high_hz), ask, note.
        """
        with self._lock:
            clip = self._clip(number)
            plan = self._plan(source)
            try:
                boxes = tuple(MarkedBox(**box) for box in values.get("boxes", ()))
            except TypeError as error:
                raise CheepError(f"boxes: {error}") from None
            verdict = self.log.add(
                Verdict(
                    clip.recording, clip.label, clip.start_ms / 1000, clip.end_ms / 1000, str(values.get("answer", "")),
                    other=str(values.get("other", "")).strip(), boxes=boxes, ask=int(values.get("ask", 0)),
                    note=str(values.get("note", "")), plan=plan.name if plan else "",
                )
            )  # fmt: skip
            self._given.append((verdict.id, number))
            self._take(verdict)
            self._files = self._state()
            return shown(verdict)

    def undo(self) -> int | None:
        """Take back the last verdict of this sitting; return its clip's number (None: there is none)."""
        with self._lock:
            if not self._given:
                return None
            verdict, number = self._given[-1]
            self.log.undo(verdict)
            self._given.pop()
            self._read()
            return number

    # -- inside ---------------------------------------------------------------------------------

    def _orders(self) -> list[str]:
        return [*ORDERS, *((VALUE, LIKE) if self.alike is not None else ())]

    def _sorted(self, numbers: np.ndarray, order: str, like: int | None) -> np.ndarray:
        if self.alike is not None and order == VALUE:
            judged = judge(self._all())
            present = {self._number[clip]: item.present for clip, item in judged.items() if clip in self._number}
            return self.alike.by_value(numbers, {n: said for n, said in present.items() if said is not None})
        if self.alike is not None and order == LIKE:
            return self.alike.like(-1 if like is None else like, numbers)
        return in_order(self.clips, numbers, order)

    def _add_plan_clips(self) -> None:
        more = {clip: (clip, site, p, -1) for rank in self.ranks.values() for clip, site, p in rank}
        for plan in self.plans.values():
            for item in plan.items:
                score = float(probability(item.score))  # a plan has logits
                more.setdefault(item.clip, (item.clip, item.site, score, -1))
        known = self.clips.find(more)
        new = [value for clip, value in more.items() if clip not in known]
        starts = self._starts({clip.recording for clip, *_ in new})
        placed = []
        for clip, site, score, _ in new:
            start = starts.get(clip.recording)
            placed.append((clip, site, score, -1 if start is None else start + clip.start_ms))
        self.clips = add_clips(self.clips, placed)

    def _starts(self, recordings: set[str]) -> dict[str, int | None]:
        if not recordings:
            return {}
        table = self.season.recordings(["recording", "start_local"])
        kept = table.filter(pa.compute.is_in(table["recording"], pa.array(sorted(recordings))))
        return dict(zip(kept["recording"].to_pylist(), kept["start_local"].cast(pa.int64()).to_pylist(), strict=True))

    def _clip(self, number: int) -> Clip:
        if not 0 <= number < len(self.clips):
            raise CheepError(f"clip {number}: there are {len(self.clips)}")
        return self.clips.clip(number)

    def _recording(self, recording: str) -> dict[str, Any]:
        if self._rows is None:
            self._rows = self.season.recordings()
            self._row_of = {name: row for row, name in enumerate(self._rows["recording"].to_pylist())}
        if recording not in self._row_of:
            raise CheepError(f"recording {recording}: not in the season's table; scan again (cheep scan)")
        return self._rows.slice(self._row_of[recording], 1).to_pylist()[0]

    def _opinions(self, clip: Clip) -> list[dict[str, Any]]:
        """Return the largest score of each other label, and of every other model's labels, in the clip."""
        row = recording_of(self._recording(clip.recording))
        out: list[dict[str, Any]] = []
        for model in self.season.models():
            try:
                scores = model.score_scale.probabilities(self.season.scores(model, row))
            except CheepError:
                continue  # not scored with it
            first = max(0, int((clip.start_ms / 1000 - model.window_s / 2) / model.stride_s))
            last = max(first + 1, int((clip.end_ms / 1000 - model.window_s / 2) / model.stride_s) + 1)
            part = scores[first:last]
            for place, label in enumerate(model.labels):
                if len(part) and (model.model, label) != (self.model.model, clip.label):
                    best = round(float(part[:, place].max()), 4)
                    out.append({"model": model.model, "label": label, "score": best})
        return sorted(out, key=lambda item: -item["score"])[:6]

    def _plan(self, source: str) -> Plan | None:
        if source == _DETECTIONS or source in self.ranked:
            return None
        name = source.removeprefix("plan:")
        if not source.startswith("plan:") or name not in self.plans:
            raise CheepError(f"source={source!r}: must be {_DETECTIONS}, or plan: with one of {', '.join(self.plans)}")
        return self.plans[name]

    def _planned(self, plan: Plan) -> list[Verdict]:
        """Return the verdicts on a plan's clips, in the order in which they were given."""
        return sorted(
            (verdict for item in plan.items for verdict in self._of.get(item.clip, ())), key=lambda item: item.at
        )

    def _all(self) -> list[Verdict]:
        return [item for given in self._of.values() for item in given]

    def _state(self) -> tuple[Any, ...]:
        folder = self.season.folder / FOLDER
        stats = [(path.name, path.stat()) for path in sorted(folder.glob("*.jsonl"))]
        return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)

    def _refresh(self) -> None:
        """Read the verdicts again where another reviewer, or another program, has written some."""
        if self._state() != self._files:
            self._read()

    def _read(self) -> None:
        self._files = self._state()
        found = read_verdicts(self.season.folder)
        self._problems = [*found.problems]
        if found.torn:
            self._problems.append(f"{found.torn} line(s) without an end, of a process that was killed: passed over")
        self._of: dict[Clip, list[Verdict]] = collections.defaultdict(list)
        self._done = np.zeros(len(self.clips), bool)
        self._disputed = np.zeros(len(self.clips), bool)
        self._given: list[tuple[str, int]] = getattr(self, "_given", [])
        self._number = self.clips.find(item.clip for item in found.verdicts)
        for verdict in found.verdicts:
            self._take(verdict)

    def _take(self, verdict: Verdict) -> None:
        given = self._of[verdict.clip]
        given[:] = [item for item in given if (item.reviewer, item.ask) != (verdict.reviewer, verdict.ask)]
        given.append(verdict)
        number = self._number.get(verdict.clip)
        if number is None:
            found = self.clips.find([verdict.clip])
            if not found:
                return  # of a file that was read from another program: its clip is no detection
            number = self._number[verdict.clip] = found[verdict.clip]
        self._done[number] = True
        self._disputed[number] = {True, False} <= {item.present for item in given}


def default_reviewer(environ: Callable[[str], str | None] = os.environ.get) -> str:
    """Return the login name as a reviewer's, or ``reviewer``."""
    name = environ("USER") or environ("USERNAME") or ""
    kept = "".join(char for char in name if char.isalnum() or char in "_.-").lstrip("_.-")
    return kept[:40] or "reviewer"
