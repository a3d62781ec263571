# SPDX-License-Identifier: MIT
"""The C core of ``firmware/common`` as a shared library: compiled on first use, cached by content."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cheep.errors import CheepError
from cheep.files import atomic_path
from cheep.resources import cache_dir, include_dir, source_dir

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

WARNINGS = ("-Wall", "-Wextra", "-Wconversion")
# Files of the core that need neither a board nor a model.
CORE_FILES = (
    "cheep_columns.c",
    "cheep_crc32.c",
    "cheep_detector.c",
    "cheep_fft.c",
    "cheep_frontend.c",
    "cheep_gate.c",
    "cheep_hdc*.c",
    "cheep_lanes.c",
    "cheep_pcen_windows.c",
    "cheep_scores.c",
)
# The bits of a feature depend on -ffp-contract=off: a fused multiply-add rounds once where the core rounds twice.
BASE_FLAGS = ("-std=c11", "-O3", "-ffp-contract=off", *WARNINGS)


def core_sources() -> list[Path]:
    """Return the C files of the core proper: those that need neither a board nor a model."""
    source = source_dir()
    found = [path for name in CORE_FILES for path in sorted(source.glob(name))]
    return [path for path in found if not path.stem.endswith("_app")]


def _works(command: Sequence[str]) -> bool:
    try:
        return subprocess.run([*command, "--version"], check=False, capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@functools.cache
def find_compiler() -> tuple[str, ...]:
    """Return the command of a C compiler: ``$CC``, ``cc``, ``gcc``, ``clang``, or ``python -m ziglang cc``.

    Raises
    ------
    CheepError
        If ``$CC`` does not run, or no compiler is found.
    """
    named = os.environ.get("CC", "").strip()
    if named:
        command = tuple(shlex.split(named))
        if not _works(command):
            raise CheepError(f"CC={named}: does not run (unset CC, or name a C compiler such as gcc)")
        return command
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name) and _works([name]):
            return (name,)
    if importlib.util.find_spec("ziglang") is not None:
        return (sys.executable, "-m", "ziglang", "cc")
    raise CheepError(
        "no C compiler found: looked for $CC, cc, gcc, clang and the Python package ziglang "
        "(install one: 'sudo apt-get install gcc', or 'pip install ziglang')"
    )


def _writable_cache() -> Path:
    for directory in (cache_dir(), Path.cwd() / ".cheep"):
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if os.access(directory, os.W_OK):
                return directory
        except OSError:
            continue
    raise CheepError(f"{cache_dir()}: cannot be written (set CHEEP_CACHE to a directory for compiled libraries)")


def _content_hash(sources: Sequence[Path], include_dirs: Sequence[Path], command: Sequence[str]) -> str:
    digest = hashlib.sha256("\0".join([platform.machine(), platform.system(), *command]).encode())
    headers = {h for d in include_dirs for h in Path(d).glob("*.h")}
    headers |= {h for s in sources for h in Path(s).parent.glob("*.h")}
    for path in [*sources, *sorted(headers)]:
        digest.update(b"\0" + Path(path).name.encode() + b"\0" + Path(path).read_bytes())
    return digest.hexdigest()[:20]


def compile_shared(
    sources: Sequence[Path | str],
    include_dirs: Sequence[Path | str] = (),
    flags: Sequence[str] = (),
    name: str = "module",
) -> Path:
    """Compile C sources into a shared library, once per content.

    Parameters
    ----------
    sources
        C files.
    include_dirs
        Directories of headers; every ``*.h`` directly in them counts as content.
    flags
        Added after the core's own flags (``-std=c11 -O3 -ffp-contract=off`` and warnings).
    name
        Stem of the library's file name.

    Returns
    -------
    Path
        The library, under the user's cache (``$CHEEP_CACHE``) or ``.cheep``.

    Raises
    ------
    CheepError
        No compiler, a compile error (its text is in the message), or no directory to write to.
    """
    files = [Path(s).resolve() for s in sources]
    folders = [Path(d).resolve() for d in include_dirs]
    command = [*find_compiler(), *BASE_FLAGS, "-fPIC", "-shared", *flags]
    suffix = {"Darwin": ".dylib", "Windows": ".dll"}.get(platform.system(), ".so")
    key = _content_hash(files, folders, command)
    cache = _writable_cache()
    target = cache / f"{name}-{key}{suffix}"
    if target.is_file():
        return target
    with atomic_path(target) as partial:
        arguments = [*command, *(f"-I{d}" for d in folders), *map(str, files), "-o", str(partial)]
        log.debug("compiling %s", shlex.join(arguments))
        result = subprocess.run(arguments, check=False, capture_output=True, text=True)
        if result.returncode != 0:
            raise CheepError(f"{name}: the C compiler failed ({shlex.join(command[:1])}):\n{result.stderr.strip()}")
    return target


@functools.cache
def lane_flags() -> tuple[str, ...]:
    """Return the flags that let the core compute several frames at once on this machine (the same bits)."""
    if platform.machine().lower() not in ("x86_64", "amd64", "aarch64", "arm64"):
        return ()
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        flags = []
    return ("-DCHEEP_LANES=8", "-mavx2") if "avx2" in flags else ("-DCHEEP_LANES=4",)


@functools.cache
def load_core() -> ctypes.CDLL:
    """Compile (once) and load the C core.

    Returns
    -------
    ctypes.CDLL
        The library; :mod:`cheep.features` and :mod:`cheep.detector` declare the functions that they call.

    Raises
    ------
    CheepError
        See :func:`compile_shared`.
    """
    library = compile_shared(core_sources(), [include_dir()], lane_flags(), name="cheep_core")
    return ctypes.CDLL(str(library))


def pointer(array: np.ndarray, kind: type[ctypes._SimpleCData]) -> object:
    """Return a ctypes pointer to the first value of a C-contiguous numpy array of any shape.

    The array's dtype must be that of ``kind`` (float32 for ``c_float``): neither this nor the order is checked.
    """
    return array.ctypes.data_as(ctypes.POINTER(kind))
