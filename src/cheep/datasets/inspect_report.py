# SPDX-License-Identifier: MIT
"""An inspection as text and as one HTML page without scripts or outside requests."""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence

from cheep.datasets.inspect import BAND_EDGES_HZ, SNR_EDGES_DB, Inspection

_CSS = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:1.5rem auto;padding:0 1rem}
body{color:#1a1a1a;background:#fff}h1{font-size:1.5rem}h2{font-size:1.15rem;margin:1.8rem 0 .4rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.2rem .6rem;text-align:right;border-bottom:1px solid #ddd}
th:first-child,td:first-child,td.text{text-align:left}.wrap{overflow-x:auto}
.bar{display:inline-block;height:.7rem;background:#3a6ea5;vertical-align:middle}.bad{color:#a11}.ok{color:#165c26}
li{overflow-wrap:anywhere}td.cell{min-width:3rem;color:#1a1a1a}
"""


def inspection_text(found: Inspection) -> str:
    """Return the report for a terminal."""
    lines = [f"{found.rows} examples, {found.hours:.2f} h, {len(found.labels)} labels", ""]
    lines += _text_table(
        ["label", "examples", "hours", "recordings", "recordists", "train", "val", "test"],
        [
            [line["label"], line["examples"], f"{line['seconds'] / 3600:.2f}", line["recordings"], line["recordists"],
             line["train"], line["val"], line["test"]]
            for line in found.labels
        ],
    )  # fmt: skip
    for title, table in (("licences (recordings)", found.licences), ("recordists (examples)", found.recordists)):
        lines += ["", title]
        lines += [
            f"  {label}: " + ", ".join(f"{name} {n}" for name, n in items.items()) for label, items in table.items()
        ]
    if found.snr:
        lines += ["", "level over the recording's floor, dB (examples)"]
        lines += _text_table(["label", *_snr_names()], [[label, *counts] for label, counts in found.snr.items()])
    if found.bands:
        lines += ["", f"where the energy lies, % ({found.listened_files} files heard)"]
        lines += _text_table(
            ["label", *_band_names()],
            [[label, *(f"{100 * share:.0f}" for share in shares)] for label, shares in found.bands.items()],
        )
    for title, items in (("leaks", found.leaks), ("duplicates", found.duplicates), ("notes", found.findings)):
        lines += ["", f"{title}: {len(items) or 'none'}"]
        lines += [f"  {item}" for item in items[:20]]
        if len(items) > 20:
            lines.append(f"  and {len(items) - 20} more")
    return "\n".join(lines) + "\n"


def inspection_html(found: Inspection, title: str) -> str:
    """Return the report as one self-contained page."""
    e = html.escape
    parts = [
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f"<meta name='viewport' content='width=device-width'><title>{e(title)}</title>"
        f"<style>{_CSS}</style></head><body><h1>{e(title)}</h1>"
        f"<p>{found.rows} examples, {found.hours:.2f} h, {len(found.labels)} labels.</p>"
    ]
    most = max((line["examples"] for line in found.labels), default=1)
    parts.append(
        _table(
            ["label", "examples", "", "hours", "recordings", "recordists", "train", "val", "test"],
            [
                [e(line["label"]), line["examples"], _bar(line["examples"] / most), f"{line['seconds'] / 3600:.2f}",
                 line["recordings"], line["recordists"], line["train"], line["val"], line["test"]]
                for line in found.labels
            ],
        )
    )  # fmt: skip
    for name, items, good in (
        ("Leaks", found.leaks, "No recording, file, group or sound that was heard lies in more than one split."),
        ("Duplicates", found.duplicates, "None found."),
        ("Notes", found.findings, "Nothing to note."),
    ):
        parts.append(f"<h2>{name}</h2>")
        if items:
            kind = "bad" if name == "Leaks" else ""
            parts.append(f"<ul class='{kind}'>" + "".join(f"<li>{e(item)}</li>" for item in items[:200]) + "</ul>")
            if len(items) > 200:
                parts.append(f"<p>and {len(items) - 200} more</p>")
        else:
            parts.append(f"<p class='ok'>{good}</p>")
    if found.snr:
        parts.append("<h2>Level over the recording's own floor, dB (examples)</h2>")
        rows = [[e(label), *_shaded(counts, [str(n) for n in counts])] for label, counts in found.snr.items()]
        parts.append(_table(["label", *_snr_names()], rows))
    if found.bands:
        parts.append(f"<h2>Where the energy lies, % ({found.listened_files} files heard)</h2>")
        rows = [
            [e(label), *_shaded(shares, [f"{100 * share:.0f}" for share in shares])]
            for label, shares in found.bands.items()
        ]
        parts.append(_table(["label", *_band_names()], rows))
    for name, table in (("Licences (recordings)", found.licences), ("Recordists (examples)", found.recordists)):
        rows = [
            [e(label), "<td class='text'>" + e(", ".join(f"{key} {n}" for key, n in items.items())) + "</td>"]
            for label, items in table.items()
        ]
        parts.append(f"<h2>{name}</h2>" + _table(["label", ""], rows))
    return "\n".join(parts) + "</body></html>\n"


def _snr_names() -> list[str]:
    edges = SNR_EDGES_DB
    return [f"<{edges[1]}", *(f"{a}-{b}" for a, b in itertools.pairwise(edges[1:])), f">{edges[-1]}"]


def _band_names() -> list[str]:
    return [f"{a / 1000:g}-{b / 1000:g} kHz" for a, b in itertools.pairwise(BAND_EDGES_HZ)]


def _text_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    cells = [[str(cell) for cell in row] for row in [list(head), *rows]]
    widths = [max(len(row[at]) for row in cells) for at in range(len(head))]
    lines = []
    for row in cells:
        rest = [text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *rest]))
    return lines


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    body = "".join("<tr>" + "".join(_td(cell) for cell in row) + "</tr>" for row in rows)
    titles = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    return f"<div class='wrap'><table><tr>{titles}</tr>{body}</table></div>"


def _td(cell: object) -> str:
    text = str(cell)
    return text if text.startswith("<td") else f"<td>{text}</td>"


def _bar(part: float) -> str:
    return f"<td style='text-align:left'><span class='bar' style='width:{max(part, 0.005) * 8:.2f}rem'></span></td>"


def _shaded(values: Sequence[float], texts: Sequence[str]) -> list[str]:
    total = max(sum(values), 1e-9)
    return [
        f"<td class='cell' style='background:rgba(58,110,165,{min(0.6, value / total):.2f})'>{text}</td>"
        for value, text in zip(values, texts, strict=True)
    ]
