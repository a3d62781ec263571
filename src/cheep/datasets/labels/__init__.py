# SPDX-License-Identifier: MIT
"""Annotations of recordings: boxes, the tables and label tracks that hold them, and which recording each speaks of."""
