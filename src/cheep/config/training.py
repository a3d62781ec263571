# SPDX-License-Identifier: MIT
"""How a network is trained."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from typing_extensions import Self

from cheep.config.base import Settings


class AugmentConfig(Settings):
    """Random changes of training windows, on mel columns in dB (before PCEN); 0 switches one off."""

    gain_db: float = Field(6.0, ge=0, le=40, description="level, standard deviation, dB")
    tilt_db: float = Field(3.0, ge=0, le=20, description="smooth change over the bands, standard deviation, dB")
    band_db: float = Field(0.0, ge=0, le=40, description="level of each band, standard deviation, dB")
    cell_db: float = Field(0.0, ge=0, le=40, description="each level by itself, standard deviation, dB")
    shift_frames: int = Field(8, ge=0, le=200, description="start of the window, plus or minus, columns")
    frequency_warp: float = Field(0.0, ge=0, le=0.5, description="scale of all frequencies, 0.2: by 0.8 to 1.25")
    local_frequency_warp: float = Field(0.0, ge=0, le=0.5, description="the same, varying smoothly over the bands")
    time_warp: float = Field(0.0, ge=0, le=0.5, description="speed, 0.2: by 0.8 to 1.25")
    local_time_warp: float = Field(0.0, ge=0, le=0.5, description="the same, varying smoothly inside the window")
    mix_probability: float = Field(0.3, ge=0, le=1, description="add the energy of a background window")
    mix_snr_db: tuple[float, float] = Field((0.0, 20.0), description="level of the window over that background, dB")
    noise_probability: float = Field(0.0, ge=0, le=1, description="add steady noise of a random colour")
    noise_snr_db: tuple[float, float] = Field((10.0, 50.0), description="level of the window over that noise, dB")
    signal_probability: float = Field(
        0.015,
        ge=0,
        le=0.5,
        description="in place of an example: silence and very low noise, as background or no label",
    )
    loud_signals: bool = Field(
        True, description="where there is background: louder noise, hum and square waves among those signals"
    )
    trim_probability: float = Field(
        0.0, ge=0, le=1, description="cut the recording out more tightly (silence around it)"
    )
    trim_db: tuple[NonNegativeFloat, NonNegativeFloat] = Field(
        (10.0, 40.0), description="at so far below its loudest column, dB"
    )
    mask_frames: int = Field(6, ge=0, le=100, description="SpecAugment: longest time mask, columns")
    mask_bands: int = Field(6, ge=0, le=64, description="SpecAugment: widest band mask")
    mixup_alpha: float = Field(0.2, ge=0, le=5, description="mixup: both parameters of the beta distribution")


#: Settings of networks that begin with a backbone; others do not write them.
_BACKBONE = ("backbone", "cut", "fine_tune", "backbone_rate", "frozen_draws", "pool")
BACKBONES = ("yamnet", "backbone")

TeacherInput = Literal["db", "pcen", "peak", "mean"]


class TrainConfig(Settings):
    """Training of the float network."""

    model: str = Field(
        "sepconv_m", description="network of the registry, or one that begins with a trained one: yamnet, backbone"
    )
    backbone: str = Field("", description="its file: YAMNet's SavedModel or .h5 (cheep backbone get yamnet), Keras .h5")
    cut: str = Field("6", description="layer behind which it is cut: yamnet 2 to 14; backbone: a layer's name, or end")
    fine_tune: str = Field(
        "head", pattern=r"^(head|all|last:[1-9][0-9]?)$", description="what is trained: head, last:N blocks, or all"
    )
    backbone_rate: float = Field(1.0, gt=0, le=1, description="learning rate of the backbone's layers, of the head's")
    frozen_draws: int = Field(
        0, ge=0, le=64, description="augmented draws of the sound that frozen layers are run on; 0: the sound as it is"
    )
    pool: Literal["mean", "max"] = Field(
        "mean", description="of what the backbone gives at all places: the mean, or the largest of each feature"
    )
    epochs: int = Field(60, ge=1, le=10000, description="passes; the schedule is as long")
    examples_per_epoch: int = Field(0, ge=0, description="0: as many as there are training windows")
    batch_size: int = Field(64, ge=1, le=4096, description="windows a step")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="at its highest, after the warm-up")
    warmup_epochs: int = Field(2, ge=0, description="epochs in which the rate rises")
    weight_decay: float = Field(1e-4, ge=0, le=1, description="of AdamW")
    label_smoothing: float = Field(0.05, ge=0, lt=0.5, description="taken from a target and shared out")
    dropout: float = Field(0.2, ge=0, lt=1, description="share of the last features")
    average_last: float = Field(
        0.25, ge=0, le=1, description="share of the last epochs, averaged and kept; 0: best epoch"
    )
    hears: Literal["levels", "peak"] = Field(
        "levels",
        description="levels, or how far they lie under the window's peak (no absolute level; not fed by columns)",
    )
    towers: tuple[Literal["db", "pcen"], ...] = Field(
        (),
        max_length=8,
        description="networks side by side, each trained on its own on this form of the bands; logits are averaged",
    )
    activation: Literal["auto", "softmax", "sigmoid"] = Field(
        "auto", description="softmax: one label a window; sigmoid: any number"
    )
    background: str = Field("background", description="label that is no target; ignored when absent")
    teacher_model: str = Field("", description="network of the teachers to learn from (empty: labels only)")
    teachers: tuple[TeacherInput, ...] = Field(
        ("db", "pcen"),
        min_length=1,
        max_length=16,
        description="what each hears: levels, PCEN, levels under the window's peak, or over the band's mean",
    )
    teacher_epochs: int = Field(25, ge=1, le=10000, description="passes of each teacher")
    teacher_weight: float = Field(
        0.7,
        ge=0,
        le=1,
        description="share of the teachers' judgement in the targets; 1: they judge masks and mixes too",
    )
    soft_weight: float = Field(
        0.0, ge=0, le=1, description="share of soft_labels.csv (cheep dataset soften) in the targets; 0: labels only"
    )
    hard_negatives: int = Field(
        0,
        ge=0,
        le=100,
        description="rounds in which half of the background drawn is the tenth that scored highest for a target",
    )
    augment: AugmentConfig = AugmentConfig()
    seed: int = Field(1, ge=0, lt=2**31, description="of weights, draws and changes")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.towers) == 1:
            raise ValueError(f"towers={list(self.towers)}: one network is no row of towers: leave them out, or add one")
        if self.towers and self.teacher_model:
            raise ValueError("towers learn from labels, a teacher_model teaches one network: leave one of them out")
        if self.towers and self.hears != "levels":
            raise ValueError(f"hears={self.hears!r}: towers hear levels (db) or PCEN (pcen): leave one of them out")
        return self

    @model_validator(mode="before")
    @classmethod
    def _cut_as_text(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("cut"), int):
            return {**values, "cut": str(values["cut"])}
        return values

    @model_validator(mode="after")
    def _backbone_named(self) -> Self:
        if self.model in BACKBONES and not self.backbone:
            raise ValueError(
                f"model={self.model!r}: needs train.backbone, the file of its weights (cheep backbone get yamnet)"
            )
        if self.backbone and self.model not in BACKBONES:
            raise ValueError(f"backbone={self.backbone!r}: is for model {' or '.join(BACKBONES)}, not {self.model!r}")
        if self.pool != "mean" and self.model not in BACKBONES:
            raise ValueError(f"pool={self.pool!r}: is for model {' or '.join(BACKBONES)}, not {self.model!r}")
        if self.model in BACKBONES and self.towers:
            raise ValueError("towers: a backbone is one network: leave them out")
        if self.model in BACKBONES and self.hears != "levels":
            raise ValueError(f"hears={self.hears!r}: a backbone hears levels")
        if self.model in BACKBONES and self.teacher_model and self.fine_tune != "all":
            raise ValueError(f"teacher_model={self.teacher_model!r}: with a backbone only where fine_tune is all")
        return self

    @model_serializer(mode="wrap")
    def _without_backbone(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values = handler(self)
        if self.pool == "mean":  # as all were before there was a choice
            values.pop("pool", None)
        return {name: value for name, value in values.items() if self.backbone or name not in _BACKBONE}
