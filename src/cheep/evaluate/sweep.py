# SPDX-License-Identifier: MIT
"""One label's detector at every useful threshold: events found and false alarms, recording by recording."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cheep.config import DetectorConfig
from cheep.detector import kept_threshold
from cheep.errors import CheepError
from cheep.evaluate.intervals import spread_between
from cheep.evaluate.matching import EventCounts, add_counts, count_events, match_events
from cheep.evaluate.streaming import Output, ScoredRecording, detect_at_levels

_COARSE = 62
_FAR = 2**20  # further than any level
_ENOUGH = 10  # false alarms that say something about their spread between recordings


class LevelSweep:
    """Counts at *levels*: integer sums of ``smoothing`` scores in the detector's own units.

    Parameters
    ----------
    recordings, output : what was scored, by which model
    config : smoothing, hysteresis and hold-off of the detector; its thresholds are replaced
    label : the label that is looked at
    collar_s : see :func:`cheep.evaluate.matching.match_events`
    """

    def __init__(
        self,
        recordings: Sequence[ScoredRecording],
        output: Output,
        config: DetectorConfig,
        label: str,
        collar_s: float = 0.0,
    ):
        self._recordings, self._output, self._config, self._collar_s = recordings, output, config, collar_s
        self.label, self.column = label, output.labels.index(label)
        self.hours = sum(item.duration_s for item in recordings) / 3600
        self.counts: dict[int, list[EventCounts]] = {}
        self._alarms: dict[int, np.ndarray] = {}  # level -> (recordings,)
        self._spreads: dict[int, float] = {}
        groups, self._group = np.unique([item.group for item in recordings], return_inverse=True)
        self._groups = len(groups)
        self._hours = np.bincount(self._group, [item.duration_s / 3600 for item in recordings], self._groups)
        self._columns = [output.scale.units(item.scores)[:, self.column] for item in recordings]
        sums = np.concatenate([_smoothed(column, config.smoothing_windows) for column in self._columns])
        if not len(sums):
            seconds = output.timing.window_s + (config.smoothing_windows - 1) * output.timing.stride_s
            raise CheepError(
                f"label {label}: every recording is shorter than {config.smoothing_windows} windows ({seconds:.1f} s); "
                "give longer recordings"
            )
        where = np.quantile(sums, 1 - np.geomspace(1 / len(sums), 1, _COARSE)).astype(int)
        self.measure(sorted({int(sums.min()), int(sums.max()) + 1, *where.tolist()}))

    def threshold(self, level: int) -> float:
        """Return the threshold, a probability, that ``level`` just reaches."""
        return self._output.scale.threshold_of(level, self._config.smoothing_windows)

    def measure(self, levels: Sequence[int]) -> None:
        """Run the detector at ``levels`` (those not yet measured)."""
        levels = [level for level in levels if level not in self.counts]
        thresholds = [self.threshold(level) for level in levels]
        rows: list[list[EventCounts]] = [[] for _ in levels]
        out = self._output
        for item, column in zip(self._recordings, self._columns, strict=True):
            found = detect_at_levels(column, thresholds, self._config, self.label, out.timing, out.scale)
            truth = [a for a in item.annotations if a.label == self.label or a.label not in out.labels]
            for row, detections in zip(rows, found, strict=True):
                matching = match_events(detections, truth, collar_s=self._collar_s)
                row.append(count_events(matching, item.duration_s / 3600, self.label))
        self.counts.update(zip(levels, rows, strict=True))
        for level, row in zip(levels, rows, strict=True):
            self._alarms[level] = np.array([part.false_alarms for part in row], float)

    def false_alarms(self, level: int) -> int:
        """Return the false alarms of all recordings at a measured level."""
        return int(self._alarms[level].sum())

    def lowest(self, passes: Callable[[int], bool]) -> int | None:
        """Return the lowest level at which, and at all measured levels above which, ``passes`` holds.

        Levels between are measured until the answer is exact. None where the highest level does not pass.
        """
        for _ in range(8):
            chosen = self._lowest_measured(passes)
            if chosen is None:
                return None
            below = [level for level in sorted(self.counts) if level < chosen]
            if not below or chosen - below[-1] <= 1:
                return chosen
            self.measure(range(below[-1] + 1, chosen, max(1, (chosen - below[-1]) // _COARSE)))
        return self._lowest_measured(passes)

    def by_group(self, level: int) -> tuple[np.ndarray, np.ndarray]:
        """Return false alarms at a measured level and hours of groups, (groups,) float64 each."""
        return np.bincount(self._group, self._alarms[level], self._groups), self._hours

    def level_of(self, threshold: float) -> int:
        """Return the lowest level that passes a threshold of at least ``threshold``, 0..1, measured."""
        low = min(self.counts)
        if self.threshold(low) >= threshold:
            return low
        step = 1
        while self.threshold(low + step) < threshold and step < _FAR:
            step *= 2
        high = low + step
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.threshold(middle) >= threshold else (middle, high)
        self.measure([high])
        return high

    def spread(self, level: int) -> float:
        """Return the spread between groups at ``level``, or at the next lower level with enough false alarms."""
        for candidate in sorted((other for other in self.counts if other <= level), reverse=True):
            if self.false_alarms(candidate) >= _ENOUGH:
                level = candidate
                break
        if level not in self._spreads:
            self._spreads[level] = spread_between(*self.by_group(level))
        return self._spreads[level]

    def curve(self) -> dict[str, list[float | None]]:
        """Return threshold, false alarms per hour and recall (None without annotations) of every measured level."""
        levels = sorted(self.counts)
        totals = [add_counts(self.counts[level]) for level in levels]
        return {
            "threshold": [kept_threshold(self.threshold(level)) for level in levels],
            "false_alarms_per_hour": [total.false_alarms / self.hours for total in totals],
            "recall": [total.recall for total in totals],
        }

    def _lowest_measured(self, passes: Callable[[int], bool]) -> int | None:
        best = None
        for level in sorted(self.counts, reverse=True):
            if not passes(level):
                break
            best = level
        return best


def _smoothed(column: np.ndarray, smoothing: int) -> np.ndarray:
    """Return sums of ``smoothing`` successive scores, (windows - smoothing + 1,) int."""
    if len(column) < smoothing:
        return np.zeros(0, int)
    total = np.cumsum(np.concatenate([[0], column.astype(int)]))
    return total[smoothing:] - total[:-smoothing]
