# SPDX-License-Identifier: MIT
"""What a microphone path does to the reference set: measured, compared with another path, and said in words.

The recording is found in time by its two sync chirps; their distance gives the error of the clock. Faults that
destroy the waveform (wrong sample width, PDM read as PCM) are recognized from the bit patterns before anything else.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from cheep.audio import resample
from cheep.audio.augment import MicrophonePath
from cheep.errors import CheepError
from cheep.files import write_json
from cheep.live import probe_signal as signal

_BANDS_HZ = np.array([100, 125, 160, 200, 250, 315, 400, 500, 630, 800, 1000, 1250, 1600, 2000, 2500, 3150, 3600,
                      4000, 5000, 6300, 7500, 8000, 10000, 12500, 15000], np.float64)  # fmt: skip
_SYNC_FOUND = 0.25  # normalized correlation


@dataclasses.dataclass(frozen=True)
class Finding:
    """A fault: a name for programs, words for people."""

    code: str
    text: str


@dataclasses.dataclass(frozen=True)
class ProbeResult:
    """Measures of one path. Levels in dB of full scale; ``response`` as (Hz, dB relative to 1 kHz)."""

    sample_rate_hz: int
    clock_error_percent: float | None
    gain_db: float | None
    noise_floor_db: float | None
    dc: float
    clipping_db: float | None
    response: tuple[tuple[float, float], ...]
    findings: tuple[Finding, ...]
    gain_to_baseline_db: float | None = None

    def path(self, sample_rate_hz: int, seed: int = 0) -> MicrophonePath:
        """Return this microphone as a filter for recordings of another: response, level (if compared), noise."""
        points = self.response or ((100.0, 0.0), (1000.0, 0.0))
        gain_db = self.gain_to_baseline_db or 0.0
        return MicrophonePath(points, sample_rate_hz, gain_db, self.noise_floor_db, seed)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values: the profile that augmentation and calibration read."""
        values = dataclasses.asdict(self)
        values["response"] = [list(point) for point in self.response]
        return {"kind": "cheep microphone profile", **values}


def analyse(pcm: np.ndarray, sample_rate_hz: int, baseline: ProbeResult | None = None) -> ProbeResult:
    """Analyse a recording of the reference set.

    Parameters
    ----------
    pcm : (n,) int16
        The recording, from before the first chirp to after the last.
    sample_rate_hz : int
        The rate that it claims to have.
    baseline : ProbeResult, optional
        The same playback through a trusted path (the laptop's microphone): gain and response are judged against it,
        so that loudspeaker and room cancel.

    Raises
    ------
    CheepError
        The recording is too short to hold the set.
    """
    if len(pcm) < 0.8 * signal.duration_s() * sample_rate_hz:
        raise CheepError(
            f"recording of {len(pcm) / sample_rate_hz:.1f} s: the reference set lasts {signal.duration_s():.1f} s; "
            "start recording before it plays and stop after it"
        )
    x = pcm.astype(np.float64) / 32768
    dc = float(np.median(x))
    broken = _bit_faults(pcm, sample_rate_hz)
    if broken:
        return ProbeResult(sample_rate_hz, None, None, None, dc, None, (), tuple(broken))
    found = _align(x - dc, sample_rate_hz)
    if found is None:
        text = "the reference set is not to be heard: wrong microphone, wrong pin, or far too quiet"
        if not pcm.any():
            text = "only zeros: the data pin is not connected, the wrong channel (L/R pin) is read, or it is muted"
        return ProbeResult(sample_rate_hz, None, None, None, dc, None, (), (Finding("nothing", text),))
    start, stretch = found
    y = _unstretched(x, start, stretch, sample_rate_hz)
    quiet = _cut(y, "silence", sample_rate_hz)
    dc = float(np.mean(quiet))
    noise_db = _db(np.std(quiet))
    levels = {level: _tone_db(_cut(y - dc, f"tone{round(level)}", sample_rate_hz), sample_rate_hz)
              for level in signal.TONE_STEPS_DB}  # fmt: skip
    gain_db = _gain(levels, noise_db)
    result = ProbeResult(
        sample_rate_hz=sample_rate_hz,
        clock_error_percent=round(float(100 * (stretch - 1)), 3),
        gain_db=round(gain_db, 2),
        noise_floor_db=round(noise_db, 2),
        dc=round(dc, 5),
        clipping_db=_clipping(y - dc, levels, gain_db, sample_rate_hz),
        response=_response(y - dc, sample_rate_hz),
        findings=(),
    )
    if baseline is not None and baseline.gain_db is not None:
        result = dataclasses.replace(result, gain_to_baseline_db=round(gain_db - baseline.gain_db, 2))
    return dataclasses.replace(result, findings=tuple(_judge(result, baseline)))


def read_profile(path: str | Path) -> ProbeResult:
    """Read a profile that :meth:`ProbeResult.to_dict` wrote.

    Raises
    ------
    CheepError
        Missing or foreign file.
    """
    path = Path(path)
    if not path.is_file():
        raise CheepError(f"{path}: no such profile; make one with cheep mic probe --profile {path}")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("kind") != "cheep microphone profile":
            raise ValueError("another kind of file")
        values["response"] = tuple((float(f), float(g)) for f, g in values["response"])
        values["findings"] = tuple(Finding(**item) for item in values["findings"])
        return ProbeResult(**values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheepError(f"{path}: no microphone profile of Cheep ({error}); make one with cheep mic probe") from None


def write_profile(path: str | Path, result: ProbeResult) -> None:
    """Write a profile."""
    write_json(path, result.to_dict())


# --- faults of the bit patterns --------------------------------------------------------------------------------


def _bit_faults(pcm: np.ndarray, rate: int) -> list[Finding]:
    if not pcm.any():
        return []
    words = pcm.view(np.uint16)
    ones = np.unpackbits(words.view(np.uint8)).reshape(-1, 16).sum(axis=1)
    loud = np.sqrt(np.mean((pcm / 32768.0) ** 2)) > 0.2
    if loud and 4 < ones.mean() < 12 and ones.std() < 1.6:
        # a delta-sigma stream: every word holds about as many ones as zeros, whatever its value as a number
        return [Finding("pdm_as_pcm", "PDM data read as PCM: the microphone is a PDM one; choose the PDM driver "
                        "(or an I2S microphone such as the INMP441)")]  # fmt: skip
    if _sync_strength(pcm, rate) >= _SYNC_FOUND and not _halves_differ(pcm):
        return []
    for half in (pcm[0::2], pcm[1::2]):
        if _halves_differ(pcm) and max(_sync_strength(half, rate), _sync_strength(half, rate // 2)) >= _SYNC_FOUND:
            return [Finding("wide_as_16", "24-bit samples in 32-bit slots read as 16-bit: every second value is the "
                            "low half of a sample; set the slot width to 32 bits and shift right by 16")]  # fmt: skip
    if loud and _is_uniform(pcm):
        return [Finding("wide_as_16", "the low 16 bits of 24-bit samples are used (values wrap around): shift right "
                        "by 8 before taking 16 bits")]  # fmt: skip
    return []


def _halves_differ(pcm: np.ndarray) -> bool:
    """Whether even and odd samples are of different kinds (one is noise of full width)."""
    even, odd = pcm[0::2].astype(np.float64), pcm[1::2].astype(np.float64)
    n = min(len(even), len(odd))
    even, odd = even[:n], odd[:n]
    levels = sorted((even.std(), odd.std()))
    uncorrelated = abs(np.corrcoef(even, odd)[0, 1]) < 0.2 if levels[0] > 0 else True
    return levels[1] > 4 * levels[0] + 1 and uncorrelated


def _is_uniform(pcm: np.ndarray) -> bool:
    """Whether most loud blocks are spread evenly over all values, as wrapped numbers are and no sound is."""
    blocks = (pcm[: len(pcm) // 512 * 512].reshape(-1, 512)) / 32768.0
    deviation = blocks.std(axis=1)
    loud = deviation > 0.3
    if loud.mean() < 0.2:
        return False
    centred = blocks[loud] - blocks[loud].mean(axis=1, keepdims=True)
    kurtosis = np.mean(centred**4, axis=1) / deviation[loud] ** 4
    return float(np.mean((abs(deviation[loud] - 0.577) < 0.06) & (abs(kurtosis - 1.8) < 0.25))) > 0.5


# --- alignment ----------------------------------------------------------------------------------------------------


def _sync_strength(pcm: np.ndarray, rate: int) -> float:
    return max(_correlation(pcm.astype(np.float64), rate)) if rate >= 2 * signal.SYNC_HZ[1] else 0.0


def _correlation(x: np.ndarray, rate: int, stretch: float = 1.0) -> np.ndarray:
    """Normalized correlation with the sync chirp, made longer by ``stretch``, at every lag."""
    chirp = signal.sync_chirp(round(rate * stretch))
    n = len(chirp)
    if len(x) <= n:
        return np.zeros(1)
    size = 1 << (len(x) + n).bit_length()
    product = np.fft.irfft(np.fft.rfft(x, size) * np.conj(np.fft.rfft(chirp, size)), size)[: len(x) - n]
    energy = np.cumsum(np.concatenate([[0.0], x**2]))
    local = np.sqrt(np.maximum(energy[n : len(x)] - energy[: len(x) - n], 0)) * np.sqrt(np.sum(chirp**2))
    return np.abs(product) / np.maximum(local, 1e-9 * np.sqrt(energy[-1] + 1e-30) + 1e-12)


def _align(x: np.ndarray, rate: int) -> tuple[float, float] | None:
    """Return (sample at which the set starts, length of time relative to the set's), or None.

    A chirp is still recognized when the clock is 1.5 % off; chirps of other lengths are tried after that.
    """
    for trial in (1.0, 0.98, 1.02, 0.96, 1.04):
        found = _two_chirps(_correlation(x, rate, trial), rate)
        if found is not None:
            first, distance = found
            expected = (signal.parts()[-1].start_s - signal.parts()[0].start_s) * rate
            stretch = distance / expected
            return first - signal.parts()[0].start_s * rate * stretch, stretch
    return None


def _two_chirps(strength: np.ndarray, rate: int) -> tuple[float, float] | None:
    """Return (sample of the first chirp, distance to the last) for the strongest pair about that far apart."""
    expected = (signal.parts()[-1].start_s - signal.parts()[0].start_s) * rate
    best = None
    for offset in np.argsort(strength)[::-1][:200]:
        if strength[offset] < _SYNC_FOUND:
            break
        low, high = int(offset + 0.94 * expected), int(offset + 1.06 * expected)
        window = strength[low:high]
        if len(window) < 10:
            continue
        other = int(np.argmax(window))
        score = strength[offset] + window[other]
        if window[other] >= _SYNC_FOUND and (best is None or score > best[0]):
            best = (score, _peak(strength, int(offset)), _peak(strength, low + other))
    return None if best is None else (best[1], best[2] - best[1])


def _peak(values: np.ndarray, at: int) -> float:
    """Refine a maximum by a parabola through its neighbours."""
    if not 0 < at < len(values) - 1:
        return float(at)
    a, b, c = values[at - 1 : at + 2]
    curve = a - 2 * b + c
    return at + (0.5 * (a - c) / curve if curve < 0 else 0.0)


def _unstretched(x: np.ndarray, start: float, stretch: float, rate: int) -> np.ndarray:
    """Return the recording on the set's own time axis, from its start."""
    n = round(signal.duration_s() * rate)
    if abs(stretch - 1) < 2e-5:
        first = round(start)
        y = x[max(0, first) : max(0, first) + n]
        y = np.concatenate([np.zeros(max(0, -first)), y])
    else:
        whole = round(rate * stretch * 1000), rate * 1000
        y = resample(x.astype(np.float32), *whole).astype(np.float64)
        first = max(0, round(start / stretch))
        y = y[first : first + n]
    return np.concatenate([y, np.zeros(max(0, n - len(y)))])[:n]


def _cut(y: np.ndarray, name: str, rate: int) -> np.ndarray:
    item = signal.part(name)
    edge = 0.1 * item.length_s
    return y[round((item.start_s + edge) * rate) : round((item.start_s + item.length_s - edge) * rate)]


# --- measures -----------------------------------------------------------------------------------------------------


def _db(value: float) -> float:
    return float(20 * np.log10(max(value, 1e-7)))


def _tone_db(x: np.ndarray, rate: int) -> float:
    """Level of the 1 kHz tone as a full-scale sine's would be 0 dB, whatever else is there."""
    window = np.hanning(len(x))
    spectrum = np.abs(np.fft.rfft(x * window)) / window.sum() * 2
    near = np.abs(np.fft.rfftfreq(len(x), 1 / rate) - signal.TONE_HZ) < 30
    return _db(float(spectrum[near].max()))


def _gain(levels: dict[float, float], noise_db: float) -> float:
    """Gain of the path: the median over the steps that are neither noise nor near full scale."""
    usable = [got - level for level, got in levels.items() if got > noise_db + 10 and got < -8]
    return float(np.median(usable)) if usable else float(levels[-20.0] + 20.0)


def _clipping(y: np.ndarray, levels: dict[float, float], gain_db: float, rate: int) -> float | None:
    """Return the level (dB of full scale) above which the path flattens, or None."""
    for level, got in levels.items():
        expected = level + gain_db
        x = _cut(y, f"tone{round(level)}", rate)
        crest = np.max(np.abs(x)) / max(np.std(x), 1e-9)
        top = np.max(np.abs(x))
        flat = np.mean(np.abs(x) > 0.995 * top)
        # A sine is within half a percent of its top for 6.4 % of the time; a clipped one far longer.
        if expected > got + 0.6 and crest < 1.40 and flat > 0.12:
            return round(_db(top), 1)
    return None


def _response(y: np.ndarray, rate: int) -> tuple[tuple[float, float], ...]:
    """Sweep in over sweep out in third-octave bands, relative to 1 kHz."""
    sweep = signal.part("sweep")
    span = slice(round(sweep.start_s * rate), round((sweep.start_s + sweep.length_s + 0.1) * rate))
    out, into = y[span], signal.reference(rate)[span].astype(np.float64)
    frequency = np.fft.rfftfreq(len(out), 1 / rate)
    got, sent = (np.abs(np.fft.rfft(item)) ** 2 for item in (out, into))
    bands = _BANDS_HZ[0.475 * rate > _BANDS_HZ]
    gains = []
    for band in bands:
        inside = (frequency >= band / 2 ** (1 / 6)) & (frequency < min(band * 2 ** (1 / 6), 0.48 * rate))
        gains.append(10 * np.log10((got[inside].sum() + 1e-12) / (sent[inside].sum() + 1e-12)))
    centre = gains[int(np.flatnonzero(bands == signal.TONE_HZ)[0])]
    return tuple((float(band), round(float(gain - centre), 2)) for band, gain in zip(bands, gains, strict=True))


# --- words --------------------------------------------------------------------------------------------------------


def _judge(result: ProbeResult, baseline: ProbeResult | None) -> list[Finding]:
    found = []
    error = result.clock_error_percent or 0.0
    if abs(error) > 0.1:
        word = "more" if error > 0 else "fewer"
        found.append(Finding("clock", f"the clock is {abs(error):.1f} % off: the device takes {word} samples a second "
                             f"than {result.sample_rate_hz}; check the I2S/PLL settings or the rate in the file "
                             "header"))  # fmt: skip
    if abs(result.dc) > 0.004:
        found.append(Finding("dc", f"DC offset of {100 * result.dc:.1f} % of full scale: switch the DC blocker on "
                             "(it eats headroom and hides clipping)"))  # fmt: skip
    if result.clipping_db is not None:
        found.append(Finding("clipping", f"loud sounds are cut off at {result.clipping_db:.1f} dBFS: lower the gain, "
                             "or the loudspeaker's volume and try again"))  # fmt: skip
    gain = result.gain_db or 0.0
    if baseline is not None and baseline.gain_db is not None:
        difference = gain - baseline.gain_db
        if abs(difference) > 4:
            word = "quieter" if difference < 0 else "louder"
            change = "raise" if difference < 0 else "lower"
            found.append(Finding("gain", f"{abs(difference):.0f} dB {word} than the other microphone: {change} the "
                                 "gain (6 dB are one bit of shift)"))  # fmt: skip
    elif gain < -45:
        found.append(Finding("gain", f"very quiet: the tone arrives at {gain:.0f} dB; raise gain or volume"))
    treble = _missing_treble(result, baseline)
    if treble:
        found.append(Finding("lowpass", f"high sounds are missing above about {treble / 1000:.1f} kHz: a closed port "
                             "or membrane, a filter, or audio that was recorded at a lower rate"))  # fmt: skip
    noise = result.noise_floor_db if result.noise_floor_db is not None else -120.0
    if noise > -40 and noise - gain > -35:
        found.append(Finding("noise", f"noise floor at {noise:.0f} dBFS: check the supply, shorten the wires, move "
                             "away from the antenna"))  # fmt: skip
    return found


def _missing_treble(result: ProbeResult, baseline: ProbeResult | None) -> float | None:
    trusted = dict(baseline.response) if baseline else {}
    points = [(band, value - trusted.get(band, 0.0)) for band, value in result.response]
    middle = [value for band, value in points if 630 <= band <= 2000]
    if not middle:
        return None
    bar = float(np.median(middle)) - 10
    high = [(band, value) for band, value in points if band > 2000]
    for i, (band, _) in enumerate(high):
        if len(high) - i >= 1 and all(value < bar for _, value in high[i:]):
            return band
    return None
