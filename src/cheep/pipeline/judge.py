# SPDX-License-Identifier: MIT
"""Clip and patch metrics of a model with intervals, its confusion matrix, and what is out of distribution."""

from __future__ import annotations

from typing import Any

from cheep.config import EvaluateConfig
from cheep.evaluate.metrics import mean_of, per_class, predicted_classes
from cheep.evaluate.windows import WindowScores, accuracy, accuracy_interval, roc_auc, summarize
from cheep.report.content import clip_confusion


def judge(scores: dict[str, WindowScores], config: EvaluateConfig) -> dict[str, Any]:
    """Return metrics by split; of the test split (without one: validation) also intervals, confusion and per class."""
    split = "test" if "test" in scores else "val"
    part = scores[split]
    clips = part.clips()
    limit = config.unknown_below
    labels, table = clip_confusion(clips, limit)
    out: dict[str, Any] = {
        "split": split,
        "metrics": {name: summarize(values) for name, values in scores.items()},
        "clip_accuracy": {"value": accuracy(clips), "interval": accuracy_interval(clips)},
        "patch_accuracy": {"value": accuracy(part), "interval": accuracy_interval(part)},
        "confusion": {"labels": list(labels), "clips": table.tolist()},
        "per_class": [row.to_dict() for row in per_class(clips.labels, clips.targets, clips.scores, clips.activation)],
        "patch_roc_auc": roc_auc(part),
        "mean_average_precision": mean_of(
            [row.average_precision for row in per_class(part.labels, part.targets, part.scores, part.activation)]
        ),
    }
    if limit is not None:
        known = predicted_classes(clips.scores, limit) < len(clips.labels)
        right = clips.scores.argmax(axis=1) == clips.targets.argmax(axis=1)
        out["unknown"] = {
            "threshold": limit,
            "clips_rejected": int((~known).sum()),
            "accuracy_of_accepted": float(right[known].mean()) if known.any() else None,
            "errors_rejected": int((~known & ~right).sum()),
        }
    return out
