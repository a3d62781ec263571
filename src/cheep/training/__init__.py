# SPDX-License-Identifier: MIT
"""Training: windows from the feature cache, the float network, quantization-aware fine-tuning."""
