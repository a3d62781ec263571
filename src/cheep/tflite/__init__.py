# SPDX-License-Identifier: MIT
"""Everything that reads a ``.tflite``: ``model`` (its ends and Cheep's metadata), ``graph`` and ``reader`` (all of it),
``tflm`` (TensorFlow Lite Micro on this machine), ``arena`` (its memory with a chip's own kernels), ``state`` (models
that carry one). Nothing here needs TensorFlow.
"""
