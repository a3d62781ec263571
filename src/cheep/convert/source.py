# SPDX-License-Identifier: MIT
"""A model of a user in one form, whatever file it came from."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from cheep.tf_runtime import import_tf


@dataclasses.dataclass
class SourceModel:
    """A model that was read from a user's file.

    ``keras`` is a legacy-Keras model, or None where only a graph is known (SavedModel, Keras 3); then ``graph`` is a
    callable of one tensor. ``stages`` are earlier forms of the same network, for the check stage by stage: name and
    a function from (n, ...) float32 in the model's layout to (n, outputs).
    """

    path: str
    kind: str
    keras: Any
    graph: Any
    input_shape: tuple[int, ...]  # without batch
    stages: list[tuple[str, Any]] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the float outputs (n, outputs) of ``x`` (n, ...) float32."""
        if self.keras is not None:
            return np.asarray(self.keras.predict(x, batch_size=256, verbose=0))
        tf = import_tf()
        return np.concatenate([np.asarray(self.graph(tf.constant(row[None]))) for row in x])
