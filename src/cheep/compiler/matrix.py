# SPDX-License-Identifier: MIT
"""Weights and constants of the matrix kernels: filters in pairs, four values at a time (see ``kernels.c``)."""

from __future__ import annotations

import dataclasses

import numpy as np

from cheep.compiler.requantize import Channels

_OFFSET = 127  # the kernels take it from every second value
_LARGEST_SUM = 1 << 23  # of products, before they are scaled back
UNPACKABLE = "a weight of -128 follows a negative one"
_MOST_VECTOR_FOURS = 128  # of a dense layer's input, expanded at a time


@dataclasses.dataclass(frozen=True)
class Packed:
    """``weights``: int8 in the kernels' order; ``channels``: rows of ``cheep_channel``; ``chunk`` of ``fours``."""

    weights: np.ndarray
    channels: list[tuple[int, int, int, int]]
    fours: int
    chunk: int


def packable(weights: np.ndarray) -> bool:
    """Whether weights fit the kernels' form: no -128 after a negative weight.

    ``weights`` : int8, (filters, h, w, c) of CONV or (outputs, inputs) of DENSE.
    """
    rows = filter_rows(weights if weights.ndim == 4 else weights[:, None, None]).astype(np.int64)
    return not np.any(256 * rows[:, 1::2] + rows[:, 0::2] < -32768)


def filter_rows(weights: np.ndarray, pieces: int = 1) -> np.ndarray:
    """Return (filters, values) int8 of CONV weights (filters, h, w, c): each piece padded to a multiple of four.

    ``pieces``: runs of consecutive bytes in a row under the filter.
    """
    n, height = weights.shape[:2]
    rows = weights.reshape(n, height * pieces, -1)
    return np.pad(rows, ((0, 0), (0, 0), (0, -rows.shape[2] % 4))).reshape(n, -1)


def pack(filters: np.ndarray, channels: Channels, vector: bool = False) -> Packed:
    """Pack ``filters`` (n, values) int8, a multiple of four values (``vector``: of eight, for a dense layer)."""
    n, values = filters.shape
    wide = np.pad(filters, ((0, n % 2), (0, 0))).astype(np.int64)
    fours = values // 4
    chunk = _chunk(wide, fours, vector)
    halves = (256 * wide[:, 1::2] + wide[:, 0::2]).astype("<i2")  # (n, 2 * fours)
    pairs = np.ascontiguousarray(halves).view(np.int8).reshape(-1, 2, fours, 4).transpose(0, 2, 1, 3)
    if vector:  # [chunk][pair][four]
        pairs = np.concatenate([pairs[:, i : i + chunk].reshape(-1) for i in range(0, fours, chunk)])
    odd = wide[:, 1::2].sum(axis=1)
    rows = [
        row if row[1] == 0 else (row[0] + 2 * _OFFSET * int(odd[i]), *row[1:]) for i, row in enumerate(channels.fast)
    ]
    return Packed(pairs.reshape(-1), rows, fours, chunk)


def _chunk(filters: np.ndarray, fours: int, vector: bool) -> int:
    """Return how many fours may be summed up: no sum of products may reach 2^23."""
    even, odd = filters[:, 0::2], filters[:, 1::2]
    ends = [(128 * np.abs(even) + 255 * np.maximum(sign * odd, 0)).reshape(len(filters), fours, 2) for sign in (1, -1)]
    most = max(2, _MOST_VECTOR_FOURS if vector else fours)
    chunk = min(fours, most)
    while True:
        starts = range(0, fours, chunk)
        largest = max(int(e[:, i : i + chunk].sum(axis=(1, 2)).max()) for e in ends for i in starts)
        if largest < _LARGEST_SUM or chunk <= 2:
            return chunk
        chunk = max(2, chunk // 2 // 2 * 2)
