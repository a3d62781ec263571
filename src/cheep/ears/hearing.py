# SPDX-License-Identifier: MIT
"""Hear the windows of a manifest, or whole recordings, on every core; what was heard is kept, by content."""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cheep.audio import int16_to_float, iter_audio, read_audio
from cheep.datasets.manifest import Manifest
from cheep.ears.model import Ears, ears_of
from cheep.ears.runners import Heard
from cheep.errors import CheepError
from cheep.features.digests import sha256_of
from cheep.files import atomic_path
from cheep.parallel import map_each

log = logging.getLogger(__name__)

FOLDER = "ears"


class Task(NamedTuple):
    """Windows of one recording: file, start and length in s, (n,)."""

    path: Path
    start_s: np.ndarray
    duration_s: np.ndarray


class HeardRows(NamedTuple):
    """What a model gives for the rows of a manifest; NaN where the recording could not be read.

    Attributes
    ----------
    scores : (rows, labels) float32 in 0..1
    embeddings : (rows, d) float32
    problems : list of str
        Recordings that could not be read, and why.
    """

    scores: np.ndarray
    embeddings: np.ndarray
    problems: list[str]


def hear_manifest(
    manifest: Manifest,
    ears: Ears,
    kept: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    jobs: int | None = None,
) -> HeardRows:
    """Return scores and embeddings of every row of a manifest, and what could not be read.

    A row is heard as :func:`hear_windows` says. ``kept``: the folder in which results are kept (``ears/`` in it); None:
    nowhere.

    Raises
    ------
    CheepError
        Not one recording can be read.
    """
    codes, values = manifest.codes("path")
    order = np.argsort(codes, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    tasks = [
        Task(manifest.folder / values[codes[rows[0]]], manifest.start_s[rows], manifest.duration_s[rows])
        for rows in groups
    ]
    work = functools.partial(_hear_task, ears.spec, None if kept is None else kept / FOLDER / ears.key)
    scores = np.full((len(manifest), len(ears.about.labels)), np.nan, np.float32)
    embeddings = np.zeros((0, 0), np.float32)
    problems = []
    for task, rows, outcome in zip(tasks, groups, map_each(work, tasks, jobs=jobs, progress=progress), strict=True):
        if outcome.error is not None:
            problems.append(problem_of(task.path, outcome.error))
            continue
        if not len(embeddings):
            embeddings = np.full((len(manifest), outcome.value.embeddings.shape[1]), np.nan, np.float32)
        scores[rows], embeddings[rows] = outcome.value
    if problems and len(problems) == len(tasks):
        raise CheepError(f"not one of {len(tasks)} recording(s) can be heard: {problems[0]}")
    return HeardRows(scores, embeddings, problems)


def problem_of(path: Path, error: BaseException) -> str:
    """Return a line that names a recording and what is wrong with it; raise what is no fault of the recording."""
    if not isinstance(error, CheepError | OSError):
        raise error
    text = str(error)
    return text if text.startswith(str(path)) else f"{path}: {text}"


def hear_windows(samples: np.ndarray, ears: Ears, start_s: np.ndarray, duration_s: np.ndarray) -> Heard:
    """Hear windows of one recording, samples (n,) float32 at the model's rate.

    A shorter window than the model's is heard with what lies around it, the same on both sides; a longer one in steps
    of half a window: the largest score of each label, the mean of the embeddings. Beyond the recording is silence.
    """
    rate, size = ears.about.sample_rate_hz, round(ears.about.window_s * ears.about.sample_rate_hz)
    parts: list[np.ndarray] = []
    counts = []
    for start, length in zip(
        (start_s * rate).round().astype(int), (duration_s * rate).round().astype(int), strict=True
    ):
        steps = 1 if length <= size else 1 + int(np.ceil((length - size) / (size / 2)))
        first = start - (size - length) // 2 if length <= size else start
        places = [first + round(step * max(0, length - size) / max(1, steps - 1)) for step in range(steps)]
        parts += [_cut(samples, place, size) for place in places]
        counts.append(steps)
    heard = ears.hear(np.stack(parts))
    at = np.concatenate([[0], np.cumsum(counts)[:-1]])
    means = np.add.reduceat(heard.embeddings, at) / np.array(counts, np.float32)[:, None]
    return Heard(np.maximum.reduceat(heard.scores, at), means.astype(np.float32))


def hear_recording(path: Path, ears: Ears, step_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Return starts (n,) float64 in s and scores (n, labels) float32 of a recording's windows, one every ``step_s``."""
    rate, size = ears.about.sample_rate_hz, round(ears.about.window_s * ears.about.sample_rate_hz)
    step = max(1, round(step_s * rate))
    held, first, starts, scores = np.zeros(0, np.float32), 0, [], []
    for block in iter_audio(path, rate):
        held = np.concatenate([held, int16_to_float(block)])
        while len(held) >= size:
            starts.append(first / rate)
            scores.append(ears.hear(held[None, :size]).scores[0])
            held, first = held[step:], first + step
    if len(held) > (size - step if starts else 0):  # the rest that no window has heard, with silence after it
        starts.append(first / rate)
        scores.append(ears.hear(_cut(held, 0, size)[None]).scores[0])
    return np.array(starts), np.array(scores, np.float32).reshape(len(starts), len(ears.about.labels))


def _hear_task(spec: str, kept: Path | None, task: Task) -> Heard:
    ears = ears_of(spec)
    if kept is None:
        return _hear(ears, task)
    digest = hashlib.sha256(sha256_of(task.path).encode())
    for values in (task.start_s, task.duration_s):
        digest.update(np.ascontiguousarray(values, np.float64).tobytes())
    path = kept / f"{digest.hexdigest()[:24]}.npz"
    if path.is_file():
        try:
            with np.load(path) as found:
                return Heard(found["scores"].astype(np.float32), found["embeddings"])
        except (ValueError, OSError, KeyError) as error:
            log.warning("%s: damaged (%s), heard again", path, error)
    heard = _hear(ears, task)
    with atomic_path(path) as partial, open(partial, "wb") as stream:
        np.savez(stream, scores=heard.scores.astype(np.float16), embeddings=heard.embeddings)
    return Heard(heard.scores.astype(np.float16).astype(np.float32), heard.embeddings)


def _hear(ears: Ears, task: Task) -> Heard:
    pcm = read_audio(task.path, ears.about.sample_rate_hz)
    if not len(pcm):
        raise CheepError(f"{task.path}: no sound in it")
    return hear_windows(int16_to_float(pcm), ears, task.start_s, task.duration_s)


def _cut(samples: np.ndarray, first: int, size: int) -> np.ndarray:
    out = np.zeros(size, np.float32)
    low, high = max(0, first), min(len(samples), first + size)
    if high > low:
        out[low - first : high - first] = samples[low:high]
    return out
