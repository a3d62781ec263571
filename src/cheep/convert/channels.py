# SPDX-License-Identifier: MIT
"""Channel pruning: channels that matter least are cut out of the network, which becomes smaller and faster for real.

The graph of a legacy-Keras model is walked once to find which tensors must keep the same channels (an addition ties
its inputs, a depthwise convolution ties input and output); each such group loses the channels with the least
importance, and the network is rebuilt with the rest.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from cheep.convert.layer_graph import Call, calls_of
from cheep.errors import CheepError
from cheep.tf_runtime import import_tf

_PRODUCERS = ("Conv2D", "Dense", "SeparableConv2D", "Conv1D")
_TIED = (
    "BatchNormalization",
    "ReLU",
    "Activation",
    "DepthwiseConv2D",
    "MaxPooling2D",
    "AveragePooling2D",
    "Dropout",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "Cropping2D",
    "ZeroPadding2D",
    "LeakyReLU",
    "SpatialDropout2D",
    "Add",
    "Subtract",
    "Multiply",
    "Average",
    "UpSampling2D",
    "MaxPooling1D",
    "AveragePooling1D",
    "GlobalAveragePooling1D",
    "GlobalMaxPooling1D",
    "InputLayer",
)
MIN_CHANNELS = 4


@dataclasses.dataclass
class _Channels:
    """Channels of one tensor: group number, and how many consecutive features one channel became (Flatten: last)."""

    group: int
    width: int
    repeat: int = 1  # features per channel index cycle: a flattened tensor has `repeat` positions of `width` channels


class _Groups:
    def __init__(self) -> None:
        self.parent: list[int] = []
        self.frozen: set[int] = set()
        self.width: list[int] = []

    def new(self, width: int, frozen: bool = False) -> int:
        self.parent.append(len(self.parent))
        self.width.append(width)
        if frozen:
            self.frozen.add(len(self.parent) - 1)
        return len(self.parent) - 1

    def find(self, i: int) -> int:
        while self.parent[i] != i:
            i = self.parent[i]
        return i

    def tie(self, a: int, b: int) -> int:
        a, b = self.find(a), self.find(b)
        if a != b:
            self.parent[b] = a
            if b in self.frozen:
                self.frozen.add(a)
        return a

    def freeze(self, i: int) -> None:
        self.frozen.add(self.find(i))


def prune_channels(model: Any, fraction: float) -> tuple[Any, dict[str, tuple[int, int]]]:
    """Return a smaller copy of ``model`` and, per layer that lost channels, (channels before, channels after).

    Parameters
    ----------
    fraction : share of channels that each group loses, 0..0.95; at least :data:`MIN_CHANNELS` stay.

    Raises
    ------
    CheepError
        The model is no plain graph of layers, or nothing in it can be cut.
    """
    calls = calls_of(model)
    groups = _Groups()
    channels = _trace(model, calls, groups)
    keep = _choose(calls, channels, groups, fraction)
    if not keep:
        raise CheepError(
            f"{model.name}: no layer whose channels could be removed (only inputs, outputs and tied layers)"
        )
    return _rebuild(model, calls, channels, groups, keep)


def _trace(model: Any, calls: list[Call], groups: _Groups) -> dict[int, _Channels]:
    channels: dict[int, _Channels] = {}
    for call in calls:
        kind, layer = call.kind, call.layer
        sources = [channels[i] for i in call.inputs]
        width = int(layer.output_shape[0][-1] if isinstance(layer.output_shape, list) else layer.output_shape[-1])
        if kind == "InputLayer":
            made = _Channels(groups.new(width, frozen=True), width)
        elif kind == "Conv2D" and getattr(layer, "groups", 1) > 1:
            groups.freeze(sources[0].group)
            made = _Channels(groups.new(width, frozen=True), width)
        elif kind in _PRODUCERS:
            made = _Channels(groups.new(width), width)
        elif kind == "DepthwiseConv2D" and layer.depth_multiplier != 1:
            groups.freeze(sources[0].group)
            made = _Channels(groups.new(width, frozen=True), width)
        elif kind in _TIED and all(s.width == width and s.repeat == sources[0].repeat for s in sources):
            group = sources[0].group
            for source in sources[1:]:
                group = groups.tie(group, source.group)
            made = _Channels(group, width, sources[0].repeat)
        elif kind == "Flatten":
            made = _Channels(sources[0].group, sources[0].width, width // sources[0].width)
        else:  # a layer whose channels cannot be followed: its inputs stay whole
            for source in sources:
                groups.freeze(source.group)
            made = _Channels(groups.new(width, frozen=True), width)
        channels[call.output] = made
    for tensor in model.outputs:
        groups.freeze(channels[id(tensor)].group)
    return channels


def _choose(
    calls: list[Call], channels: dict[int, _Channels], groups: _Groups, fraction: float
) -> dict[int, np.ndarray]:
    """Return, per group, the indices of the channels that stay: those with the greatest normalized weights."""
    score: dict[int, np.ndarray] = {}
    for call in calls:
        group = groups.find(channels[call.output].group)
        if group in groups.frozen:
            continue
        weights = call.layer.get_weights()
        kind = call.kind
        if kind in _PRODUCERS:
            kernel = weights[1] if kind == "SeparableConv2D" else weights[0]
            norm = np.sqrt((kernel.reshape(-1, kernel.shape[-1]) ** 2).sum(axis=0))
            score[group] = score.get(group, 0) + norm / (norm.mean() + 1e-12)
        elif kind == "BatchNormalization" and call.layer.scale:
            gamma = np.abs(weights[0])
            score[group] = score.get(group, np.zeros(len(gamma))) + gamma / (gamma.mean() + 1e-12)
    keep = {}
    for group, value in score.items():
        n = max(min(MIN_CHANNELS, len(value)), len(value) - round(fraction * len(value)))
        if n < len(value):
            keep[group] = np.sort(np.argsort(-value, kind="stable")[:n])
    return keep


def _rebuild(
    model: Any, calls: list[Call], channels: dict[int, _Channels], groups: _Groups, keep: dict[int, np.ndarray]
) -> tuple[Any, dict[str, tuple[int, int]]]:
    keras = import_tf().keras

    def kept(tensor: int) -> np.ndarray:
        c = channels[tensor]
        rows = keep.get(groups.find(c.group), np.arange(c.width))
        return (np.arange(c.repeat)[:, None] * c.width + rows).ravel()

    made: dict[int, Any] = {}
    weights_of: list[tuple[Any, list[np.ndarray]]] = []
    report: dict[str, tuple[int, int]] = {}
    for call in calls:
        layer, kind = call.layer, call.kind
        if kind == "InputLayer":
            made[call.output] = keras.Input(layer.input_shape[0][1:], name=layer.name)
            continue
        config, out = layer.get_config(), kept(call.output)
        config.pop("batch_input_shape", None)
        if kind in ("Conv2D", "SeparableConv2D", "Conv1D"):
            config["filters"] = len(out)
        elif kind == "Dense":
            config["units"] = len(out)
        new = type(layer).from_config(config)
        sources = [made[i] for i in call.inputs]
        made[call.output] = new(sources if len(sources) > 1 else sources[0], **call.arguments)
        if layer.get_weights():
            weights = _cut(kind, layer.get_weights(), kept(call.inputs[0]), out)
            weights_of.append((new, weights))
        if kind in _PRODUCERS and len(out) < channels[call.output].width:
            report[layer.name] = (channels[call.output].width, len(out))
    inputs = [made[id(t)] for t in model.inputs]
    outputs = [made[id(t)] for t in model.outputs]
    small = keras.Model(inputs, outputs, name=model.name)
    for new, weights in weights_of:
        new.set_weights(weights)
    return small, report


def _cut(kind: str, weights: list[np.ndarray], rows: np.ndarray, out: np.ndarray) -> list[np.ndarray]:
    first, rest = weights[0], weights[1:]
    if kind == "SeparableConv2D":
        return [first[:, :, rows], rest[0][:, :, rows][..., out], *(w[out] for w in rest[1:])]
    if kind == "DepthwiseConv2D":
        if first.shape[-1] == 1:
            return [first[:, :, rows], *(w[out] for w in rest)]
        return weights
    if kind in ("Conv2D", "Conv1D"):
        if first.shape[-2] != len(rows) and first.shape[-2] < rows.max(initial=0) + 1:  # grouped: nothing was cut
            return weights
        return [first[..., rows, :][..., out], *(w[out] for w in rest)]
    if kind == "Dense":
        return [first[rows][:, out], *(w[out] for w in rest)]
    return [w[out] if w.ndim == 1 and len(w) > len(out) else w for w in weights]
