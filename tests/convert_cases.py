"""Small real models and data for the conversion tests, trained once per session."""

from __future__ import annotations

import functools

import numpy as np

from cheep.convert.config import ConvertConfig
from cheep.convert.data import ConversionData
from cheep.convert.load import Source, unroll
from cheep.tf_runtime import import_tf

SHAPE = (20, 16, 1)


def _three_way(x: np.ndarray, y: np.ndarray, labels: tuple[str, ...]) -> ConversionData:
    n = len(x)
    a, b = int(0.6 * n), int(0.8 * n)
    cuts = {"train": slice(0, a), "val": slice(a, b), "test": slice(b, n)}
    return ConversionData(
        {k: x[c] for k, c in cuts.items()}, {k: y[c] for k, c in cuts.items()}, labels, "made by code"
    )


@functools.cache
def patterns() -> ConversionData:
    """Return windows (20, 16, 1) with a rising, a falling or no line over a sloping noise floor."""
    rng = np.random.default_rng(3)
    y = rng.integers(0, 3, 500)
    x = rng.normal(0, 0.45, (500, *SHAPE)) + np.linspace(0.4, -0.4, 16)[None, None, :, None]
    for i, label in enumerate(y):
        if label:
            t, f = rng.integers(1, 10), rng.integers(5, 11)
            for k in range(9):
                x[i, t + k, f + (k // 2 if label == 1 else -(k // 2)), 0] += 2
    return _three_way(x.astype(np.float32), y, ("none", "up", "down"))


@functools.cache
def table() -> ConversionData:
    """Return rows of eight numbers of unequal spread; two classes that no plane separates."""
    rng = np.random.default_rng(4)
    x = rng.normal(0, 1, (400, 8)) * np.linspace(0.5, 2, 8) + np.linspace(-1, 1, 8)
    y = (np.sin(2 * x[:, 0]) + x[:, 3] * x[:, 5] > 0).astype(np.int64)
    return _three_way(x.astype(np.float32), y, ("no", "yes"))


@functools.cache
def sequences() -> ConversionData:
    """Return sequences (12, 6): class 1 has its burst before the dip, class 0 after it."""
    rng = np.random.default_rng(5)
    y = rng.integers(0, 2, 400)
    x = rng.normal(0, 0.3, (400, 12, 6)) + np.linspace(-0.3, 0.3, 6)
    for i, label in enumerate(y):
        first, second = sorted(rng.choice(np.arange(1, 11), 2, replace=False))
        x[i, first, :3] += 2 if label else -2
        x[i, second, :3] += -2 if label else 2
    return _three_way(x.astype(np.float32), y, ("after", "before"))


def _train(model, data: ConversionData, epochs: int, rate: float):
    from cheep.convert.finetune import fine_tune

    fine_tune(model, data, ConvertConfig(epochs=epochs, learning_rate=rate, batch_size=32))
    return model


@functools.cache
def detector() -> Source:
    """Return a separable-convolution detector like the project's default, small."""
    k = import_tf().keras
    k.utils.set_random_seed(1)
    layers = k.layers
    x = start = k.Input(SHAPE)
    for width in (12, 16):
        x = layers.Conv2D(width, 3, use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x))
        x = layers.DepthwiseConv2D(3, use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x))
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(20, 1, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = k.Model(start, layers.Dense(3, activation="softmax")(x), name="detector")
    return Source("detector", "keras", _train(model, patterns(), 14, 6e-3), None, SHAPE)


@functools.cache
def mlp() -> Source:
    """Return a perceptron for :func:`table`, one sigmoid output."""
    k = import_tf().keras
    k.utils.set_random_seed(1)
    model = k.Sequential(
        [
            k.layers.Input((8,)),
            k.layers.Dense(32, activation="relu"),
            k.layers.Dense(24, activation="relu"),
            k.layers.Dense(1, activation="sigmoid"),
        ]
    )
    return Source("mlp", "keras", _train(model, table(), 30, 8e-3), None, (8,))


@functools.cache
def recurrent(kind: str = "GRU") -> Source:
    """Return a recurrent classifier for :func:`sequences`, as a user has it: not unrolled."""
    k = import_tf().keras
    k.utils.set_random_seed(1)
    model = k.Sequential(
        [k.layers.Input((12, 6)), getattr(k.layers, kind)(12), k.layers.Dense(2, activation="softmax")]
    )
    model, names = unroll(_train(model, sequences(), 20, 1e-2))
    assert names
    return Source(kind.lower(), "keras", model, None, (12, 6))
