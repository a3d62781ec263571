# SPDX-License-Identifier: MIT
"""A season's clips ranked by a probe: from a few confirmed ones, by another model's ears.

Candidates are the clips that the season's model scores highest, as many drawn from all the others (what it misses is
there), and those with a verdict. A probe on the ears' embeddings learns from the verdicts. The ranking begins with the
clips whose verdicts teach most (:func:`cheep.season.order.by_value`); the likeliest follow. It is kept in
``SEASON/ranks/LABEL.csv``, from where the review asks; ranking again after the next verdicts hears nothing twice.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cheep.datasets.manifest import Manifest
from cheep.datasets.probe import fit_probe
from cheep.ears import Ears, hear_manifest
from cheep.ears.papers import PAPERS, sign
from cheep.errors import CheepError
from cheep.files import write_csv
from cheep.season.export import file_of
from cheep.season.frame import frame_of_season
from cheep.season.order import by_value
from cheep.season.schema import ModelRow
from cheep.season.store import Season
from cheep.season.verdicts import Clip, judge, read_verdicts

FOLDER = "ranks"
COLUMNS = ("recording", "start_s", "end_s", "site", "probability", "verdict")
FEWEST = 3  # confirmed clips that a probe needs
TELLING = 20  # clips at the beginning that are chosen for what they teach; the others follow by probability
RANDOM = 50  # clips that nobody judged and that stand for the background, where no verdict says "wrong"


@dataclasses.dataclass(frozen=True)
class Ranked:
    """A ranking.

    Attributes
    ----------
    path
        Its table, of :data:`COLUMNS`, the most telling clip first.
    clips
        How many.
    right, wrong
        Verdicts that the probe learned from.
    assumed
        Clips that were taken for background without a verdict.
    likely
        Clips without a verdict that the probe finds likelier than not.
    problems
        Recordings that could not be read.
    """

    path: Path
    clips: int
    right: int
    wrong: int
    assumed: int
    likely: int
    problems: list[str]


def rank(
    season: Season,
    model: ModelRow,
    label: str,
    ears: Ears,
    *,
    most: int = 2000,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    jobs: int | None = None,
) -> Ranked:
    """Rank up to ``most`` clips of a season about ``label``, and keep the ranking.

    Raises
    ------
    CheepError
        Fewer than three clips were confirmed, or nothing can be read.
    """
    said = {
        clip: item.present
        for clip, item in judge(read_verdicts(season.folder).of(label)).items()
        if item.present is not None
    }
    if sum(said.values()) < FEWEST:
        raise CheepError(
            f"{label}: {sum(said.values())} confirmed clip(s): a probe needs {FEWEST} at least; mark calls first "
            "(cheep review, or cheep season verdicts --import)"
        )
    rng = np.random.default_rng(seed)
    clips = list(dict.fromkeys([*sorted(said), *_candidates(season, model, label, most, rng)]))
    rows = {row["recording"]: row for row in season.recordings(["recording", "folder", "path", "site"]).to_pylist()}
    clips = [clip for clip in clips if clip.recording in rows]
    manifest = Manifest.from_rows(
        {"path": str(file_of(rows[clip.recording])), "label": label, "start_s": clip.start_ms / 1000,
         "duration_s": (clip.end_ms - clip.start_ms) / 1000}
        for clip in clips
    )  # fmt: skip
    heard = hear_manifest(manifest, ears, season.folder, progress, jobs)
    there = np.isfinite(heard.embeddings).all(axis=1)
    clips = [clip for clip, ok in zip(clips, there.tolist(), strict=True) if ok]
    x = heard.embeddings[there]
    judged = np.array([place for place, clip in enumerate(clips) if clip in said], int)
    truth = np.array([said[clips[place]] for place in judged], bool)
    if truth.sum() < FEWEST:
        raise CheepError(f"{label}: the recordings of its confirmed clips cannot be read: {heard.problems[0]}")
    open_ = np.setdiff1d(np.arange(len(clips)), judged)
    assumed = np.zeros(0, int)
    if (~truth).sum() < FEWEST:
        assumed = rng.permutation(open_)[: min(RANDOM, len(open_) // 2)]
        if not len(assumed) and truth.all():
            raise CheepError(f"{label}: no clip but confirmed ones: a probe needs something else to tell them from")
    probe = fit_probe(x[np.r_[judged, assumed]], np.r_[truth, np.zeros(len(assumed), bool)])
    logit = probe.decision_function(x)
    first = by_value(logit, x, min(TELLING, len(open_)), heard=judged, seed=seed)
    rest = np.setdiff1d(open_, first)
    order = np.concatenate([first, rest[np.argsort(-logit[rest], kind="stable")]])
    path = season.folder / FOLDER / f"{label}.csv"
    probability = 1 / (1 + np.exp(-np.clip(logit, -30, 30)))
    lines = []
    for place in [*order.tolist(), *judged.tolist()]:
        clip = clips[place]
        verdict = {None: "", True: "right", False: "wrong"}[said.get(clip)]
        lines.append((clip.recording, clip.start_ms / 1000, clip.end_ms / 1000, rows[clip.recording]["site"],
                      f"{probability[place]:.4f}", verdict))  # fmt: skip
    write_csv(path, COLUMNS, lines)
    sign(season.folder / PAPERS, ears.about, "ranked clips for verdicts")
    likely = int((logit[open_] > 0).sum())
    return Ranked(path, len(clips), int(truth.sum()), int((~truth).sum()), len(assumed), likely, heard.problems)


def read_ranks(season: Path) -> dict[str, list[tuple[Clip, str, float]]]:
    """Return label -> (clip, site, probability), the most telling first, of a season's rankings."""
    out = {}
    for path in sorted((season / FOLDER).glob("*.csv")):
        with open(path, newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        try:
            out[path.stem] = [
                (Clip(row["recording"], path.stem, *(round(1000 * float(row[name])) for name in ("start_s", "end_s"))),
                 row["site"], float(row["probability"]))
                for row in rows
            ]  # fmt: skip
        except (KeyError, ValueError, TypeError):
            raise CheepError(f"{path}: damaged; make it again with cheep season rank") from None
    return out


def _candidates(season: Season, model: ModelRow, label: str, most: int, rng: np.random.Generator) -> list[Clip]:
    """Return the clips of the highest scores, and as many of the others, drawn."""
    frame = frame_of_season(season, model, label)
    order = np.argsort(-frame.score, kind="stable")
    top, rest = order[: most - most // 2], order[most - most // 2 :]
    rows = np.concatenate([top, rng.permutation(rest)[: most // 2]])
    ends = frame.start_s + frame.hours * 3600
    return [
        Clip(frame.recordings[frame.recording[row]], label, round(float(frame.start_s[row]) * 1000),
             round(float(ends[row]) * 1000))
        for row in rows.tolist()
    ]  # fmt: skip
