# SPDX-License-Identifier: MIT
"""Synthesized sounds that a bird detector takes for birds: sirens, beeps, Morse, crickets, squeaks, barks, engines, ...

Everything is computed from a ``numpy.random.Generator``; nothing is recorded, and no two sounds are equal. They are
background to train on (``data.synthetic_background``), never to judge by. Waveforms are float64, mono, at any rate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

_NYQUIST_SHARE = 0.95  # a partial above this share of half the rate is left out
_Maker = Callable[[int, int, np.random.Generator], np.ndarray]


def nuisance(kind: str, n_samples: int, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
    """Return one recording of ``kind`` (of :data:`KINDS`), (n_samples,) float64 within -1..1.

    The sound stands over coloured noise at 0 to 40 dB, more or less far away, through a microphone of its own, at a
    level between -50 and -12 dB of full scale.
    """
    sound = _far(KINDS[kind](n_samples, rate_hz, rng), rate_hz, rng)
    sound = _unit(sound, np.abs(sound) > 0.1 * np.abs(sound).max(initial=1e-9))
    slope = rng.uniform(-1.2, 0.0)
    floor = _unit(_noise(n_samples, rate_hz, rng, lambda f: (f + 80.0) ** slope))
    total = _microphone(sound + floor * 10 ** (-rng.uniform(0, 40) / 20), rate_hz, rng)
    total *= 10 ** (rng.uniform(-50, -12) / 20) / max(1e-9, float(np.sqrt(np.mean(total**2))))
    return np.clip(total, -1.0, 1.0)


# -- the sounds: (samples, rate, generator) -> (n,) float64 ----------------------------------------


def _siren(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Wail, yelp, or two tones; horns add partials, passing by bends the pitch."""
    t = np.arange(n) / rate
    low, high = rng.uniform(400, 800), rng.uniform(1000, 1800)
    style = rng.integers(0, 3)
    speed = (rng.uniform(0.1, 0.5), rng.uniform(2, 5), rng.uniform(0.4, 1.5))[style]
    phase = (t * speed + rng.uniform()) % 1
    if style == 2:
        high = low * rng.uniform(1.2, 1.5)
        shape = (phase < 0.5).astype(float)
    else:
        shape = 0.5 - 0.5 * np.cos(2 * np.pi * phase) if rng.uniform() < 0.6 else phase
    track = low * (high / low) ** shape
    track = track * (1 - rng.uniform(-0.06, 0.06) * np.tanh((t - rng.uniform(0, n / rate)) * 2))
    return _partials(track, rate, rng.uniform(0.5, 2.5), int(rng.integers(2, 9)), rng) * (
        0.6 + 0.4 * _slow(n, 0.7, rate, rng)
    )


def _beep(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Alarms, reversing lorries, telephones, microwave ovens: one or two pitches, in even time."""
    pitch = rng.uniform(600, 4500, int(rng.integers(1, 3)))
    on, off = rng.uniform(0.03, 0.6), rng.uniform(0.03, 0.7)
    burst, pause = int(rng.integers(1, 6)), rng.uniform(0, 1.5)
    parts: list[np.ndarray] = []
    at = 0
    while sum(map(len, parts)) < n:
        m = int(on * rate)
        wave = _partials(np.full(m, pitch[at % len(pitch)]), rate, 3.0, int(rng.integers(1, 5)), rng)
        at += 1
        parts += [wave * _edges(m, 0.004, rate), np.zeros(int((off + (0 if at % burst else pause)) * rate))]
    return _cut(parts, n, rng)


def _morse(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """A keyed tone: dots and dashes at 8 to 30 words a minute, over the crackle of a receiver."""
    dot, pitch = 1.2 / rng.uniform(8, 30), rng.uniform(400, 2500)
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < n:
        for _ in range(int(rng.integers(1, 5))):
            m = int(dot * (1 if rng.uniform() < 0.55 else 3) * rate)
            parts += [
                np.sin(2 * np.pi * pitch * np.arange(m) / rate) * _edges(m, 0.005, rate),
                np.zeros(int(dot * rate)),
            ]
        parts.append(np.zeros(int(dot * (2 if rng.uniform() < 0.75 else 6) * rate)))
    receiver = _noise(n, rate, rng, lambda f: ((f > 200) & (f < 3000)).astype(float))
    return _cut(parts, n, rng) + rng.uniform(0, 0.3) * _unit(receiver)


def _cricket(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Crickets, bush-crickets, cicadas: pulses of a narrow band, in chirps or without an end, one to four animals."""
    t, total = np.arange(n) / rate, np.zeros(n)
    for _ in range(int(rng.integers(1, 5))):
        pitch = rng.uniform(1800, min(7600, 0.47 * rate)) * (1 + 0.003 * _slow(n, 2.0, rate, rng))
        pulses = np.maximum(0, np.sin(2 * np.pi * rng.uniform(12, 110) * t + rng.uniform(0, 6))) ** rng.uniform(0.5, 3)
        if rng.uniform() < 0.65:  # chirps of some pulses
            pulses = pulses / (
                1
                + np.exp(
                    -9 * (np.sin(2 * np.pi * rng.uniform(0.4, 5) * t + rng.uniform(0, 6)) - rng.uniform(-0.6, 0.6))
                )
            )
        wave = np.sin(2 * np.pi * np.cumsum(pitch) / rate)
        if rng.uniform() < 0.3:  # cicadas: a band of noise
            wave = wave * _slow(n, rng.uniform(100, 400), rate, rng)
        total += rng.uniform(0.2, 1) * wave * pulses
    return total


def _trill(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Ringing telephones, referee's whistles with a pea, ratchets, vibrating springs: even, mechanical trills."""
    t, style = np.arange(n) / rate, rng.integers(0, 3)
    if style == 0:  # two bells struck in turn
        speed, pitch = rng.uniform(12, 28), rng.uniform(900, 3200)
        struck = np.exp(-6 * ((t * speed) % 1))
        wave = struck * (np.sin(2 * np.pi * pitch * t) + 0.7 * np.sin(2 * np.pi * pitch * rng.uniform(1.05, 1.6) * t))
        return wave * _rhythm(n, rate, rng.uniform(0.3, 2), rng.uniform(0.3, 3), rng)
    if style == 1:  # a pea in a whistle
        pitch, speed = rng.uniform(1900, 4200), rng.uniform(18, 60)
        track = pitch * (1 + rng.uniform(0.005, 0.04) * np.sin(2 * np.pi * speed * t))
        wave = (np.sin(2 * np.pi * np.cumsum(track) / rate)) * (0.6 + 0.4 * np.sin(2 * np.pi * speed * t))
        return wave * _rhythm(n, rate, rng.uniform(0.1, 1.2), rng.uniform(0.1, 1.5), rng)
    teeth = rng.uniform(10, 60) * (1 + rng.uniform(0, 0.4) * _slow(n, 1.0, rate, rng))
    clicks = np.diff(np.floor(np.cumsum(teeth) / rate), prepend=0.0)
    ring = _ring(rate, rng.uniform(1200, 0.45 * rate), rng.uniform(0.002, 0.02))
    return _convolve(clicks, ring) * _rhythm(n, rate, rng.uniform(0.2, 2), rng.uniform(0.1, 1.5), rng)


def _squeak(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Hinges, brakes, swings, shoes, dogs' toys: a harmonic pitch that slides and breaks."""
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < n:
        m = int(rng.uniform(0.06, 0.9) * rate)
        base = rng.uniform(500, 3200)
        curve = np.interp(np.linspace(0, 1, m), np.linspace(0, 1, 4), rng.uniform(0.7, 1.4, 4))
        track = base * curve * (1 + 0.01 * _slow(m, rng.uniform(10, 60), rate, rng))
        wave = _partials(track, rate, rng.uniform(0.3, 1.5), int(rng.integers(2, 7)), rng)
        stick = 1 + rng.uniform(0, 1) * np.sign(np.sin(2 * np.pi * rng.uniform(20, 90) * np.arange(m) / rate))
        parts += [wave * stick * _edges(m, 0.03, rate), np.zeros(int(rng.uniform(0.05, 1.2) * rate))]
    return _cut(parts, n, rng)


def _bark(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Dogs: bursts with a falling, rough pitch through a resonance of the mouth; small ones yap, some whine."""
    base, mouth = rng.uniform(180, 900), rng.uniform(600, 2200)
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < n:
        whine = rng.uniform() < 0.15
        m = int((rng.uniform(0.3, 1.0) if whine else rng.uniform(0.08, 0.3)) * rate)
        bow = np.sin(np.pi * np.linspace(0.15, 1, m))
        track = (base * (2.2 if whine else 1)) * (0.7 + 0.5 * bow) * rng.uniform(0.92, 1.08)
        wave = _partials(track, rate, 0.6, 16, rng, lambda f: 1 / (1 + ((f - mouth) / 500) ** 2) + 0.1)
        rough = 0.0 if whine else rng.uniform(0.1, 0.8)
        wave = wave + rough * _unit(_noise(m, rate, rng, lambda f: 1 / (1 + ((f - mouth) / 900) ** 2))) * np.std(wave)
        parts += [wave * bow, np.zeros(int(rng.exponential(0.35) * rate) + int(0.06 * rate))]
    return _cut(parts, n, rng)


def _engine(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Engines, saws, drills, fans, turbines: many partials of a speed that wanders, with tooth and bearing whine."""
    t = np.arange(n) / rate
    base = rng.uniform(18, 220) * (1 + rng.uniform(0.01, 0.25) * _slow(n, rng.uniform(0.2, 1.5), rate, rng))
    wave = _partials(base, rate, rng.uniform(0.4, 1.2), int(rng.integers(12, 40)), rng)
    whine = rng.integers(0, 3)
    for _ in range(int(whine)):
        ratio = rng.uniform(6, 40)
        wave = wave + rng.uniform(0.1, 1.2) * np.std(wave) * _partials(base * ratio, rate, 1.0, 3, rng)
    puff = 1 + rng.uniform(0, 0.9) * np.sin(2 * np.pi * np.cumsum(base) / rate / rng.integers(1, 5))
    hiss = _unit(_noise(n, rate, rng, lambda f: 1 / (1 + (f / 1500) ** 2)))
    return (wave + rng.uniform(0.05, 1.0) * np.std(wave) * hiss) * puff * (1 + 0.3 * np.sin(2 * np.pi * 0.2 * t))


def _chime(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Wind chimes, bells, glasses, coins, music boxes: partials that are no multiples, struck and left to ring."""
    out, bars = np.zeros(n), rng.uniform(500, 3500, int(rng.integers(1, 7)))
    decay = 10 ** rng.uniform(-1.5, 0.2)
    for at in rng.integers(0, n, max(1, int(n / rate * rng.uniform(0.7, 8)))):
        pitch, m = rng.choice(bars), n - int(at)
        t = np.arange(min(m, int(4 * decay * rate) + 1)) / rate
        for ratio, gain in ((1.0, 1.0), (2.76, 0.6), (5.4, 0.3), (8.93, 0.15)):
            if pitch * ratio < _NYQUIST_SHARE * rate / 2:
                out[at : at + len(t)] += (
                    rng.uniform(0.2, 1) * gain * np.exp(-t * ratio**0.5 / decay) * np.sin(2 * np.pi * pitch * ratio * t)
                )
    return out


def _horn(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Car and train horns: two or three reeds at once, steady, with an even end."""
    base = rng.uniform(180, 700)
    chord = base * np.array([1.0, *rng.uniform(1.1, 1.6, int(rng.integers(0, 3)))])
    wave = sum(_partials(np.full(n, pitch), rate, rng.uniform(0.2, 0.9), 14, rng) for pitch in chord)
    return wave * _rhythm(n, rate, rng.uniform(0.15, 2.5), rng.uniform(0.2, 1.5), rng)


def _voice(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Talk, shouts, laughter, babies: a gliding pitch through three moving formants, in syllables."""
    child = rng.uniform() < 0.5
    base = rng.uniform(250, 620) if child else rng.uniform(90, 260)
    pitch = base * (1 + rng.uniform(0.05, 0.25) * _slow(n, rng.uniform(1, 3), rate, rng))
    scale = rng.uniform(1.1, 1.4) if child else rng.uniform(0.9, 1.1)
    formants = [scale * f * (1 + 0.2 * _slow(n, 4.0, rate, rng)) for f in (600.0, 1500.0, 2700.0)]
    wave = np.zeros(n)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    for harmonic in range(1, 26):
        frequency = harmonic * pitch
        gain = sum(1 / (1 + ((frequency - f) / 130) ** 2) / (k + 1) for k, f in enumerate(formants))
        wave += gain * (frequency < _NYQUIST_SHARE * rate / 2) * np.sin(harmonic * phase)
    hiss = _noise(n, rate, rng, lambda f: (f > 3000).astype(float))
    wave = wave * np.maximum(0, _slow(n, rng.uniform(2, 5), rate, rng) + 0.4)
    return wave + 0.3 * np.std(wave) * _unit(hiss) * np.maximum(0, _slow(n, 4.0, rate, rng) - 0.4)


def _music(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Fiddles, flutes, organs, synthesizers, people who whistle: notes of a scale, held, with vibrato and chords."""
    scale = np.array([0, 2, 4, 5, 7, 9, 11, 12, 14, 16])
    root = rng.uniform(180, 900) * (2.5 if rng.uniform() < 0.25 else 1.0)
    partials, fall = int(rng.integers(1, 12)), rng.uniform(0.5, 2.5)
    total = np.zeros(n)
    for _ in range(int(rng.integers(1, 4))):
        parts: list[np.ndarray] = []
        step = rng.uniform(0.1, 0.7)
        while sum(map(len, parts)) < n:
            m = max(64, int(step * rng.choice([1, 1, 2, 0.5]) * rate))
            pitch = root * 2 ** (rng.choice(scale) / 12)
            sway = 1 + rng.uniform(0, 0.012) * np.sin(2 * np.pi * rng.uniform(4, 7) * np.arange(m) / rate)
            decay = np.exp(-np.linspace(0, rng.uniform(0, 5), m))
            parts.append(_partials(pitch * sway, rate, fall, partials, rng) * _edges(m, 0.02, rate) * decay)
        total += rng.uniform(0.3, 1) * _cut(parts, n, rng)
    return total


def _clatter(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Knocks, dishes, keys, clocks, steps, hammers, rain on tin: short rings, at random or in even time."""
    clicks = np.zeros(n)
    if rng.uniform() < 0.5:
        at = np.arange(rng.uniform(0, 0.2) * rate, n, rate / rng.uniform(0.8, 14)).astype(int)
    else:
        at = rng.integers(0, n, int(n / rate * rng.uniform(1, 25)) + 1)
    clicks[at] = rng.exponential(1.0, len(at)) + 0.2
    total = np.zeros(n)
    for _ in range(int(rng.integers(1, 4))):
        total += rng.uniform(0.2, 1) * _convolve(
            clicks, _ring(rate, rng.uniform(300, 0.4 * rate), 10 ** rng.uniform(-3, -1))
        )
    return total + rng.uniform(0, 0.5) * np.std(total) * _convolve(clicks, rng.standard_normal(rate // 50))


def _rustle(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Wind, leaves, clothes, water, traffic, applause: noise of a colour, in gusts or bursts."""
    low, high = np.sort(rng.uniform(50, 0.45 * rate, 2))
    band = _unit(_noise(n, rate, rng, lambda f: 1 / (1 + (low / (f + 1)) ** 4) / (1 + (f / high) ** 4)))
    return band * np.maximum(
        0, rng.uniform(0, 1) + np.abs(_slow(n, 10 ** rng.uniform(-0.5, 1.5), rate, rng))
    ) ** rng.uniform(1, 3)


def _loop(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """A short piece of another sound again and again: barks in series, machines, jingles, slices made longer."""
    maker = (_bark, _voice, _clatter, _horn, _squeak, _engine, _music)[int(rng.integers(0, 7))]
    piece = maker(int(rng.uniform(0.12, 1.0) * rate), rate, rng)
    return np.resize(piece * _edges(len(piece), 0.01, rate), n)


#: Kinds of :func:`nuisance`.
KINDS: dict[str, _Maker] = {
    "siren": _siren,
    "beep": _beep,
    "morse": _morse,
    "cricket": _cricket,
    "trill": _trill,
    "squeak": _squeak,
    "bark": _bark,
    "engine": _engine,
    "chime": _chime,
    "horn": _horn,
    "voice": _voice,
    "music": _music,
    "clatter": _clatter,
    "rustle": _rustle,
    "loop": _loop,
}


# -- parts -----------------------------------------------------------------------------------------


def _partials(
    track: np.ndarray,
    rate: int,
    fall: float,
    count: int,
    rng: np.random.Generator,
    resonance: Callable[[float], float] | None = None,
) -> np.ndarray:
    """Return ``count`` multiples of the pitch ``track`` (n,) Hz, the k-th by ``k ** -fall``, (n,) float64."""
    phase, out, top = 2 * np.pi * np.cumsum(track) / rate, np.zeros(len(track)), float(np.max(track, initial=0.0))
    middle = float(np.mean(track)) if len(track) else 0.0
    for k in range(1, count + 1):
        if k * top >= _NYQUIST_SHARE * rate / 2:
            break
        gain = k**-fall * rng.uniform(0.4, 1.0) * (resonance(k * middle) if resonance else 1.0)
        out += gain * np.sin(k * phase + rng.uniform(0, 2 * np.pi))
    return out


def _rhythm(n: int, rate: int, on_s: float, off_s: float, rng: np.random.Generator) -> np.ndarray:
    """Return an envelope of stretches of sound and pauses around so many seconds, (n,) float64."""
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < n:
        m = max(8, int(on_s * rng.uniform(0.7, 1.3) * rate))
        parts += [_edges(m, 0.015, rate), np.zeros(int(off_s * rng.uniform(0.7, 1.3) * rate))]
    return _cut(parts, n, rng)


def _cut(parts: Sequence[np.ndarray], n: int, rng: np.random.Generator) -> np.ndarray:
    """Return ``n`` samples of the parts one after another, from a random place on."""
    whole = np.concatenate(parts)
    return np.roll(whole, -int(rng.integers(0, len(whole))))[:n]


def _edges(n: int, seconds: float, rate: int) -> np.ndarray:
    """Return an envelope of ``n`` samples with raised-cosine flanks."""
    edge = max(1, min(int(seconds * rate), n // 2))
    envelope = np.ones(n)
    flank = 0.5 - 0.5 * np.cos(np.pi * (np.arange(edge) + 0.5) / edge)
    envelope[:edge], envelope[n - edge :] = flank, flank[::-1]
    return envelope


def _slow(n: int, changes_hz: float, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Return a smooth random curve, about normal, that changes so many times a second, (n,) float64."""
    points = rng.standard_normal(int(n / rate * changes_hz * 2) + 3)
    at = np.linspace(0, len(points) - 1.000001, n)
    left = at.astype(np.int64)
    part = 0.5 - 0.5 * np.cos(np.pi * (at - left))
    return points[left] * (1 - part) + points[left + 1] * part


def _ring(rate: int, pitch_hz: float, decay_s: float) -> np.ndarray:
    """Return a decaying tone, (n,) float64."""
    t = np.arange(max(8, int(6 * decay_s * rate))) / rate
    return np.exp(-t / decay_s) * np.sin(2 * np.pi * pitch_hz * t)


def _far(x: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Return ``x`` (n,) from somewhere between near and far: air takes the highs, the room answers."""
    distance = rng.uniform()
    tail = int((0.03 + 0.4 * distance) * rate)
    echo = rng.standard_normal(tail) * np.exp(-6.0 * np.arange(tail) / tail)
    echo *= 0.5 * distance / np.sqrt(np.sum(echo**2))
    echo[0] += 1.0
    size = _fft_size(len(x) + tail)
    air = 10 ** (-12 * distance * np.minimum(1.5, np.fft.rfftfreq(size, 1 / rate) / 4000) ** 2 / 20)
    return np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(echo, size) * air, size)[: len(x)]


def _microphone(x: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Return ``x`` (n,) through a microphone with a smooth random response, some with little below 200 Hz."""
    size = _fft_size(len(x))
    f = np.fft.rfftfreq(size, 1 / rate)
    response = np.cumsum(rng.uniform(-2, 2, 9))
    gains = np.interp(f, np.linspace(0, rate / 2, 9), response - response.mean())
    cut = rng.uniform(20, 250)
    return np.fft.irfft(np.fft.rfft(x, size) * 10 ** (gains / 20) / (1 + (cut / (f + 1)) ** 2), size)[: len(x)]


def _noise(n: int, rate: int, rng: np.random.Generator, gain: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    size = _fft_size(n)
    spectrum = np.fft.rfft(rng.standard_normal(size))
    return np.fft.irfft(spectrum * gain(np.fft.rfftfreq(size, 1 / rate)), size)[:n]


def _convolve(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    size = _fft_size(len(x) + len(kernel))
    return np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(kernel, size), size)[: len(x)]


def _unit(x: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
    """Return ``x`` with a root mean square of 1 (over the samples ``where``)."""
    part = x if where is None or not where.any() else x[where]
    return x / max(1e-12, float(np.sqrt(np.mean(part**2))))


def _fft_size(n: int) -> int:
    """Return the least size of the form 2^k or 3 * 2^k that holds ``n``."""
    power = 1 << max(1, (n - 1).bit_length())
    return power * 3 // 4 if power * 3 // 4 >= n else power
