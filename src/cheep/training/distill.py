# SPDX-License-Identifier: MIT
"""Knowledge distillation (Hinton et al. 2015): a student learns the judgement of teachers that hear more.

A network on mel levels in dB learns much that belongs to microphones and archives rather than to birds; one on PCEN
hears changes only, and confuses other sounds that change. Their mean is better than either, on the data they were
trained on and on other data. A small network on levels (the cheap front end) can learn that mean, because a change is
visible in a window of levels too. Teachers may also hear levels relative to the window's peak, or to the means of its
bands (``hears`` of :func:`cheep.models.build_model`): neither hears how loud a microphone is.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from cheep.config import FeatureConfig
from cheep.features.pcen import pcen_windows


@dataclasses.dataclass(frozen=True)
class Teacher:
    """Trained networks whose mean judgement a student learns.

    ``members`` are (Keras model, its feature settings); the settings differ in the bands' form only.
    ``context_frames`` columns precede the window in what :meth:`targets` is given.
    """

    members: tuple[tuple[Any, FeatureConfig], ...]
    context_frames: int

    def targets(self, levels: np.ndarray) -> np.ndarray:
        """Return scores (n, classes) float32 of windows in dB, (n, context_frames + frames, mels).

        The members' logits are averaged; rows of a softmax sum to 1.
        """
        total: Any = 0.0
        for model, features in self.members:
            x = network_input(levels, features, self.context_frames)
            p = np.clip(model.predict(x[..., None], batch_size=512, verbose=0), 1e-4, 1 - 1e-4)
            total = total + (np.log(p) if p.shape[1] > 1 else np.log(p / (1 - p)))
        mean = total / len(self.members)
        if mean.shape[1] == 1:
            return (1 / (1 + np.exp(-mean))).astype(np.float32)
        odds = np.exp(mean - mean.max(axis=1, keepdims=True))
        return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


def network_input(levels: np.ndarray, features: FeatureConfig, context_frames: int) -> np.ndarray:
    """Return what a network with ``features`` sees of windows in dB with their context, (n, columns, mels) float32."""
    if features.compression != "db":
        levels = pcen_windows(10 ** (levels / np.float32(10)), features)
    return levels[:, context_frames:]
