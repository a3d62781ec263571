# SPDX-License-Identifier: MIT
"""Audio that libsndfile does not know, through ffmpeg."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from cheep.errors import CheepError


def open_with_ffmpeg(path: Path) -> tuple[int, int, Callable[[int], Iterator[np.ndarray]]]:
    """Return rate in Hz and channels of a file's first audio stream, and what yields it in blocks of n samples.

    pydub finds ffmpeg and asks it what is there; blocks are (n, channels) float32.

    Raises
    ------
    CheepError
        No ffmpeg, or no audio that it can read.
    """
    import pydub
    from pydub.utils import mediainfo_json

    try:
        told = mediainfo_json(str(path))
    except FileNotFoundError:
        raise CheepError(f"{path}: needs ffmpeg to decode and none is installed (apt-get install ffmpeg)") from None
    except (OSError, ValueError, IndexError, KeyError):
        told = {}
    streams = [stream for stream in told.get("streams", []) if stream.get("codec_type") == "audio"]
    try:
        rate, channels = int(streams[0]["sample_rate"]), int(streams[0]["channels"])
    except (IndexError, KeyError, ValueError):
        rate = channels = 0
    if rate < 1 or channels < 1:
        raise CheepError(f"{path}: no audio that libsndfile or ffmpeg can read; the file is damaged or foreign")
    command = [pydub.AudioSegment.converter, "-nostdin", "-v", "error", "-i", str(path), "-map", "0:a:0"]
    command += ["-f", "f32le", "-ac", str(channels), "-ar", str(rate), "pipe:1"]
    return rate, channels, lambda block: _blocks(path, command, block, channels)


def _blocks(path: Path, command: list[str], block: int, channels: int) -> Iterator[np.ndarray]:
    done = 0
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints) as process,
    ):
        try:
            pipe = process.stdout
            while pipe is not None and (data := pipe.read(4 * channels * block)):
                samples = np.frombuffer(data[: len(data) // (4 * channels) * 4 * channels], "<f4")
                done += len(samples) // channels
                yield samples.reshape(-1, channels)
        except GeneratorExit:  # nobody wants the rest
            process.kill()
            raise
        status = process.wait()
        complaints.seek(0)
        said = (complaints.read(400).decode("utf-8", "replace").strip().splitlines() or [f"status {status}"])[-1]
    if not done:
        raise CheepError(
            f"{path}: no audio that libsndfile or ffmpeg can read ({said}); the file is damaged or foreign"
        )
    if status:
        raise CheepError(f"{path}: decoding fails after {done} samples ({said}); replace the file")
