# SPDX-License-Identifier: MIT
"""Golden windows: what a board runs before it listens, and the scores that TFLM gives for each on this machine.

Windows of silence, of the loudest, of extremes and of noise are made on the board from a rule and cost no flash; a real
call of each label is stored (``cheep_golden`` in ``cheep_app.h`` is the same in C).
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from cheep.config import FeatureConfig
from cheep.features import compute_features, quantize

Kind = Literal["stored", "board", "noise"]


@dataclasses.dataclass(frozen=True)
class Golden:
    """A window, how it is made, and its scores.

    Attributes
    ----------
    name : str
        A label, ``silence``, ``loud``, ``extremes``, ``noise``, ``example``.
    kind : str
        ``stored``; ``board``: ``low`` and ``high`` alternate; ``noise``: by integers.
    window : (columns, mels) int8
    scores : (classes,) int8
        What TFLM gives for it, as the first window of a recording.
    """

    name: str
    kind: Kind
    window: np.ndarray
    scores: np.ndarray
    low: int = 0
    high: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the form in ``manifest.json``."""
        out: dict[str, Any] = {"name": self.name, "kind": self.kind}
        if self.kind == "stored":
            out["window"] = base64.b64encode(np.ascontiguousarray(self.window, np.int8).tobytes()).decode()
        elif self.kind == "board":
            out |= {"low": self.low, "high": self.high}
        return {**out, "scores": self.scores.tolist()}

    @classmethod
    def of(cls, values: Mapping[str, Any], shape: tuple[int, int], classes: int) -> Golden:
        """Read what :meth:`to_dict` wrote, or the one window of an older Cheep; raises ValueError where it is bad."""
        try:
            kind: Kind = values.get("kind", "stored")
            scores = np.array(values["scores"])
            low, high = int(values.get("low", 0)), int(values.get("high", 0))
            if kind == "stored":
                window = np.frombuffer(base64.b64decode(values["window"], validate=True), np.int8)
                window = window.reshape(shape)
            else:
                window = noise(shape) if kind == "noise" else board(shape, low, high)
            if scores.shape != (classes,) or scores.min() < -128 or scores.max() > 127:
                raise ValueError("scores")
            return cls(str(values.get("name", "example")), kind, window, scores.astype(np.int8), low, high)
        except (KeyError, TypeError, AttributeError, binascii.Error, OverflowError) as error:
            raise ValueError(str(error)) from None


def board(shape: tuple[int, int], low: int, high: int) -> np.ndarray:
    """Return (columns, mels) int8 in which ``low`` and ``high`` alternate over the bands and over the columns."""
    column, band = np.indices(shape)
    return np.where((column + band) % 2 == 0, low, high).astype(np.int8)


def noise(shape: tuple[int, int]) -> np.ndarray:
    """Return (columns, mels) int8 that spread over the levels, made by integers."""
    n = np.arange(shape[0] * shape[1], dtype=np.uint64)
    values = ((n * np.uint64(2654435761)) >> np.uint64(11)) & np.uint64(0xFF)
    return values.astype(np.uint8).view(np.int8).reshape(shape)


def golden_windows(
    features: FeatureConfig, scale: float, zero_point: int, scorer: Any, calls: Mapping[str, np.ndarray]
) -> list[Golden]:
    """Return the windows that are made, then ``calls``, each with its scores.

    Parameters
    ----------
    features : FeatureConfig
    scale, zero_point
        Quantization of the model's input.
    scorer
        With ``scores(windows)`` as :func:`cheep.tflite.state.tflm_scorer` gives it.
    calls : mapping
        Real windows (columns, mels) int8 by name: of each label one.
    """
    shape = (features.window_frames, features.n_mels)
    silent = quantize(compute_features(np.zeros(features.window_samples, np.int16), features), scale, zero_point)
    value = int(silent[0, 0])
    wanted: list[tuple[str, Kind, np.ndarray, int, int]] = [
        ("silence", "board", silent, value, value) if np.all(silent == value) else ("silence", "stored", silent, 0, 0),
        ("loud", "board", board(shape, 127, 127), 127, 127),
        ("extremes", "board", board(shape, -128, 127), -128, 127),
        ("noise", "noise", noise(shape), 0, 0),
    ]
    wanted += [(name, "stored", np.ascontiguousarray(window, np.int8), 0, 0) for name, window in calls.items()]
    out = []
    for name, kind, window, low, high in wanted:
        if hasattr(scorer, "forget"):
            scorer.forget()
        out.append(Golden(name, kind, window.reshape(shape), scorer.scores(window.reshape(1, *shape))[0], low, high))
    return out
