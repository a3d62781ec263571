# SPDX-License-Identifier: MIT
"""An event as 24 bytes and a tag of 8, as docs/lora.md has it."""

from __future__ import annotations

import dataclasses
import struct
from typing import Any

from cheep.errors import CheepError, GateError

VERSION = 1
BODY_BYTES, TAG_BYTES = 24, 8
BYTES = BODY_BYTES + TAG_BYTES
SCORE_LIMIT = 2**23 - 1
KEY_BYTES = 16
_SINCE_START, _IS_LOGIT = 1, 2
_BODY = struct.Struct(">B III B I 3s H B".replace(" ", ""))


class RefusedPayload(GateError):
    """A payload that is not taken; ``rule`` names why: length, format, device, tag, replay."""

    def __init__(self, rule: str, reason: str):
        super().__init__(reason)
        self.rule = rule


@dataclasses.dataclass(frozen=True)
class LoraEvent:
    """What a payload says.

    Parameters
    ----------
    device : int
        The key belongs to it; 32 bits.
    counter : int
        Larger with every payload of the device; 32 bits.
    time_s : int
        Start of the event: s since 1970 (UTC), or since the device began to listen; 32 bits.
    since_start : bool
        Which of the two.
    label : int
        Class of the model, 0..255.
    model : int
        The first four bytes of the model's sha256, as a number.
    is_logit : bool
        Whether ``score`` is a logit in 1/1000 or a probability in millionths.
    score : int
        Encoded within 24 bits with sign.
    duration_ms : int
        Rounded to tenths of a second, 6553.5 s at most.
    battery_mv : int
        Rounded to 20 mV, 20..5100; 0: unknown.
    """

    device: int
    counter: int
    time_s: int
    since_start: bool
    label: int
    model: int
    is_logit: bool
    score: int
    duration_ms: int
    battery_mv: int

    def to_dict(self) -> dict[str, Any]:
        """Return what the decoder for The Things Network returns as ``data``: names with units, numbers for people."""
        return {
            "device": f"{self.device:08x}",
            "counter": self.counter,
            "seconds_since_start" if self.since_start else "utc_s": self.time_s,
            "label": self.label,
            "model": f"{self.model:08x}",
            "logit" if self.is_logit else "score": self.score / (1000 if self.is_logit else 1_000_000),
            "duration_s": self.duration_ms / 1000,
            "battery_v": self.battery_mv / 1000 if self.battery_mv else None,
        }


def cmac(key: bytes, data: bytes) -> bytes:
    """Return the AES-128-CMAC of ``data``, 16 bytes.

    Raises
    ------
    CheepError
        The package ``cryptography`` is missing.
    """
    try:
        from cryptography.hazmat.primitives.ciphers.algorithms import AES
        from cryptography.hazmat.primitives.cmac import CMAC
    except ImportError:
        raise CheepError("LoRa's tags need the package cryptography: pip install cryptography") from None
    made = CMAC(AES(key))
    made.update(data)
    return made.finalize()


def _units(value: int, unit: int, most: int) -> int:
    return min(most, (value + unit // 2) // unit)


def encode(event: LoraEvent, key: bytes) -> bytes:
    """Return the payload of an event, 32 bytes: the same as ``cheep_lora_encode``.

    Raises
    ------
    CheepError
        A number that is negative or too large for its place, a key that is not 16 bytes long.
    """
    for name, most in (
        ("device", 2**32), ("counter", 2**32), ("time_s", 2**32), ("label", 2**8), ("model", 2**32),
        ("duration_ms", 2**32), ("battery_mv", 2**32),
    ):  # fmt: skip
        value = getattr(event, name)
        if not 0 <= value < most:
            raise CheepError(f"{name}={value}: must be 0 to {most - 1}")
    if len(key) != KEY_BYTES:
        raise CheepError(f"a key of {len(key)} bytes: AES-128 takes {KEY_BYTES}")
    score = max(-SCORE_LIMIT - 1, min(SCORE_LIMIT, event.score))
    battery = _units(event.battery_mv, 20, 255) or int(event.battery_mv > 0)
    flags = _SINCE_START * event.since_start | _IS_LOGIT * event.is_logit
    body = _BODY.pack(
        VERSION << 4 | flags, event.device, event.counter, event.time_s, event.label, event.model,
        score.to_bytes(3, "big", signed=True), _units(event.duration_ms, 100, 65535), battery,
    )  # fmt: skip
    return body + cmac(key, body)[:TAG_BYTES]


def device_of(payload: bytes) -> int:
    """Return the device that a payload names, before anything of it is proved.

    Raises
    ------
    RefusedPayload
        Another length, version, or flags that this one does not have.
    """
    if len(payload) != BYTES:
        raise RefusedPayload("length", f"{len(payload)} bytes: a payload has {BYTES}")
    version, flags = payload[0] >> 4, payload[0] & 15
    if version != VERSION:
        raise RefusedPayload("format", f"version {version}: this Cheep reads version {VERSION}")
    if flags & ~(_SINCE_START | _IS_LOGIT):
        raise RefusedPayload("format", f"flags 0x{flags:x}: version {VERSION} has only 0x{_SINCE_START | _IS_LOGIT:x}")
    return int.from_bytes(payload[1:5], "big")


def decode(payload: bytes, device: int, key: bytes, last_counter: int | None = None) -> LoraEvent:
    """Return the event of a payload of ``device``, for a receiver that has seen its counters up to ``last_counter``.

    Raises
    ------
    RefusedPayload
        Another length, version or flags; another device; a tag that is not of this key; a counter that has been seen.
    """
    import hmac

    found = device_of(payload)
    if found != device:
        raise RefusedPayload("device", f"device {found:08x}: the key is that of {device:08x}")
    body, tag = payload[:BODY_BYTES], payload[BODY_BYTES:]
    if not hmac.compare_digest(cmac(key, body)[:TAG_BYTES], tag):
        raise RefusedPayload("tag", f"device {found:08x}: the tag is not of its key: changed on the way, or forged")
    head, _, counter, time_s, label, model, score, tenths, battery = _BODY.unpack(body)
    if last_counter is not None and counter <= last_counter:
        raise RefusedPayload("replay", f"device {found:08x}: counter {counter} after {last_counter}: sent before")
    return LoraEvent(
        device=device,
        counter=counter,
        time_s=time_s,
        since_start=bool(head & _SINCE_START),
        label=label,
        model=model,
        is_logit=bool(head & _IS_LOGIT),
        score=int.from_bytes(score, "big", signed=True),
        duration_ms=100 * tenths,
        battery_mv=20 * battery,
    )
