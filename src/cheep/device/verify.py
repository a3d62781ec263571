# SPDX-License-Identifier: MIT
"""The second network of a detector: which windows it is asked about, what it hears of them, what it says.

The same integers as ``cheep_verify.c``.
"""

from __future__ import annotations

import numpy as np

from cheep.detector.scores import NEVER
from cheep.device.bundle import ModelBundle
from cheep.features import compute_features, quantize

NEVER_ASKS = 2**15 - 1  # CHEEP_VERIFY_NEVER


def behind_samples(bundle: ModelBundle) -> int:
    """Return the samples of a window behind the last one that the second network hears: it hears the middle."""
    assert bundle.verifier is not None
    return (bundle.features.window_samples - bundle.verifier.features.window_samples) // 2


def ask_units(bundle: ModelBundle) -> np.ndarray:
    """Return for each label the least unit of the first network that is asked about, (labels,) int16."""
    assert bundle.detector.verify is not None
    sums = [NEVER if p is None else bundle.own_scale.on_sum(p, 1) for p in bundle.detector.verify.ask]
    return np.array([max(-NEVER_ASKS, min(NEVER_ASKS, value)) for value in sums], np.int16)


def mean_terms(bundle: ModelBundle) -> tuple[int, int, int]:
    """Return ``first_weight``, ``second_weight`` and ``offset`` of ``cheep_verify_spec``."""
    assert bundle.verifier is not None and bundle.detector.verify is not None
    weight, scale = bundle.detector.verify.weight, bundle.scale
    one, two = bundle.own_scale, bundle.verifier.own_scale
    first = round(65536 * weight * one.scale / scale.scale)
    second = round(65536 * (1 - weight) * two.scale / scale.scale)
    offset = 65536 * scale.zero_point - first * one.zero_point - second * two.zero_point + 32768
    return first, second, offset


def output_of(bundle: ModelBundle) -> list[int]:
    """Return for each label the output of the second network that has its name."""
    assert bundle.verifier is not None
    return [bundle.verifier.labels.index(label) for label in bundle.labels]


class VerifyStage:
    """Keeps the last samples, and replaces rows of scores by what the second network says.

    Parameters
    ----------
    bundle : ModelBundle
        With a verifier.
    scorer
        Runs the second network: ``scores(windows)``, (n, columns, mels) int8 to (n, outputs) int8.

    Attributes
    ----------
    windows, asked
        Seen since the last :meth:`reset`, and how many of them were asked about.
    """

    def __init__(self, bundle: ModelBundle, scorer) -> None:
        assert bundle.verifier is not None and bundle.detector.verify is not None
        self._scorer, self._second = scorer, bundle.verifier
        self._own = bundle.own_scale
        self._ask, self._output = ask_units(bundle), output_of(bundle)
        self._idle = np.array(bundle.detector.verify.idle, np.int8)
        self._terms = mean_terms(bundle)
        first, second = bundle.features, bundle.verifier.features
        self._first_end = first.window_samples - behind_samples(bundle)  # of what is heard of window 0
        self._stride = bundle.detector.stride_frames * first.hop_samples
        self._length = second.window_samples
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next sample is the first of a recording."""
        self._pcm, self._begin = np.zeros(0, np.int16), 0
        self.windows = self.asked = 0

    def asks(self, rows: np.ndarray) -> np.ndarray:
        """Return for rows of the first network, (n, labels) int8, whether they are asked about, bool."""
        units = self._own.units(rows)
        return ((units >= self._ask) & (self._ask != NEVER_ASKS)).any(axis=-1)

    def push(self, pcm: np.ndarray, rows: np.ndarray, run: np.ndarray | None = None) -> np.ndarray:
        """Take samples, (m,) int16, and the rows that they complete, (n, labels) int8; return the rows that count.

        ``run``: of each row whether the first network ran (a gate).
        """
        self._pcm = np.concatenate([self._pcm, pcm])
        said = np.tile(self._idle, (len(rows), 1))
        asked = self.asks(rows) if run is None else self.asks(rows) & run
        self.asked += int(asked.sum())
        for row in np.flatnonzero(asked):
            said[row] = self._scores(self.windows + int(row))
        self.windows += len(rows)
        begin = self._first_end - self._length + self.windows * self._stride  # of what is heard of the next window
        drop = min(len(self._pcm), max(0, begin - self._begin))
        self._pcm, self._begin = self._pcm[drop:], self._begin + drop
        return self.mean(rows, said)

    def mean(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the mean of rows of both networks, (n, labels) int8 each: int8, by the device's integers."""
        one, two, offset = self._terms
        sums = one * first.astype(np.int64) + two * second.astype(np.int64) + offset
        return np.clip(sums >> 16, -128, 127).astype(np.int8)

    def _scores(self, window: int) -> np.ndarray:
        end = self._first_end + window * self._stride - self._begin
        second = self._second
        columns = compute_features(self._pcm[end - self._length : end], second.features)
        q = quantize(columns, second.input.scale, second.input.zero_point)
        return self._scorer.scores(q[None])[0][self._output]
