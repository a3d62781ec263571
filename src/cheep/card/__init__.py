# SPDX-License-Identifier: MIT
"""A model for a device's card: one signed image that the firmware takes into its flash (docs/card.md)."""

from cheep.card.image import FILE_NAME, CardImage, build_image, check_file, render_layout
from cheep.card.keys import default_key_path, load_key, make_key, public_bytes, render_key

__all__ = [
    "FILE_NAME",
    "CardImage",
    "build_image",
    "check_file",
    "default_key_path",
    "load_key",
    "make_key",
    "public_bytes",
    "render_key",
    "render_layout",
]
