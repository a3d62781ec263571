# SPDX-License-Identifier: MIT
"""Clips by the network's own embedding: those whose verdict teaches most, and those that sound like one."""

from __future__ import annotations

import collections
from collections.abc import Callable

import numpy as np

from cheep.detector import logit
from cheep.errors import CheepError
from cheep.hdc.extractor import cut_at_embedding
from cheep.review.clips import Clips
from cheep.season import Season
from cheep.season.embed import best_window, embeddings_of
from cheep.season.order import by_value, like
from cheep.season.schema import ModelRow
from cheep.season.store import recording_of

BATCH = 100  # clips that are ordered at a time: the next ones follow the verdicts on these


class Alike:
    """The embeddings of clips.

    Attributes
    ----------
    numbers : (k,) int64
        The clips that have one.
    vectors : (k, dims) float32
    problems : list of str
        Recordings that could not be read.

    Raises
    ------
    CheepError
        The network does not end in a dense layer: it has no embedding.
    """

    def __init__(
        self,
        season: Season,
        model: ModelRow,
        clips: Clips,
        candidates: np.ndarray,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        cut_at_embedding(season.model_file(model))  # a network that has no embedding is an error, said once
        places = _places(season, model, clips, candidates)
        vectors, self.problems = embeddings_of(season, model, places, progress)
        there = ~np.isnan(vectors).any(axis=1)
        self.numbers, self.vectors = candidates[there], vectors[there]
        self._logits = np.array([np.clip(logit(float(p)), -30, 30) for p in clips.score[self.numbers]])
        limits = [logit(0.5 if value is None else value) for value in model.detector.threshold]
        self._threshold = float(np.clip(np.mean(limits), -30, 30)) if limits else 0.0

    def by_value(self, numbers: np.ndarray, present: dict[int, bool]) -> np.ndarray:
        """Return the next of ``numbers`` (n,) int64 to hear, at most :data:`BATCH`, (m,) int64.

        ``present``: clip -> what verdicts say of it; those are what the order learns from.
        """
        row = {int(number): at for at, number in enumerate(self.numbers)}
        wanted = np.isin(self.numbers, numbers)
        judged = [(row[number], said) for number, said in present.items() if number in row]
        passed = np.concatenate([np.flatnonzero(~wanted), np.array([at for at, _ in judged], int)])
        if len(set(passed.tolist())) == len(self.numbers):
            return np.zeros(0, np.int64)
        keep = np.array(sorted({*np.flatnonzero(wanted).tolist(), *(at for at, _ in judged)}))
        at_kept = {int(old): new for new, old in enumerate(keep)}
        heard = np.array([at_kept[at] for at, _ in judged], int)
        said = np.array([value for _, value in judged], bool)
        found = by_value(
            self._logits[keep], self.vectors[keep], BATCH, threshold=self._threshold, heard=heard,
            present=said if len(said) else None,
        )  # fmt: skip
        return self.numbers[keep[found]]

    def like(self, number: int, numbers: np.ndarray) -> np.ndarray:
        """Return those of ``numbers`` (n,) int64 that have an embedding, (m,) int64, the nearest to a clip's first.

        Raises
        ------
        CheepError
            The clip has no embedding.
        """
        at = np.flatnonzero(self.numbers == number)
        if not len(at):
            raise CheepError(f"clip {number}: has no embedding; give more of them (--embed N)")
        rows, _ = like(self.vectors, self.vectors[at[0]], len(self.numbers))
        nearest = self.numbers[rows]
        return nearest[np.isin(nearest, numbers) | (nearest == number)]


def candidates_of(clips: Clips, detected: int, most: int) -> np.ndarray:
    """Return at most ``most`` detections, (m,) int64: half the highest scores, half the lowest (the unsure)."""
    order = np.argsort(-clips.score[:detected], kind="stable")
    if detected <= most:
        return np.sort(order)
    return np.sort(np.concatenate([order[: most - most // 2], order[detected - most // 2 :]]))


def _places(season: Season, model: ModelRow, clips: Clips, numbers: np.ndarray) -> list[tuple[str, float]]:
    """Return recording and start of the window that decided, of each clip."""
    of: dict[int, list[int]] = collections.defaultdict(list)
    for number in numbers.tolist():
        of[int(clips.recording[number])].append(number)
    rows = {row["recording"]: row for row in season.recordings().to_pylist()}
    place = {name: at for at, name in enumerate(model.labels)}
    starts: dict[int, float] = {}
    for code, mine in of.items():
        units = model.score_scale.units(season.scores(model, recording_of(rows[clips.recordings[code]])))
        for number in mine:
            label = place[clips.labels[clips.label[number]]]
            clip = clips.clip(number)
            starts[number] = best_window(
                model, units[:, label].astype(np.float32), clip.start_ms / 1000, clip.end_ms / 1000
            )
    return [(clips.recordings[clips.recording[number]], starts[number]) for number in numbers.tolist()]
