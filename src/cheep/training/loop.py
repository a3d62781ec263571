# SPDX-License-Identifier: MIT
"""The training loop: augmented epochs, cosine schedule, best weights kept, resumable after any interruption."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cheep.config import Settings, TrainConfig
from cheep.files import atomic_write, write_text
from cheep.training.augment import draw_epoch
from cheep.training.data import WindowSet, balanced_draw
from cheep.training.distill import Teacher
from cheep.training.rates import rated_adamw

log = logging.getLogger(__name__)
CHUNK_BYTES = 192 << 20  # of float windows: an epoch of more is drawn in parts; five times as much is in use meanwhile

_HARD_SHARE = 0.1  # of the background windows: the hardest, from which half of the background is drawn


@dataclasses.dataclass
class TrainResult:
    """History (one dict of numbers per epoch), the epoch whose weights were kept, and whether Ctrl-C ended it.

    ``best_epoch`` counts from 1; 0 stands for the average of the weights of the last epochs.
    """

    history: list[dict[str, float]]
    best_epoch: int
    interrupted: bool

    @property
    def kept(self) -> str:
        """What was kept, in words."""
        return f"epoch {self.best_epoch}" if self.best_epoch else "the average of the last epochs"


def fit(
    model: Any,
    train: WindowSet,
    val: WindowSet,
    config: TrainConfig,
    state_folder: Path | None = None,
    on_epoch: Callable[[int, int, dict[str, float]], None] | None = None,
    teacher: Teacher | None = None,
) -> TrainResult:
    """Train ``model`` in place.

    What is kept is the average of the weights of the last epochs (Izmailov et al. 2018; ``config.average_last``),
    because the epoch that a few validation recordings like best is mostly chance; without an average, or after Ctrl-C,
    it is the epoch with the lowest validation loss.

    Parameters
    ----------
    model : keras.Model
        Float or quantization-aware network.
    train, val : WindowSet
        Training windows are drawn balanced over labels and augmented; validation windows are taken as they are.
    state_folder : Path, optional
        Where checkpoints are kept while training; a later call with the same settings and data goes on from there.
    on_epoch : callable, optional
        Called with (epoch from 1, epochs, numbers) after each epoch, and once at the start, without numbers, with the
        epochs that an interrupted training has behind it.
    teacher : Teacher, optional
        Whose judgement is ``config.teacher_weight`` of the targets.
    """
    size = config.examples_per_epoch or len(train)
    steps = max(1, -(-size // config.batch_size))
    own_words = teacher is not None and config.teacher_weight == 1  # what it says is not smoothed further
    compile_network(model, config, steps, 0.0 if own_words else config.label_smoothing)
    state = _State(model, config, train, state_folder)
    history, best, average = state.resume()
    first_average = config.epochs - max(1, round(config.epochs * config.average_last))
    round_epochs = max(1, config.epochs // (config.hard_negatives + 1))
    hard: np.ndarray | None = None
    interrupted = False
    if on_epoch:
        on_epoch(len(history), config.epochs, {})
    try:
        for epoch in range(len(history), config.epochs):
            rng = np.random.default_rng([config.seed, epoch])
            if config.hard_negatives and (hard is None or epoch % round_epochs == 0):
                hard = hardest(model, train) if epoch >= round_epochs else np.zeros(0, np.int64)
            index = balanced_draw(train.label, size, rng)
            if hard is not None:
                index = with_hard(index, train, hard, rng)
            numbers = {"epoch": epoch + 1, "loss": _pass(model, train, index, config, rng, teacher)}
            numbers["val_loss"] = _loss(model, val)
            history.append(numbers)
            if numbers["val_loss"] <= min(h["val_loss"] for h in history):
                best = (epoch, model.get_weights())
            if config.average_last and epoch >= first_average:
                average = _add(average, model.get_weights())
            state.save(history, best, average)
            if on_epoch:
                on_epoch(epoch + 1, config.epochs, numbers)
    except KeyboardInterrupt:
        interrupted = True
        if best is None:
            raise
    if average is not None and not interrupted:
        best = (-1, [total / average[0] for total in average[1]])
    model.set_weights(best[1])
    if not interrupted:
        state.clear()
    return TrainResult(history, best[0] + 1, interrupted)


def hardest(model: Any, train: WindowSet) -> np.ndarray:
    """Return the rows of background windows that score highest for any target, a tenth of them, (k,) int64.

    Its own training groups are looked at and nothing else: what it is judged by stays unknown.
    """
    rows = np.flatnonzero(train.is_background)
    targets = train.silence < 1  # outputs that are not the background
    scores = predict_windows(model, train)[rows]
    order = np.argsort(-scores[:, targets].max(axis=1), kind="stable")
    return rows[order[: round(_HARD_SHARE * len(rows))]]


def with_hard(index: np.ndarray, train: WindowSet, hard: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the drawn rows with half of the background ones replaced by ``hard`` ones, (n,) int64."""
    if not len(hard):
        return index
    background = rng.permutation(np.flatnonzero(train.is_background[index]))
    index = index.copy()
    chosen = background[: len(background) // 2]
    index[chosen] = rng.choice(hard, len(chosen))
    return index


def compile_network(model: Any, config: TrainConfig, steps: int, smoothing: float) -> None:
    """Give a network its loss and its optimizer: AdamW, a rate that comes down as a cosine over all epochs."""
    from cheep.tf_runtime import import_tf

    keras = import_tf().keras
    sigmoid = model.output_shape[-1] == 1 or config.activation == "sigmoid"
    if sigmoid:
        loss = keras.losses.BinaryCrossentropy(label_smoothing=smoothing)
    else:
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=config.learning_rate / 10 if config.warmup_epochs else config.learning_rate,
        decay_steps=max(1, (config.epochs - config.warmup_epochs) * steps),
        alpha=0.01,
        warmup_target=config.learning_rate if config.warmup_epochs else None,
        warmup_steps=config.warmup_epochs * steps,
    )
    model.compile(rated_adamw(model, schedule, config.weight_decay, config.backbone_rate), loss)


def _pass(
    model: Any, train: WindowSet, index: np.ndarray, config: TrainConfig, rng: np.random.Generator, teacher: Any
) -> float:
    """Train on the windows ``index`` once, augmented, in chunks that bound the memory; return the mean loss."""
    window_bytes = 4 * train.cache.config.n_mels * (train.cache.config.window_frames + train.context_frames)
    chunk = max(1, CHUNK_BYTES // window_bytes // config.batch_size) * config.batch_size
    losses = []
    for first in range(0, len(index), chunk):
        x, y = draw_epoch(train, index[first : first + chunk], config.augment, rng, teacher, config.teacher_weight)
        fitted = model.fit(x, y, batch_size=config.batch_size, epochs=1, verbose=0, shuffle=False)
        losses.append(float(fitted.history["loss"][0]))
    if len(losses) == 1:
        return losses[0]
    sizes = [min(chunk, len(index) - first) for first in range(0, len(index), chunk)]
    return float(np.average(losses, weights=sizes))


def predict_windows(model: Any, windows: WindowSet) -> np.ndarray:
    """Return the scores (n, classes) float32 of a Keras model for all windows, in bounded memory."""
    return np.concatenate([model.predict(x[..., None], batch_size=512, verbose=0) for x in windows.blocks()])


def _loss(model: Any, val: WindowSet) -> float:
    y = val.targets
    p = np.clip(predict_windows(model, val), 1e-4, 1 - 1e-4)
    if p.shape[1] == 1:
        return float(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))
    return float(-np.mean(np.sum(y * np.log(p), axis=1)))


def _add(average: tuple[int, list] | None, weights: list[np.ndarray]) -> tuple[int, list]:
    if average is None:
        return 1, [w.astype(np.float64) for w in weights]
    return average[0] + 1, [a + w for a, w in zip(average[1], weights, strict=True)]


class _State:
    """Checkpoints of one training: weights, optimizer, history. A foreign or damaged state is ignored and replaced."""

    def __init__(self, model: Any, config: Settings, train: WindowSet, folder: Path | None):
        self._model, self._folder = model, folder
        key = hashlib.sha256(config.to_json().encode())
        key.update(train.cache.config.to_json().encode())
        key.update(train.first.tobytes() + train.targets.tobytes())
        key.update(str([w.shape for w in model.get_weights()]).encode())
        self._key = key.hexdigest()

    def resume(self) -> tuple[list[dict[str, float]], Any, Any]:
        if self._folder is None or not (self._folder / "state.json").is_file():
            return [], None, None
        try:
            state = json.loads((self._folder / "state.json").read_text(encoding="utf-8"))
            if state["key"] != self._key:
                return [], None, None
            with np.load(self._folder / state["file"]) as saved:
                names = {name: [saved[f"{name}{i}"] for i in range(state["count"][name])] for name in state["count"]}
        except (OSError, ValueError, KeyError):
            return [], None, None
        self._model.set_weights(names["now"])
        self._model.optimizer.build(self._model.trainable_variables)
        for variable, value in zip(self._model.optimizer.variables, names["optimizer"], strict=True):
            variable.assign(value)
        log.info("going on after epoch %d of an interrupted training", len(state["history"]))
        average = (state["averaged"], names["average"]) if state["averaged"] else None
        return state["history"], (state["best"], names["best"]), average

    def save(self, history: list, best: Any, average: Any) -> None:
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        groups = {
            "now": self._model.get_weights(),
            "optimizer": [v.numpy() for v in self._model.optimizer.variables],
            "best": best[1],
            "average": average[1] if average else [],
        }
        file = f"weights-{len(history) % 2}.npz"
        arrays = {f"{name}{i}": w for name, weights in groups.items() for i, w in enumerate(weights)}
        with atomic_write(self._folder / file) as stream:
            np.savez(stream, **arrays)
        state = {
            "key": self._key,
            "file": file,
            "history": history,
            "best": best[0],
            "averaged": average[0] if average else 0,
            "count": {name: len(weights) for name, weights in groups.items()},
        }
        write_text(self._folder / "state.json", json.dumps(state))

    def clear(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
