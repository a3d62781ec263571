# SPDX-License-Identifier: MIT
"""The run file: every setting of the main job, from recordings to headers, in one YAML file."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import Self

from cheep.config.base import Settings
from cheep.config.data import DataConfig, VoicesConfig, Words
from cheep.config.features import FeatureConfig
from cheep.config.quantize import QuantizeConfig
from cheep.config.training import TrainConfig

Step: TypeAlias = Literal[
    "train", "evaluate_float", "benchmark_float", "quantize", "calibrate", "evaluate", "benchmark", "predict", "deploy"
]
STEPS: tuple[Step, ...] = get_args(Step)
#: Signals without any sound that every detector is tried on (``cheep.audio.signals`` makes them).
SIGNAL_NAMES = ("silence", "stuck", "noise-80", "noise-50", "noise-20", "hum", "square")
_WINDOW_TOLERANCE = 0.1  # of the features' window, by which the examples' length may differ (0.982 s are "1 s")


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Text = Annotated[str, BeforeValidator(_text)]


class RunConfig(Settings):
    """What is done, and where its files lie."""

    name: Text = Field("cheep", min_length=1, description="of the run, in reports and of its folder")
    steps: tuple[Step, ...] = Field(
        ("train", "quantize", "evaluate"), min_length=1, description="in this order; the data come first by themselves"
    )
    folder: str = Field("", description="where results go (empty: runs/NAME)")
    cache: str = Field("runs/cache", min_length=1, description="where finished steps are kept")
    model: str = Field("", description="model to start from in place of training: a run folder, .h5, .keras or .tflite")
    model_layout: Literal["auto", "columns", "bands"] = Field(
        "auto",
        description="windows of a model made elsewhere: (columns, bands) or (bands, columns); auto: by its shape",
    )
    model_unit: Literal["db", "ln"] = Field(
        "db", description="levels that a model made elsewhere takes: dB, or natural logarithms"
    )
    gpu_memory_gib: float | None = Field(None, gt=0, description="of the first GPU that TensorFlow may take, GiB")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        pairs = (("quantize", "train"), ("calibrate", "quantize"), ("deploy", "quantize"), ("deploy", "calibrate"))
        for later, earlier in pairs:
            if later in self.steps and earlier in self.steps and self.steps.index(later) < self.steps.index(earlier):
                raise ValueError(f"steps: {later} comes before {earlier}; put {earlier} first")
        if self.model and "train" in self.steps:
            raise ValueError(f"model={self.model!r}: contradicts the step train, which makes a new one; remove one")
        return self


class RunDetectorConfig(Settings):
    """The step calibrate: held-out recordings that thresholds are found on, and a second network behind the first."""

    verify: str = Field(
        "", description="run whose network looks at what this one lets through (docs/verify.md); empty: none"
    )
    recordings: str = Field("", description="annotations of held-out recordings: file or folder")
    audio: str = Field("", description="folder of these recordings (empty: beside the annotations)")
    background: Words = Field((), description="held-out recordings, or folders of them, without any target")
    max_false_alarms: Text = Field("1/h", description="of each label: 0.5/h, 3/day, or a number (an hour)")


class EvaluateConfig(Settings):
    """How results are judged."""

    unknown_below: float | None = Field(
        None, gt=0, lt=1, description="clips whose best score is lower count as unknown (out of distribution)"
    )
    may_fire_on: Words = Field(
        (), description="signals without sound that the detector may take for a target; all: any (rain, a fan, hum)"
    )

    @model_validator(mode="after")
    def _known_signals(self) -> Self:
        for name in self.may_fire_on:
            if name not in (*SIGNAL_NAMES, "all"):
                raise ValueError(f"may_fire_on: {name!r} is none of {', '.join(SIGNAL_NAMES)}, all")
        return self


class PredictConfig(Settings):
    """Which files get a label each."""

    files: str = Field("", description="audio file, or folder of them")
    unknown_below: float | None = Field(None, gt=0, lt=1, description="files whose best score is lower: 'unknown'")


class DeployConfig(Settings):
    """What the firmware gets."""

    board: str = Field("", description="board whose memory the network must fit (empty: none in particular)")
    backend: Literal["tflm", "compiled"] = Field("tflm", description="also write the compiled network, or not")
    folder: str = Field("", description="of the headers (empty: generated/ in the run folder)")
    threshold: float | None = Field(None, gt=0, lt=1, description="detector threshold of every label (else measured)")


class TrackConfig(Settings):
    """Trackers that listen to a run (requirements-pipelines.txt)."""

    mlflow: str = Field("", description="MLflow: folder or URI (empty: none)")
    experiment: Text = Field("", description="MLflow experiment (empty: the run's name)")
    tensorboard: str = Field("", description="folder of TensorBoard's learning curves, in the run folder (empty: none)")


class RunFile(Settings):
    """All settings of a run; a section that is left out has its defaults.

    The rate and the length of the examples are written once, in ``features``; ``data`` takes them over where it does
    not name them, and may not contradict them.
    """

    run: RunConfig = RunConfig()
    features: FeatureConfig = FeatureConfig()
    data: DataConfig = DataConfig()
    voices: VoicesConfig | None = Field(None, description="synthetic speakers to train on; left out: none")
    train: TrainConfig = TrainConfig()
    quantize: QuantizeConfig = QuantizeConfig()
    detector: RunDetectorConfig | None = Field(None, description="of the step calibrate; left out: none")
    evaluate: EvaluateConfig = EvaluateConfig()
    predict: PredictConfig = PredictConfig()
    deploy: DeployConfig = DeployConfig()
    track: TrackConfig = TrackConfig()

    @model_validator(mode="before")
    @classmethod
    def _take_over(cls, values: Any) -> Any:
        """Fill what ``data`` and ``voices`` leave open from the features."""
        if not isinstance(values, dict):
            return values
        values = dict(values)
        try:
            features = FeatureConfig.model_validate(values.get("features", {}))
        except ValueError:
            return values  # said by the validation itself
        window_s = round(features.window_s, 1) or features.window_s
        if isinstance(data := values.get("data", {}), dict):
            data = {"sample_rate_hz": features.sample_rate_hz, **data}
            if isinstance(windows := data.get("windows", {}), dict):
                windows = {"window_s": window_s, **windows}
                if isinstance(length := windows["window_s"], int | float) and length < 0.5:
                    windows.setdefault("hop_s", length)
                data["windows"] = windows
            values["data"] = data
            train = values.get("train", {})
            if isinstance(windows, dict) and isinstance(train, dict):
                negatives = {"background": train.get("background", windows.get("background", "background"))}
                data["windows"] = {**negatives, **windows}
                values["train"] = {**negatives, **train}
        if isinstance(voices := values.get("voices"), dict):
            values["voices"] = {"sample_rate_hz": max(8000, features.sample_rate_hz), **voices}
        return values

    @model_validator(mode="after")
    def _agree(self) -> Self:
        rate = self.features.sample_rate_hz
        if self.data.sample_rate_hz != rate:
            raise ValueError(
                f"data.sample_rate_hz={self.data.sample_rate_hz}: contradicts features.sample_rate_hz={rate} "
                "(leave it out: it is taken over)"
            )
        length, window_s = self.data.windows.window_s, self.features.window_s
        if abs(length - window_s) > max(_WINDOW_TOLERANCE * window_s, 0.05):
            raise ValueError(
                f"data.windows.window_s={length:g}: contradicts the features, whose window lasts {window_s:.3f} s "
                "(leave it out: it is taken over; or set features.window_frames)"
            )
        if self.train.background != self.data.windows.background:
            raise ValueError(
                f"train.background={self.train.background!r}: contradicts data.windows.background="
                f"{self.data.windows.background!r} (leave it out: it is taken over)"
            )
        clips = self.data.clips
        if clips is not None and window_s > clips.max_s:
            raise ValueError(
                f"features.window_frames={self.features.window_frames}: a window lasts {window_s:.2f} s, longer than "
                f"data.clips.max_s={clips.max_s:g} s; shorten the window or raise it"
            )
        if "deploy" in self.run.steps and clips is not None and clips.pad_samples:
            raise ValueError(
                f"data.clips.pad_samples={clips.pad_samples}: cannot be deployed: the device sees sound as it "
                "comes and has no samples before the start to pad with; leave it out and train again"
            )
        return self
