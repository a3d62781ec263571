"""Short training of a changed network, on the user's examples, so that it recovers what the change took."""

from __future__ import annotations

from typing import Any

import numpy as np

from cheep.convert.config import ConvertConfig
from cheep.convert.data import ConversionData, classes_of
from cheep.tf_runtime import import_tf


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
    y = {split: targets(data.y[split], n_out) for split in ("train", "val")}
    loss = loss_of(model)
    optimizer = tf.keras.optimizers.legacy.Adam(config.learning_rate)
    model.compile(optimizer, loss)
    best: tuple[float, list[np.ndarray]] | None = None
    total = epochs or config.epochs

    class Best(tf.keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            half = 0.5 * (1 + np.cos(np.pi * epoch / total))
            optimizer.learning_rate.assign(config.learning_rate * max(0.02, half))

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            nonlocal best
            if best is None or logs["val_loss"] < best[0]:
                best = (logs["val_loss"], self.model.get_weights())

    model.fit(
        data.x["train"],
        y["train"],
        batch_size=config.batch_size,
        epochs=total,
        validation_data=(data.x["val"], y["val"]),
        callbacks=[*(callbacks or []), Best()],
        verbose=0,
    )
    if keep_best and best is not None:
        model.set_weights(best[1])


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
