# SPDX-License-Identifier: MIT
"""The sound card through PortAudio: which devices there are, and what to do when one fails."""

from __future__ import annotations

import dataclasses
from typing import Any

from cheep.config.base import nearest_name
from cheep.errors import CheepError

# PortAudio's error numbers (portaudio.h, PaErrorCode).
_INVALID_CHANNELS = -9998
_INVALID_RATE = -9997
_INVALID_DEVICE = -9996
_DEVICE_UNAVAILABLE = -9985
_UNANTICIPATED = -9999

_NO_DEVICE = (
    "no microphone: PortAudio finds no input device; plug one in, on Linux check that PulseAudio or PipeWire runs "
    "(pactl list short sources) and that you are in group 'audio', or replay a file with --wav FILE"
)


@dataclasses.dataclass(frozen=True)
class InputDevice:
    """An input that PortAudio offers. ``default_rate_hz`` is the rate it prefers."""

    index: int
    name: str
    host: str
    channels: int
    default_rate_hz: int
    is_default: bool


def import_sounddevice() -> Any:
    """Return the ``sounddevice`` module; raise CheepError where it or PortAudio is missing."""
    try:
        import sounddevice
    except ImportError as error:
        raise CheepError(f"sounddevice cannot be imported ({error}); run `make setup`, or use --wav FILE") from None
    except OSError as error:
        raise CheepError(
            f"PortAudio is missing ({error}); install it (apt-get install libportaudio2), or use --wav FILE"
        ) from None
    return sounddevice


def list_inputs() -> list[InputDevice]:
    """Return the input devices, in PortAudio's order."""
    sounddevice = import_sounddevice()
    try:
        hosts = sounddevice.query_hostapis()
        devices = sounddevice.query_devices()
    except sounddevice.PortAudioError as error:
        raise CheepError(f"PortAudio cannot list the devices ({_words(error)}); restart the sound server") from None
    default = _default_input(sounddevice)
    return [
        InputDevice(
            index=index,
            name=str(item["name"]),
            host=str(hosts[item["hostapi"]]["name"]),
            channels=int(item["max_input_channels"]),
            default_rate_hz=round(item["default_samplerate"]),
            is_default=index == default,
        )
        for index, item in enumerate(devices)
        if item["max_input_channels"] > 0
    ]


def find_input(wanted: str | None) -> InputDevice:
    """Return the device that ``wanted`` names: an index, a part of a name, or None for the default one.

    Raises
    ------
    CheepError
        There is no input device, or none (or more than one) matches.
    """
    devices = list_inputs()
    if not devices:
        raise CheepError(_NO_DEVICE)
    if wanted is None:
        return next((item for item in devices if item.is_default), devices[0])
    if wanted.isdigit():
        found = [item for item in devices if item.index == int(wanted)]
    else:
        exact = [item for item in devices if item.name == wanted]
        found = exact or [item for item in devices if wanted.lower() in item.name.lower()]
    if len(found) == 1:
        return found[0]
    if not found:
        hint = nearest_name(wanted, [item.name for item in devices])
        raise CheepError(f"--device {wanted}: no such input{hint}; cheep listen --list-devices shows them")
    names = ", ".join(f"{item.index} {item.name!r}" for item in found[:4])
    raise CheepError(f"--device {wanted}: {len(found)} inputs match ({names}); give the number")


def explain(error: Exception, device: InputDevice, rate_hz: int) -> CheepError:
    """Turn a PortAudio failure on ``device`` into a message that says what to do."""
    code = next((item for item in getattr(error, "args", ()) if isinstance(item, int)), _UNANTICIPATED)
    text = _words(error)
    lower = text.lower()
    where = f"microphone {device.name!r}"
    if code == _INVALID_RATE or "sample rate" in lower:
        return CheepError(
            f"{where}: {rate_hz} Hz is not offered; leave --rate away (the device prefers {device.default_rate_hz} Hz; "
            "Cheep resamples)"
        )
    if code == _DEVICE_UNAVAILABLE or "busy" in lower or "unavailable" in lower:
        return CheepError(
            f"{where}: busy or unavailable ({text}); close the program that uses it, or choose another --device"
        )
    if "permission" in lower or "denied" in lower or "not permitted" in lower:
        return CheepError(
            f"{where}: permission denied ({text}); allow the microphone for this terminal in the system's privacy "
            "settings, on Linux join group 'audio' (sudo usermod -aG audio $USER, log in again)"
        )
    if code in (_INVALID_DEVICE, _INVALID_CHANNELS):
        return CheepError(f"{where}: it is gone or records nothing ({text}); cheep listen --list-devices shows inputs")
    return CheepError(f"{where}: cannot record ({text}); try another --device or --rate, or restart the sound server")


def _default_input(sounddevice: Any) -> int:
    try:
        return int(sounddevice.default.device[0])
    except (TypeError, IndexError, ValueError):
        return -1


def _words(error: Exception) -> str:
    return " ".join(str(item) for item in getattr(error, "args", ()) if isinstance(item, str)).strip() or str(error)
