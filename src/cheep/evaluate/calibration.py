# SPDX-License-Identifier: MIT
"""Thresholds for a promised number of false alarms per hour, and what the data can really promise.

Method. For each label, the scores of held-out recordings are run through the device's detector at falling thresholds,
and the false alarms are counted (rule of :mod:`cheep.evaluate.matching`). The chosen threshold is the lowest at which,
and above which, ``(false alarms + d) / hours`` stays at or below the target, where ``d`` is the spread between groups
of recordings (1 for independent false alarms, :func:`cheep.evaluate.intervals.spread_between`): the threshold then lies
just above the mark of the next false alarm, or cluster of them, and the rate to expect of such a threshold is ``(false
alarms + d) / hours`` (inverse sampling), where the plain count would promise too little. Intervals come from
:mod:`cheep.evaluate.rates`: they admit groups and kinds of sound that these recordings do not hold. Where the hours are
too few for the target, the threshold does not fall below the one that the model has.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from cheep.config import DetectorConfig
from cheep.detector import kept_threshold
from cheep.detector.engine import MAX_SCORES
from cheep.errors import CheepError
from cheep.evaluate.intervals import CONFIDENCE, Estimate, bootstrap
from cheep.evaluate.matching import EventCounts, add_counts
from cheep.evaluate.outcome import NARROW, Calibration, LabelCalibration, noise_range
from cheep.evaluate.rates import RateModel, fit_rates, hours_that_narrow
from cheep.evaluate.streaming import Output, ScoredRecording
from cheep.evaluate.sweep import LevelSweep

MIN_EVENTS = 20  # fewer annotated events give no recall worth choosing by
_NO_THRESHOLD = 0.5  # where the model has none of its own


def calibrate(
    recordings: Sequence[ScoredRecording],
    output: Output,
    base: DetectorConfig,
    max_per_hour: float,
    *,
    smoothing: Sequence[int] | None = None,
    hold_off: Sequence[int] | None = None,
    silent: Sequence[str] | None = None,
    rng: np.random.Generator | None = None,
    draws: int = 500,
    confidence: float = CONFIDENCE,
    collar_s: float = 0.0,
    promise: bool = False,
    new_hours: float | None = None,
) -> Calibration:
    """Find thresholds, smoothing and hold-off for at most ``max_per_hour`` false alarms per hour and label.

    Parameters
    ----------
    recordings : held-out recordings with everything annotated that is to be found
    output : the model's output
    base : stride, hysteresis and minimal windows are taken from it
    smoothing, hold_off : candidates in windows (default: those of ``base`` only). The pair of ``base``, where it is
        among them, else the first, stays unless another finds clearly more events: the difference, paired by group,
        exceeds twice its standard error. With fewer than 20 annotated events it stays always. (The pair with the
        largest recall would often owe it to a threshold that these very recordings happen to allow: false alarms
        then exceed the expectation, see ``docs/evaluation.md``.)
    silent : labels that never make an event (default: those whose threshold in ``base`` is None)
    promise : True: the upper end of the interval, not the expectation, must stay at or below the target
    new_hours : of new recordings, for which ``new_rate`` is stated (default: as many as these recordings have)

    Raises
    ------
    CheepError
        No recordings, no hours, or settings out of range.
    """
    hours = sum(item.duration_s for item in recordings) / 3600
    _check_request(recordings, hours, max_per_hour, new_hours)
    if silent is None:
        silent = [label for label, t in zip(output.labels, base.threshold, strict=False) if t is None]
    wanted = [label for label in output.labels if label not in silent]
    if not wanted:
        raise CheepError(f"labels {', '.join(output.labels)}: all are silent; nothing to calibrate")
    best: tuple[DetectorConfig, list[_Choice]] | None = None
    for config in _candidates(recordings, output, base, wanted, smoothing, hold_off):
        choices = [
            _choose(recordings, output, config, label, max_per_hour, promise, confidence, collar_s) for label in wanted
        ]
        if best is None or _finds_more(choices, best[1]):
            best = config, choices
    if best is None:
        raise CheepError(
            f"smoothing={list(smoothing or ())}: with {len(output.labels)} labels at most "
            f"{MAX_SCORES // len(output.labels)} windows fit"
        )
    config, choices = best
    by_label = {choice.label: kept_threshold(choice.threshold) for choice in choices}
    config = config.model_copy(update={"threshold": tuple(by_label.get(label) for label in output.labels)})
    rng = np.random.default_rng(0) if rng is None else rng
    results = tuple(
        _result(choice, max_per_hour, hours, new_hours or hours, rng, draws, confidence) for choice in choices
    )
    return Calibration(
        DetectorConfig.parse(config.to_dict(), "calibrated detector"),
        results,
        noise_range(item.noise_db for item in recordings),
    )


def _check_request(
    recordings: Sequence[ScoredRecording], hours: float, max_per_hour: float, new_hours: float | None
) -> None:
    if not recordings or hours <= 0:
        raise CheepError("calibration needs held-out recordings: none were given (--recordings, --background)")
    if new_hours is not None and not new_hours > 0:
        raise CheepError(f"new_hours={new_hours:g}: must be above 0 (--new-hours)")
    if not max_per_hour > 0:
        raise CheepError(f"max_false_alarms={max_per_hour}: must be above 0 (for example 0.5/h or 3/day)")


def _candidates(
    recordings: Sequence[ScoredRecording],
    output: Output,
    base: DetectorConfig,
    wanted: Sequence[str],
    smoothing: Sequence[int] | None,
    hold_off: Sequence[int] | None,
) -> Iterator[DetectorConfig]:
    """Yield the pairs of smoothing and hold-off that are tried, that of ``base`` first, as far as they fit."""
    own = (base.smoothing_windows, base.hold_off_windows)
    pairs = [(s, h) for s in smoothing or own[:1] for h in hold_off or own[1:]]
    if own in pairs:
        pairs.sort(key=lambda pair: pair != own)
    events = sum(a.label in wanted for item in recordings for a in item.annotations)
    for s, h in pairs if events >= MIN_EVENTS else pairs[:1]:
        if s * len(output.labels) <= MAX_SCORES:
            yield base.model_copy(update={"smoothing_windows": s, "hold_off_windows": h})


@dataclasses.dataclass(frozen=True)
class _Choice:
    label: str
    threshold: float
    counts: list[EventCounts]  # per recording, at the threshold
    groups: list[str]
    spread: float
    unfloored: float | None
    curve: dict[str, list[float | None]]

    def by_group(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return names of groups, their false alarms and hours, (groups,) each."""
        names, inverse = np.unique(self.groups, return_inverse=True)
        alarms, hours = (
            np.bincount(inverse, [getattr(part, field) for part in self.counts], len(names))
            for field in ("false_alarms", "hours")
        )
        return names, alarms, hours


def _choose(
    recordings: Sequence[ScoredRecording],
    output: Output,
    config: DetectorConfig,
    label: str,
    target: float,
    promise: bool,
    confidence: float,
    collar_s: float,
) -> _Choice:
    sweep = LevelSweep(recordings, output, config, label, collar_s)
    limit = target * (1 + 1e-12)

    def passes(level: int) -> bool:
        if promise:
            return _model_at(sweep, level).interval(confidence)[1] <= limit
        return expected_rate(sweep, level) <= limit

    chosen, unfloored = sweep.lowest(passes), None
    if chosen is None:  # too few hours for the target: as silent as these recordings can make it, and the model was
        fewest = sweep.false_alarms(max(sweep.counts))
        chosen = sweep.lowest(lambda level: sweep.false_alarms(level) <= fewest)
        assert chosen is not None
        floor = sweep.level_of(_own_threshold(config, output, label))
        if floor > chosen:
            chosen, unfloored = floor, sweep.threshold(chosen)
    return _Choice(
        label,
        sweep.threshold(chosen),
        sweep.counts[chosen],
        [item.group for item in recordings],
        sweep.spread(chosen),
        unfloored,
        sweep.curve(),
    )


def expected_rate(sweep: LevelSweep, level: int) -> float:
    """Return the false alarms an hour to expect of a threshold chosen just above the next one, or cluster of them."""
    return (sweep.false_alarms(level) + sweep.spread(level)) / sweep.hours


def _model_at(sweep: LevelSweep, level: int) -> RateModel:
    return fit_rates(*sweep.by_group(level), chosen=True)


def _own_threshold(config: DetectorConfig, output: Output, label: str) -> float:
    """Return the threshold that the model has for a label."""
    thresholds = config.threshold * len(output.labels) if len(config.threshold) == 1 else config.threshold
    own = thresholds[output.labels.index(label)]
    return _NO_THRESHOLD if own is None else own


def _finds_more(challenger: list[_Choice], holder: list[_Choice]) -> bool:
    """Say whether a detector finds more events than another by more than twice the standard error over groups."""
    names, inverse = np.unique(holder[0].groups, return_inverse=True)
    gain = np.zeros(len(names))
    for new, old in zip(challenger, holder, strict=True):
        more = [a.found - b.found for a, b in zip(new.counts, old.counts, strict=True)]
        gain += np.bincount(inverse, more, len(names))
    return bool(gain.sum() > 2 * np.sqrt(np.sum(gain**2)))


def _result(
    choice: _Choice,
    target: float,
    hours: float,
    new_hours: float,
    rng: np.random.Generator,
    draws: int,
    confidence: float,
) -> LabelCalibration:
    total = add_counts(choice.counts)
    names, alarms, group_hours = choice.by_group()
    model = fit_rates(alarms, group_hours, chosen=True)
    rate = Estimate((total.false_alarms + choice.spread) / hours, *model.interval(confidence), confidence)
    low, high = model.predict(new_hours, confidence)
    needed = model.silent_groups_needed(target, confidence)
    most = int(np.argmax(alarms))
    recall = None
    if total.annotations:
        found = np.array([part.found for part in choice.counts], float)
        wanted = np.array([part.annotations for part in choice.counts], float)
        recall = bootstrap(
            lambda w: float((w * found).sum() / (w * wanted).sum()) if (w * wanted).sum() else None,
            choice.groups,
            rng,
            draws,
            confidence,
        )
    return LabelCalibration(
        label=choice.label,
        threshold=kept_threshold(choice.threshold),
        rate=rate,
        observed=total.false_alarms,
        hours=hours,
        recordings=len(choice.counts),
        groups=len(set(choice.groups)),
        dispersion=choice.spread,
        new_hours=new_hours,
        new_rate=(low / new_hours, high / new_hours),
        annotations=total.annotations,
        recall=recall,
        target=target,
        met=rate.value <= target * (1 + 1e-9),
        promised=rate.high is not None and rate.high <= target * (1 + 1e-9),
        hours_needed=needed * model.mean_group_hours,
        groups_needed=needed,
        narrow_hours=hours_that_narrow(model, rate.value, hours, NARROW) if total.false_alarms else None,
        loudest=(str(names[most]), int(alarms[most])) if alarms[most] else None,
        unfloored=choice.unfloored,
        curve=choice.curve,
    )


def parse_rate(text: str) -> float:
    """Return false alarms per hour from ``0.5/h``, ``3/day``, ``2 per hour`` or a plain number (per hour).

    Raises
    ------
    CheepError
        No number, not above 0, or another unit.
    """
    import re

    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?\d+)?)\s*(?:(?:/|per)\s*([a-zA-Z]+))?\s*", str(text))
    units = {"h": 1.0, "hour": 1.0, "hr": 1.0, "d": 1 / 24, "day": 1 / 24, "week": 1 / 168}
    if match is None or (match.group(2) and match.group(2).lower() not in units):
        raise CheepError(f"--max-false-alarms {text}: must be a number per hour or day, such as 0.5/h or 3/day")
    value = float(match.group(1)) * (units[match.group(2).lower()] if match.group(2) else 1.0)
    if not value > 0:
        raise CheepError(f"--max-false-alarms {text}: must be above 0 (no detector can promise none at all)")
    return value
