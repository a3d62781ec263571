# SPDX-License-Identifier: MIT
"""Channels that say nothing: folded into the biases of who reads them, and dropped.

Training leaves channels behind whose byte is the same for every input: TensorFlow writes them with weights of zero and
a scale so small that the bias is 2^30. Forwards, their byte goes into the biases of the convolutions and dense layers
that read it; backwards, what nobody needs any more is taken out of every tensor, weight and bias.
"""

from __future__ import annotations

import numpy as np

from cheep.compiler import fixedpoint
from cheep.compiler.passes import binary_function
from cheep.compiler.requantize import VARIES, constant_bytes, pads
from cheep.tflite.graph import Graph, Node, Tensor

_PASS = ("LOOKUP", "MAX_POOL_2D", "AVERAGE_POOL_2D", "MEAN", "DEPTHWISE")  # channel c of the output reads channel c


def drop_dead_channels(graph: Graph) -> None:
    """Fold constant channels into their readers and remove what is not needed (changes the graph in place)."""
    if not any(n.op in ("CONV", "DEPTHWISE", "DENSE") for n in graph.nodes):
        return
    constant: dict[int, np.ndarray] = {}
    for node in graph.nodes:
        _fold(node, constant)
        made = _constants(node, constant)
        if made is not None:
            constant[id(node.output)] = made
    _shrink(graph, _needed(graph))


def _fold(node: Node, constant: dict[int, np.ndarray]) -> None:
    """Move the constant channels of a CONV's or DENSE's input into its bias."""
    if node.op not in ("CONV", "DENSE") or id(node.inputs[0]) not in constant:
        return
    a, source = node.attributes, node.inputs[0]
    if not _full(node):
        return
    values = constant[id(source)]
    known = values != VARIES
    if pads(node):
        known &= values == source.zero_point
    if not known.any():
        return
    weights = a["weights"]
    moved = (weights.astype(np.int64) * np.where(known, values - source.zero_point, 0)).reshape(len(weights), -1)
    a["bias"] = a["bias"] + moved.sum(axis=1)
    a["weights"] = np.where(known, 0, weights).astype(weights.dtype)


def _full(node: Node) -> bool:
    """Whether every output channel reads every input channel, one weight each."""
    depth = node.attributes["weights"].shape[-1]
    return depth == node.inputs[0].shape[-1] and (node.op == "DENSE" or node.attributes["group_in"] == depth)


def _constants(node: Node, constant: dict[int, np.ndarray]) -> np.ndarray | None:
    """Return what is known of the channels of a node's output, or None."""
    if node.op in ("CONV", "DENSE", "DEPTHWISE"):
        return constant_bytes(node, constant.get(id(node.inputs[0])))
    inputs = node.variable_inputs
    known = [constant[id(t)] for t in inputs if id(t) in constant]
    if not known or len(known) < len(inputs) or len(node.outputs) != 1 or not _by_channel(node):
        return None
    values = known[0]
    if node.op == "ALIAS":
        return np.tile(values, node.output.shape[-1] // len(values))
    if node.op == "ADD":
        function = binary_function(node)
        return np.array([function(int(x), int(y)) if VARIES not in (x, y) else VARIES for x, y in zip(*known)])  # noqa: B905
    return np.array([VARIES if v == VARIES else _same(node, int(v)) for v in values])


def _same(node: Node, value: int) -> int:
    """Return the output byte where every cell of the input holds ``value``."""
    source, out = node.inputs[0], node.output
    if node.op == "LOOKUP":
        return int(node.attributes["table"][value + 128])
    if node.op == "MEAN":
        from cheep.compiler.reductions import mean_constants

        multiplier, shift, n = mean_constants(node)
        total = fixedpoint.scale(n * (value - source.zero_point), multiplier, shift)
        return fixedpoint.clamp(total + out.zero_point)
    return fixedpoint.clamp(
        value, *fixedpoint.activation_range(node.attributes["activation"], out.scale, out.zero_point)
    )


def _by_channel(node: Node) -> bool:
    """Whether channel c of the output depends on channel c of the input alone."""
    source, out = node.inputs[0], node.output
    if node.op == "ALIAS":  # the channels stay the innermost dimension; flattened ones repeat
        inner = 1
        for n in reversed(source.shape):
            inner *= n
            if inner >= out.shape[-1]:
                break
        return bool(out.shape) and inner == out.shape[-1] and source.dtype == "int8"
    if node.op == "MEAN":
        axes = {i % len(source.shape) for i in node.inputs[1].integers}
        return len(source.shape) - 1 not in axes
    if node.op == "ADD":
        return len(node.variable_inputs) == 2 and node.inputs[0].shape == node.inputs[1].shape == out.shape
    return node.op in _PASS


def _needed(graph: Graph) -> dict[int, np.ndarray]:
    """Return which channels of each tensor somebody needs: id -> (channels,) bool."""
    needed: dict[int, np.ndarray] = {}

    def need(tensor: Tensor, which: np.ndarray | bool) -> None:
        n = tensor.shape[-1] if tensor.shape else 1
        needed[id(tensor)] = needed.get(id(tensor), np.zeros(n, bool)) | which

    for tensor in (*graph.sources, *graph.results):
        need(tensor, True)
    for node in reversed(graph.nodes):
        mine = needed.setdefault(id(node.output), np.zeros(node.output.shape[-1] if node.output.shape else 1, bool))
        if not mine.any():
            mine[0] = True  # a tensor cannot be empty
        if node.op in ("CONV", "DENSE") and _full(node):
            weights = node.attributes["weights"]
            read = (weights[mine] != 0).reshape(-1, weights.shape[-1]).any(axis=0)
            need(node.inputs[0], read if read.any() else np.arange(len(read)) == 0)
        elif node.op == "ALIAS" and _by_channel(node):
            channels = node.inputs[0].shape[-1]
            alike = np.any(mine.reshape(-1, channels), axis=0)
            needed[id(node.output)] = np.tile(alike, len(mine) // channels)
            need(node.inputs[0], alike)
        elif _by_channel(node):
            for tensor in node.variable_inputs:
                need(tensor, mine)
        else:
            needed[id(node.output)] = np.ones_like(mine)
            for tensor in (*node.variable_inputs, *node.outputs):
                need(tensor, True)
    _agree(graph, needed)
    return needed


def _agree(graph: Graph, needed: dict[int, np.ndarray]) -> None:
    """What goes through a node channel by channel is kept on both sides or on none."""
    changed = True
    while changed:
        changed = False
        for node in graph.nodes:
            if (node.op in ("CONV", "DENSE") and _full(node)) or not _by_channel(node):
                continue
            tensors = [*node.variable_inputs, node.output]
            channels = min(t.shape[-1] for t in tensors)
            kept = np.zeros(channels, bool)
            for tensor in tensors:
                kept |= needed[id(tensor)].reshape(-1, channels).any(axis=0)
            for tensor in tensors:
                wanted = np.tile(kept, tensor.shape[-1] // channels)
                changed |= not np.array_equal(wanted, needed[id(tensor)])
                needed[id(tensor)] = wanted


def _shrink(graph: Graph, needed: dict[int, np.ndarray]) -> None:
    for node in graph.nodes:
        if node.op not in ("CONV", "DENSE", "DEPTHWISE"):
            continue
        a, mine = node.attributes, needed[id(node.output)]
        if not _full(node) and node.op != "DEPTHWISE":
            continue
        weights = a["weights"][..., needed[id(node.inputs[0])]]
        if node.op != "DEPTHWISE":
            weights = weights[mine]
        a["weights"] = np.ascontiguousarray(weights)
        a["bias"] = a["bias"][mine]
        a["scales"] = a["scales"][mine] if len(a["scales"]) > 1 else a["scales"]
        if node.op == "CONV":
            a["group_in"], a["group_out"] = weights.shape[-1], len(weights)
    shrunk: dict[int, Tensor] = {}
    for node in graph.nodes:
        for tensor in (*node.variable_inputs, *node.outputs):
            kept = needed.get(id(tensor))
            if kept is not None and not kept.all() and id(tensor) not in shrunk:
                tensor.shape = (*tensor.shape[:-1], int(kept.sum()))
                shrunk[id(tensor)] = tensor
        if id(node.output) in shrunk and "full_channels" not in node.attributes:
            node.attributes["full_channels"] = len(needed[id(node.output)])


def dropped(graph: Graph) -> list[tuple[Node, int]]:
    """Return the nodes with weights that lost channels, and how many."""
    return [
        (n, n.attributes["full_channels"] - n.output.shape[-1])
        for n in graph.nodes
        if n.op in ("CONV", "DEPTHWISE", "DENSE") and "full_channels" in n.attributes
    ]
