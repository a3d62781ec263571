# SPDX-License-Identifier: MIT
"""The one place that finds what is not Python: C core, firmware projects, recipes, templates, page.

In a checkout the firmware lies beside ``src``, in an installed package inside it; nothing but a checkout's generated
headers is written there. What a build makes goes to the user's cache or to a project of the user's own: the current
folder, where it holds ``firmware/common`` (``cheep new`` lays it out).
"""

from __future__ import annotations

import os
from pathlib import Path

from cheep.errors import CheepError

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "firmware"
_CHECKOUT = _PACKAGE.parents[1] / "firmware"
_MARK = Path("common") / "include" / "cheep_frontend.h"
# of a user's own project; the emulator stays with us
PROJECTS = ("common", "net", "esp32", "audiomoth", "host", "classifier")


def package_file(*names: str) -> Path:
    """Return the path of a data file of the package: ``package_file("compiler", "kernels.c")``."""
    return _PACKAGE.joinpath(*names)


def firmware_root() -> Path:
    """Return the ``firmware`` folder whose C core this program compiles and calls: ``$CHEEP_FIRMWARE``, or our own.

    Raises
    ------
    CheepError
        The C sources are not there.
    """
    named = os.environ.get("CHEEP_FIRMWARE")
    root = Path(named) if named else _INSTALLED if (_INSTALLED / _MARK).is_file() else _CHECKOUT
    if not (root / _MARK).is_file():
        raise CheepError(
            f"{root}: does not hold {_MARK.as_posix()}, the C core "
            "(install Cheep again, or set CHEEP_FIRMWARE to the firmware folder of a checkout)"
        )
    return root


def recipes_folder() -> Path:
    """Return the folder of run files to start from."""
    beside = _PACKAGE / "recipes"
    return beside if beside.is_dir() else _PACKAGE.parents[1] / "recipes"


def license_text() -> str:
    """Return the licence of Cheep's own code, which everything made of it takes along."""
    beside = _PACKAGE / "LICENSE"
    return (beside if beside.is_file() else _PACKAGE.parents[1] / "LICENSE").read_text(encoding="utf-8")


def include_dir() -> Path:
    """Return the folder of the core's public headers."""
    return firmware_root() / "common" / "include"


def source_dir() -> Path:
    """Return the folder of the core's C files."""
    return firmware_root() / "common" / "src"


def own_firmware() -> Path | None:
    """Return the ``firmware`` folder that the user builds from, or None where there is none.

    It is ``$CHEEP_FIRMWARE``, that of the current folder, or that of the checkout that runs.
    """
    if os.environ.get("CHEEP_FIRMWARE"):
        return firmware_root()
    here = Path("firmware")
    if (here / _MARK).is_file():
        return here.resolve()
    return _CHECKOUT if (_CHECKOUT / _MARK).is_file() else None


def firmware_projects() -> Path:
    """Return :func:`own_firmware`; raise CheepError naming ``cheep new`` where there is none."""
    found = own_firmware()
    if found is None:
        raise CheepError(
            f"{Path.cwd()}: holds no firmware project; 'cheep new DIR' lays one out (run the commands in DIR then)"
        )
    return found


def generated_folder() -> Path:
    """Return the folder for generated headers: every board's firmware reads it; without a project, ``generated``."""
    found = own_firmware()
    return found / "common" / "src" / "generated" if found else Path("generated")


def cache_dir() -> Path:
    """Return the folder of compiled libraries: ``$CHEEP_CACHE``, or ``cheep`` in the user's cache."""
    named = os.environ.get("CHEEP_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "cheep"
