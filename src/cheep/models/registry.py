# SPDX-License-Identifier: MIT
"""The names of the networks and what stands behind them."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from cheep.config import FeatureConfig, TrainConfig
from cheep.config.base import nearest_name
from cheep.errors import CheepError
from cheep.models.networks import SPECS
from cheep.models.spec import ModelSpec

#: What a network hears of a window; see :func:`build_model`.
Hears: TypeAlias = Literal["levels", "peak", "mean"]
MIN_FRAMES = 24
MIN_MELS = 24

UNDER_PEAK, UNDER_PEAK_RANGE = "under_peak", "under_peak_range"  # layers that quantization-aware training knows
RANGE_DB = 70.0  # what lies further below a window's peak is the recording's noise floor; an s may lie 45 dB below
_SOUNDING_DB = 30.0  # a column with a cell no further below the peak counts for the means of the bands


def model_names() -> list[str]:
    """Return the registered names."""
    return sorted(SPECS)


def model_spec(name: str) -> ModelSpec:
    """Return the entry ``name``; raises CheepError with the nearest name."""
    if name not in SPECS:
        raise CheepError(
            f"model={name!r}: no such network{nearest_name(name, SPECS)}; one of {', '.join(sorted(SPECS))}"
        )
    return SPECS[name]


def build_model(
    name: str,
    input_shape: tuple[int, int],
    n_outputs: int,
    activation: str = "softmax",
    dropout: float = 0.2,
    hears: Hears = "levels",
    forms: int = 1,
    towers: int = 1,
):
    """Build a network.

    Parameters
    ----------
    name : str
        Registry name (:func:`model_names`).
    input_shape : (int, int)
        ``(window_frames, n_mels)``.
    n_outputs : int
        Number of scores, at least 1.
    activation : {"softmax", "sigmoid"}
        ``sigmoid`` for one species against the rest and for several labels at once.
    dropout : float
        Rate before the last layer while training, 0..1.
    hears : {"levels", "peak", "mean"}
        Levels as they are; or no absolute level, but how far each cell lies under the window's peak (at most
        ``RANGE_DB``), or over the mean of its band. The last is for the computer only (a teacher).
    forms : int
        Values of a band that follow one another in a column (``FeatureConfig.forms``).
    towers : int
        Networks side by side; ``embedding`` holds one after the other, and the last layer hears all
        (:mod:`cheep.models.towers`).

    Returns
    -------
    keras.Model
        Input (batch, columns, mels, 1) float32, output (batch, n_outputs) float32 in 0..1; the layer ``embedding``
        gives the embedding, (batch, 1, 1, d).
    """
    from cheep.tf_runtime import import_tf

    spec = model_spec(name)
    frames, mels = input_shape
    if frames < MIN_FRAMES or mels < MIN_MELS * forms:
        raise CheepError(
            f"window_frames={frames}, n_mels={mels}: {name} needs at least {MIN_FRAMES} frames and {MIN_MELS} bands "
            f"(its layers do not pad in time){'; both forms of a band count twice' if forms > 1 else ''}"
        )
    if hears != "levels" and (forms > 1 or towers > 1):
        raise CheepError(f"hears={hears!r}: goes with one network on levels alone; set compression: db and no towers")
    keras = import_tf().keras
    inputs = keras.Input((frames, mels, 1), name="mel")
    x = inputs if hears == "levels" else _relative_levels(inputs, hears == "mean")
    if forms > 1:
        x = keras.layers.Reshape((frames, mels // forms, forms), name="forms")(x)
    try:
        found = [_tower(spec, keras, x, number, towers) for number in range(1, towers + 1)]
    except ValueError:  # a kernel is larger than what the layers before it leave
        if forms > 1 and name == "time_conv":
            raise CheepError("time_conv: hears one form of each band; set features.compression: db or pcen") from None
        raise CheepError(
            f"window_frames={frames}, n_mels={mels}: too small for {name}: its layers use the window up; raise "
            "window_frames or n_mels, or choose a smaller network"
        ) from None
    x = found[0] if towers == 1 else keras.layers.Concatenate(name="embedding")(found)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    # A 1 x 1 convolution rather than Dense: TFLM and the TFLite reference interpreter round FULLY_CONNECTED
    # differently (about 1 score in 700 differs by a step), CONV_2D alike.
    x = keras.layers.Conv2D(n_outputs, 1, name="logits")(x)
    x = keras.layers.Reshape((n_outputs,), name="flat")(x)
    outputs = keras.layers.Activation(activation, name="scores")(x)
    try:
        return keras.Model(inputs, outputs, name=name)
    except ValueError as error:
        if towers == 1:
            raise
        raise CheepError(f"towers: {name} cannot stand beside itself: {str(error).splitlines()[0]}") from None


def network_for(config: TrainConfig, features: FeatureConfig, n_outputs: int, activation: str = "softmax") -> Any:
    """Return the network, untrained, that these settings name: a ``keras.Model`` as :func:`build_model` makes it."""
    shape, towers = (features.window_frames, features.n_mels), max(1, len(config.towers))
    return build_model(config.model, shape, n_outputs, activation, config.dropout, config.hears, features.forms, towers)


def _tower(spec: ModelSpec, keras: Any, x: Any, number: int, towers: int) -> Any:
    """Return the embedding of a network on ``x``; of several they are called ``tower_1``, ``tower_2``, ..."""
    out = spec.body(keras, x, **spec.parameters)
    if towers > 1:
        out._keras_history.layer._name = f"tower_{number}"
    return out


def _relative_levels(x: Any, over_mean: bool) -> Any:
    """Return levels in dB (batch, columns, mels, 1) without their absolute level; see :func:`build_model`.

    Under the peak: 0..``RANGE_DB``, by layers that an int8 network has too. Over the mean: cepstral mean normalization
    (Atal 1974) on bands, over the columns that sound. A column that does not cannot rise above its bands' means.
    """
    from cheep.tf_runtime import import_tf

    tf = import_tf()
    layers = tf.keras.layers
    peak = layers.MaxPooling2D(x.shape[1:3], name="peak")(x)
    x = layers.Subtract(name=UNDER_PEAK)([peak, x])
    x = layers.ReLU(RANGE_DB, name=UNDER_PEAK_RANGE)(x)
    if not over_mean:
        return x
    x = -x
    sounding = tf.cast(tf.reduce_max(x, axis=2, keepdims=True) > -_SOUNDING_DB, tf.float32)
    count = tf.reduce_sum(sounding, axis=1, keepdims=True)  # at least one: the column of the peak
    x = x - tf.reduce_sum(x * sounding, axis=1, keepdims=True) / count
    return x * sounding + tf.minimum(x, 0.0) * (1.0 - sounding)
