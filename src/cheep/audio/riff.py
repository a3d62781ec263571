# SPDX-License-Identifier: MIT
"""WAV files as recorders leave them: the chunks, sizes that were never written, texts before and behind the samples."""

from __future__ import annotations

import dataclasses
import io
import os
import struct
from pathlib import Path
from typing import IO, NamedTuple

from cheep.errors import CheepError

_PLAIN = (1, 3, 0xFFFE)  # PCM, float, extensible: a sample has a fixed number of bytes
_MAX_CHUNKS = 10_000
_MAX_TEXT_BYTES = 1 << 20
_MAX_FORM_BYTES = 64
_UNKNOWN_SIZE = 0xFFFFFFFF
_LEAST_LOST_S = 0.05  # less than this behind the samples is a recorder's padding


@dataclasses.dataclass(frozen=True)
class WavLayout:
    """Where things are in a WAV: ``chunks`` (name, first byte, bytes), the format, and the samples that are there.

    ``note`` says how the header was wrong, ``repaired`` tells that libsndfile needs a corrected one, ``cut`` that the
    file ends before what its header promises.
    """

    chunks: tuple[tuple[bytes, int, int], ...]
    sample_rate_hz: int
    channels: int
    frame_bytes: int
    data_at: int
    data_bytes: int
    file_bytes: int
    note: str = ""
    repaired: bool = False
    cut: bool = False


def read_layout(path: Path) -> WavLayout | None:
    """Return the layout of a WAV file (RIFF or RF64), ``None`` for other files.

    Raises
    ------
    CheepError
        The file cannot be read, or its header gives a sample rate or a number of channels of 0.
    """
    try:
        with open(path, "rb") as stream:
            return _layout(path, stream, os.fstat(stream.fileno()).st_size)
    except OSError as error:
        raise CheepError(f"{path}: cannot read: {error.strerror or error}") from None


def _layout(path: Path, stream: IO[bytes], size: int) -> WavLayout | None:
    head = stream.read(12)
    if len(head) < 12 or head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        return None
    chunks: list[tuple[bytes, int, int]] = []
    form = b""
    long_data = 0
    bare = b""  # the first chunk before the samples that lacks its padding byte
    samples = _Samples(0, -1)
    at = 12
    while at + 8 <= size and len(chunks) < _MAX_CHUNKS:
        stream.seek(at)
        name, length = struct.unpack("<4sI", stream.read(8))
        start, there = at + 8, size - at - 8
        if name == b"fmt ":
            form = stream.read(min(length, _MAX_FORM_BYTES))
            _check_format(path, form)
        elif name == b"ds64":
            long_data = struct.unpack("<Q", stream.read(24)[8:16])[0] if length >= 24 and there >= 24 else 0
        elif name == b"data" and samples.n_bytes < 0:
            if length == _UNKNOWN_SIZE and long_data:
                length = long_data
            samples = _samples(stream, size, start, length, form)
            length = samples.n_bytes
        chunks.append((name, start, min(length, there)))
        at = _behind(stream, start, length, size)
        if at < start + length + length % 2 and samples.n_bytes < 0:
            bare = bare or name
    if len(form) < 16:
        return None
    kind, channels, rate, _, frame_bytes, _ = struct.unpack("<HHIIHH", form[:16])
    if bare and kind in _PLAIN and samples.n_bytes >= 0:
        said = f"the chunk {bare.decode('latin-1')!r} lacks its padding byte"
        samples = samples._replace(note="; ".join(filter(None, (said, samples.note))), repaired=True)
    return WavLayout(
        tuple(chunks), rate, channels, frame_bytes, samples.at, max(samples.n_bytes, 0), size, samples.note,
        samples.repaired, samples.cut,
    )  # fmt: skip


def _behind(stream: IO[bytes], start: int, length: int, size: int) -> int:
    """Return where the next chunk begins.

    Behind an odd length is a padding byte, which some programs forget. Other readers lose the samples then; where no
    chunk begins behind the byte, but one in its place, there is no doubt.
    """
    end = start + length
    if length % 2 and not _is_chunk(stream, end + 1, size) and _is_chunk(stream, end, size):
        return end
    return end + length % 2


def _check_format(path: Path, form: bytes) -> None:
    if len(form) < 16:
        return
    channels, rate = struct.unpack("<HI", form[2:8])
    for name, value in (("sample rate", rate), ("number of channels", channels)):
        if not value:
            raise CheepError(
                f"{path}: the header gives a {name} of 0: it is damaged (write the right value with an audio editor's "
                "import of raw data, or leave the file out)"
            )


class _Samples(NamedTuple):
    """Where the samples are; the rest as in :class:`WavLayout`."""

    at: int
    n_bytes: int
    note: str = ""
    repaired: bool = False
    cut: bool = False


def _samples(stream: IO[bytes], size: int, start: int, length: int, form: bytes) -> _Samples:
    """Return the samples that the file really holds."""
    there = size - start
    kind, _, rate, _, frame, _ = struct.unpack("<HHIIHH", form[:16]) if len(form) >= 16 else (0,) * 6
    if kind not in _PLAIN or not frame or not rate:
        return _Samples(start, min(length, there))

    def seconds(count: int) -> str:
        return f"{count // frame / rate:.1f} s"

    if length > there:
        if length == _UNKNOWN_SIZE:  # a program that wrote into a pipe
            return _Samples(start, there - there % frame, repaired=True)
        told = f"the header promises {seconds(length)}, the file ends after {seconds(there)}"
        return _Samples(start, there - there % frame, told, cut=True)
    behind = _behind(stream, start, length, size)
    if size - behind < _LEAST_LOST_S * rate * frame or _is_chunk(stream, behind, size):
        return _Samples(start, length)
    lost = there - there % frame
    told = f"the header says {seconds(length)} (was the power lost?), {seconds(lost)} are there"
    return _Samples(start, lost, told, repaired=True)


def _is_chunk(stream: IO[bytes], at: int, size: int) -> bool:
    stream.seek(at)
    head = stream.read(8)
    if len(head) < 8:
        return False
    name, length = struct.unpack("<4sI", head)
    if name == b"data":  # however long: the file may end early
        return True
    return all(32 <= byte < 127 for byte in name) and name.strip() != b"" and at + 8 + length <= size


class RepairedFile(io.RawIOBase):
    """A WAV with a header of the right sizes: format and samples, nothing else.

    libsndfile reads it like a file (``read``, ``seek``, ``tell``).
    """

    def __init__(self, path: Path, layout: WavLayout) -> None:
        super().__init__()
        form = chunk_bytes(path, layout, b"fmt ", _MAX_FORM_BYTES)
        form = struct.pack("<4sI", b"fmt ", len(form)) + form + bytes(len(form) % 2)
        size = min(layout.data_bytes, _UNKNOWN_SIZE - 1 - len(form) - 12)
        head = struct.pack("<4sI4s", b"RIFF", size + len(form) + 12, b"WAVE")
        self._head = head + form + struct.pack("<4sI", b"data", size)
        self._file = open(path, "rb")  # noqa: SIM115 - closed by close()
        self._shift = layout.data_at - len(self._head)
        self._end = len(self._head) + layout.data_bytes
        self._at = 0

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be read from any place."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place and return it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at

    def readinto(self, buffer) -> int:
        """Fill ``buffer`` and return the number of bytes."""
        want = min(len(buffer), self._end - self._at)
        if want <= 0:
            return 0
        data = self._head[self._at : self._at + want]
        if len(data) < want:
            self._file.seek(self._at + len(data) + self._shift)
            data += self._file.read(want - len(data))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def info_texts(path: Path, layout: WavLayout) -> dict[str, str]:
    """Return the texts of a WAV by key: those of LIST INFO (``ICMT``, ``IART``, ...), and the GUANO text (``guan``).

    They may lie before the samples, as a recorder writes them, or behind, as sox, Audacity and libsndfile do.
    """
    texts: dict[str, str] = {}
    with open(path, "rb") as stream:
        for name, start, length in layout.chunks:
            if name not in (b"LIST", b"guan"):
                continue
            stream.seek(start)
            body = stream.read(min(length, _MAX_TEXT_BYTES))
            if name == b"guan":
                texts.setdefault("guan", body.decode("utf-8", "replace"))
            elif body[:4] == b"INFO":
                at = 4
                while at + 8 <= len(body):
                    key, size = struct.unpack_from("<4sI", body, at)
                    raw = body[at + 8 : at + 8 + size].split(b"\0")[0]
                    texts.setdefault(key.decode("latin-1"), raw.decode("utf-8", "replace").strip())
                    at += 8 + size + size % 2
    return texts


def chunk_bytes(path: Path, layout: WavLayout, name: bytes, most: int) -> bytes:
    """Return the body of a WAV's first chunk ``name``, at most ``most`` bytes; empty where there is none."""
    for found, start, length in layout.chunks:
        if found == name:
            with open(path, "rb") as stream:
                stream.seek(start)
                return stream.read(min(length, most))
    return b""
