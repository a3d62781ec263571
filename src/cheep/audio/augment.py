# SPDX-License-Identifier: MIT
"""Random changes of waveforms that stand for the field: another microphone, distance, background, level, time.

Every function takes and gives mono float32 samples, shape (n,), full scale 1.0, same length, and draws from the
``numpy.random.Generator`` that it is given. What leaves full scale is clipped only by the conversion to int16.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from cheep.audio.samples import float_to_int16
from cheep.errors import CheepError

# Rough shapes of magnitude responses, (Hz, dB) corner points: what data sheets and measurements of such microphones
# look like, no measurement of one device. They spread training data; they calibrate nothing (a probe profile does).
RESPONSES: dict[str, tuple[tuple[float, float], ...]] = {
    "flat": ((0, 0), (24000, 0)),
    "mems_i2s": ((20, -18), (60, -3), (150, -0.5), (1000, 0), (4000, 0.5), (8000, 2.5), (14000, 6), (24000, 3)),
    "mems_pdm": ((20, -10), (80, -1.5), (1000, 0), (6000, 1), (10000, 4), (16000, 8), (24000, 0)),
    "audiomoth": ((20, -20), (100, -4), (400, -0.5), (1000, 0), (4000, 0), (10000, 3), (15000, 9), (24000, 2)),
    "audiomoth_case": ((20, -20), (100, -4), (1000, 0), (2500, 3), (3500, -3), (6000, -6), (12000, -9), (24000, -14)),
    "electret": ((20, -9), (50, -3), (200, 0), (2000, 0), (8000, 2), (12000, 0), (24000, -9)),
    "laptop": ((20, -40), (120, -20), (300, -6), (2000, 2), (3500, 5), (6000, -2), (12000, -10), (24000, -30)),
    "phone": ((20, -30), (100, -9), (300, -1), (1000, 0), (3000, 3), (7000, 0), (9000, -15), (24000, -40)),
    "membrane": ((20, -6), (200, 0), (1000, -1), (2000, -4), (3000, -2), (5000, -8), (24000, -15)),
}

# Absorption of air, dB per metre, at 20 degrees C and 70 % relative humidity (ISO 9613-2, table 2).
_AIR_HZ = np.array([63, 125, 250, 500, 1000, 2000, 4000, 8000, 16000], np.float64)
_AIR_DB_PER_M = np.array([0.1, 0.3, 1.1, 2.8, 5.0, 9.0, 22.9, 76.6, 240.0]) / 1000


def apply_response(samples: np.ndarray, sample_rate_hz: int, points: Sequence[tuple[float, float]]) -> np.ndarray:
    """Filter with a magnitude response, minimum phase (no delay).

    Parameters
    ----------
    samples : (n,) float32
    points : sequence of (frequency in Hz, gain in dB)
        Rising frequencies; interpolated linearly in dB over log frequency, constant beyond both ends.
    """
    impulse = _minimum_phase(_interpolate(points, sample_rate_hz))
    return _convolve(samples, impulse)


def random_response(rng: np.random.Generator, spread_db: float = 4.0) -> list[tuple[float, float]]:
    """Draw a microphone: one of :data:`RESPONSES` with smooth random deviations (standard deviation in dB)."""
    name = list(RESPONSES)[int(rng.integers(len(RESPONSES)))]
    frequencies = np.geomspace(50, 20000, 10)
    base = _curve(RESPONSES[name], frequencies)
    rough = rng.normal(0, spread_db, len(frequencies))
    smooth = np.convolve(np.pad(rough, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    return list(zip(frequencies.tolist(), (base + smooth).tolist(), strict=True))


def at_distance(
    samples: np.ndarray,
    sample_rate_hz: int,
    distance_m: float,
    rng: np.random.Generator,
    reference_m: float = 5.0,
    reverberation_s: float = 0.6,
) -> np.ndarray:
    """Move a source recorded at ``reference_m`` to ``distance_m``: level, absorption of air, reverberation.

    The level falls by 6 dB per doubling; the reverberant part (decaying noise, -60 dB after ``reverberation_s``) keeps
    its level, so that its share grows with distance (equal to the direct sound at 40 m: an open wood).
    ``samples`` and what comes back are (n,) float32.
    """
    if distance_m <= 0 or reference_m <= 0:
        raise CheepError(f"distance_m={distance_m}: must be above 0 (metres)")
    extra_m = max(0.0, distance_m - reference_m)
    points = list(zip(_AIR_HZ.tolist(), (-_AIR_DB_PER_M * extra_m).tolist(), strict=True))
    direct = apply_response(samples, sample_rate_hz, points) * np.float32(reference_m / distance_m)
    if reverberation_s <= 0:
        return direct
    n = max(8, int(reverberation_s * sample_rate_hz))
    time_s = np.arange(n) / sample_rate_hz
    tail = rng.normal(0, 1, n) * 10 ** (-3 * time_s / reverberation_s)
    tail[: int(0.01 * sample_rate_hz)] = 0
    tail /= np.sqrt(np.sum(tail**2)) + 1e-12
    return direct + _convolve(direct, (tail * distance_m / 40.0).astype(np.float32))


def mix_at_snr(signal: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Add ``noise`` so that the RMS ratio is ``snr_db``; silence on either side changes nothing.

    ``signal``, ``noise`` and the sum are (n,) float32.
    """
    if len(noise) != len(signal):
        raise CheepError(f"noise has {len(noise)} samples, signal {len(signal)}: must be equal (use NoiseBank.draw)")
    level, floor = _rms(signal), _rms(noise)
    if level == 0 or floor == 0:
        return signal
    return signal + noise * np.float32(level / floor * 10 ** (-snr_db / 20))


def time_shift(samples: np.ndarray, shift: int) -> np.ndarray:
    """Move (n,) float32 by ``shift`` samples (positive: later), wrapping around: no silence that the field lacks."""
    return np.roll(samples, shift)


def gain(samples: np.ndarray, gain_db: float) -> np.ndarray:
    """Change the level of (n,) float32 samples by ``gain_db``."""
    return samples * np.float32(10 ** (gain_db / 20))


class MicrophonePath:
    """A microphone over a stream of int16 samples: response, level, own noise. The same samples in any blocks.

    Parameters
    ----------
    points : sequence of (Hz, dB)
        As :func:`apply_response`.
    sample_rate_hz : int
    gain_db : float
        Level against the microphone that made the recording.
    noise_floor_db : float, optional
        RMS of the white noise it adds, dB of full scale.
    seed : int
        Of that noise.
    """

    def __init__(
        self,
        points: Sequence[tuple[float, float]],
        sample_rate_hz: int,
        gain_db: float = 0.0,
        noise_floor_db: float | None = None,
        seed: int = 0,
    ):
        impulse = _minimum_phase(_interpolate(points, sample_rate_hz)).astype(np.float64)
        self._impulse = impulse * 10 ** (gain_db / 20)
        self._noise = 0.0 if noise_floor_db is None else 10 ** (noise_floor_db / 20)
        self._rng = np.random.default_rng(seed)
        self._past = np.zeros(len(impulse) - 1)

    def push(self, pcm: np.ndarray) -> np.ndarray:
        """Return what the microphone makes of int16 samples (n,): int16, the same number."""
        if not len(pcm):
            return pcm
        data = np.concatenate([self._past, pcm / 32768.0])
        self._past = data[len(data) - len(self._past) :]
        out = np.convolve(data, self._impulse, mode="valid")
        out += self._noise * self._rng.standard_normal(len(out))
        return float_to_int16(out)


class NoiseBank:
    """Background recordings to mix in; a draw is a random stretch, repeated where a recording is too short.

    Parameters
    ----------
    recordings : sequence of (n,) float32, each at least one sample
    """

    def __init__(self, recordings: Sequence[np.ndarray]):
        self._recordings = [item for item in recordings if len(item)]
        if not self._recordings:
            raise CheepError("noise bank: no recordings; add background recordings or switch mixing off")

    def __len__(self) -> int:
        return len(self._recordings)

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return a stretch of a random recording from a random place, (n,) float32."""
        item = self._recordings[int(rng.integers(len(self._recordings)))]
        if len(item) < n:
            item = np.tile(item, -(-n // len(item)))
        first = int(rng.integers(len(item) - n + 1))
        return item[first : first + n]


@dataclasses.dataclass(frozen=True)
class WaveformAugment:
    """Which changes :func:`augment` draws. A probability of 0 (or width of 0) switches one off.

    ``responses`` adds measured microphones (:func:`cheep.live.probe` profiles) to the built-in ones.
    """

    response_probability: float = 0.7
    distance_probability: float = 0.5
    distance_m: tuple[float, float] = (5.0, 80.0)
    mix_probability: float = 0.5
    mix_snr_db: tuple[float, float] = (0.0, 20.0)
    shift_s: float = 0.2
    gain_db: float = 6.0
    responses: Mapping[str, Sequence[tuple[float, float]]] = dataclasses.field(default_factory=dict)


def augment(
    samples: np.ndarray,
    sample_rate_hz: int,
    settings: WaveformAugment,
    rng: np.random.Generator,
    noises: NoiseBank | None = None,
) -> np.ndarray:
    """Draw one variant: source at a distance, in a background, through a microphone, shifted, at another level.

    The order is that of nature: distance acts on the source, the microphone on source and background.
    ``samples`` and the variant are (n,) float32.
    """
    out = samples
    if settings.shift_s > 0:
        width = int(settings.shift_s * sample_rate_hz)
        out = time_shift(out, int(rng.integers(-width, width + 1)))
    if rng.random() < settings.distance_probability:
        low, high = settings.distance_m
        out = at_distance(out, sample_rate_hz, float(np.exp(rng.uniform(np.log(low), np.log(high)))), rng)
    if noises is not None and rng.random() < settings.mix_probability:
        out = mix_at_snr(out, noises.draw(len(out), rng), float(rng.uniform(*settings.mix_snr_db)))
    if rng.random() < settings.response_probability:
        measured = list(settings.responses.values())
        if measured and rng.random() < 0.5:
            points = measured[int(rng.integers(len(measured)))]
        else:
            points = random_response(rng)
        out = apply_response(out, sample_rate_hz, points)
    return gain(out, float(rng.normal(0, settings.gain_db))) if settings.gain_db > 0 else out


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0


def _curve(points: Sequence[tuple[float, float]], frequencies_hz: np.ndarray) -> np.ndarray:
    table = np.array(points, np.float64)
    if table.ndim != 2 or table.shape[1] != 2 or np.any(np.diff(table[:, 0]) <= 0) or table[0, 0] < 0:
        raise CheepError(f"response {list(points)[:4]}…: must be (Hz, dB) pairs with rising frequencies")
    return np.interp(np.log(np.maximum(frequencies_hz, 1)), np.log(np.maximum(table[:, 0], 1)), table[:, 1])


def _interpolate(points: Sequence[tuple[float, float]], sample_rate_hz: int, size: int = 1024) -> np.ndarray:
    return _curve(points, np.arange(size // 2 + 1) * sample_rate_hz / size)


def _minimum_phase(gain_db: np.ndarray) -> np.ndarray:
    """Impulse response with this magnitude (one-sided, dB) by the real cepstrum folded to its causal half."""
    half = len(gain_db) - 1
    log_magnitude = gain_db * (np.log(10) / 20)
    cepstrum = np.fft.irfft(log_magnitude)
    cepstrum[1:half] *= 2
    cepstrum[half + 1 :] = 0
    return np.fft.irfft(np.exp(np.fft.rfft(cepstrum))).astype(np.float32)


def _convolve(samples: np.ndarray, impulse: np.ndarray) -> np.ndarray:
    n = len(samples)
    size = 1 << (n + len(impulse) - 1).bit_length()
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(impulse, size)
    return np.fft.irfft(spectrum, size)[:n].astype(np.float32)
