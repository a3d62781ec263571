# SPDX-License-Identifier: MIT
"""A season in numbers: hours, detections and gaps by site, hour of the day and month; as tables and pictures."""

from __future__ import annotations

import collections
import dataclasses
import datetime
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cheep.season.schema import USABLE, ModelRow
from cheep.season.store import Season

_EPOCH = datetime.datetime(1970, 1, 1)
_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
_SHORT_DAY = 0.5  # of the hours of a usual day of the deployment


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of a table: what it is about, hours heard, recordings, detections by label."""

    name: str
    hours: float
    recordings: int
    detections: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Gap:
    """Days, first to last, on which a deployment recorded less than half of its usual hours; ``hours`` of them all."""

    site: str
    deployment: str
    first: str
    last: str
    days: int
    hours: float
    usual_hours: float


@dataclasses.dataclass(frozen=True)
class Summary:
    """A season in numbers, for one model.

    Attributes
    ----------
    labels
        Those that had a detection, the others of the model behind.
    by_site, by_hour, by_month
        Lines; hours of the day and months are local. A recording without a time is in none of the latter two.
    status
        Recordings by status.
    gaps
        What is missing.
    days
        ``{site: {day since 1970: hours}}``.
    """

    labels: tuple[str, ...]
    by_site: tuple[Line, ...]
    by_hour: tuple[Line, ...]
    by_month: tuple[Line, ...]
    status: dict[str, int]
    gaps: tuple[Gap, ...]
    days: dict[str, dict[int, float]]

    @property
    def hours(self) -> float:
        """Hours heard."""
        return sum(line.hours for line in self.by_site)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        names = ("by_site", "by_hour", "by_month", "gaps")
        tables = {name: [dataclasses.asdict(line) for line in getattr(self, name)] for name in names}
        return {"labels": list(self.labels), "hours": self.hours, "status": self.status, **tables}


class _Tally:
    """Sums by name while the tables are read."""

    def __init__(self) -> None:
        self.hours: collections.defaultdict[Any, float] = collections.defaultdict(float)
        self.recordings: collections.Counter[Any] = collections.Counter()
        self.found: collections.Counter[tuple[Any, str]] = collections.Counter()

    def lines(self, labels: Sequence[str], name: Any = str) -> tuple[Line, ...]:
        keys = sorted({*self.hours, *(key for key, _ in self.found)})
        return tuple(
            Line(name(key), self.hours[key], self.recordings[key], {label: self.found[key, label] for label in labels})
            for key in keys
        )


def summarize(season: Season, model: ModelRow) -> Summary:
    """Return a season in numbers; reads its tables once, in bounded memory."""
    sites, hours, months = _Tally(), _Tally(), _Tally()
    status: collections.Counter[str] = collections.Counter()
    days: dict[tuple[str, str], dict[int, float]] = collections.defaultdict(lambda: collections.defaultdict(float))
    for row in _recordings(season):
        status[row["status"]] += 1
        if row["status"] not in USABLE or model.model not in row["models"]:
            continue
        heard_h = (row["length_s"] - row["silent_s"]) / 3600
        sites.hours[row["site"]] += heard_h
        sites.recordings[row["site"]] += 1
        start = row["start_local"]
        if start is None:
            continue
        share = heard_h * 3600 / row["length_s"] if row["length_s"] else 0.0
        for at, length_h in _by_hour(start, row["length_s"]):
            hours.hours[at // _HOUR_MS % 24] += share * length_h
            months.hours[_month(at)] += share * length_h
            days[row["site"], row["deployment"]][at // _DAY_MS] += share * length_h
        hours.recordings[start // _HOUR_MS % 24] += 1
        months.recordings[_month(start)] += 1
    found: collections.Counter[str] = collections.Counter()
    for row in _detections(season, model):
        label, start = row["label"], row["start_local"]
        found[label] += 1
        sites.found[row["site"], label] += 1
        if start is not None:
            hours.found[start // _HOUR_MS % 24, label] += 1
            months.found[_month(start), label] += 1
    labels = tuple(sorted(model.labels, key=lambda label: (-found[label], model.labels.index(label))))
    shown = tuple(label for label in labels if found[label])
    by_site: dict[str, dict[int, float]] = collections.defaultdict(lambda: collections.defaultdict(float))
    for (site, _), count in days.items():
        for day, length_h in count.items():
            by_site[site][day] += length_h
    return Summary(
        labels=shown,
        by_site=sites.lines(shown),
        by_hour=hours.lines(shown, lambda hour: f"{hour:02d}"),
        by_month=months.lines(shown),
        status=dict(sorted(status.items())),
        gaps=tuple(gap for (site, name), count in sorted(days.items()) for gap in _gaps(site, name, count)),
        days={site: dict(sorted(count.items())) for site, count in sorted(by_site.items())},
    )


def _recordings(season: Season) -> Iterator[dict[str, Any]]:
    names = ["site", "deployment", "start_local", "length_s", "silent_s", "status", "models"]
    for batch in season.recordings(names).to_batches(4096):
        yield from _with_ms(batch)


def _detections(season: Season, model: ModelRow) -> Iterator[dict[str, Any]]:
    path = season.table_path("detections")
    if not path.is_file():
        return
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(1 << 14, columns=["model", "site", "label", "start_local"]):
            yield from _with_ms(batch.filter(pc.field("model") == model.model))


def _with_ms(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows with ``start_local`` in ms since 1970."""
    at = batch.schema.get_field_index("start_local")
    return batch.set_column(at, "start_local", pc.cast(batch.column(at), pa.int64())).to_pylist()


def _by_hour(start_ms: int, length_s: float) -> Iterator[tuple[int, float]]:
    """Cut a stretch at full hours: (ms since 1970, hours)."""
    at, end = start_ms, start_ms + round(1000 * length_s)
    while at < end:
        behind = min(end, (at // _HOUR_MS + 1) * _HOUR_MS)
        yield at, (behind - at) / _HOUR_MS
        at = behind


def _month(ms: int) -> str:
    return (_EPOCH + datetime.timedelta(milliseconds=ms)).strftime("%Y-%m")


def _day(day: int) -> str:
    return (_EPOCH + datetime.timedelta(days=day)).date().isoformat()


def _gaps(site: str, deployment: str, count: dict[int, float]) -> Iterator[Gap]:
    """Days between the first and the last that have less than half of the median of the days with recordings.

    The first and the last day, on which somebody walked there, may be short.
    """
    usual = float(np.median(list(count.values())))
    run: list[int] = []
    last = max(count)
    for day in range(min(count) + 1, last + 1):
        if day < last and count.get(day, 0.0) < _SHORT_DAY * usual:
            run.append(day)
        elif run:
            heard = sum(count.get(item, 0.0) for item in run)
            yield Gap(site, deployment, _day(run[0]), _day(run[-1]), len(run), heard, usual)
            run = []
