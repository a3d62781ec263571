"""Changes of training windows on mel columns: what moves where."""

import numpy as np
import pytest

from cheep.config import FeatureConfig
from cheep.features import compute_features
from cheep.training.augment import warp_frequency, warp_time

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
