# SPDX-License-Identifier: MIT
"""AudioMoth cards: what the comment in a recording's header says of time, device, gain, battery and temperature."""

from __future__ import annotations

import dataclasses
import datetime
import re
from pathlib import Path

from cheep.audio.riff import info_texts, read_layout
from cheep.datasets.guano import guano_values, parse_iso
from cheep.errors import CheepError

_TIME = re.compile(r"Recorded at (\S+) (\S+)(?: \(UTC([^)]*)\))?")
_DEVICE = re.compile(r"by (?:Audio|Hydro|Micro)Moth ([0-9A-Za-z]+)")
_DEPLOYMENT = re.compile(r"during deployment ([0-9A-Za-z]+)")
_GAIN = re.compile(r"at ((?:low|low-medium|medium|medium-high|high) gain|gain setting [0-9])", re.IGNORECASE)
_BATTERY = re.compile(r"battery (?:state )?was (?:(greater|less) than )?(\S+?)V\b")
_TEMPERATURE = re.compile(r"temperature was (\S+?)C\b")
_GAINS = ("low", "low-medium", "medium", "medium-high", "high")


@dataclasses.dataclass(frozen=True)
class CardHeader:
    """What an AudioMoth wrote. ``None`` or empty: the comment does not say."""

    comment: str
    device: str = ""
    deployment: str = ""
    time: datetime.datetime | None = None
    gain: str = ""
    battery_v: float | None = None
    battery_bound: str = ""  # "greater" or "less" where only a bound is given
    temperature_c: float | None = None


def read_card_header(path: Path | str) -> CardHeader | None:
    """Return the header of an AudioMoth WAV, ``None`` for other WAV files.

    Raises
    ------
    CheepError
        The file cannot be read or is no WAV, or a field of the comment has an impossible value.
    """
    path = Path(path)
    layout = read_layout(path)
    if layout is None:
        raise CheepError(f"{path}: no WAV header in the first 12 bytes: not an AudioMoth recording")
    texts = info_texts(path, layout)
    comment, artist = texts.get("ICMT", ""), texts.get("IART", "")
    if is_moth(comment) or is_moth(artist):
        return parse_comment(comment, path, artist)
    return _guano(texts["guan"]) if "AudioMoth" in texts.get("guan", "") else None


def _guano(text: str) -> CardHeader:
    """Read the GUANO text that newer firmware writes behind the samples."""
    value = guano_values(text)
    return CardHeader(text, device=value.get("Serial", ""), time=parse_iso(value.get("Timestamp", "")))


def is_moth(text: str) -> bool:
    """Tell whether a header's text is of an AudioMoth, or of its kin, HydroMoth and MicroMoth."""
    return re.search("(Audio|Hydro|Micro)Moth", text) is not None


def parse_comment(comment: str, path: Path | str = "comment", artist: str = "") -> CardHeader:
    """Read the comment text of any AudioMoth firmware; ``path`` names the file in errors."""
    device = _DEVICE.search(comment) or re.search(r"(?:Audio|Hydro|Micro)Moth ([0-9A-Za-z]+)", artist)
    deployment = _DEPLOYMENT.search(comment)
    gain = _GAIN.search(comment)
    battery = _BATTERY.search(comment)
    temperature = _TEMPERATURE.search(comment)
    return CardHeader(
        comment=comment,
        device=device.group(1) if device else "",
        deployment=deployment.group(1) if deployment else "",
        time=_time(comment, path),
        gain=_gain(gain.group(1)) if gain else "",
        battery_v=_number(battery.group(2), path, "battery", 0, 20) if battery else None,
        battery_bound=(battery.group(1) or "") if battery else "",
        temperature_c=_number(temperature.group(1), path, "temperature", -100, 150) if temperature else None,
    )


def _time(comment: str, path: Path | str) -> datetime.datetime | None:
    found = _TIME.search(comment)
    if not found:
        return None
    clock, day, zone = found.groups()
    offset = re.fullmatch(r"([+-][0-9]{1,2})(?::([0-9]{2}))?", (zone or "").strip())
    if zone and not offset:
        raise CheepError(f"{path}:1: time zone 'UTC{zone[:20]}': must look like UTC, UTC+1 or UTC-3:30")
    minutes = 0
    if offset:
        hours = int(offset.group(1))
        minutes = 60 * hours + (-1 if offset.group(1)[0] == "-" else 1) * int(offset.group(2) or 0)
    try:
        zone_info = datetime.timezone(datetime.timedelta(minutes=minutes))
        clock = clock[:12]  # milliseconds, where the firmware writes them
        form = "%H:%M:%S.%f" if "." in clock else "%H:%M:%S"
        return datetime.datetime.strptime(f"{clock} {day}", f"{form} %d/%m/%Y").replace(tzinfo=zone_info)
    except ValueError:
        raise CheepError(f"{path}:1: time {clock[:20]!r} {day[:20]!r}: must be HH:MM:SS DD/MM/YYYY") from None


def _gain(text: str) -> str:
    if text.lower().startswith("gain setting"):
        setting = int(text[-1])
        return _GAINS[setting] if setting < len(_GAINS) else text
    return text.lower().removesuffix(" gain")


def _number(text: str, path: Path | str, name: str, low: float, high: float) -> float:
    if not re.fullmatch(r"-?[0-9]{1,4}(\.[0-9]{1,4})?", text) or not low <= float(text) <= high:
        raise CheepError(f"{path}:1: {name} {text[:20]!r}: must be a number of {low} to {high}")
    return float(text)
