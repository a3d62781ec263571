# SPDX-License-Identifier: MIT
"""What later commands leave in a run folder, added to a report: calibration, field evaluation, robustness."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from cheep.ears.papers import sentences
from cheep.files import plain, read_json
from cheep.job.reference import REFERENCE
from cheep.report.results import OperatingCurve, RobustnessRow, RunResults

CALIBRATION, FIELD = "calibration.json", "field.json"


def with_extras(run: RunResults, folder: Path) -> RunResults:
    """Return ``run`` with what ``calibration.json`` and ``field.json`` of its folder say, if they are of its model."""
    calibration = _of_model(folder / CALIBRATION, run.model_sha256, "cheep calibrate")
    field = _of_model(folder / FIELD, run.model_sha256, "cheep evaluate")
    reference = _of_model(folder / REFERENCE, run.model_sha256, "cheep evaluate --reference")
    changes: dict[str, Any] = {}
    known = {item.label: item.value for item in run.thresholds}
    if calibration and any(
        known.get(item["label"], item["threshold"]) != item["threshold"] for item in calibration["labels"]
    ):
        calibration = None
    if field and "detector" in run.settings and plain(field.get("detector")) != plain(run.settings["detector"]):
        field = None
        old = (
            f"The evaluation on long recordings ({FIELD}) was made with other thresholds and is not shown: run cheep "
            "evaluate again."
        )
        changes["stale"] = f"{run.stale} {old}".strip()
    if calibration:
        changes["operating"] = tuple(_curve(item) for item in calibration["labels"])
        changes["temperature"] = (calibration.get("temperature") or {}).get("value")
    if field:
        changes["robustness"] = tuple(
            RobustnessRow(row["condition"], row["recall"], row["false_alarms_per_hour"])
            for row in field.get("robustness", ())
        )
        changes["tables"] = (*run.tables, _field_table(field))
    if reference:
        changes["tables"] = (*changes.get("tables", run.tables), _reference_table(run, reference))
        changes["limits"] = (*run.limits, *sentences([reference["paper"]]))
    return dataclasses.replace(run, **changes)


def _reference_table(
    run: RunResults, reference: dict[str, Any]
) -> tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return what a second opinion says: the ceiling beside the detector's figures, and how many alarms hold a call."""
    rows = []
    if ceiling := reference.get("ceiling"):
        own = next((item for item in run.variants if item.name.startswith("int8")), None)
        for name, key in (("clip accuracy", "clip_accuracy"), ("window accuracy", "window_accuracy"),
                          ("window ROC AUC", "window_auc")):  # fmt: skip
            mine = getattr(own, key, None)
            values = ("–" if value is None else f"{value:.3f}" for value in (mine, ceiling.get(key)))
            rows.append((name, *values))
        rows.append(("test windows whose label it doubts", "", str(reference.get("doubted", 0))))
    if alarms := reference.get("alarms"):
        rows.append(("strongest false alarms", str(len(alarms)), ""))
        rows.append(("of them it hears the label in", "", str(sum(bool(item["heard"]) for item in alarms))))
    model = reference["paper"]["model"]
    return f"A second opinion by {model}", ("", "this detector", f"probe on {model}, or {model}"), tuple(rows)


def _of_model(path: Path, sha256: str, made_by: str) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    values = read_json(path, made_by)
    return values if values.get("model_sha256") == sha256 else None


def _curve(item: dict[str, Any]) -> OperatingCurve:
    rate, recall = item["false_alarms_per_hour"], item["recall"]
    return OperatingCurve(
        label=item["label"],
        threshold=np.array(item["curve"]["threshold"], float),
        false_alarms_per_hour=np.array(item["curve"]["false_alarms_per_hour"], float),
        recall=np.array(item["curve"]["recall"], float),
        chosen_threshold=item["threshold"],
        chosen_false_alarms_per_hour=(rate["value"], rate["low"], rate["high"]),
        chosen_recall=(recall["value"], recall["low"], recall["high"]) if recall else None,
        hours=item["hours"],
        note=item["note"],
    )


def _field_table(field: dict[str, Any]) -> tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]]:
    head = ("label", "events", "found", "recall", "precision", "F1", "AP", "false alarms", "per hour")
    rows = tuple(
        (
            row["label"],
            str(row["annotations"]),
            str(row["found"]),
            *(_estimate(row[f"{name}_ci"]) for name in ("recall", "precision", "f1")),
            "–" if row["average_precision"] is None else f"{row['average_precision']:.3f}",
            str(row["false_alarms"]),
            _estimate(row["false_alarms_per_hour_ci"]),
        )
        for row in field["rows"]
    )
    return f"Held-out long recordings, {field['hours']:.2f} h (in brackets: 95 % intervals)", head, rows


def _estimate(value: dict[str, Any] | None) -> str:
    if value is None:
        return "–"
    text = f"{value['value']:.2f}"
    return text if value["low"] is None else f"{text} ({value['low']:.2f}–{value['high']:.2f})"
