# SPDX-License-Identifier: MIT
"""Network builders in a registry: ``build_model(name, ...)`` makes a legacy-Keras model.

Every network takes mel columns in dB (or PCEN units), shape ``(window_frames, n_mels, 1)``, time first,
and gives one score per label. No network pads in time, so each can be evaluated incrementally.
"""

from cheep.models.registry import build_model, model_names, model_spec, network_for
from cheep.models.spec import ModelSpec

__all__ = ["ModelSpec", "build_model", "model_names", "model_spec", "network_for"]
