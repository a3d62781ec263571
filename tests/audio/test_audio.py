# SPDX-License-Identifier: MIT
"""Audio in: the int16 rule, every kind of file, and the messages for bad ones."""

import shutil
import wave

import numpy as np
import pytest
import soundfile

from cheep.audio import (
    Resampler,
    float_to_int16,
    int16_to_float,
    iter_audio,
    probe,
    read_audio,
    resample,
    write_wav,
)
from cheep.errors import CheepError


def test_int16_float_round_trip_is_exact_for_every_value():
    every = np.arange(-32768, 32768).astype(np.int16)
    assert np.array_equal(float_to_int16(int16_to_float(every)), every)


def test_float_to_int16_rounds_half_to_even_and_clips():
    samples = np.array([0.5, 1.5, 2.5, -0.5, -1.5], np.float32) / 32768
    assert float_to_int16(samples).tolist() == [0, 2, 2, 0, -2]
    assert float_to_int16(np.array([2.0, -2.0, 1.0], np.float32)).tolist() == [32767, -32768, 32767]


def test_same_rate_mono_file_is_read_untouched(tmp_path, rng):
    pcm = rng.integers(-32768, 32768, 4001).astype(np.int16)
    write_wav(tmp_path / "a.wav", pcm, 8000)
    assert np.array_equal(read_audio(tmp_path / "a.wav", 8000), pcm)


@pytest.mark.parametrize("rate_hz", [8000, 11025, 16000, 22050, 44100, 48000])
def test_any_rate_keeps_a_tone_and_its_length(tone, rate_hz):
    pcm = read_audio(tone(rate_hz=rate_hz, channels=2), 8000)
    assert abs(len(pcm) - 8000) <= 1
    spectrum = np.abs(np.fft.rfft(pcm[1000:7000] * np.hanning(6000)))
    assert abs(np.argmax(spectrum) * 8000 / 6000 - 1000) < 2
    assert np.max(np.abs(pcm[500:7500])) == pytest.approx(0.5 * 32768, rel=0.01)


def test_energy_above_half_the_target_rate_is_removed(tmp_path):
    t = np.arange(44100) / 44100
    soundfile.write(tmp_path / "high.wav", 0.5 * np.sin(2 * np.pi * 6000 * t), 44100)
    assert np.max(np.abs(read_audio(tmp_path / "high.wav", 8000)[500:-500])) < 40  # 6 kHz would alias to 2 kHz


def test_blocks_joined_are_the_whole(tone):
    path = tone(rate_hz=44100, seconds=2.3)
    whole = read_audio(path, 8000)
    for block_s in (0.01, 0.37, 1.0):
        assert np.array_equal(np.concatenate(list(iter_audio(path, 8000, block_s))), whole)


def test_streaming_resampler_equals_one_call(rng):
    x = rng.standard_normal(5000).astype(np.float32)
    stream = Resampler(16000, 8000)
    parts = [stream.push(part) for part in np.array_split(x, 13)] + [stream.push(x[:0], last=True)]
    assert np.array_equal(np.concatenate(parts), resample(x, 16000, 8000))


def test_compressed_formats(tone, tmp_path):
    pcm = read_audio(tone(), 8000)
    samples = int16_to_float(pcm)
    for name in ("a.flac", "a.ogg", "a.mp3"):
        soundfile.write(tmp_path / name, samples, 8000)
        got = read_audio(tmp_path / name, 8000)
        assert np.corrcoef(got[2000:6000], pcm[2000:6000])[0, 1] > 0.9 or name == "a.mp3"
        assert np.sqrt(np.mean(got[2000:6000].astype(float) ** 2)) == pytest.approx(0.3535 * 32768, rel=0.1)
    assert probe(tmp_path / "a.flac").container == "FLAC"


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is installed by the set-up script")
def test_a_format_that_only_ffmpeg_reads(tone, tmp_path):
    import subprocess

    target = tmp_path / "a.m4a"
    subprocess.run(["ffmpeg", "-loglevel", "error", "-i", str(tone(seconds=2)), str(target)], check=True)
    assert abs(len(read_audio(target, 8000)) - 16000) < 2200  # AAC pads
    assert probe(target).sample_rate_hz == 8000


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "no such file"),
        (lambda p: p.mkdir(), "is a folder; name a file in it"),
        (lambda p: p.write_bytes(b""), "the file is empty"),
        (lambda p: p.write_bytes(b"RIFF0000WAVEjunk" * 4), "no audio that libsndfile or ffmpeg"),
        (lambda p: p.write_bytes(bytes(range(256)) * 8), "no audio that libsndfile or ffmpeg"),
        (lambda p: soundfile.write(p, np.zeros(0), 8000), "zero length"),
        (lambda p: soundfile.write(p, np.zeros(100), 8000, subtype="PCM_U8"), "8-bit samples"),
        (lambda p: soundfile.write(p, np.full(100, np.nan), 8000, subtype="FLOAT"), "NaN or infinite"),
    ],
)
def test_bad_files_are_named_with_the_rule(tmp_path, make, message):
    path = tmp_path / "bad.wav"
    make(path)
    with pytest.raises(CheepError, match=message) as caught:
        read_audio(path, 8000)
    assert "bad.wav" in str(caught.value)


def test_a_flac_damaged_in_the_middle_says_where(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, np.random.default_rng(1).standard_normal(80000) * 0.1, 8000)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 5000] = bytes(5000)
    path.write_bytes(data)
    with pytest.raises(CheepError, match=r"decoding fails after|no samples could be decoded"):
        read_audio(path, 8000)


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(ValueError):
        write_wav(tmp_path / "a.wav", np.zeros(10, np.complex64), 8000)
    assert list(tmp_path.iterdir()) == []


def test_write_wav_is_plain_pcm(tmp_path):
    write_wav(tmp_path / "a.wav", np.array([1, -2, 3], np.int16), 8000)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8000)
