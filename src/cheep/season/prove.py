# SPDX-License-Identifier: MIT
"""Did the field unit compute what this machine computes? Its clips are scored again, and compared with its rows.

A clip begins one second before its first event (less, just behind a start), so the windows of the device lie at known
samples of it: the same windows are scored here, in the device's own path, and the peak of the smoothed score over the
windows of the row must be the row's score, to the last digit.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import re
from pathlib import Path

import numpy as np
import soundfile

from cheep.device.bundle import ModelBundle
from cheep.device.scoring import WindowScorer, make_scorer, runnable_backend
from cheep.errors import CheepError

LEAD_S = 1.0
_ROWS = re.compile(r"\d{8}\.CSV", re.IGNORECASE)
_FIELDS = ("utc", "label", "score", "duration_s", "clip")
SAME, DIFFERS, CUT, NO_CLIP, UNREADABLE, UNKNOWN = (
    "same", "differs", "cut", "no clip", "unreadable", "label unknown to the model"
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Proof:
    """One row of a device: ``verdict`` about it, the score in it and the one found here (None: not compared)."""

    file: str
    line: int
    label: str
    clip: str
    verdict: str
    score: float
    found: float | None = None


@dataclasses.dataclass(frozen=True)
class _Row:
    file: str
    line: int
    start_s: float
    label: str
    score: float
    duration_s: float
    clip: str


def prove_card(folder: Path, bundle: ModelBundle) -> list[Proof]:
    """Compare every row of an AudioMoth's card with its clip.

    Raises
    ------
    CheepError
        No rows, a row that is none, or a model whose scores depend on sound before a clip.
    """
    _check_model(bundle)
    rows = [row for path in sorted(folder.iterdir()) if _ROWS.fullmatch(path.name) for row in _read_rows(path)]
    if not rows:
        raise CheepError(f"{folder}: no rows of a device (20260520.CSV, ...): name the folder of an AudioMoth's card")
    first: dict[str, float] = {}
    for row in rows:
        first[row.clip] = min(first.get(row.clip, row.start_s), row.start_s)
    scorer = WindowScorer(bundle, make_scorer(bundle, runnable_backend(bundle, "compiled")))
    return [_prove(folder, bundle, scorer, row, row.start_s - first[row.clip]) for row in rows]


def _check_model(bundle: ModelBundle) -> None:
    reason = ""
    if bundle.states:
        reason = "carries a state"
    elif bundle.features.compression != "db":
        reason = f"has features ({bundle.features.compression}) with a memory"
    elif bundle.detector.gate is not None:
        reason = "rests behind a gate that follows the noise"
    if reason:
        raise CheepError(f"{bundle.path}: {reason}: its scores cannot be computed again from a clip of some seconds")


def _read_rows(path: Path) -> list[_Row]:
    out = []
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        table = csv.DictReader(file)
        if not set(_FIELDS) <= set(table.fieldnames or ()):
            raise CheepError(
                f"{path}: must begin with the columns {', '.join(_FIELDS)}: it is no file of a device's rows"
            )
        for values in table:
            try:
                start = datetime.datetime.fromisoformat(values["utc"].replace("Z", "+00:00")).timestamp()
                score, duration = float(values["score"]), float(values["duration_s"])
            except (ValueError, TypeError, AttributeError):
                raise CheepError(
                    f"{path}: line {table.line_num}: no row of a device; a copy cut off? Copy it again"
                ) from None
            row = _Row(path.name, table.line_num, start, values["label"], score, duration, values["clip"] or "")
            out.append(row)
    return out


def _prove(folder: Path, bundle: ModelBundle, scorer: WindowScorer, row: _Row, behind_s: float) -> Proof:
    def told(verdict: str, found: float | None = None) -> Proof:
        return Proof(row.file, row.line, row.label, row.clip, verdict, row.score, found)

    if row.label not in bundle.labels:
        return told(UNKNOWN)
    if not row.clip:
        return told(NO_CLIP)
    rate = bundle.features.sample_rate_hz
    try:
        pcm, found_rate = soundfile.read(folder / Path(row.clip).name, dtype="int16")
    except (OSError, soundfile.LibsndfileError):
        return told(UNREADABLE)
    if found_rate != rate or pcm.ndim != 1:
        return told(UNREADABLE)
    step = bundle.detector.stride_frames * bundle.features.hop_samples
    lead = round(LEAD_S * rate)
    later = round(behind_s * rate / step) * step
    best = None
    for before in (lead, *range(0, lead, step)):  # the others: an event within a second of a start
        found = _peak(bundle, scorer, pcm, before + later, row)
        if found is not None and abs(found - row.score) < 1.5e-6:
            return told(SAME, found)
        best = found if best is None else best
        if found is None and before == lead:
            return told(CUT)
    return told(DIFFERS, best)


def _peak(bundle: ModelBundle, scorer: WindowScorer, pcm: np.ndarray, at: int, row: _Row) -> float | None:
    """Return the peak probability of an event whose first window begins at sample ``at``; None: the clip is cut."""
    features, smoothing = bundle.features, bundle.detector.smoothing_windows
    step = bundle.detector.stride_frames * features.hop_samples
    span = features.frame_samples + (features.window_frames - 1) * features.hop_samples
    offset = at % step
    first = at // step
    last = first + round((row.duration_s * features.sample_rate_hz - span) / step)
    scorer.reset()
    units = bundle.scale.units(scorer.push(pcm[offset:])[1])[:, bundle.labels.index(row.label)]
    if first < smoothing - 1 or last >= len(units):
        return None
    sums = np.convolve(units.astype(np.int64), np.ones(smoothing, np.int64), "valid")  # [i]: windows i .. i+smoothing-1
    peak = int(sums[first - smoothing + 1 : last - smoothing + 2].max())
    return float(bundle.scale.peak(peak, smoothing))
