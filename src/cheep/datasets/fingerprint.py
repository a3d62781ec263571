# SPDX-License-Identifier: MIT
"""Audio fingerprints: the same sound is found again in another file, at another rate, level or codec.

Peaks of a spectrogram (the loudest in their neighbourhood) are paired with the next peaks; a pair of frequencies
and their distance in time is a hash. Two files are duplicates where many hashes agree at one and the same shift.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence

import numpy as np

RATE_HZ = 16000
_FRAME = 1024
_HOP = 256
_FAN_OUT = 6
_COARSE = 3  # bins that count as one: a copy's peaks fall a little differently
_MAX_DT = 63
_MAX_HASHES = 3000  # per file


def fingerprint(pcm: np.ndarray) -> np.ndarray:
    """Return the hashes of samples (n,) int16 at 16 kHz: (hashes, 2) int64 of hash and frame."""
    if len(pcm) < 2 * _FRAME:
        return np.zeros((0, 2), np.int64)
    frames = np.lib.stride_tricks.sliding_window_view(pcm, _FRAME)[::_HOP].astype(np.float32)
    level = np.log(np.abs(np.fft.rfft(frames * np.hanning(_FRAME).astype(np.float32), axis=1)) + 1.0)
    level = level[:, 8:500]  # 125 Hz to 7.8 kHz
    level = level - np.median(level)
    top = level
    for shift in (1, 2, 4, 8):  # the greatest within 15 bins, 15 frames: by doubling
        top = np.maximum(top, np.maximum(_shifted(top, shift, 1), _shifted(top, -shift, 1)))
    for shift in (1, 2, 4):
        top = np.maximum(top, np.maximum(_shifted(top, shift, 0), _shifted(top, -shift, 0)))
    peak = (level >= top) & (level > 1.5)
    at, band = np.nonzero(peak)
    hashes = []
    for step in range(1, _FAN_OUT + 1):
        gap = at[step:] - at[:-step]
        use = (gap >= 1) & (gap <= _MAX_DT)
        first, second = band[:-step][use], band[step:][use]
        hashes.append(
            np.stack([(first // _COARSE * 256 + second // _COARSE) * 64 + gap[use] // 2, at[:-step][use]], axis=1)
        )
    found = np.concatenate(hashes) if hashes else np.zeros((0, 2))
    found = found[np.lexsort((found[:, 0], found[:, 1]))]
    if len(found) > _MAX_HASHES:
        found = found[np.linspace(0, len(found) - 1, _MAX_HASHES).astype(int)]
    return found.astype(np.int64)


def find_duplicates(prints: Sequence[np.ndarray], least: int = 12, part: float = 0.2) -> list[tuple[int, int, float]]:
    """Return ``(one, other, share)`` of files that share sound, ``one < other``.

    A pair counts where at least ``least`` hashes, and ``part`` of the smaller file's, agree at one shift in time
    (two frames more or less). ``share`` is that part. ``prints`` : of each file (hashes, 2) int64, hash and frame.
    """
    sizes = [len(item) for item in prints]
    if not sum(sizes):
        return []
    table = np.concatenate([np.column_stack([item, np.full(len(item), number)]) for number, item in enumerate(prints)])
    table = table[np.argsort(table[:, 0], kind="stable")]
    edges = np.flatnonzero(np.diff(table[:, 0])) + 1
    votes: collections.Counter[tuple[int, int, int]] = collections.Counter()
    for rows in np.split(table, edges):
        files = np.unique(rows[:, 2])
        if len(files) < 2 or len(rows) > 40:  # a hash that everyone has says nothing
            continue
        seen = set()
        for i in range(len(rows)):
            for j in range(i + 1, len(rows)):
                one, other = int(rows[i, 2]), int(rows[j, 2])
                if one == other:
                    continue
                shift = int(rows[i, 1] - rows[j, 1])
                key = (one, other, shift) if one < other else (other, one, -shift)
                if key not in seen:
                    seen.add(key)
                    votes[key] += 1
    by_pair: dict[tuple[int, int], dict[int, int]] = collections.defaultdict(dict)
    for (one, other, shift), count in votes.items():
        by_pair[one, other][shift] = count
    found = []
    for (one, other), shifts in by_pair.items():
        best = max(sum(shifts.get(shift + near, 0) for near in (-2, -1, 0, 1, 2)) for shift in shifts)
        share = best / max(min(sizes[one], sizes[other]), 1)
        if best >= least and share >= part:
            found.append((one, other, min(share, 1.0)))
    return sorted(found)


def _shifted(values: np.ndarray, by: int, axis: int) -> np.ndarray:
    out = np.full_like(values, -np.inf)
    source = [slice(None)] * 2
    target = [slice(None)] * 2
    source[axis] = slice(None, -by) if by > 0 else slice(-by, None)
    target[axis] = slice(by, None) if by > 0 else slice(None, by)
    out[tuple(target)] = values[tuple(source)]
    return out
