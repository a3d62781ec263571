# SPDX-License-Identifier: MIT
"""Whether a gate pays: how much of the background the network may rest on, and what events that costs."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from cheep.audio import open_audio
from cheep.config import DetectorConfig
from cheep.config.detector import GateConfig
from cheep.detector.gate import distances
from cheep.device.bundle import ModelBundle
from cheep.errors import CheepError
from cheep.evaluate.intervals import Estimate, grouped_proportion
from cheep.evaluate.matching import match_events
from cheep.evaluate.streaming import ScoredRecording, ScoreTiming, detect
from cheep.evaluate.verifying import background_windows
from cheep.parallel import map_each

#: A gate is worth its trouble where it lets the network rest on so much of the background, ...
LEAST_SKIPPED = 0.7
#: ... and loses at most this share of the events that are found without it.
MOST_LOST = 0.005
_MARGINS = 48
_BANDS_HZ = (0.0, 500.0, 900.0)
_SHIFTS = (5, 6, 7)
_HOLDS = (0, 1, 2)


@dataclasses.dataclass(frozen=True)
class GateChoice:
    """A gate, and what it does to held-out recordings.

    ``skipped`` is the share of windows without an annotation that the network does not run on, ``lost`` the share of
    the ``events`` found without the gate that are not found with it; both with intervals by group. ``run`` is the
    share of all windows that it does run on, ``openings`` that of those on which it begins to, of ``hours``.
    """

    config: GateConfig
    skipped: Estimate
    lost: Estimate
    events: int
    run: float
    openings: float
    hours: float

    def pays(self, least_skipped: float = LEAST_SKIPPED, most_lost: float = MOST_LOST) -> bool:
        """Whether it skips enough and loses little enough, both in expectation."""
        return self.skipped.value >= least_skipped and self.lost.value <= most_lost

    def doubt(self, most_lost: float = MOST_LOST) -> str:
        """Return why the recordings do not show that so few events are lost; empty where they do."""
        high = self.lost.high
        if high is not None and high <= most_lost:
            return ""
        most = "any share" if high is None else f"as many as {high:.1%}"
        return (
            f"{self.events} events do not show that at most {most_lost:.1%} are lost: {most} is possible; more of them "
            f"tell (some {round(3 / most_lost)} of which none is lost)"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {
            "skipped": self.skipped.to_dict(),
            "lost": self.lost.to_dict(),
            "events": self.events,
            "run": round(self.run, 4),
            "openings": round(self.openings, 4),
            "hours": round(self.hours, 3),
        }

    def text(self) -> str:
        """Return what it does, for people."""
        return (
            f"the network rests on {self.skipped.text(1, 100, ' %')} of the background and loses "
            f"{self.lost.text(2, 100, ' %')} of {self.events} events ({self.hours:.2f} h; 95 % intervals by group)"
        )


@dataclasses.dataclass(frozen=True)
class _Recording:
    """Scores and truth of one recording, and the distances that each form of gate sees."""

    scored: ScoredRecording
    distances: dict[tuple[int, int], np.ndarray]
    background: np.ndarray  # windows without any annotation, bool


def choose_gate(
    bundle: ModelBundle,
    recordings: Sequence[ScoredRecording],
    detector: DetectorConfig,
    *,
    most_lost: float = MOST_LOST,
    microphone: Callable[[], Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> GateChoice:
    """Return the gate that skips most of the background and loses at most ``most_lost`` of the events.

    Parameters
    ----------
    bundle : ModelBundle
        Without a gate: its scores are those of every window.
    recordings
        Scored by it; their names are their files.
    detector : DetectorConfig
        With the thresholds that count.

    Raises
    ------
    CheepError
        A recurrent network, which must hear every window; no annotated event is found, so that none can be lost.
    """
    if bundle.states:
        raise CheepError(f"{bundle.path}: a network with a state hears every window; it cannot be gated")
    forms = _forms(bundle)
    work = functools.partial(_hear, bundle, forms, microphone)
    names = [item.name for item in recordings]
    heard = [outcome.value for outcome in map_each(work, names, progress=progress)]
    timing = ScoreTiming.of(bundle)
    pairs = zip(recordings, heard, strict=True)
    known = [_Recording(item, found, background_windows(item, timing)) for item, found in pairs]
    before = [_found(item.scored.scores, item.scored, detector, bundle, timing) for item in known]
    if not any(found.any() for found in before):
        raise CheepError(
            "no annotated event is found at these thresholds, so nobody can tell what a gate would lose: give "
            "annotated recordings (--recordings)"
        )
    idle = _idle(known, bundle)
    choices = []
    for form, hold in itertools.product(forms, _HOLDS):
        values = np.concatenate([item.distances[form] for item in known])
        margins = np.unique(np.floor(np.quantile(values, np.linspace(0, 1, _MARGINS)) * 16) / 16)
        gates = [
            GateConfig(
                margin=float(max(0.0, margin)), idle=idle, first_band=form[0], floor_shift=form[1],
                hold_windows=hold,
            )
            for margin in margins
        ]  # fmt: skip
        choices.append(_best(gates, known, before, detector, bundle, timing, most_lost))
    return max(choices, key=lambda choice: choice.skipped.value)


def _forms(bundle: ModelBundle) -> list[tuple[int, int]]:
    """First band and floor shift of each gate that is tried."""
    from cheep.features import mel_points_hz

    centres = mel_points_hz(bundle.features)[1:-1]
    bands = sorted({int(np.searchsorted(centres, hz)) for hz in _BANDS_HZ})
    return [(band, shift) for band in bands if band < len(centres) for shift in _SHIFTS]


def _hear(
    bundle: ModelBundle, forms: Iterable[tuple[int, int]], microphone: Callable[[], Any] | None, path: str
) -> dict[tuple[int, int], np.ndarray]:
    """Distances of one recording's windows, for each form of gate."""
    from cheep.features import FrontendStream, quantize

    stream = FrontendStream(bundle.features)
    heard_by = None if microphone is None else microphone()
    parts = [np.zeros((0, bundle.features.n_mels), np.int8)]
    for block in open_audio(path, bundle.features.sample_rate_hz)[1]:
        block = block if heard_by is None else heard_by.push(block)
        parts.append(quantize(stream.push(block), bundle.input.scale, bundle.input.zero_point))
    columns = np.concatenate([part.reshape(-1, bundle.features.n_mels) for part in parts])
    frames, stride = bundle.features.window_frames, bundle.detector.stride_frames
    none = (0,) * len(bundle.labels)
    out = {}
    for band, shift in forms:
        config = GateConfig(margin=0, idle=none, first_band=band, floor_shift=shift)
        out[band, shift] = distances(columns, frames, stride, config)
    return out


def _idle(known: Sequence[_Recording], bundle: ModelBundle) -> tuple[int, ...]:
    """What the network typically says to background: its middle scores."""
    rows = np.concatenate([item.scored.scores[item.background] for item in known])
    rows = rows if len(rows) else np.concatenate([item.scored.scores for item in known])
    return tuple(int(value) for value in np.floor(np.median(rows, axis=0)))


def _found(
    scores: np.ndarray, item: ScoredRecording, detector: DetectorConfig, bundle: ModelBundle, timing: ScoreTiming
) -> np.ndarray:
    detections = detect(scores, detector, bundle.labels, timing, bundle.scale)
    return np.array(match_events(detections, item.annotations).found, bool)


def opened(distance: np.ndarray, config: GateConfig) -> np.ndarray:
    """Return of each window, (n,) float, whether the network runs on it, bool: as ``cheep_gate_window`` decides."""
    over = np.asarray(distance) >= config.margin
    out = over.copy()
    for behind in range(1, config.hold_windows + 1):
        out[behind:] |= over[:-behind]
    return out


def _judge(
    gate: GateConfig, known: Sequence[_Recording], before: Sequence[np.ndarray], detector: DetectorConfig,
    bundle: ModelBundle, timing: ScoreTiming,
) -> GateChoice:  # fmt: skip
    skipped, groups, lost, lost_groups, run, openings = [], [], [], [], 0, 0
    for item, found in zip(known, before, strict=True):
        open_ = opened(item.distances[gate.first_band, gate.floor_shift], gate)
        run += int(open_.sum())
        openings += int(np.sum(open_[1:] & ~open_[:-1])) + int(open_[:1].sum())
        skipped.append(~open_[item.background])
        groups += [item.scored.group] * int(item.background.sum())
        if found.any():
            scores = np.where(open_[:, None], item.scored.scores, np.array(gate.idle, np.int8))
            lost.append(~_found(scores, item.scored, detector, bundle, timing)[found])
            lost_groups += [item.scored.group] * int(found.sum())
    nothing = Estimate(0.0)
    windows = sum(len(item.scored.scores) for item in known)
    return GateChoice(
        config=gate,
        skipped=grouped_proportion(np.concatenate(skipped), groups) or nothing,
        lost=grouped_proportion(np.concatenate(lost), lost_groups) or nothing,
        events=len(lost_groups),
        run=run / max(1, windows),
        openings=openings / max(1, windows),
        hours=sum(item.scored.duration_s for item in known) / 3600,
    )


def _best(
    gates: Sequence[GateConfig], known: Sequence[_Recording], before: Sequence[np.ndarray], detector: DetectorConfig,
    bundle: ModelBundle, timing: ScoreTiming, most_lost: float,
) -> GateChoice:  # fmt: skip
    """The largest margin that loses little enough; a larger one loses more, so half of what is left is tried next."""
    low, high = 0, len(gates) - 1
    best = _judge(gates[0], known, before, detector, bundle, timing)
    while low < high:
        middle = (low + high + 1) // 2
        choice = _judge(gates[middle], known, before, detector, bundle, timing)
        if choice.lost.value <= most_lost:
            low, best = middle, choice
        else:
            high = middle - 1
    return best
