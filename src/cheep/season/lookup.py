# SPDX-License-Identifier: MIT
"""Which recording of a season a file of another program means, and what a reader of such files found."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from pathlib import Path

from cheep.audio.folders import AudioIndex
from cheep.errors import CheepError
from cheep.season.verdicts import Verdict


class Recordings:
    """The recordings of a season, to find one by what a file calls it.

    Parameters
    ----------
    paths : mapping
        Recording -> path of its file.
    """

    def __init__(self, paths: Mapping[str, str | Path]) -> None:
        self.paths = {recording: Path(path) for recording, path in paths.items()}
        self._by_path = {path: recording for recording, path in self.paths.items()}
        self._index = AudioIndex(self._by_path)

    def find(self, name: str) -> str | None:
        """Return the recording that ``name`` (an id, a path, a file name, or its stem) means; None: none here.

        Raises
        ------
        CheepError
            Several recordings have this name.
        """
        if name in self.paths:
            return name
        found = self._index.find(name)
        if len(found) > 1:
            raise CheepError(
                f"{name}: {len(found)} recordings of the season have this name "
                f"({', '.join(str(path) for path in found[:3])}); name them with their folders"
            )
        return self._by_path[found[0]] if found else None

    def path(self, recording: str) -> Path:
        """Return the file of a recording (its name, where the season does not know it)."""
        return self.paths.get(recording, Path(recording))


@dataclasses.dataclass
class Found:
    """What a reader found: verdicts, and what it passed over (counted, by reason)."""

    verdicts: list[Verdict] = dataclasses.field(default_factory=list)
    passed_over: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
