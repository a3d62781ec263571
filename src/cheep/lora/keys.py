# SPDX-License-Identifier: MIT
"""The user's file of keys, which nobody else may read, and beside it the counters that have been seen."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cheep.errors import CheepError
from cheep.locks import lock
from cheep.lora.payload import KEY_BYTES, LoraEvent, RefusedPayload, decode, device_of

FORMAT = "cheep lora keys"
_DEVICE = re.compile(r"[0-9a-f]{1,8}")


def parse_device(text: str) -> int:
    """Return a device's number from up to eight hexadecimal digits; CheepError for anything else."""
    if not _DEVICE.fullmatch(text.lower()):
        raise CheepError(f"device {text!r}: must be 1 to 8 hexadecimal digits, such as 2a or 24f3190a")
    return int(text, 16)


def read_keys(path: Path) -> dict[int, bytes]:
    """Return the keys of a file by device.

    Raises
    ------
    CheepError
        It is missing, no file of keys, or others than its owner may read it.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        raise CheepError(f"{path}: missing; make it with cheep lora keys {path} DEVICE") from None
    if os.name == "posix" and mode & 0o077:
        raise CheepError(f"{path}: others may read it (mode {mode:04o}); chmod 600 {path}, and think of new keys")
    found = _read(path)
    if found.get("format") != FORMAT or not isinstance(found.get("devices"), dict):
        raise CheepError(f"{path}: format is not {FORMAT!r}: no file of keys")
    keys = {}
    for name, text in found["devices"].items():
        if not isinstance(text, str) or not re.fullmatch(rf"[0-9a-f]{{{2 * KEY_BYTES}}}", text):
            raise CheepError(f"{path}: the key of {name} is not {2 * KEY_BYTES} hexadecimal digits")
        keys[parse_device(name)] = bytes.fromhex(text)
    return keys


def add_key(path: Path, device: int, replace: bool = False) -> None:
    """Draw a key for a device and keep it in ``path``, which only its owner may read.

    Raises
    ------
    CheepError
        The device has a key (``replace``: it gets a new one, and its counter starts anew), or what is there is no
        file of keys.
    """
    keys = read_keys(path) if path.exists() else {}
    if device in keys and not replace:
        raise CheepError(f"{path}: device {device:08x} has a key; --replace draws a new one, for the device too")
    keys[device] = secrets.token_bytes(KEY_BYTES)
    write_private(path, {"format": FORMAT, "devices": {f"{name:08x}": key.hex() for name, key in keys.items()}})
    if replace:
        with KeyRing(path).receiving() as counters:
            counters.pop(device, None)


def key_header(path: Path, device: int) -> str:
    """Return a device's key as C header, for a build; CheepError where it has none."""
    keys = read_keys(path)
    if device not in keys:
        raise CheepError(f"{path}: no key of device {device:08x}; make one with cheep lora keys {path} {device:x}")
    numbers = ", ".join(f"0x{value:02x}" for value in keys[device])
    return (
        "/* The key of one device: keep it to yourself, and out of any repository. */\n#pragma once\n"
        f"#define CHEEP_LORA_DEVICE 0x{device:08x}u\n#define CHEEP_LORA_KEY {{{numbers}}}\n"
    )


class KeyRing:
    """A receiver: keys of its devices, and the last counter of each, kept in ``KEYS.counters``."""

    def __init__(self, path: Path):
        self.path = path
        self.keys = read_keys(path)
        self.counters_path = path.with_name(path.name + ".counters")

    @contextlib.contextmanager
    def receiving(self) -> Iterator[dict[int, int]]:
        """Hold the counters: yield the last of each device; what they have become is kept."""
        with lock(self.path.with_name(self.path.name + ".lock"), str(self.path), "let the other end"):
            found = _read(self.counters_path) if self.counters_path.exists() else {}
            counters = {parse_device(name): int(value) for name, value in found.items()}
            before = dict(counters)
            try:
                yield counters
            finally:
                if counters != before:
                    write_private(self.counters_path, {f"{name:08x}": value for name, value in counters.items()})

    def take(self, payload: bytes, counters: dict[int, int]) -> LoraEvent:
        """Return the event of a payload and note its counter; RefusedPayload where it is not taken."""
        device = device_of(payload)
        if device not in self.keys:
            raise RefusedPayload("device", f"device {device:08x}: no key of it in {self.path}: foreign, or damaged")
        event = decode(payload, device, self.keys[device], counters.get(device))
        counters[device] = event.counter
        return event


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # json's and the decoder's
        raise CheepError(f"{path}: damaged JSON ({error}); restore it from a copy") from None
    if not isinstance(found, dict):
        raise CheepError(f"{path}: holds no JSON object; restore it from a copy")
    return found


def write_private(path: Path, values: Any) -> None:
    """Write JSON, or text as it is, that only its owner may read, whole or not at all."""
    text = values if isinstance(values, str) else json.dumps(values, indent=1, sort_keys=True) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    partial.unlink(missing_ok=True)
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
