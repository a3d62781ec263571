# SPDX-License-Identifier: MIT
"""ONNX -> legacy Keras: operators in ``layers``, ``arithmetic``, ``shapes``; ``operators`` lists, ``reader`` calls."""
