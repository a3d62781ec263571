# SPDX-License-Identifier: MIT
"""Several networks side by side in one: each trained on its own, their logits averaged by the last layer.

A network on levels and one on PCEN are mistaken about different sounds; the mean of their logits is mistaken less often
than either. On the device they run one after the other in the same memory (``cheep.compiler``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cheep.config import FeatureConfig
from cheep.errors import CheepError
from cheep.features.pcen import LEVEL_DB
from cheep.tf_runtime import import_tf


def merge(model: Any, members: Sequence[tuple[Any, str]], features: FeatureConfig) -> None:
    """Give ``model`` the weights of trained networks, so that its logits are the mean of theirs.

    Parameters
    ----------
    model : keras.Model
        Built with as many towers as there are members.
    members : sequence of (keras.Model, {"db", "pcen"})
        Networks of the same kind and what each hears of a band.
    features : FeatureConfig
        What ``model`` hears: the same form, or both.

    Raises
    ------
    CheepError
        The networks do not begin with a convolution that is followed by batch normalization.
    """
    keras = import_tf().keras
    for number, (member, form) in enumerate(members):
        tower = keras.Model(model.input, model.get_layer(f"tower_{number + 1}").output)
        alone = keras.Model(member.input, member.get_layer("embedding").output)
        own = [layer for layer in tower.layers if layer.weights]
        theirs = [layer for layer in alone.layers if layer.weights]
        first = 0
        if features.forms > 1:
            _hear_one_form(own, theirs, form, features)
            first = 2
        for ours, other in zip(own[first:], theirs[first:], strict=True):
            ours.set_weights(other.get_weights())
    heads = [member.get_layer("logits").get_weights() for member, _ in members]
    kernel = np.concatenate([head[0] for head in heads], axis=2) / len(heads)
    model.get_layer("logits").set_weights([kernel, np.mean([head[1] for head in heads], axis=0)])


def _hear_one_form(own: list[Any], theirs: list[Any], form: str, features: FeatureConfig) -> None:
    """Let the first convolution hear one of both forms of a band: the weights of the other are zero.

    Levels come as ``(dB - silence) / LEVEL_DB``; a network trained on dB takes the factor into its weights, and the
    constant into the means of its batch normalization.
    """
    keras = import_tf().keras
    if not (isinstance(theirs[0], keras.layers.Conv2D) and isinstance(theirs[1], keras.layers.BatchNormalization)):
        raise CheepError("towers: this network does not begin with a convolution; use sepconv_s, _m, _l or _time")
    kernel, *bias = theirs[0].get_weights()
    gamma, beta, mean, variance = theirs[1].get_weights()
    wide = np.zeros((*kernel.shape[:2], features.forms, kernel.shape[3]), np.float32)
    if form == "db":
        wide[:, :, 0] = kernel[:, :, 0] * LEVEL_DB
        mean = mean - features.silence_db * kernel.sum(axis=(0, 1, 2))
    else:
        wide[:, :, 1] = kernel[:, :, 0]
    own[0].set_weights([wide, *bias])
    own[1].set_weights([gamma, beta, mean, variance])
