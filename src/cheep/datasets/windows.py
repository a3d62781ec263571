"""Windows of a recording: which become examples, which are left out, and why.

Windows start at multiples of ``hop_s`` within the file and lie wholly inside it; a file shorter than one window
is one window (training pads it). Training computes the features of a file once; window ``i`` takes the columns
from number ``round(start_s * sample_rate_hz / hop_samples)`` on, so that a hop of a whole number of columns
(the default 0.5 s is 20 columns of 25 ms) costs no rounding.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from cheep.config.data import WindowConfig
from cheep.datasets.activity import Levels, least_active_frames
from cheep.datasets.labels import Box

_LEAST_REST = 0.02  # of a window, behind the last one: about a column


@dataclasses.dataclass(frozen=True)
class Window:
    """A stretch of a file: kept under ``label`` or left out (``label`` empty), with the reason."""

    start_s: float
    duration_s: float
    label: str
    reason: str
    snr_db: float


def window_starts(begin_s: float, end_s: float, config: WindowConfig) -> list[float]:
    """Return the starts, s, of the windows within ``begin_s`` .. ``end_s`` of a file."""
    first = math.ceil(begin_s / config.hop_s - 1e-9)
    count = math.floor((end_s - config.window_s) / config.hop_s + 1e-6) - first + 1
    if count < 1:
        return [begin_s]
    starts = [round((first + number) * config.hop_s, 6) for number in range(count)]
    rest = end_s - config.window_s - starts[-1]
    if config.last and rest > _LEAST_REST * config.window_s:
        starts.append(round(end_s - config.window_s, 6))
    return starts


def choose_windows(
    levels: Levels | None,
    label: str,
    config: WindowConfig,
    begin_s: float,
    end_s: float,
    strong: bool = False,
    boxes: Sequence[Box] = (),
    speech: Sequence[tuple[float, float]] = (),
    others: frozenset[str] = frozenset(),
) -> list[Window]:
    """Return every window of ``begin_s`` .. ``end_s`` with its fate.

    Parameters
    ----------
    levels
        Activity of the whole file; ``None`` keeps every window without looking.
    label
        Label of the recording (weak) or of the marked stretch (``strong``).
    boxes
        Annotations of the file. Where there are any, they decide: a window belongs to the box it overlaps most.
    speech
        Stretches that sound like an announcement, s.
    others
        Labels of boxes that are no label of this data set: their windows are left out.
    """
    windows = []
    active_frames = least_active_frames(config.activity)
    for start in window_starts(begin_s, end_s, config):
        duration = min(config.window_s, end_s - start)
        snr = levels.window_db(start, duration, active_frames) if levels is not None else math.nan
        kept, reason = _fate(start, duration, snr, levels, label, config, strong, boxes, speech, others)
        windows.append(Window(start, round(duration, 6), kept, reason, round(snr, 1)))
    return _capped(windows, config)


def _fate(
    start: float,
    duration: float,
    snr: float,
    levels: Levels | None,
    label: str,
    config: WindowConfig,
    strong: bool,
    boxes: Sequence[Box],
    speech: Sequence[tuple[float, float]],
    others: frozenset[str],
) -> tuple[str, str]:
    end = start + duration
    if boxes:
        best = max(boxes, key=lambda box: _overlap(start, end, box.start_s, box.end_s))
        part = _overlap(start, end, best.start_s, best.end_s) / max(min(duration, best.end_s - best.start_s), 1e-9)
        if part >= config.box_overlap:
            if best.label in others:
                return "", "annotated as another label"
            return best.label or label, "annotated"
        if part > 0:
            return "", "edge of an annotation"
        if config.is_background(label):
            return label, "not annotated"
        if config.gaps and _is_quiet(levels, start, end, config):
            return config.background, "quiet gap"
        return "", "not annotated"
    if any(_overlap(start, end, *stretch) > 0.2 * duration for stretch in speech):
        return "", "speech-like"
    if strong:
        return label, "marked"
    if config.is_background(label):
        return label, "background"
    if levels is None or not config.selection:
        return label, "whole recording"
    if snr >= config.activity.threshold_db:
        return label, "active"
    if config.gaps and _is_quiet(levels, start, end, config):
        return config.background, "quiet gap"
    return "", "no activity"


def _overlap(start: float, end: float, other_start: float, other_end: float) -> float:
    return max(0.0, min(end, other_end) - max(start, other_start))


def _is_quiet(levels: Levels | None, start: float, end: float, config: WindowConfig) -> bool:
    if levels is None:
        return False
    margin = config.activity.quiet_margin_s
    begin, finish = max(0.0, start - margin), min(levels.duration_s, end + margin)
    return levels.window_db(begin, finish - begin, least_active_frames(config.activity)) < config.activity.quiet_db


def _capped(windows: list[Window], config: WindowConfig) -> list[Window]:
    """Keep the loudest examples and gaps spread evenly, as many as the limits allow."""
    result = list(windows)
    for reason, limit in (("quiet gap", config.gaps_per_recording), ("", config.max_per_recording)):
        mine = [
            at for at, window in enumerate(result) if window.label and (window.reason == "quiet gap") == bool(reason)
        ]
        if not limit or len(mine) <= limit:
            continue
        if reason:
            keep = {mine[(2 * number + 1) * len(mine) // (2 * limit)] for number in range(limit)}
        else:
            loudest = sorted(mine, key=lambda at: (-_or_zero(result[at].snr_db), at))
            keep = set(loudest[:limit])
        for at in mine:
            if at not in keep:
                result[at] = dataclasses.replace(result[at], label="", reason="over the limit per recording")
    return result


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value
