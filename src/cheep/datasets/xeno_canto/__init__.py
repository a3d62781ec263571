# SPDX-License-Identifier: MIT
"""Recordings from xeno-canto: what to ask for, the answers, and the download."""
