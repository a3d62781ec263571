"""Audio files: any that libsndfile reads, the rest through pydub and ffmpeg."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from cheep.audio.samples import Resampler, float_to_int16
from cheep.errors import CheepError

_BLOCK_S = 20.0
_EIGHT_BIT = ("PCM_U8", "PCM_S8")


@dataclasses.dataclass(frozen=True)
class AudioInfo:
    """What a file says of itself: rate in Hz, length in s, channels, libsndfile's container and sample format."""

    sample_rate_hz: int
    duration_s: float
    channels: int
    container: str
    sample_format: str


def probe(path: str | os.PathLike) -> AudioInfo:
    """Read the header of an audio file.

    Raises
    ------
    CheepError
        The file is missing, empty, no audio, or holds 8-bit samples.
    """
    path = _existing(path)
    try:
        info = soundfile.info(str(path))
    except (soundfile.LibsndfileError, OSError):
        segment = _decode_with_ffmpeg(path)
        return AudioInfo(segment.frame_rate, len(segment) / 1000.0, segment.channels, path.suffix[1:].upper(), "")
    _check(path, info.frames, info.subtype)
    return AudioInfo(info.samplerate, info.frames / info.samplerate, info.channels, info.format, info.subtype)


def iter_audio(path: str | os.PathLike, sample_rate_hz: int, block_s: float = _BLOCK_S) -> Iterator[np.ndarray]:
    """Yield the file as mono int16 blocks at ``sample_rate_hz``, in bounded memory.

    The blocks joined are the same samples whatever ``block_s`` (the resampler keeps its state).
    Channels are averaged. Formats that libsndfile cannot read are decoded whole by ffmpeg.

    Raises
    ------
    CheepError
        As :func:`probe`; also where decoding fails midway or a sample is NaN or infinite.
    """
    path = _existing(path)
    try:
        source = soundfile.SoundFile(str(path))
    except (soundfile.LibsndfileError, OSError):
        segment = _decode_with_ffmpeg(path)
        samples = np.asarray(segment.get_array_of_samples(), dtype=np.float32).reshape(-1, segment.channels)
        samples /= np.float32(1 << (8 * segment.sample_width - 1))
        yield from _convert(path, [samples], segment.frame_rate, sample_rate_hz)
        return
    with source:
        _check(path, source.frames, source.subtype)
        blocks = _read_blocks(path, source, max(1, int(block_s * source.samplerate)))
        yield from _convert(path, blocks, source.samplerate, sample_rate_hz)


def read_audio(path: str | os.PathLike, sample_rate_hz: int) -> np.ndarray:
    """Return the whole file as mono int16 at ``sample_rate_hz``, shape (n,). See :func:`iter_audio`."""
    blocks = list(iter_audio(path, sample_rate_hz))
    return np.concatenate(blocks) if blocks else np.zeros(0, np.int16)


def write_wav(path: str | os.PathLike, pcm: np.ndarray, sample_rate_hz: int) -> None:
    """Write mono int16 samples as WAV, to a temporary name first."""
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    os.close(handle)
    try:
        soundfile.write(name, pcm, sample_rate_hz, subtype="PCM_16", format="WAV")
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _read_blocks(path: Path, source: soundfile.SoundFile, block: int) -> Iterator[np.ndarray]:
    done = 0
    while True:
        try:
            samples = source.read(block, dtype="float32", always_2d=True)  # (n, channels)
        except (soundfile.LibsndfileError, OSError) as error:
            raise CheepError(f"{path}: decoding fails after {done} samples ({error}); replace the file") from None
        if len(samples) == 0:
            break
        done += len(samples)
        yield samples
    if done == 0:
        raise CheepError(f"{path}: no samples could be decoded; the file is damaged, replace it")


def _convert(path: Path, blocks, from_hz: int, to_hz: int) -> Iterator[np.ndarray]:
    resampler = Resampler(from_hz, to_hz)
    for samples in blocks:
        mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)
        if not np.isfinite(mono).all():
            raise CheepError(f"{path}: holds NaN or infinite samples; every sample must be finite (re-export the file)")
        yield float_to_int16(resampler.push(mono))
    yield float_to_int16(resampler.push(np.zeros(0, np.float32), last=True))


def _existing(path: str | os.PathLike) -> Path:
    path = Path(path)
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


def _decode_with_ffmpeg(path: Path):
    import pydub
    from pydub.exceptions import CouldntDecodeError

    try:
        segment = pydub.AudioSegment.from_file(str(path))
    except FileNotFoundError:
        raise CheepError(f"{path}: needs ffmpeg to decode and none is installed (apt-get install ffmpeg)") from None
    except (CouldntDecodeError, OSError, ValueError, IndexError, KeyError):
        raise CheepError(
            f"{path}: no audio that libsndfile or ffmpeg can read; the file is damaged or foreign"
        ) from None
    if len(segment.raw_data) == 0:
        raise CheepError(f"{path}: holds no samples (zero length); remove it or record it again")
    return segment
