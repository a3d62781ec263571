# SPDX-License-Identifier: MIT
"""How long MP3 and FLAC files really are, from their frames, without decoding: headers may lie or say nothing."""

from __future__ import annotations

import dataclasses
import mmap
import struct
from collections.abc import Callable
from pathlib import Path
from typing import IO

_MAX_PARTS = 1000
# what can stand on the top level; anything else behind it is a foreign tag, or rubbish, and tells no length
_CAF_CHUNKS = b"desc data chan info kuki pakt free strg mark regn inst ovvw midi umid uuid edct peak".split()
_MP4_BOXES = b"ftyp moov mdat moof mfra free skip wide uuid meta sidx ssix styp pnot udta emsg prft pdin".split()
_EBML_ELEMENTS = (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\xec", b"\xbf")  # head, segment, void, CRC-32
_UNTOLD_AIFF = 0x7F000000  # SoX writes this, or a little more, where it cannot know
_UNTOLD_AU = 0xFFFFFFFF
_MP3_SLACK_S = 0.1
_OGG_PAGE_BYTES = 65307  # at most
_TAIL_BYTES = 1 << 18  # a FLAC frame is shorter than this
_FLAC_HEADERS = 3  # what looks like one lies within a frame by chance, in one of some thousand files
_MP3_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # MPEG 1, 2, 2.5
_MP3_KBIT = {
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG 1, layer III
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
}


@dataclasses.dataclass(frozen=True)
class Mp3Length:
    """Length of an MPEG audio file, s, by its frames, and by the index in its first one (0: it has none).

    ``torn``: it ends within a frame.
    """

    there_s: float
    promised_s: float
    torn: bool

    @property
    def note(self) -> str:
        """How the file was cut off; empty: nothing tells that it was. Encoders differ by a frame in what they count."""
        if self.promised_s:
            if self.there_s < self.promised_s - _MP3_SLACK_S:
                return f"the header promises {self.promised_s:.1f} s, the file ends after {self.there_s:.1f} s"
            return ""
        return "the file ends within a frame: was it cut off?" if self.torn else ""


def mp3_length(path: Path) -> Mp3Length | None:
    """Return how long an MPEG audio file is, by walking its frames; ``None`` where there are none."""
    with open(path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _walk_mp3(data)


def _walk_mp3(data: mmap.mmap) -> Mp3Length | None:
    at, seconds, promised_s, frames, behind, torn = _after_id3(data), 0.0, 0.0, 0, -1, False
    while at + 4 <= len(data):
        frame = _mp3_frame(data, at)
        if frame is None:
            at = data.find(b"\xff", at + 1)
            if at < 0:
                break
            continue
        size, length_s = frame
        following = _mp3_frame(data, at + size)
        if not frames and following is None and at + size < len(data):
            at += 1  # a chance sync word before the first frame
            continue
        # the first frame may hold the index of the file instead of sound
        index = _mp3_index(data[at : at + 200]) if not frames else None
        if index is None:
            seconds += length_s
        elif not index[1] or at + index[1] > len(data):  # all bytes are there: its number of frames is wrong
            promised_s = index[0] * length_s
        frames += 1
        torn = at == behind and at + size > len(data)
        at = behind = at + size
    return Mp3Length(seconds, promised_s, torn) if frames else None


def _mp3_index(frame: bytes) -> tuple[int, int] | None:
    """Return of how many frames and bytes the index speaks (0: it does not say); ``None``: no index."""
    for name in (b"Xing", b"Info"):
        if (at := frame.find(name)) >= 0:
            flags, *fields = struct.unpack(">3I", frame[at + 4 : at + 16].ljust(12, b"\0"))
            frames = fields.pop(0) if flags & 1 else 0
            return frames, fields[0] if flags & 2 else 0
    at = frame.find(b"VBRI")
    if at < 0:
        return None
    size, frames = struct.unpack(">2I", frame[at + 10 : at + 18].ljust(8, b"\0"))
    return frames, size


def _after_id3(data: mmap.mmap) -> int:
    at = 0
    while data[at : at + 3] == b"ID3" and len(data) >= at + 10:
        size = 0
        for byte in data[at + 6 : at + 10]:
            size = size << 7 | (byte & 0x7F)
        at += 10 + size + (10 if data[at + 5] & 0x10 else 0)
    return at


def _mp3_frame(data: mmap.mmap, at: int) -> tuple[int, float] | None:
    """Return (bytes, seconds) of the MPEG audio frame at ``at``, ``None`` where there is none."""
    if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] & 0xE0 != 0xE0:
        return None
    version, layer = data[at + 1] >> 3 & 3, 4 - (data[at + 1] >> 1 & 3)
    kbit, rate_code, padding = data[at + 2] >> 4, data[at + 2] >> 2 & 3, data[at + 2] >> 1 & 1
    if version == 1 or layer == 4 or kbit in (0, 15) or rate_code == 3:
        return None
    rate = _MP3_RATES[version][rate_code]
    bits = 1000 * _MP3_KBIT[1 if version == 3 else 2, layer][kbit - 1]
    samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
    size = 4 * (12 * bits // rate + padding) if layer == 1 else samples // 8 * bits // rate + padding
    return size, samples / rate


def is_shorter_than_told(path: Path) -> bool:
    """Return whether an AIFF, AU, W64, CAF, Matroska (WebM) or MP4 file ends before the sizes in its header say."""
    with open(path, "rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        head = stream.read(64)
        if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
            told = int.from_bytes(head[4:8], "big")  # some count a last even-making byte that they do not write
            return told < _UNTOLD_AIFF and 8 + told - 1 > size
        if head[:4] == b".snd" and len(head) >= 12:  # Sun and NeXT
            start, told = struct.unpack(">2I", head[4:12])
            return told != _UNTOLD_AU and start + told > size
        if head[:4] == b"riff" and head[24:28] == b"wave":  # Sony Wave64
            return int.from_bytes(head[16:24], "little", signed=True) > size  # -1: written into a pipe
        if head[:4] == b"caff":
            return _ends_behind(stream, 8, size, _caf_chunk)
        if head[4:8] == b"ftyp":
            return _ends_behind(stream, 0, size, _mp4_box)
        return head[:4] == b"\x1a\x45\xdf\xa3" and _ends_behind(stream, 0, size, _ebml_element)


def _ends_behind(stream: IO[bytes], at: int, size: int, length_of: Callable[[bytes], int]) -> bool:
    """Walk the parts of a file on its top level; ``length_of`` gives that of a part, 0 where it is not told."""
    for _ in range(_MAX_PARTS):
        if at + 8 > size:
            return False
        stream.seek(at)
        length = length_of(stream.read(20))
        if length <= 0:
            return False
        at += length
        if at > size:
            return True
    return False


def _caf_chunk(head: bytes) -> int:
    length = int.from_bytes(head[4:12], "big", signed=True)  # -1: to the end
    return 12 + length if length >= 0 and head[:4] in _CAF_CHUNKS else 0


def _mp4_box(head: bytes) -> int:
    if head[4:8] not in _MP4_BOXES:
        return 0
    length = int.from_bytes(head[:4], "big")  # 0: to the end
    return int.from_bytes(head[8:16], "big") if length == 1 else length


def _ebml_element(head: bytes) -> int:
    name = 9 - head[0].bit_length() if head else 9
    if head[:name] not in _EBML_ELEMENTS or len(head) < name + 8:
        return 0
    width = 9 - head[name].bit_length()
    if width > 8:
        return 0
    length = int.from_bytes(head[name : name + width], "big") & ((1 << 7 * width) - 1)
    return 0 if length == (1 << 7 * width) - 1 else name + width + length  # all ones: not known


def ogg_is_cut(path: Path) -> bool:
    """Return whether an Ogg file ends without the page that is marked as its last one."""
    with open(path, "rb") as stream:
        stream.seek(max(0, stream.seek(0, 2) - _OGG_PAGE_BYTES))
        tail = stream.read()
    at = tail.rfind(b"OggS\0")
    if at < 0 or len(tail) < at + 27 or not tail[at + 5] & 4:
        return True
    lacing = tail[at + 27 : at + 27 + tail[at + 26]]
    return len(tail) < at + 27 + tail[at + 26] + sum(lacing)


def flac_samples(path: Path) -> tuple[int, int] | None:
    """Return ``(samples by the header, samples by the last frame)`` of a FLAC file.

    The second is 0 where the file does not end with a whole frame (it was cut off). ``None``: no FLAC, or one whose
    frames cannot be found.
    """
    with open(path, "rb") as stream:
        head = stream.read(42)
        if len(head) < 42 or head[:4] != b"fLaC" or head[4] & 0x7F:
            return None
        fixed_block = struct.unpack(">H", head[8:10])[0]
        told = int.from_bytes(head[18:26], "big") & ((1 << 36) - 1)
        size = stream.seek(0, 2)
        stream.seek(max(42, size - _TAIL_BYTES))
        tail = stream.read()
    at, behind, seen = len(tail), len(tail), 0
    while seen < _FLAC_HEADERS and (at := tail.rfind(b"\xff", 0, at)) >= 0:
        end = _flac_frame_end(tail, at, fixed_block)
        if end is None:
            continue
        seen += 1
        ends = _crc16_ends(tail[at:])
        if behind - at in ends and end != told and seen > 1:  # the frame behind is one, and torn
            break
        # behind the last frame of those promised may be anything (a torn one passes for whole in one of some ten)
        if any(end == told or _is_no_sound(tail[at + size :]) for size in ends):
            return told, end
        behind = at
    return (told, 0) if seen else None


def _is_no_sound(rest: bytes) -> bool:
    """Return whether what is behind a last frame is nothing, a tag, or what fills a card."""
    return rest[:3] in (b"", b"TAG", b"ID3", b"APE", b"LYR") or rest.count(rest[:1]) == len(rest)


def _flac_frame_end(data: bytes, at: int, fixed_block: int) -> int | None:
    """Return the number of the sample behind the FLAC frame whose header is at ``at``; ``None``: no header."""
    if at + 6 > len(data) or data[at + 1] & 0xFE != 0xF8 or data[at + 3] & 1:
        return None
    block_code, rate_code = data[at + 2] >> 4, data[at + 2] & 15
    if not block_code or rate_code == 15 or data[at + 3] >> 4 > 10:
        return None
    place = at + 4
    first = data[place]
    more = 0
    while first << more & 0x80 and more < 8:
        more += 1
    extra = max(0, more - 1)
    if more == 1 or more > 7 or place + 1 + extra + 4 > len(data):
        return None
    number = first & (0x7F >> more)
    for byte in data[place + 1 : place + 1 + extra]:
        number = number << 6 | (byte & 0x3F)
    place += 1 + extra
    if block_code == 1:
        block = 192
    elif block_code < 6:
        block = 576 << (block_code - 2)
    elif block_code < 8:
        width = block_code - 5
        block = int.from_bytes(data[place : place + width], "big") + 1
        place += width
    else:
        block = 256 << (block_code - 8)
    place += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if place >= len(data) or _crc8(data[at:place]) != data[place]:
        return None
    return (number if data[at + 1] & 1 else number * fixed_block) + block


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value = _CRC8[value ^ byte]
    return value


def _crc16_ends(data: bytes) -> list[int]:
    """Return at which lengths the checksum is that of a whole frame (or is so by chance: at one of 65536)."""
    value, ends = 0, []
    for place, byte in enumerate(data, 1):
        value = (value << 8 & 0xFFFF) ^ _CRC16[value >> 8 ^ byte]
        if not value:
            ends.append(place)
    return ends


def _crc_table(bits: int, polynomial: int) -> list[int]:
    table, top, mask = [], 1 << (bits - 1), (1 << bits) - 1
    for value in range(256):
        value <<= bits - 8
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
        table.append(value)
    return table


_CRC8, _CRC16 = _crc_table(8, 0x07), _crc_table(16, 0x8005)
