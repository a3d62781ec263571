# SPDX-License-Identifier: MIT
"""Errors that a user can cause, and gates that a result can fail.

``CheepError`` carries a message of the form *value, rule, fix* and ends a
command with exit status 2; ``GateError`` (accuracy, budget, parity, ``--check``)
ends it with exit status 1. Neither shows a traceback.
"""

import errno

_FIXES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free space"),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR), "a file is where a folder must be: name another place"),
    errno.ENOENT: "check the path",
    errno.EISDIR: "a folder is where a file must be: name a file",
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "change its permissions, or name another place"),
    errno.ENAMETOOLONG: "give a shorter name",
}


class CheepError(Exception):
    """Input, settings or environment that the user can correct (exit status 2)."""

    exit_status = 2


class GateError(CheepError):
    """A measured result that misses its bar (exit status 1)."""

    exit_status = 1


def disk_error_text(error: OSError) -> str:
    """Return what the system says of a file, and what to do."""
    return f"{error.strerror or error}; {_FIXES.get(error.errno or 0, 'free space or check the path')}"
