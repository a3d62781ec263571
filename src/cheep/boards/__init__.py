"""Boards: their budgets, and the emulated one."""
