# SPDX-License-Identifier: MIT
"""Write a report: HTML with everything inside it, Markdown and JSON beside it."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from cheep import __version__
from cheep.detector import show_probability
from cheep.files import plain, write_bytes
from cheep.report import figures
from cheep.report.content import TestContent, soundscape_content, test_content, to_dict, words_of
from cheep.report.results import RunResults
from cheep.resources import package_file

_TEMPLATE = "report.html.j2"
_TEMPLATES = package_file("report", "templates")


def write_report(run: RunResults, path: str | os.PathLike) -> list[Path]:
    """Write ``path`` (HTML) and the same content as ``.md`` and ``.json`` beside it; return the three paths.

    The HTML file needs nothing else: no request leaves it. The same results give the same bytes.
    """
    path = Path(path)
    content = test_content(run)
    out = [path.with_suffix(".html") if path.suffix not in (".html", ".htm") else path]
    out += [path.with_suffix(".md"), path.with_suffix(".json")]
    write_bytes(out[0], render_html(run, content).encode())
    write_bytes(out[1], render_markdown(run, content).encode())
    text = json.dumps(to_dict(run), indent=1, sort_keys=True, allow_nan=False)
    write_bytes(out[2], (text + "\n").encode())
    return out


def render_html(run: RunResults, content: TestContent | None) -> str:
    """Return the HTML text."""
    scapes = [(scape, soundscape_content(scape)) for scape in run.soundscapes]
    pictures: dict[str, Any] = {
        "histories": [
            (h.stage, h.kept, _uri(picture, "svg+xml")) for h in run.histories for picture in figures.history_figures(h)
        ],
        "soundscapes": [
            [_uri(figures.soundscape_figure(scape, run.labels, wide), "svg+xml") for wide in (False, True)]
            for scape, _ in scapes
        ],
        "operating": _uri(figures.operating_figure(run.operating), "svg+xml") if run.operating else None,
        "mistakes": [
            (
                _uri(figures.spectrogram_figure(m.pcm, m.sample_rate_hz), "png"),
                _uri(_wav(m.pcm, m.sample_rate_hz), "wav", "audio"),
            )
            for m in run.mistakes
        ],
        "soundscape_audio": [
            _uri(_flac(scape.pcm, scape.sample_rate_hz), "flac", "audio") if scape.pcm is not None else None
            for scape in run.soundscapes
        ],
        "others": [(caption, _uri(png, "png")) for caption, png in run.pictures],
    }
    if content:
        pictures["confusion"] = _uri(figures.confusion_figure(content.confusion_labels, content.confusion), "svg+xml")
        pictures["reliability"] = _uri(
            figures.reliability_figure(content.reliability_before, content.reliability_after, run.temperature),
            "svg+xml",
        )
        if content.curves:
            pictures["roc"] = _uri(figures.roc_figure(content.curves), "svg+xml")
            pictures["precision"] = _uri(figures.precision_recall_figure(content.curves), "svg+xml")
            pictures["det"] = _uri(figures.det_figure(content.curves), "svg+xml")
    template = _environment(autoescape=True).get_template(_TEMPLATE)
    return template.render(
        run=run,
        test=content,
        pictures=pictures,
        words=words_of(run, content),
        many=content is not None and len(content.confusion_labels) > figures.MANY_LABELS,
        scapes=[c for _, c in scapes],
        version=run.cheep_version or __version__,
    )


def render_markdown(run: RunResults, content: TestContent | None) -> str:
    """Return the same content as Markdown, without pictures and sound."""
    template = _environment(autoescape=False).get_template("report.md.j2")
    text = template.render(
        run=run,
        test=content,
        words=words_of(run, content),
        scapes=[soundscape_content(scape) for scape in run.soundscapes],
        version=run.cheep_version or __version__,
    )
    lines = [line.rstrip() for line in text.splitlines()]
    kept = [line for i, line in enumerate(lines) if line or (i and lines[i - 1])]
    return "\n".join(kept).strip() + "\n"


def _environment(autoescape: bool):
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(_FILTERS)
    return environment


def _number(digits: int, scale: float = 1.0, unit: str = "") -> Callable[[float | None], str]:
    def text(value: float | None) -> str:
        return "–" if value is None else f"{value * scale:.{digits}f}{unit}"

    return text


def _interval(digits: int, scale: float = 1.0) -> Callable[[Any], str]:
    """``low–high`` of a pair, or of the last two of (value, low, high)."""

    def text(value: Any) -> str:
        low, high = value[-2:] if value else (None, None)
        return "–" if low is None or high is None else f"{low * scale:.{digits}f}–{high * scale:.{digits}f}"

    return text


def _integer(value: float | None) -> str:
    return "–" if value is None else f"{round(value):,}"


def _setting(value: Any) -> str:
    return json.dumps(plain(value), ensure_ascii=False)


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


_FILTERS = {
    "percent": _number(1, 100.0, " %"),
    "share": _number(3),
    "two": _number(2),
    "three": _number(3),
    "threshold": lambda value: "–" if value is None else show_probability(value, 3),
    "integer": _integer,
    "setting": _setting,
    "cell": _cell,
    "interval": _interval(2),
    "percents": _interval(1, 100.0),
    "moment": lambda s: f"{int(s) // 60}:{s % 60:04.1f}",
    "clock": lambda s: f"{round(s) // 60}:{round(s) % 60:02d}",
}


def _uri(data: bytes, kind: str, family: str = "image") -> str:
    return f"data:{family}/{kind};base64,{base64.b64encode(data).decode()}"


def _wav(pcm: np.ndarray, sample_rate_hz: int) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, np.asarray(pcm, np.int16), sample_rate_hz, subtype="PCM_16", format="WAV")
    return out.getvalue()


def _flac(pcm: np.ndarray, sample_rate_hz: int) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, np.asarray(pcm, np.int16), sample_rate_hz, subtype="PCM_16", format="FLAC")
    return out.getvalue()
