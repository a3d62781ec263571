# SPDX-License-Identifier: MIT
"""Which code makes a result: a digest of all sources that it uses, so that a cache serves nothing of older code."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import re
import sys
from pathlib import Path

from cheep.resources import firmware_root

_PACKAGE = Path(__file__).resolve().parent
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n#]*)|import[ \t]+([\w., \t]+))"
    r"|[\"'](cheep(?:\.\w+)+):\w+[\"']",  # "module:function", run in a process of its own
    re.MULTILINE,
)
_NATIVE = (".c", ".cc", ".h", ".ld", ".S")
#: Distributions that are not called as what is imported from them.
_DISTRIBUTIONS = {"PIL": "pillow", "serial": "pyserial", "sklearn": "scikit-learn", "yaml": "PyYAML"}
_WITH = {"tensorflow": ("tf_keras",)}  # legacy Keras comes in by TF_USE_LEGACY_KERAS


def code_digest(*modules: str, package: Path | None = None) -> str:
    """Return the SHA-256 of what decides the results of some modules.

    It covers these modules and all of Cheep that they import, directly or not; where files of the firmware are among
    it, all C sources; and the versions of the libraries that are imported anywhere in it.

    Parameters
    ----------
    modules : str
        Such as ``"cheep.job.train"``.
    package : Path, optional
        Folder of the package; default: of the one that runs.
    """
    return _digest(modules, package or _PACKAGE)


def library_versions(*modules: str) -> dict[str, str]:
    """Return the versions of the libraries that some modules import, directly or not; empty: not installed."""
    _, foreign = modules_of(modules)
    foreign |= {other for name in foreign for other in _WITH.get(name, ())}
    return {name: _version(name) for name in sorted(foreign) if name not in sys.stdlib_module_names}


def modules_of(modules: tuple[str, ...], package: Path | None = None) -> tuple[dict[str, Path], set[str]]:
    """Return the files of all modules that some modules import, directly or not, and the foreign names among it."""
    package = package or _PACKAGE
    found: dict[str, Path] = {}
    foreign: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        if name.partition(".")[0] != package.name:
            foreign.add(name.partition(".")[0])
            continue
        path = _file(name, package)
        if path is None:  # a function or class of a module
            continue
        found[name] = path
        waiting += [name.rpartition(".")[0]] if "." in name else []
        waiting += _imports(path)
    return found, foreign


@functools.cache
def _digest(modules: tuple[str, ...], package: Path) -> str:
    found, foreign = modules_of(modules, package)
    paths = [(name, found[name]) for name in sorted(found)]
    if f"{package.name}.resources" in found:
        paths += [("/".join(path.parts[-3:]), path) for path in _native(package) + _native(firmware_root())]
    digest = hashlib.sha256()
    for name, path in paths:
        digest.update(f"{name}\0{_content(path)}\0".encode())
    foreign |= {other for name in foreign for other in _WITH.get(name, ())}
    for name in sorted(foreign):
        digest.update(f"{name}\0{_version(name)}\0".encode())
    return digest.hexdigest()


@functools.cache
def _native(folder: Path) -> list[Path]:
    paths = (path for path in folder.rglob("*") if path.suffix in _NATIVE)
    return sorted(path for path in paths if path.parent.name != "generated")


@functools.cache
def _content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@functools.cache
def _imports(path: Path) -> list[str]:
    out = []
    for match in _IMPORT.finditer(path.read_text(encoding="utf-8")):
        source, names, plain, isolated = match.groups()
        if source:
            out.append(source)
            out += [f"{source}.{part.split()[0]}" for part in names.strip("()").split(",") if part.strip()]
        elif plain:
            out += [part.split()[0] for part in plain.split(",") if part.strip()]
        else:
            out.append(isolated)
    return out


def _file(name: str, package: Path) -> Path | None:
    path = package.parent.joinpath(*name.split("."))
    for candidate in (path / "__init__.py", path.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


@functools.cache
def _version(name: str) -> str:
    if name in sys.stdlib_module_names:
        return ""
    try:
        return importlib.metadata.version(_DISTRIBUTIONS.get(name, name.replace("_", "-")))
    except importlib.metadata.PackageNotFoundError:
        return ""
