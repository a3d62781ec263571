# SPDX-License-Identifier: MIT
"""The C detector against plain Python, and the rule that turns thresholds into sums."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cheep.config import DetectorConfig
from cheep.detector import Detector, ScoreScale, threshold_sums
from cheep.errors import CheepError
from frontend_reference import PlainDetector

SCALE = ScoreScale()  # probabilities in 1/256


def _rows(events):
    return [(e.label, e.ended, e.first_window, e.last_window, e.peak_sum) for e in events]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_equals_plain_python(data):
    n_classes = data.draw(st.integers(1, 4))
    config = DetectorConfig(
        smoothing_windows=data.draw(st.integers(1, 5)),
        min_windows=data.draw(st.integers(1, 4)),
        hold_off_windows=data.draw(st.integers(0, 4)),
        hysteresis=data.draw(st.sampled_from([0.0, 0.1, 0.5])),
        threshold=tuple(data.draw(st.sampled_from([None, 0.0, 0.3, 0.5, 0.9])) for _ in range(n_classes)),
    )
    levels = st.sampled_from([-128, -60, -5, 0, 5, 60, 100, 127])
    values = data.draw(st.lists(st.lists(levels, min_size=n_classes, max_size=n_classes), min_size=1, max_size=60))
    scores = np.array(values, np.int8)
    detector = Detector(config, n_classes, SCALE)
    sums = threshold_sums(config, n_classes, SCALE)
    expected = PlainDetector(sums, config.smoothing_windows, config.min_windows, config.hold_off_windows).run(scores)
    cut = data.draw(st.integers(0, len(scores)))
    events = detector.push(scores[:cut]) + detector.push(scores[cut:]) + detector.flush()
    assert _rows(events) == expected
    assert detector.flush() == []
    detector.reset()
    assert _rows(detector.push(scores) + detector.flush()) == expected


def test_an_event_from_start_to_end():
    config = DetectorConfig(smoothing_windows=2, min_windows=2, hold_off_windows=3, hysteresis=0.2, threshold=(0.5,))
    detector = Detector(config, 1, SCALE)
    high, low = 127, -128
    events = detector.push(np.array([low, high, high, high, low, low, high, high, high, high, high], np.int8)[:, None])
    # means of two: 0 | .5 1 1 .5 0: on (mean >= 0.5) first at 2 (1: 0.498 rounds below), reported at 3
    assert _rows(events)[0] == (0, False, 2, 3, 254)
    assert _rows(events)[1] == (0, True, 2, 4, 254)
    # the end is at 5; 6, 7, 8 are held off; on again at 9 and 10
    assert _rows(events)[2] == (0, False, 9, 10, 254)
    assert events[0].peak == pytest.approx((127 + 128) / 256)
    assert _rows(detector.flush()) == [(0, True, 9, 10, 254)]
    assert detector.windows == 11


def test_no_event_before_smoothing_is_full():
    config = DetectorConfig(smoothing_windows=4, hold_off_windows=0, threshold=(0.1,))
    events = Detector(config, 1, SCALE).push(np.full((6, 1), 127, np.int8))
    assert _rows(events) == [(0, False, 3, 3, 4 * 127)]


def test_a_label_without_threshold_is_silent():
    config = DetectorConfig(smoothing_windows=1, threshold=(None, 0.5))
    events = Detector(config, 2, SCALE).push(np.full((3, 2), 127, np.int8))
    assert {e.label for e in events} == {1}


@settings(deadline=None)
@given(
    threshold=st.integers(0, 1000).map(lambda n: n / 1000),
    smoothing=st.integers(1, 32),
    zero_point=st.integers(-128, 127),
)
def test_the_sum_is_the_least_whose_mean_reaches_the_threshold(threshold, smoothing, zero_point):
    """``ceil`` of the exact bound for the threshold as written in decimals."""
    bound = smoothing * (Fraction(round(threshold * 1000), 1000) * 256 + zero_point)
    assert ScoreScale(zero_point=zero_point).on_sum(threshold, smoothing) == math.ceil(bound)


def test_one_threshold_serves_all_classes():
    assert threshold_sums(DetectorConfig(threshold=(0.5,), smoothing_windows=3), 3, SCALE) == [(0, -76)] * 3


@pytest.mark.parametrize(
    ("config", "n_classes", "scale", "message"),
    [
        (DetectorConfig(threshold=(0.5, 0.5)), 3, SCALE, r"has 2 values for 3 classes"),
        (DetectorConfig(smoothing_windows=32), 40, SCALE, r"n_classes=40, smoothing_windows=32"),
        (DetectorConfig(), 65, SCALE, "65 labels: a detector takes 1 to 64"),
    ],
)
def test_refused_settings(config, n_classes, scale, message):
    with pytest.raises(CheepError, match=message):
        Detector(config, n_classes, scale)


def test_a_scale_is_above_zero():
    with pytest.raises(CheepError, match=r"scale=0.0: must be above 0"):
        ScoreScale(scale=0.0)


@pytest.mark.parametrize(("shape", "kind"), [((3, 2), np.int8), ((3, 1), np.float32), ((3, 1, 1), np.int8)])
def test_refused_scores(shape, kind):
    with pytest.raises(CheepError, match=r"must be int8 of shape \(windows, 1\)"):
        Detector(DetectorConfig(), 1, SCALE).push(np.zeros(shape, kind))
