# SPDX-License-Identifier: MIT
"""A trained hyperdimensional head in integers: the numpy twin of the C core, bit for bit."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math

import numpy as np

from cheep.config import canonical_json
from cheep.errors import CheepError
from cheep.hdc.config import HdcConfig
from cheep.hdc.projection import coded_matrix, pack_bits, projection_matrix, projection_table

GAIN_SHIFT = 12
EMBEDDING_DEVIATION = 32.0  # of the normalized embedding, in steps: +-127 is four deviations
HYPER_DEVIATION = 32.0
GAUSSIAN_SHIFT = 8
NEVER_REJECT = -(2**31)


@dataclasses.dataclass(frozen=True)
class HdcScaling:
    """Integer normalization of the embedding and the shift of int8 hypervectors.

    Attributes
    ----------
    center
        (n_dims,) int16, in 1/16 of a step of the embedding.
    gain
        (n_dims,) int16; ``e = clip((16 q - center) * gain + 2^(gain_shift - 1)) >> gain_shift, +-127)``.
    shift
        Right shift of the projection for the int8 form.
    """

    center: np.ndarray
    gain: np.ndarray
    shift: int
    gain_shift: int = GAIN_SHIFT

    @property
    def n_dims(self) -> int:
        """Size of the embedding."""
        return len(self.center)

    def apply(self, embedding: np.ndarray) -> np.ndarray:
        """Normalize int8 embeddings (n, n_dims); returns int8 in -127..127, same shape."""
        x = (16 * embedding.astype(np.int64) - self.center) * self.gain.astype(np.int64)
        return np.clip((x + (1 << (self.gain_shift - 1))) >> self.gain_shift, -127, 127).astype(np.int8)


def fit_scaling(embedding: np.ndarray, config: HdcConfig) -> HdcScaling:
    """Choose center, gain and shift from int8 embeddings (n, n_dims) of training examples."""
    q = embedding.astype(np.float64)
    if config.normalize == "none":
        center = np.zeros(q.shape[1])
        gain = np.ones(q.shape[1])
    else:
        center = q.mean(axis=0)
        deviation = q.std(axis=0)
        typical = float(np.sqrt(np.mean(deviation**2))) or 1.0
        if config.normalize == "center":
            deviation = np.full_like(deviation, typical)
        gain = EMBEDDING_DEVIATION / np.maximum(deviation, 0.25 * typical)
    fixed_center = np.clip(np.rint(16 * center), -2048, 2047).astype(np.int16)
    fixed_gain = np.clip(np.rint(gain / 16 * 2**GAIN_SHIFT), 1, 32767).astype(np.int16)
    scaling = HdcScaling(fixed_center, fixed_gain, 0)
    accumulated = project(scaling.apply(embedding[:4096]), config)
    deviation = float(np.sqrt(np.mean(accumulated.astype(np.float64) ** 2)))
    shift = int(np.clip(round(math.log2(max(deviation, 1e-9) / HYPER_DEVIATION)), 0, 20))
    if config.projection == "gaussian" and abs(shift - GAUSSIAN_SHIFT) <= 1:
        shift = GAUSSIAN_SHIFT  # the shift that costs no instruction
    return dataclasses.replace(scaling, shift=shift)


@functools.lru_cache(maxsize=8)
def _float_matrix(kind: str, n_dims: int, hyper: int, seed: int) -> np.ndarray:
    return np.ascontiguousarray(projection_matrix(kind, n_dims, hyper, seed).T.astype(np.float32))


def project(normalized: np.ndarray, config: HdcConfig, matrix: np.ndarray | None = None) -> np.ndarray:
    """Project normalized embeddings (n, n_dims) int8 to (n, H) int32.

    ``matrix`` : (H, n_dims) int8, in place of the seed's.

    Sums stay below 2^24 in size (256 products of at most 127 x 127), so single precision holds them exactly.
    """
    if matrix is None:
        columns = _float_matrix(config.projection, normalized.shape[1], config.hyper, config.seed)
    else:
        columns = matrix.T.astype(np.float32)
    return (normalized.astype(np.float32) @ columns).astype(np.int32)


def hypervectors(projected: np.ndarray, form: str, shift: int) -> np.ndarray:
    """Turn projections (n, H) int32 into hypervectors (n, H) int8: odd numbers, or +1/-1 (bipolar and binary)."""
    if form != "int8":
        return np.where(projected >= 0, 1, -1).astype(np.int8)
    return (np.clip(projected >> shift, -128, 127) | 1).astype(np.int8)


def isqrt(x: np.ndarray) -> np.ndarray:
    """Floor of the square root of integers below 2^52, int64, any shape."""
    root = np.sqrt(np.asarray(x, np.float64)).astype(np.int64)
    root -= root * root > x
    return root + ((root + 1) * (root + 1) <= x)


def inverse_length(vectors: np.ndarray) -> np.ndarray:
    """Return 2^38 / floor(16 |v|), (n,) int64, of integer vectors (n, H); lengths below 16 count as 16."""
    v = vectors.astype(np.float64)
    length = isqrt(np.rint(np.einsum("nh,nh->n", v, v)).astype(np.int64) << 8)
    return (1 << 38) // np.maximum(length, 256)


def prototypes_of(sums: np.ndarray, form: str) -> np.ndarray:
    """Make prototypes (classes, H) int8 of bundles (classes, H): scaled to +-127, or the sign (binary; 0 is +)."""
    sums = np.asarray(sums).astype(np.int64)
    if form == "binary":
        return np.where(sums >= 0, 1, -1).astype(np.int8)
    largest = np.maximum(np.abs(sums).max(axis=1, keepdims=True), 1)
    return (np.sign(sums) * ((254 * np.abs(sums) + largest) // (2 * largest))).astype(np.int8)


@dataclasses.dataclass(frozen=True)
class HdcModel:
    """What a device needs: settings, normalization, prototypes, labels, threshold.

    Attributes
    ----------
    prototypes
        (classes, H) int8: -127..127, or +1/-1 for the binary form.
    reject
        Best scores below it are "unknown"; in units of the scores.
    extractor_sha256
        Of the ``.tflite`` that makes the embeddings; empty when there is none.
    reminders
        (classes, k, n_dims) int8: typical embeddings of each class, for rehearsal on the device; None: there are none.
    matrix
        (H, n_dims) int8 of -127..127: a projection from elsewhere, always a table; None: that of the seed.
    """

    config: HdcConfig
    scaling: HdcScaling
    prototypes: np.ndarray
    labels: tuple[str, ...]
    reject: int = NEVER_REJECT
    extractor_sha256: str = ""
    input_scale: float = 1.0
    input_zero_point: int = 0
    reminders: np.ndarray | None = None
    matrix: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.prototypes.shape != (len(self.labels), self.config.hyper):
            raise CheepError(
                f"prototypes of shape {self.prototypes.shape}: must be ({len(self.labels)} labels, {self.config.hyper})"
            )
        if self.matrix is not None and self.matrix.shape != (self.config.hyper, self.n_dims):
            raise CheepError(f"projection of shape {self.matrix.shape}: must be ({self.config.hyper}, {self.n_dims})")
        wanted = (len(self.labels), self.n_dims)
        if self.reminders is not None and (self.reminders.shape[0], self.reminders.shape[2]) != wanted:
            raise CheepError(f"reminders of shape {self.reminders.shape}: must be {wanted[0]} labels, k, {wanted[1]}")

    @property
    def n_dims(self) -> int:
        """Size of the embedding."""
        return self.scaling.n_dims

    def table(self) -> np.ndarray:
        """Return the projection as the C core reads it, (words,) uint32."""
        if self.matrix is not None:
            return coded_matrix(self.matrix)
        return projection_table(self.config.projection, self.n_dims, self.config.hyper, self.config.seed)

    @property
    def id32(self) -> int:
        """Names extractor, normalization and projection: classes learned on a device belong to it."""
        described = {
            "extractor": self.extractor_sha256,
            "hyper": self.config.hyper,
            "projection": self.config.projection,
            "form": self.config.form,
            "seed": self.config.seed,
            "center": self.scaling.center.tolist(),
            "gain": self.scaling.gain.tolist(),
            "shifts": [self.scaling.shift, self.scaling.gain_shift],
        }
        if self.matrix is not None:
            described["matrix"] = hashlib.sha256(self.matrix.tobytes()).hexdigest()
        return int(hashlib.sha256(canonical_json(described).encode()).hexdigest()[:8], 16)

    def encode(self, embedding: np.ndarray) -> np.ndarray:
        """Return the hypervectors (n, H) int8 of int8 embeddings (n, n_dims)."""
        embedding = np.atleast_2d(embedding)
        if embedding.shape[1] != self.n_dims or embedding.dtype != np.int8:
            raise CheepError(
                f"embedding {embedding.dtype} {embedding.shape}: must be int8 (n, {self.n_dims}), "
                "as the extractor gives"
            )
        projected = project(self.scaling.apply(embedding), self.config, self.matrix)
        return hypervectors(projected, self.config.form, self.scaling.shift)

    def scores_of(self, hv: np.ndarray, prototypes: np.ndarray | None = None) -> np.ndarray:
        """Return scores (n, classes) int32 of hypervectors (n, H) int8: cosine in 1/32768, or the integer dot product.

        ``prototypes`` : (classes, H) int8; None: the model's.
        """
        return similarity(hv, self.prototypes if prototypes is None else prototypes, self.config)

    def scores(self, embedding: np.ndarray) -> np.ndarray:
        """Encode and compare: (n, n_dims) int8 -> (n, classes) int32."""
        return self.scores_of(self.encode(embedding))

    def predict(self, embedding: np.ndarray, unknown: bool = False) -> np.ndarray:
        """Return the class indices, (n,) int64, of embeddings (n, n_dims) int8.

        With ``unknown``, -1 where the best score is below :attr:`reject`.
        """
        scores = self.scores(embedding)
        best = scores.argmax(axis=1)
        if unknown:
            best = np.where(scores.max(axis=1) < self.reject, -1, best)
        return best

    def quantize(self, embedding: np.ndarray) -> np.ndarray:
        """Quantize float embeddings (n, n_dims) by the extractor's output scale: int8, same shape."""
        q = np.rint(np.asarray(embedding, np.float64) / self.input_scale) + self.input_zero_point
        return np.clip(q, -128, 127).astype(np.int8)


def similarity(hv: np.ndarray, prototypes: np.ndarray, config: HdcConfig) -> np.ndarray:
    """Compare hypervectors (n, H) with prototypes (classes, H), both int8; the C core's rule.

    Returns
    -------
    ndarray
        (n, classes) int32: ``dot``: the sum of products; ``cosine``: in 1/32768, at most 2 too low; ``hamming``:
        H minus twice the number of differing bits, over H, in 1/32768.
    """
    products = np.rint(hv.astype(np.float64) @ prototypes.T.astype(np.float64)).astype(np.int64)
    if config.similarity == "dot":
        return products.astype(np.int32)
    if config.form == "binary":
        return _divide(products * 32768, np.full((1, 1), config.hyper)).astype(np.int32)
    part = (products * inverse_length(hv)[:, None]) >> 20
    return np.clip((part * inverse_length(prototypes)[None, :]) >> 33, -32767, 32767).astype(np.int32)


def typical(embedding: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Return ``k`` embeddings (k, n_dims) int8 that stand for many (n, n_dims) int8: the centres of a k-means.

    With fewer than ``k`` embeddings some stand twice.
    """
    x = embedding.astype(np.float64)
    rng = np.random.default_rng(seed)
    centers = x[rng.choice(len(x), k, replace=len(x) < k)]
    for _ in range(20):
        distance = np.einsum("kd,kd->k", centers, centers) - 2 * x @ centers.T
        nearest = distance.argmin(axis=1)
        moved = np.array([x[nearest == j].mean(axis=0) if (nearest == j).any() else c for j, c in enumerate(centers)])
        if np.array_equal(moved, centers):
            break
        centers = moved
    return np.clip(np.rint(centers), -128, 127).astype(np.int8)


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.sign(a) * (np.abs(a) // b)


def hamming_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the number of differing elements of hypervectors (n, H) and (m, H) by their packed bits: (n, m) int64."""
    difference = pack_bits(a)[:, None, :] ^ pack_bits(b)[None, :, :]
    return np.unpackbits(difference.view(np.uint8), axis=2).sum(axis=2, dtype=np.int64)
