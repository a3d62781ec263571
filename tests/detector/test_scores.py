# SPDX-License-Identifier: MIT
"""What scores mean: C against exact arithmetic, thresholds near 1, probabilities to and fro."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cheep.config import DetectorConfig
from cheep.detector import Detector, ScoreScale, describe_scores, kept_threshold, logit, probability, show_probability
from cheep.errors import CheepError
from cheep.tflite.model import TensorInfo

LOGIT = ScoreScale("logit", 0.0625, -30)
ODDS = ScoreScale("log_odds", 0.04, -69)


@settings(max_examples=200, deadline=None)
@given(
    q=st.lists(st.integers(-128, 127), min_size=2, max_size=64),
    scale=st.sampled_from([0.01, 0.04, 0.1, 0.37]),
)
def test_log_odds_are_those_of_the_softmax(q, scale):
    z = np.array(q, np.float64) * scale
    expected = [z[k] - np.logaddexp.reduce(np.delete(z, k)) for k in range(len(q))]
    values = ScoreScale("log_odds", scale, 0).values(np.array(q, np.int8))
    np.testing.assert_allclose(values, expected, atol=1 / 512 + 1e-4)


def test_two_labels_have_opposite_odds_and_shifts_do_not_count():
    rows = np.array([[10, -20], [127, -128], [0, 0]], np.int8)
    values = ODDS.values(rows)
    np.testing.assert_array_equal(values[:, 0], -values[:, 1])
    np.testing.assert_array_equal(ODDS.values(rows[:1] + np.int8(50)), values[:1])
    np.testing.assert_allclose(ODDS.probabilities(rows).sum(axis=1), 1, atol=4e-3)


def test_a_logit_is_taken_as_it_is():
    rows = np.array([[-128, -30, 127]], np.int8)
    np.testing.assert_array_equal(LOGIT.values(rows), [[-98 * 0.0625, 0, 157 * 0.0625]])
    np.testing.assert_allclose(LOGIT.probabilities(rows), 1 / (1 + np.exp(-LOGIT.values(rows))))


@settings(deadline=None)
@given(
    scale=st.sampled_from([LOGIT, ODDS, ScoreScale("logit", 0.02, -100)]),
    level=st.integers(-100, 120),
    smoothing=st.integers(1, 32),
)
def test_a_sum_is_the_threshold_that_lets_it_pass(scale, level, smoothing):
    total = level * smoothing + smoothing // 3
    kept = kept_threshold(scale.threshold_of(total, smoothing))
    assert scale.on_sum(kept, smoothing) == total
    assert DetectorConfig.parse(DetectorConfig(threshold=(kept,)).to_dict()).threshold == (kept,)


def test_thresholds_near_one_differ():
    wanted = [0.98, 0.99, 0.999, 0.9995, 0.9999, 0.99999]
    sums = [LOGIT.on_sum(p, 2) for p in wanted]
    assert all(b - a >= 10 for a, b in pairwise(sums))
    old = [ScoreScale().on_sum(p, 2) for p in wanted]
    assert old[2] == old[3] == old[4]  # of a sigmoid in 8 bits: nothing passes any of them
    assert [show_probability(p) for p in (0.5, 0.95, 0.999, 0.9990, 0.99954, 0.9999999, 1.0, 0.0)] == [
        "0.50", "0.95", "0.999", "0.999", "0.9995", "0.999999", "1.00", "0.00",
    ]  # fmt: skip


@pytest.mark.parametrize("p", [0.999, 0.9999])
def test_a_detector_with_a_threshold_near_one(p):
    detector = Detector(DetectorConfig(smoothing_windows=1, threshold=(p,), hold_off_windows=0), 1, LOGIT)
    step = LOGIT.on_sum(p, 1)
    assert detector.push(np.array([[step - 1]] * 4, np.int8)) == []
    event = detector.push(np.array([[step]], np.int8))[0]
    assert event.peak >= p - 1e-6 and event.peak < 1
    assert event.peak_logit == pytest.approx(logit(p), abs=LOGIT.scale)
    assert event.peak == pytest.approx(float(probability(event.peak_logit)), abs=6e-7)
    # it stays on to p - 0.1, and ends below
    assert detector.push(np.array([[LOGIT.off_sum(p, 0.1, 1)]], np.int8)) == []
    assert detector.push(np.array([[LOGIT.off_sum(p, 0.1, 1) - 1]], np.int8))[0].ended


def test_a_low_threshold_ends_too():
    assert LOGIT.off_sum(0.1, 0.1, 1) == LOGIT.on_sum(0.05, 1) > -128
    assert LOGIT.off_sum(0.7, 0.0, 3) == LOGIT.on_sum(0.7, 3)


def test_thresholds_are_read_as_people_write_them():
    config = DetectorConfig.parse({"threshold": ["0.999", "logit 6.907", "off", "logit -2", 0.25]})
    p, same, off, low, number = config.threshold
    assert p == 0.999 and off is None and number == 0.25
    assert same == pytest.approx(0.999, abs=1e-6) and low == pytest.approx(1 / (1 + math.e**2))
    assert LOGIT.on_sum(p, 2) == LOGIT.on_sum(same, 2)
    with pytest.raises(CheepError, match="a logit such as"):
        DetectorConfig.parse({"threshold": ["logit six"]})
    with pytest.raises(CheepError, match=r"must lie in 0\.\.1"):
        DetectorConfig.parse({"threshold": ["1.5"]})


def test_what_the_manifest_says_must_fit_the_model():
    output = TensorInfo("scores", (1, 1), "int8", 0.0625, -30)
    assert ScoreScale.of(output, LOGIT.to_dict()) == LOGIT
    assert ScoreScale.of(output, None) == ScoreScale("probability", 0.0625, -30)
    with pytest.raises(CheepError, match="are not those of the model's output"):
        ScoreScale.of(output, {"kind": "logit", "scale": 0.05, "zero_point": -30})
    with pytest.raises(CheepError, match="must be one of probability, logit, log_odds"):
        ScoreScale.of(output, {**LOGIT.to_dict(), "kind": "odds"})



def test_the_section_is_said_in_words():
    section = {**LOGIT.to_dict(), "saturated": {"windows": 1500, "low": 0.3, "high": 0.0004}}
    assert describe_scores(section) == (
        "scores: logits from -6.1 to 9.8 in steps of 0.062; of those of 1,500 training windows 30 % lie at the low "
        "end, 0.04 % at the high end"
    )
    section["saturated"]["high"] = 0.05
    assert "cannot be told apart" in describe_scores(section)
    assert "probabilities" in describe_scores(None)
