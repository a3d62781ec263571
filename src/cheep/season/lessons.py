# SPDX-License-Identifier: MIT
"""What verdicts teach: the clips that people were sure of, those kept for the judge, the others cut as examples."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cheep import runs
from cheep.audio import read_span, write_wav
from cheep.datasets.manifest import Manifest
from cheep.errors import CheepError
from cheep.files import read_json, write_json
from cheep.season.embed import best_window
from cheep.season.export import file_of
from cheep.season.frame import night_of, smoothed
from cheep.season.schema import ModelRow, Recording
from cheep.season.store import Season, recording_of
from cheep.season.verdicts import Clip, Judgement, judge, read_verdicts

ROUNDS = "rounds"  # folder of a season
JUDGED = "judged.json"
#: Part of the nights (of sites) whose verdicts are for the judge; and of the others, for choosing the best epoch.
JUDGE_SHARE, VAL_SHARE = 0.3, 0.15


@dataclasses.dataclass(frozen=True)
class Lesson:
    """A judged clip: its group (site and night), and what it is."""

    judgement: Judgement
    row: Recording
    group: str

    @property
    def clip(self) -> Clip:
        """Which one."""
        return self.judgement.clip


def lessons_of(season: Season, label: str) -> list[Lesson]:
    """Return the sure judgements on a label's clips, of recordings that the season knows; by clip."""
    rows = {row.recording: row for row in map(recording_of, season.recordings().to_pylist())}
    out = []
    for clip, item in sorted(judge(read_verdicts(season.folder).of(label)).items()):
        row = rows.get(clip.recording)
        if row is not None and item.present is not None:
            out.append(Lesson(item, row, f"{row.site} {night_of(row, clip.start_ms / 1000)}"))
    return out


def part_groups(season: Season, groups: Iterable[str]) -> set[str]:
    """Return the groups that are for the judge; what is decided of a group stays, in ``rounds/judged.json``.

    Raises
    ------
    CheepError
        There are fewer than two groups.
    """
    path = season.folder / ROUNDS / JUDGED
    known = read_json(path, "cheep season learn") if path.is_file() else {"judge": [], "learn": []}
    groups = set(groups)
    if len(groups) < 2:
        raise CheepError(
            f"verdicts of {len(groups)} night(s): a model is judged on nights that it did not learn from: verify clips "
            "of two nights or sites at least"
        )
    new = groups - set(known["judge"]) - set(known["learn"])
    for group in sorted(new, key=lambda text: hashlib.sha256(text.encode()).hexdigest()):
        total = len(known["judge"]) + len(known["learn"])
        known["judge" if len(known["judge"]) < JUDGE_SHARE * (total + 1) else "learn"].append(group)
    if not groups & set(known["learn"]):
        raise CheepError("all verdicts are of nights that are for the judge: verify clips of other nights as well")
    write_json(path, known)
    return set(known["judge"])


def lessons_manifest(season: Season, model: ModelRow, lessons: Sequence[Lesson], folder: Path, run: Path) -> Manifest:
    """Cut the clips of ``lessons`` and return their windows as examples.

    A "right" clip gives the windows of its boxes, or the one with the largest score (a call of half a second does not
    fill three seconds); a "wrong" one all its windows, as background; other labels that somebody named, where the run
    has them, the window with the largest score.
    """
    training = read_json(run / runs.TRAINING, runs.TRAIN_COMMAND)
    background = training.get("background") or "background"
    known = set(training["labels"])
    groups = sorted({item.group for item in lessons}, key=lambda text: hashlib.sha256(text.encode()).hexdigest())
    val = set(groups[: max(1, round(VAL_SHARE * len(groups)))]) if len(groups) > 2 else set()
    rows: list[dict[str, Any]] = []
    scores: dict[str, np.ndarray] = {}
    for item in lessons:
        path, digest = _cut(item, folder)
        clip = item.clip
        begin, end = clip.start_ms / 1000, clip.end_ms / 1000
        if clip.recording not in scores:
            scores[clip.recording] = smoothed(model, season.scores(model, item.row), clip.label)
        best = best_window(model, scores[clip.recording], begin, end)
        for label, start in _windows(item.judgement, best, model.window_s, background, known):
            rows.append(
                {
                    "path": str(path.resolve()), "label": label,
                    "start_s": round(min(max(0.0, start - begin), end - begin), 3),
                    "duration_s": model.window_s, "recording": clip.recording, "recordist": item.row.site,
                    "licence": "", "attribution": "the season's own recordings", "source": "season",
                    "split": "val" if item.group in val else "train", "sha256": digest, "group": item.group,
                    "reason": "verdict",
                }
            )  # fmt: skip
    if not rows:
        raise CheepError("no sure verdict of a night that may be learned from: verify more clips (cheep review)")
    return Manifest.from_rows(rows, folder)


def _windows(
    judgement: Judgement, best: float, window_s: float, background: str, known: set[str]
) -> list[tuple[str, float]]:
    """Return (label, start in the recording, s) of the windows that a judged clip gives."""
    clip = judgement.clip
    begin, end = clip.start_ms / 1000, clip.end_ms / 1000
    last = max(begin, end - window_s)
    out = []
    for box in (box for item in judgement.answers for box in item.boxes if box.label in known):
        middle = (box.start_s + box.end_s) / 2
        out.append((box.label, min(max(begin, middle - window_s / 2), last)))
    if not out and judgement.present:
        out.append((clip.label, min(max(begin, best), last)))
    others = [label for label in judgement.others if label in known]
    if not out and others:
        out += [(label, min(max(begin, best), last)) for label in others]
    if not out:
        out += [(background, start) for start in np.arange(begin, last + 1e-9, window_s)]
    return list(dict.fromkeys((label, round(float(start), 3)) for label, start in out))


def _cut(item: Lesson, folder: Path) -> tuple[Path, str]:
    clip = item.clip
    path = folder / item.row.site.replace(os.sep, "_") / f"{clip.recording}_{clip.start_ms}_{clip.end_ms}.wav"
    if not path.is_file():
        values = {"folder": item.row.folder, "path": item.row.path}
        pcm, rate = read_span(file_of(values), clip.start_ms / 1000, clip.end_ms / 1000 + 0.05)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_wav(path, pcm, rate)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()
