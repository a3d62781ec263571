# SPDX-License-Identifier: MIT
"""The C core against librosa, on any recording and with any settings: numbers, and a picture of the difference.

librosa computes in double precision from the same int16 samples (``center=False``), so what is compared is the front
end alone, not decoding or resampling.
"""

from __future__ import annotations

import dataclasses
import io

import numpy as np

from cheep.config import FeatureConfig
from cheep.errors import CheepError
from cheep.features.frontend import compute_features
from cheep.features.mel import mel_weights
from cheep.features.pcen import LEVEL_DB, interleave
from cheep.features.tables import pcen_smoothing

TOLERANCE_DB = 0.02  # down to DEPTH_DB below the loudest band of a column
DEPTH_DB = 85.0  # further down the rounding of single precision shows: there the amplitude is judged
DEEP_TOLERANCE = 2.0**-18  # of the loudest band's amplitude
TOLERANCE_PCEN = 1e-4  # of the largest value
_BLOCK = 4096  # columns of which librosa holds the spectrum at once
_SHOWN_S = 12.0  # of a longer recording the picture shows the part around the largest difference


def mel_energy(pcm: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """Return librosa's mel energies (or magnitudes), ``log_offset`` included.

    librosa centres a window that is shorter than the transform in its frame; ours begins with the frame. The
    spectrum's magnitude does not depend on it, so the audio is shifted. Triangles over mel are none of librosa's: there
    its spectrum is summed by :func:`cheep.features.mel.mel_weights`.

    Parameters
    ----------
    pcm : ndarray, (n,) int16
    config : FeatureConfig

    Returns
    -------
    ndarray, (columns, bands) float64
    """
    import librosa

    total = config.frames_of(pcm.size)
    before = (config.fft_size - config.frame_samples) // 2
    y = np.concatenate([np.zeros(before), pcm.astype(np.float64) / 32768, np.zeros(config.fft_size)])
    blocks = []
    bank = mel_weights(config)
    if config.mel_triangles == "hz":
        bank = librosa.filters.mel(
            sr=config.sample_rate_hz,
            n_fft=config.fft_size,
            n_mels=config.bands,
            fmin=config.fmin_hz,
            fmax=config.fmax_hz,
            htk=config.mel_scale == "htk",
            norm="slaney" if config.mel_norm == "slaney" else None,
        )
    for first in range(0, total, _BLOCK):
        count = min(_BLOCK, total - first)
        start = first * config.hop_samples
        spectrum = librosa.stft(
            y[start : start + (count - 1) * config.hop_samples + config.fft_size],
            n_fft=config.fft_size,
            win_length=config.frame_samples,
            hop_length=config.hop_samples,
            center=False,
        )
        blocks.append((bank @ np.abs(spectrum) ** (2 if config.spectrum == "power" else 1)).T + config.log_offset)
    return np.concatenate(blocks) if blocks else np.empty((0, config.bands))


def decibel(mel: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """Return ``librosa.power_to_db`` or ``amplitude_to_db`` of mel energies, without a top; same shape, float64, dB."""
    import librosa

    if config.spectrum == "power":
        return librosa.power_to_db(mel, amin=config.log_floor, top_db=None)
    return librosa.amplitude_to_db(mel, amin=config.log_floor, top_db=None)


def pcen(mel: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """Return ``librosa.pcen`` of mel energies, (columns, n_mels) float64, started at the first column as ours is."""
    import librosa

    s = pcen_smoothing(config)
    return librosa.pcen(
        mel.T,
        gain=config.pcen_gain,
        bias=config.pcen_bias,
        power=config.pcen_power,
        eps=config.pcen_eps,
        b=s,
        zi=(1 - s) * mel.T[:, :1],
    ).T


@dataclasses.dataclass(frozen=True)
class FeatureCheck:
    """What the comparison found.

    ``ours``, ``reference``: (columns, n_mels), float32 and float64, in dB or PCEN units. ``judged``: (columns, n_mels)
    bool, the cells that must agree within ``tolerance``; of the others, ``deep_error`` is the largest error of the
    amplitude as a share of the loudest band's, which must stay within ``DEEP_TOLERANCE``.
    """

    config: FeatureConfig
    ours: np.ndarray
    reference: np.ndarray
    judged: np.ndarray
    tolerance: float
    deep_error: float

    @property
    def unit(self) -> str:
        """Of the columns."""
        return {"db": "dB", "pcen": "PCEN", "both": "32 dB or PCEN"}[self.config.compression]

    @property
    def error(self) -> np.ndarray:
        """Absolute difference, (columns, n_mels) float64."""
        return np.abs(self.ours - self.reference)

    @property
    def largest(self) -> float:
        """The largest difference of the judged cells."""
        return float(self.error[self.judged].max(initial=0))

    @property
    def held(self) -> bool:
        """True where the tolerance is held everywhere."""
        return self.largest <= self.tolerance and self.deep_error <= DEEP_TOLERANCE

    def percentile(self, share: float) -> float:
        """Return the difference that ``share`` percent of the judged cells do not exceed."""
        return float(np.percentile(self.error[self.judged], share)) if self.judged.any() else 0.0


def check_features(pcm: np.ndarray, config: FeatureConfig) -> FeatureCheck:
    """Compare the C core's columns of ``pcm`` ((n,) int16, at the rate of ``config``) with librosa's.

    Raises
    ------
    CheepError
        The recording is shorter than one frame.
    """
    if pcm.size < config.frame_samples:
        raise CheepError(
            f"{pcm.size} samples: shorter than one frame of {config.frame_samples}; give a longer recording"
        )
    return _compare(compute_features(pcm, config), mel_energy(pcm, config), config)


def _compare(ours: np.ndarray, mel: np.ndarray, config: FeatureConfig) -> FeatureCheck:
    """Judge columns, (columns, n_mels) float32, by librosa's mel energies, (columns, bands) float64."""
    if config.compression == "both":
        levels = _compare(ours[:, ::2] * LEVEL_DB + config.silence_db, mel, config.alone("db"))
        changes = _compare(ours[:, 1::2], mel, config.alone("pcen"))
        reference = interleave((levels.reference - config.silence_db) / LEVEL_DB, changes.reference)
        tolerance = max(levels.tolerance / LEVEL_DB, changes.tolerance)
        judged = interleave(levels.judged, changes.judged)
        return FeatureCheck(config, ours, reference, judged, tolerance, levels.deep_error)
    if config.compression == "pcen":
        reference = pcen(mel, config)
        tolerance = TOLERANCE_PCEN * max(1.0, float(np.abs(reference).max()))
        return FeatureCheck(config, ours, reference, np.ones(ours.shape, bool), tolerance, 0.0)
    reference = decibel(mel, config)
    amplitude = np.sqrt(mel) if config.spectrum == "power" else mel
    loudest = np.maximum(amplitude.max(axis=1, keepdims=True), 1e-30)
    above = mel > config.log_floor  # at the floor both say the same, whatever lies below
    judged = above & (20 * np.log10(np.maximum(amplitude, 1e-30) / loudest) > -DEPTH_DB)
    deep = np.abs(10 ** (ours / 20.0) - amplitude) / loudest
    return FeatureCheck(config, ours, reference, judged, TOLERANCE_DB, float(deep[above & ~judged].max(initial=0)))


def picture(found: FeatureCheck, title: str) -> bytes:
    """Return a PNG: the columns of both, and their difference, around its largest value."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.figure import Figure

    config, hop_s = found.config, found.config.hop_s
    shown = max(1, int(_SHOWN_S / hop_s))
    error = np.where(found.judged, found.error, np.nan)
    worst = int(np.nan_to_num(error).max(axis=1).argmax())
    first = int(np.clip(worst - shown // 2, 0, max(0, len(found.ours) - shown)))
    part = slice(first, first + shown)
    extent = (first * hop_s, (first + len(found.ours[part])) * hop_s, -0.5, config.n_mels - 0.5)
    low, high = np.percentile(found.reference[part], (1, 100))
    levels, least = Normalize(low, high), found.tolerance * 1e-5
    figure = Figure(figsize=(10, 8), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(3, 1, sharex=True)
    for axes, values, name, colours, norm in (
        (rows[0], found.ours[part], "C core", "magma", levels),
        (rows[1], found.reference[part], "librosa", "magma", levels),
        (rows[2], np.maximum(error[part], least), "absolute difference, yellow where it reaches what is allowed",
         "viridis", LogNorm(least, found.tolerance)),
    ):  # fmt: skip
        axes.set_facecolor("#dddddd")
        image = axes.imshow(
            values.T, origin="lower", aspect="auto", extent=extent, cmap=colours, norm=norm, interpolation="nearest"
        )
        axes.set_title(name, fontsize=10, loc="left")
        axes.set_ylabel("mel band")
        figure.colorbar(image, ax=axes, label=found.unit)
    rows[2].set_xlabel("time in the recording, s" + ("; grey: below what is judged" if not found.judged.all() else ""))
    verdict = "within" if found.held else "OUTSIDE"
    figure.suptitle(
        f"{title}: largest difference {found.largest:.2g} {found.unit}, {verdict} {found.tolerance:.2g}", fontsize=11
    )
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()
