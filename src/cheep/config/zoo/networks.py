# SPDX-License-Identifier: MIT
"""A zoo file's augmentation, network and quantization as settings of a run file."""

from __future__ import annotations

import math

from cheep.config.base import nearest_name
from cheep.config.zoo.values import Values

_FOREIGN_MODELS = {
    "yamnet": "sepconv_l (a YAMNet that the zoo has trained: general.model_path)",
    "miniresnet": "resnet (one that the zoo has trained: general.model_path)",
    "miniresnetv2": "resnet (one that the zoo has trained: general.model_path)",
    "custom": "one of the registry (a model of your own: general.model_path and cheep convert)",
}
_OURS_OFF = (
    "gain_db", "tilt_db", "band_db", "shift_frames", "mix_probability", "mask_frames", "mask_bands", "mixup_alpha",
)  # fmt: skip


def augmentation(zoo: Values) -> None:
    """Without the section our augmentation; with one, only what it names."""
    if zoo.get("data_augmentation") is None:
        return
    for name in _OURS_OFF:
        if zoo.get(f"data_augmentation.{name}") is None:
            zoo.put(f"train.augment.{name}", 0)
    _gaussian_noise(zoo)
    section = "data_augmentation.VolumeAugment"
    if zoo.flag(f"{section}.enable") and zoo.get("data_augmentation.gain_db") is None:
        low, high = zoo.number(f"{section}.min_scale", 0.8), zoo.number(f"{section}.max_scale", 1.2)
        if low is None or high is None or not 0 < low <= high:
            zoo.refuse(f"{section}.min_scale", f"={low:g}: must be above 0 and at most max_scale={high:g}"
                       if low is not None and high is not None else ": must be a number")  # fmt: skip
        else:  # the deviation, in dB, of a factor drawn evenly on the dB scale between the two
            zoo.put("train.augment.gain_db", 20 * math.log10(high / low) / math.sqrt(12), f"{section}.max_scale")
    section = "data_augmentation.SpecAug"
    if zoo.flag(f"{section}.enable"):
        for theirs, ours in (("time", "frames"), ("freq", "bands")):
            count = zoo.number(f"{section}.n_{theirs}_mask", 1)
            if zoo.get(f"data_augmentation.mask_{ours}") is None and count:
                value = zoo.get(f"{section}.{theirs}_mask_param", 1)
                zoo.put(f"train.augment.mask_{ours}", value, f"{section}.{theirs}_mask_param")
            if count and count > 1:
                zoo.note(f"{section}.n_{theirs}_mask", "one mask of each kind is drawn")
        if zoo.get(f"{section}.mask_value") is not None:
            zoo.note(f"{section}.mask_value", "masks hold the window's mean")


def _gaussian_noise(zoo: Values) -> None:
    """The deviation of the zoo's columns in dB."""
    section = "data_augmentation.GaussianNoise"
    if not zoo.flag(f"{section}.enable") or zoo.get("data_augmentation.cell_db") is not None:
        return
    scale = zoo.number(f"{section}.scale", 0.1)
    if scale is None or scale < 0:
        zoo.refuse(f"{section}.scale", f"={zoo.get(f'{section}.scale')!r}: must be a number of at least 0")
        return
    zoo.put("train.augment.cell_db", scale * level_unit_db(zoo), f"{section}.scale")


def level_unit_db(zoo: Values) -> float:
    """Return how many dB one unit of the zoo's columns is: natural logarithms, unless ``to_db``."""
    if zoo.get("feature_extraction.to_db", True) is not False:
        return 1.0
    return (20 if zoo.get("feature_extraction.power", 2) == 1 else 10) / math.log(10)


def training(zoo: Values) -> None:
    """The network and how it is trained; said only where it is trained."""
    if zoo.steps and "train" not in zoo.steps:
        return
    _network(zoo)
    if zoo.get("training.resume_training_from"):
        zoo.refuse("training.resume_training_from", ": training starts anew (an interrupted cheep run goes on by "
                   "itself); remove it")  # fmt: skip
    if zoo.get("training.frozen_layers") is not None:
        zoo.refuse("training.frozen_layers", ": parts of a network are not frozen by index; remove it")
    if zoo.flag("training.dryrun"):
        zoo.refuse(
            "training.dryrun", "=true: nothing is left untrained; remove it (cheep size tells what a network needs)"
        )
    optimizer = zoo.get("training.optimizer", {})
    if isinstance(optimizer, str):
        optimizer = {optimizer: {}}
    if len(optimizer) > 1:
        zoo.refuse("training.optimizer", f": {' and '.join(optimizer)} contradict each other; keep one")
    for kind, values in optimizer.items():
        if kind.lower() not in ("adam", "adamw"):
            zoo.refuse(f"training.optimizer.{kind}", ": must be Adam or AdamW (weight_decay decides which)")
            continue
        for key, value in (values or {}).items():
            names = ("learning_rate", "weight_decay")
            if key not in names:
                zoo.refuse(f"training.optimizer.{kind}.{key}", f": unknown setting{nearest_name(key, names)}")
            elif value is not None and zoo.get(f"training.{key}") is None:
                zoo.put(f"train.{key}", value, f"training.optimizer.{kind}.{key}")


def _network(zoo: Values) -> None:
    name = zoo.get("training.model.name")
    if str(name).lower() in _FOREIGN_MODELS:
        zoo.refuse("training.model.name", f"={name!r}: is none of the registry's networks (cheep registry lists "
                   f"them); take {_FOREIGN_MODELS[str(name).lower()]}")  # fmt: skip
    elif name is not None:
        zoo.put("train.model", name, "training.model.name")
    for key in ("training.fine_tune", "training.model.pretrained_weights"):
        if zoo.flag(key):
            zoo.refuse(
                key,
                "=true: networks are trained from the start; set it to false, or name a trained one in "
                "general.model_path",
            )


def quantization(zoo: Values) -> None:
    """How the network becomes int8; said only where it does."""
    if zoo.steps and "quantize" not in zoo.steps:
        return
    foreign = zoo.get("general.model_path") is not None
    kind = zoo.get("quantization.quantization_type", "PTQ" if foreign else "QAT")
    if kind not in ("PTQ", "QAT"):
        zoo.refuse("quantization.quantization_type", f"={kind!r}: must be one of PTQ, QAT")
    else:
        zoo.put("quantize.method", kind.lower(), "quantization.quantization_type")
    quantizer = zoo.get("quantization.quantizer", "TFlite_converter")
    if str(quantizer).lower() != "tflite_converter":
        zoo.refuse("quantization.quantizer", f"={quantizer!r}: gives an ONNX file, which the device cannot run; write "
                   "TFlite_converter (an ONNX network: cheep convert)")  # fmt: skip
    elif zoo.get("quantization.quantizer") is not None:
        zoo.note("quantization.quantizer", "there is one")
    for side in ("input", "output"):
        name = f"quantization.quantization_{side}_type"
        value = zoo.get(name, "int8")
        if value not in ("int8", "uint8", "float"):
            zoo.refuse(name, f"={value!r}: must be int8, uint8 or float")
        elif value != "int8":
            zoo.put(f"quantize.ptq.{side}", value, name)
    if zoo.get("quantization.granularity", "per_channel") != "per_channel":
        zoo.refuse("quantization.granularity", f"={zoo.get('quantization.granularity')!r}: must be per_channel "
                   "(what TFLM's kernels and the compiler expect)")  # fmt: skip
