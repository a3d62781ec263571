# SPDX-License-Identifier: MIT
"""Announcements: stretches at the head and tail of a recording that sound like a person speaking.

Speech is voiced most of the time: periodic at 80 to 320 Hz, with harmonics above. Per frame of 48 ms the shortest
strong period of the autocorrelation is taken (a whistle has a shorter one, noise has none); a second in which
enough frames are voiced and their pitch moves as a voice does counts as speech.
"""

from __future__ import annotations

import numpy as np

_FRAME_S = 0.048
_HOP_S = 0.016
_EDGE_S = 15.0  # announcements are looked for this far from either end
_LEAST_S = 8.0  # shorter recordings have none
_PITCH_HZ = (75.0, 330.0)
_PERIODIC = 0.6
_VOICED_PART = 0.25
_RATE_HZ = 4000.0


class SpeechMeter:
    """Streaming detector of announcements; :meth:`push` blocks of int16 samples, then :meth:`stretches`."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._rate = sample_rate_hz
        self._edge = round(_EDGE_S * sample_rate_hz)
        self._head: list[np.ndarray] = []
        self._tail = np.zeros(0, np.int16)
        self._samples = 0

    def push(self, pcm: np.ndarray) -> None:
        """Take int16 samples, shape (n,)."""
        if self._samples < self._edge:
            self._head.append(pcm[: self._edge - self._samples].copy())
        self._samples += len(pcm)
        self._tail = np.concatenate([self._tail, pcm])[-self._edge :]

    def stretches(self) -> tuple[tuple[float, float], ...]:
        """Return ``(start_s, end_s)`` of speech-like stretches, in order."""
        if self._samples < _LEAST_S * self._rate:
            return ()
        head = np.concatenate(self._head)
        found = speech_stretches(head, self._rate)
        if self._samples > self._edge:
            begin = self._samples - len(self._tail)
            tail = self._tail[max(0, len(head) - begin) :]
            begin = self._samples - len(tail)
            found += [
                (start + begin / self._rate, end + begin / self._rate)
                for start, end in speech_stretches(tail, self._rate)
            ]
        return tuple(found)


def voiced_frames(pcm: np.ndarray, sample_rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(voiced (frames,) bool, pitch_hz (frames,))`` of int16 samples, frames every 16 ms."""
    step = max(1, round(sample_rate_hz / _RATE_HZ))
    rate = sample_rate_hz / step
    x = pcm[: len(pcm) // step * step].reshape(-1, step).mean(axis=1)  # a plain low-pass is enough for pitch
    size, hop = round(_FRAME_S * rate), round(_HOP_S * rate)
    if len(x) < size:
        return np.zeros(0, bool), np.zeros(0)
    frames = np.lib.stride_tricks.sliding_window_view(x, size)[::hop]
    frames = frames - frames.mean(axis=1, keepdims=True)
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(size), 2 * size, axis=1)) ** 2
    bin_hz = rate / (2 * size)
    spectrum[:, : int(60 / bin_hz)] = 0  # rumble
    correlation = np.fft.irfft(spectrum, axis=1)[:, :size]
    taper = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(size), 2 * size)) ** 2)[:size]
    correlation = correlation / np.maximum(correlation[:, :1], 1e-9) / np.maximum(taper / taper[0], 0.05)
    low, high = int(rate / 1200), min(int(rate / _PITCH_HZ[0]) + 1, size - 1)
    part = correlation[:, low : high + 1]
    peak = part[:, 1:-1] >= np.maximum(part[:, :-2], part[:, 2:])
    height = np.where(peak, part[:, 1:-1], -1)
    best = height.max(axis=1)
    first = np.argmax(height >= 0.87 * best[:, None], axis=1)
    pitch = rate / (first + 1 + low)
    cumulative = np.cumsum(spectrum, axis=1)
    total = np.maximum(cumulative[:, -1], 1e-9)
    rows = np.arange(len(pitch))
    above = 1 - cumulative[rows, np.minimum((1.5 * pitch / bin_hz).astype(int), spectrum.shape[1] - 1)] / total
    power = frames.var(axis=1)
    loud = power > 10 * np.percentile(power, 10) + 4
    voiced = (best > _PERIODIC) & (pitch >= _PITCH_HZ[0]) & (pitch <= _PITCH_HZ[1]) & (above > 0.1) & loud
    return voiced, pitch


def speech_stretches(pcm: np.ndarray, sample_rate_hz: int) -> list[tuple[float, float]]:
    """Return the stretches of samples (n,) int16 that sound like speech, s, at least a second each."""
    voiced, pitch = voiced_frames(pcm, sample_rate_hz)
    span = round(1.0 / _HOP_S)
    if len(voiced) < span // 2:
        return []
    inside = np.zeros(len(voiced), bool)
    for begin in range(0, max(1, len(voiced) - span + 1), span // 4):
        here = slice(begin, begin + span)
        mine = voiced[here]
        if mine.mean() < _VOICED_PART:
            continue
        notes = np.log2(pitch[here][mine])
        moves = np.abs(np.diff(notes))
        # a voice glides: it is neither a machine's fixed note nor random
        if 0.02 < np.percentile(notes, 90) - np.percentile(notes, 10) < 1.2 and np.median(moves) < 0.12:
            inside[here] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inside.astype(np.int8), [0]]))).reshape(-1, 2)
    return [(first * _HOP_S, (last - 1) * _HOP_S + _FRAME_S) for first, last in edges.tolist()]
