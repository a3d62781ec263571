# SPDX-License-Identifier: MIT
"""TFLM on a board whose kernels are not the reference kernels of this machine: its arena, and what they cannot run.

The arena of a model is measured in TFLM on this machine (:attr:`cheep.tflite.tflm.TflmModel.arena_bytes`, 64 bits,
reference kernels). esp-nn's kernels for the vector instructions of the ESP32-S3 copy filters and padded inputs into
scratch memory of that arena. How much they ask for follows from the shapes (as of esp-nn 1.2.3, and the larger sizes of
its later correction for padding that differs between the axes); where it lies is planned here as TFLM's greedy planner
does it, over tensors that do not live at that time. CMSIS-NN's kernels for a Cortex-M with DSP instructions take some
as well (as of tflite-micro-arduino-examples 7948b85).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

from cheep.tflite.graph import Graph, Node

# Whose kernels TFLM has on a board, as far as their scratch or what they refuse is known.
Kernels = Literal["reference", "esp-nn", "esp-nn-s3", "cmsis-nn"]

ESP = {"ESP": "ESP boards", "ESP32S3": "an ESP32-S3"}  # as headers name them, and messages

# What TFLM keeps or uses while it plans, in bytes on 64 bits and on 32 bits.
_TENSOR, _NODE = (24, 12), (64, 32)  # TfLiteEvalTensor, NodeAndRegistration
_LIFETIME, _REQUEST, _REQUESTS = (40, 28), (16, 12), 12  # AllocationInfo, ScratchBufferRequest, at least so many
_PLANNED = 40  # the planner's notes on a buffer
_HANDLE = 4 + 4  # of each scratch buffer on a board: its handle, and its number in the kernel's data

_CACHED, _CACHED_HALVES = 40 * 1024, 48 * 1024  # larger inputs of depthwise kernels are copied in strips of rows


@dataclasses.dataclass(frozen=True)
class Buffer:
    """What the planner places: ``n_bytes`` from operator ``first`` to operator ``last``, both included."""

    n_bytes: int
    first: int
    last: int


def arena_on(kernels: Kernels, graph: Graph, measured: int) -> int:
    """Return the arena that a model needs with such kernels, from what was ``measured`` on this machine (bytes)."""
    scratch = {"esp-nn-s3": esp32s3_scratch, "cmsis-nn": cmsis_nn_scratch}.get(kernels)
    return measured if scratch is None else _arena_with(graph, measured, scratch)


def refused_by(kernels: Kernels, graph: Graph) -> str | None:
    """Return why a network must not run in TFLM with such kernels, although it runs with the reference kernels."""
    for index, node in enumerate(graph.nodes):
        window = _window(node) if kernels.startswith("esp-nn") and node.op in _ESP32S3 else None
        if window is None:
            continue
        what = f"operator {index} ({node.op})"
        groups = window.channels // max(1, node.inputs[1].shape[3])
        if node.op == "CONV_2D" and groups != 1:
            return f"{what} has {groups} groups of channels, at which esp-tflite-micro's kernel stops the board"
        if kernels == "esp-nn-s3" and node.op == "DEPTHWISE_CONV_2D" and _writes_past_scratch(window):
            pads = f"{window.pad_h} row(s) above and {window.pad_w} column(s) to the left"
            return f"{what} is padded by {pads}: esp-nn's kernel for the ESP32-S3 writes past its scratch memory"
    return None


def refused_on_esp(graph: Graph) -> dict[str, str]:
    """Return why a network must not run in TFLM, by the boards where it must not (see :data:`ESP`)."""
    reasons = {"ESP": refused_by("esp-nn", graph), "ESP32S3": refused_by("esp-nn-s3", graph)}
    if reasons["ESP"]:
        del reasons["ESP32S3"]  # one of them
    return {boards: reason for boards, reason in reasons.items() if reason}


def arena_on_esp32s3(graph: Graph, measured: int) -> int:
    """Return the arena that a model needs on an ESP32-S3, from what was ``measured`` on this machine: bytes, both."""
    return arena_on("esp-nn-s3", graph, measured)


def _arena_with(graph: Graph, measured: int, kernel_scratch: Callable[[Node], int]) -> int:
    """Return the arena with kernels that ask for so much scratch.

    Persistent parts are taken from the measurement, less what pointers of 32 bits save for certain: the result lies a
    few per cent above the need.
    """
    tensors, nodes = len(graph.tensors), len(graph.nodes)
    here, there = buffers(graph), buffers(graph, kernel_scratch)
    scratch = len(there) - len(here)
    persistent = measured - max(plan(here), _planning(tensors, len(here), 0, word=0))
    persistent -= tensors * (_TENSOR[0] - _TENSOR[1]) + nodes * (_NODE[0] - _NODE[1])
    head = max(plan(there), _planning(tensors, len(there), scratch, word=1))
    return max(measured, _multiple(head + persistent + scratch * _HANDLE, 16))


def _planning(tensors: int, placed: int, scratch: int, word: int) -> int:
    """Return the bytes of the planner's own notes, which lie where the tensors will."""
    requests = (_REQUESTS + scratch) * _REQUEST[word]
    return requests + (tensors + scratch) * _LIFETIME[word] + placed * _PLANNED


def buffers(graph: Graph, scratch: Callable[[Node], int] | None = None) -> list[Buffer]:
    """Return what TFLM places in the arena: tensors that are computed, then ``scratch`` bytes of each operator."""
    last = len(graph.nodes)
    life = {id(t): [0, 0] for t in graph.inputs}
    for now, node in enumerate(graph.nodes, start=1):
        for tensor in [*node.variable_inputs, *node.outputs]:
            life.setdefault(id(tensor), [now, now])[1] = now
    for tensor in graph.outputs:
        life.setdefault(id(tensor), [last, last])[1] = last
    computed = (
        t
        for t in graph.tensors
        if t.data is None and not (t.is_sparse or t.is_variable) and t.n_bytes and id(t) in life
    )
    placed = [Buffer(_multiple(t.n_bytes, 16), *life[id(t)]) for t in computed]
    for now, node in enumerate(graph.nodes, start=1):
        wanted = (_int4_scratch(node), scratch(node) if scratch is not None else 0)
        placed += [Buffer(_multiple(n, 16), now, now) for n in wanted if n]
    return placed


def plan(wanted: Sequence[Buffer]) -> int:
    """Return the bytes that TFLM's greedy planner needs: the largest first, each in the first gap of its time."""
    placed: list[tuple[int, Buffer]] = []  # by offset
    # Of equal ones the last comes first, because the planner fills its list from the end.
    for buffer in sorted(reversed(wanted), key=lambda b: -b.n_bytes):
        offset = 0
        for start, other in placed:
            if other.first > buffer.last or buffer.first > other.last:
                continue
            if start - offset >= buffer.n_bytes:
                break
            offset = max(offset, start + other.n_bytes)
        placed.append((offset, buffer))
        placed.sort(key=lambda entry: entry[0])
    return max((start + buffer.n_bytes for start, buffer in placed), default=0)


def esp32s3_scratch(node: Node) -> int:
    """Return the bytes of scratch that esp-nn's kernel for the ESP32-S3 asks for (0: none)."""
    size = _ESP32S3.get(node.op)
    ends = [*node.inputs[:1], *node.outputs[:1]]
    return size(node) if size is not None and all(t.dtype == "int8" for t in ends) else 0


def cmsis_nn_scratch(node: Node) -> int:
    """Return the bytes of scratch that CMSIS-NN's kernel for a core with DSP instructions asks for (0: none)."""
    if node.op == "AVERAGE_POOL_2D":
        return 4 * node.output.shape[-1]
    window = _window(node) if node.op in ("CONV_2D", "DEPTHWISE_CONV_2D") else None
    if window is None:
        return 0
    field = window.channels * window.filter_h * window.filter_w
    dilated = (node.attributes.get("dilationHFactor", 1), node.attributes.get("dilationWFactor", 1)) != (1, 1)
    if node.op == "DEPTHWISE_CONV_2D":
        return 2 * field if window.channels == window.out_channels and not dilated else 0
    one = (window.filter_h, window.filter_w, window.stride_h, window.stride_w, window.pad_h, window.pad_w)
    return 0 if one == (1, 1, 1, 1, 0, 0) and not dilated else 4 * field  # two fields of the input as int16


@dataclasses.dataclass(frozen=True)
class _Window:
    """Shapes of a convolution: input and output (height, width, channels), filter, strides, padding above and left."""

    height: int
    width: int
    channels: int
    filter_h: int
    filter_w: int
    out_h: int
    out_w: int
    out_channels: int
    stride_h: int
    stride_w: int
    pad_h: int
    pad_w: int

    @property
    def beyond(self) -> tuple[int, int]:
        """Rows and columns below and to the right that the last outputs look at, as the kernels reckon them."""
        rows = self.out_h * self.stride_h + self.filter_h - 1 - self.height
        return max(0, rows), max(0, self.out_w * self.stride_w + self.filter_w - 1 - self.width)

    def padded(self, channels: int, rows: int, columns: int) -> int:
        """Bytes of the input with so many more rows and columns."""
        return (self.height + rows) * (self.width + columns) * channels


def _window(node: Node) -> _Window | None:
    if len(node.inputs) < 2:
        return None
    shapes = [t.shape for t in (*node.inputs[:2], node.output)]
    if [len(shape) for shape in shapes] != [4, 4, 4] or 0 in shapes[0]:
        return None
    (_, height, width, channels), (_, filter_h, filter_w, _), (_, out_h, out_w, out_channels) = shapes
    values = node.attributes
    stride_h, stride_w = values["strideH"], values["strideW"]

    def pad(n: int, f: int, o: int, stride: int, dilation: int) -> int:
        needed = (o - 1) * stride + (f - 1) * dilation + 1 - n
        return max(0, needed) // 2 if values["padding"] == "SAME" else 0

    pad_h = pad(height, filter_h, out_h, stride_h, values.get("dilationHFactor", 1))
    pad_w = pad(width, filter_w, out_w, stride_w, values.get("dilationWFactor", 1))
    return _Window(
        height, width, channels, filter_h, filter_w, out_h, out_w, out_channels, stride_h, stride_w, pad_h, pad_w
    )


def _conv(node: Node) -> int:
    w = _window(node)
    if w is None:
        return 0
    margin = 64  # alignment, and what the kernels touch before and behind
    if (w.filter_h, w.filter_w, w.stride_h, w.stride_w, w.pad_h, w.pad_w) == (1, 1, 1, 1, 0, 0):
        channels = _multiple(w.channels, 8)
        copied = w.padded(channels, 0, 0) if w.channels % 8 else 0
        transposed = 2 * 8 * channels if w.height * w.width >= 8 else 0
        return channels * w.out_channels + copied + transposed + margin
    row, field = w.filter_w * w.channels, w.filter_h * w.filter_w * w.channels
    sums = 4 * w.out_channels
    if row < 16 <= field:  # each field of the input is gathered into one row
        field = _multiple(field, 16)
        return (w.out_channels + 1) * field + 2 * 16 + sums + margin
    filters = w.filter_h * w.out_channels * (w.filter_w * _multiple(w.channels, 16) + _multiple(row, 16))
    around = w.padded(w.channels, 2 * w.pad_h, 2 * w.pad_w) if w.pad_h or w.pad_w else 0
    beyond = w.padded(w.channels, *w.beyond) if any(w.beyond) else 0
    return filters + around + beyond + sums + margin


def _depthwise(node: Node) -> int:
    w = _window(node)
    if w is None:
        return 0
    filters = w.filter_h * w.filter_w * w.out_channels
    halves = 2 * (filters + w.padded(w.channels, 0, 0)) + 32  # filters and input as int16
    if w.out_channels != w.channels:
        return halves if w.out_channels // w.channels % 4 == 0 else 32
    if w.channels % 8 == 0:
        if (w.filter_h, w.filter_w) == (3, 3):
            return _depthwise_3x3(w) if w.channels != 8 else halves
        if halves - 32 <= _CACHED_HALVES:
            return halves
        return 2 * (filters + w.width * w.filter_h * w.channels) + 32
    if w.channels <= 3:
        return 32
    channels = _multiple(w.channels, 8)
    parts = (2 * w.filter_h * w.filter_w * channels, 2 * w.padded(channels, 0, 0), w.out_h * w.out_w * channels)
    return sum(_multiple(part, 16) for part in parts) + 3 * 4 * channels + 16


def _writes_past_scratch(w: _Window) -> bool:
    square = (w.filter_h, w.filter_w) == (3, 3) and w.channels == w.out_channels
    return square and w.channels % 16 == 0 and w.pad_h != w.pad_w


def _depthwise_3x3(w: _Window) -> int:
    filters = 9 * w.channels
    if w.channels % 16 or w.pad_h != w.pad_w:  # the output is written with more channels, and compacted
        channels = _multiple(w.channels, 16)
        rows, columns = (pad + more for pad, more in zip((2 * w.pad_h, 2 * w.pad_w), w.beyond, strict=True))
        general = 9 * channels + w.padded(channels, rows, columns) + w.out_h * w.out_w * channels + 64
        if w.channels % 16:
            return general
    else:
        general = 0
    rows, columns = (2 * w.pad_h, 2 * w.pad_w) if w.pad_h or w.pad_w else w.beyond
    if not rows and not columns:
        return max(general, filters + 16)
    whole = w.padded(w.channels, rows, columns)
    strip = (w.width + columns) * w.filter_h * w.channels
    return max(general, filters + (whole if whole <= _CACHED else strip) + 16)


def _softmax(node: Node) -> int:
    shape = node.output.shape
    return 4 * shape[min(1, len(shape) - 1)] if shape else 0


_ESP32S3 = {"CONV_2D": _conv, "DEPTHWISE_CONV_2D": _depthwise, "SOFTMAX": _softmax}


def _int4_scratch(node: Node) -> int:
    """Return what every TFLM takes to unpack weights of 4 bits."""
    return sum(t.size for t in node.inputs[1:2] if t.dtype == "int4" and t.data is not None)


def _multiple(n: int, of: int) -> int:
    return -(-n // of) * of
