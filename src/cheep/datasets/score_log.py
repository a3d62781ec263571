# SPDX-License-Identifier: MIT
"""Score logs of an AudioMoth (``20260520.CHS``): every whole block, wherever it lies (docs/score-log.md)."""

from __future__ import annotations

import dataclasses
import datetime
import struct
import zlib
from pathlib import Path

import numpy as np

SUFFIX = ".chs"
BLOCK_BYTES = 512
VERSION = 1
_MAGIC = b"CHSL"
_HEADER = struct.Struct("<4sBBHIIHHIIIIIhH")
_CRC = struct.Struct("<I")
_ROOM = BLOCK_BYTES - _HEADER.size - _CRC.size


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Windows of one session that follow each other without a gap.

    Attributes
    ----------
    model
        First eight hexadecimal digits of the sha256 of the network.
    device
        Serial number, 16 hexadecimal digits.
    start
        Of the first window, UTC.
    battery_v, temperature_c
        As measured at the start of the session; None: not known.
    sample_rate_hz, stride_samples
        From one window to the next.
    scores
        (windows, labels) int8, raw.
    """

    model: str
    device: str
    start: datetime.datetime
    battery_v: float | None
    temperature_c: float | None
    sample_rate_hz: int
    stride_samples: int
    scores: np.ndarray


@dataclasses.dataclass(frozen=True)
class ScoreLog:
    """What a file holds: stretches by time, and how many bytes belong to no whole block."""

    stretches: tuple[Stretch, ...]
    blocks: int
    lost_bytes: int
    newer: int  # blocks of a later version


@dataclasses.dataclass(frozen=True)
class _Block:
    session: tuple  # all that must be equal
    first: int
    scores: np.ndarray


def read_score_log(path: Path) -> ScoreLog:
    """Read a score log; bytes of blocks that are damaged or cut off are counted, what is whole is taken.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    data = path.read_bytes()
    blocks: list[_Block] = []
    at = newer = taken = 0
    while (at := data.find(_MAGIC, at)) >= 0:
        block = data[at : at + BLOCK_BYTES]
        if len(block) < BLOCK_BYTES or zlib.crc32(block[:-4]) != _CRC.unpack(block[-4:])[0]:
            at += 1
            continue
        at += BLOCK_BYTES
        taken += BLOCK_BYTES
        if block[4] != VERSION:
            newer += 1
        elif (found := _parse(block)) is not None:
            blocks.append(found)
        else:
            taken -= BLOCK_BYTES
    return ScoreLog(tuple(_stretches(blocks)), len(blocks), len(data) - taken, newer)


def _parse(block: bytes) -> _Block | None:
    """A block whose checksum holds; None where its numbers cannot be, as no device writes them."""
    values = _HEADER.unpack(block[: _HEADER.size])
    _, _, labels, windows, model, utc, ms, battery, first, stride, rate, high, low, temperature, _ = values
    if not labels or not windows or windows * labels > _ROOM or not stride or not rate or ms > 999:
        return None
    scores = np.frombuffer(block, np.int8, windows * labels, _HEADER.size).reshape(windows, labels)
    return _Block((model, utc, ms, battery, stride, rate, high, low, temperature, labels), first, scores)


def _stretches(blocks: list[_Block]) -> list[Stretch]:
    """Join the blocks of a session that follow each other; a block that comes twice counts once."""
    sessions: dict[tuple, dict[int, _Block]] = {}
    for block in blocks:
        sessions.setdefault(block.session, {}).setdefault(block.first, block)
    out = []
    for session, found in sorted(sessions.items(), key=lambda item: item[0]):
        stride = session[4]
        run: list[_Block] = []
        for first in sorted(found):
            if run and first != run[-1].first + len(run[-1].scores) * stride:
                out.append(_stretch(session, run))
                run = []
            run.append(found[first])
        out.append(_stretch(session, run))
    return sorted(out, key=lambda item: (item.start, item.model, item.device))


def _stretch(session: tuple, run: list[_Block]) -> Stretch:
    model, utc, ms, battery, stride, rate, high, low, temperature, _ = session
    since_ms = 1000 * run[0].first // rate
    start = datetime.datetime.fromtimestamp(utc, datetime.timezone.utc)
    return Stretch(
        model=f"{model:08x}",
        device=f"{high:08X}{low:08X}",
        start=start + datetime.timedelta(milliseconds=ms + since_ms),
        battery_v=battery / 1000 if battery else None,
        temperature_c=temperature / 10 if temperature != -(2**15) else None,
        sample_rate_hz=rate,
        stride_samples=stride,
        scores=np.concatenate([block.scores for block in run]),
    )
