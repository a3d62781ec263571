# SPDX-License-Identifier: MIT
"""The front end against librosa, and against itself: streams, chunks, lanes, reset."""

import ctypes
import dataclasses
import re

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cheep.audio import write_wav
from cheep.cli import main
from cheep.config import FeatureConfig
from cheep.errors import CheepError
from cheep.features import (
    FrontendStream,
    compute_features,
    frontend_spec_tables,
    mel_weights,
    quantize,
)
from cheep.features.cache import recording_columns
from cheep.features.check import check_features, decibel, mel_energy, pcen
from cheep.features.pcen import pcen_windows
from cheep.features.tables import pcen_smoothing
from cheep.tf_runtime import import_tf
from frontend_reference import signals

SCALE, ZERO_POINT = 0.42, 64  # about 107 dB in 256 steps

YAMNET = {
    "sample_rate_hz": 16000, "frame_samples": 400, "fft_size": 512, "hop_samples": 160, "n_mels": 64, "fmin_hz": 125,
    "fmax_hz": 7500, "mel_scale": "htk", "mel_norm": "none", "mel_triangles": "mel", "spectrum": "magnitude",
    "log_offset": 0.001, "window_frames": 96,
}  # fmt: skip

GRID = [
    {},
    {"frame_samples": 200},
    {"spectrum": "magnitude", "hop_samples": 80},
    {"mel_scale": "htk", "mel_norm": "none"},
    {"fft_size": 64, "frame_samples": 64, "n_mels": 12, "mel_norm": "none"},
    {"fft_size": 128, "frame_samples": 100, "n_mels": 20, "mel_scale": "htk", "spectrum": "magnitude"},
    {"fft_size": 512, "frame_samples": 512, "hop_samples": 128, "n_mels": 64},
    {"fft_size": 512, "frame_samples": 400, "hop_samples": 700, "n_mels": 80, "fmin_hz": 0, "mel_scale": "htk"},
    {"fft_size": 1024, "frame_samples": 1024, "n_mels": 128, "fmin_hz": 0},
    {"fft_size": 2048, "frame_samples": 1500, "n_mels": 40, "spectrum": "magnitude", "mel_norm": "none"},
    {"sample_rate_hz": 16000, "fft_size": 512, "frame_samples": 512, "fmax_hz": 8000, "n_mels": 40},
    {"n_mels": 1, "fmin_hz": 900, "fmax_hz": 3900},
    {"n_mels": 128, "fmin_hz": 0},
    YAMNET,
    YAMNET | {"mel_triangles": "hz", "log_offset": 1e-4},  # as the STM32 model zoo computes it
]


@pytest.mark.parametrize("changes", GRID, ids=lambda c: ",".join(f"{k}={v}" for k, v in c.items()) or "default")
def test_columns_equal_librosa(changes, rng):
    """Within 0.02 dB down to 85 dB below the frame's loudest band; at least 99.9 % the same after quantization.

    Further down the rounding of single precision shows (the reference computes in double): the amplitude is within
    2^-18 of the loudest band's.
    """
    config = FeatureConfig(**changes)
    same = total = 0
    for name, pcm in signals(rng, 6000).items():
        ours = compute_features(pcm, config)
        mel = mel_energy(pcm, config)
        reference = decibel(mel, config)
        assert ours.shape == reference.shape
        amplitude = np.sqrt(mel) if config.spectrum == "power" else mel
        loudest = amplitude.max(axis=1, keepdims=True)
        error = np.abs(ours - reference)
        level_db = 20 * np.log10(np.maximum(amplitude, 1e-30) / np.maximum(loudest, 1e-30))
        judged = (mel > config.log_floor) & (level_db > -85)
        assert error[judged].max(initial=0) < 0.02, name
        our_amplitude = 10 ** (ours / 20.0)
        deep = (mel > config.log_floor) & ~judged
        assert (np.abs(our_amplitude - amplitude) / np.maximum(loudest, 1e-30))[deep].max(initial=0) < 2**-18, name
        q, expected = quantize(ours, SCALE, ZERO_POINT), quantize(reference, SCALE, ZERO_POINT)
        assert np.abs(q.astype(int) - expected).max() <= 1, name
        same, total = same + (q == expected)[~deep].sum(), total + (~deep).sum()
        assert (q == expected).mean() > 0.97, name
    assert same / total >= 0.999


def test_within_tolerance_everywhere_above_a_floor_of_80_db(rng):
    """With a floor of 1e-8 even tones at full scale stay within 0.02 dB of librosa down to the floor."""
    config = FeatureConfig(log_floor=1e-8)
    for name, pcm in signals(rng, 24000).items():
        mel = mel_energy(pcm, config)
        error = np.abs(compute_features(pcm, config) - decibel(mel, config))
        assert error[mel > config.log_floor].max(initial=0) < 0.02, name
        assert error.max() < 0.05, name


@pytest.mark.parametrize("changes", [{}, {"pcen_bias": 0.0, "pcen_gain": 0.8}, {"pcen_power": 0.25, "hop_samples": 80}])
def test_pcen_equals_librosa(changes, rng):
    """Librosa starts its mean anywhere; ours starts at the first frame, which ``zi`` reproduces."""
    config = FeatureConfig(compression="pcen", **changes)
    for name, pcm in signals(rng, 8000).items():
        if config.pcen_bias == 0 and name not in ("noise", "bird-like"):
            continue  # without a bias the root magnifies energies that are only rounding
        expected = pcen(mel_energy(pcm, config), config)
        ours = compute_features(pcm, config)
        assert np.abs(ours - expected).max() < 1e-4 * max(1, np.abs(expected).max()), name


def _in_both(changes) -> FeatureConfig:
    changes = {name: value for name, value in changes.items() if name != "log_offset"}
    return FeatureConfig(**{**changes, "compression": "both", "n_mels": 2 * min(changes.get("n_mels", 40), 64)})


@pytest.mark.parametrize("changes", GRID)
def test_both_are_the_levels_and_the_pcen_of_each_band(changes, rng):
    config = _in_both(changes)
    for name, pcm in signals(rng, 8000).items():
        both = compute_features(pcm, config)
        levels, changed = (compute_features(pcm, config.alone(kind)) for kind in ("db", "pcen"))
        assert both[:, 1::2].tobytes() == changed.tobytes(), name
        np.testing.assert_allclose(both[:, ::2], (levels - config.silence_db) / 32, atol=2e-6, err_msg=name)
        if all(check_features(pcm, config.alone(kind)).held for kind in ("db", "pcen")):
            assert check_features(pcm, config).held, name
    quiet = compute_features(np.zeros(8000, np.int16), config)
    assert not quiet.any()
    training = pcen_windows(10 ** (levels[None] / np.float32(10)), config)[0]
    if config.spectrum == "power":
        np.testing.assert_allclose(training, both, atol=1e-4)


def test_pcen_smoothing_is_librosas_formula():
    config = FeatureConfig(pcen_time_constant_s=0.4)
    frames = 0.4 * config.sample_rate_hz / config.hop_samples
    assert pcen_smoothing(config) == pytest.approx((np.sqrt(1 + 4 * frames**2) - 1) / (2 * frames**2))


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize("norm", ["slaney", "none"])
def test_mel_weights_are_librosas(scale, norm):
    for n_mels, fft_size, fmin, fmax in ((40, 256, 100, 4000), (20, 512, 0, 3000), (128, 1024, 20, 4000)):
        config = FeatureConfig(
            n_mels=n_mels, fft_size=fft_size, fmin_hz=fmin, fmax_hz=fmax, mel_scale=scale, mel_norm=norm
        )
        expected = librosa.filters.mel(
            sr=8000, n_fft=fft_size, n_mels=n_mels, fmin=fmin, fmax=fmax, htk=scale == "htk",
            norm=norm if norm == "slaney" else None, dtype=np.float64,
        )  # fmt: skip
        assert np.abs(mel_weights(config) - expected).max() < 1e-12 * expected.max()


def test_yamnets_columns_are_those_of_its_own_formula(rng):
    """Within 0.02 dB of tf.signal's spectrum and mel matrix, and ``log(mel + 0.001)``: features.py of YAMNet."""
    tf = import_tf()
    config = FeatureConfig(**YAMNET)
    bank = tf.signal.linear_to_mel_weight_matrix(64, 257, 16000, 125.0, 7500.0, tf.float64).numpy()
    assert np.abs(mel_weights(config).T - bank).max() < 1e-12
    for name, pcm in signals(rng, 16000, 16000).items():
        magnitude = np.abs(tf.signal.stft(pcm / np.float64(32768), 400, 160, 512))
        level = np.log(magnitude @ bank + 0.001)
        ours = compute_features(pcm, config)
        amplitude, loudest = np.exp(level), np.exp(level).max(axis=1, keepdims=True)
        judged = amplitude > loudest * 10 ** (-85 / 20)
        assert np.abs(ours * np.log(10) / 20 - level)[judged].max() < 0.0023, name
        assert (np.abs(10 ** (ours / 20) - amplitude) / loudest).max() < 2**-17, name
    assert compute_features(np.zeros(800, np.int16), config).max() == pytest.approx(-60, abs=1e-4)
    assert config.silence_db == pytest.approx(-60)


def test_settings_that_came_later_leave_older_hashes_alone():
    assert FeatureConfig().sha256 == FeatureConfig.parse(FeatureConfig().to_dict() | {"log_offset": 0.0}).sha256
    assert "log_offset" not in FeatureConfig().to_json()
    assert FeatureConfig(log_offset=0.001).hash32 != FeatureConfig().hash32
    assert FeatureConfig(mel_triangles="mel").hash32 != FeatureConfig().hash32
    assert FeatureConfig.parse(FeatureConfig(**YAMNET).to_dict()) == FeatureConfig(**YAMNET)
    with pytest.raises(CheepError, match=r"log_offset=0.001: is for compression db"):
        FeatureConfig.parse({"compression": "pcen", "log_offset": 0.001})


@pytest.mark.parametrize("changes", GRID)
def test_sparse_tables_hold_every_weight(changes):
    config = FeatureConfig(**changes)
    tables = frontend_spec_tables(config)
    dense = np.zeros((config.n_mels, config.fft_size // 2 + 1), np.float32)
    at = 0
    for band, (start, count) in enumerate(zip(tables.band_start, tables.band_count, strict=True)):
        dense[band, start : start + count] = tables.band_weight[at : at + count]
        at += int(count)
    assert at == tables.band_weight.size
    assert np.array_equal(dense, mel_weights(config).astype(np.float32))


def test_default_state_and_tables_fit_in_8_kilobytes():
    config = FeatureConfig()
    assert FrontendStream(config).memory_bytes + frontend_spec_tables(config).size_bytes + 64 <= 8192


def _one_by_one(pcm, config):
    """Columns by the code that a device runs (no lanes)."""
    stream = FrontendStream(config)
    columns = np.empty((config.frames_of(pcm.size) + 1, config.n_mels), np.float32)
    consumed = ctypes.c_size_t()
    made = stream._core.cheep_frontend_run(
        stream._state, pcm.ctypes.data, pcm.size, columns.ctypes.data, len(columns), consumed
    )
    assert consumed.value == pcm.size
    return columns[:made]


@pytest.mark.parametrize("compression", ["db", "pcen", "both"])
@pytest.mark.parametrize("changes", GRID)
def test_lanes_and_chunks_give_the_bits_of_the_device(changes, compression, rng):
    if compression != "db":
        changes = {name: value for name, value in changes.items() if name != "log_offset"}
    config = _in_both(changes) if compression == "both" else FeatureConfig(**{**changes, "compression": compression})
    pcm = signals(rng, 20011)["bird-like"]
    device = _one_by_one(pcm, config)
    assert len(device) == config.frames_of(pcm.size)
    assert compute_features(pcm, config).tobytes() == device.tobytes()
    stream = FrontendStream(config)
    for _ in range(2):
        parts, at = [], 0
        while at < pcm.size:
            n = int(rng.choice([1, 7, 100, 1000, 6000]))
            parts.append(stream.push(pcm[at : at + n]))
            at += n
        assert np.concatenate(parts).tobytes() == device.tobytes()
        assert stream.columns == len(device)
        stream.reset()
        assert stream.columns == 0


@settings(max_examples=60, deadline=None)
@given(
    chunks=st.lists(st.integers(0, 900), min_size=1, max_size=30),
    hop=st.integers(1, 700),
    frame=st.integers(16, 256),
)
def test_any_chunking_gives_the_same_bits(chunks, hop, frame):
    config = FeatureConfig(frame_samples=frame, hop_samples=hop, n_mels=8)
    pcm = np.random.default_rng(sum(chunks)).integers(-32768, 32768, sum(chunks)).astype(np.int16)
    stream = FrontendStream(config)
    parts = [stream.push(part) for part in np.split(pcm, np.cumsum(chunks)[:-1])]
    assert np.concatenate(parts).tobytes() == compute_features(pcm, config).tobytes()


def test_too_short_a_recording_gives_no_column():
    assert compute_features(np.zeros(255, np.int16), FeatureConfig()).shape == (0, 40)
    assert compute_features(np.zeros(0, np.int16), FeatureConfig()).shape == (0, 40)
    assert compute_features(np.zeros(256, np.int16), FeatureConfig()).shape == (1, 40)


@pytest.mark.parametrize("n", [1, 100, 4001, 7855, 7856, 7857, 20000])
def test_a_recording_shorter_than_a_window_stands_in_the_middle_of_silence(tmp_path, rng, n):
    config = FeatureConfig()
    pcm = rng.integers(-9000, 9000, n, dtype=np.int16)
    write_wav(tmp_path / "a.wav", pcm, 8000)
    columns = recording_columns(tmp_path / "a.wav", config)
    before = max(0, (config.window_samples - n) // 2)
    heard = np.zeros(max(n, config.window_samples), np.int16)
    heard[before : before + n] = pcm
    assert columns.tobytes() == compute_features(heard, config).tobytes()
    assert len(columns) >= config.window_frames


def test_silence_is_the_floor():
    columns = compute_features(np.zeros(2000, np.int16), FeatureConfig(log_floor=1e-8))
    assert np.abs(columns + 80).max() < 1e-4


def test_empty_bands_warn_and_give_the_floor(caplog, rng):
    config = FeatureConfig(n_mels=128, fft_size=128, frame_samples=128, log_floor=1e-9)
    frontend_spec_tables.cache_clear()
    columns = compute_features(signals(rng, 2000)["noise"], config)
    assert "mel bands hold no FFT bin" in caplog.text
    empty = frontend_spec_tables(config).band_count == 0
    assert empty.any() and np.abs(columns[:, empty] + 90).max() < 1e-4


def test_a_bank_without_any_bin_is_refused():
    with pytest.raises(CheepError, match=r"fmin_hz=1001.0, fmax_hz=1010.0: .*no FFT bin"):
        compute_features(np.zeros(999, np.int16), FeatureConfig(n_mels=2, fmin_hz=1001, fmax_hz=1010))


@pytest.mark.parametrize(
    "pcm", [np.zeros(300, np.float32), np.zeros((300, 2), np.int16), [0] * 300], ids=["float", "stereo", "list"]
)
def test_only_int16_mono_is_taken(pcm):
    with pytest.raises(CheepError, match="must be a one-dimensional int16 array"):
        compute_features(pcm, FeatureConfig())


def test_a_tiny_floor_is_refused():
    with pytest.raises(CheepError, match="log_floor"):
        compute_features(np.zeros(300, np.int16), FeatureConfig(log_floor=1e-35))


@settings(max_examples=200, deadline=None)
@given(
    x=st.lists(st.floats(width=32), min_size=1, max_size=9),
    scale=st.floats(2**-10, 4, width=32),
    zero_point=st.integers(-128, 127),
)
def test_quantize_rounds_half_to_even_and_clips(x, scale, zero_point):
    x = np.array(x, np.float32)
    factor = np.float32(1 / float(np.float32(scale)))
    with np.errstate(all="ignore"):
        expected = np.clip(np.rint(x * factor + np.float32(zero_point)), -128, 127)
    expected = np.where(np.isnan(x), -128, expected)
    assert np.array_equal(quantize(x, scale, zero_point), np.nan_to_num(expected, nan=-128).astype(np.int8))


def test_quantize_keeps_the_shape_and_refuses_bad_settings():
    assert quantize(np.zeros((3, 4)), 0.5, -7).tolist() == [[-7] * 4] * 3
    with pytest.raises(CheepError, match="scale=0"):
        quantize(np.zeros(3), 0, 0)
    with pytest.raises(CheepError, match="zero_point=200"):
        quantize(np.zeros(3), 0.5, 200)


def test_features_do_not_import_tensorflow():
    import subprocess
    import sys

    code = "import sys, cheep.features, cheep.detector; sys.exit(not {'tensorflow', 'librosa'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# cheep features check: the same comparison on a recording of the user's own


def chirp(tmp_path, seconds=3.0, rate=22050):
    t = np.arange(int(seconds * rate)) / rate
    pcm = np.rint(9000 * np.sin(2 * np.pi * (800 * t + 500 * t * t))).astype(np.int16)
    write_wav(tmp_path / "chirp.wav", pcm, rate)
    return tmp_path / "chirp.wav"


def test_blocks_of_the_reference_do_not_matter(monkeypatch, rng):
    config, pcm = FeatureConfig(frame_samples=200), signals(rng, 20000)["bird-like"]
    whole = mel_energy(pcm, config)
    monkeypatch.setattr("cheep.features.check._BLOCK", 7)
    np.testing.assert_array_equal(mel_energy(pcm, config), whole)


@pytest.mark.parametrize(
    "settings_",
    [
        "",
        "features:\n  compression: pcen\n",
        "features:\n  compression: both\n  n_mels: 80\n",
        "features:\n  spectrum: magnitude\n",
    ],
)
def test_the_check_of_a_recording_gives_numbers_and_a_picture(settings_, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(settings_)
    assert main("features", ["check", str(chirp(tmp_path)), "--config", "run.yaml"]) == 0
    said = capsys.readouterr().out
    assert "119 columns of 40 bands compared, 3.0 s at 8000 Hz; settings of run.yaml" in said
    assert (tmp_path / "chirp.features.png").read_bytes().startswith(b"\x89PNG")


def test_the_check_ends_with_1_where_the_two_differ(tmp_path, monkeypatch, capsys):
    def slightly_off(pcm, config):
        columns = compute_features(pcm, config)
        columns[5, 7] += 0.05
        return columns

    monkeypatch.setattr("cheep.features.check.compute_features", slightly_off)
    target = tmp_path / "out.png"
    assert main("features", ["check", str(chirp(tmp_path)), "--picture", str(target)]) == 1
    seen = capsys.readouterr()
    assert re.search(r"largest +0\.05", seen.out) and "differ by more than is allowed" in seen.err
    assert target.is_file()


def test_the_check_judges_quiet_cells_by_amplitude(rng):
    config, pcm = FeatureConfig(), signals(rng, 8000)["fast chirp"]
    found = check_features(pcm, config)
    assert found.held and 0 < (~found.judged).mean() < 1
    shifted = dataclasses.replace(found, deep_error=2.0**-17)
    assert not shifted.held


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--config", "a.yaml", "--run", "x"], "give one of the two"), (["--run", "nowhere"], "nowhere: no such run")],
)
def test_mistakes_of_the_check(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main("features", ["check", str(chirp(tmp_path)), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_recording_shorter_than_a_frame_is_refused():
    with pytest.raises(CheepError, match="100 samples: shorter than one frame of 256"):
        check_features(np.zeros(100, np.int16), FeatureConfig())
