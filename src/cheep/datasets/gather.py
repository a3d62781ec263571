# SPDX-License-Identifier: MIT
"""The recordings that the settings of a run name: folders, tables, noise, borrowed ones, annotations, other sets."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cheep.config import DataConfig, SourceConfig, nearest_name
from cheep.config.data import LABEL_SEPARATOR
from cheep.datasets.labels.boxes import Box, renamed_boxes
from cheep.datasets.labels.matching import boxes_for
from cheep.datasets.sources.folders import recordings_in_folder, recordings_in_noise_folder
from cheep.datasets.sources.lists import recordings_in_csv
from cheep.datasets.sources.recording import Recording, settled_labels
from cheep.errors import CheepError

GARBAGE = "garbage"


@dataclasses.dataclass(frozen=True)
class Gathered:
    """Recordings to train, validate and test on (``Recording.split`` where that is settled), others to calibrate int8
    ranges on, and annotations by audio file."""

    recordings: list[Recording]
    calibration: list[Recording]
    boxes: dict[Path, list[Box]]


def gather(config: DataConfig) -> Gathered:
    """Return the recordings that ``config`` names.

    Raises
    ------
    CheepError
        A missing file or column, an unknown label (with the nearest one), no recordings.
    """
    rng = np.random.default_rng(config.split.seed)
    named = config.folder or config.csv or not (config.test.folder or config.test.csv)
    found = _labelled(config, _of_source(config, config), rng) if named else []
    found = _for_targets(config, found)
    for folder in config.noise:
        found += recordings_in_noise_folder(folder, config.windows.background)
    if config.split.folds:
        found = [item for item in found if item.fold in config.split.folds]
    if not found and named:
        raise CheepError(f"data: no recordings are left (labels, folds {', '.join(config.split.folds)})")
    others: list[Recording] = []
    for folder in config.train_only:
        others += _in_split(recordings_in_folder(folder, config.labels), "train")
    for name, source in (("val", config.validation), ("test", config.test)):
        if source.folder or source.csv:
            others += _in_split(_renamed(config, _labelled(config, _of_source(config, source), rng)), name)
    calibration: list[Recording] = []
    if config.calibration.folder or config.calibration.csv:
        calibration = _labelled(config, _of_source(config, config.calibration), rng)
        calibration = _in_split(_renamed(config, calibration), "train")
    settled = settled_labels([*found, *others], config.windows, config.multi_label)
    found, others = settled[: len(found)], settled[len(found) :]
    labels = sorted({item.label for item in found or others})
    for item in others:
        if item.label not in labels:
            where = (
                "--train-only" if item.split == "train" else "data.validation" if item.split == "val" else "data.test"
            )
            raise CheepError(
                f"{item.path}: label {item.label!r} ({where}) is none of the data set's: {', '.join(labels)}"
                f"{nearest_name(item.label, labels)}"
            )
    found += others
    boxes: dict[Path, list[Box]] = {}
    if config.annotations:
        audio = sorted({recording.path for recording in found})
        boxes = boxes_for([Path(item) for item in config.annotations], audio, config.min_confidence)
        boxes = renamed_boxes(boxes, config.rename)
    return Gathered(found, calibration, boxes)


def _of_source(config: DataConfig, source: SourceConfig) -> list[Recording]:
    columns = dict(config.columns)
    if config.group_column:
        columns["group"] = config.group_column
    every = bool(config.garbage or config.multi_label)  # labels are chosen below
    labels = () if every else config.labels
    if source.folder and not (columns or config.include or config.exclude or source.audio_root):
        return recordings_in_folder(source.folder, labels)
    table = source.csv or str(Path(source.folder) / "metadata.csv")
    return recordings_in_csv(
        table, source.audio_root or None, columns, labels, config.include, config.exclude, config.suffix,
        config.windows.background, config.min_confidence,
    )  # fmt: skip


def _labelled(config: DataConfig, found: list[Recording], rng: np.random.Generator) -> list[Recording]:
    """Choose among labels where a recording may have several, and draw the garbage class."""
    if not (config.garbage or config.multi_label):
        return found
    names = [_parts(item.label) if config.multi_label else [item.label] for item in found]
    known = sorted({name for parts in names for name in parts})
    for name in config.labels:
        if name not in known:
            raise CheepError(f"label {name!r}: no recording has it{nearest_name(name, known)}; {', '.join(known)} do")
    wanted = set(config.labels) or set(known)
    out: list[Recording] = []
    others: dict[str, list[Recording]] = {}
    for item, parts in zip(found, names, strict=True):
        kept = sorted(part for part in parts if part in wanted)
        if kept or config.multi_label:
            out.append(dataclasses.replace(item, label=LABEL_SEPARATOR.join(kept) or config.windows.background))
        else:
            others.setdefault(item.label, []).append(item)
    for label in sorted(others):
        picked = rng.permutation(len(others[label]))[: config.garbage]
        out += [dataclasses.replace(others[label][i], label=GARBAGE) for i in sorted(picked)]
    return out


def _parts(label: str) -> list[str]:
    return [part.strip() for part in re.split("[,;]", label) if part.strip()]


def _for_targets(config: DataConfig, found: list[Recording]) -> list[Recording]:
    """Make what is no target background, and rename labels."""
    known = {recording.label for recording in found}
    for label in config.target:
        if label not in known:
            raise CheepError(f"--target {label}: no recording has this label{nearest_name(label, known)}")
    if config.target:
        background = config.windows.background
        found = [item if item.label in config.target else dataclasses.replace(item, label=background) for item in found]
    known = {recording.label for recording in found}
    for label in config.rename:
        if found and label not in known and not config.annotations:
            raise CheepError(f"--rename {label}=...: no such label{nearest_name(label, known)}")
    return _renamed(config, found)


def _renamed(config: DataConfig, found: list[Recording]) -> list[Recording]:
    return [dataclasses.replace(item, label=config.rename.get(item.label, item.label)) for item in found]


def _in_split(recordings: Sequence[Recording], split: str) -> list[Recording]:
    return [dataclasses.replace(item, split=split) for item in recordings]
