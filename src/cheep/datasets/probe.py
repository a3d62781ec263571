# SPDX-License-Identifier: MIT
"""The probe: regularized logistic regression on embeddings, which learns from a handful of labelled clips."""

from __future__ import annotations

from typing import Any

import numpy as np

#: Inverse strength of the penalty on standardized embeddings (measured: docs/ears.md).
STRENGTH = 0.01
#: Where labels may be wrong, so that none is learned by heart.
DOUBTFUL = 0.001


def make_probe(strength: float = STRENGTH, seed: int = 0) -> Any:
    """Return an untrained probe: scales each dimension, then logistic regression with labels weighed alike."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        StandardScaler(), LogisticRegression(C=strength, class_weight="balanced", max_iter=500, random_state=seed)
    )


def fit_probe(x: np.ndarray, y: np.ndarray, strength: float = STRENGTH, seed: int = 0) -> Any:
    """Return a probe of embeddings (n, d) float32 and their labels (n,), of which there are at least two."""
    return make_probe(strength, seed).fit(x, y)
