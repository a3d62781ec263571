# SPDX-License-Identifier: MIT
"""A contact sheet: doubtful windows as spectrogram pictures with sound, in one page, to confirm in minutes."""

from __future__ import annotations

import base64
import functools
import html
import io
import math
import wave
from pathlib import Path

import numpy as np

from cheep.audio import read_audio
from cheep.datasets.manifest import Manifest
from cheep.datasets.teacher import Teaching
from cheep.errors import CheepError
from cheep.parallel import map_each

MOST = 400  # windows on one page (about 25 kB each)

_CSS = """
body{font:15px/1.45 system-ui,sans-serif;margin:1rem auto;max-width:1200px;padding:0 1rem;color:#1a1a1a;background:#fff}
.sheet{display:grid;grid-template-columns:repeat(auto-fill,minmax(230px,1fr));gap:.8rem}
.card{border:1px solid #ccc;border-radius:6px;padding:.5rem;overflow-wrap:anywhere;font-size:.85rem}
.card img{width:100%;height:120px;image-rendering:pixelated;display:block}.card audio{width:100%;height:2rem}
.card.keep{background:#e5f3e8;border-color:#2b7a3d}label{display:block;margin-top:.3rem}textarea{width:100%}
.bar{position:sticky;top:0;background:#fff;padding:.5rem 0;border-bottom:1px solid #ccc}
"""
_SCRIPT = """
const out=document.getElementById('kept');
function show(){const n=[];document.querySelectorAll('.card input').forEach(i=>{
i.closest('.card').classList.toggle('keep',i.checked);if(i.checked)n.push(i.value)});out.value=n.join(' ');}
document.addEventListener('change',e=>{if(e.target.matches('.card input'))show()});
document.addEventListener('play',e=>{document.querySelectorAll('audio').forEach(a=>{if(a!==e.target)a.pause()})},true);
show();
"""


def contact_sheet(
    manifest: Manifest, found: Teaching, sample_rate_hz: int, kept: frozenset[int] = frozenset(), about: str = ""
) -> str:
    """Return the page for the doubtful windows of ``found``, the least plausible first.

    ``about``: a sentence in place of the question which are to be kept, for windows that nothing will drop.
    """
    e = html.escape
    rows = found.doubtful[:MOST]
    labels = manifest.column("label")
    recordings = manifest.column("recording")
    recordists = manifest.column("recordist")
    cards = []
    work = functools.partial(_media, sample_rate_hz)
    tasks = [(manifest.audio_path(row), float(manifest.start_s[row]), float(manifest.duration_s[row])) for row in rows]
    for row, outcome in zip(rows, map_each(work, tasks), strict=True):
        media = outcome.value
        checked = " checked" if row in kept else ""
        cards.append(
            f"<div class='card'>{media}<b>{e(labels[row])}</b>? {100 * found.plausibility[row]:.0f} % plausible, "
            f"sounds like {e(found.labels[found.opinion[row]])}<br>{e(recordings[row])} at {manifest.start_s[row]:g} s"
            + (f", {e(recordists[row])}" if recordists[row] else "")
            + (
                "</div>"
                if about
                else f"<label><input type='checkbox' value='{row + 1}'{checked}> keep (row {row + 1})</label></div>"
            )
        )
    more = f" Shown: the {MOST} least plausible of {len(found.doubtful)}." if len(found.doubtful) > MOST else ""
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<title>Doubtful windows</title><style>{_CSS}</style></head><body>"
        f"<h1>{len(found.doubtful)} doubtful windows</h1>"
        + (
            f"<p>{e(about)}{more}</p>"
            if about
            else f"<p>A model that never heard these recordings doubts their labels.{more} Listen, and tick those "
            "whose label is right; they are kept. The numbers below go into a text file for <code>--keep</code>; the "
            "others are dropped.</p>"
            "<div class='bar'><label>Keep: <textarea id='kept' rows='2' readonly></textarea></label></div>"
        )
        + f"<div class='sheet'>{''.join(cards)}</div>"
        + ("" if about else f"<script>{_SCRIPT}</script>")
        + "</body></html>\n"
    )


def spectrogram_png(pcm: np.ndarray, sample_rate_hz: int, height: int = 96) -> bytes:
    """Return a PNG of samples (n,) int16: time to the right, 0 Hz to half the rate up, 60 dB from dark to light."""
    import matplotlib
    from PIL import Image

    size = 256 if sample_rate_hz <= 12000 else 512
    pcm = np.pad(pcm, (0, max(0, size - len(pcm))))
    hop = max(1, (len(pcm) - size) // 230 + 1)
    frames = np.lib.stride_tricks.sliding_window_view(pcm, size)[::hop].astype(np.float32)
    level = 20 * np.log10(np.abs(np.fft.rfft(frames * np.hanning(size).astype(np.float32), axis=1)) + 1)
    step = max(1, math.ceil(level.shape[1] / height))
    level = level[:, : level.shape[1] // step * step].reshape(len(level), -1, step).max(axis=2)
    scaled = np.clip((level - level.max()) / 60 + 1, 0, 1)
    pixels = (matplotlib.colormaps["magma"](scaled.T[::-1])[:, :, :3] * 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).quantize(64).save(out, "PNG", optimize=True)
    return out.getvalue()


def _media(sample_rate_hz: int, task: tuple[Path, float, float]) -> str:
    """The picture and the sound of a window (path, start, length in s), or why there is none."""
    path, start_s, duration_s = task
    try:
        pcm = read_audio(path, sample_rate_hz)
    except CheepError as error:
        return f"<p>{html.escape(str(error))}</p>"
    first = round(start_s * sample_rate_hz)
    pcm = pcm[first : first + max(1, round(duration_s * sample_rate_hz))]
    return (
        f"<img alt='spectrogram' src='data:image/png;base64,{_base64(spectrogram_png(pcm, sample_rate_hz))}'>"
        f"<audio controls preload='none' src='data:audio/wav;base64,{_base64(_wav(pcm, sample_rate_hz))}'></audio>"
    )


def _wav(pcm: np.ndarray, sample_rate_hz: int) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes(pcm.astype("<i2").tobytes())
    return out.getvalue()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
