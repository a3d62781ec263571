# SPDX-License-Identifier: MIT
"""The STM32 model zoo's configurations (audio event detection) as run files.

What has a meaning here is taken; what has none is listed once, with why; what would change the result is refused.
docs/pipelines.md has the same tables in words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cheep.config.base import nearest_name
from cheep.config.features import FeatureConfig
from cheep.config.run_file import RunFile
from cheep.config.source import Source
from cheep.config.training import AugmentConfig

SECTIONS = (
    "operation_mode", "steps", "general", "dataset", "preprocessing", "feature_extraction", "data_augmentation",
    "training", "quantization", "evaluation", "prediction", "tools", "benchmarking", "deployment", "mlflow", "hydra",
)  # fmt: skip
OPERATIONS = {
    "training": "train", "evaluation": "evaluate", "evaluation_float": "evaluate_float", "quantization": "quantize",
    "prediction": "predict", "benchmarking": "benchmark", "benchmarking_float": "benchmark_float",
    "deployment": "deploy",
}  # fmt: skip
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
MODES = (*(name for name in OPERATIONS if not name.endswith("_float")), *CHAINS)

#: What is taken as it is: the zoo's name -> ours.
TAKEN = {
    "general.project_name": "run.name",
    "general.model_path": "run.model",
    "general.output_dir": "run.folder",
    "general.cache_dir": "run.cache",
    "general.gpu_memory_limit": "run.gpu_memory_gib",
    "dataset.class_names": "data.labels",
    "dataset.file_extension": "data.suffix",
    "dataset.validation_split": "data.split.val",
    "dataset.test_split": "data.split.test",
    "dataset.quantization_split": "quantize.ptq.share",
    "dataset.folds": "data.split.folds",
    "dataset.test_folds": "data.split.test_folds",
    "dataset.validation_folds": "data.split.val_folds",
    "dataset.cross_validate": "data.split.cross_validate",
    "dataset.group_column": "data.group_column",
    "dataset.multi_label": "data.multi_label",
    "preprocessing.min_length": "data.clips.min_s",
    "preprocessing.max_length": "data.clips.max_s",
    "preprocessing.target_rate": "features.sample_rate_hz",
    "preprocessing.top_db": "data.clips.silence_db",
    "preprocessing.frame_length": "data.clips.silence_frame_samples",
    "preprocessing.hop_length": "data.clips.silence_hop_samples",
    "preprocessing.trim_last_second": "data.clips.whole_seconds",
    "preprocessing.lengthen": "data.clips.lengthen",
    "feature_extraction.patch_length": "features.window_frames",
    "feature_extraction.n_mels": "features.n_mels",
    "feature_extraction.n_fft": "features.fft_size",
    "feature_extraction.hop_length": "features.hop_samples",
    "feature_extraction.window_length": "features.frame_samples",
    "feature_extraction.pad_mode": "data.clips.pad_mode",
    "feature_extraction.fmin": "features.fmin_hz",
    "feature_extraction.fmax": "features.fmax_hz",
    "feature_extraction.include_last_patch": "data.windows.last",
    "feature_extraction.compression": "features.compression",
    **{
        f"data_augmentation.{name}": f"train.augment.{name}"
        for name in AugmentConfig.model_fields
        if name not in ("trim_db", "trim_probability")
    },
    "training.model.name": "train.model",
    "training.epochs": "train.epochs",
    "training.batch_size": "train.batch_size",
    "training.dropout": "train.dropout",
    "training.learning_rate": "train.learning_rate",
    "training.weight_decay": "train.weight_decay",
    "training.label_smoothing": "train.label_smoothing",
    "training.warmup_epochs": "train.warmup_epochs",
    "training.average_last": "train.average_last",
    "training.examples_per_epoch": "train.examples_per_epoch",
    "quantization.export_dir": "quantize.folder",
    "quantization.epochs": "quantize.qat.epochs",
    "quantization.learning_rate": "quantize.qat.learning_rate",
    "quantization.batch_size": "quantize.qat.batch_size",
    "evaluation.unknown_class_threshold": "evaluate.unknown_below",
    "prediction.test_files_path": "predict.files",
    "prediction.unknown_class_threshold": "predict.unknown_below",
    "deployment.output_dir": "deploy.folder",
    "deployment.backend": "deploy.backend",
    "deployment.unknown_class_threshold": "deploy.threshold",
    "mlflow.uri": "track.mlflow",
    "mlflow.experiment": "track.experiment",
    "hydra.run.dir": "run.folder",
}

#: What has no meaning here and changes no result: why.
LISTED = {
    "general.saved_models_dir": "models lie in the run folder",
    "general.display_figures": "figures are in the report",
    "general.deterministic_ops": "runs are always seeded",
    "general.num_threads_tflite": "a number of threads changes no score",
    "general.batch_size": "how many windows are judged at once changes no score",
    "dataset.name": "only a name; labels and files come from class_names and the CSV",
    "dataset.expand_last_dim": "the networks' inputs have one form",
    "dataset.to_cache": "features are always kept",
    "dataset.shuffle": "training always shuffles",
    "feature_extraction.to_db": "columns are always levels in dB; without to_db they differ by a constant factor",
    "training.patience": "the schedule has a fixed length (epochs); the best weights, or the average, are kept",
    "training.callbacks": "the schedule is fixed (warm-up, cosine, averaged weights)",
    "quantization.quantizer": "there is one",
    "quantization.optimize": "the converter always does",
    "tools.stedgeai": "networks are compiled by cheep compile, or run in TFLM",
    "tools.path_to_cubeIDE": "firmware is built with PlatformIO",
    "tools.benchmark.board": "instructions are counted on the emulated Cortex-M4F",
    "benchmarking.board": "instructions are counted on the emulated Cortex-M4F",
    "deployment.c_project_path": "the firmware's headers go to the run folder (deployment.output_dir)",
    "deployment.IDE": "firmware is built with PlatformIO",
    "deployment.verbosity": "nothing is built here",
    "deployment.hardware_setup": "the board is chosen when the firmware is built",
    "deployment.build_conf": "firmware is built with PlatformIO",
    "hydra.verbose": "only hydra.run.dir is used",
    "hydra.job_logging": "only hydra.run.dir is used",
    "hydra.output_subdir": "only hydra.run.dir is used",
    "training.model.embedding_size": "of the zoo's YAMNet",
}

#: What is translated by the functions below.
_HANDLED = (
    "general.logs_dir", "general.tensorboard", "general.global_seed", "dataset.seed",
    *(f"dataset.{part}_{kind}_path" for part in ("training", "validation", "test", "quantization")
      for kind in ("audio", "csv")),
    "dataset.use_garbage_class", "dataset.n_samples_per_garbage_class", "feature_extraction.overlap",
    "feature_extraction.window", "feature_extraction.center", "feature_extraction.power", "feature_extraction.norm",
    "feature_extraction.htk", "data_augmentation.GaussianNoise.enable", "data_augmentation.GaussianNoise.scale",
    *(f"data_augmentation.VolumeAugment.{name}" for name in ("enable", "min_scale", "max_scale")),
    *(f"data_augmentation.SpecAug.{name}" for name in (
        "enable", "freq_mask_param", "time_mask_param", "n_freq_mask", "n_time_mask", "mask_value")),
    "training.model.input_shape", "training.model.pretrained_weights", "training.optimizer", "training.fine_tune",
    "training.resume_training_from",
    "quantization.quantization_type", "quantization.quantization_input_type",
    "quantization.quantization_output_type", "quantization.granularity",
)  # fmt: skip
_KNOWN = (*TAKEN, *LISTED, *_HANDLED)
_OVERLAP = 0.25  # of patches, where the file does not say
_VALIDATION = 0.2  # share, where the file does not say
_FOREIGN_MODELS = {
    "yamnet": "sepconv_l (YAMNet's pretrained weights are for 16 kHz and do not run on these boards)",
    "miniresnet": "resnet",
    "miniresnetv2": "resnet",
    "custom": "one of the registry (a model of your own: general.model_path and cheep convert)",
}


def is_zoo(source: Source) -> bool:
    """Tell whether a file has the zoo's form: sections of its, none of a run file's."""
    return any(key in SECTIONS for key in source.values)


def import_zoo(source: Source) -> Source:
    """Return a zoo configuration as a run file: values, where each stands in the file, problems and notes."""
    return _Import(source).run()


class _Import:
    """One import: ``get`` reads the zoo's values, ``put`` writes ours."""

    def __init__(self, source: Source):
        self._values = _without_none_words(source.values)
        self._from = source
        self._to = Source(source.name, {}, source.lines)
        self._problems: list[tuple[int | str, str]] = []

    def run(self) -> Source:
        mixed = [key for key in self._values if key not in SECTIONS]
        self._unknown(mixed)
        for zoo, ours in TAKEN.items():
            self._to.written[tuple(ours.split("."))] = tuple(zoo.split("."))
        self._to.written[("data", "folder")] = ("dataset", "training_audio_path")
        if self.get("general.output_dir") is None:
            self._to.written[("run", "folder")] = ("hydra", "run", "dir")
        self.put("data.windows", {"selection": False})
        self.put("data.clips", {})
        self.put("data.split", {"val": _VALIDATION, "test": 0.0})
        for part in (self._plan, self._taken, self._seeds, self._recordings, self._tracking, self._features):
            part()
        self._over(mixed)  # patches are those of the features that will be
        for part in (self._patches, self._augmentation, self._training, self._quantization, self._listed):
            part()
        self._over(mixed)
        self._to.problems = self._problems
        return self._to

    # -- small tools --------------------------------------------------------------------------

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value of the file; ``default`` where it is not given, or null."""
        place: Any = self._values
        for part in name.split("."):
            place = place.get(part) if isinstance(place, Mapping) else None
        return default if place is None else place

    def put(self, name: str, value: Any, written: str = "") -> None:
        """Set a setting of the run file; ``written`` names what it was taken from."""
        place = self._to.values
        *sections, last = name.split(".")
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
        if written:
            self._to.written[tuple(name.split("."))] = tuple(written.split("."))
            self._to.shown[tuple(name.split("."))] = self.get(written)

    def refuse(self, name: str, text: str) -> None:
        """Note what would change the result, or means nothing."""
        self._problems.append((self._from.line(tuple(name.split("."))), f"{name}{text}"))

    def note(self, name: str, why: str) -> None:
        """Note what has no meaning here."""
        self._to.notes.append((self._from.line(tuple(name.split("."))), f"{name}: {why}"))

    def number(self, name: str, default: float) -> float | None:
        """Return a number; None where the file has none there (its reader says so)."""
        value = self.get(name, default)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    def flag(self, name: str) -> bool:
        """Return a switch; off where it is not given, or no switch (which is refused)."""
        value = self.get(name, False)
        if not isinstance(value, bool):
            self.refuse(name, f"={value!r}: must be true or false")
        return value is True

    def _over(self, sections: list[str]) -> None:
        """Put settings of ours, given as overrides, over what was taken."""
        for key in sections:
            if key in RunFile.model_fields and isinstance(self._values[key], Mapping):
                for name, value in _leaves(self._values[key], key):
                    self.put(name, value)
                    self._to.written.pop(tuple(name.split(".")), None)
                    self._to.shown.pop(tuple(name.split(".")), None)

    # -- the parts ----------------------------------------------------------------------------

    def _unknown(self, mixed: list[str]) -> None:
        """Refuse settings that are none, with the nearest one."""
        for key in mixed:
            line = self._from.line((key,))
            if key not in RunFile.model_fields:
                self.refuse(key, f": unknown setting{nearest_name(key, SECTIONS)}")
            elif isinstance(line, int):
                other = next(name for name in SECTIONS if name in self._values)
                self.refuse(key, f": is a section of a run file, {other!r} one of the model zoo's form; write one form")
        for section in (name for name in SECTIONS[2:] if name in self._values):
            values = self._values[section]
            if values is None:
                continue
            if not isinstance(values, Mapping):
                self.refuse(section, f"={values!r}: must be a section: its settings go below it, indented")
                continue
            for name, value in _leaves(values, section):
                if not _is_known(name):
                    self.refuse(name, f": unknown setting{_hint(name)}")
                elif value is not None and name in _INNER:
                    self.refuse(name, f"={value!r}: must be a section: its settings go below it, indented")

    def _plan(self) -> None:
        mode, steps = self.get("operation_mode"), self.get("steps")
        if mode is not None and steps is not None:
            self.refuse("steps", ": contradicts operation_mode; keep one of the two")
        elif mode is None and steps is None:
            self.refuse("operation_mode", f": missing; one of {', '.join(MODES)} (or a list 'steps')")
        elif mode is not None and mode not in MODES:
            self.refuse(
                "operation_mode", f"={mode!r}: must be one of {', '.join(MODES)}{nearest_name(str(mode), MODES)}"
            )
        steps = steps if isinstance(steps, list) else [steps] if steps is not None else CHAINS.get(mode, (mode,))
        known = [OPERATIONS[step] for step in steps if step in OPERATIONS]
        if self.get("steps") is not None:
            for step in (step for step in steps if step not in OPERATIONS):
                self.refuse("steps", f": {step!r}: must be one of {', '.join(OPERATIONS)}"
                            f"{nearest_name(str(step), OPERATIONS)}")  # fmt: skip
            if not steps:
                self.refuse("steps", ": is empty; name at least one step")
        if known:
            self.put("run.steps", known, "steps" if mode is None else "operation_mode")

    def _taken(self) -> None:
        for zoo, ours in TAKEN.items():
            value = self.get(zoo)
            if zoo.endswith("unknown_class_threshold") and value == 0:
                continue  # the zoo's way to switch it off
            if ours == "data.clips.silence_db" and "top_db" in (self._values.get("preprocessing") or {}):
                self.put(ours, value)
            elif value is not None and not (zoo == "hydra.run.dir" and self.get("general.output_dir") is not None):
                self.put(ours, _words(value) if ours in _WORD_LISTS else value, zoo)

    def _seeds(self) -> None:
        seed = self.get("general.global_seed")
        if seed is not None:
            for name in ("train.seed", "quantize.qat.seed", "data.split.seed"):
                self.put(name, seed, "general.global_seed")
        if self.get("dataset.seed") is not None:
            self.put("data.split.seed", self.get("dataset.seed"), "dataset.seed")

    def _recordings(self) -> None:
        for zoo, ours in (("training", ""), ("validation", "validation."), ("test", "test."),
                          ("quantization", "calibration.")):  # fmt: skip
            folder, table = (self.get(f"dataset.{zoo}_{kind}_path") for kind in ("audio", "csv"))
            if table is not None:
                self.put(f"data.{ours}csv", table, f"dataset.{zoo}_csv_path")
                if folder is None and ours:
                    self.refuse(f"dataset.{zoo}_csv_path", f": needs dataset.{zoo}_audio_path, the folder of its files")
            if folder is not None:
                kind = "folder" if table is None else "audio_root"
                self.put(f"data.{ours}{kind}", folder, f"dataset.{zoo}_audio_path")
        if self.flag("dataset.use_garbage_class"):
            name = "dataset.n_samples_per_garbage_class"
            self.put("data.garbage", self.get(name, 2), name if self.get(name) else "dataset.use_garbage_class")
        given = [name for name in ("test_folds", "test_csv_path", "test_audio_path", "test_split")
                 if self.get(f"dataset.{name}")]  # fmt: skip
        if given and given[-1] == "test_split" and len(given) > 1:
            self.refuse("dataset.test_split", f": contradicts dataset.{given[0]}; keep one test set")
        if given and self.get("dataset.cross_validate") is True:
            self.refuse("dataset.cross_validate", "=true: contradicts test_folds, test_csv_path and test_split; every "
                        "fold is the test set once")  # fmt: skip
            self.put("data.split.cross_validate", False)
        if self.get("dataset.multi_label") is True:
            self.put("train.activation", "sigmoid")

    def _tracking(self) -> None:
        if self.flag("general.tensorboard"):
            self.put("track.tensorboard", self.get("general.logs_dir", "logs"), "general.logs_dir")
        elif self.get("general.logs_dir") is not None:
            self.note("general.logs_dir", "learning curves are in the report (TensorBoard's: general.tensorboard)")

    def _features(self) -> None:
        if self.get("feature_extraction.window_length") is None:
            self.put("features.frame_samples", self.get("feature_extraction.n_fft", FeatureConfig().fft_size),
                     "feature_extraction.n_fft")  # fmt: skip
        rate = self.number("preprocessing.target_rate", FeatureConfig().sample_rate_hz)
        if rate is not None and self.get("feature_extraction.fmax") is None:
            self.put("features.fmax_hz", rate / 2)
        power = self.number("feature_extraction.power", 2)
        if power not in (1, 2):
            self.refuse("feature_extraction.power",
                        f"={self.get('feature_extraction.power')}: must be 1 (magnitude) or 2 (power)")  # fmt: skip
        self.put("features.spectrum", "magnitude" if power == 1 else "power")
        window = self.get("feature_extraction.window", "hann")
        if window != "hann":
            self.refuse("feature_extraction.window",
                        f"={window!r}: must be 'hann', the window of the C core that trains and runs")  # fmt: skip
        norm = self.get(
            "feature_extraction.norm", "none" if self._says_null("feature_extraction", "norm") else "slaney"
        )
        self.put("features.mel_norm", norm, "feature_extraction.norm")
        self.put("features.mel_scale", "htk" if self.flag("feature_extraction.htk") else "slaney")

    def _says_null(self, section: str, name: str) -> bool:
        values = self._values.get(section)
        return isinstance(values, Mapping) and name in values and values[name] is None

    def _patches(self) -> None:
        """Patches of columns as windows of seconds."""
        try:
            features = FeatureConfig.model_validate(self._to.values.get("features", {}))
        except ValueError:
            return  # said by the reader
        overlap = self.number("feature_extraction.overlap", _OVERLAP)
        if overlap is None or not 0 <= overlap < 1:
            given = self.get("feature_extraction.overlap")
            self.refuse("feature_extraction.overlap", f"={given!r}: must be a number from 0 to below 1")
            return
        step = max(1, round(features.window_frames * (1 - overlap)))
        self.put("data.windows.window_s", features.window_s, "feature_extraction.patch_length")
        self.put("data.windows.hop_s", min(step * features.hop_s, features.window_s), "feature_extraction.overlap")
        if self.flag("feature_extraction.center"):
            self.put("data.clips.pad_samples", features.fft_size // 2, "feature_extraction.center")
        shape = _tuple(self.get("training.model.input_shape"))
        wanted = [features.n_mels, features.window_frames, 1]
        if shape is not None and shape != wanted:
            self.refuse("training.model.input_shape",
                        f"={shape}: must be [n_mels, patch_length, 1] = {wanted} (or leave it out)")  # fmt: skip

    def _augmentation(self) -> None:
        """Without the section our augmentation; with one, only what it names."""
        if self.get("data_augmentation") is None:
            return
        for name in ("gain_db", "tilt_db", "band_db", "shift_frames", "mix_probability", "mask_frames", "mask_bands",
                     "mixup_alpha"):  # fmt: skip
            if self.get(f"data_augmentation.{name}") is None:
                self.put(f"train.augment.{name}", 0)
        section = "data_augmentation.GaussianNoise"
        if self.flag(f"{section}.enable"):
            self.refuse(f"{section}.enable", "=true: noise on features is not offered; mix real backgrounds with "
                        "mix_probability and mix_snr_db")  # fmt: skip
        section = "data_augmentation.VolumeAugment"
        if self.flag(f"{section}.enable") and self.get("data_augmentation.gain_db") is None:
            low, high = self.number(f"{section}.min_scale", 0.8), self.number(f"{section}.max_scale", 1.2)
            if low is None or high is None or not 0 < low <= high:
                self.refuse(f"{section}.min_scale", f"={low:g}: must be above 0 and at most max_scale={high:g}"
                            if low is not None and high is not None else ": must be a number")  # fmt: skip
            else:  # the deviation, in dB, of a factor drawn evenly on the dB scale between the two
                self.put("train.augment.gain_db", 20 * math.log10(high / low) / math.sqrt(12), f"{section}.max_scale")
        section = "data_augmentation.SpecAug"
        if self.flag(f"{section}.enable"):
            for theirs, ours in (("time", "frames"), ("freq", "bands")):
                count = self.number(f"{section}.n_{theirs}_mask", 1)
                if self.get(f"data_augmentation.mask_{ours}") is None and count:
                    value = self.get(f"{section}.{theirs}_mask_param", 1)
                    self.put(f"train.augment.mask_{ours}", value, f"{section}.{theirs}_mask_param")
                if count and count > 1:
                    self.note(f"{section}.n_{theirs}_mask", "one mask of each kind is drawn")
            if self.get(f"{section}.mask_value") is not None:
                self.note(f"{section}.mask_value", "masks hold the window's mean")

    def _training(self) -> None:
        name = str(self.get("training.model.name", ""))
        if name.lower() in _FOREIGN_MODELS:
            self.refuse("training.model.name", f"={name!r}: is none of the registry's networks (cheep registry lists "
                        f"them); take {_FOREIGN_MODELS[name.lower()]}")  # fmt: skip
            self._to.values["train"].pop("model", None)
        for name in ("training.fine_tune", "training.model.pretrained_weights"):
            if self.flag(name):
                self.refuse(name, "=true: no pretrained networks are offered; set it to false")
        if self.get("training.resume_training_from"):
            self.refuse("training.resume_training_from", ": training starts anew (an interrupted cheep run goes on by "
                        "itself); remove it")  # fmt: skip
        optimizer = self.get("training.optimizer", {})
        if isinstance(optimizer, str):
            optimizer = {optimizer: {}}
        if len(optimizer) > 1:
            self.refuse("training.optimizer", f": {' and '.join(optimizer)} contradict each other; keep one")
        for kind, values in optimizer.items():
            if kind.lower() not in ("adam", "adamw"):
                self.refuse(f"training.optimizer.{kind}", ": must be Adam or AdamW (weight_decay decides which)")
                continue
            for key, value in (values or {}).items():
                names = ("learning_rate", "weight_decay")
                if key not in names:
                    self.refuse(f"training.optimizer.{kind}.{key}", f": unknown setting{nearest_name(key, names)}")
                elif value is not None and self.get(f"training.{key}") is None:
                    self.put(f"train.{key}", value, f"training.optimizer.{kind}.{key}")

    def _quantization(self) -> None:
        kind = self.get("quantization.quantization_type", "QAT")
        if kind not in ("PTQ", "QAT"):
            self.refuse("quantization.quantization_type", f"={kind!r}: must be one of PTQ, QAT")
        else:
            self.put("quantize.method", kind.lower(), "quantization.quantization_type")
        for side in ("input", "output"):
            name = f"quantization.quantization_{side}_type"
            value = self.get(name, "int8")
            if value not in ("int8", "float"):
                why = "must be int8 or float (TFLM's kernels are int8)"
                self.refuse(name, f"={value!r}: {why}")
            elif value == "float":
                self.put(f"quantize.ptq.float_{side}", True, name)
        if self.get("quantization.granularity", "per_channel") != "per_channel":
            self.refuse("quantization.granularity", f"={self.get('quantization.granularity')!r}: must be per_channel "
                        "(what TFLM's kernels and the compiler expect)")  # fmt: skip

    def _listed(self) -> None:
        for name, why in LISTED.items():
            if self.get(name) not in (None, True if name == "feature_extraction.to_db" else None):
                self.note(name, why)


_WORD_LISTS = ("data.labels", "data.split.folds", "data.split.test_folds", "data.split.val_folds")
_INNER = {name.rpartition(".")[0] for name in _KNOWN if name.count(".") > 1}
_OPEN = (
    "training.optimizer", "training.callbacks", "tools.stedgeai", "deployment.hardware_setup", "hydra.job_logging",
)  # fmt: skip


def _tuple(value: Any) -> Any:
    """Return a list that is written as Python's tuple as a list; anything else as it is."""
    if isinstance(value, str) and value.startswith("(") and value.endswith(")"):
        return [int(part) if part.strip().isdigit() else part.strip() for part in value[1:-1].split(",")]
    return value


def _words(value: Any) -> list[Any]:
    """Return a list of texts, also from one word or from numbers."""
    items = value if isinstance(value, list) else [value]
    return [str(item) if isinstance(item, int) and not isinstance(item, bool) else item for item in items]


def _is_known(name: str) -> bool:
    return name in _KNOWN or name in _INNER or any(name.startswith(f"{section}.") for section in _OPEN)


def _hint(name: str) -> str:
    section, _, last = name.rpartition(".")
    homes = [known.rpartition(".")[0] for known in _KNOWN if known.rpartition(".")[2] == last]
    if homes:
        return f" (it belongs to section {homes[0]!r})"
    inside = [known.rpartition(".")[2] for known in _KNOWN if known.rpartition(".")[0] == section]
    return nearest_name(last, inside) or f"; known here: {', '.join(inside)}"


def _leaves(values: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    """Return (dotted name, value) of everything below; sections whose content is open count as one."""
    out: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = f"{prefix}.{key}"
        if isinstance(value, Mapping) and name not in _OPEN:
            out += _leaves(value, name)
        else:
            out.append((name, value))
    return out


def _without_none_words(value: Any) -> Any:
    """Return ``value`` with the word None as null, as Python programmers write it."""
    if isinstance(value, Mapping):
        return {key: _without_none_words(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_none_words(item) for item in value]
    return None if value in ("None", "none") else value
