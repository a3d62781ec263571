# SPDX-License-Identifier: MIT
"""A teacher pass: windows whose label a cross-validated model finds least plausible.

A random forest on log-mel statistics, or logistic regression on a large model's embeddings (:mod:`cheep.ears`), is
trained on some groups of recordings and asked about the others. A window that gets little probability for its own
label is doubtful: another bird, a voice, or nothing at all. At most a
set share of each label is dropped, from the training split only: what is tested on stays as it came.
"""

from __future__ import annotations

import collections
import dataclasses
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from cheep.audio import read_audio
from cheep.config import FeatureConfig, Settings
from cheep.datasets.files import read_text
from cheep.datasets.manifest import Manifest
from cheep.datasets.probe import DOUBTFUL, make_probe
from cheep.datasets.split import components
from cheep.errors import CheepError
from cheep.parallel import map_each

log = logging.getLogger(__name__)

#: Largest share of each label that goes: a forest's doubts are mostly good data, a probe's are not (docs/ears.md).
FOREST_DROP, PROBE_DROP = 0.05, 0.3


class TeacherConfig(Settings):
    """How doubtful a window must be, and how many may go."""

    drop: float = Field(FOREST_DROP, ge=0, le=0.5, description="largest share of each label's training windows")
    below: float = Field(0.2, gt=0, le=1, description="plausibility under which a window is doubtful")
    folds: int = Field(5, ge=2, le=20)
    judge: Literal["forest", "probe"] = Field("forest", description="random forest, or logistic regression")
    strength: float = Field(DOUBTFUL, gt=0, description="of the probe: how closely it follows the labels")
    trees: int = Field(200, ge=10, le=2000)
    seed: int = Field(1, ge=0)
    sample_rate_hz: int = Field(8000, ge=2000, le=48000)

    def features(self) -> FeatureConfig:
        """The front end's settings: 40 bands up to half the rate."""
        rate = self.sample_rate_hz
        size = 256 if rate <= 11025 else 512 if rate <= 22050 else 1024
        return FeatureConfig(
            sample_rate_hz=rate, frame_samples=size, fft_size=size, hop_samples=rate // 40, fmax_hz=rate / 2
        )


@dataclasses.dataclass
class Teaching:
    """What the teacher thinks: per row of the manifest, and the rows that it doubts (the least plausible first)."""

    plausibility: np.ndarray  # (n,) float32: probability of the row's own label; NaN: not asked
    opinion: np.ndarray  # (n,) int: index into labels of the likeliest label
    labels: list[str]
    fold: np.ndarray  # (k,) int, of the windows that were asked about
    doubtful: list[int]
    accuracy: float
    probability: np.ndarray  # (n, labels) float32, by a model that has not heard the row's group; NaN: not asked
    problems: list[str]  # recordings that could not be read

    def without(self, manifest: Manifest, rows: Iterable[int]) -> Manifest:
        """Return ``manifest`` without ``rows``."""
        keep = np.ones(len(manifest), bool)
        keep[list(rows)] = False
        return manifest.select(keep)

    def counts(self, manifest: Manifest, rows: Iterable[int]) -> dict[str, tuple[int, int]]:
        """Return label -> (dropped, training windows)."""
        names = manifest.column("label")
        dropped = collections.Counter(names[row] for row in rows)
        total = collections.Counter(
            name for name, split in zip(names, manifest.column("split"), strict=True) if split in ("train", "")
        )
        return {name: (dropped[name], total[name]) for name in sorted(total)}


def window_statistics(
    manifest: Manifest,
    config: FeatureConfig,
    progress: Callable[[int, int], None] | None = None,
    jobs: int | None = None,
) -> tuple[np.ndarray, list[str]]:
    """Return log-mel statistics of every row, (n, 4 * n_mels) float32: mean, deviation, 10th and 90th percentile.

    And the recordings that could not be read, with the reason; their rows are NaN.
    """
    codes, values = manifest.codes("path")
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(np.concatenate([[-1], codes[order]])))
    groups = np.split(order, starts[1:])
    tasks = [
        (manifest.folder / values[codes[group[0]]], manifest.start_s[group], manifest.duration_s[group], config)
        for group in groups
    ]
    out = np.full((len(manifest), 4 * config.n_mels), np.nan, np.float32)
    problems = []
    for group, task, outcome in zip(
        groups, tasks, map_each(_statistics, tasks, jobs=jobs, progress=progress), strict=True
    ):
        if outcome.error is None:
            out[group] = outcome.value
        elif isinstance(outcome.error, CheepError | OSError):
            problems.append(f"{task[0]}: {str(outcome.error).removeprefix(f'{task[0]}: ')}")
        else:
            raise outcome.error
    return out, problems


def _statistics(task: tuple[Path, np.ndarray, np.ndarray, FeatureConfig]) -> np.ndarray:
    from cheep.features import compute_features

    path, start_s, duration_s, config = task
    pcm = read_audio(path, config.sample_rate_hz)
    if len(pcm) < config.frame_samples:
        pcm = np.pad(pcm, (0, config.frame_samples - len(pcm)))
    mel = compute_features(pcm, config)  # (columns, n_mels)
    rows = []
    for start, duration in zip(start_s.tolist(), duration_s.tolist(), strict=True):
        first = min(round(start / config.hop_s), len(mel) - 1)
        part = mel[first : max(first + 1, first + round(duration / config.hop_s))]
        low, high = np.percentile(part, (10, 90), axis=0)
        rows.append(np.concatenate([part.mean(axis=0), part.std(axis=0), low, high]))
    return np.asarray(rows, np.float32)


def teach(
    manifest: Manifest,
    config: TeacherConfig,
    progress: Callable[[int, int], None] | None = None,
    jobs: int | None = None,
    statistics: np.ndarray | None = None,
) -> Teaching:
    """Ask a cross-validated model about every training window.

    Folds keep together what the split keeps together (recording, content, group).
    ``statistics`` : (rows of the manifest, d) float32: embeddings, or what :func:`window_statistics` gives; None: the
    latter, made here. Windows whose statistics are NaN (recordings that cannot be read) are not asked about.

    Raises
    ------
    CheepError
        Fewer than two labels, or fewer groups than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    splits = np.array(manifest.column("split"))
    rows = np.flatnonzero((splits == "train") | (splits == ""))
    if not rows.size:
        raise CheepError("no training windows in the manifest (column split)")
    problems: list[str] = []
    if statistics is None:
        x, problems = window_statistics(manifest.select(rows), config.features(), progress, jobs)
    else:
        x = statistics[rows]
    heard = np.isfinite(x).all(axis=1)
    if not heard.any():
        raise CheepError(f"not one training window can be heard{': ' + problems[0] if problems else ''}")
    rows, x = rows[heard], x[heard]
    mine = manifest.select(rows)
    labels = mine.labels
    if len(labels) < 2:
        raise CheepError(f"labels {labels}: the teacher needs at least 2 to tell apart (add --gaps or other species)")
    groups = components(mine, ("recording", "sha256", "group"))
    folds = min(config.folds, int(groups.max()) + 1)
    if folds < 2:
        raise CheepError("one group of recordings: the teacher needs at least 2 (see --group-by)")
    names = mine.column("label")
    place = {name: at for at, name in enumerate(labels)}
    y = np.array([place[name] for name in names])
    plausibility = np.full(len(manifest), np.nan, np.float32)
    everything = np.full((len(manifest), len(labels)), np.nan, np.float32)
    opinion = np.zeros(len(manifest), np.int64)
    fold = np.full(len(manifest), -1)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=config.seed)
    for number, (train, held) in enumerate(splitter.split(x, y, groups)):
        if not len(held):
            continue
        model = _judge(config, jobs)
        model.fit(x[train], y[train])
        probability = np.zeros((len(held), len(labels)), np.float32)
        probability[:, model.classes_] = model.predict_proba(x[held])
        plausibility[rows[held]] = probability[np.arange(len(held)), y[held]]
        everything[rows[held]] = probability
        opinion[rows[held]] = probability.argmax(axis=1)
        fold[rows[held]] = number
    doubtful: list[int] = []
    for at in range(len(labels)):
        of_label = rows[y == at]
        worst = of_label[np.argsort(plausibility[of_label], kind="stable")][: int(config.drop * len(of_label))]
        doubtful += worst[plausibility[worst] < config.below].tolist()
    asked = fold[rows] >= 0
    accuracy = float((opinion[rows][asked] == y[asked]).mean())
    doubtful.sort(key=lambda row: (float(plausibility[row]), row))
    return Teaching(plausibility, opinion, labels, fold[rows], doubtful, accuracy, everything, problems)


def _judge(config: TeacherConfig, jobs: int | None) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    if config.judge == "probe":
        return make_probe(config.strength, config.seed)
    return RandomForestClassifier(
        config.trees, class_weight="balanced", min_samples_leaf=2, n_jobs=jobs or -1, random_state=config.seed
    )


def read_kept(path: Path, n_rows: int) -> frozenset[int]:
    """Read the row numbers (from 1, as the contact sheet shows them) that a person wants to keep."""
    kept = set()
    for line, text in enumerate(read_text(path).splitlines(), 1):
        for word in text.replace(",", " ").split():
            if not word.isascii() or not word.isdigit() or not 1 <= int(word) <= n_rows:
                raise CheepError(f"{path}:{line}: {word[:20]!r}: must be a row number of 1 to {n_rows}")
            kept.add(int(word) - 1)
    return frozenset(kept)
