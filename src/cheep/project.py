# SPDX-License-Identifier: MIT
"""A project of the user's own: recordings, a run file, and the firmware projects that are built from its model."""

from __future__ import annotations

import shutil
from pathlib import Path

from cheep.errors import CheepError
from cheep.files import write_text
from cheep.resources import PROJECTS, firmware_projects, firmware_root, package_file, recipes_folder

_MADE = shutil.ignore_patterns("generated", "build", ".pio", "__pycache__", "sdkconfig", "sdkconfig.esp32*")
FILES = {"README.md": "README.md", "run.yaml": "run.yaml", "gitignore": ".gitignore"}


def create_project(folder: Path) -> list[Path]:
    """Lay out a project in ``folder``, a new or an empty one; return what lies in it, top level only.

    Raises
    ------
    CheepError
        There is something already.
    """
    if folder.exists() and not folder.is_dir():
        raise CheepError(f"{folder}: is a file; name a new or an empty folder")
    if folder.is_dir() and (found := sorted(path.name for path in folder.iterdir())):
        raise CheepError(
            f"{folder}: is not empty ({', '.join(found[:3])}{', ...' if len(found) > 3 else ''}); "
            "name a new or an empty folder, nothing is overwritten"
        )
    before = folder.is_dir()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        (folder / "recordings").mkdir()
        for name in PROJECTS:
            shutil.copytree(firmware_root() / name, folder / "firmware" / name, ignore=_MADE)
        shutil.copytree(recipes_folder(), folder / "recipes", ignore=_MADE)
        for source, name in FILES.items():
            text = package_file("templates", "project", source).read_text(encoding="utf-8")
            write_text(folder / name, text.replace("{name}", folder.resolve().name))
    except BaseException:
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if not before:
            folder.rmdir()
        raise
    return sorted(folder.iterdir())


def changed_core() -> list[str]:
    """Return the files of the firmware's C core that are not those of the core that this program computes with.

    None in a checkout. In a project of one's own: after an upgrade of Cheep, or where the user changed them.
    """
    ours, theirs = firmware_root() / "common", firmware_projects() / "common"
    if ours == theirs:
        return []
    names = {path.relative_to(root) for root in (ours, theirs) for path in root.glob("*/cheep_*") if path.is_file()}
    return sorted(name.name for name in names if not _same(ours / name, theirs / name))


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()
