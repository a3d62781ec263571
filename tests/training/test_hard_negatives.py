# SPDX-License-Identifier: MIT
"""Rounds of hard negatives: which windows they are, and how often they are drawn."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from cheep.config import FeatureConfig
from cheep.features.cache import FeatureCache
from cheep.training.data import WindowSet
from cheep.training.loop import hardest, with_hard

FEATURES = FeatureConfig(window_frames=24, n_mels=24)


class _Loudness:
    """Scores a window by the level of its first cell: the second output is the target."""

    def predict(self, x: np.ndarray, **_: object) -> np.ndarray:
        return np.stack([-x[:, 0, 0, 0], x[:, 0, 0, 0]], axis=1)


@pytest.fixture
def windows() -> WindowSet:
    """100 windows of rising level, every second one background."""
    levels = np.repeat(np.arange(100, dtype=np.float32), 24)
    columns = np.repeat(levels[:, None], 24, axis=1)
    first = np.arange(100) * 24
    none, background = np.zeros(100, int), np.arange(100) % 2 == 0
    silence = np.array([1, 0], np.float32)
    targets = np.zeros((100, 2), np.float32)
    return WindowSet(FeatureCache(FEATURES, columns, {}), first, first, first, targets, none, none, background, silence)


def test_the_hardest_are_the_tenth_of_background_that_scores_highest_for_a_target(windows):
    assert hardest(_Loudness(), windows).tolist() == [98, 96, 94, 92, 90]
    turned = dataclasses.replace(windows, silence=np.array([0, 1], np.float32))  # now the first output is the target
    assert hardest(_Loudness(), turned).tolist() == [0, 2, 4, 6, 8]
    assert not len(hardest(_Loudness(), dataclasses.replace(windows, is_background=np.zeros(100, bool))))


def test_half_of_the_background_drawn_is_hard_and_the_targets_stay(windows, rng):
    index = np.tile(np.arange(100), 20)
    drawn = with_hard(index, windows, np.array([90, 92]), rng)
    targets = ~windows.is_background[index]
    assert np.array_equal(drawn[targets], index[targets])
    assert windows.is_background[drawn[~targets]].all()
    assert np.isin(drawn[~targets], [90, 92]).mean() == pytest.approx(0.5 + 0.5 * 2 / 50, abs=0.03)
    assert np.array_equal(with_hard(index, windows, np.zeros(0, int), rng), index)
