# SPDX-License-Identifier: MIT
"""The values of a zoo file, read; the values of a run file, written; what is said of both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cheep.config.source import Source
from cheep.config.zoo.generations import common_form


class Values:
    """``get`` reads the zoo's values, ``put`` writes ours."""

    def __init__(self, source: Source):
        self.given = common_form(source)
        self.values = self.given.values
        self.made = Source(source.name, {}, source.lines)
        self.problems: list[tuple[int | str, str]] = self.given.problems[len(source.problems) :]

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value of the file; ``default`` where it is not given, or null."""
        place: Any = self.values
        for part in name.split("."):
            place = place.get(part) if isinstance(place, Mapping) else None
        return default if place is None else place

    def put(self, name: str, value: Any, written: str = "") -> None:
        """Set a setting of the run file; ``written`` names what it was taken from."""
        place = self.made.values
        *sections, last = name.split(".")
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
        if written:
            self.made.written[tuple(name.split("."))] = self.given.as_written(tuple(written.split(".")))
            self.made.shown[tuple(name.split("."))] = self.get(written)

    def refuse(self, name: str, text: str) -> None:
        """Note what would change the result, or means nothing."""
        place = tuple(name.split("."))
        self.problems.append((self.given.line(place), f"{self.given.name_of(place)}{text}"))

    def note(self, name: str, why: str) -> None:
        """Note what has no meaning here."""
        place = tuple(name.split("."))
        self.made.notes.append((self.given.line(place), f"{self.given.name_of(place)}: {why}"))

    def ours(self, name: str, default: Any = None) -> Any:
        """Return what a setting of the run file has become so far."""
        place: Any = self.made.values
        for part in name.split("."):
            place = place.get(part) if isinstance(place, Mapping) else None
        return default if place is None else place

    @property
    def steps(self) -> list[str]:
        """The steps of the run file; empty where the file does not say."""
        return self.ours("run.steps", [])

    def number(self, name: str, default: float) -> float | None:
        """Return a number; None where the file has none there (its reader says so)."""
        value = self.get(name, default)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    def flag(self, name: str) -> bool:
        """Return a switch; off where it is not given, or no switch (which is refused)."""
        value = self.get(name, False)
        if not isinstance(value, bool):
            self.refuse(name, f"={value!r}: must be true or false")
        return value is True

    def path(self, name: str) -> Any:
        """Return a path with the slashes of this machine, where it is one of Windows."""
        value = self.get(name)
        if isinstance(value, str) and "\\" in value and not Path(value).exists():
            return value.replace("\\", "/")
        return value

    @property
    def made_elsewhere(self) -> bool:
        """Whether the file names a model to start from that is none of a run."""
        path = self.path("general.model_path")
        if not isinstance(path, str) or Path(path).is_dir():
            return False
        return not any((Path(path).parent / name).is_file() for name in ("training.json", "manifest.json"))

    def says_null(self, section: str, name: str) -> bool:
        """Tell whether a setting is written, as null."""
        values = self.values.get(section)
        return isinstance(values, Mapping) and name in values and values[name] is None
