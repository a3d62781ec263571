# SPDX-License-Identifier: MIT
"""Boards: their budgets, and the emulated one."""
