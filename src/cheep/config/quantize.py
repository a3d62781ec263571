# SPDX-License-Identifier: MIT
"""How a network becomes int8: by fine-tuning with quantization in the loop, or by calibration after training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from cheep.config.base import Settings


class QatConfig(Settings):
    """Quantization-aware fine-tuning of a trained network."""

    epochs: int = Field(15, ge=1, le=10000, description="passes of fine-tuning")
    learning_rate: float = Field(1e-4, gt=0, le=1, description="at its highest")
    batch_size: int = Field(64, ge=1, le=4096, description="windows a step")
    seed: int = Field(1, ge=0, lt=2**31, description="of draws and changes")


class PtqConfig(Settings):
    """Post-training quantization: the ranges are those of real training windows."""

    windows: int = Field(500, ge=16, le=100000, description="training windows that ranges are measured on, at most")
    share: float | None = Field(None, gt=0, le=1, description="share of the training windows, in place of a number")
    float_input: bool = Field(False, description="also a second file that takes float columns (the device: int8)")
    float_output: bool = Field(False, description="also a second file that gives float scores (the device: int8)")


class QuantizeConfig(Settings):
    """Which way, with the settings of each."""

    method: Literal["qat", "ptq"] = Field("qat", description="quantization-aware fine-tuning, or after training")
    qat: QatConfig = QatConfig()
    ptq: PtqConfig = PtqConfig()
    folder: str = Field("", description="also copy the int8 model and its manifest there")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name in ("float_input", "float_output"):
            if self.method == "qat" and getattr(self.ptq, name):
                raise ValueError(f"ptq.{name}=true: is for method ptq; models of qat have int8 inputs and outputs")
        return self
