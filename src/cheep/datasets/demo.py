# SPDX-License-Identifier: MIT
"""The demo data set: recordings that the project synthesizes, so that a first run needs no download.

Three bird-like voices with individual variation over procedural backgrounds, in a folder per label,
with ``metadata.csv`` and ``events.csv``, and one long ``soundscape.wav`` with ``soundscape_events.csv``.
Every recordist has an own microphone and own individuals, so that a split by recordist tests both.
"""

from __future__ import annotations

import hashlib
import json
import logging
import wave
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from cheep.datasets.demo_sounds import (
    BACKGROUNDS,
    SAMPLE_RATE_HZ,
    VOICES,
    Individual,
    background,
    draw_individual,
    look_alike,
    place,
    sing,
)
from cheep.errors import CheepError
from cheep.files import atomic_folder, write_csv

log = logging.getLogger(__name__)

BACKGROUND_LABEL = "background"
GENERATOR_VERSION = 1
METADATA_COLUMNS = (
    "file",
    "label",
    "recording",
    "recordist",
    "licence",
    "attribution",
    "individual",
    "duration_s",
    "snr_db",
    "backgrounds",
)
EVENT_COLUMNS = ("file", "label", "start_s", "end_s", "snr_db")


@dataclass(frozen=True)
class _Size:
    recordists: int
    takes: int  # recordings of each voice by each recordist
    background_takes: int
    seconds: tuple[float, float]
    soundscape_s: float


SIZES = {
    "small": _Size(recordists=6, takes=2, background_takes=3, seconds=(3.0, 5.0), soundscape_s=60.0),
    "normal": _Size(recordists=20, takes=3, background_takes=5, seconds=(3.0, 10.0), soundscape_s=600.0),
}


@dataclass(frozen=True)
class Call:
    """One call in a recording; times in s from its start, SNR in dB against the background in 1-4 kHz."""

    label: str
    start_s: float
    end_s: float
    snr_db: float


@dataclass(frozen=True)
class DemoSummary:
    """What :func:`make_demo_dataset` left in ``folder``."""

    folder: Path
    seed: int
    size: str
    recordings: dict[str, int]  # label -> files
    events: dict[str, int]  # label -> calls in those files
    recordists: int
    duration_s: float  # without the soundscape
    soundscape_s: float
    soundscape_events: dict[str, int]
    total_bytes: int
    made: bool  # False: it was there already


@dataclass(frozen=True)
class _Recordist:
    name: str
    microphone: np.ndarray  # gains in dB at 0, 500, ... 4000 Hz
    birds: dict[str, Individual]


def make_demo_dataset(folder: Path | str, seed: int = 1, size: str = "normal") -> DemoSummary:
    """Write the demo data set into ``folder`` and return what it holds.

    The same seed, size and numpy give the same bytes. A folder that already holds exactly this set is
    left as it is; a new one is whole or absent.

    Parameters
    ----------
    folder : path that does not exist, is empty, or holds a demo data set of the same seed and size.
    seed : 0 or more.
    size : ``"normal"`` (280 recordings, 10-minute soundscape, about 40 MB) or ``"small"`` (54, one minute; tests).

    Raises
    ------
    CheepError
        Unknown size, negative seed, or a folder that holds something else.
    """
    if size not in SIZES:
        raise CheepError(f"size={size!r}: must be one of {', '.join(SIZES)}")
    if seed < 0:
        raise CheepError(f"seed={seed}: must be 0 or more")
    folder = Path(folder)
    existing = _existing(folder, seed, size)
    if existing is not None:
        return existing
    try:
        with atomic_folder(folder) as part:
            summary = _write(part, seed, size)
    except OSError as error:
        raise CheepError(
            f"{folder}: cannot write the demo data set: {error.strerror or error} (needs about 45 MB there)"
        ) from error
    return replace(summary, folder=folder)


def _existing(folder: Path, seed: int, size: str) -> DemoSummary | None:
    if not folder.exists():
        return None
    if not folder.is_dir():
        raise CheepError(f"{folder}: is a file; the demo data set needs a folder")
    if not any(folder.iterdir()):
        return None
    try:
        summary = json.loads((folder / "demo.json").read_text())
        same = (summary.pop("generator_version"), summary["seed"], summary["size"]) == (GENERATOR_VERSION, seed, size)
        summary.pop("sha256")
    except (OSError, ValueError, KeyError, AttributeError):
        raise CheepError(f"{folder}: holds files that are no demo data set (choose another folder)") from None
    if not same:
        raise CheepError(
            f"{folder}: holds the demo data set of seed {summary['seed']}, size {summary['size']}, not of "
            f"seed {seed}, size {size} (choose another folder or delete this one)"
        )
    return DemoSummary(folder=folder, made=False, **summary)


def _write(folder: Path, seed: int, size: str) -> DemoSummary:
    plan = SIZES[size]
    rows: list[tuple[object, ...]] = []
    event_rows: list[tuple[object, ...]] = []
    recordings = dict.fromkeys((BACKGROUND_LABEL, *VOICES), 0)
    duration_s, digest = 0.0, hashlib.sha256()
    attribution = f"synthesized by Cheep (demo data set {GENERATOR_VERSION}, seed {seed})"
    for index in range(plan.recordists):
        recordist = _draw_recordist(f"recordist{index + 1:02d}", np.random.default_rng([seed, 1, index]))
        takes = [(label, take) for label in VOICES for take in range(plan.takes)]
        takes += [(BACKGROUND_LABEL, take) for take in range(plan.background_takes)]
        for number, (label, take) in enumerate(takes):
            rng = np.random.default_rng([seed, 2, index, number])
            samples, calls, kinds, snr_db = _recording(label, recordist, plan, rng)
            name = f"{label}/{label}_{recordist.name}_{take + 1}.wav"
            digest.update(write_wav(folder / name, samples))
            individual = "" if label == BACKGROUND_LABEL else f"{label}-{recordist.name}"
            snr = "" if label == BACKGROUND_LABEL else f"{snr_db:.1f}"
            rows.append(
                (
                    name,
                    label,
                    Path(name).stem,
                    recordist.name,
                    "CC0-1.0",
                    attribution,
                    individual,
                    f"{len(samples) / SAMPLE_RATE_HZ:.3f}",
                    snr,
                    "+".join(kinds),
                )
            )
            event_rows += [(name, *_call_row(call)) for call in calls]
            recordings[label] += 1
            duration_s += len(samples) / SAMPLE_RATE_HZ
    samples, heard = soundscape(plan.soundscape_s, np.random.default_rng([seed, 3]))
    digest.update(write_wav(folder / "soundscape.wav", samples))
    write_csv(folder / "metadata.csv", METADATA_COLUMNS, rows)
    write_csv(folder / "events.csv", EVENT_COLUMNS, event_rows)
    write_csv(
        folder / "soundscape_events.csv",
        EVENT_COLUMNS,
        [("soundscape.wav", *_call_row(call)) for call in heard],
    )
    summary = DemoSummary(
        folder=folder,
        seed=seed,
        size=size,
        recordings=recordings,
        events={label: sum(row[1] == label for row in event_rows) for label in VOICES},
        recordists=plan.recordists,
        duration_s=round(duration_s, 3),
        soundscape_s=plan.soundscape_s,
        soundscape_events={label: sum(call.label == label for call in heard) for label in VOICES},
        total_bytes=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        made=True,
    )
    note = {"generator_version": GENERATOR_VERSION, "sha256": digest.hexdigest(), **asdict(summary)}
    del note["folder"], note["made"]  # of this call, not of the data
    (folder / "demo.json").write_text(json.dumps(note, indent=2) + "\n")
    return summary


def _draw_recordist(name: str, rng: np.random.Generator) -> _Recordist:
    microphone = np.cumsum(rng.uniform(-1.5, 1.5, 9))
    microphone[0] -= rng.uniform(0, 12)
    return _Recordist(name, microphone - microphone.mean(), {voice: draw_individual(voice, rng) for voice in VOICES})


def _recording(
    label: str, recordist: _Recordist, plan: _Size, rng: np.random.Generator
) -> tuple[np.ndarray, list[Call], tuple[str, ...], float]:
    """Return samples (n,) int16, the calls in them, the backgrounds, and the SNR around which the calls lie."""
    n = int(rng.uniform(*plan.seconds) * SAMPLE_RATE_HZ)
    kinds = _draw_backgrounds(rng)
    noise = background(kinds, n, rng)
    snr_db = float(rng.uniform(6, 30))
    calls: list[Call] = []
    sound = np.zeros(n)
    floor = _band_power(noise)
    if label == BACKGROUND_LABEL:
        for _ in range(int(rng.integers(0, 4))):
            _add(
                sound,
                place(look_alike(rng), rng.uniform(0, 1), rng),
                int(rng.integers(0, n)),
                floor,
                rng.uniform(0, 20),
            )
    else:
        at = int(rng.uniform(0.1, 0.8) * SAMPLE_RATE_HZ)
        while True:
            phrase = sing(recordist.birds[label], rng)
            if at + len(phrase) > n:
                break
            call_snr_db = snr_db + rng.uniform(-3, 3)
            calls.append(_call(label, phrase, snr_db=call_snr_db, at=at, sound=sound, floor=floor, rng=rng))
            at += len(phrase) + int(rng.uniform(0.4, 1.8) * SAMPLE_RATE_HZ)
        if not calls:  # a long phrase in a short recording: cut, as recordists do
            phrase = sing(recordist.birds[label], rng)[: n - SAMPLE_RATE_HZ // 2]
            at = SAMPLE_RATE_HZ // 4
            calls.append(_call(label, phrase, snr_db=snr_db, at=at, sound=sound, floor=floor, rng=rng))
        if rng.uniform() < 0.25:  # something else in the same recording
            _add(sound, place(look_alike(rng), 1.0, rng), int(rng.integers(0, n)), floor, rng.uniform(-6, 3))
    heard = _colour(noise + sound, recordist.microphone)
    return _to_int16(heard, rng.uniform(-42, -26)), calls, kinds, snr_db


def soundscape(seconds: float, rng: np.random.Generator) -> tuple[np.ndarray, list[Call]]:
    """Return samples (n,) int16 and the calls in them: birds, microphone and weather that no recording has."""
    n = int(seconds * SAMPLE_RATE_HZ)
    noise = _changing_weather(n, rng)
    birds = [draw_individual(voice, rng) for voice in VOICES for _ in range(3)]
    turn: list[Individual] = []
    sound = np.zeros(n)
    calls: list[Call] = []
    at = int(2 * SAMPLE_RATE_HZ)
    while at < n - 4 * SAMPLE_RATE_HZ:
        floor = _band_power(noise[at : at + 2 * SAMPLE_RATE_HZ])
        if rng.uniform() < 0.3:
            phrase = place(look_alike(rng), rng.uniform(0, 1), rng)
            _add(sound, phrase, at, floor, rng.uniform(0, 18))
        else:
            if not turn:
                turn = [birds[i] for i in rng.permutation(len(birds))]
            bird = turn.pop()
            phrase = sing(bird, rng)
            calls.append(_call(bird.voice, phrase, snr_db=rng.uniform(2, 26), at=at, sound=sound, floor=floor, rng=rng))
        at += len(phrase) + int((1.5 + rng.exponential(2.0)) * SAMPLE_RATE_HZ)
        if rng.uniform() < 0.03:  # a long silence of the birds
            at += int(rng.uniform(0.03, 0.06) * n)
    microphone = _draw_recordist("", rng).microphone
    return _to_int16(_colour(noise + sound, microphone), -34.0), calls


def _changing_weather(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return ``n`` samples of backgrounds that cross-fade every half minute, (n,) float64."""
    segment, fade = 30 * SAMPLE_RATE_HZ, 3 * SAMPLE_RATE_HZ
    total = np.zeros(n + fade)
    ramp = np.sin(0.5 * np.pi * (np.arange(fade) + 0.5) / fade)
    for start in range(0, n, segment):
        length = min(segment, n - start) + fade
        piece = background(_draw_backgrounds(rng), length, rng) * 10 ** (rng.uniform(-4, 4) / 20)
        if start:
            piece[:fade] *= ramp
        piece[-fade:] *= ramp[::-1]
        total[start : start + length] += piece
    return total[:n]


def _draw_backgrounds(rng: np.random.Generator) -> tuple[str, ...]:
    count = int(rng.integers(1, 4))
    return tuple(sorted(str(kind) for kind in rng.choice(BACKGROUNDS, size=count, replace=False)))


def _call(
    label: str, phrase: np.ndarray, *, snr_db: float, at: int, sound: np.ndarray, floor: float, rng: np.random.Generator
) -> Call:
    """Add ``phrase`` to ``sound`` (n,) from sample ``at``: the fainter, the farther; return where it can be heard."""
    placed = place(phrase, float(np.clip(0.9 - snr_db / 30 + rng.uniform(-0.15, 0.15), 0, 1)), rng)
    _add(sound, placed, at, floor, snr_db)
    loud = np.flatnonzero(np.abs(phrase) > 0.05 * np.abs(phrase).max())
    return Call(label, (at + int(loud[0])) / SAMPLE_RATE_HZ, (at + int(loud[-1])) / SAMPLE_RATE_HZ, float(snr_db))


def _add(sound: np.ndarray, placed: np.ndarray, at: int, floor: float, snr_db: float) -> None:
    """Add ``placed`` to ``sound`` (n,) from sample ``at``, ``snr_db`` above ``floor`` while it sounds."""
    power = placed**2
    active = power > 0.01 * power.max()
    gain = np.sqrt(floor * 10 ** (snr_db / 10) / power[active].mean())
    length = min(len(placed), len(sound) - at)
    sound[at : at + length] += gain * placed[:length]


def _band_power(x: np.ndarray, low_hz: float = 1000.0, high_hz: float = 4000.0) -> float:
    """Return the mean power of ``x`` (n,) between the two frequencies."""
    spectrum = np.abs(np.fft.rfft(x)) ** 2
    frequency = np.fft.rfftfreq(len(x), 1 / SAMPLE_RATE_HZ)
    band = spectrum[(frequency >= low_hz) & (frequency <= high_hz)].sum()
    return max(1e-9, float(2 * band / len(x) ** 2))


def _colour(x: np.ndarray, gains_db: np.ndarray) -> np.ndarray:
    """Return ``x`` (n,) through a microphone with ``gains_db`` at equally spaced frequencies, linear phase."""
    size = 512
    at = np.linspace(0, SAMPLE_RATE_HZ / 2, len(gains_db))
    gain = 10 ** (np.interp(np.fft.rfftfreq(size, 1 / SAMPLE_RATE_HZ), at, gains_db) / 20)
    kernel = np.roll(np.fft.irfft(gain, size), size // 2) * np.hanning(size)
    total = len(x) + size
    fft = 1 << (total - 1).bit_length()
    return np.fft.irfft(np.fft.rfft(x, fft) * np.fft.rfft(kernel, fft), fft)[size // 2 : size // 2 + len(x)]


def _to_int16(x: np.ndarray, rms_db: float) -> np.ndarray:
    scaled = x * 10 ** (rms_db / 20) / np.sqrt(np.mean(x**2))
    scaled *= min(1.0, 0.97 / np.abs(scaled).max())
    return np.round(scaled * 32767).astype("<i2")


def _call_row(call: Call) -> tuple[str, ...]:
    return call.label, f"{call.start_s:.3f}", f"{call.end_s:.3f}", f"{call.snr_db:.1f}"


def write_wav(path: Path, samples: np.ndarray) -> bytes:
    """Write ``samples`` (n,) int16 as a mono WAV at the demo's rate; return their bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = samples.tobytes()
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE_HZ, len(samples), "NONE", "not compressed"))
        file.writeframes(data)
    return data


def summary_dict(summary: DemoSummary) -> dict[str, object]:
    """Return ``summary`` as plain JSON-able values."""
    return {**asdict(summary), "folder": str(summary.folder)}
