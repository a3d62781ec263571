# SPDX-License-Identifier: MIT
"""Recordings in object storage (``s3://BUCKET/FOLDER`` and what else fsspec knows): listed there, read as a copy here.

A copy, because libsndfile, ffmpeg and the repair of damaged headers want a file. A process keeps its last few and
removes them when it ends; those of a process that was killed go when the next one begins.
"""

from __future__ import annotations

import atexit
import collections
import dataclasses
import errno
import functools
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

from cheep.errors import CheepError

_URL = re.compile(r"([a-z][a-z0-9]+):/{1,2}([^/].*)", re.DOTALL)  # Path("s3://bucket") has one slash less
_KEPT = 3
_COPIES = "cheep-copies-"


@dataclasses.dataclass(frozen=True)
class Status:
    """Size in bytes, and time of modification in ns since 1970, of a file."""

    st_size: int
    st_mtime_ns: int


def url_of(path: str | os.PathLike) -> str | None:
    """Return the URL that ``path`` is (a :class:`pathlib.Path` made of one has lost a slash); None: a local file."""
    text = path.as_posix() if isinstance(path, PurePath) else os.fspath(path)
    found = _URL.fullmatch(text)
    return f"{found[1]}://{found[2]}" if found else None


def place_of(path: Path) -> Path:
    """Return where a file or folder is, whatever the current folder: an absolute path, or a URL's as it is."""
    return path if url_of(path) else path.absolute()


def status_of(path: Path) -> Status | os.stat_result:
    """Return size and time of a file, here or there; OSError where it cannot be had."""
    url = url_of(path)
    if url is None:
        return path.stat()
    system, name = _system(url)
    told = _asked(url, lambda: system.info(name))
    if told.get("type") == "directory":
        raise IsADirectoryError(errno.EISDIR, "is a folder", url)
    when = told.get("LastModified") or told.get("mtime") or told.get("created")
    seconds = when.timestamp() if hasattr(when, "timestamp") else float(when or 0)
    return Status(int(told["size"]), round(seconds * 1000) * 1_000_000)


def is_folder(url: str) -> bool:
    """Tell whether anything lies below a URL; OSError where the storage does not answer."""
    system, name = _system(url)
    return bool(_asked(url, lambda: system.isdir(name)))


def files_below(url: str) -> Iterator[Path]:
    """Yield the files below a URL, as paths that :func:`url_of` understands."""
    system, name = _system(url)
    scheme = url.partition("://")[0]
    for found in sorted(_asked(url, lambda: system.find(name))):
        yield Path(f"{scheme}://{found.lstrip('/')}")


def copy_path(path: Path) -> Path:
    """Return where :func:`local_file` has the copy of a remote file; a local file: itself."""
    url = url_of(path)
    if url is None:
        return path
    return _folder() / hashlib.sha256(url.encode()).hexdigest()[:16] / path.name


def local_file(path: Path) -> Path:
    """Return a local file with the content of ``path``: itself, or a copy that is kept for the next few calls.

    Raises
    ------
    OSError
        The storage does not give it.
    """
    url = url_of(path)
    if url is None:
        return path
    copy = copy_path(path)
    if copy in _copies:
        _copies.move_to_end(copy)
        return copy
    copy.parent.mkdir(exist_ok=True)
    system, name = _system(url)
    part = copy.with_name(copy.name + ".part")
    _asked(url, lambda: system.get_file(name, str(part)))
    os.replace(part, copy)
    _copies[copy] = None
    while len(_copies) > _KEPT:
        shutil.rmtree(_copies.popitem(last=False)[0].parent, ignore_errors=True)
    return copy


_copies: collections.OrderedDict[Path, None] = collections.OrderedDict()


@functools.cache
def _folder() -> Path:
    top = Path(tempfile.gettempdir())
    for left in top.glob(f"{_COPIES}*"):
        if not _runs(left.name.removeprefix(_COPIES)):
            shutil.rmtree(left, ignore_errors=True)
    folder = top / f"{_COPIES}{os.getpid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _runs(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except OSError:  # another user's
        return True
    return True


def _system(url: str) -> tuple[Any, str]:
    """Return the file system of a URL and the name there; CheepError where the package for it is missing."""
    scheme = url.partition("://")[0]
    try:
        import fsspec

        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise CheepError(
            f"{url}: needs a package that is not installed ({error}): pip install fsspec s3fs "
            "(tested: requirements-s3.txt)"
        ) from None
    except ValueError:
        raise CheepError(f"{url}: {scheme}:// is no storage that fsspec knows; try s3://BUCKET/FOLDER") from None


def _asked(url: str, what: Any) -> Any:
    """Ask the storage; whatever it answers instead is an OSError (what may be better next time: EAGAIN)."""
    try:
        return what()
    except OSError as error:
        if error.errno is None:
            kind = errno.ENOENT if isinstance(error, FileNotFoundError) else errno.EAGAIN
            kind = errno.EACCES if isinstance(error, PermissionError) else kind
            raise OSError(kind, str(error) or os.strerror(kind), url) from None
        raise
    except Exception as error:  # of the storage's own library: no credentials, no connection
        raise OSError(errno.EAGAIN, f"{type(error).__name__}: {error}", url) from None
