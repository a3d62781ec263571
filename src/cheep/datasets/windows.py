# SPDX-License-Identifier: MIT
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
from cheep.datasets.labels.boxes import Box

_LEAST_REST = 0.02  # of a window, behind the last one: about a column
NO_AUDIO = 0.95  # a window of which more than this part is exact zeros holds nothing
MUCH_SILENCE = 0.5  # and one of which more than this is, is no example of background
NOTHING_THERE = "annotated: nothing there"


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
    boxes: Sequence[Box] | None = None,
    speech: Sequence[tuple[float, float]] = (),
    others: frozenset[str] = frozenset(),
    zeros: Sequence[tuple[float, float]] = (),
) -> list[Window]:
    """Return every window of ``begin_s`` .. ``end_s`` with its fate.

    Parameters
    ----------
    levels
        Activity of the whole file; ``None`` keeps every window without looking.
    label
        Label of the recording (weak) or of the marked stretch (``strong``).
    boxes
        Annotations of the file; ``None``: there are none. Where there are, they decide: a window belongs to the box it
        overlaps most, or, where a model gave them scores, to the box of the highest score.
    speech
        Stretches that sound like an announcement, s.
    others
        Labels of boxes that are no label of this data set: their windows are left out.
    zeros
        Runs of exact zeros, s, in order: no audio, and no background either.
    """
    windows = []
    active_frames = least_active_frames(config.activity)
    marks = None if boxes is None else Marks.of(boxes)
    for start in window_starts(begin_s, end_s, config):
        duration = min(config.window_s, end_s - start)
        snr = levels.window_db(start, duration, active_frames) if levels is not None else math.nan
        silent = sum(_overlap(start, start + duration, *run) for run in zeros) / max(duration, 1e-9)
        if silent > NO_AUDIO and not config.keep_zeros:
            kept, reason = "", "no audio (exact zeros)"
        else:
            kept, reason = _fate(start, duration, snr, levels, label, config, strong, marks, speech, others, zeros)
            alone = end_s - begin_s <= config.window_s
            if kept and silent > MUCH_SILENCE and config.is_background(kept) and not alone:
                kept, reason = "", "no audio (exact zeros)"
        windows.append(Window(start, round(duration, 6), kept, reason, round(snr, 1)))
    return _capped(windows, config)


@dataclasses.dataclass(frozen=True)
class Marks:
    """Annotations of one file: boxes of species, and the stretches (merged, in order) in which nothing was found."""

    boxes: tuple[Box, ...]
    nothing: tuple[tuple[float, float], ...]
    scored: bool

    @classmethod
    def of(cls, boxes: Sequence[Box]) -> Marks:
        """Sort out ``boxes``."""
        merged: list[tuple[float, float]] = []
        for start, end in sorted((box.start_s, box.end_s) for box in boxes if box.nothing):
            if merged and start <= merged[-1][1] + 1e-6:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        species = tuple(box for box in boxes if not box.nothing)
        return cls(species, tuple(merged), any(box.score is not None for box in species))

    def best(self, start: float, end: float, least: float) -> tuple[Box | None, float]:
        """Return the box that a window belongs to, and the overlapped part of the shorter of the two (0..1)."""

        def part(box: Box) -> float:
            shorter = max(min(end - start, box.end_s - box.start_s), 1e-9)
            return _overlap(start, end, box.start_s, box.end_s) / shorter

        if not self.boxes:
            return None, 0.0
        if self.scored and (hits := [box for box in self.boxes if part(box) >= least]):
            found = max(hits, key=lambda box: (2.0 if box.score is None else box.score, part(box)))
        else:
            found = max(self.boxes, key=lambda box: _overlap(start, end, box.start_s, box.end_s))
        return found, part(found)


def _fate(
    start: float,
    duration: float,
    snr: float,
    levels: Levels | None,
    label: str,
    config: WindowConfig,
    strong: bool,
    marks: Marks | None,
    speech: Sequence[tuple[float, float]],
    others: frozenset[str],
    zeros: Sequence[tuple[float, float]],
) -> tuple[str, str]:
    end = start + duration
    gaps = config.gaps and _is_quiet(levels, start, end, config, zeros)
    if marks is not None:
        return _annotated(start, end, label, config, marks, others, gaps)
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
    if gaps:
        return config.background, "quiet gap"
    return "", "no activity"


def _annotated(
    start: float,
    end: float,
    label: str,
    config: WindowConfig,
    marks: Marks,
    others: frozenset[str],
    gap: bool,
) -> tuple[str, str]:
    best, part = marks.best(start, end, config.box_overlap)
    if best is not None and part >= config.box_overlap:
        if best.label in others:
            return "", "annotated as another label"
        return best.label or label, "annotated"
    if part > 0:
        return "", "edge of an annotation"
    if config.is_background(label):
        return label, "not annotated"
    if any(first <= start + 1e-6 and end - 1e-6 <= last for first, last in marks.nothing):
        return config.background, NOTHING_THERE
    if gap:
        return config.background, "quiet gap"
    return "", "not annotated"


def _overlap(start: float, end: float, other_start: float, other_end: float) -> float:
    return max(0.0, min(end, other_end) - max(start, other_start))


def _is_quiet(
    levels: Levels | None, start: float, end: float, config: WindowConfig, zeros: Sequence[tuple[float, float]]
) -> bool:
    if levels is None:
        return False
    margin = config.activity.quiet_margin_s
    begin, finish = max(0.0, start - margin), min(levels.duration_s, end + margin)
    if any(_overlap(begin, finish, *run) > 0 for run in zeros):
        return False
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
