# SPDX-License-Identifier: MIT
"""Another model's ears: scores and embeddings of large pretrained models, on this machine's side only."""

from cheep.ears.about import About
from cheep.ears.hearing import hear_manifest, hear_recording, hear_windows
from cheep.ears.model import SPEC_HELP, Ears, places_of
from cheep.ears.runners import Heard

__all__ = [
    "SPEC_HELP",
    "About",
    "Ears",
    "Heard",
    "hear_manifest",
    "hear_recording",
    "hear_windows",
    "places_of",
]
