# SPDX-License-Identifier: MIT
"""Verdicts as a Whombat project, and back (AOEF, the JSON of the ``soundevent`` package, which reads and writes it).

A clip is an annotation task of its own. A label that is there is a tag (and each box a sound event with its tag); a
task is "completed" where somebody was sure. Tags ``verdict:LABEL`` hold the verdicts word by word; a project that
Whombat's users made has none: then a tag is a verdict "right" about it, and a completed clip without a tag of a label
that the model has is a verdict "wrong" about this label.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cheep.errors import CheepError
from cheep.files import atomic_path
from cheep.season.lookup import Found, Recordings
from cheep.season.verdicts import ANSWERS, Judgement, MarkedBox, Verdict, judge

_VERDICT = "verdict:"
_LABEL = "event"
_SPACE = uuid.UUID("5ad0e3a5-9d9f-5d2e-8f52-2f2b6a0c7f11")  # names of clips and tasks: the same season, the same ids


def write_whombat(path: Path, verdicts: Iterable[Verdict], recordings: Recordings) -> None:
    """Write an annotation project; its recordings must be readable (rate and length stand in it)."""
    data, io = _soundevent()
    made: dict[str, Any] = {}
    annotations, tasks = [], []
    for clip, judgement in judge(verdicts).items():
        recording = made.setdefault(clip.recording, None) or _recording(data, recordings, clip.recording)
        made[clip.recording] = recording
        name = "/".join(map(str, clip))
        heard = data.Clip(
            uuid=uuid.uuid5(_SPACE, name), recording=recording, start_time=clip.start_ms / 1000,
            end_time=clip.end_ms / 1000,
        )  # fmt: skip
        annotations.append(
            data.ClipAnnotation(
                uuid=uuid.uuid5(_SPACE, name + "/annotation"),
                clip=heard,
                tags=_tags(data, judgement),
                sound_events=[event for item in judgement.answers for event in _events(data, recording, item)],
            )
        )
        badges = [] if judgement.present is None else [data.StatusBadge(state=data.AnnotationState.completed)]
        tasks.append(data.AnnotationTask(uuid=uuid.uuid5(_SPACE, name + "/task"), clip=heard, status_badges=badges))
    project = data.AnnotationProject(name=path.stem, clip_annotations=annotations, tasks=tasks)
    with atomic_path(path) as part:
        io.save(project, part)


def read_whombat(path: Path, recordings: Recordings, labels: Iterable[str], found: Found) -> None:
    """Read an annotation project or set into ``found``."""
    data, io = _soundevent()
    try:
        project = io.load(path)
    except Exception as error:  # whatever a parser of JSON, of AOEF or pydantic says of a foreign file
        raise CheepError(f"{path}: not a Whombat project (AOEF JSON): {str(error).splitlines()[0][:200]}") from None
    if not hasattr(project, "clip_annotations"):
        raise CheepError(f"{path}: holds no annotations (a Whombat annotation project or set does)")
    done = {
        task.clip.uuid
        for task in getattr(project, "tasks", ())
        if any(badge.state == data.AnnotationState.completed for badge in task.status_badges)
    }
    for annotation in project.clip_annotations:
        recording = recordings.find(str(annotation.clip.recording.path))
        if recording is None:
            found.passed_over["of recordings that the season does not have"] += 1
            continue
        found.verdicts += _verdicts(annotation, recording, tuple(labels), annotation.clip.uuid in done)


def _verdicts(annotation: Any, recording: str, labels: tuple[str, ...], done: bool) -> list[Verdict]:
    start, end = annotation.clip.start_time, annotation.clip.end_time
    boxes = [box for event in annotation.sound_events for box in _boxes(event)]
    said = [tag for tag in annotation.tags if tag.term.label.startswith(_VERDICT)]
    out: list[Verdict] = []
    for tag in said:
        label = tag.term.label.removeprefix(_VERDICT)
        answer, reviewer, ask, other = (*tag.value.split("|"), "", "", "", "")[:4]
        if answer not in ANSWERS:
            raise CheepError(f"verdict {tag.value!r} of {recording}: must begin with one of {', '.join(ANSWERS)}")
        marked = tuple(boxes) if not out else ()
        out.append(
            Verdict(
                recording,
                label,
                start,
                end,
                answer,
                reviewer=reviewer,
                other=other,
                boxes=marked,
                ask=int(ask or 0),
                source="whombat",
            )
        )
    if said:
        return out
    there = {tag.value for tag in annotation.tags} | {box.label for box in boxes}
    for label in sorted(there):
        own = tuple(box for box in boxes if box.label == label)
        out.append(Verdict(recording, label, start, end, "right", boxes=own, source="whombat"))
    if done:
        out += [
            Verdict(recording, label, start, end, "wrong", source="whombat") for label in labels if label not in there
        ]
    return out


def _tags(data: Any, judgement: Judgement) -> list[Any]:
    tags = [_tag(data, _LABEL, judgement.clip.label)] if judgement.present else []
    tags += [_tag(data, _LABEL, label) for label in judgement.others]
    for item in judgement.answers:
        value = "|".join((item.answer, item.reviewer, str(item.ask), item.other))
        tags.append(_tag(data, _VERDICT + item.label, value))
    return tags


def _tag(data: Any, key: str, value: str) -> Any:
    known = data.term_from_key(key) if key == _LABEL else None
    term = known or data.Term(name=key, label=key, definition=f"Cheep: {key}")
    return data.Tag(term=term, value=value)


def _events(data: Any, recording: Any, verdict: Verdict) -> list[Any]:
    out = []
    for box in verdict.boxes:
        if box.low_hz is None or box.high_hz is None:
            geometry = data.TimeInterval(coordinates=[box.start_s, box.end_s])
        else:
            geometry = data.BoundingBox(coordinates=[box.start_s, box.low_hz, box.end_s, box.high_hz])
        event = data.SoundEvent(recording=recording, geometry=geometry)
        out.append(data.SoundEventAnnotation(sound_event=event, tags=[_tag(data, _LABEL, box.label)]))
    return out


def _boxes(event: Any) -> Iterable[MarkedBox]:
    geometry = event.sound_event.geometry
    if geometry is None or not event.tags or geometry.type not in ("BoundingBox", "TimeInterval"):
        return
    at = geometry.coordinates
    for tag in event.tags:
        if geometry.type == "BoundingBox":
            yield MarkedBox(at[0], at[2], tag.value, at[1], at[3])
        else:
            yield MarkedBox(at[0], at[1], tag.value)


def _recording(data: Any, recordings: Recordings, name: str) -> Any:
    from cheep.audio import probe

    path = recordings.path(name)
    info = probe(path)
    return data.Recording(
        uuid=uuid.uuid5(_SPACE, name), path=path, duration=info.duration_s, channels=info.channels,
        samplerate=info.sample_rate_hz,
    )  # fmt: skip


def _soundevent() -> tuple[Any, Any]:
    with contextlib.suppress(ImportError):
        from soundevent import data, io

        return data, io
    raise CheepError("Whombat projects need the package soundevent: pip install -r requirements-exchange.txt")
