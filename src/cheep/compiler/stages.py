# SPDX-License-Identifier: MIT
"""Stages of the row pipeline: what computes one row of output from the rows under its kernel."""

from __future__ import annotations

import dataclasses

import numpy as np

from cheep.compiler import fixedpoint, matrix, requantize
from cheep.compiler.requantize import Channels
from cheep.tflite.graph import Graph, Node, Tensor

_MAX_POOL_AREA = 4
_POOLS = ("MAX_POOL_2D", "AVERAGE_POOL_2D")
_ELEMENTWISE = ("ADD", "SUB", "MUL", "LOOKUP")


@dataclasses.dataclass
class Fifo:
    """Rows that wait for an addition: ``rows`` of them at the most, oldest first."""

    tensor: Tensor
    rows: int = 0
    offset: int = 0

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return self.tensor.shape[2] * self.tensor.shape[3]


@dataclasses.dataclass
class Post:
    """An element-wise node on each row of a stage's result; ``fifo``: where its other operand waits, or None."""

    node: Node
    source: Tensor  # the operand that the stage made
    fifo: int | None = None


@dataclasses.dataclass(frozen=True)
class Target:
    """Who receives a row: ("stage", index), ("fifo", index), ("sums", 0) or ("final", 0)."""

    kind: str
    index: int = 0


@dataclasses.dataclass
class Stage:
    """One stage. ``depth``: the depthwise node or None; ``point``: the convolution after it; ``pool`` or None.

    A pooling that no convolution takes is a stage too: a ``point`` with operator POOL. ``covers``: its nodes.
    ``posts``: what is done to each row of the result, in place; ``targets``: who receives it.
    """

    depth: Node | None
    point: Node
    pool: Node | None
    covers: list[Node] = dataclasses.field(default_factory=list)
    posts: list[Post] = dataclasses.field(default_factory=list)
    targets: list[Target] = dataclasses.field(default_factory=list)
    depth_channels: Channels = requantize.NONE
    point_channels: Channels = requantize.NONE
    narrow: bool = False  # one pixel at a time: slower, with less scratch
    ring: int = 0  # offset of the rows in the memory
    scratch: int = 0  # bytes of scratch
    values: int = 0  # of them for the depthwise layer's rows
    row: int = 0  # offset in them of a pooled row

    @property
    def front(self) -> Node:
        """The layer that looks at the rows."""
        return self.depth or self.point

    @property
    def nodes(self) -> list[Node]:
        """All nodes of the stage."""
        own = self.covers or [n for n in (self.depth, self.point, self.pool) if n is not None]
        return own + [p.node for p in self.posts]

    @property
    def layers(self) -> list[tuple[Node, Channels]]:
        """The nodes with weights, each with its constants."""
        point = [] if self.pooling else [(self.point, self.point_channels)]
        return [*([(self.depth, self.depth_channels)] if self.depth else []), *point]

    @property
    def pooling(self) -> bool:
        """Whether this is a pooling by itself."""
        return self.point.op == "POOL"

    @property
    def fill(self) -> int:
        """The byte of cells outside the input."""
        return self.point.attributes["fill"] if self.pooling else self.source.zero_point

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the front's kernel."""
        a = self.front.attributes
        if self.pooling:
            return a["filter_h"], a["filter_w"]
        return a["weights"].shape[:2] if self.depth else a["weights"].shape[1:3]

    @property
    def pool_size(self) -> tuple[int, int]:
        """Height and width of the pooling, (1, 1) without."""
        return (self.pool.attributes["filter_h"], self.pool.attributes["filter_w"]) if self.pool else (1, 1)

    @property
    def source(self) -> Tensor:
        """The stage's input."""
        return self.front.inputs[0]

    @property
    def out(self) -> Tensor:
        """The stage's output."""
        return self.nodes[-1].output

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns under the front's kernel, with its dilation."""
        a = self.front.attributes
        return (self.kernel[0] - 1) * a["dilation_h"] + 1, (self.kernel[1] - 1) * a["dilation_w"] + 1

    @property
    def rows(self) -> int:
        """Input rows held: those that one row of output needs."""
        return (self.pool_size[0] - 1) * self.front.attributes["stride_h"] + self.reach[0]

    @property
    def advance(self) -> int:
        """Input rows that are dropped after one row of output."""
        return self.pool_size[0] * self.front.attributes["stride_h"]

    @property
    def width(self) -> int:
        """Columns of a stored row, with the padding."""
        stride = self.front.attributes["stride_w"]
        needed = (self.front.output.shape[2] - 1) * stride + self.reach[1]
        return max(self.front.attributes["pad_left"] + self.source.shape[2], needed)

    @property
    def row_bytes(self) -> int:
        """Bytes of a stored row: planes of one channel (depthwise) or pixels of all channels; whole words."""
        return -(-self.width * self.source.shape[3] // 4) * 4

    @property
    def pad_bottom(self) -> int:
        """Rows of padding below the input."""
        a = self.front.attributes
        needed = (self.front.output.shape[1] - 1) * a["stride_h"] + self.reach[0]
        return max(0, needed - a["pad_top"] - self.source.shape[1])

    @property
    def pitch(self) -> int:
        """Bytes of one pixel between depthwise and pointwise."""
        return 1 if self.single else -(-self.source_channels // 4) * 4

    @property
    def source_channels(self) -> int:
        """Input channels of the point."""
        return self.point.inputs[0].shape[3]

    @property
    def row_fours(self) -> int:
        """Words of one row under the matrix's filter."""
        if self.depth:
            return self.pitch // 4
        return self.pieces * -(-self.kernel[1] * self.source_channels // self.pieces // 4)

    @property
    def fours(self) -> int:
        """Words of one filter of the matrix (an even number where it meets one pixel)."""
        words = self.row_fours * (1 if self.depth else self.kernel[0])
        return words + words % 2 if self.pixels == 1 else words

    @property
    def pixels(self) -> int:
        """Pixels that the matrix takes at a time: those under the pooling, else what wastes least."""
        columns = self.point.output.shape[2]
        if self.narrow and not self.pool:
            return 1
        return 4 if self.pool or 23 * -(-columns // 4) < 17 * -(-columns // 3) else 3

    @property
    def single(self) -> bool:
        """One channel, then a maximum: only the extremes of four pixels matter."""
        return self.depth is not None and self.source.shape[3] == 1 and self.pool_kind == "max"

    @property
    def block(self) -> bool:
        """Whether one kernel takes 3x3 rows of a single channel and a pooling of 2x2 at once."""
        a = self.front.attributes
        plain = self.single and a["stride_h"] == a["stride_w"] == 1
        return plain and self.kernel == (3, 3) and self.pool_size == (2, 2)

    @property
    def pieces(self) -> int:
        """Runs of consecutive bytes in one row under the matrix's filter."""
        return 1 if self.depth or self.front.attributes["dilation_w"] == 1 else self.kernel[1]

    @property
    def image(self) -> bool:
        """Whether this is a 3x3 convolution over one channel, then a maximum over 2x2: a kernel of its own."""
        a = self.front.attributes
        plain = self.depth is None and self.source.shape[3] == 1 and a["stride_h"] == a["stride_w"] == 1
        return plain and self.reach == self.kernel == (3, 3) and self.pool_kind == "max" and self.pool_size == (2, 2)

    @property
    def matrix(self) -> bool:
        """Whether the matrix kernel computes the point (not a kernel for a single channel)."""
        return not self.single and not self.image and not self.pooling

    @property
    def pool_kind(self) -> str:
        """ "max", "mean" or "" without pooling."""
        return "" if self.pool is None else "max" if self.pool.op == "MAX_POOL_2D" else "mean"


def row_node(node: Node) -> Node:
    """Return ``node`` for one row of its tensors."""
    tensors = {id(t): _row(t) for t in (*node.inputs, *node.outputs)}
    return Node(node.op, [tensors[id(t)] for t in node.inputs], [tensors[id(node.output)]], node.attributes)


def _row(tensor: Tensor) -> Tensor:
    if len(tensor.shape) != 4 or tensor.data is not None:
        return tensor
    return dataclasses.replace(tensor, shape=(1, 1, *tensor.shape[2:]))


def make_stage(graph: Graph, node: Node) -> Stage | str:
    """Return the stage that starts with ``node``, or why it is none (remembered: scales take a while)."""
    if "stage" not in node.attributes:
        node.attributes["stage"] = _make_stage(graph, node)
    made = node.attributes["stage"]
    return made if isinstance(made, str) else dataclasses.replace(made, posts=[], targets=[])


def _make_stage(graph: Graph, node: Node) -> Stage | str:
    source = node.inputs[0]
    if node.op in ("PAD", *_POOLS):
        return _pooling(graph, node)
    if node.op not in ("CONV", "DEPTHWISE") or len(source.shape) != 4 or source.shape[0] != 1:
        return "not one image at a time"
    depth = None
    if node.op == "CONV" and _is_single_depthwise(node):
        follower = only_consumer(graph, node.output)
        if follower is not None and _is_point(follower):
            node = _as_depthwise(node)
    if node.op == "DEPTHWISE":
        follower = only_consumer(graph, node.output)
        if follower is None or not _is_point(follower):
            return "no 1x1 convolution follows the depthwise one"
        depth, node = node, follower
    if node.attributes["group_in"] != node.inputs[0].shape[3]:
        return "its channels are grouped"
    stage = Stage(depth, node, _fusable_pool(graph, node))
    a = stage.front.attributes
    if depth is not None and (stage.reach != stage.kernel or source.shape[1] == 1):
        return "a dilated depthwise convolution, or one over a single row"
    if a["pad_top"] >= stage.rows or stage.row_bytes > 32767:
        return "padding as high as its rows, or a row of more than 32,767 bytes"
    if stage.matrix and not matrix.packable(node.attributes["weights"]):
        return matrix.UNPACKABLE
    stage.point_channels = requantize.channels(node)
    if depth:
        stage.depth_channels = requantize.channels(depth)
    for _, channels in reversed(stage.layers):
        if not channels.fast:
            return channels.reason
    return stage


def _pooling(graph: Graph, node: Node) -> Stage | str:
    """Return the stage of a pooling, with the zero padding before it, or why there is none."""
    covers, source, fill, before = [node], node.inputs[0], -128, None
    if node.op == "PAD":
        pool = only_consumer(graph, node.output)
        if pool is None or pool.op != "MAX_POOL_2D" or len(source.shape) != 4:
            return "padding before something else than a maximum"
        before, fill = node.inputs[1].constant.reshape(-1, 2).tolist(), source.zero_point
        covers, node = [node, pool], pool
    a, own, out = node.attributes, node.inputs[0], node.output
    pads = []
    for axis, i in (("h", 1), ("w", 2)):
        total = (out.shape[i] - 1) * a[f"stride_{axis}"] + a[f"filter_{axis}"] - own.shape[i]
        pads.append(max(total, 0) // 2)
        if (total > 0 and (before or node.op == "AVERAGE_POOL_2D")) or a[f"filter_{axis}"] >= own.shape[i]:
            return "a pooling over all, or a mean whose cells do not all count"
    if before:
        if before[0] != [0, 0] or before[3] != [0, 0]:
            return "padding of the batch or the channels"
        pads = [before[1][0], before[2][0]]
    if fixedpoint.activation_range(a["activation"], out.scale, out.zero_point) != (-128, 127):
        return "a pooling with a limit"
    values = {"pad_top": pads[0], "pad_left": pads[1], "dilation_h": 1, "dilation_w": 1, "fill": fill}
    stage = Stage(None, Node("POOL", [source], [out], {**a, **values, "mean": node.op != "MAX_POOL_2D"}), None, covers)
    if pads[0] >= stage.rows or stage.row_bytes > 32767:
        return "padding as high as its rows, or a row of more than 32,767 bytes"
    return stage


def only_consumer(graph: Graph, tensor: Tensor) -> Node | None:
    """Return the one node that reads ``tensor``, or None where there are others or the caller receives it."""
    consumers = graph.consumers(tensor)
    return consumers[0] if len(consumers) == 1 and not graph.is_output(tensor) else None


def is_elementwise(node: Node) -> bool:
    """Whether each row of the output depends on the same row of the input alone."""
    if node.op not in _ELEMENTWISE or len(node.output.shape) != 4:
        return False
    for tensor in node.inputs:
        if tensor.data is None and tensor.shape != node.output.shape:
            return False
        if tensor.data is not None and len(tensor.shape) == 4 and tensor.shape[:2] != (1, 1):
            return False
    return True


def _is_point(node: Node) -> bool:
    a = node.attributes
    if node.op != "CONV" or a["group_in"] != node.inputs[0].shape[3]:
        return False
    padded = a["pad_top"] or a["pad_left"] or node.inputs[0].shape[1:3] != node.output.shape[1:3]
    return a["weights"].shape[1:3] == (1, 1) and a["stride_h"] == a["stride_w"] == 1 and not padded


def _is_single_depthwise(node: Node) -> bool:
    return node.inputs[0].shape[3] == 1 and node.output.shape[3] == 1


def _as_depthwise(node: Node) -> Node:
    weights = np.ascontiguousarray(node.attributes["weights"].transpose(1, 2, 3, 0)[:, :, 0, :])
    return Node("DEPTHWISE", node.inputs, node.outputs, {**node.attributes, "weights": weights})


def _fusable_pool(graph: Graph, point: Node) -> Node | None:
    pool = only_consumer(graph, point.output)
    if pool is None or pool.op not in _POOLS:
        return None
    a, source, out = pool.attributes, pool.inputs[0], pool.output
    h, w = a["filter_h"], a["filter_w"]
    if (h, w) != (a["stride_h"], a["stride_w"]) or a["activation"] != "NONE" or h * w > _MAX_POOL_AREA:
        return None
    if out.shape[1] != source.shape[1] // h or out.shape[2] != source.shape[2] // w:
        return None
    return None if pool.op == "AVERAGE_POOL_2D" and h * w == 3 else pool
