# SPDX-License-Identifier: MIT
"""Intervals of false alarms per hour, where the truth is known: groups that are unlike, kinds of sound not met yet."""

import numpy as np
import pytest

from cheep.evaluate.rates import fit_rates, hours_that_narrow


def test_one_long_even_recording_after_another_is_nearly_poisson(rng):
    """Many groups that are alike: the interval is that of the count, widened only by what other kinds may bring."""
    hours = np.full(400, 0.25)
    model = fit_rates(rng.poisson(40 * hours), hours)
    low, high = model.interval()
    assert 40 * np.exp(-2.3 * 0.4) < low < 40 < high < 40 * np.exp(2.3 * 0.4)
    few, many = (fit_rates(rng.poisson(40 * hours[:n]), hours[:n]).interval()[1] for n in (5, 400))
    assert few > many


def test_silence_bounds_the_rate_by_groups_not_by_hours():
    """A hundred places for six minutes each say more than one place for ten hours."""
    places = fit_rates(np.zeros(100), np.full(100, 0.1)).interval()[1]
    one = fit_rates(np.zeros(1), np.array([10.0])).interval()[1]
    assert places < 3 and one > 4 * places
    assert fit_rates(np.zeros(10), np.full(10, 0.1)).interval()[1] > 5 * places


def test_groups_that_would_promise_do_promise():
    model = fit_rates(np.zeros(5), np.full(5, 0.1), chosen=True)
    needed = int(np.ceil(model.silent_groups_needed(2.0)))
    for share, enough in ((0.8, False), (1.25, True)):
        n = round(needed * share)
        assert (fit_rates(np.zeros(n), np.full(n, 0.1), chosen=True).interval()[1] <= 2.0) == enough


def test_no_hours_are_an_error():
    with pytest.raises(ValueError, match="no group has any"):
        fit_rates(np.zeros(2), np.zeros(2))
    with pytest.raises(ValueError, match="new_hours=0"):
        fit_rates(np.zeros(2), np.ones(2)).predict(0)


def test_more_groups_narrow_it():
    model = fit_rates(np.array([9, 0, 2, 0, 0, 1, 0, 0]), np.full(8, 0.1))
    assert 0.8 < hours_that_narrow(model, 15.0, 0.8, 3.0) < 200
    assert hours_that_narrow(model, 15.0, 0.8, 1.5) is None  # other kinds of sound differ by more
    many = fit_rates(np.tile([9, 0, 2, 0, 0, 1, 0, 0], 16), np.full(128, 0.1))
    assert many.interval()[1] == pytest.approx(model.repeated(16).interval()[1], rel=0.1)


def heavy_tailed(rng, groups, kinds, kinds_deviation):
    """Peaks of clips, 5 s to 4 min: kinds and groups differ in how high they reach, the loud come 200 times an hour."""
    hours = np.clip(rng.lognormal(np.log(20), 1.0, groups), 5, 240) / 3600
    kind = rng.integers(0, kinds, groups)
    height = rng.normal(0, kinds_deviation, kinds)[kind] + rng.gumbel(0, 1, groups)
    rate = np.minimum(rng.lognormal(np.log(200), 0.7, groups), 500)
    levels = np.linspace(-2, 14, 120)
    peaks = [height[i] + rng.gumbel(0, 0.7, rng.poisson(rate[i] * hours[i])) for i in range(groups)]
    return np.array([[np.sum(p > level) for p in peaks] for level in levels], float), hours, kind


@pytest.mark.parametrize("split", ["group", "kind"])
def test_counts_of_other_groups_and_of_other_kinds_lie_where_they_were_said_to(split):
    """Thresholds for 10 and 5 an hour from one half, counts in the other: 95 % said, and old ways gave 80 to 87 %."""
    inside, drawn = 0, 0
    for pool in range(4):
        rng = np.random.default_rng([2, pool])
        counts, hours, kind = heavy_tailed(rng, 400, 30, 1.5)
        for _ in range(8):
            if split == "group":
                first = rng.permutation(len(hours)) < len(hours) // 2
            else:
                first = (rng.permutation(30) < 15)[kind]
            for target in (10.0, 5.0):
                seen = counts[:, first].sum(1)
                level = np.nonzero((seen + 1) / hours[first].sum() > target)[0][-1] + 1
                low, high = fit_rates(counts[level, first], hours[first], chosen=True).predict(hours[~first].sum())
                inside += low <= counts[level, ~first].sum() <= high
                drawn += 1
    assert 0.92 <= inside / drawn <= 1.0
