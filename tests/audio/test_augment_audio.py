# SPDX-License-Identifier: MIT
"""Waveform augmentation: each change does to level and spectrum what it says."""

import numpy as np
import pytest

from cheep.audio.augment import (
    RESPONSES,
    MicrophonePath,
    NoiseBank,
    WaveformAugment,
    apply_response,
    at_distance,
    augment,
    gain,
    mix_at_snr,
    random_response,
    time_shift,
)
from cheep.errors import CheepError

RATE = 8000


def tone(frequency_hz, seconds=1.0):
    t = np.arange(int(seconds * RATE)) / RATE
    return (0.1 * np.sin(2 * np.pi * frequency_hz * t)).astype(np.float32)


def level_db(samples):
    return 20 * np.log10(np.sqrt(np.mean(np.square(samples[len(samples) // 4 :], dtype=np.float64))))


@pytest.mark.parametrize("name", RESPONSES)
def test_response_gives_tones_the_stated_gain(name):
    for frequency in (500, 1000, 2000, 3500):
        got = level_db(apply_response(tone(frequency), RATE, RESPONSES[name])) - level_db(tone(frequency))
        points = np.array(RESPONSES[name])
        want = np.interp(np.log(frequency), np.log(np.maximum(points[:, 0], 1)), points[:, 1])
        assert got == pytest.approx(want, abs=0.3)


def test_response_does_not_delay():
    click = np.zeros(2000, np.float32)
    click[500] = 1
    out = apply_response(click, RATE, RESPONSES["laptop"])
    assert np.abs(out[:500]).max() < 1e-3
    assert 500 <= np.argmax(np.abs(out)) <= 503


def test_distance_lowers_high_frequencies_more_and_direct_sound_by_six_db_per_doubling():
    rng = np.random.default_rng(1)
    loss = {f: level_db(at_distance(tone(f), RATE, 80, rng, 5, 0)) - level_db(tone(f)) for f in (500, 3900)}
    assert loss[500] == pytest.approx(-24.1 - 0.21, abs=0.3)
    assert loss[3900] == pytest.approx(-24.1 - 1.65, abs=0.4)


def test_reverberation_outlasts_the_sound_and_grows_with_distance():
    burst = np.concatenate([tone(2000, 0.2), np.zeros(RATE // 2, np.float32)])
    share = []
    for distance in (10, 80):
        out = at_distance(burst, RATE, distance, np.random.default_rng(2))
        share.append(np.sum(out[1800:] ** 2) / np.sum(out[:1600] ** 2))
    assert 1e-4 < share[0] < share[1]


def test_mix_reaches_the_ratio_and_leaves_silence_alone():
    noise = np.random.default_rng(3).normal(0, 0.3, RATE).astype(np.float32)
    for snr in (-5, 0, 12):
        added = mix_at_snr(tone(1000), noise, snr) - tone(1000)
        assert level_db(tone(1000)) - level_db(added) == pytest.approx(snr, abs=0.2)
    silence = np.zeros(RATE, np.float32)
    assert np.array_equal(mix_at_snr(tone(1000), silence, 0), tone(1000))
    with pytest.raises(CheepError, match="must be equal"):
        mix_at_snr(tone(1000), noise[:10], 0)


def test_noise_bank_draws_stretches_and_refuses_to_be_empty():
    rng = np.random.default_rng(4)
    ramp = np.arange(100, dtype=np.float32)
    bank = NoiseBank([ramp])
    assert np.all(np.diff(bank.draw(10, rng)) == 1)
    assert len(bank.draw(1000, rng)) == 1000
    with pytest.raises(CheepError, match="noise bank"):
        NoiseBank([])


def test_same_seed_same_samples_same_length_and_everything_off_is_identity():
    noises = NoiseBank([np.random.default_rng(5).normal(0, 0.1, 3 * RATE).astype(np.float32)])
    a, b = (augment(tone(2000), RATE, WaveformAugment(), np.random.default_rng(6), noises) for _ in range(2))
    assert np.array_equal(a, b) and a.shape == tone(2000).shape and a.dtype == np.float32
    assert not np.array_equal(a, tone(2000))
    off = WaveformAugment(response_probability=0, distance_probability=0, mix_probability=0, shift_s=0, gain_db=0)
    assert np.array_equal(augment(tone(2000), RATE, off, np.random.default_rng(7), noises), tone(2000))


def test_simple_changes():
    assert level_db(gain(tone(1000), -12)) - level_db(tone(1000)) == pytest.approx(-12, abs=1e-4)
    assert np.array_equal(time_shift(np.arange(5), 2), [3, 4, 0, 1, 2])
    rng = np.random.default_rng(8)
    assert len({tuple(random_response(rng)) for _ in range(5)}) == 5
    with pytest.raises(CheepError, match="rising frequencies"):
        apply_response(tone(1000), RATE, [(1000, 0), (500, 0)])


def test_a_microphone_path_gives_the_same_samples_in_any_blocks_and_the_stated_gain():
    pcm = np.rint(tone(2000, 2) * 32768).astype(np.int16)
    whole = MicrophonePath(RESPONSES["laptop"], RATE, -6, -70, 3).push(pcm)
    path = MicrophonePath(RESPONSES["laptop"], RATE, -6, -70, 3)
    parts = np.concatenate([path.push(pcm[i : i + 777]) for i in range(0, len(pcm), 777)])
    assert np.array_equal(whole, parts) and whole.dtype == np.int16
    assert level_db(whole / 32768) - level_db(pcm / 32768) == pytest.approx(-6 + 2, abs=0.3)
    quiet = MicrophonePath([(100, 0), (1000, 0)], RATE, 0, -60).push(np.zeros(8000, np.int16))
    assert level_db(quiet / 32768) == pytest.approx(-60, abs=0.3)
    clean = MicrophonePath([(100, 0), (1000, 0)], RATE).push(pcm)
    assert np.abs(clean.astype(int) - pcm).max() <= 1
