# SPDX-License-Identifier: MIT
"""The forms of the zoo's generations as one: that of generations 2 and 3, which the importer reads.

Generation 1 has sections of its own (``train_parameters``, ``pre_processing``, ``stm32ai``) and three programs in place
of ``operation_mode``; generation 4 has a section ``model``. Messages keep the names that the file has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cheep.config.source import Loc, Source, dotted

#: The file's name -> that of generations 2 and 3.
RENAMED = {
    "train_parameters.batch_size": "training.batch_size",
    "train_parameters.training_epochs": "training.epochs",
    "train_parameters.optimizer": "training.optimizer",
    "train_parameters.initial_learning": "training.learning_rate",
    "train_parameters.patience": "training.patience",
    "train_parameters.learning_rate_scheduler": "training.callbacks",
    "train_parameters.restore_best_weights": "training.restore_best_weights",
    "dataset.audio_path": "dataset.training_audio_path",
    "dataset.csv_path": "dataset.training_csv_path",
    "dataset.test_path": "dataset.test_csv_path",
    "dataset.use_other_class": "dataset.use_garbage_class",
    "dataset.n_samples_per_other_class": "dataset.n_samples_per_garbage_class",
    "train_parameters.use_other_class": "dataset.use_garbage_class",
    "train_parameters.n_samples_per_other_class": "dataset.n_samples_per_garbage_class",
    **{
        f"pre_processing.{name}": f"preprocessing.{name}"
        for name in ("min_length", "max_length", "target_rate", "top_db", "frame_length", "hop_length",
                     "trim_last_second", "lengthen")
    },
    "data_augmentation.min_scale": "data_augmentation.VolumeAugment.min_scale",
    "data_augmentation.max_scale": "data_augmentation.VolumeAugment.max_scale",
    **{
        f"data_augmentation.{name}": f"data_augmentation.SpecAug.{name}"
        for name in ("freq_mask_param", "time_mask_param", "n_freq_mask", "n_time_mask", "mask_value")
    },
    "model.model_type.name": "training.model.name",
    "model.model_type.embedding_size": "training.model.embedding_size",
    "model.model_type.n_stacks": "training.model.n_stacks",
    "model.model_type.pooling": "training.model.pooling",
    "model.model_type.version": "training.model.version",
    "model.model_name": "training.model.name",
    "model.input_shape": "training.model.input_shape",
    "model.pretrained": "training.model.pretrained_weights",
    "model.transfer_learning": "training.model.pretrained_weights",
    "model.framework": "training.model.framework",
    "model.expand_last_dim": "dataset.expand_last_dim",
    "model.fine_tune": "training.fine_tune",
    "model.dropout": "training.dropout",
    "model.multi_label": "dataset.multi_label",
    "model.model_path": "general.model_path",
    "model.unknown_class_threshold": "deployment.unknown_class_threshold",
    "stm32ai.footprints_on_target": "benchmarking.board",
    "stm32ai.c_project_path": "deployment.c_project_path",
    "stm32ai.serie": "deployment.hardware_setup.serie",
    "stm32ai.IDE": "deployment.IDE",
    "stm32ai.verbosity": "deployment.verbosity",
    "stm32ai.path_to_cubeIDE": "tools.path_to_cubeIDE",
    "stm32ai.version": "tools.stm32ai.version",
    "stm32ai.optimization": "tools.stm32ai.optimization",
    "stm32ai.path_to_stm32ai": "tools.stm32ai.path_to_stm32ai",
    "dataset.dataset_name": "dataset.name",
    "dataset.prediction_audio_path": "prediction.test_files_path",
    "training.resume_training": "training.resume_training_from",
}  # fmt: skip
#: Sections that only these generations have.
OWN_SECTIONS = ("train_parameters", "pre_processing", "stm32ai", "dataset_specific", "model")
_FIRST = ("train_parameters", "pre_processing", "stm32ai")  # tell generation 1
_SWITCHES = {"GaussianNoise": "scale", "VolumeAugment": None, "SpecAug": None}


def is_first_generation(values: Mapping[str, Any]) -> bool:
    """Tell whether a file is one of generation 1."""
    return any(name in values for name in _FIRST)


def common_form(source: Source) -> Source:
    """Return a zoo file of any generation in the form of generations 2 and 3.

    ``written`` of the result says what the file calls a setting, so that lines and names are the file's.
    """
    values = without_none_words(source.values)
    out = Source(source.name, values, source.lines, list(source.problems), dict(source.written))
    first = is_first_generation(values)
    _augmentation_switches(out)
    for theirs, common in RENAMED.items():
        _move(out, tuple(theirs.split(".")), tuple(common.split(".")))
    _embedding_in_the_name(out)
    if "stm32ai" in source.values:
        out.written[("tools", "stm32ai")] = ("stm32ai",)
    if first and "operation_mode" not in values and "steps" not in values:
        values["steps"] = _first_steps(values)
    quantization = values.get("quantization")
    if first and isinstance(quantization, dict):
        for name in ("quantize", "evaluate"):
            quantization.pop(name, None)
    for section in OWN_SECTIONS:
        if values.get(section) == {}:
            del values[section]
    return out


def _first_steps(values: Mapping[str, Any]) -> list[str]:
    """Return the steps of generation 1's programs: train.py, evaluate.py or deploy.py, by what the file holds."""
    deployment, quantization = values.get("deployment") or {}, values.get("quantization") or {}
    quantize, model = quantization.get("quantize") is True, str((values.get("general") or {}).get("model_path") or "")
    if deployment.get("c_project_path"):
        return ["deployment"]
    if not model:
        return ["training", "quantization", "evaluation"] if quantize else ["training", "evaluation_float"]
    if quantize and not model.endswith(".tflite"):
        return ["evaluation_float", "quantization", "evaluation"]
    return ["evaluation"]


def _augmentation_switches(source: Source) -> None:
    """``GaussianNoise: 0.1`` and ``VolumeAugment: True`` of generation 1 as sections."""
    section = source.values.get("data_augmentation")
    if not isinstance(section, dict):
        return
    for name, number in _SWITCHES.items():
        value, at = section.get(name), ("data_augmentation", name)
        if isinstance(value, bool):
            section[name] = {"enable": value}
        elif number and isinstance(value, int | float):
            section[name] = {"enable": value > 0, number: value}
        else:
            continue
        for key in section[name]:
            place = (*at, key)
            source.written[place] = at


def _move(source: Source, theirs: Loc, common: Loc) -> None:
    section: Any = source.values
    for part in theirs[:-1]:
        section = section.get(part) if isinstance(section, dict) else None
    if not isinstance(section, dict) or theirs[-1] not in section:
        return
    value = section.pop(theirs[-1])
    for end in range(len(theirs) - 1, 1, -1):
        _drop_empty(source.values, theirs[:end])
    place: Any = source.values
    for part in common[:-1]:
        if place.get(part) is None:
            place[part] = {}
        place = place[part]
        if not isinstance(place, dict):
            return  # a value where a section belongs, which is said
    if place.get(common[-1]) is not None and isinstance(source.line(theirs), int):  # an override goes over either
        if isinstance(source.lines.get(common), int):
            source.problems.append((source.line(theirs), f"{dotted(theirs)}: contradicts {dotted(common)}; keep one"))
        return
    place[common[-1]] = value
    source.written[common] = theirs


def _drop_empty(values: Any, place: Loc) -> None:
    for part in place[:-1]:
        values = values[part]
    if values.get(place[-1]) == {}:
        del values[place[-1]]


def _embedding_in_the_name(source: Source) -> None:
    """``yamnet_e256`` and ``miniresnetv2_s1_ap`` of generation 4: name, size and pooling are one word."""
    training = source.values.get("training")
    model = training.get("model") if isinstance(training, dict) else None
    if not isinstance(model, dict) or not isinstance(model.get("name"), str):
        return
    name, _, rest = model["name"].partition("_")
    if rest[:1] in ("e", "s") and rest[1:].split("_")[0].isdigit():
        model["name"] = "miniresnet" if name == "miniresnetv1" else name
        kind = "embedding_size" if rest[0] == "e" else "n_stacks"
        model[kind] = int(rest[1:].split("_")[0])
        at = source.as_written(("training", "model", "name"))
        source.written[("training", "model", kind)] = at


def without_none_words(value: Any) -> Any:
    """Return ``value`` with the word None as null, as Python programmers write it."""
    if isinstance(value, Mapping):
        return {key: without_none_words(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_none_words(item) for item in value]
    return None if value in ("None", "none") else value
