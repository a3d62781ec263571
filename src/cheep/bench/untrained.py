# SPDX-License-Identifier: MIT
"""What a run file's network will cost, before it is trained: the same network with random weights, as a detector."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cheep import runs
from cheep.boards.budget import untrained_tflite
from cheep.config import DetectorConfig, RunFile, default_stride
from cheep.convert.bundle import write_bundle
from cheep.device.bundle import ModelBundle, load_bundle
from cheep.tflite.logits import logit_model
from cheep.tflite.tflm import TflmModel

_WINDOWS = 16  # of noise, that the scale of the logits is chosen by


def untrained_bundle(settings: RunFile, labels: int, folder: Path) -> ModelBundle:
    """Write the network of a run file with random weights into ``folder``, and load it as a detector.

    Its weights mean nothing: memory, multiply-accumulates and instructions are those of the trained one, because no
    layer of a compiled network takes another way with other numbers.

    Parameters
    ----------
    labels : int
        How many it tells apart.

    Raises
    ------
    CheepError
        Features or cut that the network does not take; the file of a ``backbone`` of one's own is not there.
    """
    features, config = settings.features, settings.train
    softmax = labels > 1 and config.activation != "sigmoid"
    data = untrained_tflite(config, features, labels, "softmax" if softmax else "sigmoid")
    rng = np.random.default_rng(0)
    noise = rng.integers(-128, 128, (_WINDOWS, features.window_frames, features.n_mels)).astype(np.int8)
    tflite, scores = logit_model(data, lambda cut: TflmModel(cut).scores(noise))
    write_bundle(
        folder,
        runs.INT8_TFLITE,
        tflite,
        features=features,
        labels=[f"label_{number}" for number in range(1, labels + 1)],
        detector=DetectorConfig(stride_frames=default_stride(features.hop_s), threshold=(0.5,) * labels),
        scores=scores,
    )
    return load_bundle(folder)
