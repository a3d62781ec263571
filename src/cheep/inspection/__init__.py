# SPDX-License-Identifier: MIT
"""What is in a ``.tflite`` and how two models agree; no TensorFlow."""
