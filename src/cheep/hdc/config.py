# SPDX-License-Identifier: MIT
"""Settings of a hyperdimensional head."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from cheep.config import Settings

Projection = Literal["gaussian", "bipolar", "hadamard"]
Form = Literal["int8", "bipolar", "binary"]
Similarity = Literal["cosine", "dot", "hamming"]
Normalize = Literal["standard", "center", "none"]

PROJECTIONS: tuple[str, ...] = ("gaussian", "bipolar", "hadamard")  # the C core's numbers are the indices
FORMS: tuple[str, ...] = ("int8", "bipolar", "binary")
MAX_DIMS = 256


class HdcConfig(Settings):
    """How an embedding becomes a hypervector, and how prototypes are made.

    ``hyper`` is the number H of elements. The projection is a function of ``seed``; ``hadamard`` (blocks of a
    Walsh-Hadamard matrix with random signs, entries +1/-1) needs neither a table nor many instructions.
    """

    hyper: int = Field(2048, ge=256, le=8192)
    projection: Projection = "hadamard"
    form: Form = "int8"
    similarity: Similarity = "cosine"
    normalize: Normalize = "standard"
    seed: int = Field(1, ge=0, lt=2**32)
    epochs: int = Field(20, ge=0, le=1000, description="passes of refinement after bundling; 0: none")
    margin: float = Field(0.05, ge=0, le=1, description="refine until the right class leads by this much cosine")
    reject_quantile: float = Field(
        0.02, ge=0, lt=1, description="share of the training examples that may score below the unknown threshold"
    )
    reminders: int = Field(
        8, ge=0, le=64, description="typical embeddings per class that the device keeps, to rehearse what it learns"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.hyper % 256:
            near = max(256, round(self.hyper / 256) * 256)
            raise ValueError(f"hyper={self.hyper}: must be a multiple of 256 (such as {near})")
        if self.similarity == "hamming" and self.form != "binary":
            raise ValueError(
                f"similarity='hamming': compares bits, but form={self.form!r} "
                "(set form='binary', or similarity='cosine')"
            )
        return self
