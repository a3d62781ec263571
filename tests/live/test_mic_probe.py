# SPDX-License-Identifier: MIT
"""The microphone probe: every simulated fault is named, and a clean path has none."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from cheep.audio import float_to_int16, read_audio, resample
from cheep.audio.augment import RESPONSES, WaveformAugment, apply_response, augment
from cheep.cli import main
from cheep.errors import CheepError
from cheep.live import probe_signal
from cheep.live.probe import analyse, read_profile, write_profile

RATE = 16000


def path(rate=RATE, gain_db=-10.0, noise_db=-70.0, points=((20, 0), (20000, 0)), seed=1, lead_s=0.7):
    """The reference set through a loudspeaker, air and a good microphone, float32 at ``rate``."""
    rng = np.random.default_rng(seed)
    x = probe_signal.reference(rate) * 10 ** (gain_db / 20)
    x = apply_response(x, rate, points)
    x = np.concatenate([np.zeros(round(lead_s * rate)), x, np.zeros(rate // 2)])
    return x + rng.normal(0, 10 ** (noise_db / 20), len(x))


def wide(x):
    """24-bit samples left-justified in 32-bit slots."""
    return np.clip(np.rint(x * (1 << 23)), -(1 << 23), (1 << 23) - 1).astype("<i4") << 8


def halves(x):
    return wide(x).view("<i2")


def low_bits(x):
    return (wide(x) >> 8).astype("<i4").view("<i2")[0::2].copy()


def pdm(x, rate):
    """Second-order delta-sigma modulation, 16 bits to a word that is then taken for a number."""
    fast = np.repeat(np.clip(x, -0.7, 0.7), 16)
    bits = np.empty(len(fast), np.uint8)
    a = b = 0.0
    for i, value in enumerate(fast.tolist()):
        out = 1.0 if b >= 0 else -1.0
        a += value - out
        b += a - out
        bits[i] = out > 0
    return np.packbits(bits).view(">i2").astype(np.int16)


FAULTS = {
    "gain": lambda x: float_to_int16(x * 10 ** (-12 / 20)),
    "clock": lambda x: float_to_int16(resample(x.astype(np.float32), 1000, 1020)),
    "dc": lambda x: float_to_int16(x + 0.03),
    "clipping": lambda x: float_to_int16(np.clip(x * 10 ** (11 / 20), -0.5, 0.5) / 10 ** (11 / 20)),
    "lowpass": lambda x: float_to_int16(apply_response(x, RATE, ((20, 0), (3000, 0), (4200, -30), (8000, -60)))),
}


@pytest.fixture(scope="module")
def baseline():
    return analyse(float_to_int16(path()), RATE)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_a_clean_path_has_no_fault(rate):
    result = analyse(float_to_int16(path(rate)), rate)
    assert result.findings == ()
    assert result.gain_db == pytest.approx(-10, abs=0.3)
    assert result.noise_floor_db == pytest.approx(-70, abs=1)
    assert abs(result.clock_error_percent) < 0.01 and abs(result.dc) < 1e-3 and result.clipping_db is None
    assert max(abs(gain) for band, gain in result.response if 200 <= band <= 0.4 * rate) < 1.0


@pytest.mark.parametrize("name", ["electret", "mems_i2s", "audiomoth"])
@pytest.mark.parametrize("seed", [2, 3])
def test_another_good_microphone_in_a_noisier_room_has_no_fault_either(name, seed, baseline):
    recording = float_to_int16(path(points=RESPONSES[name], noise_db=-55, seed=seed, lead_s=0.1 * seed, gain_db=-12))
    assert analyse(recording, RATE, baseline).findings == ()


@pytest.mark.parametrize("code", FAULTS)
def test_each_fault_is_found_and_no_other(code, baseline):
    result = analyse(FAULTS[code](path(seed=4)), RATE, baseline)
    assert [item.code for item in result.findings] == [code], result


@pytest.mark.parametrize("rate", [8000, 16000])
def test_wide_samples_read_as_16_bits(rate, baseline):
    for recording in (halves(path(rate)), low_bits(path(rate))):
        result = analyse(recording, rate)
        assert [item.code for item in result.findings] == ["wide_as_16"]
    # the device says twice the rate: same finding
    assert [item.code for item in analyse(halves(path(rate)), 2 * rate).findings] == ["wide_as_16"]


def test_pdm_read_as_pcm():
    result = analyse(pdm(path(8000), 8000), 8000)
    assert [item.code for item in result.findings] == ["pdm_as_pcm"]


def test_measures_are_right(baseline):
    assert analyse(FAULTS["gain"](path(seed=5)), RATE).gain_db == pytest.approx(-22, abs=0.3)
    assert analyse(FAULTS["clock"](path(seed=5)), RATE).clock_error_percent == pytest.approx(2, abs=0.02)
    assert analyse(FAULTS["dc"](path(seed=5)), RATE).dc == pytest.approx(0.03, abs=1e-3)
    clipped = analyse(FAULTS["clipping"](path(seed=5)), RATE)
    assert clipped.clipping_db == pytest.approx(20 * np.log10(0.5) - 11, abs=0.5)
    response = dict(analyse(float_to_int16(path(points=RESPONSES["laptop"])), RATE).response)
    points = np.array(RESPONSES["laptop"])
    for band in (250, 500, 2000, 3150):
        wanted = np.interp(np.log([band, 1000]), np.log(points[:, 0]), points[:, 1])
        assert response[band] == pytest.approx(wanted[0] - wanted[1], abs=0.7)


@pytest.mark.parametrize("percent", [-3, -0.5, -0.2, 0.2, 3])
def test_clock_errors_of_any_sign(percent):
    x = resample(path().astype(np.float32), 10000, round(10000 * (1 + percent / 100)))
    assert analyse(float_to_int16(x), RATE).clock_error_percent == pytest.approx(percent, abs=0.02)


def test_several_faults_at_once(baseline):
    x = np.clip(path(seed=6) * 10 ** (11 / 20), -0.4, 0.4) / 10 ** (23 / 20) + 0.02
    codes = {item.code for item in analyse(float_to_int16(x), RATE, baseline).findings}
    assert codes == {"gain", "clipping", "dc"}


def test_nothing_to_hear():
    zeros = analyse(np.zeros(25 * RATE, np.int16), RATE)
    assert [item.code for item in zeros.findings] == ["nothing"] and "only zeros" in zeros.findings[0].text
    noise = np.random.default_rng(7).normal(0, 300, 25 * RATE).astype(np.int16)
    assert "not to be heard" in analyse(noise, RATE).findings[0].text
    with pytest.raises(CheepError, match="start recording before"):
        analyse(np.ones(RATE, np.int16), RATE)


def test_profiles_round_trip_and_feed_augmentation(tmp_path, baseline):
    write_profile(tmp_path / "mic.json", baseline)
    profile = read_profile(tmp_path / "mic.json")
    assert profile == baseline
    settings = WaveformAugment(responses={"mine": profile.response}, response_probability=1)
    rng = np.random.default_rng(8)
    sound = rng.normal(0, 0.1, RATE).astype(np.float32)
    assert np.isfinite(augment(sound, RATE, settings, rng)).all()
    (tmp_path / "other.json").write_text("{}")
    for name, words in [("other.json", "no microphone profile"), ("none.json", "no such profile")]:
        with pytest.raises(CheepError, match=words):
            read_profile(tmp_path / name)


def test_command_writes_the_set_and_judges_recordings(tmp_path, capsys):
    played = tmp_path / "set.wav"
    assert main("mic", ["signal", str(played)]) == 0
    assert np.array_equal(read_audio(played, 48000), float_to_int16(probe_signal.reference(48000)))
    good, bad = tmp_path / "good.wav", tmp_path / "bad.wav"
    soundfile.write(good, float_to_int16(path()), RATE)
    soundfile.write(bad, FAULTS["gain"](path(seed=9)), RATE)
    out = tmp_path / "profile.json"
    arguments = ["probe", "--recording", str(bad), "--baseline", str(good), "--profile", str(out)]
    capsys.readouterr()
    assert main("mic", arguments) == 1
    assert "12 dB quieter" in capsys.readouterr().out
    assert json.loads(out.read_text())["findings"][0]["code"] == "gain"
    assert main("mic", ["probe", "--recording", str(good)]) == 0
    assert "no fault found" in capsys.readouterr().out
    assert main("mic", ["probe", "--recording", str(tmp_path / "none.wav")]) == 2


def test_command_plays_and_records_at_once(tmp_path, monkeypatch, capsys):
    heard = float_to_int16(path(48000))

    def play_and_record(data, samplerate, **options):
        assert samplerate == 48000 and data.shape[1] == 1
        return heard[: len(data), None]

    module = SimpleNamespace(
        playrec=play_and_record, wait=lambda: None, PortAudioError=RuntimeError, query_hostapis=lambda: [{"name": "x"}],
        query_devices=lambda: [{"name": "m", "hostapi": 0, "max_input_channels": 1, "default_samplerate": 48000.0}],
        default=SimpleNamespace(device=(0, 0)),
    )  # fmt: skip
    monkeypatch.setitem(__import__("sys").modules, "sounddevice", module)
    assert main("mic", ["probe", "--save", str(tmp_path / "heard.wav")]) == 0
    assert "no fault found" in capsys.readouterr().out
    assert (tmp_path / "heard.wav").is_file()


def test_findings_are_plain_words(baseline):
    text = " ".join(item.text for code in FAULTS for item in analyse(FAULTS[code](path()), RATE, baseline).findings)
    for words in ("raise the gain", "clock", "DC blocker", "cut off", "high sounds are missing"):
        assert words in text
    assert dataclasses.is_dataclass(baseline)


def test_calibration_hears_through_a_profile(tmp_path):
    from cheep.device import Engine
    from cheep.evaluate.field import load_recordings
    from tone_model import tones, write_tone_run

    engine = Engine(write_tone_run(tmp_path / "run"))
    sound = tones([(1, 2, "low")], 4)
    soundfile.write(tmp_path / "a.wav", sound, 8000)
    deaf = dataclasses.replace(analyse(float_to_int16(path(8000)), 8000), response=((100.0, -60.0), (4000.0, -60.0)))
    scores = []
    for microphone in (None, lambda: deaf.path(8000)):
        found = load_recordings(engine.bundle, {}, tmp_path, [tmp_path / "a.wav"], microphone=microphone)
        scores.append(found[0].scores)
    assert scores[0][:, 2].max() > 100 and scores[1][:, 2].max() < 0
