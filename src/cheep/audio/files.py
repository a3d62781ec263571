# SPDX-License-Identifier: MIT
"""Audio files: libsndfile reads what it reads right, ffmpeg the rest; lengths are those of the samples."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from cheep.audio.ffmpeg import open_with_ffmpeg
from cheep.audio.lengths import flac_samples, is_shorter_than_told, mp3_length, ogg_is_cut
from cheep.audio.remote import local_file, url_of
from cheep.audio.riff import RepairedFile, WavLayout, read_layout
from cheep.audio.samples import Resampler, float_to_int16, int16_to_float
from cheep.audio.zeros import ZeroMeter, expanded, may_be_triggered
from cheep.errors import CheepError
from cheep.files import atomic_write

log = logging.getLogger(__name__)

_BLOCK_S = 20.0
_PIECE = 1024  # samples that are decoded at once near a damaged place
_EIGHT_BIT = ("PCM_U8", "PCM_S8")
_LEAST_PEAK = 1000  # quieter than this nothing is clipped
_LEAST_CLIPPED = 0.0005
_SHORTER = "the file ends before what its header promises"
_NO_LAST_PAGE = "its last page is missing: the file ends early"
_RUBBISH_S = 0.1  # what is behind so much of an MP3's frames is no sound (zeros, tags that the decoder does not know)
_SHORT = 0.98  # libsndfile that gives less than this part of an MP3 stops early
_LIBSNDFILE_ERRORS = (soundfile.LibsndfileError, OSError, RuntimeError)


@dataclasses.dataclass(frozen=True)
class AudioInfo:
    """What a file holds: rate in Hz, length in s, channels, libsndfile's container and sample format.

    ``note`` says what its header gets wrong (sizes that were never written, a wrong length); empty: nothing. ``cut``:
    the file ends before what its header promises.
    """

    sample_rate_hz: int
    duration_s: float
    channels: int
    container: str
    sample_format: str
    note: str = ""
    cut: bool = False


@dataclasses.dataclass(frozen=True)
class _Source:
    """How to read a file: ``blocks(block_s)`` yields float32 (n, channels); ``duration_s`` None: count them.

    ``seek(first, n)`` yields n samples from the first on, where that needs no decoding of those before.
    """

    info: AudioInfo
    duration_s: float | None
    blocks: Callable[[float], Iterator[np.ndarray]]
    seek: Callable[[int, int], Iterator[np.ndarray]] | None = None


def probe(path: str | os.PathLike) -> AudioInfo:
    """Return what an audio file holds; decodes it where its header does not give the true length.

    Raises
    ------
    CheepError
        The file is missing, empty, no audio, or holds 8-bit samples.
    """
    source = _source(_existing(path))
    duration_s = source.duration_s
    if duration_s is None:
        duration_s = sum(len(block) for block in source.blocks(_BLOCK_S)) / source.info.sample_rate_hz
    return dataclasses.replace(source.info, duration_s=duration_s)


def iter_audio(
    path: str | os.PathLike,
    sample_rate_hz: int | None = None,
    block_s: float = _BLOCK_S,
    notes: list[str] | None = None,
) -> Iterator[np.ndarray]:
    """Yield the file as mono blocks, (n,) int16, at ``sample_rate_hz`` (none: its own rate), in bounded memory.

    The blocks joined are the same samples whatever ``block_s`` (the resampler keeps its state). Channels are averaged.
    A triggered AudioMoth recording (``T.WAV``) is expanded: its samples lie at their true times, with zeros between.
    What the header gets wrong is added to ``notes``, or logged.

    Raises
    ------
    CheepError
        As :func:`probe`; also where decoding fails midway or a sample is NaN or infinite.
    """
    info, blocks = open_audio(path, sample_rate_hz, block_s)
    if info.note:
        if notes is None:
            log.warning("%s: %s", path, info.note)
        else:
            notes.append(info.note)
    yield from blocks


def open_audio(
    path: str | os.PathLike, sample_rate_hz: int | None = None, block_s: float = _BLOCK_S
) -> tuple[AudioInfo, Iterator[np.ndarray]]:
    """Return what a file holds (``duration_s``: by its header, 0 where that is not known), and its samples.

    The samples come in mono blocks, (n,) int16, as :func:`iter_audio` yields them, which see; so do the errors.
    """
    path = _existing(path)
    source = _source(path)
    rate = source.info.sample_rate_hz
    info = dataclasses.replace(source.info, duration_s=source.duration_s or 0.0)
    return info, _convert(path, source.blocks(block_s), rate, sample_rate_hz or rate)


@dataclasses.dataclass(frozen=True)
class Scan:
    """What the samples of a file tell: length, s, runs of exact zeros (start, end), s, notes on the header.

    ``clipped`` is the part of the samples (0..1) that a recorder's limit cut off; 0 where it is no matter.
    """

    duration_s: float
    zeros: tuple[tuple[float, float], ...]
    clipped: float
    notes: tuple[str, ...]


def scan(path: str | os.PathLike) -> Scan:
    """Decode a file once, at its own rate, in bounded memory, and tell what is in it.

    Raises
    ------
    CheepError
        As :func:`iter_audio`.
    """
    path = _existing(path)
    source = _source(path)
    rate = source.info.sample_rate_hz
    meter = ZeroMeter(rate)
    counts = np.zeros(32769, np.int64)  # of samples by magnitude
    samples = 0
    for block in _convert(path, source.blocks(_BLOCK_S), rate, rate):
        samples += len(block)
        meter.push(block)
        counts += np.bincount(np.abs(block.astype(np.int32)), minlength=32769)
    notes = (source.info.note,) if source.info.note else ()
    return Scan(samples / rate, meter.runs(), _clipped(counts), notes)


def _clipped(counts: np.ndarray) -> float:
    """Share of the samples that lie at the largest magnitude, where far more do than just below it."""
    peak = int(np.flatnonzero(counts)[-1]) if counts.any() else 0
    if peak < _LEAST_PEAK:
        return 0.0
    top = counts[peak - 1 :].sum() if peak >= 32767 else counts[peak]
    near = counts[int(0.95 * peak) :].sum()
    share = float(top / counts.sum())
    return share if share >= _LEAST_CLIPPED and top >= 0.25 * near else 0.0


def read_audio(path: str | os.PathLike, sample_rate_hz: int) -> np.ndarray:
    """Return the whole file as mono int16 at ``sample_rate_hz``, shape (n,). See :func:`iter_audio`."""
    blocks = list(iter_audio(path, sample_rate_hz))
    return np.concatenate(blocks) if blocks else np.zeros(0, np.int16)


def read_span(path: str | os.PathLike, begin_s: float, end_s: float) -> tuple[np.ndarray, int]:
    """Return the samples of a file from ``begin_s`` to ``end_s``, mono int16, (n,), and its own rate in Hz.

    What libsndfile can seek in is not decoded from its beginning. Beyond the end of the file there is nothing.

    Raises
    ------
    CheepError
        As :func:`iter_audio`.
    """
    path = _existing(path)
    source = _source(path)
    rate = source.info.sample_rate_hz
    first, behind = max(0, round(begin_s * rate)), round(end_s * rate)
    if source.seek is not None:
        blocks = source.seek(first, behind - first)
        return np.concatenate([np.zeros(0, np.int16), *_convert(path, blocks, rate, rate)]), rate
    at, parts = 0, [np.zeros(0, np.int16)]
    for block in _convert(path, source.blocks(_BLOCK_S), rate, rate):
        parts.append(block[max(0, first - at) : max(0, behind - at)])
        at += len(block)
        if at >= behind:
            break
    return np.concatenate(parts), rate


def write_wav(path: str | os.PathLike, pcm: np.ndarray, sample_rate_hz: int) -> None:
    """Write mono samples, (n,) int16, as WAV, whole or not at all."""
    with atomic_write(path) as stream:
        soundfile.write(stream, pcm, sample_rate_hz, subtype="PCM_16", format="WAV")


def _source(path: Path) -> _Source:
    layout = read_layout(path)
    source = _wrong_length(path) or _libsndfile(path, layout) or _ffmpeg(path)
    if source.info.channels == 1 and may_be_triggered(path, layout):
        rate, blocks = source.info.sample_rate_hz, source.blocks
        return _Source(source.info, None, lambda block_s: expanded(path, blocks(block_s), rate))
    return source


def _libsndfile(path: Path, layout: WavLayout | None, cut_flac: bool = False) -> _Source | None:
    broken = layout if layout is not None and layout.repaired else None

    name = str(path) if os.name == "nt" else os.fsencode(path)  # a name need not be UTF-8

    @contextlib.contextmanager
    def opened() -> Iterator[soundfile.SoundFile]:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(RepairedFile(path, broken)) if broken else name
            yield stack.enter_context(soundfile.SoundFile(file))

    try:
        with opened() as source:
            frames, rate, channels = source.frames, source.samplerate, source.channels
            container, sample_format = source.format, source.subtype
    except _LIBSNDFILE_ERRORS:
        return None
    _check(path, frames, sample_format)
    enough: float = 1 if cut_flac else math.inf  # samples behind which damage takes nothing away
    note = layout.note if layout is not None else ""
    cut = layout is not None and layout.cut
    if container == "OGG" and ogg_is_cut(path):
        note, cut = _NO_LAST_PAGE, True
    elif container == "MP3" and (found := mp3_length(path)) is not None:
        note, cut = found.note, bool(found.note)
        enough = int((found.there_s - _RUBBISH_S) * rate)
    elif layout is None and is_shorter_than_told(path):
        note, cut = _SHORTER, True
    if cut_flac:
        note, cut = f"the header promises {frames / rate:.1f} s, the file ends early", True
    info = AudioInfo(rate, 0.0, channels, container, sample_format, note, cut=cut)

    def blocks(block_s: float) -> Iterator[np.ndarray]:
        block = max(1, int(block_s * rate))
        try:
            with opened() as source:
                yield from _read_blocks(path, source, block)
        except _Damage as damage:
            try:
                with opened() as source:
                    yield from _up_to_damage(path, source, block, damage.done)
            except _Damage as end:
                if damage.done + end.done < max(1, enough):
                    raise

    def seek(first: int, n: int) -> Iterator[np.ndarray]:
        if first >= frames:
            return
        with opened() as source:
            source.seek(first)
            yield from itertools.islice(_read_blocks(path, source, max(1, n)), 1)

    # an MP3 without an index gives a guess, a damaged one less than its index says
    sure = container != "MP3" and not cut_flac
    return _Source(info, frames / rate if sure else None, blocks, seek if sure else None)


def _wrong_length(path: Path) -> _Source | None:
    """Return how ffmpeg reads an MP3 or FLAC of whose samples libsndfile would not give all, else ``None``."""
    suffix = path.suffix.lower()
    if suffix == ".flac" or _starts_with(path, b"fLaC"):
        found = flac_samples(path)
        if found is None or found[0] == found[1] > 0:
            return None
        told, there = found
        if not there and told:  # cut off
            return _libsndfile(path, None, cut_flac=True)
        source = _ffmpeg(path)
        rate = source.info.sample_rate_hz
        note = f"the header says {told / rate:.1f} s" if told else "the header gives no length"
        note += f", {there / rate:.1f} s are there" if there else ""
        note += "" if there else ", and the file ends within a frame"
        info = dataclasses.replace(source.info, container="FLAC", note=note, cut=not there or there < told)
        return _Source(info, None, source.blocks)
    if suffix not in (".mp3", ".mp2", ".mpga"):
        return None
    try:
        told_s = soundfile.info(str(path)).duration
    except _LIBSNDFILE_ERRORS:
        return None
    mp3 = mp3_length(path)
    if mp3 is None or told_s >= _SHORT * mp3.there_s - 0.2:
        return None
    source = _ffmpeg(path)
    note = f"the header gives {told_s:.1f} s, {mp3.there_s:.1f} s are there (variable rate?)"
    return _Source(dataclasses.replace(source.info, container="MP3", note=note), None, source.blocks)


def _starts_with(path: Path, magic: bytes) -> bool:
    with open(path, "rb") as stream:
        return stream.read(len(magic)) == magic


def _read_blocks(path: Path, source: soundfile.SoundFile, block: int) -> Iterator[np.ndarray]:
    done = 0
    whole = source.subtype == "PCM_16"  # converting them here gives the same numbers, in less time
    while True:
        try:
            samples = source.read(block, dtype="int16" if whole else "float32", always_2d=True)  # (n, channels)
        except _LIBSNDFILE_ERRORS as error:
            raise _Damage(path, done, error) from None
        if len(samples) == 0:
            break
        done += len(samples)
        yield int16_to_float(samples) if whole else samples
    if done == 0:
        raise CheepError(f"{path}: no samples could be decoded; the file is damaged, replace it")


class _Damage(CheepError):
    def __init__(self, path: Path, done: int, error: Exception) -> None:
        super().__init__(f"{path}: decoding fails after {done} samples ({error}); replace the file")
        self.done = done


def _up_to_damage(path: Path, source: soundfile.SoundFile, block: int, done: int) -> Iterator[np.ndarray]:
    """Yield what comes after ``done`` samples, in small pieces: libsndfile gives nothing of a read in which it fails.

    ``source`` has just been opened; a damaged file cannot be relied on to seek.
    """
    for _ in range(done // block):
        source.read(block, dtype="int16")
    try:
        yield from _read_blocks(path, source, _PIECE)
    except _Damage as damage:
        damage.args = (str(damage).replace(f"after {damage.done} ", f"after {done + damage.done} "),)
        raise


def _convert(path: Path, blocks: Iterator[np.ndarray], from_hz: int, to_hz: int) -> Iterator[np.ndarray]:
    resampler = Resampler(from_hz, to_hz)
    for samples in blocks:
        mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)
        if not np.isfinite(mono).all():
            raise CheepError(f"{path}: holds NaN or infinite samples; every sample must be finite (re-export the file)")
        yield float_to_int16(resampler.push(mono))
    yield float_to_int16(resampler.push(np.zeros(0, np.float32), last=True))


def _existing(path: str | os.PathLike) -> Path:
    path = Path(path)
    if (url := url_of(path)) is not None:
        try:
            path = local_file(path)
        except OSError as error:
            raise CheepError(f"{url}: cannot be read: {error.strerror or error}") from None
    if path.is_dir():
        raise CheepError(f"{path}: is a folder; name a file in it")
    if not path.is_file():
        raise CheepError(f"{path}: no such file; check the path")
    if path.stat().st_size == 0:
        raise CheepError(f"{path}: the file is empty (0 bytes); copy or download it again")
    return path


def _check(path: Path, frames: int, sample_format: str) -> None:
    if frames == 0:
        raise CheepError(f"{path}: holds no samples (zero length); remove it or record it again")
    if sample_format in _EIGHT_BIT:
        raise CheepError(
            f"{path}: 8-bit samples ({sample_format}): at least 16 bits are needed, "
            "8-bit noise hides quiet calls; export the original with 16 bits"
        )


def _ffmpeg(path: Path) -> _Source:
    rate, channels, blocks = open_with_ffmpeg(path)
    note = _SHORTER if is_shorter_than_told(path) else ""
    if _starts_with(path, b"OggS") and ogg_is_cut(path):  # of FLAC or Speex, which libsndfile does not know
        note = _NO_LAST_PAGE
    info = AudioInfo(rate, 0.0, channels, path.suffix[1:].upper(), "", note, cut=bool(note))
    return _Source(info, None, lambda block_s: blocks(max(1, int(block_s * rate))))
