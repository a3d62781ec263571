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
    output_shape: tuple[int, ...] = ()  # without batch; (): a vector of scores
    extracts: bool = False  # its output is features, not classes

    @property
    def is_extractor(self) -> bool:
        """Whether it gives a sequence or a map, which is no vector of scores."""
        return sum(n > 1 for n in self.output_shape) > 1

    def as_classifier(self) -> SourceModel:
        """Return the model with a vector of scores as its output."""
        if self.keras is None or len(self.output_shape) <= 1:
            return self
        keras = import_tf().keras
        end = keras.layers.Flatten(name="output")(self.keras.output)
        return dataclasses.replace(self, keras=keras.Model(self.keras.input, end, name="classifier"))

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the float outputs (n, outputs) of ``x`` (n, ...) float32."""
        if self.keras is not None:
            return np.asarray(self.keras.predict(x, batch_size=256, verbose=0))
        tf = import_tf()
        return np.concatenate([np.asarray(self.graph(tf.constant(row[None]))) for row in x])
