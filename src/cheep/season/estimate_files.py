# SPDX-License-Identifier: MIT
"""Estimates as files: JSON, tables (CSV, also for occupancy models in R), pictures, and one page that shows all."""

from __future__ import annotations

import base64
import collections
import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cheep.detector.scores import probability
from cheep.evaluate.intervals import Estimate
from cheep.files import write_bytes, write_csv, write_json, write_text
from cheep.report.figures import COLOURS, framed, png_of
from cheep.season.curves import ThresholdRow
from cheep.season.estimate import Estimates
from cheep.season.store import Season
from cheep.season.tell import SeasonEstimate
from cheep.season.verdicts import Verdict, judge

FOLDER = "estimates"
_QUANTITIES = ("precision", "false_alarms", "calls", "recall")
_ENDS = ("", "_low", "_high")
_HEAD = (
    *("by", "name", "hours", "detections_per_hour", "verdicts", "verdicts_below"),
    *(f"{name}{end}" for name in _QUANTITIES for end in _ENDS),
)
_THRESHOLDS = (
    *("threshold", "detections_per_hour", "verdicts"),
    *(f"{name}{end}" for name in _QUANTITIES[:2] for end in _ENDS),
)
_STYLE = (
    ":root{color-scheme:light dark;--ink:#222;--line:#ddd;--paper:#fff}"
    "@media screen and (prefers-color-scheme:dark){:root{--ink:#e4e9e6;--line:#3a4541;--paper:#161b19}}"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:var(--ink);"
    "background:var(--paper)}table,figure{display:block;overflow-x:auto}table{border-collapse:collapse}"
    "figure{margin:.5rem 0}img{width:100%;min-width:44rem;border-radius:4px}@media print{img{min-width:0}}"
    "td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}"
    "td:first-child,th:first-child{text-align:left}"
)


def write_estimate(
    found: SeasonEstimate, season: Season, verdicts: Iterable[Verdict], warnings: Sequence[str] = ()
) -> list[Path]:
    """Write ``SEASON/estimates/PLAN/``; return the files, the page first."""
    folder = season.folder / FOLDER / found.plan.name
    written = [folder / name for name in ("report.html", "estimate.json", "estimates.csv", "thresholds.csv")]
    write_json(written[1], {**found.to_dict(), "warnings": list(warnings)})
    write_csv(written[2], _HEAD, [[row.by, row.name, f"{row.hours:.3f}", *_cells(row.estimates)] for row in found.rows])
    write_csv(written[3], _THRESHOLDS, [_threshold_cells(row) for row in found.thresholds])
    written.append(folder / "occupancy.csv")
    write_csv(written[-1], OCCUPANCY, occupancy_rows(season, found.plan.model, found.plan.label, verdicts))
    pictures = {"precision.png": precision_figure(found)} if found.thresholds else {}
    for name, data in pictures.items():
        written.append(folder / name)
        write_bytes(written[-1], data)
    write_text(written[0], _page(found, pictures, warnings))
    return written


OCCUPANCY = ("site", "night", "hours", "detections", "verified_right", "verified_wrong")


def occupancy_rows(season: Season, model: str, label: str, verdicts: Iterable[Verdict]) -> list[list[Any]]:
    """Return site by night what occupancy models take: effort, detections, and what of them people confirmed."""
    from cheep.season.frame import night_of
    from cheep.season.schema import USABLE
    from cheep.season.store import recording_of

    rows = {row.recording: row for row in map(recording_of, season.recordings().to_pylist()) if row.status in USABLE}
    table: dict[tuple[str, str], list[float]] = collections.defaultdict(lambda: [0.0, 0, 0, 0])
    for row in rows.values():
        table[row.site, night_of(row, 0.0)][0] += (row.length_s - row.silent_s) / 3600
    for item in season.detections(model).to_pylist():
        if item["label"] == label and item["recording"] in rows:
            table[item["site"], night_of(rows[item["recording"]], 0.0)][1] += 1
    for clip, judgement in judge(v for v in verdicts if v.label == label).items():
        if clip.recording in rows and judgement.present is not None:
            row = rows[clip.recording]
            table[row.site, night_of(row, 0.0)][2 if judgement.present else 3] += 1
    return [[site, night, f"{v[0]:.3f}", *map(int, v[1:])] for (site, night), v in sorted(table.items())]


def precision_figure(found: SeasonEstimate) -> bytes:
    """Precision and false alarms per hour against the threshold, and the curve of right ones against score (PNG)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    x = [row.score for row in found.thresholds]
    for axes, name, label in (
        (left, "precision", "precision at and above"),
        (right, "false_alarms", "false alarms per hour"),
    ):
        values = [getattr(row, name) for row in found.thresholds]
        axes.plot(x, [v.value for v in values], color=COLOURS[0], label=label)
        axes.fill_between(x, [v.low for v in values], [v.high for v in values], color=COLOURS[0], alpha=0.2, lw=0)
        axes.set_xlabel("threshold (log-odds of the score)")
        framed(axes)
    if found.curve:
        at = [point.score for point in found.curve]
        left.plot(at, [point.logistic.value for point in found.curve], color=COLOURS[1], label="right at this score")
        low, high = ([getattr(point.logistic, end) for point in found.curve] for end in ("low", "high"))
        left.fill_between(at, low, high, color=COLOURS[1], alpha=0.15, lw=0)
        left.plot(at, [point.monotone for point in found.curve], color=COLOURS[1], ls=":", label="the same, monotone")
    left.set_ylim(0, 1.02)
    left.set_ylabel("share of right ones")
    right.set_ylabel("false alarms per hour")
    left.legend(frameon=False, fontsize=8)
    return png_of(figure)


def _threshold_cells(row: ThresholdRow) -> list[Any]:
    told = [f"{probability(row.score):.6g}", f"{row.detections:.4g}", row.verdicts]
    return [*told, *_three(row.precision), *_three(row.false_alarms)]


def _cells(item: Estimates) -> list[Any]:
    cells: list[Any] = [f"{item.detections:.4g}", item.verdicts, item.verdicts_below]
    for name in _QUANTITIES:
        cells += _three(getattr(item, name))
    return cells


def _three(item: Estimate | None) -> list[str]:
    if item is None:
        return ["", "", ""]
    return ["" if value is None else f"{value:.5g}" for value in (item.value, item.low, item.high)]


def _page(found: SeasonEstimate, pictures: dict[str, bytes], warnings: Sequence[str]) -> str:
    head = ("", "hours", "detections/h", "verdicts", "below", "precision", "false alarms/h", "calls/h", "recall")
    rows = []
    for row in found.rows:
        e = row.estimates
        cells = [row.name if row.by == "all" else f"{row.by} {row.name}", f"{row.hours:.1f}", f"{e.detections:.2f}"]
        cells += [str(e.verdicts), str(e.verdicts_below)]
        cells += ["–" if v is None else v.text(2) for v in (e.precision, e.false_alarms, e.calls)]
        cells.append(e.recall_text("–"))
        rows.append(cells)
    table = _table(head, rows)
    thresholds = _table(
        ("threshold", "detections/h", "verdicts", "precision", "false alarms/h"),
        [
            [
                f"{probability(r.score):.4f}",
                f"{r.detections:.2f}",
                str(r.verdicts),
                r.precision.text(2),
                r.false_alarms.text(2),
            ]
            for r in found.thresholds[:: max(1, len(found.thresholds) // 12)]
        ],
    )
    notes = "".join(f"<li>{html.escape(text)}</li>" for text in (*warnings, *found.notes))
    shown = "".join(
        f'<figure><img alt="{name}" src="data:image/png;base64,{base64.b64encode(data).decode()}"></figure>'
        for name, data in pictures.items()
    )
    clips, whole = len(found.plan.items), found.whole
    judged = clips - found.open
    beside = judged - found.unsure - whole.verdicts - whole.verdicts_below
    title = f"{found.plan.label}: what verdicts on {judged} of {clips} clips say of the season"
    told = (
        f"Plan {found.plan.name} ({found.plan.want}), model {found.plan.model}. Of the clips judged {whole.verdicts} "
        f"hold a detection's peak, {beside} lie beside one, {whole.verdicts_below} have none (below the threshold), "
        f"{found.unsure} nobody is sure of. In brackets: 95 % intervals from the sample's design. Precision and false "
        f"alarms are counted by detections. Calls and recall are counted by clips of {found.plan.clip_s:g} s: a call "
        "that lies in two clips counts twice."
    )
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style><h1>{html.escape(title)}</h1>",
        f"<p>{html.escape(told)}</p>{table}<ul>{notes}</ul><h2>Thresholds</h2>{shown}{thresholds}</html>",
    ]
    return "\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return f"<table>{''.join(lines)}</table>"
