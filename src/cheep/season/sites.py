# SPDX-License-Identifier: MIT
"""Where and when a recording is from: what a person wrote of deployments, else what the recorder did, else folders."""

from __future__ import annotations

import dataclasses
import datetime
import re
import unicodedata
import zoneinfo
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from cheep.audio.folders import plain_path
from cheep.audio.remote import place_of
from cheep.config import nearest_name
from cheep.datasets.numbers import number_field
from cheep.datasets.recorders import RecorderFacts
from cheep.datasets.tables import read_table
from cheep.errors import CheepError
from cheep.season.schema import UNKNOWN

_COLUMNS = {
    "site": ("site", "location", "locality", "station", "plot"),
    "device": ("device", "recorder", "serial", "serial_number", "audiomoth"),
    "folder": ("folder", "path", "directory", "card"),
    "deployment": ("deployment", "deployment_id"),
    "begin": ("from", "begin", "start", "deployed"),
    "end": ("to", "end", "until", "retrieved"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon", "long", "lng"),
    "timezone": ("timezone", "time_zone", "tz"),
}
_EPOCH = datetime.datetime(1970, 1, 1)
_MS = datetime.timedelta(milliseconds=1)


@dataclasses.dataclass(frozen=True)
class Deployment:
    """A line of a deployments table. Empty or ``None``: any, or not known. ``begin`` and ``end`` are local times."""

    site: str
    device: str = ""
    folder: str = ""
    deployment: str = ""
    begin: datetime.datetime | None = None
    end: datetime.datetime | None = None
    latitude: float | None = None
    longitude: float | None = None
    timezone: str = ""


@dataclasses.dataclass(frozen=True)
class Placing:
    """How recordings get their place and time: one site for all, a time zone of the recorders' clocks, deployments."""

    site: str = ""
    timezone: str = ""
    deployments: tuple[Deployment, ...] = ()


@dataclasses.dataclass(frozen=True)
class Place:
    """The columns of a recording's row that say where and when it is from."""

    site: str
    deployment: str
    device: str
    start_utc: int | None
    start_local: int | None
    utc_offset_min: int | None
    time_source: str
    latitude: float | None
    longitude: float | None


def zone_of(text: str) -> datetime.tzinfo:
    """Return a time zone by its name (``Europe/Vienna``) or its distance from UTC (``+10:00``); else CheepError."""
    if match := re.fullmatch(r"(?:UTC|GMT)?([+-])([0-9]{1,2})(?::?([0-9]{2}))?", text.strip()):
        minutes = 60 * int(match[2]) + int(match[3] or 0)
        if minutes < 24 * 60:
            return datetime.timezone(datetime.timedelta(minutes=-minutes if match[1] == "-" else minutes))
    try:
        return zoneinfo.ZoneInfo(text.strip())
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        near = nearest_name(text, zoneinfo.available_timezones())
        raise CheepError(f"timezone={text!r}: must be a name such as Europe/Vienna, or +10:00{near}") from None


def read_deployments(path: Path) -> tuple[Deployment, ...]:
    """Read a table of deployments: a line per stay of a recorder at a site.

    Columns (any order, case and separator): ``site``; ``device`` (serial number) or ``folder`` (a folder's name on the
    way to the recordings), or both; ``from`` and ``to`` (dates, the last one included, or times, local); ``latitude``,
    ``longitude``, ``timezone``, ``deployment`` (an id). A line with neither device nor folder means the folder that is
    named as the site.

    Raises
    ------
    CheepError
        No column ``site``, an impossible number or time, a line without a site; names file and line.
    """
    table = read_table(path)
    places = table.places()
    at = {key: next((places[name] for name in names if name in places), None) for key, names in _COLUMNS.items()}
    if at["site"] is None:
        raise CheepError(f"{path}:{table.header_line}: no column site; it has {', '.join(table.header)}")
    return tuple(_deployment(path, line, {k: _cell(cells, i) for k, i in at.items()}) for line, cells in table.rows)


def _cell(cells: Sequence[str], at: int | None) -> str:
    return cells[at].strip() if at is not None and at < len(cells) else ""


def _deployment(path: Path, line: int, value: dict[str, str]) -> Deployment:
    if not value["site"]:
        raise CheepError(f"{path}:{line}: no site; name one, or remove the line")
    degrees: dict[str, float | None] = {"latitude": None, "longitude": None}
    for name, most in (("latitude", 90), ("longitude", 180)):
        if value[name]:
            degrees[name] = number = number_field(value[name], path, line, name)
            if abs(number) > most:
                raise CheepError(f"{path}:{line}: {name}={value[name]}: must lie in -{most}..{most} (degrees)")
    if value["timezone"]:
        zone_of(value["timezone"])
    begin, end = (_when(path, line, name, value[name]) for name in ("begin", "end"))
    device, folder = value["device"], value["folder"].replace("\\", "/").strip("/")
    return Deployment(
        site=unicodedata.normalize("NFC", value["site"]),
        device=device,
        folder=folder or ("" if device else value["site"]),
        deployment=value["deployment"],
        begin=begin,
        end=end,
        latitude=degrees["latitude"],
        longitude=degrees["longitude"],
        timezone=value["timezone"],
    )


def _when(path: Path, line: int, name: str, text: str) -> datetime.datetime | None:
    """A time; of a date that ends a stay, the end of the day."""
    if not text:
        return None
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return datetime.datetime.fromisoformat(text) + datetime.timedelta(days=name == "end")
        return datetime.datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        raise CheepError(f"{path}:{line}: {name}={text!r}: must be a date YYYY-MM-DD, or a time after it") from None


def place(placing: Placing, facts: RecorderFacts, folder: Path, path: str) -> Place:
    """Return where and when a recording is from: ``path`` below the scanned ``folder``.

    The site is that of the deployments table, or the one given for all, or the first folder below ``folder``, or what
    the recorder wrote as its site, its device, or the name of ``folder``.
    """
    inside = PurePosixPath(path).parts[:-1]
    found = _match(placing, facts, [plain_path(part) for part in (*place_of(folder).parts, *inside)])
    names = (found.site if found else "", placing.site, inside[0] if inside else "", facts.site, facts.device)
    site = next(name.strip() for name in (*names, place_of(folder).name, UNKNOWN) if name.strip())
    site = unicodedata.normalize("NFC", site)
    start_utc, start_local, offset = _times(facts.time, (found.timezone if found else "") or placing.timezone)
    latitude, longitude = facts.latitude, facts.longitude
    if found and found.latitude is not None and found.longitude is not None:
        latitude, longitude = found.latitude, found.longitude
    device = facts.device or (found.device if found else "")
    return Place(
        site=site,
        deployment=(found.deployment if found else "") or (f"{site}/{device}" if device else site),
        device=device,
        start_utc=start_utc,
        start_local=start_local,
        utc_offset_min=offset,
        time_source=facts.time_source if facts.time else "",
        latitude=latitude,
        longitude=longitude,
    )


def _match(placing: Placing, facts: RecorderFacts, folders: list[str]) -> Deployment | None:
    """The line that says most of this recording: device and folder before one of them, later before earlier."""
    found = []
    for line in placing.deployments:
        if line.device and plain_path(line.device) != plain_path(facts.device):
            continue
        if line.folder and not _lies_in(folders, [plain_path(part) for part in line.folder.split("/")]):
            continue
        local = _local(facts.time, line.timezone or placing.timezone)
        if local is not None and ((line.begin and local < line.begin) or (line.end and local >= line.end)):
            continue
        found.append((bool(line.device) + bool(line.folder), line.begin or datetime.datetime.min, line))
    return max(found, key=lambda item: item[:2])[2] if found else None


def _lies_in(folders: list[str], wanted: list[str]) -> bool:
    n = len(wanted)
    return any(folders[i : i + n] == wanted for i in range(len(folders) - n + 1))


def _local(time: datetime.datetime | None, timezone: str) -> datetime.datetime | None:
    if time is None or time.tzinfo is None:
        return time
    return (time.astimezone(zone_of(timezone)) if timezone else time).replace(tzinfo=None)


def _times(time: datetime.datetime | None, timezone: str) -> tuple[int | None, int | None, int | None]:
    """(UTC, local) in ms since 1970, and the offset in minutes; a clock without a zone is taken for UTC."""
    if time is None:
        return None, None, None
    if time.tzinfo is None and not timezone:
        ms = (time - _EPOCH) // _MS
        return ms, ms, None
    local = time.replace(tzinfo=zone_of(timezone)) if time.tzinfo is None else time
    local = local.astimezone(zone_of(timezone)) if timezone else local
    offset = local.utcoffset() or datetime.timedelta()
    ms = (local.replace(tzinfo=None) - _EPOCH) // _MS
    return ms - offset // _MS, ms, round(offset.total_seconds() / 60)
