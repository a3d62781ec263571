# SPDX-License-Identifier: MIT
"""Metrics against scikit-learn, intervals against known values and their own coverage, temperature against truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

from cheep.errors import CheepError
from cheep.evaluate.intervals import (
    bootstrap,
    grouped_proportion,
    proportion_interval,
    spread_between,
)
from cheep.evaluate.metrics import confusion_matrix, per_class, predicted_classes, score_curve
from cheep.evaluate.temperature import apply_temperature, calibrate_scores, fit_temperature, reliability
from cheep.evaluate.windows import WindowScores, summarize
from cheep.report.content import REST, clip_confusion

ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 12)), min_size=2, max_size=60)


@settings(max_examples=150, deadline=None)
@given(ROWS)
def test_curve_agrees_with_scikit_learn_also_with_ties(rows):
    positive = np.array([row[0] for row in rows])
    scores = np.array([row[1] / 12 for row in rows])
    curve = score_curve(positive, scores)
    if positive.all() or not positive.any():
        assert curve is None
        return
    assert curve.roc_auc == pytest.approx(roc_auc_score(positive, scores))
    assert curve.average_precision == pytest.approx(average_precision_score(positive, scores))
    assert (np.diff(curve.true_positive_rate) >= 0).all() and (np.diff(curve.threshold) < 0).all()


def test_row_weights_act_as_repeated_rows(rng):
    positive, scores = rng.random(40) < 0.5, rng.integers(0, 9, 40) / 8
    counts = rng.integers(0, 4, 40)
    weighted = score_curve(positive, scores, counts)
    repeated = score_curve(np.repeat(positive, counts), np.repeat(scores, counts))
    assert weighted.roc_auc == pytest.approx(repeated.roc_auc)
    assert weighted.average_precision == pytest.approx(repeated.average_precision)


def test_equal_error_rate_of_two_overlapping_groups():
    positive = np.array([1, 1, 1, 1, 0, 0, 0, 0], bool)
    scores = np.array([0.9, 0.8, 0.7, 0.3, 0.6, 0.2, 0.1, 0.0])
    assert score_curve(positive, scores).equal_error_rate == pytest.approx(0.25)


def test_nan_scores_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        score_curve(np.array([True, False]), np.array([0.5, np.nan]))
    with pytest.raises(CheepError, match="NaN or infinity: the model is damaged"):
        per_class(("a",), np.ones((2, 1)), np.array([[0.5], [np.nan]]))
    with pytest.raises(CheepError, match=r"scores \(2, 1\), targets \(2, 1\), 2 labels"):
        per_class(("a", "b"), np.ones((2, 1)), np.ones((2, 1)))


def test_per_class_figures_are_those_of_scikit_learn(rng):
    true = rng.integers(0, 3, 90)
    scores = rng.random((90, 3)) + np.eye(3)[true] * 0.5
    rows = per_class(("a", "b", "c"), np.eye(3)[true], scores)
    expected = precision_recall_fscore_support(true, scores.argmax(axis=1))
    for row, *values in zip(rows, *expected, strict=True):
        assert [row.precision, row.recall, row.f1, row.rows] == pytest.approx(values)


def test_a_class_that_never_occurs_has_no_recall():
    row = per_class(("a", "b"), np.array([[1, 0], [1, 0]]), np.array([[0.9, 0.1], [0.2, 0.8]]))[1]
    assert (row.rows, row.recall, row.f1, row.roc_auc) == (0, None, None, None)
    assert row.precision == 0


def test_rejection_sends_unsure_rows_out_of_distribution():
    scores = np.array([[0.9, 0.1], [0.4, 0.45], [0.5, 0.5]])
    assert predicted_classes(scores).tolist() == [0, 1, 0]
    assert predicted_classes(scores, 0.5).tolist() == [0, 2, 0]
    assert confusion_matrix([0, 1, 1], [0, 1, 2], 3).tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]


def test_confusion_of_one_sigmoid_output_has_a_column_for_none():
    clips = WindowScores(
        ("bird",), "sigmoid", np.array([[1], [1], [0], [0]]), np.array([[0.9], [0.2], [0.1], [0.7]]), np.arange(4)
    )
    labels, table = clip_confusion(clips, None)
    assert labels == ("bird", REST)
    assert table.tolist() == [[1, 1], [1, 1]]


def test_the_spread_of_clusters():
    counts, hours = np.array([12, 0, 0, 0, 0, 0]), np.ones(6)
    assert spread_between(np.array([2, 2, 2, 2]), np.ones(4)) == 1.0
    assert spread_between(counts, hours) == pytest.approx(12.0)
    assert spread_between(np.array([5]), np.ones(1)) == spread_between(np.zeros(3), np.ones(3)) == 1.0


def test_a_long_recording_that_is_unlike_counts_more_than_its_share():
    """One of ten recordings lasts as long as the rest and holds most of the alarms: dividing by what it expects
    (Pearson) would hide that."""
    counts, hours = np.array([30, *[1] * 9]), np.array([9.0, *[1.0] * 9])
    expected = hours * counts.sum() / hours.sum()
    pearson = np.sum((counts - expected) ** 2 / expected) / 9
    assert spread_between(counts, hours) > 2.5 * pearson


def test_bootstrap_draws_whole_recordings(rng):
    groups = np.repeat(np.arange(20), 50)  # 50 identical rows per recording: 20 pieces of evidence, not 1000
    values = np.repeat(rng.random(20) < 0.5, 50).astype(float)
    found = bootstrap(lambda w: float((w * values).sum() / w.sum()), groups, rng, 600)
    rows = bootstrap(lambda w: float((w * values).sum() / w.sum()), np.arange(1000), rng, 600)
    assert found.value == rows.value
    assert found.high - found.low > 4 * (rows.high - rows.low)


@pytest.mark.parametrize(
    ("groups", "size", "alike", "share"),
    [(10, 4, 0.3, 0.9), (40, 1, 0.0, 0.95), (40, 3, 0.6, 0.95), (15, 8, 0.5, 0.8), (100, 2, 0.2, 0.98)],
)
def test_the_interval_of_an_accuracy_covers_it(groups, size, alike, share):
    """``alike``: correlation within groups (beta-binomial); sizes of groups differ."""
    rng = np.random.default_rng(7)
    inside, drawn = 0, 0
    for _ in range(300):
        group = np.repeat(np.arange(groups), rng.integers(1, 2 * size, groups) if size > 1 else 1)
        a = (1 - alike) / alike if alike else None
        own = rng.beta(share * a, (1 - share) * a, groups) if a else np.full(groups, share)
        right = rng.random(len(group)) < own[group]
        found = grouped_proportion(right, group)
        inside += found.low <= share <= found.high
        drawn += found.low < found.value < found.high or found.value in (0.0, 1.0)
    assert inside / 300 >= 0.92 and drawn == 300


def test_the_interval_of_an_accuracy_at_its_edges():
    assert grouped_proportion(np.zeros(0, bool), []) is None
    assert grouped_proportion(np.ones(5, bool), np.zeros(5)).low is None
    all_right = grouped_proportion(np.ones(200, bool), np.repeat(np.arange(5), 40))
    assert all_right.value == all_right.high == 1 and 0.3 < all_right.low < 0.5  # five groups are not 200 trials
    for n in range(2, 60):
        assert grouped_proportion(np.ones(n, bool), np.arange(n)).high == 1
    apart = grouped_proportion(np.arange(200) < 150, np.arange(200))
    assert apart.low == pytest.approx(proportion_interval(150, 200).low, abs=0.003)
    values = WindowScores(
        ("a",), "sigmoid", np.ones((8, 1)), np.array([[0.9]] * 7 + [[0.1]]), np.arange(8) // 2, np.arange(8) // 4
    )
    found = summarize(values)
    assert (found["window_accuracy"], found["clip_accuracy"]) == (0.875, 1.0)
    for kind in ("window", "clip"):
        low, high = found[f"{kind}_accuracy_interval"]
        assert low < found[f"{kind}_accuracy"] <= high
    assert values.clips().groups.tolist() == [0, 0, 1, 1]


def test_bootstrap_says_when_it_cannot(rng):
    alone = bootstrap(lambda w: 1.0, ["a", "a"], rng, 10)
    assert (alone.value, alone.low) == (1.0, None)
    assert bootstrap(lambda w: None, ["a", "b"], rng, 10) is None
    # all events in one of many recordings: drawn again and again, it always gives the same share
    share = bootstrap(lambda w: 17 * w[0] / (32 * w[0]) if w[0] else None, list(range(50)), rng, 200)
    assert (share.value, share.low, share.high) == (17 / 32, None, None)
    assert proportion_interval(10, 10).high == pytest.approx(1.0)
    assert proportion_interval(10, 10).low == pytest.approx(0.7225, abs=1e-3)


def test_scores_are_judged_on_clips_that_the_temperature_never_saw(rng):
    """Labels by the toss of a coin, eight windows to a clip: no temperature can be right, and it is not said to be
    better on the windows that it was fitted on."""
    sure = np.repeat(rng.choice([0.02, 0.98], 60), 8)[:, None]
    honest = (rng.random(480) < 0.5).astype(float)[:, None]
    found = calibrate_scores(WindowScores(("a",), "sigmoid", honest, sure, np.repeat(np.arange(60), 8)), rng)
    assert (found.windows, found.clips) == (480, 60)
    assert found.value > 10 and found.error_before > 0.4
    assert found.error_after < 0.2 and found.helps
    one = WindowScores(("a",), "sigmoid", honest[:8], sure[:8], np.zeros(8, int))
    alone = calibrate_scores(one, rng)
    assert alone.error_after == alone.error_before and not alone.helps  # nothing to judge by


def test_a_temperature_that_fits_its_own_recordings_only_does_not_help(rng):
    """Each site's scores are wrong in a way of its own: what is fitted to some makes others worse."""
    kept = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        site = np.repeat(np.arange(4), 40)
        p = rng.uniform(0.05, 0.95, 160)
        targets = (rng.random(160) < p).astype(float)[:, None]  # the scores are right as they are
        values = WindowScores(("a",), "sigmoid", targets, p[:, None], np.arange(160), site)
        found = calibrate_scores(values, rng)
        assert found.groups == 4 and found.clips == 160
        kept.append(found.helps)
        if found.helps:
            assert found.error_after < found.error_before and found.loss_after < found.loss_before
    assert np.mean(kept) < 0.35  # by chance


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_temperature_is_recovered(activation, temperature, rng):
    logits = rng.normal(0, 1.5, (6000, 3))
    if activation == "softmax":
        true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        targets = np.eye(3)[[rng.choice(3, p=row) for row in true]]
        sharp = np.exp(logits * temperature)
        scores = sharp / sharp.sum(axis=1, keepdims=True)
    else:
        targets = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(float)
        scores = 1 / (1 + np.exp(-logits * temperature))
    found = fit_temperature(targets, scores, activation)
    assert found == pytest.approx(temperature, rel=0.1)
    before = reliability(targets, scores, activation).error
    after = reliability(targets, apply_temperature(scores, found, activation), activation).error
    assert after < 0.025
    assert after <= before + 0.005


def test_reliability_counts_every_row_once(rng):
    scores = rng.random((50, 2))
    assert reliability((scores > 0.5) * 1.0, scores, "sigmoid").rows.sum() == 100
    assert reliability(np.eye(2)[[0] * 50], scores, "softmax").rows.sum() == 50
