# SPDX-License-Identifier: MIT
"""Which files of a folder are audio, and which audio a name speaks of."""

from __future__ import annotations

import collections
import dataclasses
import logging
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PureWindowsPath

from cheep.audio.remote import files_below as remote_files
from cheep.audio.remote import is_folder as is_remote_folder
from cheep.audio.remote import status_of, url_of
from cheep.errors import CheepError

log = logging.getLogger(__name__)

#: Audio that is read: by libsndfile, and what it does not know by ffmpeg. The only such list.
AUDIO_SUFFIXES = (
    *(".wav", ".wave", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc", ".m4a", ".aac", ".wma"),
    *(".w64", ".rf64", ".bwf", ".caf", ".au", ".mp4", ".m4b", ".3gp", ".3g2", ".amr", ".mka", ".webm", ".mov", ".wv"),
)

#: Recordings in forms that only other programs open, and what to do.
_FOREIGN = {
    ".wac": "make WAV of it with Kaleidoscope",
    ".sud": "unpack it with SoundTrap Host",
    **dict.fromkeys((".zip", ".7z", ".rar", ".tar", ".gz", ".tgz"), "unpack it first"),
    **dict.fromkeys((".part", ".filepart", ".partial", ".crdownload", ".tmp"), "an unfinished copy: copy it again"),
}

#: Folders that systems leave on cards and disks.
SYSTEM_FOLDERS = ("__macosx", "system volume information", "$recycle.bin", "@eadir", "lost+found")


@dataclasses.dataclass
class Listing:
    """Audio below a folder, sorted, and what was passed over: hidden files, and other suffixes with their number.

    ``lost``: audio that the folder names and that is not there or may not be looked at (a link into the void), and
    folders that could not be listed.
    """

    audio: list[Path]
    hidden: int = 0
    lost: list[Path] = dataclasses.field(default_factory=list)
    others: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def passed_over(self) -> str:
        """Return one phrase that counts what was passed over, or an empty string."""
        parts = [f"{self.hidden} hidden"] if self.hidden else []
        for suffix, count in sorted(self.others.items()):
            hint = f" ({_FOREIGN[suffix]})" if suffix in _FOREIGN else ""
            parts.append(f"{count} {suffix or 'without suffix'}{hint}")
        return ", ".join(parts)


def is_hidden(path: Path) -> bool:
    """Tell whether ``path`` is a hidden file: ``.name``, among them the ``._name`` that macOS leaves on cards."""
    return path.name.startswith(".")


def files_below(folder: Path, lost: list[Path] | None = None) -> Iterator[Path]:
    """Yield the files of ``folder`` and below, links followed, but not what systems leave there; hidden files too.

    ``lost`` gets what is named and cannot be looked at, files and folders.
    """
    seen = set()

    def on_error(error: OSError) -> None:
        if lost is not None and error.filename is not None:
            lost.append(Path(error.filename))

    for place, folders, names in os.walk(folder, followlinks=True, onerror=on_error):
        folders[:] = [name for name in folders if not name.startswith(".") and name.lower() not in SYSTEM_FOLDERS]
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        for name in names:
            path = Path(place, name)
            try:
                if path.is_file():
                    yield path
                    continue
                there = path.exists()  # a pipe, a socket, a device
            except OSError:
                there = False
            if not there and lost is not None:
                lost.append(path)


def list_audio(folder: Path | str) -> Listing:
    """Return the audio files of ``folder`` and below, by suffix, and what was passed over."""
    found = Listing([])
    url = url_of(folder)
    for path in files_below(Path(folder), found.lost) if url is None else remote_files(url):
        if is_hidden(path):
            found.hidden += 1
        elif path.suffix.lower() in AUDIO_SUFFIXES:
            found.audio.append(path)
        else:
            found.others[path.suffix.lower()] += 1
    found.audio.sort()
    found.lost.sort()
    return found


def is_file(path: Path) -> bool:
    """Tell whether a file is there, also in object storage; OSError where the storage does not answer."""
    if url_of(path) is None:
        return path.is_file()
    try:
        status_of(path)
    except (FileNotFoundError, IsADirectoryError):
        return False
    return True


def is_folder(path: Path) -> bool:
    """Tell whether a folder is there, also in object storage; OSError where the storage does not answer."""
    url = url_of(path)
    return path.is_dir() if url is None else is_remote_folder(url)


def audio_files(path: Path | str) -> list[Path]:
    """Return the audio files of a folder and below, sorted; or the file itself.

    Raises
    ------
    CheepError
        Nothing is there, or no audio (the message counts what is).
    """
    path = Path(path)
    if is_file(path):
        return [path]
    if not is_folder(path):
        raise CheepError(f"{path}: no such file or folder; check the path")
    found = list_audio(path)
    if not found.audio:
        there = f"; it has {found.passed_over()}" if found.passed_over() else ""
        raise CheepError(f"{path}: holds no audio file ({' '.join(AUDIO_SUFFIXES)}){there}")
    if found.passed_over():
        log.info("%s: passed over: %s", path, found.passed_over())
    return found.audio


def plain_path(name: str) -> str:
    """Return a file name in the form in which names are compared: NFC, any case (macOS writes NFD)."""
    return unicodedata.normalize("NFC", name).casefold()


class AudioIndex:
    """Finds the recordings that a name in a table speaks of, whatever system wrote it.

    Slashes of both kinds, case, NFC and NFD, folders of another computer, and a suffix that changed when the
    recording was converted do not matter. Of several recordings of one name those count whose folders agree best.
    """

    def __init__(self, audio: Iterable[Path]) -> None:
        self._by_name: dict[str, list[Path]] = {}
        self._parts: dict[Path, list[str]] = {}
        for path in audio:
            self._parts[path] = [plain_path(part) for part in path.absolute().parts]
            for name in {plain_path(path.name), plain_path(path.stem)}:
                self._by_name.setdefault(name, []).append(path)

    def find(self, name: str, near: Path | None = None) -> list[Path]:
        """Return the recordings that ``name`` (a path, a file name or a stem) may mean; best: exactly one.

        Parameters
        ----------
        near
            The table that names it: among recordings of one name, those in its folder, or in folders of the same
            names, are meant.
        """
        wanted = PureWindowsPath(name)  # takes both slashes
        found = self._by_name.get(plain_path(wanted.name), []) if wanted.name else []
        if not found and wanted.suffix.lower() in ("", *AUDIO_SUFFIXES):
            found = self._by_name.get(plain_path(wanted.stem), []) if wanted.name else []
        if len(found) < 2:
            return list(found)
        folders = [plain_path(part) for part in wanted.parts[:-1]]
        found = _best(found, [common_tail(folders, self._parts[path][:-1]) for path in found])
        if near is not None and len(found) > 1:
            home = [plain_path(part) for part in near.absolute().parts[:-1]]
            found = _best(found, [common_tail(home, self._parts[path][:-1]) for path in found])
            found = _best(found, [_common_head(home, self._parts[path][:-1]) for path in found])
        return found


def _best(paths: list[Path], scores: list[int]) -> list[Path]:
    most = max(scores)
    return [path for path, score in zip(paths, scores, strict=True) if score == most]


def common_tail(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many of the last folders of two paths are the same, in whatever spelling."""
    return _common_head([plain_path(part) for part in reversed(one)], [plain_path(part) for part in reversed(other)])


def _common_head(one: list[str], other: list[str]) -> int:
    same = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        same += 1
    return same
