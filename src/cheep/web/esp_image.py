# SPDX-License-Identifier: MIT
"""Images of ESP chips: for which, whether whole; bootloader, partition table and application as one."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from pathlib import Path

from cheep.errors import CheepError

#: Chip number in an image's header -> name as esp-web-tools has it, and where its ROM looks for the bootloader.
CHIPS = {
    0: ("ESP32", 0x1000),
    2: ("ESP32-S2", 0x1000),
    5: ("ESP32-C3", 0x0),
    9: ("ESP32-S3", 0x0),
    12: ("ESP32-C2", 0x0),
    13: ("ESP32-C6", 0x0),
    16: ("ESP32-H2", 0x0),
    18: ("ESP32-P4", 0x2000),
    20: ("ESP32-C61", 0x0),
    23: ("ESP32-C5", 0x2000),
}
TABLE_OFFSET = 0x8000
_MAGIC, _HEADER_BYTES, _CHECKSUM_SEED = 0xE9, 24, 0xEF
_ENTRY = struct.Struct("<HBBII16sI")
_ENTRY_MAGIC, _MD5_MAGIC, _APP = 0x50AA, 0xEBEB, 0
_FILES = ("bootloader.bin", "partitions.bin", "firmware.bin")  # as PlatformIO names them


@dataclasses.dataclass(frozen=True)
class MergedImage:
    """A whole flash from its beginning: ``chip`` as esp-web-tools has it, ``version`` of the application."""

    chip: str
    version: str
    data: bytes

    @property
    def sha256(self) -> str:
        """Hash of the data."""
        return hashlib.sha256(self.data).hexdigest()


def check_image(data: bytes, where: str) -> int:
    """Check an image (segments, checksum, SHA-256 at its end); return the number of its chip.

    Raises
    ------
    CheepError
        It is none, cut off, changed, or of a chip that is not known.
    """
    if len(data) < _HEADER_BYTES or data[0] != _MAGIC:
        raise CheepError(f"{where}: no image of an ESP chip (it must begin with 0x{_MAGIC:x})")
    chip = int.from_bytes(data[12:14], "little")
    if chip not in CHIPS:
        raise CheepError(f"{where}: of chip number {chip}, which is not known; known are {', '.join(_names())}")
    at, checksum = _HEADER_BYTES, _CHECKSUM_SEED
    for _ in range(data[1]):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : at + 8 + size]
        if len(body) < size or at + 8 > len(data):
            raise CheepError(f"{where}: cut off at {len(data)} bytes; build it again")
        for value in body:
            checksum ^= value
        at += 8 + size
    at += 16 - at % 16  # padded so that the checksum is the last byte of 16
    if at > len(data):
        raise CheepError(f"{where}: cut off at {len(data)} bytes; build it again")
    if data[at - 1] != checksum:
        found = f"0x{data[at - 1]:02x}, its segments give 0x{checksum:02x}"
        raise CheepError(f"{where}: checksum {found}: damaged; build it again")
    if data[23] == 1:
        stored = data[at : at + 32]
        if hashlib.sha256(data[:at]).digest() != stored:
            raise CheepError(f"{where}: its SHA-256 is not the one at its end: damaged or cut off; build it again")
    return chip


def _names() -> list[str]:
    return [name for name, _ in CHIPS.values()]


def app_place(table: bytes, where: str) -> tuple[int, int]:
    """Return offset and size of the first place for an application in a partition table.

    Raises
    ------
    CheepError
        It is no partition table, its MD5 is another, or it has no such place.
    """
    found = None
    for at in range(0, len(table) - _ENTRY.size + 1, _ENTRY.size):
        magic, kind, _, offset, size, _, _ = _ENTRY.unpack_from(table, at)
        if magic == _MD5_MAGIC:
            if hashlib.md5(table[:at]).digest() != table[at + 16 : at + 32]:
                raise CheepError(f"{where}: the MD5 of its entries is another: damaged; build it again")
            break
        if magic != _ENTRY_MAGIC:
            break
        if kind == _APP and (found is None or offset < found[0]):
            found = (offset, size)
    if found is None:
        raise CheepError(f"{where}: no partition table with a place for an application")
    return found


def merge(bootloader: bytes, table: bytes, app: bytes, where: str = "build") -> MergedImage:
    """Return one image of the three parts, gaps filled with 0xff (so that the first application starts).

    Raises
    ------
    CheepError
        A part is damaged, of another chip than the others, or larger than its place.
    """
    chip = check_image(bootloader, f"{where}/bootloader.bin")
    other = check_image(app, f"{where}/firmware.bin")
    name, start = CHIPS[chip]
    if other != chip:
        raise CheepError(f"{where}: bootloader for {name}, application for {CHIPS[other][0]}; build it again")
    app_offset, app_size = app_place(table, f"{where}/partitions.bin")
    if len(app) > app_size:
        raise CheepError(f"{where}: the application has {len(app)} bytes, its place {app_size} (partitions.csv)")
    data = b""
    parts = ((bootloader, start, ""), (table, TABLE_OFFSET, "the bootloader"), (app, app_offset, "the table"))
    for part, offset, what in parts:
        if len(data) > offset:
            raise CheepError(f"{where}: {what} ends at 0x{len(data):x}, behind 0x{offset:x} where the next part begins")
        data = data.ljust(offset, b"\xff") + part
    return MergedImage(name, _version(app), data)


def _version(app: bytes) -> str:
    """The version in the application's description, which lies at the beginning of its first segment; or empty."""
    if app[32:36] != (0xABCD5432).to_bytes(4, "little"):
        return ""
    return app[48:80].split(b"\0")[0].decode("utf-8", "replace")


def read_build(folder: Path) -> MergedImage:
    """Return the merged image of a build folder of PlatformIO (``.pio/build/ENV``).

    Raises
    ------
    CheepError
        A file is missing or damaged.
    """
    if missing := [name for name in _FILES if not (folder / name).is_file()]:
        make = f"pio run -d firmware/esp32 -e {folder.name}"
        raise CheepError(f"{folder}: {', '.join(missing)} missing; build it: {make}")
    bootloader, table, app = ((folder / name).read_bytes() for name in _FILES)
    return merge(bootloader, table, app, str(folder))


def is_build(folder: Path) -> bool:
    """Whether a folder holds the three parts."""
    return all((folder / name).is_file() for name in _FILES)
