# SPDX-License-Identifier: MIT
"""Samples -> int8 columns -> scores of every window, in blocks of any length: the device path before the detector."""

from __future__ import annotations

import logging
from typing import Protocol

import numpy as np

from cheep.compiler.engine import compiled_scorer
from cheep.detector.gate import Gate
from cheep.device.bundle import ModelBundle
from cheep.device.verify import VerifyStage
from cheep.errors import CheepError
from cheep.tflite.state import tflm_scorer

BACKENDS = ("tflm", "compiled")
log = logging.getLogger(__name__)
_BATCH = 1024  # windows scored in one call: bounds the memory


class Scorer(Protocol):
    """Anything that turns windows (n, columns, mels) int8 into scores (n, classes) int8."""

    def scores(self, windows: np.ndarray) -> np.ndarray:
        """Return the scores (n, classes) int8 of windows (n, columns, mels) int8."""


class _Resting:
    """In the network's place while nobody asks for scores."""

    def __init__(self, classes: int) -> None:
        self._classes = classes

    def scores(self, windows: np.ndarray) -> np.ndarray:
        """Return zeros, (n, classes) int8."""
        return np.zeros((len(windows), self._classes), np.int8)


def forget(scorer: Scorer) -> None:
    """Let a scorer that carries a state start a new recording."""
    getattr(scorer, "forget", lambda: None)()


def make_scorer(bundle: ModelBundle, backend: str = "tflm") -> Scorer:
    """Return what runs the network: ``"tflm"`` or ``"compiled"`` (C, needs a compiler; the same bits, faster)."""
    if backend == "tflm":
        return tflm_scorer(bundle.model.data)
    if backend == "compiled":
        return compiled_scorer(bundle.model.data)
    raise CheepError(f"backend={backend!r}: must be one of {', '.join(BACKENDS)}")


def runnable_backend(bundle: ModelBundle, backend: str) -> str:
    """Return ``backend``, or ``"tflm"`` (and say why) where the compiler does not take the model, or there is none."""
    try:
        shared_scorer(bundle, backend)
    except (CheepError, ImportError) as error:
        if backend != "compiled":
            raise
        log.warning("the model cannot be compiled here, TFLM runs it (the same bits, slower): %s", error)
        return "tflm"
    return backend


_SHARED: dict[tuple[str, str, str], WindowScorer] = {}  # one: that of the model in use


def shared_scorer(bundle: ModelBundle, backend: str) -> WindowScorer:
    """Return a :class:`WindowScorer` for the recordings that a worker does one after another with one model."""
    key = (bundle.model.sha256, bundle.detector.to_json(), backend)
    if key not in _SHARED:
        _SHARED.clear()
        _SHARED[key] = WindowScorer(bundle, make_scorer(bundle, backend), second_scorer(bundle, backend))
    return _SHARED[key]


_SECOND: dict[tuple[str, str], Scorer] = {}  # one: of the second network in use, by sha256 and backend


def second_scorer(bundle: ModelBundle, backend: str = "compiled") -> Scorer | None:
    """Return what runs the second network of a detector, kept for the next recording; None where it has none."""
    second = bundle.verifier
    if second is None:
        return None
    key = (second.model.sha256, backend)
    if key not in _SECOND:
        try:
            made = make_scorer(second, backend)
        except (CheepError, ImportError) as error:
            if backend != "compiled":
                raise
            log.warning("the second network cannot be compiled here, TFLM runs it (the same bits): %s", error)
            made = make_scorer(second, "tflm")
        _SECOND.clear()
        _SECOND[key] = made
    return _SECOND[key]


class WindowScorer:
    """Scores the windows of one recording after another.

    Parameters
    ----------
    bundle : ModelBundle
    scorer : Scorer
        Runs the network. One that can ``slide(columns, stride)`` takes all columns of a block in one call.
    second : Scorer, optional
        Runs the second network, where the detector has one; default: compiled, where that can be.

    Attributes
    ----------
    sample_rate_hz, classes
        What it takes and gives.
    samples
        Taken since the last :meth:`reset`.
    """

    def __init__(self, bundle: ModelBundle, scorer: Scorer, second: Scorer | None = None) -> None:
        from cheep.features import FrontendStream

        self.sample_rate_hz, self.classes = bundle.features.sample_rate_hz, len(bundle.labels)
        self._features, self._input = bundle.features, bundle.input
        self._frames, self._stride = bundle.features.window_frames, bundle.detector.stride_frames
        self._scorer, self._remembers = scorer, bool(bundle.states)
        self._frontend = FrontendStream(bundle.features)
        gate = bundle.detector.gate
        self._gate = None if gate is None else Gate(gate, bundle.features.n_mels, self._frames, self._stride)
        second = second or second_scorer(bundle)
        self._verify = None if second is None else VerifyStage(bundle, second)
        self.reset()

    @property
    def verified(self) -> int:
        """Windows since the last :meth:`reset` about which the second network was asked."""
        return 0 if self._verify is None else self._verify.asked

    def reset(self) -> None:
        """Forget the past: the next sample is the first of a new recording."""
        self._frontend.reset()
        forget(self._scorer)
        if self._gate is not None:
            self._gate.reset()
        if self._verify is not None:
            self._verify.reset()
        self._kept = np.zeros((0, self._features.n_mels), np.int8)  # from the first column of the next window on
        self._skip = 0  # columns before it that are still to come (a stride longer than a window)
        self.samples = 0

    def listen(self, pcm: np.ndarray) -> None:
        """Take samples, (n,) int16, whose scores nobody asks for: a network without a state rests."""
        scorer = self._scorer
        self._scorer = scorer if self._remembers else _Resting(self.classes)
        try:
            self.push(pcm)
        finally:
            self._scorer = scorer

    def push(self, pcm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Take int16 mono samples, (n,), any n; return what they completed: columns (k, mels), scores (m, classes)."""
        from cheep.features import quantize

        self.samples += len(pcm)
        columns = quantize(self._frontend.push(pcm), self._input.scale, self._input.zero_point)
        columns = columns.reshape(-1, self._features.n_mels)
        late = columns[self._skip :]
        self._skip -= len(columns) - len(late)
        kept = np.concatenate([self._kept, late])
        n = (len(kept) - self._frames) // self._stride + 1 if len(kept) >= self._frames else 0
        run = None if self._gate is None else self._gate.push(columns)
        scores = self._score(kept, n) if self._gate is None or run is None else self._gated(kept, self._gate, run)
        if self._verify is not None:
            scores = self._verify.push(pcm, scores, run)
        self._skip += max(0, n * self._stride - len(kept))
        self._kept = kept[n * self._stride :]
        return columns, scores

    def _gated(self, kept: np.ndarray, gate: Gate, run: np.ndarray) -> np.ndarray:
        """Score the windows on which the network runs; the others have the gate's idle scores."""
        scores = np.tile(gate.idle, (len(run), 1))
        edges = np.flatnonzero(np.diff(np.concatenate([[False], run, [False]])))
        for first, behind in edges.reshape(-1, 2):
            part = kept[first * self._stride : (behind - 1) * self._stride + self._frames]
            scores[first:behind] = self._score(part, behind - first)
        return scores

    def _score(self, kept: np.ndarray, n: int) -> np.ndarray:
        slide = getattr(self._scorer, "slide", None)
        if slide is not None and n:
            return slide(kept, self._stride)
        rows = [np.zeros((0, self.classes), np.int8)]
        for first in range(0, n, _BATCH):
            starts = np.arange(first, min(n, first + _BATCH)) * self._stride
            rows.append(self._scorer.scores(kept[starts[:, None] + np.arange(self._frames)]))
        return np.concatenate(rows)
