# SPDX-License-Identifier: MIT
"""A SavedModel as another model's ears; and the model inside it, where its signature gives no embedding."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cheep.ears.runners import Runner, places, pooled
from cheep.errors import CheepError

_YAMNET_SAMPLES = 15_600  # of a SavedModel that takes any length
_SIGNATURE = "serving_default"


class SavedModelRunner(Runner):
    """Runs what the signature ``serving_default`` names, or a function inside that gives an embedding as well."""

    def __init__(self, path: Path, n_labels: int) -> None:
        from cheep.tf_runtime import import_tf

        self._tf = import_tf()
        self._model = self._tf.saved_model.load(str(path))
        if _SIGNATURE not in self._model.signatures:
            raise CheepError(f"{path}: has no signature {_SIGNATURE!r}; save it with one")
        signature = self._model.signatures[_SIGNATURE]
        inputs = signature.structured_input_signature[1]
        if len(inputs) != 1:
            raise CheepError(f"{path}: takes {', '.join(inputs) or 'nothing'}: must take one window of samples")
        ((name, spec),) = inputs.items()
        self.samples, self.n_scores = int(spec.shape[-1] or _YAMNET_SAMPLES), n_labels
        named = _by_name(self._tf, signature, name, spec.shape.rank)
        silence = np.zeros(self.samples, np.float32)
        widths = [item.shape[-1] if item.ndim else 1 for item in named(silence)]
        self._call = named
        if n_labels not in widths or len(widths) == 1:  # no scores, or nothing beside them
            self._call = next(_inner(self._tf, self._model, n_labels), named)
        self._scores, self._embedding = places(path, self._call(silence), n_labels)

    def run(self, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return scores (labels,) and embedding (d,), float32, of one window, (samples,) float32."""
        found = self._call(window.astype(np.float32))
        return pooled(found[self._scores], self.n_scores), pooled(found[self._embedding])


Call = Callable[[np.ndarray], list[np.ndarray]]


def _by_name(tf: Any, signature: Any, name: str, rank: int) -> Call:
    def call(window: np.ndarray) -> list[np.ndarray]:
        found = signature(**{name: tf.constant(window if rank == 1 else window[None])})
        return [found[key].numpy() for key in sorted(found)]

    return call


def _inner(tf: Any, model: Any, n_labels: int) -> Iterator[Call]:
    """Yield the functions inside a SavedModel that take one array of samples and give scores and an embedding.

    A Keras model around YAMNet (as people fine-tune it) keeps YAMNet's own function, of which its signature gives the
    scores alone.
    """
    queue, seen = collections.deque([model]), set()
    while queue:
        item = queue.popleft()
        if id(item) in seen or isinstance(item, tf.Variable):
            continue
        seen.add(id(item))
        for function in getattr(item, "concrete_functions", ()):
            arguments, named = function.structured_input_signature
            specs = [spec for spec in (*arguments, *named.values()) if spec is not None]
            widths = [spec.shape[-1] if spec.shape.rank else 0 for spec in tf.nest.flatten(function.structured_outputs)
                      if isinstance(spec, tf.TensorSpec) and spec.shape.rank is not None]  # fmt: skip
            takes_sound = len(specs) == 1 and isinstance(specs[0], tf.TensorSpec) and specs[0].dtype == tf.float32
            if takes_sound and specs[0].shape.rank == 1 and n_labels in widths and len(widths) > 1:
                yield _by_place(tf, item)
        queue.extend(item._trackable_children().values() if hasattr(item, "_trackable_children") else ())


def _by_place(tf: Any, function: Any) -> Call:
    def call(window: np.ndarray) -> list[np.ndarray]:
        return [item.numpy() for item in tf.nest.flatten(function(tf.constant(window)))]

    return call
