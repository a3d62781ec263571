# SPDX-License-Identifier: MIT
"""What calibration found of each label, in words and as JSON."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from cheep.config import DetectorConfig
from cheep.evaluate.gating import GateChoice
from cheep.evaluate.intervals import Estimate
from cheep.evaluate.verifying import VerifyChoice

MIN_GROUPS = 5  # fewer say little about how unlike others are
NARROW = 3.0  # an interval is called narrow where it ends below so many times the expectation


@dataclasses.dataclass(frozen=True)
class LabelCalibration:
    """What calibration found for one label.

    ``rate`` is false alarms per hour to expect (with the interval of the long run), ``observed`` those counted in
    ``hours`` of ``groups`` groups of recordings; ``recall`` of annotated events (None without any). ``new_rate`` is
    between how many false alarms per hour ``new_hours`` of new recordings will show. ``dispersion`` is the spread
    between groups. ``met``: the target is met in expectation; ``promised``: also at its upper end. ``hours_needed`` and
    ``groups_needed``: how many hours, of how many groups like these, without any false alarm would promise it.
    ``narrow_hours``: with how many hours in all, of groups like these, the interval would end at three times the
    expectation (None: not with a thousand times as many, or nothing was counted). ``loudest``: the group with the most
    false alarms, and how many. ``unfloored``: the threshold that these recordings alone would have given, where it is
    below the model's own and they are too few for the target. ``season``: what is to be said instead where verdicts on
    a season chose the threshold, which foretell nothing of other recordings.
    """

    label: str
    threshold: float
    rate: Estimate
    observed: int
    hours: float
    recordings: int
    groups: int
    dispersion: float
    new_hours: float
    new_rate: tuple[float, float]
    annotations: int
    recall: Estimate | None
    target: float
    met: bool
    promised: bool
    hours_needed: float
    groups_needed: float
    curve: dict[str, list[float | None]]
    narrow_hours: float | None = None
    loudest: tuple[str, int] | None = None
    unfloored: float | None = None
    season: str = ""

    @property
    def too_few(self) -> bool:
        """Whether the recordings are too few to speak of the target."""
        return not (self.met or self.promised)

    def note(self) -> str:
        """Return what can be promised, what keeps the threshold up, and what new recordings will show."""
        if self.season:
            return self.season
        if self.promised:
            return (
                f"at most {self.target:.3g} false alarms per hour in the long run, promised with "
                f"{self.rate.confidence:.0%} confidence from {self.hours:.2f} h{_foretold([self])}"
            )
        if self.too_few:
            return f"{_too_few([self])}{_floor([self])}{_foretold([self])}"
        return (
            f"{_text(self.rate.value)} false alarms per hour are expected, {_text(self.rate.low)} to "
            f"{_text(self.rate.high)} are possible in the long run ({self.rate.confidence:.0%}); to promise "
            f"{self.target:.3g} needs at least {self._needs()}{_foretold([self])}{self._narrows()}"
        )

    def _needs(self) -> str:
        return f"{self.hours_needed:.3g} hours of {_many(self.groups_needed)} groups like these without a false alarm"

    def _narrows(self) -> str:
        """Return what would narrow an interval that is wide."""
        if self.rate.high is None or self.rate.high <= NARROW * self.rate.value:
            return ""
        who = ""
        if self.loudest is not None and 2 * self.loudest[1] > self.observed and self.groups > 1:
            who = f"; {self.loudest[1]} of {self.observed} come from {self.loudest[0]}: more places tell how rare it is"
        if self.narrow_hours is None:
            return who
        groups = self.narrow_hours / self.hours * self.groups
        return (
            f"{who}; about {self.narrow_hours - self.hours:.2g} more hours, of {_many(groups - self.groups)} other "
            "groups like these (sites, nights), narrow it to three times the expectation; more of the same groups do "
            "not"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values for ``manifest.json`` (without the curve)."""
        return {
            "label": self.label,
            "threshold": self.threshold,
            "false_alarms_per_hour": self.rate.to_dict(),
            "false_alarms_observed": self.observed,
            "hours": round(self.hours, 4),
            "recordings": self.recordings,
            "groups": self.groups,
            "dispersion": round(self.dispersion, 4),
            "new_recordings": {"hours": round(self.new_hours, 4), "low": self.new_rate[0], "high": self.new_rate[1]},
            "events": self.annotations,
            "recall": self.recall.to_dict() if self.recall else None,
            "target_per_hour": self.target,
            "met": self.met,
            "promised": self.promised,
            "hours_needed": float(f"{self.hours_needed:.4g}"),
            "groups_needed": float(f"{self.groups_needed:.4g}"),
            "narrow_hours": None if self.narrow_hours is None else round(self.narrow_hours, 4),
            "loudest_group": self.loudest and {"group": self.loudest[0], "false_alarms": self.loudest[1]},
            "unfloored_threshold": self.unfloored,
            "note": self.note(),
        }


def _too_few(labels: Sequence[LabelCalibration]) -> str:
    """Return why the same recordings are too few for the target of these labels, which differ only in their rates."""
    one = labels[0]
    seen = f"with {one.observed} false alarm(s)" if one.observed else "without a false alarm"
    return (
        f"{one.hours:.2f} h {seen} are too few to speak of {one.target:.3g} per hour: they allow to expect "
        f"{_span([item.rate.value for item in labels])} per hour (below {_span([item.rate.high for item in labels])} "
        f"with {one.rate.confidence:.0%} confidence); a promise needs at least {one._needs()}"
    )


def _floor(labels: Sequence[LabelCalibration]) -> str:
    """Return what keeps the thresholds of these labels, in their order, where they are."""
    floored = [(item.threshold, item.unfloored) for item in labels if item.unfloored is not None]
    if not floored:
        return ""
    kept, alone = (", ".join(f"{value:.3g}" for value in values) for values in zip(*floored, strict=True))
    names = f" ({', '.join(item.label for item in labels if item.unfloored is not None)})" if len(labels) > 1 else ""
    return (
        f"; the threshold stays at {kept}{names}, the model's own: these recordings would let it fall to {alone}, and "
        "hours that are too few for the target must not lower it (give more --background, or allow more false alarms)"
    )


def _foretold(labels: Sequence[LabelCalibration]) -> str:
    """Return what new recordings will show of these labels, all judged on the same recordings."""
    one = labels[0]
    low, high = min(item.new_rate[0] for item in labels), max(item.new_rate[1] for item in labels)
    shown = f"; {one.new_hours:.3g} new hours of such recordings will show {_text(low)} to {_text(high)} per hour"
    if one.groups < MIN_GROUPS:
        shown += f" (only {one.groups} independent recording(s): others may differ more than these can show)"
    return shown


def _span(rates: Sequence[float | None]) -> str:
    low, high = (_text(pick(rates, key=lambda rate: math.inf if rate is None else rate)) for pick in (min, max))
    return low if low == high else f"{low} to {high}"


def _text(rate: float | None) -> str:
    if rate is None:
        return "?"
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}"


def _many(groups: float) -> str:
    return f"{max(1, round(groups))}" if groups < 1000 else f"{round(groups, -2):,.0f}"


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The detector that calibration chose, and what to expect of it, label by label.

    ``noise_db``: between which levels lie the quiet seconds of four recordings out of five, dB of full scale.
    ``gate``: what the gate of ``detector`` does, where one was asked for and pays; ``verify``: its second network.
    """

    detector: DetectorConfig
    labels: tuple[LabelCalibration, ...]
    noise_db: tuple[float, float] | None = None
    gate: GateChoice | None = None
    verify: VerifyChoice | None = None

    def notes(self) -> list[str]:
        """Return what can be promised as lines: one for all labels of which the same is true."""
        alike: dict[Any, list[LabelCalibration]] = {}
        for item in self.labels:
            same = (item.hours, item.groups, item.observed, item._needs()) if item.too_few else item.note()
            alike.setdefault(same, []).append(item)
        return [
            f"{', '.join(item.label for item in items)}: "
            + (_too_few(items) + _floor(items) + _foretold(items) if items[0].too_few else items[0].note())
            for items in alike.values()
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        noise = {} if self.noise_db is None else {"noise_db": list(self.noise_db)}
        gate = {} if self.gate is None else {"gate": self.gate.to_dict()}
        verify = {} if self.verify is None else {"verify": self.verify.to_dict()}
        return {"labels": [item.to_dict() for item in self.labels], **noise, **gate, **verify}

    def with_gate(self, choice: GateChoice) -> Calibration:
        """Return the same with a gate before the network."""
        detector = self.detector.model_copy(update={"gate": choice.config})
        return dataclasses.replace(self, detector=detector, gate=choice)

    def with_verify(self, choice: VerifyChoice) -> Calibration:
        """Return the same with a second network behind the first."""
        detector = self.detector.model_copy(update={"verify": choice.config})
        return dataclasses.replace(self, detector=detector, verify=choice)


def noise_range(levels: Iterable[float | None]) -> tuple[float, float] | None:
    """Return the levels, dB of full scale, that a tenth of the recordings stay below and above; None: none is known."""
    known = [value for value in levels if value is not None]
    if not known:
        return None
    low, high = np.percentile(known, [10, 90])
    return round(float(low), 1), round(float(high), 1)
