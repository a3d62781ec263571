# SPDX-License-Identifier: MIT
"""Measures: scores of windows, events against annotations, thresholds, and how sure each of them is."""
