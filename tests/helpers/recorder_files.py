# SPDX-License-Identifier: MIT
"""Small recordings as recorders, cards and editors leave them: headers written by hand."""

import struct
from pathlib import Path

import numpy as np

RATE = 8000


def calls(seconds, at, rate=RATE, level=0.3, noise=0.01, seed=1):
    """Noise with a whistle of 0.3 s at each time of ``at``, int16."""
    out = np.random.default_rng(seed).normal(0, noise, int(seconds * rate))
    t = np.arange(int(0.3 * rate)) / rate
    for start in at:
        out[int(start * rate) : int(start * rate) + len(t)] += level * np.sin(2 * np.pi * 2500 * t) * np.hanning(len(t))
    return (32767 * np.clip(out, -1, 1)).astype("<i2")


def comment(device="24F3190261F38D1F", day=1, rest=""):
    """What an AudioMoth writes into the header."""
    return (
        f"Recorded at 05:00:00 {day:02d}/06/2024 (UTC) by AudioMoth {device} at medium gain while battery was 4.2V and "
        f"temperature was 9.5C.{rest}"
    )


def chunk(name, body):
    """One RIFF chunk."""
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def info(**texts):
    """A LIST INFO chunk of ``ICMT=...``, ``IART=...``."""
    return chunk(b"LIST", b"INFO" + b"".join(chunk(key.encode(), text.encode() + b"\0") for key, text in texts.items()))


def wav(pcm, rate=RATE, channels=1, before=b"", after=b"", riff=None, data=None):
    """A WAV of int16 samples; ``riff`` and ``data`` put wrong sizes into the header."""
    raw = np.asarray(pcm, "<i2").tobytes()
    form = chunk(b"fmt ", struct.pack("<HHIIHH", 1, channels, rate, 2 * channels * rate, 2 * channels, 16))
    size = len(raw) if data is None else data
    body = b"WAVE" + form + before + b"data" + struct.pack("<I", size) + raw + after
    return b"RIFF" + struct.pack("<I", len(body) if riff is None else riff) + body


def moth(pcm, device="24F3190261F38D1F", day=1, rest="", **more):
    """An AudioMoth recording."""
    return wav(pcm, before=info(ICMT=comment(device, day, rest), IART="AudioMoth " + device), **more)


def silence_block(blocks):
    """256 samples that stand for ``blocks`` times 256 samples in a triggered recording."""
    out = np.zeros(256, "<i2")
    out[:32] = [1 if blocks >> bit & 1 else -1 for bit in range(32)]
    return out


def put(path, data):
    """Write bytes or text, folders included; return the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def data_set(folder, labels=("robin", "background"), n=4, seconds=6):
    """A folder per label; the recordings of ``background`` hold no call. Returns the folder."""
    for place, label in enumerate(labels):
        for i in range(n):
            at = () if label == "background" else (1.0, 4.0)
            put(folder / label / f"{label}{i}.wav", wav(calls(seconds, at, seed=10 * place + i)))
    return folder
