# SPDX-License-Identifier: MIT
"""The windows of a run: its examples with their features, by split."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from cheep import runs
from cheep.config import FeatureConfig, TrainConfig
from cheep.datasets.about import refuse_contradiction
from cheep.datasets.manifest import Manifest, load_manifest
from cheep.datasets.soft import SOFT_LABELS, read_soft
from cheep.errors import CheepError
from cheep.files import needed
from cheep.job import OnFile
from cheep.training.data import LabelPlan, WindowSet, load_cache, window_set


@dataclasses.dataclass(frozen=True)
class Windows:
    """The run's windows by split, and what the labels mean."""

    plan: LabelPlan
    features: FeatureConfig
    splits: dict[str, WindowSet]
    manifest: Manifest


def plan_of(run: Path, config: TrainConfig) -> LabelPlan:
    """Return what the outputs of a network trained on this run will mean."""
    return LabelPlan.of(load_manifest(needed(run / runs.DATASET, runs.SPLIT_COMMAND)), config)


def load_windows(
    run: Path,
    features: FeatureConfig,
    config: TrainConfig,
    on_file: OnFile | None = None,
    only: str = "",
) -> Windows:
    """Read ``dataset.csv`` of a run, compute (or reuse) the features, and return the windows by split.

    With ``only`` the windows of this split, whose recordings alone must be there.
    """
    manifest = load_manifest(needed(run / runs.DATASET, runs.SPLIT_COMMAND))
    refuse_contradiction(run / runs.DATASET, manifest, features)
    plan = LabelPlan.of(manifest, config)
    if only:
        rows = manifest.of_split(only)
        complete = all((manifest.folder / path).is_file() for path in set(manifest.column("path")))
        cache = load_cache(manifest if complete or not len(rows) else rows, features, run / "features", on_file)
        return Windows(plan, features, {only: window_set(rows, cache, plan)}, manifest)
    cache = load_cache(manifest, features, run / "features", on_file)
    splits = {name: window_set(manifest.of_split(name), cache, plan) for name in ("train", "val", "test")}
    if config.soft_weight:
        soft = read_soft(run / SOFT_LABELS)
        part = splits["train"]
        targets = soft.blend(manifest.of_split("train"), part.targets, plan.labels, config.soft_weight)
        splits["train"] = dataclasses.replace(part, targets=targets)
    if features.compression != "db" or (config.teacher_model and "pcen" in config.teachers):
        splits["train"] = with_levels(splits["train"], manifest, run)
    for name in ("train", "val"):
        if not len(splits[name]):
            raise CheepError(
                f"{run / runs.DATASET}: no windows in split {name!r}; split again with {runs.SPLIT_COMMAND}"
            )
    return Windows(plan, features, splits, manifest)


def with_levels(part: WindowSet, manifest: Manifest, run: Path) -> WindowSet:
    """Return the windows with the same stretches of sound in dB beside them."""
    levels = part.cache.config.alone("db")
    return dataclasses.replace(part, levels=load_cache(manifest, levels, run / "features"))


def describe_data(run: Path, windows: Windows) -> dict[str, Any]:
    """Return what the model was trained on: hash of the manifest, counts by label and split."""
    counts: dict[str, dict[str, int]] = {}
    for label, split in zip(windows.manifest.column("label"), windows.manifest.column("split"), strict=True):
        counts.setdefault(label, {}).setdefault(split, 0)
        counts[label][split] += 1
    return {
        "dataset_sha256": hashlib.sha256((run / runs.DATASET).read_bytes()).hexdigest(),
        "windows": counts,
        "recordings": len(set(windows.manifest.column("recording"))),
        "hours": round(float(np.sum(windows.manifest.duration_s)) / 3600, 3),
    }
