# SPDX-License-Identifier: MIT
"""Cheep: from recordings to a bird detector on a microcontroller."""

__version__ = "0.1.0"
