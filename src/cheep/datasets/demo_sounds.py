# SPDX-License-Identifier: MIT
"""Sounds for the demo data set: three bird-like voices, look-alikes, and procedural backgrounds.

Everything is computed from a ``numpy.random.Generator``; nothing is recorded. Waveforms are
float64, mono, at :data:`SAMPLE_RATE_HZ`, of arbitrary level: the caller sets the level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SAMPLE_RATE_HZ = 8000
VOICES = ("buzzer", "triller", "whistler")
BACKGROUNDS = ("wind", "rain", "insects", "hum", "babble")


@dataclass(frozen=True)
class Individual:
    """One singing animal: its voice and what is constant about its song."""

    voice: str
    pitch_hz: float
    interval: float  # whistler: second note / first; buzzer: end / start; triller: sweep of a note / pitch
    tempo: float  # relative speed, around 1
    repeats: int
    roughness: float  # 0..1


def draw_individual(voice: str, rng: np.random.Generator) -> Individual:
    """Draw one individual of ``voice`` (one of :data:`VOICES`)."""
    if voice == "whistler":
        return Individual(
            voice,
            rng.uniform(2100, 3100),
            rng.uniform(0.74, 0.90),
            rng.uniform(0.75, 1.35),
            int(rng.integers(1, 4)),
            rng.uniform(0, 1),
        )
    if voice == "triller":
        return Individual(
            voice,
            rng.uniform(2500, 3450),
            rng.uniform(0.08, 0.2),
            rng.uniform(0.75, 1.35),
            int(rng.integers(9, 22)),
            rng.uniform(0, 1),
        )
    if voice == "buzzer":
        return Individual(
            voice,
            rng.uniform(2700, 3500),
            rng.uniform(0.45, 0.68),
            rng.uniform(0.75, 1.35),
            int(rng.integers(1, 4)),
            rng.uniform(0, 1),
        )
    raise ValueError(f"voice={voice!r}: must be one of {', '.join(VOICES)}")


def sing(bird: Individual, rng: np.random.Generator) -> np.ndarray:
    """Return one phrase of ``bird``, (n,) float64, 0.2 to 2 s long: no two are equal."""
    return {"whistler": _whistle, "triller": _trill, "buzzer": _buzz}[bird.voice](bird, rng)


def _whistle(bird: Individual, rng: np.random.Generator) -> np.ndarray:
    parts = []
    for _ in range(max(1, bird.repeats + int(rng.integers(-1, 2)))):
        for ratio in (1.0, bird.interval):
            seconds = 0.2 / bird.tempo * rng.uniform(0.85, 1.15)
            pitch = bird.pitch_hz * ratio * rng.uniform(0.985, 1.015)
            n = int(seconds * SAMPLE_RATE_HZ)
            t = np.arange(n) / SAMPLE_RATE_HZ
            glide = 1 + 0.02 * (bird.roughness - 0.5) * np.linspace(-1, 1, n)
            vibrato = 1 + 0.004 * bird.roughness * np.sin(2 * np.pi * 28 * t)
            parts += [_tone(pitch * glide * vibrato) * _swell(n, 0.02), _silence(rng.uniform(0.03, 0.07) / bird.tempo)]
        parts.append(_silence(0.08 / bird.tempo))
    return np.concatenate(parts)


def _trill(bird: Individual, rng: np.random.Generator) -> np.ndarray:
    period = 0.055 / bird.tempo
    n = int(0.7 * period * SAMPLE_RATE_HZ)
    gap = int(period * SAMPLE_RATE_HZ) - n
    notes = max(6, bird.repeats + int(rng.integers(-3, 4)))
    sweep = np.linspace(1 + bird.interval / 2, 1 - bird.interval / 2, n)
    parts = []
    for index in range(notes):
        pitch = bird.pitch_hz * (1 - 0.04 * bird.roughness * index / notes) * rng.uniform(0.995, 1.005)
        loud = 0.5 + 0.5 * np.sin(np.pi * (index + 1) / (notes + 1))
        parts += [loud * _tone(pitch * sweep) * _swell(n, 0.006), np.zeros(gap)]
    return np.concatenate(parts)


def _buzz(bird: Individual, rng: np.random.Generator) -> np.ndarray:
    parts = []
    for _ in range(max(1, bird.repeats + int(rng.integers(-1, 2)))):
        n = int(0.34 / bird.tempo * rng.uniform(0.85, 1.15) * SAMPLE_RATE_HZ)
        t = np.arange(n) / SAMPLE_RATE_HZ
        track = bird.pitch_hz * rng.uniform(0.97, 1.03) * bird.interval ** np.linspace(0, 1, n)
        rate = 95 + 50 * bird.roughness
        pulses = np.maximum(0, np.sin(2 * np.pi * rate * rng.uniform(0.97, 1.03) * t)) ** (1 + 2 * bird.roughness)
        wave = _tone(track) + 0.45 * _tone(track / 2) + 0.2 * _tone(track * 1.5)
        parts += [wave * (0.15 + pulses) * _swell(n, 0.03), _silence(rng.uniform(0.08, 0.14) / bird.tempo)]
    return np.concatenate(parts)


def look_alike(rng: np.random.Generator) -> np.ndarray:
    """Return a sound that is none of the voices but resembles one, (n,) float64: what fools a detector."""
    kind = int(rng.integers(0, 6))
    if kind == 0:  # steady or rising whistle: a person, a kettle, another bird
        n = int(rng.uniform(0.2, 0.7) * SAMPLE_RATE_HZ)
        return _tone(rng.uniform(1500, 3200) * np.linspace(1, rng.uniform(1.0, 1.25), n)) * _swell(n, 0.03)
    if kind == 1:  # slow chips
        pitch, period = rng.uniform(2300, 3500), int(rng.uniform(0.12, 0.25) * SAMPLE_RATE_HZ)
        n = int(0.04 * SAMPLE_RATE_HZ)
        chip = np.concatenate([_tone(pitch * np.linspace(1.12, 0.9, n)) * _swell(n, 0.008), np.zeros(period - n)])
        return np.tile(chip, int(rng.integers(3, 8)))
    if kind == 2:  # rising buzz
        n = int(rng.uniform(0.25, 0.5) * SAMPLE_RATE_HZ)
        track = rng.uniform(1300, 2000) * np.linspace(1, rng.uniform(1.4, 1.9), n)
        pulses = np.maximum(0, np.sin(2 * np.pi * rng.uniform(80, 150) * np.arange(n) / SAMPLE_RATE_HZ))
        return (_tone(track) + 0.4 * _tone(track / 2)) * (0.15 + pulses) * _swell(n, 0.03)
    if kind == 3:  # electronic beeps, all at one pitch
        n, gap = int(rng.uniform(0.08, 0.2) * SAMPLE_RATE_HZ), int(rng.uniform(0.06, 0.2) * SAMPLE_RATE_HZ)
        beep = np.concatenate([_tone(np.full(n, rng.uniform(1800, 3000))) * _swell(n, 0.003), np.zeros(gap)])
        return np.tile(beep, int(rng.integers(2, 6)))
    if kind == 4:  # squeaking hinge: falling, harmonic, not pulsed
        n = int(rng.uniform(0.25, 0.6) * SAMPLE_RATE_HZ)
        track = rng.uniform(900, 1500) * np.linspace(1, rng.uniform(0.6, 0.85), n)
        return (_tone(track) + 0.7 * _tone(2 * track) + 0.3 * _tone(2.5 * track)) * _swell(n, 0.05)
    n = int(rng.uniform(0.3, 0.9) * SAMPLE_RATE_HZ)  # cricket-like pulses: fast, narrow, level
    pulses = np.maximum(0, np.sin(2 * np.pi * rng.uniform(28, 45) * np.arange(n) / SAMPLE_RATE_HZ))
    return _tone(np.full(n, rng.uniform(2900, 3700))) * pulses * _swell(n, 0.02)


def place(phrase: np.ndarray, distance: float, rng: np.random.Generator) -> np.ndarray:
    """Return ``phrase`` heard from ``distance`` (0 near .. 1 far), with its reverberation, (n + tail,) float64.

    Air and leaves take up to 12 dB at 4 kHz; the reverberant part grows to half of the amplitude.
    """
    tail = int((0.08 + 0.35 * distance) * SAMPLE_RATE_HZ)
    echo = rng.standard_normal(tail) * np.exp(-6.0 * np.arange(tail) / tail)
    echo *= (0.05 + 0.45 * distance) / np.sqrt(np.sum(echo**2))
    echo[0] += 1.0
    n = len(phrase) + tail
    size = _fft_size(n)
    frequency = np.fft.rfftfreq(size, 1 / SAMPLE_RATE_HZ)
    air = 10 ** (-12 * distance * (frequency / 4000) ** 2 / 20)
    return np.fft.irfft(np.fft.rfft(phrase, size) * np.fft.rfft(echo, size) * air, size)[:n]


def background(kinds: tuple[str, ...], n: int, rng: np.random.Generator) -> np.ndarray:
    """Return ``n`` samples of the named backgrounds over a soft hiss, (n,) float64, root mean square 1."""
    total = 0.3 * _unit(_shaped_noise(n, rng, lambda f: 1 / np.sqrt(f + 200)))
    for kind in kinds:
        total = total + rng.uniform(0.4, 1.0) * _unit(_BACKGROUND[kind](n, rng))
    return _unit(total)


def _wind(n: int, rng: np.random.Generator) -> np.ndarray:
    gusts = 0.3 + np.abs(_slow(n, 0.6, rng))
    leaves = _shaped_noise(n, rng, lambda f: (f > 700) / (1 + (f / 2500) ** 2))
    return gusts * _shaped_noise(n, rng, lambda f: 1 / (1 + (f / 120) ** 2)) + 0.02 * gusts**2 * leaves


def _rain(n: int, rng: np.random.Generator) -> np.ndarray:
    hiss = _shaped_noise(n, rng, lambda f: (f / 1500) / (1 + (f / 2500) ** 2))
    drops = np.zeros(n)
    at = rng.integers(0, n, size=int(n / SAMPLE_RATE_HZ * rng.uniform(15, 60)))
    np.add.at(drops, at, rng.exponential(1.0, len(at)) * rng.choice([-1.0, 1.0], len(at)))
    ring = np.exp(-np.arange(160) / 25) * np.sin(2 * np.pi * rng.uniform(900, 2200) * np.arange(160) / SAMPLE_RATE_HZ)
    return _unit(hiss) + _unit(_convolve(drops, ring))


def _insects(n: int, rng: np.random.Generator) -> np.ndarray:
    t = np.arange(n) / SAMPLE_RATE_HZ
    total = np.zeros(n)
    for _ in range(int(rng.integers(1, 4))):
        pulses = np.maximum(0, np.sin(2 * np.pi * rng.uniform(25, 60) * t + rng.uniform(0, 6)))
        chirps = 1 / (1 + np.exp(-8 * np.sin(2 * np.pi * rng.uniform(0.4, 2.5) * t + rng.uniform(0, 6))))
        pitch = rng.uniform(2900, 3850) * (1 + 0.002 * _slow(n, 2.0, rng))
        total += rng.uniform(0.3, 1) * _tone(pitch) * pulses * chirps
    return total


def _hum(n: int, rng: np.random.Generator) -> np.ndarray:
    base = rng.choice([50.0, 60.0]) * rng.uniform(0.998, 1.002)
    t = np.arange(n) / SAMPLE_RATE_HZ
    total = np.zeros(n)
    for harmonic in range(1, 25):
        total += rng.uniform(0.2, 1) / harmonic**0.8 * np.sin(2 * np.pi * base * harmonic * t + rng.uniform(0, 6))
    return total * (1 + 0.1 * _slow(n, 0.5, rng))


def _babble(n: int, rng: np.random.Generator) -> np.ndarray:
    """Several talkers: a pulse train with a wandering pitch through three moving formants, in syllables."""
    total = np.zeros(n)
    coarse = np.arange(0, n + 32, 32)  # gains move slowly: every 4 ms is enough
    for _ in range(int(rng.integers(1, 4))):
        pitch = rng.uniform(95, 230) * (1 + 0.12 * _slow(n, 1.5, rng))
        slow_pitch = np.interp(coarse, np.arange(n), pitch)
        phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE_HZ
        formants = [f * (1 + 0.25 * _slow(len(coarse), 96.0, rng)) for f in (550.0, 1400.0, 2500.0)]
        wave, twice_cosine = np.zeros(n), 2 * np.cos(phase)
        before, now = np.zeros(n), np.sin(phase)
        for harmonic in range(1, 28):
            frequency = slow_pitch * harmonic
            gain = sum(1 / (1 + ((frequency - f) / 110) ** 2) / (k + 1) for k, f in enumerate(formants))
            wave += np.interp(np.arange(n), coarse, gain * (frequency < 3800)) * now
            before, now = now, twice_cosine * now - before
        wave += 0.15 * rng.standard_normal(n)
        total += rng.uniform(0.4, 1) * wave * np.maximum(0, _slow(n, 4.0, rng) + 0.3)
    return total


_BACKGROUND: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "wind": _wind,
    "rain": _rain,
    "insects": _insects,
    "hum": _hum,
    "babble": _babble,
}


def _tone(frequency: np.ndarray) -> np.ndarray:
    """Return a sine that follows ``frequency`` (n,) Hz; what would pass 3.9 kHz is silent."""
    return np.sin(2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE_HZ) * (frequency < 3900)


def _swell(n: int, seconds: float) -> np.ndarray:
    """Return an envelope of ``n`` samples with raised-cosine flanks."""
    edge = max(1, min(int(seconds * SAMPLE_RATE_HZ), n // 2))
    envelope = np.ones(n)
    flank = 0.5 - 0.5 * np.cos(np.pi * (np.arange(edge) + 0.5) / edge)
    envelope[:edge] = flank
    envelope[n - edge :] = flank[::-1]
    return envelope


def _silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * SAMPLE_RATE_HZ))


def _unit(x: np.ndarray) -> np.ndarray:
    return x / max(1e-12, float(np.sqrt(np.mean(x**2))))


def _slow(n: int, rate_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Return a smooth random curve of ``n`` samples, about normal, changing ``rate_hz`` times a second."""
    points = rng.standard_normal(int(n / SAMPLE_RATE_HZ * rate_hz * 2) + 3)
    at = np.linspace(0, len(points) - 1.000001, n)
    left = at.astype(np.int64)
    part = 0.5 - 0.5 * np.cos(np.pi * (at - left))
    return points[left] * (1 - part) + points[left + 1] * part


def _shaped_noise(n: int, rng: np.random.Generator, gain: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    size = _fft_size(n)
    spectrum = np.fft.rfft(rng.standard_normal(size))
    frequency = np.fft.rfftfreq(size, 1 / SAMPLE_RATE_HZ)
    return np.fft.irfft(spectrum * gain(frequency), size)[:n]


def _convolve(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    size = _fft_size(len(x) + len(kernel))
    return np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(kernel, size), size)[: len(x)]


def _fft_size(n: int) -> int:
    """Return the least size of the form 2^k or 3 * 2^k that holds ``n``."""
    power = 1 << max(1, (n - 1).bit_length())
    return power * 3 // 4 if power * 3 // 4 >= n else power
