# SPDX-License-Identifier: MIT
"""The demo data set: complete, reproducible, at the SNR that it states, and inside its band."""

import csv
import json
import wave
from collections import Counter

import numpy as np
import pytest

from cheep.cli import main
from cheep.datasets.demo import SIZES, make_demo_dataset
from cheep.datasets.demo_sounds import (
    BACKGROUNDS,
    SAMPLE_RATE_HZ,
    VOICES,
    background,
    draw_individual,
    look_alike,
    place,
    sing,
)
from cheep.errors import CheepError


def read_wav(path):
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8000)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def band_power(x, low_hz=1000, high_hz=4000):
    spectrum = np.abs(np.fft.rfft(x.astype(np.float64) * np.hanning(len(x)))) ** 2
    frequency = np.fft.rfftfreq(len(x), 1 / SAMPLE_RATE_HZ)
    return spectrum[(frequency >= low_hz) & (frequency <= high_hz)].sum() / len(x)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "set"
    return make_demo_dataset(folder, seed=1, size="small")


def test_layout_and_tables_agree(small):
    rows = read_csv(small.folder / "metadata.csv")
    files = {str(path.relative_to(small.folder)) for path in small.folder.glob("*/*.wav")}
    assert {row["file"] for row in rows} == files
    assert Counter(row["label"] for row in rows) == small.recordings
    plan = SIZES["small"]
    per_label = plan.recordists * plan.takes
    assert small.recordings == {
        "background": plan.recordists * plan.background_takes,
        **dict.fromkeys(VOICES, per_label),
    }
    for row in rows:
        assert row["file"].split("/")[0] == row["label"]
        assert row["licence"] == "CC0-1.0"
        assert "seed 1" in row["attribution"]
        samples = read_wav(small.folder / row["file"])
        assert len(samples) / 8000 == pytest.approx(float(row["duration_s"]), abs=1e-3)
        assert plan.seconds[0] <= len(samples) / 8000 <= plan.seconds[1]
        assert 30 < np.sqrt(np.mean(samples.astype(float) ** 2)) < 8000
    assert len({row["recordist"] for row in rows}) == plan.recordists
    assert len({row["recording"] for row in rows}) == len(rows)


def test_every_call_is_stated_inside_its_recording(small):
    duration = {row["file"]: float(row["duration_s"]) for row in read_csv(small.folder / "metadata.csv")}
    duration["soundscape.wav"] = small.soundscape_s
    events = read_csv(small.folder / "events.csv")
    soundscape = read_csv(small.folder / "soundscape_events.csv")
    for row in events + soundscape:
        assert 0 <= float(row["start_s"]) < float(row["end_s"]) <= duration[row["file"]]
    assert all(row["file"].split("/")[0] == row["label"] for row in events)
    assert Counter(row["label"] for row in events) == small.events
    assert Counter(row["label"] for row in soundscape) == small.soundscape_events
    assert set(small.soundscape_events) == set(VOICES)
    calls_of = Counter(row["file"] for row in events)
    assert all(calls_of[name] for name in duration if name.split("/")[0] in VOICES)
    assert len(read_wav(small.folder / "soundscape.wav")) == 8000 * small.soundscape_s
    starts = [float(row["start_s"]) for row in soundscape]
    assert starts == sorted(starts)


def test_loud_calls_stand_out_where_they_are_stated(small):
    """Energy during a stated call over the energy outside all calls rises with the stated SNR, on average."""
    by_file = {}
    for row in read_csv(small.folder / "events.csv"):
        by_file.setdefault(row["file"], []).append(row)
    stated, measured = [], []
    for name, rows in by_file.items():
        samples = read_wav(small.folder / name)
        outside = np.ones(len(samples), bool)
        for row in rows:
            outside[int(float(row["start_s"]) * 8000) - 400 : int(float(row["end_s"]) * 8000) + 3600] = False
        if outside.sum() < 4000:
            continue
        spectrum = np.fft.rfft(samples)
        spectrum[: len(samples) // 8] = 0  # below 1 kHz
        power = np.fft.irfft(spectrum, len(samples)) ** 2
        floor = power[outside].mean()
        for row in rows:
            call = power[int(float(row["start_s"]) * 8000) : int(float(row["end_s"]) * 8000)].mean()
            stated.append(float(row["snr_db"]))
            measured.append(10 * np.log10(call / floor))
    stated, measured = np.array(stated), np.array(measured)
    assert len(stated) > 40
    assert np.corrcoef(stated, measured)[0, 1] > 0.7
    loud = stated > 15
    assert np.median(measured[loud] - stated[loud]) == pytest.approx(-1.5, abs=3.5)  # gaps inside a phrase count too


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path, small):
    again = make_demo_dataset(tmp_path / "again", seed=1, size="small")
    names = sorted(str(p.relative_to(small.folder)) for p in small.folder.rglob("*") if p.is_file())
    assert names == sorted(str(p.relative_to(again.folder)) for p in again.folder.rglob("*") if p.is_file())
    for name in names:
        assert (again.folder / name).read_bytes() == (small.folder / name).read_bytes(), name
    other = make_demo_dataset(tmp_path / "other", seed=2, size="small")
    wavs = [name for name in names if name.endswith(".wav")]
    assert all((other.folder / name).read_bytes() != (small.folder / name).read_bytes() for name in wavs)


def test_second_call_keeps_the_set(small):
    before = (small.folder / "soundscape.wav").stat().st_mtime_ns
    again = make_demo_dataset(small.folder, seed=1, size="small")
    assert (small.made, again.made) == (True, False)
    assert (small.folder / "soundscape.wav").stat().st_mtime_ns == before
    assert again.recordings == small.recordings
    assert again.soundscape_events == small.soundscape_events


def test_refuses_what_it_must(tmp_path, small):
    with pytest.raises(CheepError, match="size='huge': must be one of small, normal"):
        make_demo_dataset(tmp_path / "x", size="huge")
    with pytest.raises(CheepError, match="seed=-1: must be 0 or more"):
        make_demo_dataset(tmp_path / "x", seed=-1)
    with pytest.raises(CheepError, match="holds the demo data set of seed 1, size small, not of seed 3"):
        make_demo_dataset(small.folder, seed=3, size="small")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "song.wav").write_bytes(b"x")
    with pytest.raises(CheepError, match="holds files that are no demo data set"):
        make_demo_dataset(tmp_path / "mine", size="small")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["song.wav"]
    with pytest.raises(CheepError, match="is a file"):
        make_demo_dataset(tmp_path / "mine" / "song.wav", size="small")
    with pytest.raises(CheepError, match="cannot write the demo data set"):
        make_demo_dataset(tmp_path / "mine" / "song.wav" / "below", size="small")


@pytest.mark.parametrize("voice", VOICES)
def test_voices_vary_and_stay_below_4_khz(voice):
    rng = np.random.default_rng(5)
    phrases = [sing(draw_individual(voice, rng), rng) for _ in range(30)]
    for phrase in phrases:
        assert 0.15 * 8000 < len(phrase) < 3 * 8000
        assert band_power(phrase, 700, 3950) > 0.97 * band_power(phrase, 0, 4000)
    assert len({len(phrase) for phrase in phrases}) > 20
    bird = draw_individual(voice, rng)
    assert not np.array_equal(sing(bird, rng)[:1000], sing(bird, rng)[:1000])
    with pytest.raises(ValueError, match="must be one of"):
        draw_individual("dodo", rng)


def test_far_is_duller_than_near():
    rng = np.random.default_rng(1)
    phrase = rng.standard_normal(8000)
    near, far = place(phrase, 0.0, rng), place(phrase, 1.0, rng)
    ratio = [band_power(x, 3000, 4000) / band_power(x, 300, 1300) for x in (near, far)]
    assert 10 * np.log10(ratio[0] / ratio[1]) == pytest.approx(9, abs=3)
    assert len(far) > len(near) > len(phrase)


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_backgrounds_have_unit_level_and_their_own_spectrum(kind):
    noise = background((kind,), 40000, np.random.default_rng(2))
    assert noise.shape == (40000,)
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(1, abs=1e-6)
    low, high = band_power(noise, 20, 700), band_power(noise, 2000, 4000)
    assert (high > low) if kind in ("rain", "insects") else (low > high)


def test_look_alikes_are_finite_and_of_many_kinds():
    rng = np.random.default_rng(3)
    sounds = [look_alike(rng) for _ in range(60)]
    assert all(np.isfinite(sound).all() and np.abs(sound).max() > 0.1 for sound in sounds)
    assert len({len(sound) for sound in sounds}) > 30


def test_command(tmp_path, capsys, small):
    assert main("demo-data", ["--output", str(small.folder), "--size", "small", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recordings"] == small.recordings
    assert main("demo-data", ["--output", str(small.folder), "--size", "small"]) == 0
    assert "already there" in capsys.readouterr().out
