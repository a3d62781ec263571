# SPDX-License-Identifier: MIT
"""Listening on this machine exactly as the board does: sources of audio, views, recorder, serial lines."""
