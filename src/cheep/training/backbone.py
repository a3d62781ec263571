# SPDX-License-Identifier: MIT
"""Training a network that begins with a backbone: what is frozen is computed once, and rates differ by part."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from cheep.config import TrainConfig
from cheep.models.backbone import MARK, trained_from
from cheep.tf_runtime import import_tf
from cheep.training.augment import draw_epoch
from cheep.training.data import WindowSet, balanced_draw
from cheep.training.loop import TrainResult, compile_network, fit

log = logging.getLogger(__name__)
KEPT_BYTES = 3 << 30  # of what the frozen layers give; more is computed again in every epoch
_DRAWS = 7  # tells the seeds of draws from those of epochs
_BLOCK = 256  # windows through the frozen layers at once

OnEpoch = Callable[[int, int, dict[str, float]], None]


def fit_backbone(
    model: Any, train: WindowSet, val: WindowSet, config: TrainConfig, on_epoch: OnEpoch | None = None, **others: Any
) -> TrainResult:
    """Train ``model`` in place, a network of :func:`cheep.models.backbone.backbone_network`.

    With ``fine_tune`` head or last:N the layers before are frozen; what they give of every window is computed once,
    and the rest is trained on it: on the sound as it is, or on ``frozen_draws`` augmented draws of it, one an epoch in
    turn; with mixup of what the frozen layers give, and what the last epoch leaves (its rate has come down to nothing).
    With ``all``, or where that would not fit into ``KEPT_BYTES``, it is :func:`cheep.training.loop.fit`, to which
    ``others`` go.
    """
    parts = frozen_part(model, len(train), len(val), config)
    if parts is None:
        return fit(model, train, val, config, on_epoch=on_epoch, **others)
    stem, tail = parts
    needed = kept_bytes(stem, len(train), len(val), config)
    log.info("%d of %d layers are frozen: computed once (%.0f MB)", len(stem.layers), len(model.layers), needed / 1e6)
    if on_epoch:
        on_epoch(0, config.epochs, {})
    draws = [_drawn(stem, train, config, number) for number in range(config.frozen_draws)]
    return _fit_tail(tail, draws or [(_through(stem, train), train.targets)], _through(stem, val), train, val, config,
                     on_epoch)  # fmt: skip


def frozen_part(model: Any, n_train: int, n_val: int, config: TrainConfig) -> tuple[Any, Any] | None:
    """Mark what of ``model`` is trained; return the layers that are computed once, and those that are trained on it.

    None where nothing is frozen, or where what the frozen layers give does not fit into ``KEPT_BYTES``.
    """
    start = trained_from(model, config.fine_tune)
    for layer in model.layers[:start]:
        layer.trainable = False
    for layer in model.layers[start:]:
        layer.trainable = not _is_normalization(layer)
    stem, tail = _halves(model, start) if start else (None, None)
    if stem is None or kept_bytes(stem, n_train, n_val, config) > KEPT_BYTES:
        return None
    return stem, tail


def kept_bytes(stem: Any, n_train: int, n_val: int, config: TrainConfig) -> int:
    """Return the bytes of what the frozen layers give of all windows and draws, in float16."""
    return (n_train * max(1, config.frozen_draws) + n_val) * 2 * int(np.prod(stem.output_shape[1:]))


def frozen_seconds(
    stem: Any, tail: Any, train: WindowSet, val: WindowSet, config: TrainConfig, steps: int
) -> tuple[float, float]:
    """Return about how long a training with frozen layers takes before its first epoch, and for each epoch, s.

    Measured on one block of windows and a few ``steps``; ``tail`` moves a little by it.
    """
    rows = np.arange(max(1, min(len(train), _BLOCK, steps * config.batch_size)))
    augment = config.augment.model_copy(update={"mixup_alpha": 0.0})
    rng = np.random.default_rng(config.seed)

    def draw() -> Any:
        x = draw_epoch(train, rows, augment, rng)[0] if config.frozen_draws else train.gather(rows)[..., None]
        return stem.predict_on_batch(x)

    kept = draw().astype(np.float16)  # compiles the network: not counted
    once_s = _seconds(draw) / len(rows) * (len(train) * max(1, config.frozen_draws) + len(val))
    size = config.examples_per_epoch or len(train)
    wanted = max(1, size // config.batch_size)
    compile_network(tail, config, wanted, config.label_smoothing)
    batches = [rng.choice(len(rows), min(config.batch_size, size)) for _ in range(steps + 1)]

    def learn(some: list[np.ndarray]) -> None:
        for batch in some:
            tail.train_on_batch(*_mixed(kept, train.targets[rows], batch, config.augment.mixup_alpha, rng))

    learn(batches[:1])
    step_s = _seconds(lambda: learn(batches[1:])) / steps
    tail.predict_on_batch(kept.astype(np.float32))
    judged_s = _seconds(lambda: tail.predict_on_batch(kept.astype(np.float32))) / len(kept)
    return once_s, wanted * step_s + len(val) * judged_s


def _seconds(work: Callable[[], Any]) -> float:
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def _fit_tail(
    tail: Any,
    draws: list[tuple[np.ndarray, np.ndarray]],
    kept_val: np.ndarray,
    train: WindowSet,
    val: WindowSet,
    config: TrainConfig,
    on_epoch: OnEpoch | None,
) -> TrainResult:
    size = config.examples_per_epoch or len(train)
    steps = max(1, size // config.batch_size)
    compile_network(tail, config, steps, config.label_smoothing)
    history: list[dict[str, float]] = []
    interrupted = False
    try:
        for epoch in range(config.epochs):
            rng = np.random.default_rng([config.seed, epoch])
            index = balanced_draw(train.label, size, rng)
            kept, targets = draws[epoch % len(draws)]
            losses = []
            for first in range(0, steps * config.batch_size, config.batch_size):
                rows = index[first : first + config.batch_size]
                x, y = _mixed(kept, targets, rows, config.augment.mixup_alpha, rng)
                losses.append(float(tail.train_on_batch(x, y)))
            numbers = {"epoch": epoch + 1, "loss": float(np.mean(losses)), "val_loss": _loss(tail, kept_val, val)}
            history.append(numbers)
            if on_epoch:
                on_epoch(epoch + 1, config.epochs, numbers)
    except KeyboardInterrupt:
        interrupted = True
        if not history:
            raise
    return TrainResult(history, len(history), interrupted)


def _mixed(
    kept: np.ndarray, targets: np.ndarray, rows: np.ndarray, alpha: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and targets of ``rows``, each mixed with another's (mixup; ``alpha`` 0: as they are)."""
    x, y = kept[rows].astype(np.float32), targets[rows]
    if not alpha:
        return x, y
    other = rng.permutation(len(rows))
    share = rng.beta(alpha, alpha, len(rows)).astype(np.float32)
    share = np.maximum(share, 1 - share)
    wide = share.reshape(-1, *[1] * (x.ndim - 1))
    return wide * x + (1 - wide) * x[other], share[:, None] * y + (1 - share[:, None]) * y[other]


def _through(stem: Any, windows: WindowSet) -> np.ndarray:
    """Return what the frozen layers give of all windows, float16, in bounded memory."""
    out = np.empty((len(windows), *stem.output_shape[1:]), np.float16)
    for first in range(0, len(windows), _BLOCK):
        rows = np.arange(first, min(len(windows), first + _BLOCK))
        out[rows] = stem.predict_on_batch(windows.gather(rows)[..., None])
    return out


def _drawn(stem: Any, windows: WindowSet, config: TrainConfig, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what the frozen layers give of an augmented draw of all windows, float16, and its targets."""
    rng = np.random.default_rng([config.seed, _DRAWS, number])
    augment = config.augment.model_copy(update={"mixup_alpha": 0.0})  # mixed anew in every epoch
    out = np.empty((len(windows), *stem.output_shape[1:]), np.float16)
    targets = np.empty_like(windows.targets)
    for first in range(0, len(windows), _BLOCK):
        rows = np.arange(first, min(len(windows), first + _BLOCK))
        x, targets[rows] = draw_epoch(windows, rows, augment, rng)
        out[rows] = stem.predict_on_batch(x)
    return out, targets


def _loss(tail: Any, kept: np.ndarray, val: WindowSet) -> float:
    blocks = [tail.predict_on_batch(kept[i : i + _BLOCK].astype(np.float32)) for i in range(0, len(kept), _BLOCK)]
    p, y = np.clip(np.concatenate(blocks), 1e-4, 1 - 1e-4), val.targets
    if p.shape[1] == 1:
        return float(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))
    return float(-np.mean(np.sum(y * np.log(p), axis=1)))


def _halves(model: Any, start: int) -> tuple[Any, Any]:
    """Return the layers before ``start`` and those from it on as networks; (None, None) where they are no chain."""
    keras = import_tf().keras
    before = model.layers[start].input
    if isinstance(before, list) or any(isinstance(layer.input, list) for layer in model.layers[start:]):
        return None, None
    inputs = x = keras.Input(before.shape[1:])
    for place, layer in enumerate(model.layers[start:], start):
        if place > start and layer.input is not model.layers[place - 1].output:
            return None, None
        x = layer(x)
    return keras.Model(model.input, before), keras.Model(inputs, x)


def _is_normalization(layer: Any) -> bool:
    return layer.name.startswith(MARK) and isinstance(layer, import_tf().keras.layers.BatchNormalization)
