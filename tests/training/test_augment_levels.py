# SPDX-License-Identifier: MIT
"""Changes of training windows on mel columns: what moves where."""

import numpy as np
import pytest

from cheep.config import AugmentConfig, FeatureConfig, TrainConfig
from cheep.datasets.manifest import Manifest
from cheep.features import compute_features
from cheep.features.cache import FeatureCache
from cheep.features.mel import mel_points_hz
from cheep.training.augment import add_noise, draw_epoch, is_silent, trim, warp_frequency, warp_time
from cheep.training.data import LabelPlan, WindowSet

FEATURES = FeatureConfig()


class Fixed:
    """A random generator whose factors are all the largest, or all the smallest."""

    def __init__(self, value):
        self.value = value

    def uniform(self, low, high, n):
        return np.full(n, self.value)


def tone(hz, seconds=1.0):
    t = np.arange(int(FEATURES.sample_rate_hz * seconds)) / FEATURES.sample_rate_hz
    return compute_features((8000 * np.sin(2 * np.pi * hz * t)).astype(np.int16), FEATURES)


@pytest.mark.parametrize(("end", "hz"), [(1, 1600.0), (-1, 2500.0)])
def test_frequency_warp_moves_a_tone_like_another_speaker(end, hz):
    changed = warp_frequency(tone(2000)[None], FEATURES, 0.2, Fixed(end))[0]
    assert abs(int(changed.mean(0).argmax()) - int(tone(hz).mean(0).argmax())) <= 1


def test_time_warp_changes_the_distance_of_two_onsets():
    x = np.full((1, 41, 3), -90, np.float32)
    x[:, [10, 30]] = 0
    for end, distance in ((1, 16), (-1, 25)):
        y = warp_time(x, 0.2, Fixed(end))[0, :, 0]
        first, last = y[:20].argmax(), 20 + y[20:].argmax()
        assert abs(last - first - distance) <= 1
    assert warp_time(x, 0.2, Fixed(0)) == pytest.approx(x)


def test_local_warps_vary_inside_the_window_and_keep_its_middle(rng):
    ramp = np.tile(np.arange(41, dtype=np.float32)[:, None], (200, 1, 3))  # each cell says where it stood
    place = warp_time(ramp, 0, rng, local=0.4)[:, :, 0]
    speed = np.diff(place, axis=1)
    inside = (place[:, 1:] < 40) & (place[:, :-1] > 0)  # not where the outer columns are repeated
    assert place[:, 20] == pytest.approx(20, abs=1e-4)
    assert speed[inside].min() >= 0.6 - 1e-3 and speed[inside].max() <= 1 / 0.6 + 1e-3
    assert np.all(np.abs(np.diff(speed[:, 1:-1], axis=1))[inside[:, 1:-2] & inside[:, 2:-1]] < 0.25)  # smoothly
    assert np.mean(speed[:, 12:28].max(axis=1) / speed[:, 12:28].min(axis=1) > 1.2) > 0.7
    bands = np.tile(np.arange(40, dtype=np.float32), (200, 4, 1))
    centre = mel_points_hz(FEATURES)[1:-1]
    heard = warp_frequency(bands, FEATURES, 0, rng, local=0.1)[:, 0]
    factor = np.interp(heard, np.arange(40), centre) / centre
    inside = (heard > 0) & (heard < 39)
    assert factor[inside].min() >= 0.9 - 1e-3 and factor[inside].max() <= 1 / 0.9 + 1e-3
    spread = [row[ok].max() / row[ok].min() for row, ok in zip(factor, inside, strict=True)]
    assert np.median(spread) > 1.05


def test_warps_of_nothing_and_within_their_range(rng):
    x = rng.normal(-40, 10, (50, 39, 40)).astype(np.float32)
    assert warp_frequency(x, FEATURES, 0, rng) is x
    assert warp_time(x, 0, rng) is x
    for y in (warp_frequency(x, FEATURES, 0.3, rng), warp_time(x, 0.3, rng)):
        assert y.shape == x.shape and y.dtype == np.float32
        assert x.min() <= y.min() and y.max() <= x.max()
        assert not np.array_equal(y[0], y[1])


def test_noise_stands_at_its_distance_below_the_sound(rng):
    x = tone(1000)[None].repeat(400, axis=0)
    config = AugmentConfig(noise_probability=1, noise_snr_db=(20, 20))
    y = add_noise(x, config, rng)
    assert y.shape == x.shape and y.dtype == np.float32 and np.all(y >= x - 1e-3)
    empty = x[0].mean(0) < x[0].max() - 60  # bands that the tone leaves to the noise
    power = np.mean(10 ** (y / 10), axis=1)
    slope = np.linspace(-1, 1, x.shape[2])
    sound = np.mean(10 ** (x[0] / 10))
    for window in power[:50]:
        line = np.polynomial.Polynomial.fit(slope[empty], 10 * np.log10(window[empty] / sound), 1).convert().coef
        assert line[0] == pytest.approx(-20 + 1.8, abs=1.5)  # the mean of a spread of 4 dB lies 1.8 dB above its level
        assert abs(line[1]) < 16.5
    assert add_noise(x, AugmentConfig(), rng) is x


def test_trim_takes_the_weak_ends_and_nothing_between(rng):
    x = np.full((300, 12, 3), -100, np.float32)
    levels = [-45, -30, -10, -50, 0, -20, -35]  # of columns 3 to 9; a gap inside the word
    x[:, 3:10] = np.float32(levels)[:, None]
    config = AugmentConfig(trim_probability=1, trim_db=(25, 25))
    y = trim(x, -100.0, config, rng)
    assert y.dtype == np.float32
    assert np.array_equal(y[0, :, 0], [-100] * 5 + levels[2:6] + [-100] * 3)
    assert np.array_equal(y, y[:1].repeat(300, axis=0))
    widths = (trim(x, -100.0, config.model_copy(update={"trim_db": (5, 48)}), rng)[:, :, 0] > -100).sum(axis=1)
    assert set(widths) == {1, 3, 4, 5, 6, 7}
    some = trim(x, -100.0, config.model_copy(update={"trim_probability": 0.3}), rng)
    assert 0.2 < np.mean(some[:, 3, 0] == -100) < 0.4
    assert trim(x, -100.0, AugmentConfig(), rng) is x
    silent = np.full((4, 12, 3), -100, np.float32)
    assert np.array_equal(trim(silent, -100.0, config, rng), silent)


def test_a_recording_of_one_window_is_turned_and_a_longer_one_moved():
    features = FeatureConfig(window_frames=10, n_mels=2)
    columns = np.repeat(np.arange(40, dtype=np.float32)[:, None], 2, axis=1)
    first, low, high = np.array([0, 15]), np.array([0, 10]), np.array([0, 30])
    none = np.zeros(2, int)
    windows = WindowSet(FeatureCache(features, columns, {}), first, low, high, none, none, none, none, np.zeros(1))
    for shift in (3, -3):  # the quiet end comes first; the longer recording's window starts elsewhere
        short, long = windows.gather_levels(np.arange(2), np.array([shift, shift]))[:, :, 0]
        assert short.tolist() == [7, 8, 9, 0, 1, 2, 3, 4, 5, 6]
        assert long.tolist() == list(range(15 + shift, 25 + shift))


def test_a_window_of_digital_silence_says_nothing_of_its_recordings_label():
    features = FeatureConfig(window_frames=10, n_mels=2)
    floor = 10 * np.log10(features.log_floor)
    columns = np.full((60, 2), floor, np.float32)
    columns[:8] = -20  # a bark at the beginning of a recording that is filled up with zeros
    columns[35, 1] = floor + 3  # hardly anything is not nothing
    first, low, high = np.array([0, 20, 30]), np.zeros(3, int), np.full(3, 50)
    targets = np.tile(np.array([[1, 0]], np.float32), (3, 1))
    none = np.zeros(3, int)
    config = AugmentConfig(gain_db=0, tilt_db=0, band_db=0, shift_frames=0, mixup_alpha=0, signal_probability=0)
    for silence in ([0.5, 0.5], [0.0, 1.0]):
        windows = WindowSet(
            FeatureCache(features, columns, {}), first, low, high, targets, none, none, none.astype(bool),
            np.array(silence, np.float32),
        )  # fmt: skip
        _, y = draw_epoch(windows, np.arange(3), config, np.random.default_rng(1))
        assert y.tolist() == [[1, 0], silence, [1, 0]] and y.dtype == np.float32


def test_signals_without_sound_take_the_place_of_some_windows():
    features = FeatureConfig()
    columns = np.full((200, features.n_mels), -20.0, np.float32)
    n = 400
    first, none = np.zeros(n, int), np.zeros(n, int)
    targets = np.tile(np.array([[0, 1]], np.float32), (n, 1))
    config = AugmentConfig(gain_db=0, tilt_db=0, mix_probability=0, mixup_alpha=0, mask_frames=0, mask_bands=0)
    loudest = {}
    for background in (True, False):
        windows = WindowSet(
            FeatureCache(features, columns, {}), first, none, none, targets, none, none, np.full(n, background),
            np.array([1, 0] if background else [0.5, 0.5], np.float32),
        )  # fmt: skip
        some = config.model_copy(update={"signal_probability": 0.25})
        x, y = draw_epoch(windows, np.arange(n), some, np.random.default_rng(1))
        changed = (x[..., 0] != -20).any(axis=(1, 2))
        assert 0.18 < changed.mean() < 0.32
        assert np.array_equal(y[changed], np.tile(windows.silence, (changed.sum(), 1)))
        assert np.array_equal(y[~changed], targets[~changed])
        assert is_silent(x[changed, ..., 0], features).any(), "digital silence is among them, at its own level"
        loudest[background] = x[changed].max()
        off = draw_epoch(
            windows, np.arange(n), config.model_copy(update={"signal_probability": 0.0}), np.random.default_rng(1)
        )
        assert (off[0] == -20).all()
    assert loudest[True] > 0 > -40 > loudest[False], "no loud noise without a background to call it"


@pytest.mark.parametrize("spectrum", ["power", "magnitude"])
def test_silent_is_digital_silence_and_not_its_last_bit(spectrum, rng):
    features = FeatureConfig(spectrum=spectrum)
    levels = [
        compute_features(pcm.astype(np.int16), features)[:39] for pcm in (np.zeros(8000), rng.integers(-1, 2, 8000))
    ]
    assert levels[0] == pytest.approx(features.silence_db, abs=1e-3)
    assert is_silent(np.array(levels), features).tolist() == [True, False]


@pytest.mark.parametrize(
    ("labels", "activation", "silence"),
    [
        (["cat", "dog"], "auto", [0.5, 0.5]),
        (["background", "cat", "dog"], "auto", [1, 0, 0]),
        (["background", "cat"], "auto", [0]),
        (["background", "cat", "dog"], "sigmoid", [0, 0]),
    ],
)
def test_silence_is_background_or_no_label_more_than_another(labels, activation, silence):
    fields = {"start_s": 0.0, "licence": "", "attribution": ""}
    rows = [{"path": f"{label}.wav", "label": label, **fields} for label in labels]
    plan = LabelPlan.of(Manifest.from_rows(rows), TrainConfig(activation=activation))
    assert plan.silence.tolist() == silence
