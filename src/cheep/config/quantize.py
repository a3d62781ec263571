# SPDX-License-Identifier: MIT
"""How a network becomes int8: by fine-tuning with quantization in the loop, or by calibration after training."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import Field, model_validator
from typing_extensions import Self

from cheep.config.base import Settings

Kind: TypeAlias = Literal["int8", "uint8", "float"]


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
    input: Kind = Field("int8", description="of a second file, for others (the device takes int8 columns)")
    output: Kind = Field("int8", description="of a second file, for others (the device takes int8 scores)")

    @model_validator(mode="before")
    @classmethod
    def _older_names(cls, values: Any) -> Any:
        """Read ``float_input`` and ``float_output`` of older run files."""
        if not isinstance(values, dict):
            return values
        values = dict(values)
        for side in ("input", "output"):
            if isinstance(old := values.get(f"float_{side}"), bool):
                del values[f"float_{side}"]
                values.setdefault(side, "float" if old else "int8")
        return values


class QuantizeConfig(Settings):
    """Which way, with the settings of each."""

    method: Literal["qat", "ptq"] = Field("qat", description="quantization-aware fine-tuning, or after training")
    qat: QatConfig = QatConfig()
    ptq: PtqConfig = PtqConfig()
    folder: str = Field("", description="also copy the int8 model and its manifest there")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name in ("input", "output"):
            kind = getattr(self.ptq, name)
            if self.method == "qat" and kind != "int8":
                raise ValueError(f"ptq.{name}={kind!r}: is for method ptq; models of qat have int8 inputs and outputs")
        return self
