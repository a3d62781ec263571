"""Contradictions between settings, missing files, and what the device cannot do exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from cheep.config.base import nearest_name
from cheep.models import model_names
from cheep.pipeline.schema import MODES, OPERATIONS, PipelineConfig
from cheep.pipeline.source import Loc

#: Names of zoo networks and tools that people carry over, and what to write here.
_FOREIGN_MODELS = {
    "yamnet": "sepconv_l (YAMNet's pretrained weights are for 16 kHz and do not run on these boards)",
    "miniresnet": "resnet",
    "miniresnetv2": "resnet",
    "custom": "one of the registry (a model of your own: general.model_path and cheep convert)",
}
_STEPS = (*OPERATIONS, "evaluation_float", "benchmarking_float")


class Checker:
    """All checks of a configuration. Relative paths start from ``base``; findings at or below ``bad`` are silent."""

    def __init__(self, config: PipelineConfig, base: Path, bad: set[Loc]):
        self._config, self._base, self._bad = config, base, bad

    def run(self) -> Iterator[tuple[Loc, str]]:
        """Yield (where, what is wrong)."""
        checks: list[Callable[[], Iterator[tuple[Loc, str]]]] = [
            self._mode,
            self._data,
            self._paths,
            self._lengths,
            self._features,
            self._augmentation,
            self._training,
            self._quantization,
            self._device,
            self._model_path,
            self._rest,
        ]
        for check in checks:
            for loc, text in check():
                if not any(loc[: len(wrong)] == wrong for wrong in self._bad):
                    yield loc, text

    @property
    def _plan(self) -> tuple[str, ...]:
        return self._config.plan

    def _needs_data(self) -> bool:
        return any(step in self._plan for step in ("training", "evaluation", "evaluation_float", "quantization"))

    def _mode(self) -> Iterator[tuple[Loc, str]]:
        mode, steps = self._config.operation_mode, self._config.steps
        if mode is None and steps is None:
            yield ("operation_mode",), f"operation_mode: missing; one of {', '.join(MODES)} (or a list 'steps')"
        elif mode is not None and steps is not None:
            yield ("steps",), "steps: contradicts operation_mode; keep one of the two"
        elif mode is not None and mode not in MODES:
            yield (
                ("operation_mode",),
                (f"operation_mode={mode!r}: must be one of {', '.join(MODES)}{nearest_name(mode, MODES)}"),
            )
        for i, step in enumerate(steps or ()):
            if step not in _STEPS:
                yield ("steps", i), f"steps: {step!r}: must be one of {', '.join(_STEPS)}{nearest_name(step, _STEPS)}"
        if steps == ():
            yield ("steps",), "steps: is empty; name at least one step"
        position = {step: i for i, step in enumerate(self._plan)}
        if "training" in position and position.get("quantization", 1000) < position["training"]:
            yield ("steps",), "steps: quantization comes before training; put training first"
        if "deployment" in position and position.get("quantization", -1) > position["deployment"]:
            yield ("steps",), "steps: deployment comes before quantization; put quantization first"

    def _data(self) -> Iterator[tuple[Loc, str]]:
        data = self._config.dataset
        if self._needs_data() and data.training_audio_path is None:
            yield (
                ("dataset", "training_audio_path"),
                ("dataset.training_audio_path: missing; name the folder of the recordings"),
            )
        if len(set(data.class_names)) != len(data.class_names):
            twice = next(name for name in data.class_names if data.class_names.count(name) > 1)
            yield ("dataset", "class_names"), f"dataset.class_names: {twice!r} is given twice"
        if data.use_garbage_class and not data.class_names:
            yield (
                ("dataset", "use_garbage_class"),
                ("dataset.use_garbage_class=true: needs class_names (what is not among them becomes garbage)"),
            )
        if data.use_garbage_class and data.multi_label:
            yield (
                ("dataset", "use_garbage_class"),
                (
                    "dataset.use_garbage_class=true: contradicts multi_label=true; a recording without any label is "
                    "the "
                    "negative there"
                ),
            )
        if data.use_garbage_class and "garbage" in data.class_names:
            yield (
                ("dataset", "class_names"),
                ("dataset.class_names: 'garbage' is the name of the garbage class; rename yours"),
            )
        if data.cross_validate and (data.test_folds or data.test_csv_path or data.test_split):
            yield (
                ("dataset", "cross_validate"),
                (
                    "dataset.cross_validate=true: contradicts test_folds, test_csv_path and test_split; every fold "
                    "is the "
                    "test set once"
                ),
            )
        given = [name for name in ("test_folds", "test_csv_path", "test_split") if getattr(data, name)]
        if len(given) > 1:
            yield ("dataset", given[1]), f"dataset.{given[1]}: contradicts dataset.{given[0]}; keep one test set"
        if data.test_split and data.test_split + data.validation_split >= 0.95:
            yield (
                ("dataset", "test_split"),
                (
                    f"dataset.test_split={data.test_split:g} and validation_split={data.validation_split:g}: leave "
                    f"nothing to "
                    "train on; together at most 0.95"
                ),
            )
        if data.folds:
            for name in ("test_folds", "validation_folds"):
                for fold in getattr(data, name):
                    if fold not in data.folds:
                        yield ("dataset", name), f"dataset.{name}: fold {fold} is not in folds {list(data.folds)}"
        both = set(data.test_folds) & set(data.validation_folds)
        if both:
            yield ("dataset", "validation_folds"), f"dataset.validation_folds: fold {min(both)} is in test_folds, too"
        for part in ("validation", "test", "quantization"):
            if getattr(data, f"{part}_csv_path") and not getattr(data, f"{part}_audio_path"):
                yield (
                    ("dataset", f"{part}_csv_path"),
                    (f"dataset.{part}_csv_path: needs dataset.{part}_audio_path, the folder of its files"),
                )

    def _paths(self) -> Iterator[tuple[Loc, str]]:
        data = self._config.dataset
        for name, value in data:
            if value is None or not name.endswith("_path"):
                continue
            path = self._base / value
            if name.endswith("csv_path") and not path.is_file():
                yield ("dataset", name), f"dataset.{name}={value!r}: no such file"
            if name.endswith("audio_path") and not path.is_dir():
                yield ("dataset", name), f"dataset.{name}={value!r}: no such folder"
        files = self._config.prediction.test_files_path
        if "prediction" in self._plan and files is None:
            yield (
                ("prediction", "test_files_path"),
                ("prediction.test_files_path: missing; name the folder of the files to predict"),
            )
        if files is not None and not (self._base / files).exists():
            yield ("prediction", "test_files_path"), f"prediction.test_files_path={files!r}: no such file or folder"

    def _lengths(self) -> Iterator[tuple[Loc, str]]:
        pre = self._config.preprocessing
        if pre.min_length > pre.max_length:
            yield (
                ("preprocessing", "min_length"),
                (f"preprocessing.min_length={pre.min_length:g}: must be at most max_length={pre.max_length:g}"),
            )
        feature = self._config.feature_extraction
        window_s = ((feature.patch_length - 1) * feature.hop_length + feature.n_fft) / pre.target_rate
        if window_s > pre.max_length:
            yield (
                ("feature_extraction", "patch_length"),
                (
                    f"feature_extraction.patch_length={feature.patch_length}: a patch lasts {window_s:.2f} s, longer "
                    f"than "
                    f"max_length={pre.max_length:g} s; shorten the patch or raise preprocessing.max_length"
                ),
            )

    def _features(self) -> Iterator[tuple[Loc, str]]:
        feature, rate = self._config.feature_extraction, self._config.preprocessing.target_rate
        loc = "feature_extraction"
        if feature.n_fft & (feature.n_fft - 1) or not 64 <= feature.n_fft <= 2048:
            power = min(2048, max(64, 1 << (feature.n_fft - 1).bit_length()))
            yield (
                (loc, "n_fft"),
                (
                    f"feature_extraction.n_fft={feature.n_fft}: must be a power of two from 64 to 2048, as the "
                    f"device's FFT is "
                    f"(n_fft: {power} with window_length: {min(feature.window_length or feature.n_fft, power)} pads "
                    f"with zeros)"
                ),
            )
        if feature.window_length is not None and feature.window_length > feature.n_fft:
            yield (
                (loc, "window_length"),
                (f"feature_extraction.window_length={feature.window_length}: must be at most n_fft={feature.n_fft}"),
            )
        top = rate / 2 if feature.fmax is None else feature.fmax
        if top > rate / 2:
            yield (
                (loc, "fmax"),
                (f"feature_extraction.fmax={top:g}: must be at most half of target_rate={rate} ({rate / 2:g})"),
            )
        if feature.fmin >= top:
            yield (loc, "fmin"), f"feature_extraction.fmin={feature.fmin:g}: must be below fmax={top:g}"
        if feature.power not in (1.0, 2.0):
            yield (loc, "power"), f"feature_extraction.power={feature.power:g}: must be 1 (magnitude) or 2 (power)"
        if feature.window != "hann":
            yield (
                (loc, "window"),
                (
                    f"feature_extraction.window={feature.window!r}: must be 'hann', the window of the C core that "
                    f"trains and runs"
                ),
            )
        if feature.hop_length > (feature.window_length or feature.n_fft):
            yield (
                (loc, "hop_length"),
                (
                    f"feature_extraction.hop_length={feature.hop_length}: leaves gaps that no window sees; at most "
                    f"window_length={feature.window_length or feature.n_fft}"
                ),
            )

    def _augmentation(self) -> Iterator[tuple[Loc, str]]:
        augmentation = self._config.data_augmentation
        if augmentation is None:
            return
        if augmentation.GaussianNoise.enable:
            yield (
                ("data_augmentation", "GaussianNoise", "enable"),
                (
                    "data_augmentation.GaussianNoise.enable=true: noise on features is not offered; mix real "
                    "backgrounds with "
                    "mix_probability and mix_snr_db"
                ),
            )
        if augmentation.VolumeAugment.min_scale > augmentation.VolumeAugment.max_scale:
            yield (
                ("data_augmentation", "VolumeAugment", "min_scale"),
                (
                    f"data_augmentation.VolumeAugment.min_scale={augmentation.VolumeAugment.min_scale:g}: must be at "
                    f"most "
                    f"max_scale={augmentation.VolumeAugment.max_scale:g}"
                ),
            )

    def _training(self) -> Iterator[tuple[Loc, str]]:
        training = self._config.training
        names = model_names()
        if training.model.name not in names:
            other = _FOREIGN_MODELS.get(training.model.name.lower())
            hint = f"; take {other}" if other else nearest_name(training.model.name, names)
            yield (
                ("training", "model", "name"),
                (f"training.model.name={training.model.name!r}: must be one of {', '.join(names)}{hint}"),
            )
        feature = self._config.feature_extraction
        wanted = (feature.n_mels, feature.patch_length, 1)
        if training.model.input_shape not in (None, wanted):
            yield (
                ("training", "model", "input_shape"),
                (
                    f"training.model.input_shape={list(training.model.input_shape or ())}: must be [n_mels, "
                    f"patch_length, 1] = "
                    f"{list(wanted)} (or leave it out)"
                ),
            )
        for name in ("patience", "callbacks"):
            if getattr(training, name) is not None:
                yield (
                    ("training", name),
                    (
                        f"training.{name}: not used: the schedule has a fixed length (warm-up, cosine, averaged "
                        f"weights); set epochs"
                    ),
                )
        if training.fine_tune:
            yield (
                ("training", "fine_tune"),
                "training.fine_tune=true: no pretrained networks are offered; set it to false",
            )
        optimizer = training.optimizer
        if optimizer is not None and optimizer.Adam is not None and optimizer.AdamW is not None:
            yield ("training", "optimizer"), "training.optimizer: Adam and AdamW contradict each other; keep one"
        for kind in ("Adam", "AdamW"):
            for key in (getattr(optimizer, kind, None) or {}) if optimizer is not None else {}:
                if key not in ("learning_rate", "weight_decay"):
                    yield (
                        ("training", "optimizer", kind, key),
                        (
                            f"training.optimizer.{kind}.{key}: unknown "
                            f"setting{nearest_name(key, ('learning_rate', 'weight_decay'))}"
                        ),
                    )

    def _quantization(self) -> Iterator[tuple[Loc, str]]:
        q = self._config.quantization
        for name in ("quantization_input_type", "quantization_output_type"):
            value = getattr(q, name)
            if value == "uint8":
                yield (
                    ("quantization", name),
                    f"quantization.{name}='uint8': must be int8 or float (TFLM's kernels are int8)",
                )
            elif value == "float" and q.quantization_type == "QAT":
                yield (
                    ("quantization", name),
                    (
                        f"quantization.{name}='float': QAT models have int8 inputs and outputs here; set int8 or "
                        "quantization_type: PTQ"
                    ),
                )
        if q.granularity == "per_tensor":
            yield (
                ("quantization", "granularity"),
                (
                    "quantization.granularity='per_tensor': must be per_channel (what TFLM's kernels and the "
                    "compiler expect)"
                ),
            )

    def _device(self) -> Iterator[tuple[Loc, str]]:
        if "deployment" not in self._plan:
            return
        feature, q = self._config.feature_extraction, self._config.quantization
        if feature.center:
            yield (
                ("feature_extraction", "center"),
                (
                    "feature_extraction.center=true: cannot be deployed: the device sees sound as it comes and has "
                    "no samples "
                    "before the start to pad with; set center: false and train again"
                ),
            )
        for name in ("quantization_input_type", "quantization_output_type"):
            if getattr(q, name) == "float":
                yield (
                    ("quantization", name),
                    (
                        f"quantization.{name}='float': cannot be deployed: the firmware hands int8 columns to the "
                        f"network and "
                        "takes int8 scores; set int8"
                    ),
                )

    def _model_path(self) -> Iterator[tuple[Loc, str]]:
        path = self._config.general.model_path
        trains = "training" in self._plan
        if trains and path is not None:
            yield (
                ("general", "model_path"),
                (f"general.model_path={path!r}: contradicts training, which makes a new model; remove one of the two"),
            )
        known = bool(self._plan) and all(step in _STEPS for step in self._plan)
        if not trains and known and path is None:
            yield (
                ("general", "model_path"),
                (
                    f"general.model_path: missing; {self._plan[0]} needs a model to start from (a run folder, .h5 or "
                    f".tflite)"
                ),
            )
        if path is not None and not (self._base / path).exists():
            yield ("general", "model_path"), f"general.model_path={path!r}: no such file or folder"

    def _rest(self) -> Iterator[tuple[Loc, str]]:
        if self._config.tools.stedgeai is not None:
            yield (
                ("tools", "stedgeai"),
                (
                    "tools.stedgeai: not used here: networks are compiled by cheep compile or run in TFLM; remove "
                    "the section"
                ),
            )
        if self._config.general.num_threads_tflite not in (None, 1):
            yield ("general", "num_threads_tflite"), "general.num_threads_tflite: must be 1 (the device has one core)"
        boards = [self._config.benchmarking.board]
        if self._config.tools.benchmark is not None:
            boards.append(self._config.tools.benchmark.board)
        for section, board in zip((("benchmarking", "board"), ("tools", "benchmark", "board")), boards, strict=False):
            if board not in ("cortex-m4f", "audiomoth"):
                yield (
                    section,
                    (
                        f"{'.'.join(section)}={board!r}: must be cortex-m4f or audiomoth (instructions are counted "
                        f"in the emulator)"
                        f"{nearest_name(board, ('cortex-m4f', 'audiomoth'))}"
                    ),
                )
