# SPDX-License-Identifier: MIT
"""A detector on held-out recordings, as the device would hear them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cheep.audio import list_audio
from cheep.datasets.labels.boxes import Box
from cheep.datasets.labels.matching import boxes_for, groups_for
from cheep.device.bundle import ModelBundle
from cheep.errors import CheepError
from cheep.evaluate.field import FieldResult, evaluate_field, load_recordings, robustness_table
from cheep.evaluate.matching import truth_of
from cheep.evaluate.streaming import ScoredRecording, ScoreTiming
from cheep.files import plain, write_json
from cheep.job import OnFile


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Recordings that a model was never trained on.

    ``annotations`` are tables of them (any that split reads), of files in ``audio`` (default: beside the table, or at
    the paths that it names); ``background`` are files or folders without any target, which belong together by
    ``background_group``, "file" or "folder". Annotations that a model made are believed from ``min_confidence`` on.
    """

    annotations: Path | None = None
    audio: Path | None = None
    background: Sequence[Path] = ()
    background_group: str = "file"
    min_confidence: float | None = None


def annotated_boxes(held_out: HeldOut) -> dict[Path, list[Box]]:
    """Return what is marked in each annotated recording (nothing: it is background).

    Raises
    ------
    CheepError
        Tables or recordings are not there, or cannot be read.
    """
    given = held_out.annotations
    if given is None:
        return {}
    audio = list_audio(_folder(given, held_out.audio)).audio
    return boxes_for([given], audio, held_out.min_confidence, every=True, named=held_out.audio is None)


def score_held_out(
    bundle: ModelBundle,
    held_out: HeldOut,
    boxes: Mapping[Path, list[Box]] | None = None,
    *,
    microphone: Callable[[], Any] | None = None,
    on_file: OnFile | None = None,
) -> list[ScoredRecording]:
    """Return the scores of held-out recordings through the device path.

    ``boxes`` are those of :func:`annotated_boxes`, where they have been read.

    Raises
    ------
    CheepError
        Nothing is named, is not there, or cannot be read.
    """
    given = held_out.annotations
    if given is None and not held_out.background:
        raise CheepError(
            "no held-out recordings: give --recordings EVENTS.csv (file,label,start_s,end_s) and/or --background FOLDER"
        )
    annotations, groups = {}, {}
    if given is not None:
        boxes = annotated_boxes(held_out) if boxes is None else boxes
        annotations = {str(path): events for path, events in truth_of(boxes, bundle.labels).items()}
        groups = {str(path): group for path, group in groups_for(given, list(boxes)).items()}
    return load_recordings(
        bundle, annotations, Path(), held_out.background, groups, on_file, microphone, held_out.background_group
    )


def evaluate_recordings(
    bundle: ModelBundle, recordings: Sequence[ScoredRecording], *, collar_s: float = 0.0, seed: int = 0
) -> FieldResult:
    """Return events found, missed and false, by label, with intervals by recording."""
    return evaluate_field(
        recordings, bundle.labels, bundle.detector, ScoreTiming.of(bundle), bundle.scale,
        rng=np.random.default_rng(seed), collar_s=collar_s,
    )  # fmt: skip


def spoil_recordings(
    bundle: ModelBundle, recordings: Sequence[ScoredRecording], *, seed: int = 0, on_file: OnFile | None = None
) -> list[dict[str, Any]]:
    """Return what is left of the detector when the same recordings are spoilt, one row per condition."""
    again = [(Path(item.name), item.annotations) for item in recordings]
    return robustness_table(bundle, again, bundle.detector, seed, progress=on_file)


def keep_evaluation(
    bundle: ModelBundle, result: FieldResult, spoilt: list[dict[str, Any]] | None = None, path: Path | None = None
) -> Path:
    """Write the result beside the model (``field.json``), or to ``path``; return where."""
    values: dict[str, Any] = {"hours": result.hours, "rows": [row.to_dict() for row in result.rows]}
    if spoilt is not None:
        values["robustness"] = spoilt
    values |= {"model_sha256": bundle.model.sha256, "detector": bundle.detector.to_dict()}
    path = path or bundle.path.parent / "field.json"
    write_json(path, plain(values))
    return path


def _folder(given: Path, audio: Path | None) -> Path:
    """Where the annotated recordings are."""
    if not given.exists():
        raise CheepError(f"{given}: no such file or folder (--recordings: annotations of held-out recordings)")
    folder = audio or (given if given.is_dir() else given.parent)
    if not folder.is_dir():
        raise CheepError(f"{folder}: no such folder (--audio: where the recordings of {given.name} are)")
    return folder
