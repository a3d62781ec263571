# SPDX-License-Identifier: MIT
"""The one description of the sound: every feature number is written here and nowhere else."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from typing_extensions import Self

from cheep.config.base import Settings

# Settings that came later: one left alone is not written, so that the hashes of older models stay what they are.
_LATER = ("log_offset", "mel_triangles")


class FeatureConfig(Settings):
    """What the front end computes, and the window that the network sees.

    The C core computes exactly this; librosa computes the same with ``center=False``.
    After training these settings travel with the model, and everything later reads
    the model's copy.
    """

    sample_rate_hz: int = Field(8000, ge=2000, le=48000, description="of the microphone and of training, Hz")
    frame_samples: int = Field(256, ge=16, le=2048, description="Hann window length, samples")
    fft_size: int = Field(256, ge=64, le=2048, description="power of two, at least frame_samples, samples")
    hop_samples: int = Field(200, ge=1, le=8192, description="between two columns, samples")
    n_mels: int = Field(40, ge=1, le=128, description="values of a column: one of each mel band (both: two)")
    fmin_hz: float = Field(100.0, ge=0, description="lower edge of the lowest band, Hz")
    fmax_hz: float = Field(4000.0, gt=0, description="upper edge of the highest band, Hz")
    mel_scale: Literal["slaney", "htk"] = Field("slaney", description="formula from Hz to mel")
    mel_norm: Literal["slaney", "none"] = Field("slaney", description="bands of equal area, or of equal height")
    mel_triangles: Literal["hz", "mel"] = Field(
        "hz", description="bands with straight sides over Hz (librosa), or over mel (TensorFlow, YAMNet)"
    )
    spectrum: Literal["power", "magnitude"] = Field("power", description="what the bands sum")
    compression: Literal["db", "pcen", "both"] = Field(
        "db", description="levels, per-channel energy normalization, or both of each band"
    )
    log_floor: float = Field(1e-10, gt=0, le=1, description="least mel energy before the logarithm")
    log_offset: float = Field(0.0, ge=0, le=1, description="added before the logarithm (YAMNet: 0.001)")
    pcen_time_constant_s: float = Field(0.4, gt=0, le=60, description="of PCEN's running mean, s")
    pcen_gain: float = Field(0.98, ge=0, le=2, description="exponent of that mean")
    pcen_bias: float = Field(2.0, ge=0, description="added before the root")
    pcen_power: float = Field(0.5, gt=0, le=1, description="the root")
    pcen_eps: float = Field(1e-6, gt=0, description="energy below which PCEN does not follow")
    window_frames: int = Field(39, ge=1, le=1024, description="mel columns in one network input")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.fft_size & (self.fft_size - 1):
            power = 1 << (self.fft_size - 1).bit_length()
            raise ValueError(
                f"fft_size={self.fft_size}: must be a power of two, such as {power} (shorter frames are padded)"
            )
        if self.frame_samples > self.fft_size:
            raise ValueError(f"frame_samples={self.frame_samples}: must be at most fft_size={self.fft_size} (raise it)")
        if self.fmax_hz > self.sample_rate_hz / 2:
            raise ValueError(
                f"fmax_hz={self.fmax_hz}: must be at most half of sample_rate_hz={self.sample_rate_hz} "
                f"({self.sample_rate_hz / 2:g})"
            )
        if self.log_offset and self.compression != "db":
            raise ValueError(f"log_offset={self.log_offset:g}: is for compression db")
        if self.fmin_hz >= self.fmax_hz:
            raise ValueError(f"fmin_hz={self.fmin_hz}: must be below fmax_hz={self.fmax_hz:g}")
        if self.compression == "both" and self.n_mels % 2:
            raise ValueError(f"n_mels={self.n_mels}: must be even: both levels and PCEN of each band")
        return self

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values = handler(self)
        defaults = {name: type(self).model_fields[name].default for name in _LATER}
        return {name: value for name, value in values.items() if name not in _LATER or value != defaults[name]}

    @property
    def forms(self) -> int:
        """Values of a band in a column: 1, or 2 (its level, (dB - ``silence_db``) / 32, and its PCEN units)."""
        return 2 if self.compression == "both" else 1

    @property
    def bands(self) -> int:
        """Mel bands of the filter bank."""
        return self.n_mels // self.forms

    def alone(self, compression: Literal["db", "pcen"]) -> FeatureConfig:
        """Return the same bands in one form."""
        return self.model_copy(update={"compression": compression, "n_mels": self.bands})

    @property
    def silence_db(self) -> float:
        """The level of digital silence, dB: no cell of a column of levels lies lower."""
        return (10 if self.spectrum == "power" else 20) * math.log10(max(self.log_floor, self.log_offset))

    @property
    def hop_s(self) -> float:
        """Time between two columns, s."""
        return self.hop_samples / self.sample_rate_hz

    @property
    def window_samples(self) -> int:
        """Samples that one network input covers."""
        return self.frame_samples + (self.window_frames - 1) * self.hop_samples

    @property
    def window_s(self) -> float:
        """Duration that one network input covers, s."""
        return self.window_samples / self.sample_rate_hz

    def frames_of(self, n_samples: int) -> int:
        """Return how many columns ``n_samples`` of audio give (no padding)."""
        return 0 if n_samples < self.frame_samples else 1 + (n_samples - self.frame_samples) // self.hop_samples
