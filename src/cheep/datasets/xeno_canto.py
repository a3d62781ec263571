# SPDX-License-Identifier: MIT
"""xeno-canto API v3: queries from options, and its rows in all their shapes."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import html
import json
import logging
import os
import re
import urllib.parse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator
from typing_extensions import Self

from cheep.config import Settings, canonical_json
from cheep.datasets.files import read_text
from cheep.datasets.labels.boxes import PLACEHOLDER_SPECIES, UNKNOWN, Box
from cheep.datasets.web import Fetcher, error_text, fix_url
from cheep.errors import CheepError
from cheep.files import write_text

log = logging.getLogger(__name__)

BASE_URL = "https://xeno-canto.org"
KEY_VARIABLE = "XENO_CANTO_API_KEY"
_HOW_TO_GET_A_KEY = (
    f"register at {BASE_URL}, confirm your e-mail address, and copy the key from {BASE_URL}/account; then set "
    f"{KEY_VARIABLE}=... in the environment, or write the key to a file and give --key-file FILE"
)
_QUALITIES = "ABCDE"
_UNIDENTIFIED, _SOUNDSCAPE = PLACEHOLDER_SPECIES
PLACEHOLDERS = ("identity unknown", "a soundscape, no species")


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
            if letter not in tuple(_QUALITIES):
                raise ValueError(f"quality={letter!r}: must be one of {', '.join(_QUALITIES)}")
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
            worst = max(_QUALITIES.index(letter) for letter in self.quality)
            if len(self.quality) == 1:
                common.append(f"q:{self.quality[0]}")
            elif worst < len(_QUALITIES) - 1:
                common.append(f'q:">{_QUALITIES[worst + 1]}"')
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


def read_key(key_file: Path | None = None) -> str:
    """Return the API key from a file or the environment.

    Raises
    ------
    CheepError
        There is none; the message tells how to get one.
    """
    if key_file is not None:
        key = read_text(key_file, 1 << 16).strip()
        where = str(key_file)
    else:
        key = os.environ.get(KEY_VARIABLE, "").strip()
        where = KEY_VARIABLE
    if not key:
        raise CheepError(f"xeno-canto needs an API key (free): {_HOW_TO_GET_A_KEY}")
    if not re.fullmatch(r"[\x21-\x7e]{8,256}", key):
        raise CheepError(f"{where}: does not hold an API key (one word of 8 characters or more): {_HOW_TO_GET_A_KEY}")
    return key


def search(
    query: str, fetcher: Fetcher, key: str, base_url: str = BASE_URL, cache: Path | None = None, per_page: int = 500
) -> tuple[list[XcRecording], list[str]]:
    """Return ``(recordings, problems)`` of all pages; rows that repeat across pages count once.

    Pages that arrived are kept in ``cache`` (without the key), so that an interrupted search goes on.
    """
    name = hashlib.sha256(canonical_json([base_url, query, per_page]).encode()).hexdigest()[:16]
    found: dict[int, XcRecording] = {}
    problems: list[str] = []
    page, pages = 1, 1
    data: dict[str, Any] = {}
    while page <= pages:
        path = cache / f"{name}-{page:04d}.json" if cache is not None else None
        cached = _cached(path)
        if cached is not None:
            data = cached
        else:
            parameters = {"query": query, "key": key, "per_page": per_page, "page": page}
            url = f"{base_url}/api/3/recordings?{urllib.parse.urlencode(parameters)}"
            data = fetcher.stubbornly(functools.partial(_page, fetcher, url), f"search {query!r}, page {page}")
            if path is not None:
                write_text(path, json.dumps(data, sort_keys=True).replace(key, "***"))
        pages = min(max(count(data.get("numPages"), "numPages"), 1), 10_000)
        for row in data["recordings"]:
            try:
                recording = XcRecording.from_row(row, base_url)
            except ValueError as error:
                problems.append(f"search {query!r}, page {page}: {error}")
                continue
            found.setdefault(recording.number, recording)
        page += 1
    expected = count(data.get("numRecordings"), "numRecordings")
    if len(found) + len(problems) < expected:
        log.warning("search %r: the server announced %d recordings and sent %d", query, expected, len(found))
    return list(found.values()), problems


def _page(fetcher: Fetcher, url: str) -> dict[str, Any]:
    from cheep.datasets.web import Permanent, Transient

    data = fetcher.get_json_once(url)
    if not isinstance(data, dict):
        raise Transient(f"{type(data).__name__} instead of an object")
    if text := error_text(data):
        raise Permanent(text)
    if not isinstance(data.get("recordings"), list):
        raise Transient("no list of recordings in the answer")
    return data


def _cached(path: Path | None) -> dict[str, Any] | None:
    if path is None or not path.is_file():
        return None
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) and isinstance(data.get("recordings"), list) else None


def count(value: Any, name: str) -> int:
    """Return a count that came as number or text; 0 for nothing."""
    if value is None or value == "":
        return 0
    try:
        return int(str(value).replace(",", "").strip())
    except ValueError:
        raise CheepError(
            f"xeno-canto answered {name}={str(value)[:40]!r}: not a number (has the API changed?)"
        ) from None


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


def length_range(text: str) -> tuple[float, float] | None:
    """Return (least, most) seconds of ``5-120``, ``<30``, ``>10`` or ``20``."""
    if found := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)-([0-9]+(?:\.[0-9]+)?)", text):
        low, high = float(found.group(1)), float(found.group(2))
        return (low, high) if low <= high else None
    if found := re.fullmatch(r"([<>]?)([0-9]+(?:\.[0-9]+)?)", text):
        value = float(found.group(2))
        return {"<": (0.0, value), ">": (value, float("inf")), "": (value, value)}[found.group(1)]
    return None


def licence_name(url: str) -> str:
    """Return ``CC-BY-NC-SA-4.0`` for the address of a Creative Commons licence; other text as it is."""
    if found := re.search(r"creativecommons\.org/licenses/([a-z-]+)/([0-9]+\.[0-9]+)", url, re.IGNORECASE):
        return f"CC-{found.group(1).upper()}-{found.group(2)}"
    if found := re.search(r"creativecommons\.org/publicdomain/(zero|mark)/([0-9]+\.[0-9]+)", url, re.IGNORECASE):
        return f"{'CC0' if found.group(1).lower() == 'zero' else 'PDM'}-{found.group(2)}"
    return url


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
    return text if text in tuple(_QUALITIES) else ""


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


def _quoted(value: str) -> str:
    value = value.replace('"', "").strip()
    return f'"{value}"' if re.search(r"[^\w.,-]", value) else value
