# SPDX-License-Identifier: MIT
"""The numbers of a report, computed once from :class:`RunResults` for HTML, Markdown and JSON alike."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from cheep.evaluate.intervals import grouped_proportion, proportion_interval
from cheep.evaluate.matching import IGNORE, add_counts, count_events, match_events
from cheep.evaluate.metrics import Curve, confusion_matrix, mean_of, per_class, predicted_classes, score_curve
from cheep.evaluate.temperature import Reliability, apply_temperature, reliability
from cheep.evaluate.windows import WindowScores
from cheep.files import plain
from cheep.report.results import RunResults, Soundscape
from cheep.report.words import Words, most_confused, plain_words

REST = "(none)"


@dataclasses.dataclass(frozen=True)
class TestContent:
    """What the scores on test windows give."""

    confusion_labels: tuple[str, ...]
    confusion: np.ndarray  # clips
    curves: tuple[tuple[str, Curve], ...]  # windows
    rows: list[dict[str, Any]]
    reliability_before: Reliability
    reliability_after: Reliability | None
    windows: int
    clips: int
    confusions: list[tuple[str, str, int, int]]  # true, predicted, clips, of the true label's


def test_content(run: RunResults) -> TestContent | None:
    """Compute curves, confusion (of clips), per-class rows and reliability from the test scores."""
    if run.test is None or not len(run.test.scores):
        return None
    windows, clips = run.test, run.test.clips()
    labels, table = clip_confusion(clips, run.reject_below)
    curves = []
    for i, label in enumerate(windows.labels):
        curve = score_curve(windows.targets[:, i] >= 0.5, windows.scores[:, i])
        if curve is not None:
            curves.append((label, curve))
    by_window = per_class(windows.labels, windows.targets, windows.scores, windows.activation)
    by_clip = per_class(clips.labels, clips.targets, clips.scores, clips.activation)
    rows: list[dict[str, Any]] = [
        {
            "label": w.label,
            "windows": w.rows,
            "clips": c.rows,
            "precision": c.precision,
            "recall": c.recall,
            "recall_interval": _recall_interval(clips, i),
            "f1": c.f1,
            "window_average_precision": w.average_precision,
            "window_roc_auc": w.roc_auc,
        }
        for i, (w, c) in enumerate(zip(by_window, by_clip, strict=True))
    ]
    mean = {
        name: mean_of([row[name] for row in rows])
        for name in ("precision", "recall", "f1", "window_average_precision", "window_roc_auc")
    }
    if len(rows) > 1:
        counts = {"windows": len(windows.scores), "clips": len(clips.scores)}
        rows.append({"label": "mean", **counts, "recall_interval": None, **mean})
    before = reliability(windows.targets, windows.scores.astype(np.float64), windows.activation)
    after = None
    if run.temperature is not None:
        probabilities = apply_temperature(windows.scores, run.temperature, windows.activation)
        after = reliability(windows.targets, probabilities, windows.activation)
    confusions = most_confused(labels, table)
    return TestContent(
        labels, table, tuple(curves), rows, before, after, len(windows.scores), len(clips.scores), confusions
    )


def words_of(run: RunResults, content: TestContent | None) -> Words:
    """Return what the report says in plain words."""
    return plain_words(run, content.rows if content else [], content.confusions if content else [])


def _recall_interval(clips: WindowScores, column: int) -> list[float] | None:
    rows = clips.targets[:, column] >= 0.5
    scores = clips.scores[rows]
    right = scores.argmax(axis=1) == column if clips.activation == "softmax" else scores[:, column] >= 0.5
    found = grouped_proportion(right, clips.groups[rows])
    return None if found is None or found.low is None or found.high is None else [found.low, found.high]


def clip_confusion(clips: WindowScores, reject_below: float | None) -> tuple[tuple[str, ...], np.ndarray]:
    """Return labels and the confusion matrix (rows true, columns predicted); a class "(none)" where it can occur.

    softmax: the largest score; sigmoid, or with a rejection threshold: "(none)" where no score reaches it.
    The matrix is (labels, labels) int64, of clips.
    """
    n = len(clips.labels)
    limit = reject_below if reject_below is not None else (None if clips.activation == "softmax" else 0.5)
    predicted = predicted_classes(clips.scores, limit)
    true = np.where(clips.targets.max(axis=1) >= 0.5, clips.targets.argmax(axis=1), n)
    table = confusion_matrix(true, predicted, n + 1)
    if table[n].any() or table[:, n].any():
        return (*clips.labels, REST), table
    return clips.labels, table[:n, :n]


def soundscape_content(scape: Soundscape) -> dict[str, Any]:
    """Match detections with annotations; return counts by label and in total."""
    matching = match_events(scape.detections, scape.annotations)
    hours = scape.duration_s / 3600
    labels = sorted(scape.labels - {IGNORE})
    rows = []
    parts = [(label, count_events(matching, hours, label)) for label in labels]
    if len(parts) > 1:
        total = dataclasses.replace(add_counts([part for _, part in parts]), hours=hours)
        parts.append(("all", total))
    for label, counts in parts:
        recall = proportion_interval(counts.found, counts.annotations) if counts.annotations else None
        rows.append(
            {
                "label": label,
                "annotations": counts.annotations,
                "found": counts.found,
                "detections": counts.detections,
                "false_alarms": counts.false_alarms,
                "false_alarms_per_hour": counts.false_alarms_per_hour,
                "precision": counts.precision,
                "recall": counts.recall,
                "f1": counts.f1,
                "recall_interval": [recall.low, recall.high] if recall else None,
            }
        )
    return {"name": scape.name, "duration_s": scape.duration_s, "rows": rows}


def to_dict(run: RunResults) -> dict[str, Any]:
    """Return the report's content as JSON-able values (no pictures, no sound)."""
    content = test_content(run)
    out: dict[str, Any] = {
        **({"choices": list(run.choices)} if run.choices else {}),
        "title": run.title,
        "labels": list(run.labels),
        "summary": list(run.summary),
        "model_sha256": run.model_sha256,
        "feature_hash": run.feature_hash,
        "cheep_version": run.cheep_version,
        "variants": [dataclasses.asdict(item) for item in run.variants],
        "variants_on": run.variants_on,
        "data": dataclasses.asdict(run.data) if run.data else None,
        "histories": [dataclasses.asdict(item) for item in run.histories],
        "mistakes": [
            {"source": m.source, "start_s": m.start_s, "true": m.true, "predicted": m.predicted, "score": m.score}
            for m in run.mistakes
        ],
        "soundscapes": [
            {
                **soundscape_content(scape),
                "detections": [item.to_dict() for item in scape.detections],
                "truth": [dataclasses.asdict(item) for item in scape.annotations],
            }
            for scape in run.soundscapes
        ],
        "words": dataclasses.asdict(words_of(run, content)),
        "thresholds": [dataclasses.asdict(item) for item in run.thresholds],
        "operating": [_operating(curve) for curve in run.operating],
        "temperature": run.temperature,
        "boards": [{**dataclasses.asdict(row), "fits": row.fits} for row in run.boards],
        "robustness": [dataclasses.asdict(row) for row in run.robustness],
        "tables": [{"caption": c, "head": list(h), "rows": [list(r) for r in rows]} for c, h, rows in run.tables],
        "intended_use": list(run.intended_use),
        "limits": list(run.limits),
        "settings": run.settings,
        "reproduce": list(run.reproduce),
        "next_command": run.next_command,
    }
    if content:
        out["test"] = {
            "windows": content.windows,
            "clips": content.clips,
            "confusion": {"labels": list(content.confusion_labels), "counts": content.confusion.tolist()},
            "per_class": content.rows,
            "reliability": content.reliability_before.to_dict(),
            "reliability_calibrated": content.reliability_after.to_dict() if content.reliability_after else None,
            "curves": [
                {
                    "label": label,
                    "roc_auc": curve.roc_auc,
                    "average_precision": curve.average_precision,
                    "equal_error_rate": curve.equal_error_rate,
                }
                for label, curve in content.curves
            ],
        }
    return plain(out)


def _operating(curve: Any) -> dict[str, Any]:
    return dataclasses.asdict(curve)
