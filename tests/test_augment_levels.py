"""Changes of training windows on mel columns: what moves where."""

import numpy as np
import pytest

from cheep.config import AugmentConfig, FeatureConfig
from cheep.features import compute_features
from cheep.features.cache import FeatureCache
from cheep.training.augment import add_noise, warp_frequency, warp_time
from cheep.training.data import WindowSet

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


def test_a_recording_of_one_window_is_turned_and_a_longer_one_moved():
    features = FeatureConfig(window_frames=10, n_mels=2)
    columns = np.repeat(np.arange(40, dtype=np.float32)[:, None], 2, axis=1)
    first, low, high = np.array([0, 15]), np.array([0, 10]), np.array([0, 30])
    none = np.zeros(2, int)
    windows = WindowSet(FeatureCache(features, columns, {}), first, low, high, none, none, none, none)
    for shift in (3, -3):  # the quiet end comes first; the longer recording's window starts elsewhere
        short, long = windows.gather_levels(np.arange(2), np.array([shift, shift]))[:, :, 0]
        assert short.tolist() == [7, 8, 9, 0, 1, 2, 3, 4, 5, 6]
        assert long.tolist() == list(range(15 + shift, 25 + shift))
