# SPDX-License-Identifier: MIT
"""Did the field unit compute what this machine computes? Its clips are scored again, and compared with its rows.

A clip says at which of its samples the first event begins (clips of before 2026-11-27 begin a second before it, less
just behind a start), so the windows of the device lie at known samples of it: the same windows are scored here, in
the device's own path, and the peak of the smoothed score over the windows of the row must be the row's score, to the
last digit.

What the device heard before the clip, nobody knows, and PCEN and models with a state remember it for a while. So such
a clip is scored after four pasts that have nothing in common: none, silence, loud noise, the clip itself backwards.
Where all give the same score, the past is forgotten, and the row is judged. Where they do not, the row is not proven:
it is what some of them give, or lies between them, or not even that. Behind a gate the device has left windows out by
a floor that follows what came before: any one stretch of open windows may explain a row.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from cheep.device.bundle import ModelBundle
from cheep.device.scoring import WindowScorer, make_scorer, runnable_backend
from cheep.errors import CheepError

LEAD_S = 1.0
_ROWS = re.compile(r"\d{8}\.CSV", re.IGNORECASE)
_FIELDS = ("utc", "label", "score", "duration_s", "clip")
SAME, DIFFERS, CUT, NO_CLIP, UNREADABLE, UNKNOWN, LIKE, BETWEEN, OPEN = (
    "same", "differs", "cut", "no clip", "unreadable", "label unknown to the model",
    "same behind some pasts, not all", "between what different pasts give",
    "undecided: the clip begins too late for this model",
)  # fmt: skip
_PAST_S = 10.0
_PLACE = re.compile(rb"Cheep heard [^\0]* at sample (\d+)\.")
_COMMENT_BYTES = 512
_DIGIT = 1.5e-6  # of a score in a row: the last one, and half of it


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


def prove_card(
    folder: Path, bundle: ModelBundle, on_row: Callable[[int, int], None] = lambda done, total: None
) -> list[Proof]:
    """Compare every row of an AudioMoth's card with its clip; ``on_row`` is called with (done, total).

    Raises
    ------
    CheepError
        No rows, or a row that is none.
    """
    rows = [row for path in sorted(folder.iterdir()) if _ROWS.fullmatch(path.name) for row in _read_rows(path)]
    if not rows:
        raise CheepError(f"{folder}: no rows of a device (20260520.CSV, ...): name the folder of an AudioMoth's card")
    first: dict[str, float] = {}
    for row in rows:
        first[row.clip] = min(first.get(row.clip, row.start_s), row.start_s)
    network = make_scorer(bundle, runnable_backend(bundle, "compiled"))
    scorer = WindowScorer(_without_gate(bundle), network)
    found: list[Proof] = []
    for row in rows:
        on_row(len(found), len(rows))
        found.append(_prove(folder, bundle, scorer, row, row.start_s - first[row.clip]))
    on_row(len(found), len(rows))
    return found


def _without_gate(bundle: ModelBundle) -> ModelBundle:
    detector = bundle.detector.model_copy(update={"gate": None})
    return dataclasses.replace(bundle, detector=detector)


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
    path = folder / Path(row.clip).name
    try:
        pcm, found_rate = soundfile.read(path, dtype="int16")
        place = _place(path)
    except (OSError, soundfile.LibsndfileError):
        return told(UNREADABLE)
    if found_rate != rate or pcm.ndim != 1:
        return told(UNREADABLE)
    step = bundle.detector.stride_frames * bundle.features.hop_samples
    later = round(behind_s * rate / step) * step
    lead = round(LEAD_S * rate)
    # Of an older clip: a second before its first event, or less behind a start.
    places = [place] if place is not None else [lead, *range(0, lead, step)]
    best = None
    for before in places:
        pasts = [_peaks(bundle, scorer, pcm, before + later, row, past) for past in _pasts(bundle, pcm, step)]
        if not pasts[0]:
            if before == places[0]:
                return told(CUT)
            continue
        verdict, found = _verdict(row.score, pasts)
        if verdict in (SAME, LIKE, BETWEEN):
            return told(verdict, found)
        best = best or (verdict, found)
    return told(*best) if best else told(CUT)


def _place(path: Path) -> int | None:
    """Return at which sample of a clip its first event begins, by its comment; None: the clip does not say it."""
    with open(path, "rb") as file:
        found = _PLACE.search(file.read(_COMMENT_BYTES))
    return int(found[1]) if found else None


def remembers(bundle: ModelBundle) -> bool:
    """Return whether a model's scores depend on what it heard before its window (PCEN, states)."""
    return bundle.features.compression != "db" or bool(bundle.states)


def _pasts(bundle: ModelBundle, pcm: np.ndarray, step: int) -> list[np.ndarray]:
    """Return what may have sounded before a clip, (n,) int16 each, n a multiple of ``step``: nothing alike in them."""
    if not remembers(bundle):
        return [np.zeros(0, np.int16)]
    n = -(-round(_PAST_S * bundle.features.sample_rate_hz) // step) * step
    noise = np.random.default_rng(0).integers(-16384, 16384, n).astype(np.int16)
    return [np.zeros(0, np.int16), np.zeros(n, np.int16), noise, np.resize(pcm[::-1], n)]


def _verdict(score: float, pasts: list[list[float]]) -> tuple[str, float]:
    """Judge a row by the peaks that each past allows (one of them without a gate); the peak to show with it."""
    found = min((peak for peaks in pasts for peak in peaks), key=lambda peak: abs(peak - score))
    same = [any(abs(peak - score) < _DIGIT for peak in peaks) for peaks in pasts]
    if all(same):
        return SAME, found
    if all(peaks == pasts[0] for peaks in pasts):
        return DIFFERS, found
    if any(same):
        return LIKE, found
    inside = min(map(min, pasts)) - _DIGIT < score < max(map(max, pasts)) + _DIGIT
    return (BETWEEN if inside else OPEN), found


def _peaks(
    bundle: ModelBundle, scorer: WindowScorer, pcm: np.ndarray, at: int, row: _Row, past: np.ndarray
) -> list[float]:
    """Return the peak probabilities that an event may have whose first window begins at sample ``at``.

    Without a gate there is one. Empty: the clip is cut.
    """
    features, smoothing = bundle.features, bundle.detector.smoothing_windows
    step = bundle.detector.stride_frames * features.hop_samples
    span = features.frame_samples + (features.window_frames - 1) * features.hop_samples
    first = at // step
    last = max(first, first + round((row.duration_s * features.sample_rate_hz - span) / step))
    begin, sound = first - smoothing + 1, pcm[at % step : at % step + last * step + span]
    if begin < 0 or len(sound) < last * step + span:
        return []
    label = bundle.labels.index(row.label)
    scorer.reset()
    scorer.listen(np.concatenate([past, sound[: begin * step]]))
    scores = scorer.push(sound[begin * step :])[1][-(last + 1 - begin) :]
    runs = [(0, len(scores))]
    if bundle.detector.gate is not None:
        runs = [(a, b) for a in range(len(scores)) for b in range(a + 1, len(scores) + 1)]
    units = bundle.scale.units(scores)[:, label].astype(np.int64)
    sums = set()
    for a, b in runs:
        heard = units if bundle.detector.gate is None else np.full(len(scores), _idle_unit(bundle, label), np.int64)
        heard[a:b] = units[a:b]
        sums.add(int(np.convolve(heard, np.ones(smoothing, np.int64), "valid").max()))
    return [float(bundle.scale.peak(peak, smoothing)) for peak in sorted(sums)]


def _idle_unit(bundle: ModelBundle, label: int) -> int:
    assert bundle.detector.gate is not None
    return int(bundle.scale.units(np.array([bundle.detector.gate.idle], np.int8))[0, label])
