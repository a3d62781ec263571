# SPDX-License-Identifier: MIT
"""The device's programs on the emulated Cortex-M4F, measured: front end, whole detector, hyperdimensional head,
the firmware's application; and what a detector needs on a board, part by part.
"""
