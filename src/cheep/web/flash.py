# SPDX-License-Identifier: MIT
"""A folder that flashes boards from a browser: merged images, a manifest and esp-web-tools."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from cheep import __version__
from cheep.errors import CheepError
from cheep.files import write_bytes, write_json
from cheep.resources import cache_dir, firmware_projects, package_file
from cheep.web.esp_image import MergedImage, is_build, read_build

#: The npm package of the page's JavaScript (Apache-2.0): version, and the hash that npm's registry publishes.
TOOLS_VERSION = "10.4.0"
TOOLS_INTEGRITY = "sha512-3pwkeFFm5Fj7UQo8SJNYK5RXrtNCpq6X9QoI6bMT4GBZWgrJqjn0YvM9ihG74BtMoSFYXfmDtkehuxe50PTMPQ=="
_REGISTRY = "https://registry.npmjs.org"
_FOLDER = PurePosixPath("package/dist/web")
_PAGE = ("index.html", "flash.js")


def fetch_tools(file: Path | None = None) -> bytes:
    """Return the package's archive: ``file``, the user's cache, or npm's registry; the hash must be the pinned one.

    Raises
    ------
    CheepError
        It cannot be had, or is another.
    """
    if file is not None:
        return _checked(file.read_bytes(), str(file))
    kept = cache_dir() / f"esp-web-tools-{TOOLS_VERSION}.tgz"
    if kept.is_file():
        return _checked(kept.read_bytes(), str(kept))
    import requests

    registry = os.environ.get("NPM_CONFIG_REGISTRY", _REGISTRY).rstrip("/")
    url = f"{registry}/esp-web-tools/-/esp-web-tools-{TOOLS_VERSION}.tgz"
    try:
        answer = requests.get(url, timeout=60)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise CheepError(
            f"esp-web-tools {TOOLS_VERSION} cannot be fetched from npm's registry ({type(error).__name__}); where "
            f"there is a network: npm pack esp-web-tools@{TOOLS_VERSION}, then "
            f"--tools esp-web-tools-{TOOLS_VERSION}.tgz"
        ) from None
    data = _checked(answer.content, url)
    write_bytes(kept, data)
    return data


def _checked(data: bytes, where: str) -> bytes:
    found = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
    if found != TOOLS_INTEGRITY:
        raise CheepError(f"{where}: not esp-web-tools {TOOLS_VERSION}: its hash is {found}, must be {TOOLS_INTEGRITY}")
    return data


def tool_files(archive: bytes) -> dict[str, bytes]:
    """Return what a page needs of the package, and its licence, by name."""
    files = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            if member.isfile() and (path.parent == _FOLDER or path == PurePosixPath("package/LICENSE")):
                stream = tar.extractfile(member)
                assert stream is not None  # a file
                files[path.name] = stream.read()
    if "install-button.js" not in files:
        raise CheepError(f"esp-web-tools {TOOLS_VERSION}: holds no {_FOLDER}/install-button.js")
    return files


def built_folders() -> list[Path]:
    """Return the builds of the ESP32 project, sorted.

    Raises
    ------
    CheepError
        There is none.
    """
    top = firmware_projects() / "esp32" / ".pio" / "build"
    found = sorted(path for path in top.glob("*") if is_build(path)) if top.is_dir() else []
    if not found:
        raise CheepError(f"{top}: no build; make one: pio run -d {top.parents[1]} -e esp32 (or name one with --build)")
    return found


def write_flash_page(folder: Path, builds: Sequence[Path], name: str, tools: Path | None = None) -> list[MergedImage]:
    """Write the page for some builds, one a chip; return their images.

    Raises
    ------
    CheepError
        A build is damaged, two are of one chip, or the page's JavaScript cannot be had.
    """
    images: dict[str, tuple[Path, MergedImage]] = {}
    for build in builds:
        image = read_build(build)
        if image.chip in images:
            raise CheepError(f"{build} and {images[image.chip][0]}: both for {image.chip}; name one of them (--build)")
        images[image.chip] = (build, image)
    files = tool_files(fetch_tools(tools))
    for file, data in files.items():
        write_bytes(folder / "esp-web-tools" / file, data)
    entries = []
    for chip, (_, image) in images.items():
        file = f"cheep-{chip.lower()}-{image.sha256[:8]}.bin"
        write_bytes(folder / file, image.data)
        entries.append({"chipFamily": chip, "parts": [{"path": file, "offset": 0, "sha256": image.sha256}]})
    versions = sorted({image.version for _, image in images.values()} - {""})
    manifest = {"name": name, "version": ", ".join(versions) or __version__, "new_install_prompt_erase": True}
    write_json(folder / "manifest.json", {**manifest, "builds": entries})
    for file in _PAGE:
        write_bytes(folder / file, package_file("web", "flash_page", file).read_bytes())
    return [image for _, image in images.values()]
