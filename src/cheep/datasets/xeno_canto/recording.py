# SPDX-License-Identifier: MIT
"""A row of xeno-canto's API v3, in all its shapes, as one plain recording."""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Iterable
from typing import Any

from typing_extensions import Self

from cheep.datasets.labels.boxes import PLACEHOLDER_SPECIES, UNKNOWN, Box
from cheep.datasets.web import fix_url

BASE_URL = "https://xeno-canto.org"
QUALITIES = "ABCDE"
_UNIDENTIFIED, _SOUNDSCAPE = PLACEHOLDER_SPECIES
PLACEHOLDERS = ("identity unknown", "a soundscape, no species")


@dataclasses.dataclass(frozen=True)
class XcRecording:
    """One recording, its fields made plain: no HTML entities, complete addresses, seconds."""

    number: int
    genus: str
    epithet: str
    english: str
    recordist: str
    licence: str
    licence_url: str
    quality: str
    length_s: float | None
    url: str
    file_url: str  # empty: restricted
    file_name: str
    country: str = ""
    locality: str = ""
    latitude: str = ""
    longitude: str = ""
    date: str = ""
    time: str = ""
    sound_type: str = ""
    remarks: str = ""
    group: str = ""
    also: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()

    @property
    def name(self) -> str:
        """``XC`` and the catalogue number."""
        return f"XC{self.number}"

    @property
    def species(self) -> str:
        """Scientific name."""
        return f"{self.genus} {self.epithet}".strip()

    @property
    def placeholder(self) -> str:
        """What stands in the place of a species (nobody knows it, a soundscape), or an empty string."""
        name = self.species.lower()
        if self.group.lower() in ("soundscape", "soundscapes") or name == _SOUNDSCAPE:
            return PLACEHOLDERS[1]
        if not name or name == _UNIDENTIFIED or self.english.lower() in ("identity unknown", "unknown"):
            return PLACEHOLDERS[0]
        return ""

    @property
    def suffix(self) -> str:
        """File name suffix of the original, lower case with the dot; ``.mp3`` where none is given."""
        found = re.search(r"\.(mp3|wav|flac|ogg|m4a|aif|aiff|opus)$", self.file_name.strip(), re.IGNORECASE)
        return f".{found.group(1).lower()}" if found else ".mp3"

    @property
    def attribution(self) -> str:
        """Credit line."""
        return f"{self.recordist or 'unknown recordist'}, {self.name}, {self.url}, {self.licence}"

    @classmethod
    def from_row(cls, row: Any, base_url: str = BASE_URL) -> Self:
        """Read one row of the API.

        Raises
        ------
        ValueError
            The row is no object or has no catalogue number; the text names the field.
        """
        if not isinstance(row, dict):
            raise ValueError(f"row: {type(row).__name__} instead of an object")
        number = str(row.get("id") or row.get("nr") or "").strip().upper().removeprefix("XC")
        if not number.isascii() or not number.isdigit() or len(number) > 12:
            raise ValueError(f"id: {number[:40]!r} is no catalogue number")
        licence_url = _url(row.get("lic"), base_url)
        file_url = _url(_address(row.get("file")), base_url)
        return cls(
            number=int(number),
            genus=_plain(row.get("gen")),
            epithet=_plain(row.get("sp")),
            english=_plain(row.get("en")),
            recordist=_plain(row.get("rec")),
            licence=licence_name(licence_url),
            licence_url=licence_url,
            quality=_quality(row.get("q")),
            length_s=parse_length(row.get("length")),
            url=_url(row.get("url"), base_url) or f"{base_url}/{int(number)}",
            file_url=file_url,
            file_name=_plain(row.get("file-name") or _named(row.get("file"))),
            country=_plain(row.get("cnt")),
            locality=_plain(row.get("loc")),
            latitude=_plain(row.get("lat")),
            longitude=_plain(row.get("lon") or row.get("lng")),
            date=parse_date(row.get("date")),
            time=_plain(row.get("time")),
            sound_type=_plain(row.get("type")),
            remarks=_plain(row.get("rmk")),
            group=_plain(row.get("grp") or row.get("group")),
            also=_names(row.get("also")),
            boxes=annotation_boxes(row),
        )


def slug(text: str) -> str:
    """Return a folder name for a species: lower case letters, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "unknown"


def parse_length(value: Any) -> float | None:
    """Return seconds of ``m:ss``, ``h:mm:ss`` or a number; ``None`` where it says nothing."""
    if isinstance(value, bool) or value is None:
        return None
    parts = str(value).strip().split(":")
    if len(parts) > 3 or not all(re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", part) for part in parts):
        return None
    seconds = 0.0
    for part in parts:
        seconds = 60 * seconds + float(part)
    return seconds or None


def parse_date(value: Any) -> str:
    """Return the known part of a date: ``2004``, ``2004-05`` or ``2004-05-17``; empty for ``0000-00-00``."""
    found = re.match(r"([0-9]{4})(?:-([0-9]{1,2})(?:-([0-9]{1,2}))?)?", _plain(value))
    if not found or found.group(1) == "0000":
        return ""
    known = found.group(1)
    for part, most in ((found.group(2), 12), (found.group(3), 31)):
        if not part or not 1 <= int(part) <= most:
            break
        known += f"-{int(part):02d}"
    return known


def licence_name(url: str) -> str:
    """Return ``CC-BY-NC-SA-4.0`` for the address of a Creative Commons licence; other text as it is."""
    if found := re.search(r"creativecommons\.org/licenses/([a-z-]+)/([0-9]+\.[0-9]+)", url, re.IGNORECASE):
        return f"CC-{found.group(1).upper()}-{found.group(2)}"
    if found := re.search(r"creativecommons\.org/publicdomain/(zero|mark)/([0-9]+\.[0-9]+)", url, re.IGNORECASE):
        return f"{'CC0' if found.group(1).lower() == 'zero' else 'PDM'}-{found.group(2)}"
    return url


def annotation_boxes(row: dict[str, Any]) -> tuple[Box, ...]:
    """Return the annotation boxes of a row, whether it carries annotations or sets that hold them."""
    boxes: list[Box] = []
    for key in ("annotations", "annotation_sets", "annotation-sets", "annotation-set", "annotation_set"):
        boxes += _boxes(row.get(key), 0)
    return tuple(sorted(set(boxes), key=lambda box: (box.start_s, box.end_s, box.label)))


def _boxes(value: Any, depth: int) -> Iterable[Box]:
    if depth > 3:
        return
    if isinstance(value, dict):
        if "start_time" in value and "end_time" in value:
            start, end = _seconds(value["start_time"]), _seconds(value["end_time"])
            if start is not None and end is not None and 0 <= start < end:
                name = _plain(value.get("scientific_name"))
                name = UNKNOWN if name.lower() in PLACEHOLDER_SPECIES else name
                yield Box(start, end, name, _seconds(value.get("frequency_low")), _seconds(value.get("frequency_high")))
        else:
            yield from _boxes(value.get("annotations"), depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from _boxes(item, depth + 1)


def _seconds(value: Any) -> float | None:
    text = _plain(value)
    return float(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) else None


def _plain(value: Any) -> str:
    """One line of text without HTML entities (once or twice escaped), tags or control characters."""
    if value is None or isinstance(value, dict | list):
        return ""
    text = html.unescape(html.unescape(str(value)))
    return " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", re.sub(r"<[^<>]{0,200}>", " ", text)).split())


def _quality(value: Any) -> str:
    text = _plain(value).upper()
    return text if text in tuple(QUALITIES) else ""


def _url(value: Any, base_url: str) -> str:
    text = _plain(value)
    try:
        return fix_url(text, base_url + "/") if text else ""
    except ValueError:
        raise ValueError(f"address {text[:80]!r}: malformed") from None


def _address(value: Any) -> Any:
    """The address of the audio, which some answers wrap in an object or a list."""
    if isinstance(value, list):
        value = next((item for item in value if item), None)
    if isinstance(value, dict):
        texts = [value.get(key) for key in ("url", "href", "file", "download", "src", "audio", "mp3", "original")]
        value = next((text for text in texts if isinstance(text, str) and text.strip()), None)
    return value


def _named(value: Any) -> Any:
    if isinstance(value, list):
        value = next((item for item in value if item), None)
    if not isinstance(value, dict):
        return None
    return next((value[key] for key in ("file-name", "filename", "file_name", "name") if value.get(key)), None)


def _names(value: Any) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [value]
    return tuple(name for name in (_plain(item) for item in items) if name)
