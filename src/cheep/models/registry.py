# SPDX-License-Identifier: MIT
"""The names of the networks and what stands behind them."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

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

    Returns
    -------
    keras.Model
        Input (batch, columns, mels, 1) float32, output (batch, n_outputs) float32 in 0..1; the layer ``embedding``
        gives the embedding, (batch, 1, 1, d).
    """
    from cheep.tf_runtime import import_tf

    spec = model_spec(name)
    frames, mels = input_shape
    if frames < MIN_FRAMES or mels < MIN_MELS:
        raise CheepError(
            f"window_frames={frames}, n_mels={mels}: {name} needs at least {MIN_FRAMES} frames and {MIN_MELS} bands "
            "(its layers do not pad in time)"
        )
    keras = import_tf().keras
    inputs = keras.Input((frames, mels, 1), name="mel")
    x = inputs if hears == "levels" else _relative_levels(inputs, hears == "mean")
    try:
        x = spec.body(keras, x, **spec.parameters)
    except ValueError:  # a kernel is larger than what the layers before it leave
        raise CheepError(
            f"window_frames={frames}, n_mels={mels}: too small for {name}: its layers use the window up; raise "
            "window_frames or n_mels, or choose a smaller network"
        ) from None
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    # A 1 x 1 convolution rather than Dense: TFLM and the TFLite reference interpreter round FULLY_CONNECTED
    # differently (about 1 score in 700 differs by a step), CONV_2D alike.
    x = keras.layers.Conv2D(n_outputs, 1, name="logits")(x)
    x = keras.layers.Reshape((n_outputs,), name="flat")(x)
    outputs = keras.layers.Activation(activation, name="scores")(x)
    return keras.Model(inputs, outputs, name=name)


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
