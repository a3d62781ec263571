# SPDX-License-Identifier: MIT
"""Finished steps, kept by what went into them: an unchanged step is not run again."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cheep.config import canonical_json
from cheep.files import atomic_folder
from cheep.provenance import code_digest

log = logging.getLogger(__name__)


def content_key(step: str, inputs: Any, *modules: str) -> str:
    """Return the key of a step: SHA-256 of its name, everything that decides its result, and the code of ``modules``.

    The code is all that the modules use (:func:`cheep.provenance.code_digest`): a step of other code is another step.
    """
    text = canonical_json({"step": step, "code": code_digest(*modules), "inputs": inputs})
    return hashlib.sha256(text.encode()).hexdigest()[:20]


class StepCache:
    """A folder of results, ``STEP-KEY/`` each; a folder that is there is complete (it is renamed last)."""

    def __init__(self, folder: Path):
        self.folder = folder

    def place(self, step: str, key: str) -> Path:
        """Return where the result of a step is kept (it may not exist yet)."""
        return self.folder / f"{step}-{key}"

    def build(self, step: str, key: str, make: Callable[[Path], None]) -> tuple[Path, bool]:
        """Return the folder of a result and whether it was there; else ``make(folder)`` fills a new one."""
        place = self.place(step, key)
        if place.is_dir():
            return place, True
        with atomic_folder(place) as part:
            make(part)
        return place, False

    def files(self, step: str, key: str, run: Path, names: Sequence[str], make: Callable[[], None]) -> bool:
        """Bring the step's files ``names`` into the ``run`` folder, from here or by ``make()``; return whether cached.

        Of ``names``, those that ``make`` does not write are left out.
        """

        def keep(folder: Path) -> None:
            for name in names:
                (run / name).unlink(missing_ok=True)
            make()
            for name in names:
                if (run / name).is_file():
                    shutil.copyfile(run / name, folder / name)

        place, cached = self.build(step, key, keep)
        if cached:
            for name in names:
                (run / name).unlink(missing_ok=True)
            for path in place.iterdir():
                shutil.copyfile(path, run / path.name)
        return cached
