# SPDX-License-Identifier: MIT
"""What to look for on xeno-canto: search texts from options, and what is refused of the answers."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from cheep.config import Settings
from cheep.datasets.xeno_canto.recording import QUALITIES, XcRecording
from cheep.errors import CheepError


class XenoCantoQuery(Settings):
    """What to look for. Several species make several searches."""

    species: tuple[str, ...] = ()
    country: str = ""
    area: str = ""
    box: str = ""
    quality: tuple[str, ...] = ()
    type: str = ""
    length: str = ""
    licence: tuple[str, ...] = ()
    since: str = ""
    group: str = ""
    annotated: bool = False
    query: str = Field("", description="raw search tags, added to the others")

    @field_validator("quality")
    @classmethod
    def _qualities(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for letter in value:
            if letter not in tuple(QUALITIES):
                raise ValueError(f"quality={letter!r}: must be one of {', '.join(QUALITIES)}")
        return value

    @field_validator("length")
    @classmethod
    def _length(cls, value: str) -> str:
        if value and length_range(value) is None:
            raise ValueError(f"length={value!r}: must look like 5-120, <30 or >10 (seconds)")
        return value

    @field_validator("box")
    @classmethod
    def _box(cls, value: str) -> str:
        if value and not re.fullmatch(r"\s*-?[0-9]+(\.[0-9]+)?\s*(,\s*-?[0-9]+(\.[0-9]+)?\s*){3}", value):
            raise ValueError(f"box={value!r}: must be LAT_MIN,LON_MIN,LAT_MAX,LON_MAX in degrees")
        return value.replace(" ", "")

    def searches(self) -> list[str]:
        """Return one query text per species (one in all without species).

        Raises
        ------
        CheepError
            Nothing is asked for.
        """
        common = [
            f"{tag}:{_quoted(value)}"
            for tag, value in (
                ("cnt", self.country),
                ("area", self.area),
                ("box", self.box),
                ("type", self.type),
                ("len", self.length),
                ("since", self.since),
                ("grp", self.group),
            )
            if value
        ]
        if self.annotated:
            common.append("ann:yes")
        if self.quality:
            worst = max(QUALITIES.index(letter) for letter in self.quality)
            if len(self.quality) == 1:
                common.append(f"q:{self.quality[0]}")
            elif worst < len(QUALITIES) - 1:
                common.append(f'q:">{QUALITIES[worst + 1]}"')
        if self.query:
            common.append(self.query)
        named = [f"sp:{_quoted(name)}" for name in self.species]
        if not named and not common:
            raise CheepError("nothing to search for: give --species, --country, --area, --box, --group or --query")
        return [" ".join([name, *common]) for name in named] or [" ".join(common)]

    def refuses(self, row: XcRecording) -> str:
        """Return why ``row`` is not wanted although the server sent it, or an empty string."""
        asked = self.group.lower().startswith("soundscape") or row.species.lower() in map(str.lower, self.species)
        if row.placeholder and not asked:
            return row.placeholder
        if self.quality and row.quality not in self.quality:
            return f"quality {row.quality or 'not rated'}"
        if self.licence and not any(licence_matches(row.licence, wanted) for wanted in self.licence):
            return f"licence {row.licence}"
        limits = length_range(self.length) if self.length else None
        if limits and row.length_s is not None and not limits[0] <= row.length_s <= limits[1]:
            return f"length {row.length_s:g} s"
        return ""


def length_range(text: str) -> tuple[float, float] | None:
    """Return (least, most) seconds of ``5-120``, ``<30``, ``>10`` or ``20``."""
    if found := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)-([0-9]+(?:\.[0-9]+)?)", text):
        low, high = float(found.group(1)), float(found.group(2))
        return (low, high) if low <= high else None
    if found := re.fullmatch(r"([<>]?)([0-9]+(?:\.[0-9]+)?)", text):
        value = float(found.group(2))
        return {"<": (0.0, value), ">": (value, float("inf")), "": (value, value)}[found.group(1)]
    return None


def licence_parts(name: str) -> frozenset[str]:
    """Return the conditions of a licence name: ``{"BY", "NC", "SA"}``; CC0 has none."""
    return frozenset(part for part in re.split(r"[-\s]+", name.upper()) if part in ("BY", "NC", "SA", "ND"))


def licence_matches(name: str, wanted: str) -> bool:
    """Tell whether ``name`` is the licence ``wanted`` (``BY-NC-SA``, ``CC0``, ``CC-BY-4.0``), version optional."""
    if "CC0" in wanted.upper():
        return name.upper().startswith("CC0")
    version = re.search(r"[0-9]+\.[0-9]+", wanted)
    same = licence_parts(name) == licence_parts(wanted) and not name.upper().startswith("CC0")
    return same and bool(licence_parts(name)) and (version is None or version.group() in name)


def _quoted(value: str) -> str:
    value = value.replace('"', "").strip()
    return f'"{value}"' if re.search(r"[^\w.,-]", value) else value
