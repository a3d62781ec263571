# SPDX-License-Identifier: MIT
"""How scores become events. Calibration writes these numbers; the C core obeys them."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator
from typing_extensions import Self

from cheep.config.base import Settings

_STRIDE_S = 0.5
_POOLING = 4  # what the registry's networks pool time by: the incremental mode needs a multiple


def default_stride(hop_s: float) -> int:
    """Return the columns, ``hop_s`` seconds apart, between two network runs half a second apart: a multiple of 4."""
    return max(1, round(_STRIDE_S / hop_s / _POOLING)) * _POOLING


_LOGIT = re.compile(r"\s*logit\s+([-+]?\d+(?:\.\d*)?|[-+]?\.\d+)\s*")


def parse_threshold(value: Any) -> Any:
    """Return a threshold as a probability: a number (or its text), ``"logit 6.907"``, or ``"off"`` (None).

    Raises
    ------
    ValueError
        Text that is neither.
    """
    if not isinstance(value, str):
        return value
    if value.strip() == "off":
        return None
    if found := _LOGIT.fullmatch(value):
        odds = math.exp(-min(700.0, max(-700.0, float(found[1]))))
        return 1 / (1 + odds)
    try:
        return float(value)
    except ValueError:
        raise ValueError(
            f"threshold={value!r}: must be a probability such as 0.999, a logit such as 'logit 6.907', or off"
        ) from None


Level = Annotated[
    float | None,
    BeforeValidator(parse_threshold),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string"}, {"type": "null"}]}),
]


class GateConfig(Settings):
    """When the network rests: on windows in which no band rises above its own slow floor.

    Of each int8 column the largest distance of a band above its floor counts, in steps of the network's input; the
    network runs on windows whose mean distance is at least ``margin``, and on ``hold_windows`` after them. A window
    that it does not run on has the raw scores ``idle``. ``cheep calibrate --gate`` measures margin and idle scores.
    """

    margin: float = Field(..., ge=0, le=255, description="steps of the network's input, mean over a window")
    idle: tuple[Annotated[int, Field(ge=-128, le=127)], ...] = Field(..., min_length=1, max_length=64)
    first_band: int = Field(0, ge=0, le=255, description="bands below this one do not open the gate (wind)")
    floor_shift: int = Field(6, ge=1, le=10, description="the floor follows with a time constant of 2^N columns")
    hold_windows: int = Field(1, ge=0, le=1000)


class VerifyConfig(Settings):
    """When a second network, in folder ``verify`` beside the manifest, is asked, and what stands where it is not.

    A window is asked about where the first network gives a label at least the probability ``ask`` (None: this label
    asks for nothing). The mean of what the two networks say counts, in which the first one has the share ``weight``;
    where nobody asks, ``idle`` (raw scores of the second network, by the first one's labels) stands for the second.
    ``cheep calibrate --verify RUN`` measures all three.
    """

    network: str = Field(..., min_length=64, max_length=64, description="sha256 of the second network's .tflite")
    ask: tuple[Level, ...] = Field(..., min_length=1, max_length=64)
    idle: tuple[Annotated[int, Field(ge=-128, le=127)], ...] = Field(..., min_length=1, max_length=64)
    weight: float = Field(0.5, ge=0, le=1, description="of the first network in the mean of both")


class DetectorConfig(Settings):
    """Smoothing, thresholds with hysteresis, and hold-off; thresholds are probabilities (0..1).

    ``threshold`` has one value per label of the model, a number or text such as ``"logit 6.907"``. ``None`` for a
    label means that it never makes an event (the background class). A class fires when the mean of its last
    ``smoothing_windows`` scores (logits, where the model gives logits) reaches its threshold in ``min_windows``
    successive windows, ends when that mean falls below ``threshold - hysteresis`` (not below half of the threshold,
    where the model gives logits), and stays silent for ``hold_off_windows`` after an end.
    """

    stride_frames: int = Field(20, ge=1, le=1024, description="columns between two network runs")
    smoothing_windows: int = Field(2, ge=1, le=32)
    min_windows: int = Field(1, ge=1, le=255)
    hold_off_windows: int = Field(1, ge=0, le=65535)
    hysteresis: float = Field(0.1, ge=0, le=1)
    threshold: tuple[Level, ...] = Field((0.5,), min_length=1, max_length=64)
    gate: GateConfig | None = Field(None, description="when the network rests (cheep calibrate --gate)")
    verify: VerifyConfig | None = Field(None, description="a second network that is asked (cheep calibrate --verify)")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able values; without ``gate`` and ``verify`` where there is none."""
        values = super().to_dict()
        return {key: value for key, value in values.items() if value is not None or key not in ("gate", "verify")}

    @model_validator(mode="after")
    def _in_range(self) -> Self:
        for value in self.threshold:
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"threshold={value}: must lie in 0..1 (a probability; near 1 also 'logit 6.907')")
        return self
