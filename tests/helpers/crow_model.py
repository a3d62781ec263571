# SPDX-License-Identifier: MIT
"""Another model's ears that are made by hand: two crows, one at 1 kHz and one at 3 kHz."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cheep.audio import write_wav
from cheep.tf_runtime import import_tf

RATE, WINDOW = 8000, 8000
NAMES = ("Corvus lowus_Low Crow", "Corvus highus_High Crow")


def crow_function():
    """Return what hears 1-s windows (1, 8000): logits of the power at 1 and 3 kHz, which are its embedding too."""
    tf = import_tf()

    n = np.arange(64)

    def bank(hz):
        return np.stack([np.cos(2 * np.pi * hz * n / RATE), np.sin(2 * np.pi * hz * n / RATE)])

    kernel = np.concatenate([bank(1000), bank(3000)]).T[:, None, :].astype(np.float32)

    @tf.function(input_signature=[tf.TensorSpec((1, WINDOW), tf.float32)])
    def serve(x):
        power = tf.reduce_mean(tf.nn.conv1d(x[:, :, None], kernel, 32, "VALID") ** 2, axis=1)
        levels = tf.stack([power[:, 0] + power[:, 1], power[:, 2] + power[:, 3]], axis=1)
        return {"predictions": 4 * levels - 4, "embeddings": tf.concat([levels, levels, levels], axis=1)}

    return serve


def write_crow(folder: Path) -> str:
    """Write the model as a .tflite with its labels; return what names it."""
    tf = import_tf()

    module, serve = tf.Module(), crow_function()
    module.serve = serve
    data = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], module).convert()
    (folder / "crow.tflite").write_bytes(data)
    (folder / "labels.txt").write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    return f"{folder / 'crow.tflite'},{folder / 'labels.txt'},{RATE}"


def write_crow_card(folder: Path) -> Path:
    """Write two recordings: low, silence, high, high (1 s each); and silence."""
    t = np.arange(RATE) / RATE
    low, high, none = (0.5 * np.sin(2 * np.pi * hz * t) for hz in (1000, 3000, 0))
    write_wav(folder / "a.wav", (32000 * np.concatenate([low, none, high, high])).astype(np.int16), RATE)
    write_wav(folder / "b.wav", np.zeros(3 * RATE, np.int16), RATE)
    return folder
