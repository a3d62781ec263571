# SPDX-License-Identifier: MIT
"""What a conversion does: scheme, calibration or fine-tuning, and how the network is shrunk before."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from pydantic import Field, model_validator
from typing_extensions import Self

from cheep.config import Settings

Scheme: TypeAlias = Literal[
    "none", "dynamic", "float16", "int8", "int8_float_io", "int16x8", "integer_with_float_fallback"
]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
CALIBRATED = ("int8", "int8_float_io", "int16x8", "integer_with_float_fallback")
QAT_SCHEMES = ("int8", "int8_float_io", "integer_with_float_fallback")

_NO_QAT = {
    "none": "nothing is quantized",
    "dynamic": "activations stay float, so there is no range to learn",
    "float16": "weights are only rounded to half precision",
    "int16x8": "tfmot's fake quantization learns 8-bit activations",
}


class ConvertConfig(Settings):
    """Settings of one conversion. The order of the steps is fixed: channels, sparsity, clusters, scheme."""

    scheme: Scheme = "int8"
    method: Literal["ptq", "qat"] = "ptq"
    prune_channels: float = Field(0.0, ge=0, lt=0.95, description="share of each layer's channels to remove")
    prune: float = Field(0.0, ge=0, lt=0.99, description="share of the weights to set to zero")
    cluster: int = Field(0, ge=0, le=256, description="distinct weights per layer, 0: as they are")
    epochs: int = Field(10, ge=1, le=1000, description="fine-tuning after each change of the network")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="of each fine-tuning")
    batch_size: int = Field(64, ge=1, le=4096, description="examples a step")
    calibration_examples: int = Field(256, ge=16, le=100000, description="real examples that ranges are of")
    seed: int = Field(1, ge=0, description="of draws and weights")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.method == "qat" and self.scheme not in QAT_SCHEMES:
            raise ValueError(
                f"scheme={self.scheme!r}: quantization-aware training does not apply ({_NO_QAT[self.scheme]}); "
                f"use --ptq, or one of {', '.join(QAT_SCHEMES)}"
            )
        if self.cluster == 1:
            raise ValueError("cluster=1: must be 0 or at least 2 (one value for all weights is no network)")
        return self

    @property
    def changes_network(self) -> bool:
        """Whether the network itself is changed, which needs Keras layers and labelled data."""
        return self.method == "qat" or bool(self.prune_channels or self.prune or self.cluster)

    @property
    def name(self) -> str:
        """Short name of the variant: ``int8-qat-ch30``."""
        parts = [self.scheme + ("-qat" if self.method == "qat" else "")]
        if self.prune_channels:
            parts.append(f"ch{round(100 * self.prune_channels)}")
        if self.prune:
            parts.append(f"sp{round(100 * self.prune)}")
        if self.cluster:
            parts.append(f"cl{self.cluster}")
        return "-".join(parts)
