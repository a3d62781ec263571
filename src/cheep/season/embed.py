# SPDX-License-Identifier: MIT
"""The network's own embedding of clips: for the order of review, and for finding what sounds alike.

The embedding is what stands before the last dense layer of the int8 network, of the window with the largest score in a
clip, with the device's own front end. It is kept in ``SEASON/embeddings/MODEL.parquet``; only clips that are not there
yet are heard.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cheep.audio import float_to_int16, int16_to_float, read_span, resample
from cheep.files import atomic_path
from cheep.parallel import map_each
from cheep.season.export import file_of
from cheep.season.schema import ModelRow
from cheep.season.store import Season

FOLDER = "embeddings"
Place = tuple[str, float]  # recording, start of the window in s


def embeddings_of(
    season: Season,
    model: ModelRow,
    places: Sequence[Place],
    on_file: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, list[str]]:
    """Return the embeddings of windows, (places, dims) float32, and what could not be read.

    Parameters
    ----------
    places
        Recording and start of each window, s. Rows of files that cannot be read are NaN.
    """
    path = season.folder / FOLDER / f"{model.model}.parquet"
    known = _read(path)
    wanted: dict[str, list[float]] = {}
    for recording, start in dict.fromkeys(_key(place) for place in places):
        if (recording, start) not in known:
            wanted.setdefault(recording, []).append(start)
    problems = []
    if wanted:
        rows = season.recordings(["recording", "folder", "path"]).to_pylist()
        files = {row["recording"]: file_of(row) for row in rows}
        work = functools.partial(_embed_recording, season.model_file(model), model)
        items = [(name, files.get(name, Path(name)), starts) for name, starts in wanted.items()]
        for (name, file, starts), outcome in zip(items, map_each(work, items, progress=on_file), strict=True):
            if outcome.error is not None:
                problems.append(f"{file}: {outcome.error}")
                continue
            known |= {(name, start): vector for start, vector in zip(starts, outcome.value, strict=True)}
        _write(path, known)
    dims = next((len(vector) for vector in known.values()), 1)
    out = np.full((len(places), dims), np.nan, np.float32)
    for row, place in enumerate(places):
        vector = known.get(_key(place))
        if vector is not None:
            out[row] = vector
    return out, problems


def kept_places(season: Season, model: ModelRow) -> list[Place]:
    """Return the windows that have been embedded: recording, and start of the window in s."""
    return sorted(_read(season.folder / FOLDER / f"{model.model}.parquet"))


def best_window(model: ModelRow, logits: np.ndarray, start_s: float, end_s: float) -> float:
    """Return the start (s) of the window of the largest of ``logits`` (windows,) float32 with its middle in a clip."""
    middle = np.arange(len(logits)) * model.stride_s + model.window_s / 2
    inside = np.flatnonzero((middle >= start_s) & (middle < end_s))
    if not len(inside):
        return max(0.0, start_s)
    return float(inside[np.argmax(logits[inside])] * model.stride_s)


def _embed_recording(file: Path, model: ModelRow, item: tuple[str, Path, list[float]]) -> np.ndarray:
    """Return the embeddings of windows of one recording, (windows, dims) float32."""
    from cheep.features import compute_features, quantize

    _, path, starts = item
    extractor, features, tensor = _extractor(str(file))
    windows = []
    for start in starts:
        pcm, rate = read_span(path, start, start + features.window_s + 1e-9)
        if rate != features.sample_rate_hz:
            pcm = float_to_int16(resample(int16_to_float(pcm), rate, features.sample_rate_hz))
        needed = features.window_samples
        pcm = np.pad(pcm, (0, max(0, needed - len(pcm))))[:needed]
        columns = compute_features(pcm, features)[: features.window_frames]
        windows.append(quantize(columns, tensor.scale, tensor.zero_point))
    raw = extractor.embed(np.stack(windows))
    return ((raw.astype(np.float32) - extractor.zero_point) * extractor.scale).astype(np.float32)


@functools.lru_cache(maxsize=2)
def _extractor(file: str):
    from cheep.device.bundle import load_bundle
    from cheep.hdc.extractor import cut_at_embedding

    bundle = load_bundle(file)
    return cut_at_embedding(file), bundle.features, bundle.input


def _key(place: Place) -> Place:
    return place[0], round(float(place[1]), 3)


def _read(path: Path) -> dict[Place, np.ndarray]:
    if not path.is_file():
        return {}
    table = pq.read_table(path)
    vectors = np.array(table["embedding"].to_pylist(), np.float32)
    places = zip(table["recording"].to_pylist(), table["start_s"].to_pylist(), strict=True)
    return dict(zip(places, vectors, strict=True))


def _write(path: Path, known: dict[Place, np.ndarray]) -> None:
    places = sorted(known)
    table = pa.table(
        {
            "recording": [place[0] for place in places],
            "start_s": [place[1] for place in places],
            "embedding": pa.array([known[place].tolist() for place in places], pa.list_(pa.float32())),
        }
    )
    with atomic_path(path) as part:
        pq.write_table(table, part, compression="zstd")
