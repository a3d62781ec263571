# SPDX-License-Identifier: MIT
"""Hyperdimensional head: an embedding becomes a hypervector, a class is the nearest prototype.

Classes can be added after training from a few examples, in Python and on the device, with the same bits.
``cheep.hdc.estimator.HdcClassifier`` (scikit-learn) trains; :class:`HdcModel` is what a device needs;
:class:`HdcLearner` adds classes; ``cheep.hdc.core.CoreHdc`` is the C core.
"""

from cheep.hdc.config import HdcConfig
from cheep.hdc.learner import HdcLearner
from cheep.hdc.model import HdcModel, HdcScaling, hamming_distance
from cheep.hdc.projection import projection_matrix

__all__ = ["HdcConfig", "HdcLearner", "HdcModel", "HdcScaling", "hamming_distance", "projection_matrix"]
