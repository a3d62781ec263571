# SPDX-License-Identifier: MIT
"""Scores of windows and clips against their labels."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from cheep.evaluate.intervals import grouped_proportion


@dataclasses.dataclass(frozen=True)
class WindowScores:
    """Scores of n windows.

    ``targets`` and ``scores`` are (n, classes) float in 0..1, ``clip`` (n,) int ids of the recording or clip that a
    window belongs to, ``activation`` is ``softmax`` or ``sigmoid``; ``group`` (n,) int ids of what is alike
    (recordist, site, the same content), None where nothing but the clips is known.
    """

    labels: tuple[str, ...]
    activation: str
    targets: np.ndarray
    scores: np.ndarray
    clip: np.ndarray
    group: np.ndarray | None = None

    @property
    def groups(self) -> np.ndarray:
        """Ids, (n,) int64, of what an interval draws together, and a fit is judged on apart: groups, or else clips."""
        return self.clip if self.group is None else self.group

    def clips(self) -> WindowScores:
        """Return one row per clip: the mean of its windows' scores; a clip's target is that of most of its windows."""
        ids, first, inverse = np.unique(self.clip, return_index=True, return_inverse=True)
        count = np.bincount(inverse)[:, None]
        scores, targets = (np.zeros((len(ids), values.shape[1])) for values in (self.scores, self.targets))
        np.add.at(scores, inverse, self.scores)
        np.add.at(targets, inverse, self.targets)
        return dataclasses.replace(
            self,
            scores=(scores / count).astype(np.float32),
            targets=np.rint(targets / count).astype(np.float32),
            clip=ids,
            group=None if self.group is None else self.group[first],
        )


def right_rows(values: WindowScores) -> np.ndarray:
    """Return which rows are right, (n,) bool: softmax by the largest score, sigmoid by every score's side of 0.5."""
    if values.activation == "softmax":
        return values.scores.argmax(axis=1) == values.targets.argmax(axis=1)
    return np.all((values.scores >= 0.5) == (values.targets >= 0.5), axis=1)


def accuracy(values: WindowScores) -> float:
    """Return the share of rows that are right."""
    return float(np.mean(right_rows(values)))


def accuracy_interval(values: WindowScores) -> list[float] | None:
    """Return the 95 % interval of the accuracy, low and high, by groups; None where the data give none."""
    found = grouped_proportion(right_rows(values), values.groups)
    return None if found is None or found.low is None or found.high is None else [found.low, found.high]


def roc_auc(values: WindowScores) -> float | None:
    """Return the area under the ROC curve, averaged over the classes that have both kinds of rows (else None)."""
    from sklearn.metrics import roc_auc_score

    areas = [
        roc_auc_score(values.targets[:, i] >= 0.5, values.scores[:, i])
        for i in range(values.targets.shape[1])
        if 0 < (values.targets[:, i] >= 0.5).sum() < len(values.targets)
    ]
    return float(np.mean(areas)) if areas else None


def summarize(values: WindowScores) -> dict[str, Any]:
    """Return accuracy (with its 95 % interval by groups) and ROC AUC of windows and of clips, with their numbers."""
    clips = values.clips()
    return {
        "windows": len(values.scores),
        "window_accuracy": accuracy(values),
        "window_accuracy_interval": accuracy_interval(values),
        "window_auc": roc_auc(values),
        "clips": len(clips.scores),
        "clip_accuracy": accuracy(clips),
        "clip_accuracy_interval": accuracy_interval(clips),
        "clip_auc": roc_auc(clips),
    }
