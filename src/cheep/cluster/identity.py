# SPDX-License-Identifier: MIT
"""Whether a worker computes what this machine would: the same code, libraries, bits and files."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cheep import __version__
from cheep.features.selftest import core_digest
from cheep.provenance import code_digest, library_versions


def identity(module: str) -> dict[str, Any]:
    """Return what must agree for the results of functions of ``module`` to agree.

    ``code`` covers the sources of all that it imports, the C core, and the libraries' versions; ``core`` is the digest
    of what the compiled C core makes of a fixed sound.
    """
    return {
        "cheep": __version__,
        "code": code_digest(module, __name__),
        "core": core_digest(),
        "libraries": library_versions(module, __name__),
    }


def difference(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """Return in words why a worker's results might differ from ours; empty: they do not."""
    if theirs["cheep"] != ours["cheep"]:
        return f"it has cheep {theirs['cheep']}, this is {ours['cheep']}: install the same version there"
    libraries = [
        f"{name} {theirs['libraries'].get(name) or 'missing'} instead of {version}"
        for name, version in ours["libraries"].items()
        if theirs["libraries"].get(name) != version
    ]
    if libraries:
        return f"it has {', '.join(libraries)}: install the same versions there (requirements.txt)"
    if theirs["code"] != ours["code"]:
        return (
            f"it has cheep {theirs['cheep']} with other code ({theirs['code'][:8]} instead of {ours['code'][:8]}): "
            "install the same commit there"
        )
    if theirs["core"] != ours["core"]:
        return (
            f"its C core computes other features ({theirs['core'][:8]} instead of {ours['core'][:8]}): "
            "unset CFLAGS and CC there, and remove the folder that CHEEP_CACHE names"
        )
    return ""


def module_of(work: Callable) -> str:
    """Return the module of a function, of a ``functools.partial`` of one, or of a method."""
    while isinstance(work, functools.partial):
        work = work.func
    return getattr(work, "__module__", None) or type(work).__module__


def witness(items: Any) -> tuple[str, int] | None:
    """Return the first item's file (a path, a tuple with one, what has a ``file``) with its size: workers must see it.

    None: it has none, or it is not there.
    """
    for item in items[:1]:
        for part in item if isinstance(item, tuple) else (item, getattr(item, "file", None)):
            if isinstance(part, Path):
                with contextlib.suppress(OSError):
                    if stat.S_ISREG((status := part.stat()).st_mode):
                        return str(part), status.st_size
    return None


def unseen(folder: str, file: tuple[str, int] | None) -> str:
    """Return in words what of the client's files is not seen here; empty: all is."""
    there = f"on {platform.node()}"
    if not os.path.isdir(folder):
        return f"the folder {folder} is not {there}: shared storage under the same path is needed"
    if file is not None:
        path = Path(folder) / file[0]
        try:
            size = path.stat().st_size
        except OSError:
            return f"{path} is not {there}: shared storage under the same path is needed"
        if size != file[1]:
            return f"{path} has {size:,} bytes {there} and {file[1]:,} here: another file has its name"
    return ""
