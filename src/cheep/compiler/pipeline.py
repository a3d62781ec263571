"""Row by row: a chain of (depthwise ->) pointwise (-> pooling) layers that never holds a whole activation.

Each stage keeps only the few input rows (time steps) that its kernel spans, as bytes. A new row that completes a
group makes the stage compute one row of its output, which becomes a row of the next stage. Fed with the rows of a
window this is the full network; where no layer pads in time, it can be fed with new rows for ever, and the last
rows are those of the full window, bit for bit.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from cheep.compiler import matrix, requantize
from cheep.compiler.requantize import Channels
from cheep.tflite.graph import Graph, Node, Tensor

_MAX_POOL_AREA = 4


@dataclasses.dataclass
class Stage:
    """One stage. ``depth``: the depthwise node or None; ``point``: the convolution after it; ``pool`` or None."""

    depth: Node | None
    point: Node
    pool: Node | None
    depth_channels: Channels | None = None
    point_channels: Channels | None = None
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
        return [n for n in (self.depth, self.point, self.pool) if n is not None]

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the front's kernel."""
        weights = self.front.attributes["weights"]
        return weights.shape[:2] if self.depth else weights.shape[1:3]

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
    def rows(self) -> int:
        """Input rows held: those that one row of output needs."""
        return (self.pool_size[0] - 1) * self.front.attributes["stride_h"] + self.kernel[0]

    @property
    def advance(self) -> int:
        """Input rows that are dropped after one row of output."""
        return self.pool_size[0] * self.front.attributes["stride_h"]

    @property
    def width(self) -> int:
        """Columns of a stored row, with the padding."""
        stride = self.front.attributes["stride_w"]
        needed = (self.front.output.shape[2] - 1) * stride + self.kernel[1]
        return max(self.front.attributes["pad_left"] + self.source.shape[2], needed)

    @property
    def row_bytes(self) -> int:
        """Bytes of a stored row: planes of one channel (depthwise) or pixels of all channels."""
        return self.width * self.source.shape[3]

    @property
    def pad_bottom(self) -> int:
        """Rows of padding below the input."""
        a = self.front.attributes
        needed = (self.front.output.shape[1] - 1) * a["stride_h"] + self.kernel[0]
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
        return self.pitch // 4 if self.depth else -(-self.kernel[1] * self.source_channels // 4)

    @property
    def fours(self) -> int:
        """Words of one filter of the matrix."""
        return self.row_fours * (1 if self.depth else self.kernel[0])

    @property
    def pixels(self) -> int:
        """Pixels that the matrix takes at a time: those under the pooling, else what wastes least."""
        columns = self.point.output.shape[2]
        return 4 if self.pool or 23 * -(-columns // 4) < 17 * -(-columns // 3) else 3

    @property
    def single(self) -> bool:
        """One channel, then a maximum: only the extremes of four pixels matter."""
        return self.depth is not None and self.source.shape[3] == 1 and self.pool_kind == "max"

    @property
    def image(self) -> bool:
        """Whether this is a 3x3 convolution over one channel, then a maximum over 2x2: a kernel of its own."""
        a = self.front.attributes
        plain = self.depth is None and self.source.shape[3] == 1 and a["stride_h"] == a["stride_w"] == 1
        return plain and self.kernel == (3, 3) and self.pool_kind == "max" and self.pool_size == (2, 2)

    @property
    def matrix(self) -> bool:
        """Whether the matrix kernel computes the point (not a kernel for a single channel)."""
        return not self.single and not self.image

    @property
    def pool_kind(self) -> str:
        """ "max", "mean" or "" without pooling."""
        return "" if self.pool is None else "max" if self.pool.op == "MAX_POOL_2D" else "mean"


@dataclasses.dataclass
class Head:
    """Levels under the window's peak: a maximum over the whole input, and its difference to every cell.

    The difference is taken row by row, so that it needs no memory of the input's size.
    """

    peak: Node
    difference: Node
    row: int = 0  # offset of the row in the memory
    value: int = 0  # offset of the maximum

    @property
    def row_difference(self) -> Node:
        """The difference for one row of the input."""
        peak, source = self.peak.output, self.peak.inputs[0]
        rows = {id(t): dataclasses.replace(t, shape=(1, 1, *t.shape[2:])) for t in (source, self.difference.output)} | {
            id(peak): peak
        }
        d = self.difference
        return Node(d.op, [rows[id(t)] for t in d.inputs], [rows[id(d.output)]], d.attributes)


@dataclasses.dataclass
class Pipeline:
    """The stages, the head before them, and the MEAN over time and frequency that may end them."""

    stages: list[Stage]
    mean: Node | None
    head: Head | None = None
    n_bytes: int = 0  # rows of all stages
    scratch_bytes: int = 0
    final: int = 0  # offset of the last stage's rows, where no MEAN ends the chain

    @property
    def result(self) -> Tensor:
        """The tensor that the rest of the network reads."""
        return self.mean.output if self.mean else self.stages[-1].out

    @property
    def streams(self) -> bool:
        """Whether only new rows need computing: no layer pads in time or hears the whole window first."""
        return self.head is None and all(s.front.attributes["pad_top"] == 0 and s.pad_bottom == 0 for s in self.stages)

    @property
    def row_stride(self) -> int:
        """Input rows per row of the last stage."""
        return math.prod(s.advance for s in self.stages)

    @property
    def nodes(self) -> list[Node]:
        """All nodes that the pipeline computes."""
        before = [self.head.peak, self.head.difference] if self.head else []
        return before + [n for s in self.stages for n in s.nodes] + ([self.mean] if self.mean else [])


def find(graph: Graph) -> Pipeline | None:
    """Return the pipeline at the start of the network, or None."""
    if len(graph.inputs) != 1:
        return None
    tensor = _through_aliases(graph, graph.inputs[0])
    head = _head(graph, tensor)
    if head:
        tensor = head.difference.output
    stages: list[Stage] = []
    while True:
        tensor = _through_aliases(graph, tensor)
        stage = _stage(graph, tensor)
        if stage is None:
            break
        stages.append(stage)
        tensor = stage.out
    if not stages or stages[0].source.shape[1] < 2 or graph.inputs[0].dtype != "int8":
        return None
    last = stages[-1].out
    mean = _only_consumer(graph, last)
    if mean is not None and mean.op == "MEAN":
        axes = {int(i) % 4 for i in mean.inputs[1].data.reshape(-1)}
        large = {i for i in range(3) if last.shape[i] > 1}
        if not (large <= axes and 3 not in axes) or last.shape[2] > 255:
            mean = None
    else:
        mean = None
    pipeline = Pipeline(stages, mean, head)
    _place(pipeline)
    return pipeline


def _through_aliases(graph: Graph, tensor: Tensor) -> Tensor:
    node = _only_consumer(graph, tensor)
    while node is not None and node.op == "ALIAS" and len(node.output.shape) == 4:
        tensor = node.output
        node = _only_consumer(graph, tensor)
    return tensor


def _only_consumer(graph: Graph, tensor: Tensor) -> Node | None:
    consumers = graph.consumers(tensor)
    return consumers[0] if len(consumers) == 1 and not graph.is_output(tensor) else None


def _head(graph: Graph, tensor: Tensor) -> Head | None:
    readers = graph.consumers(tensor)
    if len(readers) != 2 or graph.is_output(tensor) or len(tensor.shape) != 4 or tensor.shape[0] != 1:
        return None
    pool, difference = sorted(readers, key=lambda node: node.op)
    if pool.op != "MAX_POOL_2D" or pool.output.shape[1:3] != (1, 1) or difference.op != "SUB":
        return None
    window = (pool.attributes["filter_h"], pool.attributes["filter_w"])
    whole = window == tensor.shape[1:3] and _only_consumer(graph, pool.output) is difference
    return Head(pool, difference) if whole and difference.output.shape == tensor.shape else None


def _stage(graph: Graph, tensor: Tensor) -> Stage | None:
    node = _only_consumer(graph, tensor)
    if node is None or len(tensor.shape) != 4 or tensor.shape[0] != 1:
        return None
    depth = None
    if node.op == "CONV" and _is_single_depthwise(node):
        follower = _only_consumer(graph, node.output)
        if follower is not None and _is_point(follower):
            node = _as_depthwise(node)
    if node.op == "DEPTHWISE":
        depth, node = node, _only_consumer(graph, node.output)
        if node is None or not _is_point(node):
            return None
    if node.op != "CONV" or node.attributes["group_in"] != node.inputs[0].shape[3]:
        return None
    stage = Stage(depth, node, _fusable_pool(graph, node))
    a = stage.front.attributes
    if a["dilation_h"] != 1 or a["dilation_w"] != 1:
        return None
    if a["pad_top"] >= stage.rows or stage.rows < stage.advance or stage.row_bytes > 32767:
        return None
    stage.depth_channels = requantize.channels(depth) if depth else None
    stage.point_channels = requantize.channels(node)
    if stage.matrix and not matrix.packable(node.attributes["weights"]):
        return None
    if stage.point_channels.fast is None or (depth is not None and stage.depth_channels.fast is None):
        return None
    return stage


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
    pool = _only_consumer(graph, point.output)
    if pool is None or pool.op not in ("MAX_POOL_2D", "AVERAGE_POOL_2D"):
        return None
    a, source, out = pool.attributes, pool.inputs[0], pool.output
    h, w = a["filter_h"], a["filter_w"]
    if (h, w) != (a["stride_h"], a["stride_w"]) or a["activation"] != "NONE" or h * w > _MAX_POOL_AREA:
        return None
    if out.shape[1] != source.shape[1] // h or out.shape[2] != source.shape[2] // w:
        return None
    return None if pool.op == "AVERAGE_POOL_2D" and h * w == 3 else pool


def _place(pipeline: Pipeline) -> None:
    offset, scratch = 0, 0
    for stage in pipeline.stages:
        stage.ring = offset
        offset += -(-(stage.rows * stage.row_bytes + 4) // 8) * 8  # a word is read past the last row
        stage.scratch = 8 * stage.pixels * stage.fours if stage.matrix else 0
        if stage.depth:  # an odd row writes one pixel more
            stage.values = -(-stage.pitch * (stage.pool_size[0] * stage.point.output.shape[2] + 1) // 8) * 8
            stage.scratch += stage.values
        if pipeline.mean and stage is pipeline.stages[-1] and stage.pool:  # a row, before it is added up
            stage.row = stage.scratch
            stage.scratch += stage.out.shape[2] * stage.out.shape[3]
        scratch = max(scratch, -(-stage.scratch // 8) * 8)
    if pipeline.head:
        shape = pipeline.head.peak.inputs[0].shape
        pipeline.head.row, pipeline.head.value = offset, offset + shape[2] * shape[3]
        offset += -(-(shape[2] + 1) * shape[3] // 8) * 8
    if pipeline.mean is None:
        pipeline.final = offset
        offset += -(-pipeline.stages[-1].out.n_bytes // 8) * 8
    pipeline.n_bytes, pipeline.scratch_bytes = offset, scratch
