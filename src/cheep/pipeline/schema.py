"""What a configuration may say: the sections and parameters of the STM32 model zoo's audio event detection, and ours.

A parameter that the zoo has keeps its name and meaning; ``docs/pipelines.md`` lists them. Defaults are the zoo's
where it has one that the device can do.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from cheep.config import Settings

OPERATIONS = ("training", "evaluation", "quantization", "prediction", "benchmarking", "deployment")
CHAINS = {
    "chain_tqe": ("training", "quantization", "evaluation"),
    "chain_tbqeb": ("training", "benchmarking_float", "quantization", "evaluation", "benchmarking"),
    "chain_tqeb": ("training", "quantization", "evaluation", "benchmarking"),
    "chain_eqe": ("evaluation_float", "quantization", "evaluation"),
    "chain_qb": ("quantization", "benchmarking"),
    "chain_eqeb": ("evaluation_float", "quantization", "evaluation", "benchmarking"),
    "chain_qd": ("quantization", "deployment"),
    "chain_tqed": ("training", "quantization", "evaluation", "deployment"),
}
MODES = (*OPERATIONS, *CHAINS)


def _words(value: Any) -> Any:
    """Accept one word for a list of one."""
    return [value] if isinstance(value, str | int) and not isinstance(value, bool) else value


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Names = Annotated[tuple[Annotated[str, BeforeValidator(_text)], ...], BeforeValidator(_words)]
Text = Annotated[str, BeforeValidator(_text)]


class General(Settings):
    """Names, folders, seeds."""

    project_name: Text = "cheep"
    model_path: str | None = Field(None, description="model to start from: .h5, .tflite or a run folder")
    output_dir: str | None = Field(None, description="where results go (default: hydra.run.dir, else runs/NAME)")
    cache_dir: str = Field("runs/cache", description="where finished steps are kept")
    logs_dir: str = "logs"
    saved_models_dir: str = "saved_models"
    display_figures: bool = Field(False, description="accepted for compatibility: figures are in the report")
    global_seed: int = Field(133, ge=0, lt=2**31)
    deterministic_ops: bool = Field(True, description="accepted for compatibility: runs are always seeded")
    gpu_memory_limit: float | None = Field(None, gt=0, description="GiB of the first GPU that TensorFlow may take")
    num_threads_tflite: int | None = Field(None, ge=1)
    tensorboard: bool = Field(False, description="write learning curves for TensorBoard into logs_dir")


class Dataset(Settings):
    """Recordings: ESC-50-like CSV files (filename, category, fold ...), or folders with one folder per label."""

    name: Text = "custom"
    class_names: Names = Field((), description="labels to use; empty: all")
    file_extension: str = Field("", description="added to file names in the CSV that have none")
    training_audio_path: str | None = None
    training_csv_path: str | None = None
    validation_audio_path: str | None = None
    validation_csv_path: str | None = None
    validation_split: float = Field(0.2, gt=0, lt=1)
    quantization_audio_path: str | None = None
    quantization_csv_path: str | None = None
    quantization_split: float | None = Field(None, gt=0, le=1, description="share of training windows for PTQ")
    test_audio_path: str | None = None
    test_csv_path: str | None = None
    test_split: float | None = Field(None, gt=0, lt=1)
    folds: Names = Field((), description="use only these folds of the CSV; empty: all")
    test_folds: Names = Field((), description="folds that are the test set")
    validation_folds: Names = ()
    cross_validate: bool = Field(False, description="each fold is the test set once")
    group_column: str | None = Field(None, description="column whose equal values stay on one side of a split")
    multi_label: bool = False
    use_garbage_class: bool = Field(False, description="labels outside class_names become one more class, 'garbage'")
    n_samples_per_garbage_class: int = Field(2, ge=1)
    expand_last_dim: bool = True
    seed: int | None = Field(None, ge=0, description="of splits and garbage samples (default: global_seed)")
    to_cache: bool = True
    shuffle: bool = True


class Preprocessing(Settings):
    """What is done to a recording before features are computed."""

    min_length: float = Field(1, gt=0, description="shorter recordings are repeated to this length, s")
    max_length: float = Field(10, gt=0, description="longer ones are cut, s")
    target_rate: int = Field(8000, ge=2000, le=48000, description="sample rate, Hz")
    top_db: float | None = Field(60, gt=0, description="frames this far below the loudest are removed; null: none")
    frame_length: int = Field(3200, ge=1, description="of silence removal, samples")
    hop_length: int = Field(3200, ge=1, description="of silence removal, samples")
    trim_last_second: bool = Field(False, description="drop what follows the last whole second")
    lengthen: Literal["before", "after"] = Field("after", description="repeat before or after silence removal")


class FeatureExtraction(Settings):
    """Log-mel patches; librosa's meanings. The device computes exactly these."""

    patch_length: int = Field(39, ge=1, le=1024, description="columns of one network input")
    n_mels: int = Field(40, ge=1, le=128)
    overlap: float = Field(0.25, ge=0, lt=1, description="of successive patches")
    n_fft: int = Field(256, ge=16, le=8192)
    hop_length: int = Field(200, ge=1, le=8192)
    window_length: int | None = Field(None, ge=16, le=8192, description="default: n_fft")
    window: str = "hann"
    center: bool = False
    pad_mode: Literal["constant", "reflect", "edge"] = "constant"
    power: float = 2.0
    fmin: float = Field(100, ge=0)
    fmax: float | None = Field(None, gt=0, description="default: half of target_rate")
    norm: Literal["slaney"] | None = "slaney"
    htk: bool = False
    to_db: bool = True
    include_last_patch: bool = False
    compression: Literal["db", "pcen"] = Field("db", description="Cheep's own: pcen in place of the logarithm")


class NoiseSettings(Settings):
    """Zoo parameter; see the documentation for what to use here."""

    enable: bool = False
    scale: float = Field(0.1, ge=0)


class VolumeSettings(Settings):
    """Random level between two factors."""

    enable: bool = False
    min_scale: float = Field(0.8, gt=0)
    max_scale: float = Field(1.2, gt=0)


class MaskSettings(Settings):
    """Time and band masks."""

    enable: bool = False
    freq_mask_param: int = Field(1, ge=0, le=64)
    time_mask_param: int = Field(1, ge=0, le=100)
    n_freq_mask: int = Field(1, ge=0)
    n_time_mask: int = Field(1, ge=0)
    mask_value: float = 0


class DataAugmentation(Settings):
    """The zoo's three, and Cheep's own (null: Cheep's default where the section is absent, else off)."""

    GaussianNoise: NoiseSettings = NoiseSettings()
    VolumeAugment: VolumeSettings = VolumeSettings()
    SpecAug: MaskSettings = MaskSettings()
    gain_db: float | None = Field(None, ge=0, le=40)
    tilt_db: float | None = Field(None, ge=0, le=20)
    band_db: float | None = Field(None, ge=0, le=40)
    shift_frames: int | None = Field(None, ge=0, le=200)
    mix_probability: float | None = Field(None, ge=0, le=1)
    mix_snr_db: tuple[float, float] | None = None
    mask_frames: int | None = Field(None, ge=0, le=100)
    mask_bands: int | None = Field(None, ge=0, le=64)
    mixup_alpha: float | None = Field(None, ge=0, le=5)


class Model(Settings):
    """Which network."""

    name: str = "sepconv_m"
    input_shape: tuple[int, int, int] | None = Field(None, description="(n_mels, patch_length, 1); checked if given")


class Optimizer(Settings):
    """One entry: the optimizer's name and its parameters."""

    Adam: dict[str, float] | None = None
    AdamW: dict[str, float] | None = None


class Training(Settings):
    """Training of the float network."""

    model: Model = Model()
    epochs: int = Field(50, ge=1, le=10000)
    batch_size: int = Field(32, ge=1, le=4096)
    dropout: float = Field(0.2, ge=0, lt=1)
    learning_rate: float | None = Field(None, gt=0, le=1)
    optimizer: Optimizer | None = None
    patience: int | None = Field(None, ge=1, description="refused: the schedule has a fixed length")
    callbacks: dict[str, Any] | None = Field(None, description="refused: the schedule is fixed (cosine)")
    fine_tune: bool = False
    weight_decay: float = Field(1e-4, ge=0, le=1)
    label_smoothing: float = Field(0.05, ge=0, lt=0.5)
    warmup_epochs: int = Field(2, ge=0)
    average_last: float = Field(0.25, ge=0, le=1)
    examples_per_epoch: int = Field(0, ge=0)


class Quantization(Settings):
    """How the network becomes int8."""

    quantizer: Literal["TFlite_converter", "TFLite_converter"] = "TFlite_converter"
    quantization_type: Literal["PTQ", "QAT"] = "QAT"
    quantization_input_type: Literal["int8", "float", "uint8"] = "int8"
    quantization_output_type: Literal["int8", "float", "uint8"] = "int8"
    granularity: Literal["per_channel", "per_tensor"] = "per_channel"
    optimize: bool = False
    export_dir: str | None = Field(None, description="also copy the model there")
    epochs: int = Field(15, ge=1, le=10000, description="of QAT")
    learning_rate: float = Field(3e-4, gt=0, le=1, description="of QAT")
    batch_size: int = Field(64, ge=1, le=4096, description="of QAT")


class Evaluation(Settings):
    """How results are judged."""

    unknown_class_threshold: float | None = Field(
        None, gt=0, lt=1, description="clips whose best score is lower count as unknown (out of distribution)"
    )
    bootstrap_draws: int = Field(1000, ge=0, le=100000)


class Prediction(Settings):
    """Which files to predict."""

    test_files_path: str | None = None
    unknown_class_threshold: float | None = Field(None, gt=0, lt=1)


class Benchmarking(Settings):
    """Where cost is measured."""

    board: str = Field("cortex-m4f", description="the emulated Cortex-M4F (exact instruction counts)")


class Tools(Settings):
    """Benchmark settings under the zoo's name."""

    benchmark: Benchmarking | None = None
    stedgeai: dict[str, Any] | None = None
    path_to_cubeIDE: str | None = None


class Deployment(Settings):
    """Where the firmware's headers go."""

    output_dir: str | None = Field(None, description="folder of the headers (default: generated/ in the results)")
    backend: Literal["tflm", "compiled"] = "tflm"
    unknown_class_threshold: float | None = Field(None, gt=0, lt=1, description="detector threshold of every label")


class Mlflow(Settings):
    """Tracking by MLflow (requirements-pipelines.txt)."""

    uri: str | None = None
    experiment: Text | None = None


class HydraRun(Settings):
    """Output folder, as Hydra users write it."""

    dir: str | None = None


class Hydra(Settings):
    """Only ``run.dir`` is used."""

    run: HydraRun = HydraRun()


class PipelineConfig(Settings):
    """A whole configuration."""

    operation_mode: str | None = None
    steps: tuple[str, ...] | None = Field(None, description="explicit list in place of operation_mode")
    general: General = General()
    dataset: Dataset = Dataset()
    preprocessing: Preprocessing = Preprocessing()
    feature_extraction: FeatureExtraction = FeatureExtraction()
    data_augmentation: DataAugmentation | None = None
    training: Training = Training()
    quantization: Quantization = Quantization()
    evaluation: Evaluation = Evaluation()
    prediction: Prediction = Prediction()
    tools: Tools = Tools()
    benchmarking: Benchmarking = Benchmarking()
    deployment: Deployment = Deployment()
    mlflow: Mlflow = Mlflow()
    hydra: Hydra = Hydra()

    @property
    def plan(self) -> tuple[str, ...]:
        """The steps to run, in order, without the data step that every plan begins with where it needs data."""
        if self.steps is not None:
            return self.steps
        mode = self.operation_mode or ""
        return CHAINS.get(mode, (mode,) if mode else ())


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a configuration, for editors."""
    schema = PipelineConfig.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Cheep pipeline configuration"
    schema["properties"]["operation_mode"] = {"enum": list(MODES), "description": "what to do"}
    schema["properties"]["steps"]["anyOf"] = [
        {"type": "array", "items": {"enum": list(OPERATIONS)}, "minItems": 1},
        {"type": "null"},
    ]
    return schema
