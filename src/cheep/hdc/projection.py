# SPDX-License-Identifier: MIT
"""Seeded projections, the same words and numbers as in ``firmware/common/src/cheep_hdc_project.c``."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from cheep.errors import CheepError
from cheep.hdc.config import MAX_DIMS, PROJECTIONS

NORMAL_DEVIATION = 40


def random_words(seed: int, index: np.ndarray) -> np.ndarray:
    """Return words ``index`` of the stream of ``seed``: a counter through C. Wellons' lowbias32.

    ``index`` : integers of any shape, taken modulo 2^32; the words are uint32 of that shape.
    """
    key = _mix(np.array([(seed + 0x9E3779B9) & 0xFFFFFFFF], np.uint32))
    with np.errstate(over="ignore"):
        return _mix((np.asarray(index).astype(np.uint32) * np.uint32(0x9E3779B9)) ^ key)


def _mix(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        x = x ^ (x >> np.uint32(16))
        x = x * np.uint32(0x7FEB352D)
        x = x ^ (x >> np.uint32(15))
        x = x * np.uint32(0x846CA68B)
        return x ^ (x >> np.uint32(16))


def normal_quantiles() -> np.ndarray:
    """Return the values, (256,) int8, that a random byte of the Gaussian projection selects."""
    normal = NormalDist()
    return np.array([round(NORMAL_DEVIATION * normal.inv_cdf((i + 0.5) / 256)) for i in range(256)], np.int8)


def padded_dims(n_dims: int) -> int:
    """Columns of the Gaussian table: ``n_dims`` rounded up to 16."""
    return (n_dims + 15) // 16 * 16


def block_size(n_dims: int) -> int:
    """Rows and columns of one block of the Hadamard projection: the power of two from 32 that holds ``n_dims``."""
    return max(32, 1 << (n_dims - 1).bit_length())


def projection_matrix(kind: str, n_dims: int, hyper: int, seed: int) -> np.ndarray:
    """Return the projection as a matrix.

    Parameters
    ----------
    kind : {"gaussian", "bipolar", "hadamard"}
        Independent normal entries of deviation 40; independent +1/-1; blocks of (Walsh-Hadamard x random signs).
    n_dims, hyper : int
        Size of the embedding (1..256) and of the hypervector (a multiple of 256).
    seed : int
        0..2^32-1.

    Returns
    -------
    ndarray
        (hyper, n_dims) int8.
    """
    if kind not in PROJECTIONS:
        raise CheepError(f"projection={kind!r}: must be one of {', '.join(PROJECTIONS)}")
    if not 1 <= n_dims <= MAX_DIMS:
        raise CheepError(f"embedding of {n_dims} values: must be 1..{MAX_DIMS} (cut the network at a narrower layer)")
    words = stream_words(kind, n_dims, hyper, seed)
    if kind == "gaussian":
        raw = words.astype("<u4").view(np.uint8).reshape(hyper, -1)
        return normal_quantiles()[raw][:, :n_dims].copy()
    signs = _signs(words)
    if kind == "bipolar":
        return signs.reshape(hyper, -1)[:, :n_dims].copy()
    size = block_size(n_dims)
    rows = signs.reshape(hyper // size, 1, size) * walsh_hadamard(size)[None]
    return rows.reshape(hyper, size)[:, :n_dims].copy()


def stream_words(kind: str, n_dims: int, hyper: int, seed: int) -> np.ndarray:
    """Return the random words that define the projection, (words,) uint32, in the order of the stream."""
    if kind == "gaussian":
        count = hyper * padded_dims(n_dims) // 4
    elif kind == "bipolar":
        count = hyper * ((n_dims + 31) // 32)
    else:
        count = hyper // 32
    return random_words(seed, np.arange(count, dtype=np.uint32))


def projection_table(kind: str, n_dims: int, hyper: int, seed: int) -> np.ndarray:
    """Return the table that the C core may read instead of the seed, (words,) uint32.

    Gaussian: lane-coded, 4 rows interleaved (``hyper * padded_dims`` bytes); bipolar: one bit per entry; Hadamard:
    the signs of its blocks (``hyper / 8`` bytes).
    """
    if kind != "gaussian":
        return stream_words(kind, n_dims, hyper, seed)
    return coded_matrix(projection_matrix(kind, n_dims, hyper, seed))


def coded_matrix(matrix: np.ndarray) -> np.ndarray:
    """Return a Gaussian table's words, (words,) uint32, of any matrix (hyper, n_dims) int8 of -127..127."""
    hyper, n_dims = matrix.shape
    padded = padded_dims(n_dims)
    full = np.zeros((hyper, padded), np.int8)
    full[:, :n_dims] = matrix
    coded = lane_code(full.reshape(hyper // 4, 4, padded))  # (groups, row in group, quads)
    return np.ascontiguousarray(coded.transpose(0, 2, 1)).reshape(-1)


def walsh_hadamard(size: int) -> np.ndarray:
    """Return the (size, size) int8 Walsh-Hadamard matrix in natural order."""
    matrix = np.ones((1, 1), np.int8)
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix.astype(np.int8)


def _signs(words: np.ndarray) -> np.ndarray:
    bits = np.unpackbits(words.astype("<u4").view(np.uint8), bitorder="little")
    return (2 * bits.astype(np.int8) - 1).astype(np.int8)


def lane_code(values: np.ndarray) -> np.ndarray:
    """Code int8 values (..., 4 * k) of -127..127 as words (..., k) uint32: halves 256 b1 + b0 and 256 b3 + b2."""
    b = values.astype(np.int64).reshape(*values.shape[:-1], -1, 4)
    low = (256 * b[..., 1] + b[..., 0]) & 0xFFFF
    high = (256 * b[..., 3] + b[..., 2]) & 0xFFFF
    return (low | (high << 16)).astype(np.uint32)


def lane_decode(words: np.ndarray) -> np.ndarray:
    """Return the int8 values (..., 4 * k) of lane-coded words (..., k) uint32."""
    halves = np.ascontiguousarray(words.astype("<u4")).view("<i2").astype(np.int32)  # (..., 2 k)
    even = ((halves + 128) & 0xFF) - 128
    odd = (halves - even) >> 8
    return np.stack([even, odd], axis=-1).reshape(*words.shape[:-1], -1).astype(np.int8)


def pack_bits(values: np.ndarray) -> np.ndarray:
    """Pack signs (..., 32 * k) int8 into words (..., k) uint32: a bit is set where the value is not negative.

    Element 2 i of 32 goes to bit i, element 2 i + 1 to bit 16 + i.
    """
    bits = (np.asarray(values) >= 0).reshape(*np.shape(values)[:-1], -1, 16, 2)
    ordered = np.swapaxes(bits, -1, -2).reshape(*bits.shape[:-2], 32)
    return np.packbits(ordered, axis=-1, bitorder="little").view("<u4")[..., 0].astype(np.uint32)


def unpack_bits(words: np.ndarray) -> np.ndarray:
    """Return the signs (..., 32 * k) int8, +1 or -1, of packed words (..., k) uint32."""
    raw = np.ascontiguousarray(np.asarray(words).astype("<u4"))[..., None].view(np.uint8)
    bits = np.unpackbits(raw, axis=-1, bitorder="little").reshape(*raw.shape[:-1], 2, 16)
    ordered = np.swapaxes(bits, -1, -2).reshape(*np.shape(words)[:-1], -1)
    return (2 * ordered.astype(np.int8) - 1).astype(np.int8)
