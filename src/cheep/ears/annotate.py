# SPDX-License-Identifier: MIT
"""Boxes with confidences for recordings, by another model's ears: annotations that split and evaluation read."""

from __future__ import annotations

import collections
import dataclasses
import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cheep.ears.hearing import FOLDER, hear_recording, problem_of
from cheep.ears.model import Ears, ears_of
from cheep.errors import CheepError
from cheep.features.digests import sha256_of
from cheep.files import atomic_path
from cheep.parallel import map_each

log = logging.getLogger(__name__)

FAINT = 0.05  # lower scores are not kept
COLUMNS = ("file", "start_s", "end_s", "label", "score")


class Found(NamedTuple):
    """A stretch in which a label was heard; s from the start of the recording; the largest score of its windows."""

    start_s: float
    end_s: float
    label: int
    score: float


@dataclasses.dataclass
class Annotated:
    """What was heard in recordings.

    Attributes
    ----------
    rows
        Of :data:`COLUMNS`, in the order of the recordings, then of time.
    others
        Label -> stretches of labels that were not asked for and scored as high.
    without
        Recordings in which nothing that was asked for was heard.
    problems
        Recordings that could not be heard, and why.
    """

    rows: list[tuple[str, float, float, str, float]] = dataclasses.field(default_factory=list)
    others: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    without: int = 0
    problems: list[str] = dataclasses.field(default_factory=list)


def annotate(
    paths: Sequence[Path],
    ears: Ears,
    wanted: Sequence[int],
    *,
    min_confidence: float = 0.5,
    step_s: float | None = None,
    kept: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    jobs: int | None = None,
) -> Annotated:
    """Hear recordings and return what was found.

    Parameters
    ----------
    paths
        Audio files.
    wanted
        Places of the labels that are wanted; empty: all.
    min_confidence
        0..1; lower scores make no box.
    step_s
        From window to window, s; default: the model's window, so that they do not overlap.
    kept
        Folder in which what was heard is kept, so that an interrupted run goes on and another confidence costs nothing.

    Raises
    ------
    CheepError
        ``min_confidence`` or ``step_s`` out of range.
    """
    if not FAINT <= min_confidence <= 1:
        raise CheepError(f"min_confidence={min_confidence:g}: must be {FAINT:g} to 1 (--min-confidence)")
    step = ears.about.window_s if step_s is None else step_s
    if not 0.1 <= step <= ears.about.window_s:
        raise CheepError(f"step={step:g} s: must be 0.1 to the model's window, {ears.about.window_s:g} s (--step)")
    folder = None if kept is None else kept / FOLDER / ears.key
    work = functools.partial(_windows_of, ears.spec, folder, step)
    out = Annotated()
    for path, outcome in zip(paths, map_each(work, paths, jobs=jobs, progress=progress), strict=True):
        if outcome.error is not None:
            out.problems.append(problem_of(path, outcome.error))
            continue
        before = len(out.rows)
        for item in _joined(outcome.value, ears.about.window_s, min_confidence):
            label = ears.about.labels[item.label]
            if wanted and item.label not in wanted:
                out.others[label] += 1
            else:
                out.rows.append((str(path), round(item.start_s, 3), round(item.end_s, 3), label, round(item.score, 4)))
        out.without += len(out.rows) == before
    return out


def _windows_of(spec: str, kept: Path | None, step: float, path: Path) -> np.ndarray:
    """Return (k, 3) float64: start in s, label, score of all that is not faint."""
    target = None
    if kept is not None:
        target = kept / f"{sha256_of(path)[:24]}-{round(step * 1000)}.npy"
        if target.is_file():
            try:
                return np.load(target, allow_pickle=False)
            except (ValueError, OSError) as error:
                log.warning("%s: damaged (%s), heard again", target, error)
    starts, scores = hear_recording(path, ears_of(spec), step)
    window, label = np.nonzero(scores >= FAINT)
    found = np.stack([starts[window], label, scores[window, label]], axis=1) if len(window) else np.zeros((0, 3))
    if target is not None:
        with atomic_path(target) as partial, open(partial, "wb") as stream:
            np.save(stream, found)
    return found


def _joined(windows: np.ndarray, length_s: float, min_confidence: float) -> Iterator[Found]:
    """Yield stretches: windows of one label that follow each other or overlap are one."""
    kept = windows[windows[:, 2] >= min_confidence]
    stretches: list[Found] = []
    for label in np.unique(kept[:, 1]).tolist():
        mine = kept[kept[:, 1] == label]
        for start, _, score in mine[np.argsort(mine[:, 0])].tolist():
            last = stretches[-1] if stretches and stretches[-1].label == int(label) else None
            if last is not None and start <= last.end_s + 1e-6:
                stretches[-1] = last._replace(end_s=start + length_s, score=max(last.score, score))
            else:
                stretches.append(Found(start, start + length_s, int(label), score))
    yield from sorted(stretches)
