# SPDX-License-Identifier: MIT
"""Errors that a user can cause, and gates that a result can fail.

``CheepError`` carries a message of the form *value, rule, fix* and ends a
command with exit status 2; ``GateError`` (accuracy, budget, parity, ``--check``)
ends it with exit status 1. Neither shows a traceback.
"""


class CheepError(Exception):
    """Input, settings or environment that the user can correct (exit status 2)."""

    exit_status = 2


class GateError(CheepError):
    """A measured result that misses its bar (exit status 1)."""

    exit_status = 1
