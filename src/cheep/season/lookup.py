# SPDX-License-Identifier: MIT
"""Which recording of a season a file of another program means, and what a reader of such files found."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath

from cheep.audio.folders import AUDIO_SUFFIXES, AudioIndex, plain_path
from cheep.errors import CheepError
from cheep.season.export import plain_name
from cheep.season.verdicts import Verdict

_FOLDERS = 4  # at most so many make a name with the file's own


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

    def find(self, name: str, near: Path | None = None) -> str | None:
        """Return the recording that ``name`` means; None: none here.

        Parameters
        ----------
        name
            An id, a path, a file name or its stem; or folders and stem as Cheep names files (:meth:`name`).
        near
            The file that names it: of several recordings those in folders of the same names are meant.

        Raises
        ------
        CheepError
            Several recordings have this name.
        """
        if name in self.paths:
            return name
        found = self._index.find(name, near)
        if len(found) != 1:
            wanted = PureWindowsPath(name)
            stem = wanted.stem if wanted.suffix.lower() in AUDIO_SUFFIXES else wanted.name
            known_as = self._names.get(plain_path(stem), ())
            if len(known_as) == 1:
                return known_as[0]
        if len(found) > 1:
            raise CheepError(
                f"{name}: {len(found)} recordings of the season have this name "
                f"({', '.join(str(path) for path in found[:3])}); name them with their folders"
            )
        return self._by_path[found[0]] if found else None

    def name(self, recording: str) -> str:
        """Return a name for files about a recording, which no other one of the season has.

        Its stem, where that will do; but recorders name files by the time, and two sites often have the same ones.
        Then folders stand before it.
        """
        path = self.path(recording)
        if len(self._index.find(path.stem)) <= 1:
            return path.stem
        for name in _names_of(path):
            if len(self._names[plain_path(name)]) == 1:
                return name
        return recording

    @functools.cached_property
    def _names(self) -> dict[str, list[str]]:
        """Recordings by folders and stem, as one word."""
        out: dict[str, list[str]] = collections.defaultdict(list)
        for recording, path in self.paths.items():
            for name in _names_of(path):
                out[plain_path(name)].append(recording)
        return out

    def path(self, recording: str) -> Path:
        """Return the file of a recording (its name, where the season does not know it)."""
        return self.paths.get(recording, Path(recording))


def _names_of(path: Path) -> list[str]:
    """Return the stem with one, two, ... folders before it."""
    parts = [plain_name(part) for part in (*path.parent.parts[-_FOLDERS:], path.stem)]
    return ["_".join(parts[at:]) for at in range(len(parts) - 2, -1, -1)]


@dataclasses.dataclass
class Found:
    """What a reader found: verdicts, and what it passed over (counted, by reason)."""

    verdicts: list[Verdict] = dataclasses.field(default_factory=list)
    passed_over: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
