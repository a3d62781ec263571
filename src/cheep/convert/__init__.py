# SPDX-License-Identifier: MIT
"""From a trained network to ``.tflite``: quantization schemes, metadata, verification."""
