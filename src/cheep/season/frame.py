# SPDX-License-Identifier: MIT
"""The clips of a season that a label may be in: what a sample is drawn from, and what estimates speak of.

A recording is cut into clips of equal length. Of each clip and one label are known, from stored scores alone:

score
    the largest smoothed score of the windows whose middle lies in it, as a logit;
detections
    how many detections have their peak in it (every detection has one);
found
    whether a detection reaches into it.

So precision and false alarms are counted by detections, presence and recall by clips, and both from one sample.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
from collections.abc import Callable, Sequence

import numpy as np

from cheep.config import DetectorConfig, nearest_name
from cheep.errors import CheepError
from cheep.season.events import detections_of
from cheep.season.schema import UNKNOWN, USABLE, Detection, ModelRow, Recording
from cheep.season.store import Season, read_part, read_scores, recording_of

CLIP_S = 3.0

_NOON = datetime.timedelta(hours=12)


@dataclasses.dataclass(frozen=True)
class Frame:
    """The clips of a season about one label, as columns of n rows.

    Attributes
    ----------
    score
        (n,) float32, logit.
    detections
        (n,) int16: peaks of detections in the clip.
    found
        (n,) bool: a detection reaches into the clip (also where ``detections`` is not 0).
    site, night, month
        (n,) int32, codes into ``sites``, ``nights``, ``months``.
    hours
        (n,) float32: length of the clip, h.
    recording
        (n,) int32, code into ``recordings``.
    start_s
        (n,) float32: start of the clip in its recording, s.
    """

    score: np.ndarray
    detections: np.ndarray
    found: np.ndarray
    site: np.ndarray
    night: np.ndarray
    month: np.ndarray
    hours: np.ndarray
    recording: np.ndarray
    start_s: np.ndarray
    sites: tuple[str, ...] = ("",)
    nights: tuple[str, ...] = ("",)
    months: tuple[str, ...] = ("",)
    recordings: tuple[str, ...] = ("",)
    clip_s: float = CLIP_S

    def __len__(self) -> int:
        return len(self.score)

    @property
    def total_hours(self) -> float:
        """Hours of all clips."""
        return float(self.hours.sum(dtype=np.float64))

    def take(self, rows: np.ndarray) -> Frame:
        """Return the rows of ``rows``, (k,) int or (n,) bool; the codes keep their meaning."""
        changed = {
            field.name: value[rows]
            for field in dataclasses.fields(self)
            if isinstance(value := getattr(self, field.name), np.ndarray)
        }
        return dataclasses.replace(self, **changed)


def frame_of_season(
    season: Season,
    model: ModelRow,
    label: str,
    *,
    detector: DetectorConfig | None = None,
    clip_s: float = CLIP_S,
    on_file: Callable[[int, int], None] | None = None,
) -> Frame:
    """Return the clips of a season about ``label``, from its stored scores.

    Parameters
    ----------
    season, model
        Of whose scores.
    detector
        Other settings than those of the season's detections (a lower threshold, to see what it would bring).
    clip_s
        Length of the clips, s; what remains at the end of a recording joins the last one, or is a clip where it is half
        as long.
    on_file
        Called with (recordings done, recordings).

    Raises
    ------
    CheepError
        The model has no such label, or the season no usable recording.
    """
    if label not in model.labels:
        raise CheepError(
            f"--label {label}: not a label of the model ({', '.join(model.labels)}){nearest_name(label, model.labels)}"
        )
    if not clip_s >= model.window_s / 2:
        raise CheepError(f"clip_s={clip_s:g}: must be at least half of the model's window ({model.window_s:g} s)")
    model = model if detector is None else dataclasses.replace(model, detector=detector)
    rows = [recording_of(values) for values in season.recordings().to_pylist()]
    rows = [row for row in rows if row.status in USABLE and row.length_s >= clip_s / 2]
    parts: dict[str, list[np.ndarray]] = collections.defaultdict(list)
    nights: list[str] = []
    months_of: list[str] = []
    for done, row in enumerate(rows, 1):
        path = season.part_path(model.model, row)
        scores = read_scores(path, model)
        found = read_part(path).detections if detector is None else detections_of(model, row, scores)
        columns = _clips_of(model, row, scores, [item for item in found if item.label == label], label, clip_s)
        nights += [night_of(row, at) for at in columns["start_s"]]
        months_of += [month_of(row, at) for at in columns["start_s"]]
        for name, values in columns.items():
            parts[name].append(values)
        parts["row"].append(np.full(len(columns["score"]), done - 1))
        if on_file is not None:
            on_file(done, len(rows))
    if not rows or not nights:
        raise CheepError(f"{season.folder}: no usable recording of {clip_s / 2:g} s or more; scan one (cheep scan)")
    columns = {name: np.concatenate(values) for name, values in parts.items()}
    row_of = columns.pop("row").astype(np.int32)
    site, sites = _coded([row.site for row in rows])
    night, night_names = _coded(nights)
    month, months = _coded(months_of)
    return Frame(
        **columns, site=site[row_of], night=night, month=month, recording=row_of, sites=sites, nights=night_names,
        months=months, recordings=tuple(row.recording for row in rows), clip_s=clip_s,
    )  # fmt: skip


def smoothed(model: ModelRow, scores: np.ndarray, label: str) -> np.ndarray:
    """Return the detector's smoothed scores of a label as logits, (windows,) float32, of raw scores int8."""
    scale, n = model.score_scale, model.detector.smoothing_windows
    values = scale.values(scores)[:, model.labels.index(label)] if len(scores) else np.zeros(0)
    total = np.cumsum(np.r_[np.zeros(n), values], dtype=np.float64)
    mean = (total[n:] - total[:-n]) / np.minimum(np.arange(1, len(values) + 1), n)
    return (mean if scale.logits else _logits(mean)).astype(np.float32)


def _logits(probability: np.ndarray) -> np.ndarray:
    """Return probabilities as logits; 0 and 1 as those of half a step of int8."""
    p = np.clip(probability, 1 / 512, 1 - 1 / 512)
    return np.log(p / (1 - p))


def _clips_of(
    model: ModelRow, row: Recording, scores: np.ndarray, found: Sequence[Detection], label: str, clip_s: float
) -> dict[str, np.ndarray]:
    """Return the columns of one recording's clips."""
    values = smoothed(model, scores, label)
    n = max(1, int(row.length_s / clip_s + 0.5))  # a rest of half a clip is one
    clip = np.minimum(((np.arange(len(values)) * model.stride_s + model.window_s / 2) / clip_s).astype(int), n - 1)
    score = np.full(n, -np.inf, np.float32)
    np.maximum.at(score, clip, values)
    score[np.isinf(score)] = values.min() if len(values) else -20.0  # too short for a window: nothing was heard
    peaks, reached = np.zeros(n, np.int16), np.zeros(n, bool)
    for item in found:
        windows = np.arange(item.first_window, item.last_window + 1)
        reached[clip[windows]] = True
        peaks[clip[item.first_window + int(np.argmax(values[windows]))]] += 1
    start = np.arange(n) * clip_s
    end = np.r_[start[1:], max(row.length_s, start[-1] + clip_s / 2)]
    return {
        "score": score, "detections": peaks, "found": reached, "start_s": start.astype(np.float32),
        "hours": ((end - start) / 3600).astype(np.float32),
    }  # fmt: skip


def night_of(row: Recording, at_s: float) -> str:
    """Return the date on whose evening a clip's night (noon to noon) began; unknown: the recording stands for it."""
    moment = _moment(row, at_s)
    return f"{UNKNOWN} {row.recording}" if moment is None else (moment - _NOON).date().isoformat()


def month_of(row: Recording, at_s: float) -> str:
    """Return the month of a clip by the calendar, as the summary has it; unknown where the time is."""
    moment = _moment(row, at_s)
    return UNKNOWN if moment is None else moment.isoformat()[:7]


def _moment(row: Recording, at_s: float) -> datetime.datetime | None:
    if row.start_local is None:
        return None
    return datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=row.start_local, seconds=float(at_s))


def _coded(texts: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    names, codes = np.unique(np.asarray(texts), return_inverse=True)
    return codes.astype(np.int32), tuple(str(name) for name in names)
