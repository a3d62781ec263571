# SPDX-License-Identifier: MIT
"""Verdicts: what people say of clips of a season. One file a reviewer, lines are only ever added.

A line of ``SEASON/verdicts/REVIEWER.jsonl`` is a verdict, or takes one back::

    {"id": "a3f1c09e77d2", "at": "2026-06-01T20:11:05.120Z", "recording": "...", "label": "bird", "start_s": 12.0,
     "end_s": 15.0, "answer": "right", "boxes": [], "ask": 0, "other": "", "plan": "bird-precision", "source": "review"}
    {"id": "b0d4...", "at": "...", "undo": "a3f1c09e77d2"}

A line is on the disk when :meth:`VerdictLog.add` returns. A process that is killed leaves at most one line without its
end, which is passed over and counted. Of two verdicts of one reviewer on the same clip, label and ``ask`` the later one
counts.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import itertools
import json
import math
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cheep.config import nearest_name
from cheep.errors import CheepError, disk_error_text
from cheep.files import DiskError

FOLDER = "verdicts"
#: The label is in the clip; it is not; nobody can tell; it is not, but another one is.
ANSWERS = ("right", "wrong", "unsure", "other")
_REVIEWER = re.compile(r"\w[\w.-]{0,39}")


class Clip(NamedTuple):
    """What a verdict is about: a label in a stretch of a recording; times in ms, so that they compare."""

    recording: str
    label: str
    start_ms: int
    end_ms: int


@dataclasses.dataclass(frozen=True)
class MarkedBox:
    """A stretch that a reviewer marked inside a clip: s from the start of the recording, Hz, its label."""

    start_s: float
    end_s: float
    label: str
    low_hz: float | None = None
    high_hz: float | None = None


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One answer of one reviewer.

    Attributes
    ----------
    recording, label, start_s, end_s
        The clip; s from the start of the recording.
    answer
        One of :data:`ANSWERS`.
    reviewer
        Who says so.
    other
        The label that is there instead, where the answer is ``other``.
    boxes
        What was marked, of any label.
    ask
        0: the first time; 1, 2: asked again without being told the first answer (:mod:`cheep.season.plan`).
    plan
        Name of the plan that drew the clip; "" : none, and its verdict estimates nothing.
    source
        ``review``, or the kind of file it was read from.
    at
        UTC, ISO 8601 (set by :class:`VerdictLog`).
    id
        Set by :class:`VerdictLog`.
    """

    recording: str
    label: str
    start_s: float
    end_s: float
    answer: str
    reviewer: str = ""
    other: str = ""
    boxes: tuple[MarkedBox, ...] = ()
    ask: int = 0
    plan: str = ""
    source: str = "review"
    note: str = ""
    at: str = ""
    id: str = ""

    def __post_init__(self) -> None:
        if self.answer not in ANSWERS:
            raise CheepError(
                f"answer={self.answer!r}: must be one of {', '.join(ANSWERS)}{nearest_name(self.answer, ANSWERS)}"
            )
        if not (math.isfinite(self.start_s) and math.isfinite(self.end_s) and 0 <= self.start_s < self.end_s):
            raise CheepError(f"clip {self.start_s}..{self.end_s} s: must start at 0 or later and end after its start")
        if not self.label or not self.recording:
            raise CheepError("a verdict needs a recording and a label")
        if self.answer == "other" and self.other in ("", self.label):
            raise CheepError(f"other={self.other!r}: must name the label that is there instead of {self.label}")

    @property
    def clip(self) -> Clip:
        """What it is about."""
        return Clip(self.recording, self.label, round(self.start_s * 1000), round(self.end_s * 1000))

    @property
    def present(self) -> bool | None:
        """Is the label in the clip? None: unsure."""
        return {"right": True, "unsure": None}.get(self.answer, False)

    def to_dict(self) -> dict[str, Any]:
        """Return what its line holds; empty fields are left out, and the reviewer, whom the file names."""
        values = dataclasses.asdict(self)
        values["boxes"] = [{k: v for k, v in box.items() if v is not None} for box in values["boxes"]]
        del values["reviewer"]
        return {key: value for key, value in values.items() if value not in ("", [], ()) or key in ("label",)}

    @classmethod
    def from_dict(cls, values: dict[str, Any], reviewer: str) -> Verdict:
        """Read a line of ``reviewer``; raise :class:`CheepError` (or TypeError, KeyError) where it is none."""
        known = {field.name for field in dataclasses.fields(cls)}
        kept = {key: value for key, value in values.items() if key in known}  # a newer Cheep may say more
        kept["boxes"] = tuple(MarkedBox(**box) for box in values.get("boxes", ()))
        return cls(**{**kept, "reviewer": reviewer})


@dataclasses.dataclass(frozen=True)
class VerdictSet:
    """All verdicts of a season that count, in the order in which they were given.

    ``undone`` were taken back, ``replaced`` given again; ``problems`` are lines that cannot be read, with file, line
    and reason; ``torn`` counts last lines without an end (of a process that was killed while it wrote).
    """

    verdicts: tuple[Verdict, ...] = ()
    undone: int = 0
    replaced: int = 0
    torn: int = 0
    problems: tuple[str, ...] = ()

    def of(self, label: str = "", reviewer: str = "", plan: str = "") -> tuple[Verdict, ...]:
        """Return the verdicts about a label, of a reviewer, of a plan ("": of all)."""
        return tuple(
            item
            for item in self.verdicts
            if label in ("", item.label) and reviewer in ("", item.reviewer) and plan in ("", item.plan)
        )

    def __len__(self) -> int:
        return len(self.verdicts)


class VerdictLog:
    """The file of one reviewer, to add to.

    Parameters
    ----------
    season : path
    reviewer : str
        Letters, digits, ``_ . -``; at most 40.

    Raises
    ------
    CheepError
        No such name can be a file's.
    """

    def __init__(self, season: str | os.PathLike, reviewer: str) -> None:
        if not _REVIEWER.fullmatch(reviewer):
            raise CheepError(f"reviewer={reviewer!r}: must be 1 to 40 letters, digits, '_', '.' or '-'")
        self.reviewer = reviewer
        self.path = Path(season) / FOLDER / f"{reviewer}.jsonl"

    def add(self, verdict: Verdict) -> Verdict:
        """Add a verdict; return it as it was written (reviewer, time, id). It is on the disk then."""
        return self.add_all([verdict])[0]

    def add_all(self, verdicts: Iterable[Verdict]) -> list[Verdict]:
        """Add verdicts in one write, as :meth:`add` does."""
        done = [
            dataclasses.replace(item, reviewer=self.reviewer, at=item.at or now(), id=secrets.token_hex(6))
            for item in verdicts
        ]
        self._append([item.to_dict() for item in done])
        return done

    def undo(self, verdict_id: str) -> None:
        """Take a verdict back; what it replaced counts again.

        Raises
        ------
        CheepError
            This reviewer has none of this id that counts.
        """
        lines, _, _ = _read_lines(self.path)
        undone = {values["undo"] for _, values in lines if "undo" in values}
        if not any(values.get("id") == verdict_id and verdict_id not in undone for _, values in lines):
            raise CheepError(f"{self.path}: no verdict {verdict_id} that could be taken back")
        self._append([{"id": secrets.token_hex(6), "at": now(), "undo": verdict_id}])

    def _append(self, lines: Sequence[dict[str, Any]]) -> None:
        if not lines:
            return
        data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
        try:
            new = not self.path.exists()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab+", buffering=0) as stream:  # one write: lines of two processes do not mix
                if stream.seek(0, os.SEEK_END):
                    stream.seek(-1, os.SEEK_END)
                    if stream.read(1) != b"\n":
                        data = b"\n" + data  # a torn line stays a line of its own
                written = stream.write(data)
                os.fsync(stream.fileno())
            if new:
                _sync_folder(self.path.parent)
        except OSError as error:
            raise DiskError(f"{self.path}: cannot write: {disk_error_text(error)}") from None
        if written != len(data):
            raise DiskError(f"{self.path}: {written} of {len(data)} bytes written; free space, then answer again")


def reviewers(season: str | os.PathLike) -> list[str]:
    """Return who has given verdicts, sorted."""
    return sorted(path.stem for path in (Path(season) / FOLDER).glob("*.jsonl"))


def read_verdicts(season: str | os.PathLike) -> VerdictSet:
    """Read the verdicts of all reviewers of a season; what cannot be read is told, and loses nothing else."""
    kept: list[Verdict] = []
    problems: list[str] = []
    undone = replaced = torn = 0
    for reviewer in reviewers(season):
        path = Path(season) / FOLDER / f"{reviewer}.jsonl"
        lines, bad, cut = _read_lines(path)
        problems += bad
        torn += cut
        back = {values["undo"] for _, values in lines if "undo" in values}
        latest: dict[tuple[Clip, int], Verdict] = {}
        for line, values in lines:
            if "undo" in values:
                continue
            try:
                verdict = Verdict.from_dict(values, reviewer)
            except (CheepError, TypeError, KeyError) as error:
                problems.append(f"{path}:{line}: {error}")
                continue
            if verdict.id in back:
                undone += 1
                continue
            key = (verdict.clip, verdict.ask)
            replaced += key in latest
            latest.pop(key, None)
            latest[key] = verdict
        kept += latest.values()
    kept.sort(key=lambda item: item.at)  # stable: lines of one file with the same time keep their order
    return VerdictSet(tuple(kept), undone, replaced, torn, tuple(problems))


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What all verdicts on a clip come to.

    ``present``: the label is there; None: unsure, or as many say yes as no (``disputed``). ``answers`` are all, in the
    order in which they were given.
    """

    clip: Clip
    present: bool | None
    answers: tuple[Verdict, ...]

    @property
    def disputed(self) -> bool:
        """Some say yes, some no."""
        return {True, False} <= {item.present for item in self.answers}

    @property
    def others(self) -> tuple[str, ...]:
        """Other labels that somebody heard, sorted."""
        return tuple(sorted({item.other for item in self.answers if item.other}))


def judge(verdicts: Iterable[Verdict]) -> dict[Clip, Judgement]:
    """Return one judgement a clip: what most of its verdicts say (those that are sure)."""
    by_clip: dict[Clip, list[Verdict]] = collections.defaultdict(list)
    for verdict in verdicts:
        by_clip[verdict.clip].append(verdict)
    out = {}
    for clip, given in by_clip.items():
        yes, no = (sum(item.present is value for item in given) for value in (True, False))
        out[clip] = Judgement(clip, None if yes == no else yes > no, tuple(given))
    return out


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How far two reviewers agree on clips that both judged and were sure of.

    ``agreement`` is the share of equal answers, ``kappa`` Cohen's (None: too few, or all answers alike); ``unsure``
    counts clips where one of them was.
    """

    first: str
    second: str
    clips: int
    agreement: float | None
    kappa: float | None
    unsure: int


def agreements(verdicts: Iterable[Verdict]) -> list[Agreement]:
    """Return the agreement of each pair of reviewers, on the first answers of each."""
    answers: dict[str, dict[Clip, bool | None]] = collections.defaultdict(dict)
    for item in sorted(verdicts, key=lambda item: -item.ask):  # the first time asked is what stays
        answers[item.reviewer][item.clip] = item.present
    out = []
    for first, second in itertools.combinations(sorted(answers), 2):
        both = [(answers[first][clip], answers[second][clip]) for clip in answers[first].keys() & answers[second]]
        sure = [(a, b) for a, b in both if a is not None and b is not None]
        share = sum(a == b for a, b in sure) / len(sure) if sure else None
        out.append(Agreement(first, second, len(sure), share, _kappa(sure), len(both) - len(sure)))
    return out


def now() -> str:
    """Return the time as a verdict has it: UTC, to the ms."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _kappa(pairs: Sequence[tuple[bool, bool]]) -> float | None:
    from sklearn.metrics import cohen_kappa_score

    if len(pairs) < 2 or len({value for pair in pairs for value in pair}) < 2:
        return None
    first, second = zip(*pairs, strict=True)
    return float(cohen_kappa_score(first, second))


def _read_lines(path: Path) -> tuple[list[tuple[int, dict[str, Any]]], list[str], int]:
    """Return (line number, values) of the lines, what is wrong with others, and 1 where the last one has no end."""
    data = path.read_bytes() if path.exists() else b""
    lines, problems = [], []
    cut = bool(data) and not data.endswith(b"\n")
    for number, text, ended in _split(data):
        try:
            values = json.loads(text)
            if not isinstance(values, dict):
                raise ValueError("no object")
            lines.append((number, values))
        except ValueError as error:
            if ended:
                problems.append(f"{path}:{number}: not a verdict: {error}")
            continue
        if not ended:
            cut = False  # only its line end is missing
    return lines, problems, int(cut)


def _split(data: bytes) -> Iterator[tuple[int, bytes, bool]]:
    parts = data.split(b"\n")
    for number, text in enumerate(parts, 1):
        if text.strip():
            yield number, text, number < len(parts)


def _sync_folder(path: Path) -> None:
    """Make the name of a new file as safe as its content, where the system can."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # Windows opens no folder
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
