# SPDX-License-Identifier: MIT
"""An optimizer that moves the weights of a backbone less than those of the head."""

from __future__ import annotations

import functools
from typing import Any

from cheep.models.backbone import MARK
from cheep.tf_runtime import import_tf


def rated_adamw(model: Any, schedule: Any, weight_decay: float, rate: float) -> Any:
    """Return AdamW whose steps of the backbone's weights are ``rate`` times as long."""
    keras = import_tf().keras
    if rate == 1:
        return keras.optimizers.AdamW(schedule, weight_decay=weight_decay)
    slower = frozenset(w.name for layer in model.layers if layer.name.startswith(MARK) for w in layer.weights)
    return _rated()(schedule, weight_decay, slower, rate)


@functools.cache
def _rated() -> type:
    keras = import_tf().keras

    class RatedAdamW(keras.optimizers.AdamW):  # type: ignore[name-defined]  # a module that is imported late
        """AdamW with shorter steps for the weights named."""

        def __init__(self, schedule: Any, weight_decay: float, slower: frozenset[str], rate: float) -> None:
            super().__init__(schedule, weight_decay=weight_decay)
            self._slower, self._rate = slower, rate

        def update_step(self, gradient: Any, variable: Any) -> None:
            if variable.name not in self._slower:
                super().update_step(gradient, variable)
                return
            before = variable + 0.0
            super().update_step(gradient, variable)
            variable.assign(before + self._rate * (variable - before))

    return RatedAdamW
