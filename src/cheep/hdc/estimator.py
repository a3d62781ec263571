# SPDX-License-Identifier: MIT
"""A classifier for scikit-learn tools that trains a hyperdimensional head."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import check_is_fitted, validate_data
from typing_extensions import Self

from cheep.errors import CheepError
from cheep.hdc.config import HdcConfig
from cheep.hdc.model import HdcModel, fit_scaling, hypervectors, project, prototypes_of, similarity, typical

BATCH = 32


class HdcClassifier(ClassifierMixin, BaseEstimator):
    """Hyperdimensional classifier: integer arithmetic from a quantized embedding on.

    Parameters
    ----------
    hyper, projection, form, similarity, normalize, seed, epochs, margin, reject_quantile, reminders
        See :class:`~cheep.hdc.config.HdcConfig`.

    Notes
    -----
    ``X`` is (n, n_dims), int8 as an int8 extractor gives it, or float, which is quantized to int8 by one scale taken
    from the first data seen. ``fit`` bundles the hypervectors of each class, then refines: examples that their class
    does not win by ``margin`` are added to it and taken from the class that won, and the passes are averaged.
    ``partial_fit`` only bundles, as a device does; normalization is that of the first call.
    """

    def __init__(
        self,
        hyper: int = 2048,
        projection: str = "hadamard",
        form: str = "int8",
        similarity: str = "cosine",
        normalize: str = "standard",
        seed: int = 1,
        epochs: int = 20,
        margin: float = 0.05,
        reject_quantile: float = 0.02,
        reminders: int = 8,
    ):
        self.hyper = hyper
        self.projection = projection
        self.form = form
        self.similarity = similarity
        self.normalize = normalize
        self.seed = seed
        self.epochs = epochs
        self.margin = margin
        self.reject_quantile = reject_quantile
        self.reminders = reminders

    def config(self) -> HdcConfig:
        """Return the validated settings; CheepError where one is wrong."""
        return HdcConfig.parse(self.get_params(), "HdcClassifier")

    def fit(self, X: Any, y: Any) -> Self:
        """Bundle and refine."""
        X, y = validate_data(self, X, y, dtype=None if _is_int8(X) else np.float64)
        check_classification_targets(y)
        self.classes_ = unique_labels(y)
        self._begin(X)
        target = np.searchsorted(self.classes_, y)
        hv = self._encode(X)
        self.sums_ = _bundle(hv, target, len(self.classes_))
        self.counts_ = np.bincount(target, minlength=len(self.classes_))
        if self.config_.epochs and len(self.classes_) > 1:
            self.sums_ = refine(self.sums_, hv, target, self.config_)
        self._finish(hv, target)
        q, k = self._int8(X), self.config_.reminders
        self.reminders_ = (
            np.stack([typical(q[target == c], k, self.config_.seed) for c in range(len(self.classes_))]) if k else None
        )
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
        """Bundle more examples. ``classes``: all classes there will be (first call); new ones may also come later."""
        first = not hasattr(self, "sums_")
        X, y = validate_data(self, X, y, dtype=None if _is_int8(X) else np.float64, reset=first)
        check_classification_targets(y)
        known = unique_labels(y) if classes is None else unique_labels(np.asarray(classes))
        unexpected = np.setdiff1d(y, known)
        if len(unexpected):
            raise ValueError(f"y holds {unexpected[:3].tolist()}, which are not in classes={known.tolist()}")
        if first:
            self.classes_ = known
            self._begin(X)
            self.sums_ = np.zeros((len(known), self.config_.hyper), np.int64)
            self.counts_ = np.zeros(len(known), np.int64)
        elif len(np.setdiff1d(known, self.classes_)):
            merged = np.union1d(self.classes_, known)
            sums = np.zeros((len(merged), self.config_.hyper), np.int64)
            counts = np.zeros(len(merged), np.int64)
            place = np.searchsorted(merged, self.classes_)
            sums[place], counts[place] = self.sums_, self.counts_
            self.classes_, self.sums_, self.counts_ = merged, sums, counts
        target = np.searchsorted(self.classes_, y)
        hv = self._encode(X)
        self.sums_ = self.sums_ + _bundle(hv, target, len(self.classes_))
        self.counts_ = self.counts_ + np.bincount(target, minlength=len(self.classes_))
        self._finish(hv, target)
        self.reminders_ = None  # a bundle keeps no examples
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of each row of ``X`` (n, n_dims) int8 or float: (n,), of the dtype of ``classes_``."""
        check_is_fitted(self)
        scores = self._scores(X)
        return self.classes_[scores.argmax(axis=1)]

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the scores (n, classes) float64 (cosine: -1..1); for two classes their difference (n,)."""
        check_is_fitted(self)
        scores = self._scores(X).astype(np.float64)
        if self.config_.similarity != "dot":
            scores /= 32768
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def model(self, extractor_sha256: str = "", scale: float | None = None, zero_point: int = 0) -> HdcModel:
        """Return the trained head. ``scale`` and ``zero_point``: of the int8 extractor's output."""
        check_is_fitted(self)
        return HdcModel(
            self.config_,
            self.scaling_,
            self.prototypes_,
            tuple(str(c) for c in self.classes_),
            self.reject_,
            extractor_sha256,
            self.scale_ if scale is None else scale,
            zero_point,
            self.reminders_,
        )

    def _begin(self, X: np.ndarray) -> None:
        try:
            self.config_ = self.config()
        except CheepError as error:
            raise ValueError(str(error)) from None
        largest = float(np.abs(X.astype(np.float64)).max(initial=0.0))
        self.scale_ = 1.0 if X.dtype == np.int8 else (largest / 127 or 1.0)
        self.scaling_ = fit_scaling(self._int8(X), self.config_)

    def _int8(self, X: np.ndarray) -> np.ndarray:
        if X.dtype == np.int8:
            return X
        return np.clip(np.rint(X / self.scale_), -128, 127).astype(np.int8)

    def _encode(self, X: np.ndarray) -> np.ndarray:
        projected = project(self.scaling_.apply(self._int8(X)), self.config_)
        return hypervectors(projected, self.config_.form, self.scaling_.shift)

    def _scores(self, X: Any) -> np.ndarray:
        X = validate_data(self, X, dtype=None if _is_int8(X) else np.float64, reset=False)
        return similarity(self._encode(X), self.prototypes_, self.config_)

    def _finish(self, hv: np.ndarray, target: np.ndarray) -> None:
        self.prototypes_ = prototypes_of(self.sums_, self.config_.form)
        own = similarity(hv, self.prototypes_, self.config_)[np.arange(len(hv)), target]
        self.reject_ = int(np.floor(np.quantile(own, self.config_.reject_quantile)))


def _is_int8(X: Any) -> bool:
    return getattr(X, "dtype", None) == np.int8


def _bundle(hv: np.ndarray, target: np.ndarray, n_classes: int) -> np.ndarray:
    chosen = (target[None, :] == np.arange(n_classes)[:, None]).astype(np.float64)
    return np.rint(chosen @ hv.astype(np.float64)).astype(np.int64)


def refine(sums: np.ndarray, hv: np.ndarray, target: np.ndarray, config: HdcConfig) -> np.ndarray:
    """Refine bundles on their examples.

    Parameters
    ----------
    sums
        (classes, H) int64.
    hv
        (n, H) int8.
    target
        (n,) class indices.
    config
        ``epochs``, ``margin`` (of cosine) and ``seed`` (order of the examples).

    Returns
    -------
    ndarray
        (classes, H) int64: the mean over the passes, times a common factor.
    """
    rng = np.random.default_rng(config.seed)
    x = hv.astype(np.float32)
    x_unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
    # Every class starts equally long, as the mean of its examples; a step then weighs as one example of a small class.
    counts = np.bincount(target, minlength=len(sums))
    now = sums.astype(np.float64) / np.maximum(counts, 1)[:, None]
    step = 1.0 / max(8.0, float(np.median(counts)) / 4)
    total = np.zeros_like(now)
    for _ in range(config.epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(x), BATCH):
            rows = order[start : start + BATCH]
            unit = now / np.maximum(np.linalg.norm(now, axis=1, keepdims=True), 1e-9)
            cosine = x_unit[rows] @ unit.T.astype(np.float32)
            right = cosine[np.arange(len(rows)), target[rows]]
            cosine[np.arange(len(rows)), target[rows]] = -np.inf
            rival = cosine.argmax(axis=1)
            wrong = right - cosine.max(axis=1) < config.margin
            moves = np.zeros((len(now), int(wrong.sum())), np.float32)
            columns = np.arange(moves.shape[1])
            moves[target[rows[wrong]], columns] += 1
            moves[rival[wrong], columns] -= 1
            now += step * (moves @ x[rows[wrong]])
        total += now
    return np.rint(total * (4096 / config.epochs)).astype(np.int64)
