# SPDX-License-Identifier: MIT
"""What the run folders hold: how far each one is, and how good."""

from __future__ import annotations

import dataclasses
import datetime
import json
from pathlib import Path
from typing import Any

from cheep import runs
from cheep.datasets.manifest import load_manifest
from cheep.errors import CheepError

#: How far a run is, last first: its files, and what it is called then.
_STAGES = (
    ("quantized", runs.MANIFEST),
    ("trained", runs.TRAINING),
    ("split", runs.DATASET),
)


@dataclasses.dataclass(frozen=True)
class RunOverview:
    """One run.

    ``changed`` is when its last file was written; ``clip_accuracy`` (with ``model`` that reached it, on ``split``) is
    None before training; ``model_bytes`` is the int8 model's size (None before there is one).
    """

    name: str
    folder: Path
    latest: bool
    changed: datetime.datetime
    stage: str
    labels: tuple[str, ...]
    model: str
    split: str
    clip_accuracy: float | None
    model_bytes: int | None
    total_bytes: int
    problem: str = ""


def list_runs() -> list[RunOverview]:
    """Return all runs of :func:`cheep.runs.runs_folder`, the last changed one last."""
    folder = runs.runs_folder()
    if not folder.is_dir():
        return []
    try:
        latest = runs.find_run().resolve()
    except CheepError:
        latest = None
    found = [overview(path, path.resolve() == latest) for path in folder.iterdir() if _is_run(path)]
    return sorted(found, key=lambda run: (run.changed, run.name))


def overview(run: Path, latest: bool = False) -> RunOverview:
    """Return what a run holds; a damaged file is named in ``problem``, not raised."""
    problems: list[str] = []
    training = _read(run / runs.TRAINING, problems)
    evaluation = _read(run / runs.EVALUATION, problems)
    manifest = _read(run / runs.MANIFEST, problems)
    metrics = {**training.get("metrics", {}), **evaluation.get("metrics", {})}
    model = next((name for name in ("int8", "float") if name in metrics), "")
    split = next((name for name in ("test", "val") if name in metrics.get(model, {})), "")
    files = [path for path in run.rglob("*") if path.is_file() and path.name != runs.LOCK]
    own = [path for path in files if path.parent == run]
    int8 = run / manifest.get("model", {}).get("file", runs.INT8_TFLITE)
    stage = next(name for name, file in _STAGES if (run / file).is_file())
    if stage == "quantized" and "calibration" in manifest:
        stage = "calibrated"
    return RunOverview(
        name=run.name,
        folder=run,
        latest=latest,
        changed=datetime.datetime.fromtimestamp(max(path.stat().st_mtime for path in own)),
        stage=stage,
        labels=tuple(manifest.get("labels") or training.get("labels") or _labels(run, problems)),
        model=model,
        split=split,
        clip_accuracy=metrics[model][split]["clip_accuracy"] if split else None,
        model_bytes=int8.stat().st_size if int8.is_file() else None,
        total_bytes=sum(path.stat().st_size for path in files),
        problem="; ".join(problems),
    )


def _is_run(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and any((path / file).is_file() for _, file in _STAGES)


def _labels(run: Path, problems: list[str]) -> tuple[str, ...]:
    try:
        return tuple(load_manifest(run / runs.DATASET).labels)
    except CheepError as error:
        problems.append(str(error))
        return ()


def _read(path: Path, problems: list[str]) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        values = None
    if not isinstance(values, dict):
        problems.append(f"{path.name}: damaged JSON")
        return {}
    return values
