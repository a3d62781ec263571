# SPDX-License-Identifier: MIT
"""The reference set that ``cheep mic probe`` plays: sync chirps, silence, sweep, tones, noise bursts, calls."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from cheep.audio import resample

MASTER_RATE_HZ = 48000
SYNC_S = 0.25
SYNC_HZ = (600.0, 3200.0)
TONE_HZ = 1000.0
TONE_STEPS_DB = (-40.0, -30.0, -20.0, -12.0, -6.0, -3.0)
SWEEP_HZ = (60.0, 20000.0)


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of the set: name, start and length in s."""

    name: str
    start_s: float
    length_s: float


def parts() -> tuple[Part, ...]:
    """Return the parts in order; the first and the last are the sync chirps."""
    plan = [("sync", SYNC_S, 0.5), ("silence", 2.0, 0.0), ("sweep", 5.0, 0.3)]
    plan += [(f"tone{round(level)}", 0.6, 0.1) for level in TONE_STEPS_DB]
    plan += [("noise", 0.4, 0.3)] * 3 + [("calls", 3.0, 0.5), ("sync2", SYNC_S, 0.5)]
    out, at = [], 0.3
    for name, length, pause in plan:
        out.append(Part(name, at, length))
        at += length + pause
    return tuple(out)


def part(name: str) -> Part:
    """Return the first part of that name."""
    return next(item for item in parts() if item.name == name)


def duration_s() -> float:
    """Return the length of the set, s."""
    last = parts()[-1]
    return last.start_s + last.length_s + 0.5


def reference(sample_rate_hz: int) -> np.ndarray:
    """Return the set at a rate, (n,) float32 within -1..1; the same samples every time."""
    master = _master()
    return master if sample_rate_hz == MASTER_RATE_HZ else resample(master, MASTER_RATE_HZ, sample_rate_hz)


def sync_chirp(sample_rate_hz: int) -> np.ndarray:
    """Return one sync chirp at a rate, (n,) float64 within -1..1."""
    return _fade(_chirp(*SYNC_HZ, SYNC_S, sample_rate_hz, logarithmic=False), 0.02, sample_rate_hz)


@functools.cache
def _master() -> np.ndarray:
    rate = MASTER_RATE_HZ
    rng = np.random.default_rng(20)
    out = np.zeros(round(duration_s() * rate))
    for item in parts():
        n = round(item.length_s * rate)
        t = np.arange(n) / rate
        if item.name.startswith("sync"):
            sound = 0.5 * sync_chirp(rate)
        elif item.name == "sweep":
            sound = 0.25 * _fade(_chirp(*SWEEP_HZ, item.length_s, rate, logarithmic=True), 0.05, rate)
        elif item.name.startswith("tone"):
            sound = _fade(10 ** (float(item.name[4:]) / 20) * np.sin(2 * np.pi * TONE_HZ * t), 0.02, rate)
        elif item.name == "noise":
            sound = _fade(0.1 * rng.normal(0, 1, n).clip(-3, 3), 0.02, rate)
        elif item.name == "calls":
            sound = 0.3 * _calls(t)
        else:
            sound = np.zeros(n)
        first = round(item.start_s * rate)
        out[first : first + n] += sound[:n]
    out.setflags(write=False)
    return out.astype(np.float32)


def _chirp(low: float, high: float, seconds: float, rate: int, logarithmic: bool) -> np.ndarray:
    t = np.arange(round(seconds * rate)) / rate
    if logarithmic:
        k = np.log(high / low)
        phase = 2 * np.pi * low * seconds / k * (np.exp(t / seconds * k) - 1)
    else:
        phase = 2 * np.pi * (low * t + (high - low) * t**2 / (2 * seconds))
    return np.sin(phase)


def _calls(t: np.ndarray) -> np.ndarray:
    out = np.zeros_like(t)
    for i, start in enumerate(np.arange(0.1, 2.8, 0.3)):
        inside = (t >= start) & (t < start + 0.15)
        u = (t[inside] - start) / 0.15
        sweep = 2200 + 250 * (i % 4) + 700 * np.sin(np.pi * u)
        out[inside] = np.sin(2 * np.pi * np.cumsum(sweep) / MASTER_RATE_HZ) * np.sin(np.pi * u) ** 2
    return out


def _fade(sound: np.ndarray, seconds: float, rate: int) -> np.ndarray:
    n = min(round(seconds * rate), len(sound) // 2)
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(n) / max(1, n))
    sound = sound.copy()
    sound[:n] *= ramp
    sound[len(sound) - n :] *= ramp[::-1]
    return sound
