# SPDX-License-Identifier: MIT
"""A zoo file's augmentation, network and quantization as settings of a run file."""

from __future__ import annotations

import math

from cheep.config.base import nearest_name
from cheep.config.zoo.values import Values

#: YAMNet's layer that gives an embedding of this size.
_YAMNET_CUTS = {256: 6}
#: Where weights of the zoo's networks are looked for; train.backbone names another place.
_WEIGHTS = "backbones"
_FROZEN_DRAWS = 3
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
    kind = str(name).lower()
    if kind == "yamnet":
        _yamnet(zoo)
    elif kind in ("miniresnet", "miniresnetv2"):
        _miniresnet(zoo, kind)
    elif kind == "custom":
        zoo.refuse("training.model.name", f"={name!r}: is Python code of the zoo; take a network of the registry "
                   "(cheep registry lists them), or a network of your own (general.model_path)")  # fmt: skip
    elif name is not None:
        zoo.put("train.model", name, "training.model.name")
    if kind in ("yamnet", "miniresnet", "miniresnetv2"):
        return
    for key in ("training.fine_tune", "training.model.pretrained_weights"):
        if zoo.flag(key):
            zoo.refuse(
                key,
                f"=true: there are no trained weights of {name or 'it'}; set it to false, take yamnet, or name a "
                "trained network in general.model_path",
            )


def _yamnet(zoo: Values) -> None:
    """YAMNet cut where its embedding has the size that the file says, with a head of its own."""
    name = "training.model.embedding_size"
    size = zoo.number(name, 256)
    if size not in _YAMNET_CUTS:
        zoo.refuse(name, f"={zoo.get(name)!r}: must be {' or '.join(map(str, _YAMNET_CUTS))}: YAMNet is cut behind its "
                   "sixth layer at most, what follows is too large for these boards")  # fmt: skip
        return
    zoo.put("train.cut", str(_YAMNET_CUTS[int(size)]), name)
    _begins_with(zoo, "yamnet", f"{_WEIGHTS}/yamnet", "cheep backbone get yamnet, or the zoo's yamnet_256_f32.h5")


def _miniresnet(zoo: Values, kind: str) -> None:
    """MiniResNet up to where the zoo puts its head; the weights are a file of the zoo's."""
    stacks = zoo.number("training.model.n_stacks", 1)
    if stacks not in (1, 2, 3):
        given = zoo.get("training.model.n_stacks")
        zoo.refuse("training.model.n_stacks", f"={given!r}: must be 1, 2 or 3")
        return
    file = f"{kind}_{int(stacks)}_stacks_backbone.h5"
    zoo.put("train.cut", "end", "training.model.name")
    _begins_with(zoo, "backbone", f"{_WEIGHTS}/{file}", f"the zoo's {file}, copied there")
    if zoo.get("feature_extraction.to_db", True) is not False:
        zoo.note("feature_extraction.to_db", "dB over full scale here; its weights were trained on dB over the maximum "
                 "of the clip, which a device does not know")  # fmt: skip


def _begins_with(zoo: Values, model: str, weights: str, where: str) -> None:
    """Put a network that begins with trained weights; refuse one that would not."""
    if zoo.get("training.model.pretrained_weights", True) is not True:
        zoo.refuse("training.model.pretrained_weights", "=false: this network begins with trained weights; set it to "
                   "true, or take a network of the registry (cheep registry lists them)")  # fmt: skip
    zoo.put("train.model", model, "training.model.name")
    zoo.put("train.backbone", weights, "training.model.name")
    zoo.note("training.model.name", f"its weights are read from {weights} ({where}), or from train.backbone=FILE")
    tuned = zoo.flag("training.fine_tune")
    zoo.put("train.fine_tune", "all" if tuned else "head", "training.fine_tune")
    if not tuned and zoo.get("data_augmentation") is not None:
        zoo.put("train.frozen_draws", _FROZEN_DRAWS)
        zoo.note("data_augmentation", f"of frozen layers the sound is changed {_FROZEN_DRAWS} times, not in every "
                 "epoch (train.frozen_draws)")  # fmt: skip


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
