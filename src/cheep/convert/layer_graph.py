# SPDX-License-Identifier: MIT
"""The graph of a legacy-Keras model as a list of calls of its layers, in order."""

from __future__ import annotations

import dataclasses
from typing import Any

from cheep.errors import CheepError
from cheep.tf_runtime import import_tf


@dataclasses.dataclass
class Call:
    """One use of a layer; tensors stand as the ids of Keras's own."""

    layer: Any
    inputs: list[int]
    output: int
    arguments: dict[str, Any]

    @property
    def kind(self) -> str:
        """The name of the layer's class."""
        return type(self.layer).__name__


def calls_of(model: Any) -> list[Call]:
    """Return the calls of a Sequential or functional model, each behind those whose outputs it takes.

    Raises
    ------
    CheepError
        The model is no plain graph of layers, or uses a layer twice.
    """
    if not hasattr(model, "_nodes_by_depth"):
        raise CheepError(f"{model.name}: channel pruning needs a Sequential or functional Keras model, not a subclass")
    calls = []
    seen: set[int] = set()
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            layer = node.outbound_layer
            if id(layer) in seen:
                raise CheepError(
                    f"{model.name}: layer {layer.name} is used twice; channel pruning needs unshared layers"
                )
            seen.add(id(layer))
            tensors = [] if node.is_input else list(import_tf().nest.flatten(node.keras_inputs))
            arguments = {} if node.is_input else dict(node.call_kwargs)
            calls.append(Call(layer, [id(t) for t in tensors], id(node.outputs), arguments))
    return calls
