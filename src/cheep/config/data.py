# SPDX-License-Identifier: MIT
"""Which recordings there are, how they become examples, and which of them are trained, validated and tested on."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import Self

from cheep.config.base import Settings

GROUPINGS = ("recordist", "recording", "site", "date", "recordist+date", "site+date", "group")

LABEL_SEPARATOR = ";"  #: between the labels of an example that has several

#: Names of labels that mean "no target species", as :func:`plain_name` writes them. The only such list.
BACKGROUND_LABELS = (
    *("background", "backgrounds", "bg", "background_noise", "noise", "noises", "no_bird", "no_birds", "nobird"),
    *("nobirds", "no_call", "no_calls", "nocall", "negative", "negatives", "neg", "silence", "silent", "none"),
    *("nothing", "no_target", "non_target", "other", "others", "ambient", "ambience", "hintergrund", "rauschen"),
    *("stille", "negativ", "sonstiges", "kein_vogel", "keine", "bruit", "bruit_de_fond", "ruido", "fondo"),
)


def plain_name(text: str) -> str:
    """Return ``text`` in the form in which names are compared: ``Turdus merula`` and ``turdus_merula`` are one."""
    text = unicodedata.normalize("NFC", text).casefold()
    return re.sub(r"[\W_]+", "_", text).strip("_")


def means_background(label: str) -> bool:
    """Tell whether a label is a name of "no target species", in whatever spelling; the one rule of all stages."""
    return plain_name(label) in BACKGROUND_LABELS


def _words(value: Any) -> Any:
    """Accept one word for a list of one, and numbers for words (folds)."""
    items = value if isinstance(value, list | tuple) else [value]
    return [str(item) if isinstance(item, int) and not isinstance(item, bool) else item for item in items]


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]


class ActivityConfig(Settings):
    """When a stretch of a recording counts as active, and when as a quiet gap."""

    low_hz: float = Field(500.0, ge=0, description="lower edge of the target band, Hz")
    high_hz: float | None = Field(None, gt=0, description="upper edge, Hz; none: 0.95 of half the sample rate")
    threshold_db: float = Field(9.0, gt=0, le=60, description="level over the floor from which a frame is active, dB")
    quiet_db: float = Field(6.0, gt=0, le=60, description="level over the floor below which a frame is quiet, dB")
    active_s: float = Field(0.064, gt=0, le=10, description="active frames that make a window active, s in sum")
    quiet_margin_s: float = Field(0.5, ge=0, le=60, description="quiet needed on both sides of a gap, s")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.quiet_db > self.threshold_db:
            raise ValueError(f"quiet_db={self.quiet_db}: must be at most threshold_db={self.threshold_db}")
        if self.high_hz is not None and self.high_hz <= self.low_hz:
            raise ValueError(f"high_hz={self.high_hz}: must be above low_hz={self.low_hz}")
        return self


class WindowConfig(Settings):
    """How recordings are cut into examples."""

    window_s: float = Field(1.0, gt=0, le=60, description="length of an example, s")
    hop_s: float = Field(0.5, gt=0, le=60, description="distance of the starts of examples, s")
    last: bool = Field(False, description="one more window that ends with the recording, where the hops leave a rest")
    selection: bool = Field(True, description="leave out windows without activity in weakly labelled recordings")
    activity: ActivityConfig = ActivityConfig()
    gaps: bool = Field(False, description="quiet gaps of weakly labelled recordings become background examples")
    gaps_per_recording: int = Field(10, ge=1, description="at most so many gaps of one recording")
    announcements: bool = Field(
        True, description="leave out speech-like windows at the head and tail of long recordings"
    )
    keep_zeros: bool = Field(False, description="keep windows of exact zeros: clips that were padded to one length")
    background: str = Field("background", min_length=1, description="label of the negatives")
    max_per_recording: int = Field(0, ge=0, description="examples per recording and label, the loudest; 0: no limit")
    box_overlap: float = Field(0.5, gt=0, le=1, description="part of the shorter of window and box that must overlap")

    @model_validator(mode="after")
    def _hop_within(self) -> Self:
        if self.hop_s > self.window_s:
            raise ValueError(f"hop_s={self.hop_s}: must be at most window_s={self.window_s}")
        return self

    def is_background(self, label: str) -> bool:
        """Tell whether ``label`` means no target species."""
        return label == self.background or means_background(label)


class SplitConfig(Settings):
    """Shares of the three splits, and what must stay together.

    Rows that share a recording, a file content (sha256), or a non-empty value of the column ``group_by`` are
    never separated. With ``fold`` columns the user's folds decide: ``test_folds`` and ``val_folds``.
    """

    val: float = Field(0.15, ge=0, lt=1, description="share for validation")
    test: float = Field(0.15, ge=0, lt=1, description="share for the test (where no folds are named)")
    seed: int = Field(1, ge=0, description="another seed, another split")
    group_by: str = Field("group", description="column that stays together beside the recording")
    folds: Words = Field((), description="use only these folds (column fold); empty: all")
    val_folds: Words = Field((), description="folds for validation (column fold)")
    test_folds: Words = Field((), description="folds for the test (column fold)")
    cross_validate: bool = Field(False, description="every fold is the test set once")
    fold_count: int = Field(0, ge=0, le=100, description="make so many folds of whole groups; 0: the column fold")
    val_by: Literal["label", "group"] = Field(
        "label", description="draw validation evenly by label, or groups as they come (cross-validation)"
    )

    @model_validator(mode="after")
    def _leaves_training_data(self) -> Self:
        if self.val + self.test >= 0.95:
            raise ValueError(f"test={self.test:g}: with val={self.val:g} must leave at least 0.05 for training")
        if self.cross_validate and self.test_folds:
            raise ValueError("cross_validate=true: contradicts test_folds; every fold is the test set once")
        if self.fold_count and not self.cross_validate:
            raise ValueError(f"fold_count={self.fold_count}: is for cross-validation; set cross_validate: true")
        for name in ("test_folds", "val_folds"):
            for fold in getattr(self, name) if self.folds else ():
                if fold not in self.folds:
                    raise ValueError(f"{name}: fold {fold} is not in folds {list(self.folds)}")
        both = set(self.test_folds) & set(self.val_folds)
        if both:
            raise ValueError(f"val_folds: fold {min(both)} is in test_folds, too")
        return self


class BuildConfig(Settings):
    """Everything that decides what a manifest holds, beside the recordings."""

    sample_rate_hz: int = Field(8000, ge=2000, le=96000, description="rate at which activity is measured, Hz")
    windows: WindowConfig = WindowConfig()
    split: SplitConfig = SplitConfig()
    group_by: str = Field("", description=f"what stays together: {', '.join(GROUPINGS)}; empty: group, else recordist")
    box_labels: bool = Field(False, description="labels of annotations that no recording has become labels too")
    min_confidence: float | None = Field(
        None, ge=0, le=1, description="annotations of a model count from this confidence on; needed where there are any"
    )
    skip_bad: bool = Field(False, description="leave out unreadable files (counted) instead of stopping")


class SourceConfig(Settings):
    """A folder with one folder per label, or a CSV of recordings."""

    folder: str = Field("", description="folder with one folder per label")
    csv: str = Field("", description="CSV of recordings, or a manifest to split again")
    audio_root: str = Field("", description="where file names in the CSV start (empty: its folder)")


class ClipConfig(Settings):
    """Recordings that are short clips, prepared as a whole before they are cut.

    The device hears sound as it comes: what is taken out here is not missing there.
    """

    min_s: float = Field(1.0, gt=0, description="shorter ones are repeated to this length, s")
    max_s: float = Field(10.0, gt=0, description="longer ones are cut, s")
    silence_db: float | None = Field(
        60.0, gt=0, description="what lies so far below the loudest frame is taken out, dB"
    )
    silence_frame_samples: int = Field(3200, ge=1, description="frame of which silence is measured, samples")
    silence_hop_samples: int = Field(3200, ge=1, description="hop at which silence is measured, samples")
    whole_seconds: bool = Field(False, description="drop what follows the last whole second")
    lengthen: Literal["before", "after"] = Field("after", description="repeat before or after silence is taken out")
    pad_samples: int = Field(
        0, ge=0, le=8192, description="padding at both ends as librosa's center (half an FFT), samples"
    )
    pad_mode: Literal["constant", "reflect", "edge"] = Field("constant", description="of that padding")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_s > self.max_s:
            raise ValueError(f"min_s={self.min_s:g}: must be at most max_s={self.max_s:g}")
        return self


#: Kinds of sound that ``cheep.datasets.nuisances`` synthesizes.
NUISANCE_KINDS = (
    *("siren", "beep", "morse", "cricket", "trill", "squeak", "bark"),
    *("engine", "chime", "horn", "voice", "music", "clatter", "rustle", "loop"),
)


class SyntheticBackgroundConfig(Settings):
    """Synthesized sounds that are taken for birds, as background to train on (never to validate or test on)."""

    hours: float = Field(0.6, gt=0, le=100, description="of recordings, all kinds together")
    kinds: Words = Field((), description="of sounds; empty: all (sirens, beeps, crickets, squeaks, barks, music, ...)")
    recording_s: float = Field(4.0, gt=0, le=60, description="length of each recording, s")
    seed: int = Field(1, ge=0, lt=2**31, description="another seed, other sounds")

    @model_validator(mode="after")
    def _known(self) -> Self:
        for kind in self.kinds:
            if kind not in NUISANCE_KINDS:
                raise ValueError(f"kinds: {kind!r} is none of {', '.join(NUISANCE_KINDS)}")
        return self


class DataConfig(BuildConfig, SourceConfig):
    """From recordings to examples: the whole of ``split_dataset``."""

    columns: dict[str, str] = Field({}, description="our field: column of the CSV (path, label, recording, ...)")
    group_column: str = Field("", description="column of the CSV whose equal values stay in one split")
    suffix: str = Field("", description="ending added to file names of the CSV that have none, such as .wav")
    labels: Words = Field((), description="use only these labels")
    rename: dict[str, str] = Field({}, description="label: new label (two may become one)")
    target: Words = Field((), description="labels to detect; the others become background")
    include: dict[str, tuple[str, ...]] = Field({}, description="column: values; only such rows of the CSV are kept")
    exclude: dict[str, tuple[str, ...]] = Field({}, description="column: values; such rows of the CSV are dropped")
    noise: Words = Field((), description="folders of recordings without the target species")
    train_only: Words = Field(
        (), description="folders per label that are never tested on: synthetic or borrowed recordings"
    )
    synthetic_background: SyntheticBackgroundConfig | None = Field(
        None, description="synthesized sirens, beeps, crickets, ... to train on as background; left out: none"
    )
    annotations: Words = Field((), description="label files (Raven, Audacity, BirdNET, CSV, ...) or folders of them")
    validation: SourceConfig = Field(SourceConfig(), description="recordings to validate on, in place of a share")
    test: SourceConfig = Field(SourceConfig(), description="recordings to test on, in place of a share")
    calibration: SourceConfig = Field(SourceConfig(), description="recordings for the ranges of ptq")
    multi_label: bool = Field(False, description="a label holds several, separated by commas or semicolons")
    garbage: int = Field(0, ge=0, description="recordings of each label outside 'labels' that form a class 'garbage'")
    clips: ClipConfig | None = Field(None, description="prepare clips as a whole before they are cut")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.csv and self.folder:
            raise ValueError(f"folder={self.folder!r}: contradicts csv; keep one (audio_root: where its files are)")
        if len(set(self.labels)) != len(self.labels):
            twice = next(name for name in self.labels if self.labels.count(name) > 1)
            raise ValueError(f"labels: {twice!r} is given twice")
        if self.garbage and not self.labels:
            raise ValueError(f"garbage={self.garbage}: needs the labels to use (the others become garbage)")
        if self.garbage and self.multi_label:
            raise ValueError(
                f"garbage={self.garbage}: contradicts multi_label; a recording without any label is the negative there"
            )
        if self.garbage and "garbage" in self.labels:
            raise ValueError("labels: 'garbage' is the name of the garbage class; rename yours")
        if self.split.cross_validate and (self.test.folder or self.test.csv):
            raise ValueError("test: contradicts split.cross_validate; every fold is the test set once")
        return self


class VoicesConfig(Settings):
    """Synthetic speakers that say the labels, to train on: how often, and how, each word is said."""

    per_word: int = Field(300, ge=1, le=100000, description="times each word is said")
    sample_rate_hz: int = Field(8000, ge=8000, le=48000, description="of the recordings, Hz")
    language: str = Field(
        "en", min_length=2, max_length=16, description="espeak-ng's voices of this language; flite: en"
    )
    seed: int = Field(1, ge=0, lt=2**31, description="of voices, pitch, speed and level")
