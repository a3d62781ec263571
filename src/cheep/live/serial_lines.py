# SPDX-License-Identifier: MIT
"""What a board says on its serial line: one JSON object per line, each with its CRC-32, among whatever else.

Only lines whose checksum holds are used. A garbled line end does not take its neighbours along: every
``{"type": … "crc":"0x…"}`` is looked for, wherever it begins.
"""

from __future__ import annotations

import dataclasses
import json
import re
import zlib
from typing import Any

_END = re.compile(rb',"crc":"0x([0-9a-f]{8})"\}')
_BEGIN = re.compile(rb'\{"type":')
MAX_LINE_BYTES = 512
TYPES = (
    *("boot", "event", "stats", "microphone", "slow", "error"),
    *("hdc_event", "hdc_learned", "hdc_classes", "hdc_error"),
)


@dataclasses.dataclass
class LineCounts:
    """What was read: intact lines, lines that hold a board's message but fail the check, bytes outside of any line."""

    intact: int = 0
    damaged: int = 0
    other_bytes: int = 0


class LineReader:
    """Bytes in, checked messages out. Keeps at most one unfinished line."""

    def __init__(self) -> None:
        self.counts = LineCounts()
        self._rest = b""

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Take bytes as they come; return the messages (without ``crc``) of the intact lines they complete."""
        self._rest += data
        messages, used = [], 0
        for end in _END.finditer(self._rest):
            found = self._message(used, end)
            if found is not None:
                start, message = found
                self._skip(self._rest[used:start])
                messages.append(message)
                self.counts.intact += 1
                used = end.end()
        self._rest = self._rest[used:]
        # No message crosses a newline, and none is longer than a line: what lies before is given up.
        surplus = max(self._rest.rfind(b"\n") + 1, len(self._rest) - MAX_LINE_BYTES)
        if surplus > 0:
            self._skip(self._rest[:surplus])
            self._rest = self._rest[surplus:]
        return messages

    def _message(self, used: int, end: re.Match[bytes]) -> tuple[int, dict[str, Any]] | None:
        stated = int(end.group(1), 16)
        starts = [match.start() for match in _BEGIN.finditer(self._rest, used, end.start())]
        for start in reversed(starts):
            body = self._rest[start : end.start()]
            if len(body) <= MAX_LINE_BYTES and zlib.crc32(body) == stated:
                message = _parse(body + b"}")
                return None if message is None else (start, message)
        return None

    def _skip(self, data: bytes) -> None:
        for line in data.split(b"\n"):
            if b'"type"' in line or b'"crc"' in line:
                self.counts.damaged += 1
            else:
                self.counts.other_bytes += len(line.strip(b"\r"))


def _parse(text: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) and message.get("type") in TYPES else None


def with_checksum(message: dict[str, Any]) -> bytes:
    """Return the line of a message as a board writes it."""
    body = json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()[:-1]
    return body + f',"crc":"0x{zlib.crc32(body):08x}"}}\n'.encode()
