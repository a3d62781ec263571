# SPDX-License-Identifier: MIT
"""Networks that others have trained, cut at a layer: the start of a network of ours.

YAMNet (Google, Apache-2.0) is built here and takes the weights of a file: its SavedModel, its ``.h5`` of weights, or a
cut of it such as the STM32 model zoo's. Batch normalization is folded into the convolutions, and the natural logarithm
that it was trained on into the first one: it takes columns in dB as every network here. Any other Keras network is cut
at a layer that is named, with its normalization frozen.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from cheep.config import FeatureConfig, TrainConfig
from cheep.config.base import nearest_name
from cheep.config.training import BACKBONES
from cheep.errors import CheepError
from cheep.models.registry import network_for
from cheep.tf_runtime import import_tf

#: Width and stride of YAMNet's layers: a convolution, then depthwise-separable ones (the STM32 zoo keeps six).
YAMNET_LAYERS = (
    *((32, 2), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1),) * 5,
    *((1024, 2), (1024, 1)),
)
YAMNET_CUTS = (2, len(YAMNET_LAYERS))
YAMNET_FEATURES = {
    "sample_rate_hz": 16000,
    "frame_samples": 400,
    "fft_size": 512,
    "hop_samples": 160,
    "n_mels": 64,
    "fmin_hz": 125.0,
    "fmax_hz": 7500.0,
    "mel_scale": "htk",
    "mel_norm": "none",
    "spectrum": "magnitude",
    "compression": "db",
}
_EPSILON = 1e-4  # of YAMNet's normalization
_NEPER_DB = np.log(10) / 20  # a natural logarithm of a magnitude is so many times its dB
_PARTS = ("beta", "moving_mean", "moving_variance")
CUT_END = "end"
MARK = "backbone_"  # how the names of the layers begin that come from a backbone


def yamnet_convolutions(cut: int) -> list[tuple[str, tuple[int, ...]]]:
    """Return YAMNet's convolutions up to layer ``cut``: names as in its files, and shapes of their kernels."""
    out: list[tuple[str, tuple[int, ...]]] = [("layer1/conv", (3, 3, 1, YAMNET_LAYERS[0][0]))]
    for number in range(2, cut + 1):
        before, width = YAMNET_LAYERS[number - 2][0], YAMNET_LAYERS[number - 1][0]
        out.append((f"layer{number}/depthwise_conv", (3, 3, before, 1)))
        out.append((f"layer{number}/pointwise_conv", (1, 1, before, width)))
    return out


def check_yamnet(cut: str, features: FeatureConfig) -> int:
    """Return the layer to cut at; CheepError where there is no such cut, or the features are not YAMNet's.

    ``mel_triangles`` and ``log_offset`` may be those of either of its front ends (its own, the STM32 zoo's).
    """
    low, high = YAMNET_CUTS
    if not cut.isdigit() or not low <= int(cut) <= high:
        raise CheepError(f"train.cut={cut!r}: YAMNet can be cut after layer {low} to {high}")
    wrong = [
        f"{name}={getattr(features, name)} (must be {value})"
        for name, value in YAMNET_FEATURES.items()
        if getattr(features, name) != value
    ]
    if not 1e-5 <= features.log_offset <= 1e-2:
        wrong.append(f"log_offset={features.log_offset:g} (must be 0.001, or 0.0001 as in the STM32 zoo)")
    if wrong:
        raise CheepError(
            f"features: YAMNet was trained on other ones: {', '.join(wrong)}; see recipes/esc10_yamnet.yaml"
        )
    return int(cut)


def read_yamnet(path: Path, cut: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return kernel and bias, float32, of YAMNet's convolutions up to ``cut``, normalization folded, by name.

    ``path`` is a SavedModel folder or a ``.h5`` file. The kernels take natural logarithms.

    Raises
    ------
    CheepError
        No such file, or it does not hold YAMNet's layers in their shapes.
    """
    if not path.exists():
        raise CheepError(f"train.backbone={str(path)!r}: no such file or folder (get one: cheep backbone get yamnet)")
    arrays = _of_saved_model(path) if path.is_dir() else _of_hdf5(path)
    out = {}
    for place, (name, shape) in enumerate(yamnet_convolutions(cut)):
        kernel_name = "depthwise_kernel" if "depthwise" in name else "kernel"
        keys: list[tuple[Any, str]] = [(name, kernel_name), *((f"{name}/bn", part) for part in _PARTS)]
        if path.is_dir():  # saved by number: convolution, normalization, convolution, ...
            keys = [(2 * place, kernel_name), *((2 * place + 1, part) for part in _PARTS)]
        missing = [key for key in keys if key not in arrays]
        if missing:
            raise CheepError(
                f"train.backbone={str(path)!r}: holds no {name} ({missing[0][1]}); it must be YAMNet, or a cut of it "
                f"behind layer {cut} or later"
            )
        kernel, beta, mean, variance = (np.asarray(arrays[key], np.float64) for key in keys)
        if kernel.shape != shape:
            raise CheepError(
                f"train.backbone={str(path)!r}: {name} has the shape {kernel.shape}, in YAMNet {shape}; is it another "
                "network?"
            )
        scale = 1 / np.sqrt(variance + _EPSILON)
        folded = kernel * (scale[:, None] if "depthwise" in name else scale)
        out[name] = folded.astype(np.float32), (beta - mean * scale).astype(np.float32)
    return out


def _of_saved_model(path: Path) -> dict[Any, np.ndarray]:
    tf = import_tf()
    try:
        reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    except (ValueError, tf.errors.OpError):
        raise CheepError(f"train.backbone={str(path)!r}: no SavedModel (variables/ is missing or damaged)") from None
    out: dict[Any, np.ndarray] = {}
    for key in reader.get_variable_to_shape_map():
        if found := re.search(r"layer_with_weights-(\d+)/(\w+)/\.ATTRIBUTES", key):
            out[int(found[1]), found[2]] = reader.get_tensor(key)
    return out


def _of_hdf5(path: Path) -> dict[Any, np.ndarray]:
    import h5py

    out: dict[Any, np.ndarray] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and (found := re.search(r"(layer\d+/\w+(?:/bn)?)/(\w+):0$", name)):
            out[found[1], found[2]] = item[()]

    try:
        with h5py.File(path) as file:
            file.visititems(visit)
    except OSError:
        raise CheepError(f"train.backbone={str(path)!r}: neither a SavedModel folder nor a Keras .h5 file") from None
    return out


def yamnet_body(k: Any, x: Any, cut: int) -> Any:
    """Return YAMNet up to layer ``cut`` on ``x`` (batch, columns, 64, 1) in dB: (batch, rows, bands, width)."""
    for name, shape in yamnet_convolutions(cut):
        layer, stride = name.split("/")[0], 1
        if "pointwise" not in name:
            stride = YAMNET_LAYERS[int(layer[5:]) - 1][1]
        own = MARK + name.replace("/", "_")
        if "depthwise" in name:
            x = k.layers.DepthwiseConv2D(3, stride, "same", name=own)(x)
        else:
            x = k.layers.Conv2D(shape[-1], shape[0], stride, "same", name=own)(x)
        x = k.layers.ReLU(name=f"{own}_relu")(x)
    return x


def load_yamnet(model: Any, path: Path, cut: int) -> None:
    """Give the layers of ``model`` that :func:`yamnet_body` made the weights of ``path``, for columns in dB."""
    for name, (kernel, bias) in read_yamnet(path, cut).items():
        scale = np.float32(_NEPER_DB if name == "layer1/conv" else 1.0)
        model.get_layer(MARK + name.replace("/", "_")).set_weights([kernel * scale, bias])


def cut_network(path: Path, layer: str, shape: tuple[int, int]) -> Any:
    """Return a Keras network of the user's own up to the layer named, its normalization frozen.

    Parameters
    ----------
    path : Path
        A ``.h5`` or ``.keras`` file of legacy Keras.
    layer : str
        The last layer that is kept; ``end``: all of them.
    shape : (int, int)
        ``(window_frames, n_mels)`` of the features, which its input must have, with one channel, or the other way
        round: it is turned then, as :func:`cheep.models.layout.on_columns` does.
    """
    from cheep.models.layout import on_columns
    from cheep.models.saved import load_keras

    if not path.is_file():
        raise CheepError(f"train.backbone={str(path)!r}: no such file")
    model = load_keras(path)
    names = [item.name for item in model.layers]
    if layer not in (*names, CUT_END):
        raise CheepError(
            f"train.cut={layer!r}: {path} has no such layer{nearest_name(layer, names)}; its layers: "
            f"{', '.join(names)} (or {CUT_END}: all of them)"
        )
    takes = tuple(model.input_shape[1:])
    if takes not in ((*shape, 1), (*reversed(shape), 1)):
        raise CheepError(
            f"train.backbone={str(path)!r}: takes {takes}, the features give {(*shape, 1)} "
            "(columns, bands, 1); set features.window_frames and n_mels, or another network"
        )
    keras = import_tf().keras
    cut = keras.Model(model.input, model.output if layer == CUT_END else model.get_layer(layer).output)
    if takes != (*shape, 1):
        cut = on_columns(cut, bands_first=True)
    for item in cut.layers:
        item._name = MARK + item.name
    return cut


def backbone_network(
    model: str,
    path: str,
    cut: str,
    features: FeatureConfig,
    outputs: int,
    activation: str,
    dropout: float,
    pool: str = "mean",
) -> Any:
    """Return a network that begins with a backbone: mean (or largest) of what it gives, dropout, a head of its own.

    Parameters
    ----------
    model : {"yamnet", "backbone"}
        YAMNet up to layer ``cut`` (a number), or any Keras network up to its layer of that name.
    path : str
        File or folder of the weights; for ``yamnet`` empty: random ones (sizes before training).
    pool : {"mean", "max"}
        What becomes of all rows and bands of the layer.
    """
    keras = import_tf().keras
    shape = (features.window_frames, features.n_mels)
    if model == "yamnet":
        number = check_yamnet(cut, features)
        inputs = keras.Input((*shape, 1), name="mel")
        x = yamnet_body(keras, inputs, number)
    else:
        start = cut_network(Path(path), cut, shape)
        inputs, x = start.input, start.output
    if len(x.shape) == 4:
        kind = keras.layers.GlobalMaxPooling2D if pool == "max" else keras.layers.GlobalAveragePooling2D
        x = kind(keepdims=True, name="embedding")(x)
    elif pool == "max":
        raise CheepError(f"train.pool='max': {path} gives {tuple(x.shape[1:])} behind cut={cut!r}, no places to choose "
                         "from; pool: mean, or cut where it gives (rows, bands, width)")  # fmt: skip
    elif len(x.shape) == 2:
        x = keras.layers.Reshape((1, 1, x.shape[-1]), name="embedding")(x)
    else:
        raise CheepError(f"train.cut={cut!r}: gives {tuple(x.shape[1:])}; cut where it gives (rows, bands, width)")
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    x = keras.layers.Conv2D(outputs, 1, name="logits")(x)
    x = keras.layers.Reshape((outputs,), name="flat")(x)
    network = keras.Model(inputs, keras.layers.Activation(activation, name="scores")(x), name=model)
    if model == "yamnet" and path:
        load_yamnet(network, Path(path), number)
    return network


def network_of(
    config: TrainConfig, features: FeatureConfig, outputs: int, activation: str, weights: bool = True
) -> Any:
    """Return the untrained network that ``config`` names; with ``weights`` its backbone has those of the file."""
    if config.model not in BACKBONES:
        return network_for(config, features, outputs, activation)
    path = config.backbone if weights or config.model != "yamnet" else ""
    return backbone_network(config.model, path, config.cut, features, outputs, activation, config.dropout, config.pool)


def trained_from(model: Any, fine_tune: str) -> int:
    """Return the place in ``model.layers`` from which on weights are trained, by ``head``, ``last:N`` or ``all``.

    N counts blocks: a depthwise convolution and what follows it up to the next one, or a convolution of another size
    than 1 x 1.
    """
    layers = model.layers
    head = next(place for place, layer in enumerate(layers) if layer.name == "embedding")
    if fine_tune == "all":
        return 0
    if fine_tune == "head":
        return head
    starts = [place for place, layer in enumerate(layers[:head]) if _starts_block(layer)]
    count = int(fine_tune.partition(":")[2])
    if count > len(starts):
        raise CheepError(
            f"train.fine_tune={fine_tune!r}: the backbone has {len(starts)} blocks; last:{len(starts)} or all"
        )
    return starts[-count]


def _starts_block(layer: Any) -> bool:
    size = getattr(layer, "kernel_size", (1, 1))
    return bool(getattr(layer, "weights", None)) and any(n > 1 for n in size)
