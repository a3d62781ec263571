# SPDX-License-Identifier: MIT
"""Pictures of a season: when it was recorded, and when what was detected."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np

from cheep.report.figures import COLOURS, framed, png_of
from cheep.season.summary import Line, Summary

_EPOCH = datetime.date(1970, 1, 1)
_MOST_LABELS, _MOST_SITES = len(COLOURS), 40
_MOST_BARS, _MOST_COLUMNS = 30, 24


def pictures(summary: Summary) -> dict[str, bytes]:
    """Return the pictures by file name (PNG); only those of which there is something to see."""
    found = {}
    if summary.days:
        found["coverage.png"] = coverage_figure(summary)
    if summary.by_hour and summary.labels:
        found["by_hour.png"] = rate_figure(summary.by_hour, summary.labels, "hour of the day (local)")
    if len(summary.by_month) > 1 and summary.labels:
        found["by_month.png"] = rate_figure(summary.by_month, summary.labels, "month")
    if summary.labels:
        found["by_site.png"] = site_figure(summary.by_site, summary.labels)
    return found


def coverage_figure(summary: Summary) -> bytes:
    """Hours heard by site and day: a gap is a white cell."""
    sites = list(summary.days)[:_MOST_SITES]
    first = min(min(days) for days in summary.days.values())
    last = max(max(days) for days in summary.days.values())
    table = np.zeros((len(sites), last - first + 1))
    for row, site in enumerate(sites):
        for day, hours in summary.days[site].items():
            table[row, day - first] = hours
    with framed(min(14.0, max(5.0, 0.12 * table.shape[1] + 3)), max(1.8, 0.3 * len(sites) + 1.3)) as (figure, axes):
        axes.grid(False)
        shown = np.ma.masked_equal(table, 0)
        image = axes.imshow(shown, aspect="auto", cmap="YlGnBu", vmin=0, interpolation="nearest")
        axes.set_facecolor("white")
        axes.set_yticks(range(len(sites)), [_short(site) for site in sites])
        days = np.unique(np.linspace(0, table.shape[1] - 1, min(table.shape[1], 8)).round().astype(int))
        dates = [str(_EPOCH + datetime.timedelta(days=int(first + day))) for day in days]
        axes.set_xticks(days, dates, rotation=30, ha="right")
        bar = figure.colorbar(image, ax=axes, pad=0.02)
        bar.set_label("hours heard")
        bar.outline.set_visible(False)
        if len(summary.days) > len(sites):
            axes.set_title(f"the first {len(sites)} of {len(summary.days)} sites", loc="left")
        return png_of(figure)


def rate_figure(lines: Sequence[Line], labels: Sequence[str], name: str) -> bytes:
    """Detections per hour heard, by label, above the hours heard."""
    shown = labels[:_MOST_LABELS]
    daily = name.startswith("hour")
    x = np.arange(24) if daily else np.arange(len(lines))
    at = {int(line.name): line for line in lines} if daily else dict(enumerate(lines))
    with framed(7.0, 4.0, panels=2, heights=(3, 1)) as (figure, axes):
        for label, colour in zip(shown, COLOURS, strict=False):
            rate = [_rate(at.get(int(i)), label) for i in x]
            axes[0].plot(x, rate, marker="o", markersize=3.5, color=colour, label=_short(label))
        axes[0].set_ylabel("detections per hour heard")
        axes[0].set_ylim(bottom=0)
        axes[0].legend(title="" if len(labels) == len(shown) else f"the commonest {len(shown)} of {len(labels)}")
        axes[1].bar(x, [at[int(i)].hours if int(i) in at else 0 for i in x], color="#9aa4b1", width=0.8)
        axes[1].set_ylabel("hours heard")
        axes[1].set_xlabel(name)
        axes[0].set_xticks(x, [])
        ticks = [f"{i:02d}" if i % 2 == 0 else "" for i in x] if daily else [line.name for line in lines]
        axes[1].set_xticks(x, ticks, rotation=0 if daily or len(x) <= 8 else 60)
        for each in axes:
            each.set_axisbelow(True)
            each.set_xlim(x[0] - 0.6, x[-1] + 0.6)
        return png_of(figure)


def site_figure(lines: Sequence[Line], labels: Sequence[str]) -> bytes:
    """Detections per hour heard by site: a bar a label; a matrix where that would be many bars."""
    lines, shown = list(lines)[:_MOST_SITES], labels[:_MOST_LABELS]
    if len(lines) * len(shown) > _MOST_BARS:
        return _site_matrix(lines, labels[:_MOST_COLUMNS])
    height = 0.8 / len(shown)
    with framed(7.0, max(2.0, (0.16 * len(shown) + 0.25) * len(lines) + 1.0)) as (figure, axes):
        y = np.arange(len(lines))
        for i, (label, colour) in enumerate(zip(shown, COLOURS, strict=False)):
            rate = np.nan_to_num([_rate(line, label) for line in lines])
            axes.barh(y + (i - (len(shown) - 1) / 2) * height, rate, height, color=colour, label=_short(label))
        axes.set_yticks(y, [_short(line.name) for line in lines])
        axes.invert_yaxis()
        axes.set_axisbelow(True)
        axes.grid(False, axis="y")
        axes.set_xlabel("detections per hour heard")
        axes.legend()
        return png_of(figure)


def _site_matrix(lines: Sequence[Line], labels: Sequence[str]) -> bytes:
    table = np.array([[_rate(line, label) for label in labels] for line in lines])
    with framed(max(5.0, 0.4 * len(labels) + 3), max(2.5, 0.26 * len(lines) + 2.2)) as (figure, axes):
        axes.grid(False)
        image = axes.imshow(np.ma.masked_invalid(table), aspect="auto", cmap="YlGnBu", vmin=0, interpolation="nearest")
        axes.set_yticks(range(len(lines)), [_short(line.name) for line in lines])
        axes.set_xticks(range(len(labels)), [_short(label) for label in labels], rotation=40, ha="right")
        bar = figure.colorbar(image, ax=axes, pad=0.02)
        bar.set_label("detections per hour heard")
        bar.outline.set_visible(False)
        return png_of(figure)


def _rate(line: Line | None, label: str) -> float:
    return line.detections[label] / line.hours if line is not None and line.hours else float("nan")


def _short(text: Any, most: int = 24) -> str:
    return str(text) if len(str(text)) <= most else str(text)[: most - 1] + "…"
