# SPDX-License-Identifier: MIT
"""What the int8 output of a model means: raw scores to the detector's units, to logits, to probabilities and back.

The one place in Python, as ``cheep_scores.c`` is in C; thresholds and what is shown of an event come from there.
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cheep.ccore import load_core
from cheep.errors import CheepError

KINDS = ("probability", "logit", "log_odds")  # cheep_score_kind
PER_NAT = 256  # units of log-odds
MOST_SATURATED = 0.01  # of training scores at the high end, before it is said to be many
NEVER = 2**31 - 1  # on_sum of a class that makes no event


class CScale(ctypes.Structure):
    """``cheep_score_scale``."""

    _fields_ = [("kind", ctypes.c_int), ("scale", ctypes.c_float), ("zero_point", ctypes.c_int32)]


@functools.cache
def _core() -> ctypes.CDLL:
    core = load_core()
    scale, real = ctypes.POINTER(CScale), ctypes.c_double
    core.cheep_scores_units.argtypes = [scale, ctypes.c_void_p, ctypes.c_uint16, ctypes.c_void_p]
    core.cheep_scores_units.restype = None
    core.cheep_scores_value.argtypes = core.cheep_scores_sum_e6.argtypes = [scale, ctypes.c_int32, ctypes.c_uint16]
    core.cheep_scores_value.restype = ctypes.c_float
    core.cheep_scores_sum_e6.restype = ctypes.c_uint32
    core.cheep_scores_on_sum.argtypes = [scale, real, real, ctypes.c_uint16]
    core.cheep_scores_off_sum.argtypes = [scale, real, real, real, ctypes.c_uint16]
    core.cheep_scores_on_sum.restype = core.cheep_scores_off_sum.restype = ctypes.c_int32
    return core


@dataclass(frozen=True)
class ScoreScale:
    """The meaning of int8 scores ``q``.

    Attributes
    ----------
    kind
        ``"logit"``: ``(q - zero_point) * scale`` is the logit of each label by itself (before a sigmoid).
        ``"log_odds"``: it is what stands before a softmax; the detector compares the log-odds of each label against all
        others, in units of 1/256. ``"probability"``: the activation is in the network (older models, models of others).
    scale, zero_point
        Of the model's int8 output tensor.
    """

    kind: str = "probability"
    scale: float = 1 / 256
    zero_point: int = -128

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise CheepError(f"scores.kind={self.kind!r}: must be one of {', '.join(KINDS)}")
        if not self.scale > 0:
            raise CheepError(f"scale={self.scale}: must be above 0 (read it from the model's output tensor)")

    @classmethod
    def of(cls, output: Any, described: Mapping[str, Any] | None, where: str = "model") -> ScoreScale:
        """Return the scale of a model's output tensor (with ``scale`` and ``zero_point``).

        ``described`` is the section ``scores`` of its metadata or manifest; without one the activation is in the
        network.

        Raises
        ------
        CheepError
            The section is of another tensor, or names no kind.
        """
        if not described:
            return cls("probability", output.scale, output.zero_point)
        stated = (described.get("scale"), described.get("zero_point"))
        if stated != (output.scale, output.zero_point):
            raise CheepError(
                f"{where}: scores: scale and zero_point {stated} are not those of the model's output "
                f"({output.scale}, {output.zero_point}); make the model again with cheep train-qat"
            )
        return cls(str(described.get("kind")), output.scale, output.zero_point)

    @property
    def logits(self) -> bool:
        """Whether thresholds are compared with logits."""
        return self.kind != "probability"

    @property
    def unit(self) -> float:
        """What one unit of the detector is."""
        return 1 / PER_NAT if self.kind == "log_odds" else self.scale

    @property
    def origin(self) -> int:
        """The unit that means 0."""
        return 0 if self.kind == "log_odds" else self.zero_point

    @property
    def c(self) -> CScale:
        """The same for the C core."""
        return CScale(KINDS.index(self.kind), self.scale, self.zero_point)

    def units(self, scores: np.ndarray) -> np.ndarray:
        """Return the detector's units of int8 scores (..., classes): int16, same shape."""
        rows = np.ascontiguousarray(scores, np.int8)
        if self.kind != "log_odds" or rows.shape[-1] < 2:
            return rows.astype(np.int16)
        out = np.empty(rows.shape, np.int16)
        n, core, c = rows.shape[-1], _core(), self.c
        source, target = rows.ctypes.data, out.ctypes.data
        for i in range(rows.size // n):
            core.cheep_scores_units(c, source + i * n, n, target + 2 * i * n)
        return out

    def values(self, scores: np.ndarray) -> np.ndarray:
        """Return the logits (probabilities, where the activation is in the network) of int8 scores, float64.

        Shape (..., classes), as given.
        """
        return (self.units(scores).astype(np.float64) - self.origin) * self.unit

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Return int8 scores (..., classes) as probabilities in 0..1, float64, same shape."""
        values = self.values(scores)
        return probability(values) if self.logits else values

    def on_sum(self, threshold: float, smoothing: int) -> int:
        """Return the least sum of ``smoothing`` units whose mean reaches ``threshold``, a probability."""
        return int(_core().cheep_scores_on_sum(self.c, threshold, 1 - threshold, smoothing))

    def off_sum(self, threshold: float, hysteresis: float, smoothing: int) -> int:
        """Return the least sum at which a class that came on at ``threshold`` stays on."""
        return int(_core().cheep_scores_off_sum(self.c, threshold, 1 - threshold, hysteresis, smoothing))

    def value_of(self, total: float, smoothing: int) -> float:
        """Return the mean logit (or probability) of a sum of ``smoothing`` units."""
        return (total / smoothing - self.origin) * self.unit

    def peak(self, total: int, smoothing: int) -> float:
        """Return the probability of a sum of ``smoothing`` units, as a board writes it: in millionths."""
        if not self.logits:
            return self.value_of(total, smoothing)
        return int(_core().cheep_scores_sum_e6(self.c, total, smoothing)) / 1e6

    def threshold_of(self, level: int, smoothing: int) -> float:
        """Return the threshold (a probability) that lets sums of at least ``level`` pass: midway to the next lower."""
        value = self.value_of(level - 0.5, smoothing)
        return float(probability(value)) if self.logits else min(1.0, max(0.0, value))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values: the section ``scores`` of metadata and manifest."""
        return {"kind": self.kind, "scale": self.scale, "zero_point": self.zero_point}


def probability(values: np.ndarray | float) -> np.ndarray:
    """Return logits, any shape, as probabilities, float64."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(values, np.float64)))


def logit(p: float) -> float:
    """Return the logit of a probability (infinite for 0 and 1)."""
    return math.inf if p >= 1 else -math.inf if p <= 0 else math.log(p / (1 - p))


def kept_threshold(p: float) -> float:
    """Return a threshold rounded to what it needs in a file: six significant digits of it and of 1 - p."""
    small = min(p, 1 - p)
    return round(p, 6 if small <= 0 else max(6, 5 - math.floor(math.log10(small))))


def show_probability(p: float, digits: int = 2) -> str:
    """Return a probability for people, with ``digits``, or with as many (up to 6) as it takes to differ from 1.

    0.5 is ``0.50``, 0.99954 is ``0.9995``: what is below 1 does not read as 1.
    """
    rest = 1 - p
    if 0 < rest < 1:
        digits = min(6, max(digits, -math.floor(math.log10(rest))))
    return f"{min(p, 1 - 10.0**-digits) if rest > 0 else p:.{digits}f}"


def describe_scores(described: Mapping[str, Any] | None) -> str:
    """Return the section ``scores`` of a manifest in words: reach and steps of the logits, and what saturates."""
    if not described:
        return "scores: probabilities, the activation is in the network (256 steps from 0 to 1)"
    scale = ScoreScale(str(described["kind"]), described["scale"], described["zero_point"])
    low, high = ((q - scale.zero_point) * scale.scale for q in (-128, 127))
    text = f"scores: logits from {low:.1f} to {high:.1f} in steps of {scale.scale:.3f}"
    if saturated := described.get("saturated"):
        text += (
            f"; of those of {saturated['windows']:,} training windows {100 * saturated['low']:.2g} % lie at the low "
            f"end, {100 * saturated['high']:.2g} % at the high end"
        )
        if saturated["high"] > MOST_SATURATED:
            text += " (many: thresholds among them cannot be told apart)"
    return text
