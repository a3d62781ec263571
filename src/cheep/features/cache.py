# SPDX-License-Identifier: MIT
"""Feature cache: the mel columns of whole recordings, computed once, on every core, in bounded memory."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import logging
import mmap
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from cheep.audio import iter_audio
from cheep.config import FeatureConfig
from cheep.errors import CheepError
from cheep.features.digests import digests_of
from cheep.files import atomic_write, write_text
from cheep.parallel import map_each
from cheep.provenance import code_digest

log = logging.getLogger(__name__)
_LARGE_BYTES = 1 << 30  # a file that may not fit into the memory
_TAKEN_AT_ONCE = 2048  # windows of it


@dataclasses.dataclass(frozen=True)
class FeatureCache:
    """Columns of many recordings, one after another.

    ``columns`` is (total, n_mels) float32, memory-mapped; recording ``path`` has ``spans[path] = (first, count)``.
    """

    config: FeatureConfig
    columns: np.ndarray
    spans: dict[str, tuple[int, int]]

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the columns at ``rows`` (k, frames) int64, (k, frames, n_mels) float32.

        What was read of a large file does not stay in the memory of the process: the system keeps it where it has room.
        """
        if self.columns.nbytes <= _LARGE_BYTES:
            return self.columns[rows]
        out = np.empty((*rows.shape, self.columns.shape[1]), np.float32)
        for first in range(0, len(rows), _TAKEN_AT_ONCE):
            part = slice(first, first + _TAKEN_AT_ONCE)
            out[part] = self.columns[rows[part]]
            _advise(self.columns, "MADV_DONTNEED")
        return out


def recording_columns(path: str | os.PathLike, config: FeatureConfig) -> np.ndarray:
    """Return the mel columns of one file, (columns, n_mels) float32, streamed block by block.

    A recording shorter than one network window stands in the middle of silence (:func:`centre_in_silence`): its own
    quiet parts would not do, as a word or call that is cut out tightly has none.
    """
    from cheep.features import FrontendStream

    stream = FrontendStream(config)
    parts: list[np.ndarray] = []
    held, n_held = [], 0  # what came before the first window was full
    for block in iter_audio(path, config.sample_rate_hz, notes=[]):  # split and inspect have told of its header
        if n_held < config.window_samples:
            held.append(block)
            n_held += len(block)
        else:
            parts += [stream.push(each) for each in (*held, block)]
            held = []
    pcm = np.concatenate(held) if held else np.zeros(0, np.int16)
    if not parts:
        pcm = centre_in_silence(pcm, config.window_samples)
    return np.concatenate([*parts, stream.push(pcm)])


def centre_in_silence(pcm: np.ndarray, n_samples: int) -> np.ndarray:
    """Return ``pcm`` (n,) int16 with digital silence before and after it, at least ``n_samples`` in all."""
    missing = max(0, n_samples - len(pcm))
    return np.pad(pcm, (missing // 2, missing - missing // 2))


def build_feature_cache(
    paths: Sequence[Path],
    names: Sequence[str],
    config: FeatureConfig,
    folder: Path,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FeatureCache:
    """Compute, or take up again, the features of ``paths``.

    Parameters
    ----------
    paths, names : sequences of equal length
        Audio files and the names they have in the cache (the manifest's ``path``).
    folder : Path
        Where ``features-HASH.f32`` and its index are kept; HASH covers the settings, the code (C core included) and the
        files' contents (known from ``digests.json`` where nothing about a file has changed).
    workers : int, optional
        Processes; default one per core.
    progress : callable, optional
        Called with (done, total) after each recording.

    Raises
    ------
    CheepError
        For the first unreadable recording, naming it; nothing incomplete is kept.
    """
    check_there(paths)
    key = hashlib.sha256(f"{code_digest(__name__)}\0{config.to_json()}".encode())
    digests = digests_of(paths, folder)
    for name, digest in zip(names, digests, strict=True):
        key.update(f"{name}\0{digest}\0".encode())
    stem = folder / f"features-{key.hexdigest()[:16]}"
    data_path, index_path = stem.with_suffix(".f32"), stem.with_suffix(".json")
    if not (index_path.is_file() and data_path.is_file()):
        _compute(paths, names, config, data_path, index_path, workers, progress)
    index = json.loads(index_path.read_text(encoding="utf-8"))
    return open_cache(data_path, config, {name: tuple(span) for name, span in index["spans"].items()})


def check_there(paths: Sequence[Path]) -> None:
    """Raise :class:`CheepError` where recordings of a manifest are not there."""
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise CheepError(
            f"{missing[0]}: no such recording ({len(missing)} of {len(paths)} are missing); "
            "make the manifest again with cheep split-dataset"
        )


def open_cache(path: Path, config: FeatureConfig, spans: dict[str, tuple[int, int]]) -> FeatureCache:
    """Return the cache that a file of float32 columns and its spans are; the file is read as it is used."""
    columns = np.memmap(path, np.float32, "r").reshape(-1, config.n_mels)
    if columns.nbytes > _LARGE_BYTES:
        _advise(columns, "MADV_RANDOM")  # windows lie anywhere: what follows them is not read ahead
    return FeatureCache(config, columns, spans)


def _advise(columns: np.ndarray, advice: str) -> None:
    """Tell the system how a memory-mapped array is used, where it can be told."""
    file = getattr(columns, "_mmap", None)
    if file is not None and hasattr(mmap, advice):
        file.madvise(getattr(mmap, advice))


def _compute(paths, names, config, data_path: Path, index_path: Path, workers, progress) -> None:
    spans, total = {}, 0
    work = functools.partial(recording_columns, config=config)
    with atomic_write(data_path) as out:
        for name, outcome in zip(names, map_each(work, paths, jobs=workers, progress=progress), strict=True):
            out.write(outcome.value.tobytes())
            spans[name] = (total, len(outcome.value))
            total += len(outcome.value)
    text = json.dumps({"features": config.to_dict(), "spans": spans}, sort_keys=True, separators=(",", ":"))
    write_text(index_path, text + "\n")
