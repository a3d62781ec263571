# SPDX-License-Identifier: MIT
"""Short training of a changed network, on the user's examples, so that it recovers what the change took.

Half of every target is the judgement of the network as it was (distillation, Hinton et al. 2015): it says more about an
example than the label, which matters where examples are few.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cheep.convert.config import ConvertConfig
from cheep.convert.data import ConversionData, classes_of
from cheep.tf_runtime import import_tf

TEACHER_WEIGHT = 0.5


def fine_tune(
    model: Any,
    data: ConversionData,
    config: ConvertConfig,
    callbacks: list | None = None,
    epochs: int | None = None,
    keep_best: bool = True,
) -> None:
    """Train ``model`` in place; keep the weights of the epoch with the least validation loss.

    ``keep_best`` is off where the last epoch must stand (a sparsity that is still growing).
    """
    tf = import_tf()
    tf.keras.utils.set_random_seed(config.seed)
    n_out = model.output_shape[-1]
    loss = loss_of(model)
    teach = _teacher(data, getattr(loss, "from_logits", False))
    validation = data.x["val"], targets(data.y["val"], n_out)
    optimizer = tf.keras.optimizers.legacy.Adam(config.learning_rate)
    model.compile(optimizer, loss)
    best: tuple[float, list[np.ndarray]] | None = None
    total = epochs or config.epochs
    callback: Any = tf.keras.callbacks.Callback

    class Best(callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            half = 0.5 * (1 + np.cos(np.pi * epoch / total))
            optimizer.learning_rate.assign(config.learning_rate * max(0.02, half))

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            nonlocal best
            if best is None or logs["val_loss"] < best[0]:
                best = (logs["val_loss"], self.model.get_weights())

    def lessons(epoch: int) -> tuple[np.ndarray, np.ndarray]:
        x, y = data.epoch(np.random.default_rng([config.seed, epoch]))
        return x, teach(x, targets(y, n_out))

    options = {"batch_size": config.batch_size, "validation_data": validation, "verbose": 0}
    hooks = [*(callbacks or []), Best()]
    if data.draw is None:
        model.fit(*lessons(0), epochs=total, callbacks=hooks, **options)
    else:
        for epoch in range(total):
            model.fit(*lessons(epoch), initial_epoch=epoch, epochs=epoch + 1, callbacks=hooks, **options)
    if keep_best and best is not None:
        model.set_weights(best[1])


def _teacher(data: ConversionData, logits: bool) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return a function of inputs and targets to targets, half of which are the judgement of the network before."""
    teacher = data.teacher
    if teacher is None:
        return lambda _x, y: y

    def teach(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        judged = np.asarray(teacher(x), np.float32).reshape(y.shape)
        if logits:
            judged = np.exp(judged - judged.max(axis=1, keepdims=True))
            judged /= judged.sum(axis=1, keepdims=True)
        return (1 - TEACHER_WEIGHT) * y + TEACHER_WEIGHT * judged

    return teach


def targets(y: np.ndarray, n_outputs: int) -> np.ndarray:
    """Return targets (n, n_outputs) float32 of class numbers or targets."""
    if y.ndim == 2:
        return y.astype(np.float32)
    if n_outputs == 1:
        return classes_of(y)[:, None].astype(np.float32)
    return np.eye(n_outputs, dtype=np.float32)[y]


def loss_of(model: Any) -> Any:
    """Return the loss that fits the last activation: sigmoid, softmax, or none (logits)."""
    keras = import_tf().keras
    last = model.layers[-1]
    inner = getattr(last, "layer", last)  # tfmot wraps layers
    activation = getattr(inner, "activation", None)
    activation = getattr(activation, "activation", activation)  # tfmot wraps activations
    name = getattr(activation, "__name__", "") or type(inner).__name__.lower()
    if "sigmoid" in name:
        return keras.losses.BinaryCrossentropy()
    return keras.losses.CategoricalCrossentropy(from_logits="softmax" not in name)
