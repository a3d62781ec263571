# SPDX-License-Identifier: MIT
"""What a recorder wrote of a recording: when, where, which device; in the file's texts, or else in its name.

Read are the AudioMoth's comment, GUANO text, Wildlife Acoustics' ``wamd`` chunk, the ``bext`` chunk of broadcast WAV,
and file names of AudioMoth (also hexadecimal), Song Meter, Swift, BAR-LT, SoundTrap and BirdNET-Pi. A time without a
zone is one of the recorder's clock: ``naive``. A clock that stands in 1970 says nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import re
import struct
from pathlib import Path

from cheep.audio.riff import WavLayout, chunk_bytes, info_texts, read_layout
from cheep.datasets.audiomoth import is_moth, parse_comment
from cheep.datasets.guano import guano_values, parse_iso
from cheep.errors import CheepError

_STAMP = re.compile(
    r"(?<![0-9])([12][0-9]{3})[-.]?([01][0-9])[-.]?([0-3][0-9])"  # date
    r"(?:[T_$ -]|-birdnet-)?([0-2][0-9])[-.:h]?([0-5][0-9])[-.:m]?([0-6][0-9])(\.[0-9]{1,6})?"  # clock
    # an AudioMoth's T of a triggered recording; the zone (SwiftOne: behind an underscore)
    r"(?:T(?![0-9A-Za-z])|(Z|_?[+-][0-9]{2}:?[0-9]{2}))?(?![0-9])"
)
_PLACE = re.compile(r"_([+-][0-9]{1,2}\.[0-9]+)([+-][0-9]{1,3}\.[0-9]+)(?=_|$)")  # BAR-LT
_HEX_NAME = re.compile(r"[0-9A-F]{8}")
_HEX_SINCE = 0x4F000000  # 2012: before AudioMoths; plain dates such as 20240601 read as hexadecimal are earlier
_UNSET_YEAR = 1970
_SOUNDTRAP = re.compile(r"([0-9]{3,5})\.([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})(?![0-9])")
_CHANNELS = re.compile(r"_[0-9]\+[0-9]$")  # Song Meter
_WAMD = {1: "model", 2: "serial", 4: "prefix", 5: "timestamp", 6: "gps", 0x15: "temperature"}
_MAX_WAMD_BYTES = 1 << 20
_BEXT_BYTES = 348  # of a broadcast WAV: description, originator, its reference, date, time, ...
_NUMBER = re.compile(r"[-+]?[0-9]{1,4}(?:\.[0-9]+)?")


@dataclasses.dataclass(frozen=True)
class RecorderFacts:
    """What is known of a recording. ``None`` or empty: nothing.

    ``time`` is the start of the first sample, with a zone or without (the recorder's clock); ``time_source`` where it
    is from: ``audiomoth``, ``guano``, ``wamd``, ``bext``, ``name``. ``problem``: what a text says that cannot be.
    """

    device: str = ""
    time: datetime.datetime | None = None
    time_source: str = ""
    gain: str = ""
    battery_v: float | None = None
    temperature_c: float | None = None
    latitude: float | None = None
    longitude: float | None = None
    site: str = ""
    problem: str = ""


def read_facts(path: Path) -> RecorderFacts:
    """Return what a recording's texts and name say; the texts count before the name. Never raises for what they say."""
    found, problem = [], ""
    try:
        layout = read_layout(path)
        if layout is not None:
            found = _texts(path, layout)
    except (CheepError, OSError) as error:
        problem = str(error)
    facts = RecorderFacts(problem=problem)
    for item in (*found, facts_of_name(path.name)):
        facts = _joined(facts, _with_set_clock(item))
    return facts


def _with_set_clock(facts: RecorderFacts) -> RecorderFacts:
    """Return the facts without a time that a clock shows which nobody set."""
    if facts.time is None or facts.time.year > _UNSET_YEAR:
        return facts
    said = f"its clock was not set ({facts.time:%Y-%m-%d %H:%M:%S})"
    return dataclasses.replace(facts, time=None, time_source="", problem=facts.problem or said)


def _texts(path: Path, layout: WavLayout) -> list[RecorderFacts]:
    texts = info_texts(path, layout)
    comment, artist = texts.get("ICMT", ""), texts.get("IART", "")
    found = []
    if is_moth(comment) or is_moth(artist):
        try:
            card = parse_comment(comment, path, artist)
            source = "audiomoth" if card.time else ""
            found.append(RecorderFacts(card.device, card.time, source, card.gain, card.battery_v, card.temperature_c))
        except CheepError as error:
            found.append(RecorderFacts(problem=str(error)))
    if "guan" in texts:
        found.append(parse_guano(texts["guan"]))
    if body := chunk_bytes(path, layout, b"wamd", _MAX_WAMD_BYTES):
        found.append(parse_wamd(body))
    if body := chunk_bytes(path, layout, b"bext", _BEXT_BYTES):
        found.append(parse_bext(body))
    return found


def _joined(first: RecorderFacts, second: RecorderFacts) -> RecorderFacts:
    """What the first says, and what only the second does."""
    out = {}
    for field in dataclasses.fields(RecorderFacts):
        value = getattr(first, field.name)
        out[field.name] = getattr(second, field.name) if value is None or value == "" else value
    if first.time is not None:
        out["time_source"] = first.time_source
    if first.latitude is None or first.longitude is None:  # a place is from one source
        out["latitude"], out["longitude"] = second.latitude, second.longitude
    return RecorderFacts(**out)


def facts_of_name(name: str) -> RecorderFacts:
    """Return what a file's name says: time, place, and the text before the time as the device."""
    stem = name.rpartition(".")[0] or name
    if _HEX_NAME.fullmatch(stem) and _HEX_SINCE <= (seconds := int(stem, 16)) < 1 << 31:
        return RecorderFacts(time=datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc), time_source="name")
    if found := _SOUNDTRAP.match(stem):
        with contextlib.suppress(ValueError):
            year, month, day, hour, minute, second = (int(part) for part in found.groups()[1:])
            begin = datetime.datetime(2000 + year, month, day, hour, minute, second)
            return RecorderFacts(found[1], begin, "name")
    place = _PLACE.search(stem)
    latitude, longitude = _degrees(place[1], place[2]) if place else (None, None)
    for match in _STAMP.finditer(stem):
        time = _time(match)
        if time is not None:
            device = _CHANNELS.sub("", stem[: match.start()].rstrip("_-$ "))
            device = "" if device == "S" and place else device  # BAR-LT: S for the start
            return RecorderFacts(device, time, "name", latitude=latitude, longitude=longitude)
    return RecorderFacts(latitude=latitude, longitude=longitude)


def _time(match: re.Match) -> datetime.datetime | None:
    year, month, day, hour, minute, second = (int(match[i]) for i in range(1, 7))
    micro = round(float(match[7] or 0) * 1e6)
    with contextlib.suppress(ValueError):
        return datetime.datetime(year, month, day, hour, minute, second, micro, tzinfo=_zone(match[8]))
    return None


def _zone(text: str | None) -> datetime.timezone | None:
    if not text:
        return None
    if text == "Z":
        return datetime.timezone.utc
    text = text.lstrip("_")
    digits = text[1:].replace(":", "")
    minutes = 60 * int(digits[:2]) + int(digits[2:])
    if minutes > 14 * 60 or minutes % 15:  # a number of another kind
        return None
    return datetime.timezone(datetime.timedelta(minutes=-minutes if text[0] == "-" else minutes))


def parse_guano(text: str) -> RecorderFacts:
    """Read GUANO text (:mod:`cheep.datasets.guano`)."""
    value = guano_values(text)
    time = parse_iso(value.get("Timestamp", ""))
    place = value.get("Loc Position", "").replace(",", " ").split()
    latitude, longitude = _degrees(*place) if len(place) == 2 else (None, None)
    gain = re.search(r"GAIN ([0-9])", value.get("OAD|Recording Settings", ""))
    battery = next((value[key] for key in value if key.endswith("Battery Voltage")), "")
    return RecorderFacts(
        device=value.get("Serial", "") or value.get("WA|Song Meter|Serial", ""),
        time=time,
        time_source="guano" if time else "",
        gain=f"setting {gain[1]}" if gain else "",
        battery_v=_number(battery, 0, 20),
        temperature_c=_number(value.get("Temperature Int") or value.get("Temperature Ext") or "", -100, 150),
        latitude=latitude,
        longitude=longitude,
        site=value.get("Site", "") or value.get("WA|Song Meter|Prefix", ""),
    )


def parse_wamd(body: bytes) -> RecorderFacts:
    """Read a ``wamd`` chunk: entries of an id (uint16), a length (uint32) and that many bytes."""
    value: dict[str, str] = {}
    at = 0
    while at + 6 <= len(body):
        kind, size = struct.unpack_from("<HI", body, at)
        if kind in _WAMD:
            raw = body[at + 6 : at + 6 + size].split(b"\0")[0]
            value.setdefault(_WAMD[kind], raw.decode("utf-8", "replace").strip())
        at += 6 + size
    time = parse_iso(value.get("timestamp", ""))
    latitude, longitude = _gps(value.get("gps", ""))
    return RecorderFacts(
        device=value.get("serial", ""),
        time=time,
        time_source="wamd" if time else "",
        temperature_c=_number(value.get("temperature", ""), -100, 150),
        latitude=latitude,
        longitude=longitude,
        site=value.get("prefix", ""),
    )


def parse_bext(body: bytes) -> RecorderFacts:
    """Read the time in the ``bext`` chunk of a broadcast WAV, as Zoom, Tascam and Sound Devices write it."""
    day, clock = (body[at : at + n].split(b"\0")[0].decode("latin-1") for at, n in ((320, 10), (330, 8)))
    time = parse_iso(f"{re.sub('[^0-9]', '-', day)} {re.sub('[^0-9]', ':', clock)}")
    return RecorderFacts(time=time, time_source="bext" if time else "")


def _gps(text: str) -> tuple[float | None, float | None]:
    """``WGS84, 47.5, N, 15.2, E`` or signed degrees."""
    parts = [part.strip() for part in text.split(",")][1:]
    if len(parts) >= 4 and parts[1] in ("N", "S") and parts[3] in ("E", "W"):
        signs = ("-" if parts[1] == "S" else "", "-" if parts[3] == "W" else "")
        return _degrees(signs[0] + parts[0], signs[1] + parts[2])
    return _degrees(parts[0], parts[1]) if len(parts) >= 2 else (None, None)


def _degrees(latitude: str, longitude: str) -> tuple[float | None, float | None]:
    with contextlib.suppress(ValueError):
        north, east = float(latitude), float(longitude)
        if -90 <= north <= 90 and -180 <= east <= 180:
            return north, east
    return None, None


def _number(text: str, low: float, high: float) -> float | None:
    match = _NUMBER.match(text.strip())
    return float(match[0]) if match and low <= float(match[0]) <= high else None
