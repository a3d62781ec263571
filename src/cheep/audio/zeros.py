# SPDX-License-Identifier: MIT
"""Exact zeros: stretches in which nobody listened, and the AudioMoth's way of leaving them out.

A triggered AudioMoth writes ``T.WAV`` files: of the time between two triggers only a block of 512 bytes is kept, whose
first 32 samples are 1 or -1, the bits of the number of blocks that it stands for (the lowest first), followed by zeros.
Expanding such a file puts zeros in the place of what was not recorded, so that the times are those of the clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cheep.audio.riff import WavLayout, info_texts
from cheep.errors import CheepError

LEAST_ZEROS_S = 0.1  # a shorter run of zeros may be a quiet recording

_BLOCK = 256  # samples of a block
_BITS = 32
_TRIGGERED_NAME = re.compile(r"(^|_)[0-9]{6}T$", re.IGNORECASE)
_MAX_EXPANDED_S = 48 * 3600.0  # a recording starts anew every day
_ONE = np.float32(1 / 32768)


class ZeroMeter:
    """Finds runs of exact zeros in int16 samples: :meth:`push` blocks, then :meth:`runs`."""

    def __init__(self, sample_rate_hz: int, least_s: float = LEAST_ZEROS_S) -> None:
        self._rate = sample_rate_hz
        self._least = max(1, round(least_s * sample_rate_hz))
        self._runs: list[tuple[int, int]] = []  # first sample, sample behind
        self._open = -1  # start of a run that reaches the end of what was pushed
        self._samples = 0

    def push(self, pcm: np.ndarray) -> None:
        """Take int16 samples, shape (n,)."""
        if not len(pcm):
            return
        if self._nothing_inside(pcm):
            return
        zero = np.concatenate([[False], pcm == 0, [False]])
        edges = np.flatnonzero(zero[1:] != zero[:-1]).reshape(-1, 2) + self._samples
        if self._open >= 0 and not (len(edges) and edges[0, 0] == self._samples):
            self._close(self._open, self._samples)
            self._open = -1
        long = edges[edges[:, 1] - edges[:, 0] >= self._least].tolist()
        if len(edges):  # runs at the borders of a block may go on
            for edge in (edges[0].tolist(), edges[-1].tolist()):
                if edge not in long and (edge[0] == self._samples or edge[1] == self._samples + len(pcm)):
                    long.append(edge)
        self._samples += len(pcm)
        for first, behind in sorted(long):
            if self._open >= 0:
                first, self._open = self._open, -1
            if behind == self._samples:
                self._open = first
            else:
                self._close(first, behind)

    def _nothing_inside(self, pcm: np.ndarray) -> bool:
        """Take samples in which no run begins and ends, as almost all are; tell whether they were such.

        Of every half of the least length one sample is looked at: a run that counts holds two of them in a row.
        """
        if self._least < 2:
            return False
        probe = pcm[:: self._least // 2] == 0
        if np.any(probe[1:] & probe[:-1]) or not (pcm[0] or pcm[-1] or np.any(pcm)):
            return False
        sound = np.flatnonzero(pcm[: self._least]), np.flatnonzero(pcm[-self._least :])
        if not len(sound[0]) or not len(sound[1]):
            return False
        if self._open >= 0:
            self._close(self._open, self._samples + int(sound[0][0]))
            self._open = -1
        self._samples += len(pcm)
        behind = min(len(pcm), self._least) - 1 - int(sound[1][-1])  # zeros at the end
        self._open = self._samples - behind if behind else -1
        return True

    def _close(self, first: int, behind: int) -> None:
        if behind - first >= self._least:
            self._runs.append((first, behind))

    def runs(self) -> tuple[tuple[float, float], ...]:
        """Return ``(start_s, end_s)`` of the runs of at least ``least_s``, in order."""
        if self._open >= 0:
            self._close(self._open, self._samples)
            self._open = -1
        return tuple((first / self._rate, behind / self._rate) for first, behind in self._runs)

    def seconds(self) -> float:
        """Return the length of all runs together, s."""
        return sum(end - start for start, end in self.runs())


def may_be_triggered(path: Path, layout: WavLayout | None) -> bool:
    """Tell whether a file may hold an AudioMoth's blocks for silence: by its name (``..T.WAV``) or its header."""
    if _TRIGGERED_NAME.search(path.stem):
        return True
    if layout is None:
        return False
    texts = info_texts(path, layout)
    comment = texts.get("ICMT", "")
    return "AudioMoth" in comment + texts.get("IART", "") and bool(re.search(r"trigger", comment, re.IGNORECASE))


def expanded(path: Path, blocks: Iterator[np.ndarray], sample_rate_hz: int) -> Iterator[np.ndarray]:
    """Yield mono blocks of float32 samples (n, 1) with zeros in place of the AudioMoth's blocks for silence.

    Raises
    ------
    CheepError
        A block stands for more time than a recording can last: the file is damaged.
    """
    rest = np.zeros((0, 1), np.float32)
    made_s = 0.0
    for block in blocks:
        data = np.concatenate([rest, block])
        sure = len(data) - _BLOCK + 1  # a block that begins before this is whole
        done = 0
        for at in _silences(data[:, 0]):
            if at < done:
                continue
            yield data[done:at]
            bits = data[at : at + _BITS, 0] > 0
            samples = _BLOCK * int(np.sum(1 << np.flatnonzero(bits), dtype=np.int64))
            made_s += samples / sample_rate_hz
            if made_s > _MAX_EXPANDED_S:
                raise CheepError(
                    f"{path}: a block for silence stands for {samples / sample_rate_hz:.0f} s: the file is damaged; "
                    "expand it with the AudioMoth Configuration App or leave it out"
                )
            step = max(1, int(20 * sample_rate_hz))
            for first in range(0, samples, step):
                yield np.zeros((min(step, samples - first), 1), np.float32)
            done = at + _BLOCK
        keep = max(done, sure)
        if keep > done:
            yield data[done:keep]
        rest = data[keep:]
    if len(rest):
        yield rest


def _silences(x: np.ndarray) -> list[int]:
    """Return where blocks for silence begin in samples (n,): 32 of 1 or -1 (in 1/32768), then 224 of 0."""
    if len(x) < _BLOCK:
        return []
    unit = np.concatenate([[0], np.cumsum(np.abs(x) == _ONE)])
    zero = np.concatenate([[0], np.cumsum(x == 0)])
    starts = np.arange(len(x) - _BLOCK + 1)
    whole = (unit[starts + _BITS] - unit[starts] == _BITS) & (
        zero[starts + _BLOCK] - zero[starts + _BITS] == _BLOCK - _BITS
    )
    return np.flatnonzero(whole).tolist()
