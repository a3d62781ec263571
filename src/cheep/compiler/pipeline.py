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

from cheep.compiler import fixedpoint, requantize
from cheep.compiler.constants import Constants
from cheep.compiler.graph import Graph, Node, Tensor
from cheep.compiler.lower import mean_constants, pad_filters, title
from cheep.compiler.requantize import Channels

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
    def lanes(self) -> int:
        """16-bit values of one pixel between depthwise and pointwise."""
        channels = self.point.inputs[0].shape[3]
        return 1 if self.single else -(-channels // 4) * 4

    @property
    def single(self) -> bool:
        """One channel, then a maximum: only the extremes of four pixels matter."""
        return self.depth is not None and self.source.shape[3] == 1 and self.pool_kind == "max"

    @property
    def pool_kind(self) -> str:
        """"max", "mean" or "" without pooling."""
        return "" if self.pool is None else "max" if self.pool.op == "MAX_POOL_2D" else "mean"


@dataclasses.dataclass
class Pipeline:
    """The stages, and the MEAN over time and frequency that may end them."""

    stages: list[Stage]
    mean: Node | None
    n_bytes: int = 0  # rows of all stages
    scratch_bytes: int = 0
    final: int = 0  # offset of the last stage's rows, where no MEAN ends the chain

    @property
    def result(self) -> Tensor:
        """The tensor that the rest of the network reads."""
        return self.mean.output if self.mean else self.stages[-1].out

    @property
    def streams(self) -> bool:
        """Whether only new rows need computing: no layer pads in time."""
        return all(s.front.attributes["pad_top"] == 0 and s.pad_bottom == 0 for s in self.stages)

    @property
    def row_stride(self) -> int:
        """Input rows per row of the last stage."""
        return math.prod(s.advance for s in self.stages)

    @property
    def nodes(self) -> list[Node]:
        """All nodes that the pipeline computes."""
        return [n for s in self.stages for n in s.nodes] + ([self.mean] if self.mean else [])


def find(graph: Graph) -> Pipeline | None:
    """Return the pipeline at the start of the network, or None."""
    if len(graph.inputs) != 1:
        return None
    tensor = graph.inputs[0]
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
    pipeline = Pipeline(stages, mean)
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
        if stage.depth:
            columns = stage.point.output.shape[2]  # up to three pixels more than there are
            stage.scratch = 2 * stage.lanes * (stage.pool_size[0] * columns + 3)
        else:
            stage.scratch = 9 * pad_filters(stage.point.attributes["weights"]).shape[1]
        scratch = max(scratch, -(-stage.scratch // 8) * 8)
    if pipeline.mean is None:
        pipeline.final = offset
        offset += -(-pipeline.stages[-1].out.n_bytes // 8) * 8
    pipeline.n_bytes, pipeline.scratch_bytes = offset, scratch


def taps(weights: np.ndarray) -> np.ndarray:
    """Return (channels, 5) int32: the words of ``cheep_depth3x3`` for weights (3, 3, channels), doubled."""
    w = 2 * weights.astype(np.int64)

    def pair(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return (low & 0xFFFF) | ((high & 0xFFFF) << 16)

    words = [pair(w[y, 0], w[y, 2]) for y in range(3)]
    words += [pair(w[0, 1], w[1, 1]), pair(w[2, 1], np.zeros_like(w[2, 1]))]
    return np.stack(words, axis=1)


class Writer:
    """The C functions of a pipeline. ``memory`` is the type of the network's memory."""

    def __init__(self, pipeline: Pipeline, prefix: str, memory: str, constants: Constants):
        self._p, self._prefix, self._memory, self._constants = pipeline, prefix, memory, constants
        self.kernels: set[str] = set()

    def functions(self) -> list[str]:
        """Return the text of the stage functions, last stage first."""
        n = len(self._p.stages)
        return [line for k in reversed(range(n)) for line in self._stage(k)]

    def _stage(self, k: int) -> list[str]:
        stage = self._p.stages[k]
        source, out = stage.source, stage.out
        head = " + ".join(title(n) for n in stage.nodes)
        layout = "[channel][column]" if stage.depth else "[column][channel]"
        size = f"[{stage.rows}]" + "".join(
            f"[{n}]" for n in ((source.shape[3], stage.width) if stage.depth else (stage.width, source.shape[3]))
        )
        lines = [
            f"/* Stage {k + 1}: {head}.",
            f" * A row is complete; rows int8{size} [row]{layout} -> one row of {out.shape[2]} x {out.shape[3]}. */",
            f"static void {self._prefix}_advance{k + 1}({self._memory} *memory) {{",
            f"if (++memory->held[{k}] < {stage.rows}) {{",
            "return;",
            "}",
            "int8_t *const bytes = (int8_t *)memory->words;",
            f"int8_t *const rows = bytes + {stage.ring};",
            f"int8_t *const scratch = bytes + {self._p.n_bytes};",
        ]
        target = self._target(k)
        lines += target[0]
        lines += self._depth(k) if stage.depth else []
        lines += self._point(k, *target[1:])
        kept = stage.rows - stage.advance
        if kept:
            lines.append(f"memmove(rows, rows + {stage.advance * stage.row_bytes}, {kept * stage.row_bytes});")
        lines.append(f"memory->held[{k}] = {kept};")
        last = k + 1 == len(self._p.stages)
        lines.append("++memory->rows;" if last else f"{self._prefix}_advance{k + 2}(memory);")
        return [*lines, "}", ""]

    def _target(self, k: int) -> tuple[list[str], str, int, int]:
        """Return (declarations, expression of the output row, step of a channel, step of a pixel)."""
        stages, out = self._p.stages, self._p.stages[k].out
        if k + 1 < len(stages):
            after = stages[k + 1]
            left = after.front.attributes["pad_left"] * (1 if after.depth else out.shape[3])
            text = f"bytes + {after.ring + left} + memory->held[{k + 1}] * {after.row_bytes}"
            steps = (after.width, 1) if after.depth else (1, out.shape[3])
            return [f"int8_t *const out = {text};"], "out", *steps
        if self._p.mean:
            return [], "memory->sums", 0, 0
        row, rows = out.shape[2] * out.shape[3], out.shape[1]
        lines = [f"int8_t *const made = bytes + {self._p.final};"]
        if self._p.streams:
            lines += [
                f"if (memory->rows == {rows}) {{ /* the oldest row leaves */",
                f"memmove(made, made + {row}, {row * (rows - 1)});",
                f"memory->rows = {rows - 1};",
                "}",
            ]
        lines.append(f"int8_t *const out = made + memory->rows * {row};")
        return lines, "out", 1, out.shape[3]

    def _depth(self, k: int) -> list[str]:
        stage = self._p.stages[k]
        depth, name = stage.depth, f"{self._prefix}_depth{k + 1}"
        weights, channels = depth.attributes["weights"], stage.depth_channels
        rows = self._constants.structs("cheep_channel", f"{name}_channels", channels.fast, 16)
        height, width, n = weights.shape
        columns, stride = depth.output.shape[2], depth.attributes["stride_w"]
        lane = "0" if stage.single else "((c & ~3) | (c & 1) << 1 | (c >> 1 & 1))"
        code = [f"int16_t *const values = (int16_t *)(void *)scratch; /* [{stage.pool_size[0]}][{columns}][{stage.lanes}] */"]
        step = stage.front.attributes["stride_h"] * stage.row_bytes
        row_values = columns * stage.lanes
        if stage.pool_size[0] > 1:
            code.append(f"for (int y = 0; y < {stage.pool_size[0]}; ++y) {{")
            at, to = f"rows + y * {step}", f"values + y * {row_values}"
        else:
            at, to = "rows", "values"
        code.append(f"for (int c = 0; c < {n}; ++c) {{")
        tail = f"{to} + {lane}, {stage.lanes}, {columns}, {channels.limit}, {channels.range_text});"
        if (height, width) == (3, 3) and (stride > 1 or stage.single or columns % 2 == 0 or stage.pool_size[0] == 1):
            self.kernels.add("depth3x3")
            words = self._constants.array("uint32_t", f"{name}_taps", taps(weights), f"[{n}][5]")
            code.append(
                f"cheep_depth3x3({at} + c * {stage.width}, {stage.row_bytes}, {stride}, {words} + 5 * c, {rows} + c, {tail}"
            )
        else:
            self.kernels.add("depth")
            flat = np.ascontiguousarray(weights.transpose(2, 0, 1))
            w = self._constants.array("int8_t", f"{name}_weights", flat, f"[{n}][{height}][{width}]")
            code.append(
                f"cheep_depth({at} + c * {stage.width}, {stage.row_bytes}, {stride}, {w} + {height * width} * c, "
                f"{height}, {width}, {rows} + c, {tail}"
            )
        return [*code, "}", *(["}"] if stage.pool_size[0] > 1 else [])]

    def _point(self, k: int, out: str, step: int, pixel_step: int) -> list[str]:
        stage = self._p.stages[k]
        point, name = stage.point, f"{self._prefix}_point{k + 1}"
        channels = stage.point_channels
        rows = self._constants.structs("cheep_channel", f"{name}_channels", channels.fast, 16)
        n, columns, made = len(channels.fast), point.output.shape[2], stage.out.shape[2]
        pool_h, pool_w = stage.pool_size
        sums = self._p.mean is not None and k + 1 == len(self._p.stages)
        if stage.single:
            return self._single(stage, name, rows, channels, n, columns, made, out, step, pixel_step)
        packed = pad_filters(point.attributes["weights"])
        w = self._constants.array("int8_t", f"{name}_weights", packed, f"[{n}][{packed.shape[1]}]")
        fours = packed.shape[1] // 4
        code = []
        if stage.pool:
            offsets = [(y, x) for y in range(pool_h) for x in range(pool_w)]
            offsets = [offsets[i % len(offsets)] for i in range(4)]
            code.append(f"for (int x = 0; x < {made}; ++x) {{")
            pixels, first = offsets, f"{pool_w} * x"
            valid = "4"
        else:
            code.append(f"for (int x = 0; x < {columns}; x += 4) {{")
            pixels, first = [(0, i) for i in range(4)], "x"
            valid = "4"
            if columns % 4:
                code.append(f"const int valid = {columns} - x < 4 ? {columns} - x : 4;")
                valid = "valid"
        code += self._pixels(stage, pixels, first, columns)
        args = f"p, at, {w}, {rows}, {fours}, {n}"
        limit = f"{channels.limit}, {channels.range_text}"
        if sums and not stage.pool:
            self.kernels.add("pixels_sum")
            code.append(f"cheep_pixels_sum({args}, memory->sums, {valid}, {limit});")
        elif sums:
            self.kernels.add(f"pixels_{stage.pool_kind}")
            code += [f"int8_t made[{n}];", f"cheep_pixels_{stage.pool_kind}({args}, made, 1, {limit});"]
            code += [f"for (int c = 0; c < {n}; ++c) {{", "memory->sums[c] += made[c];", "}"]
        elif stage.pool:
            self.kernels.add(f"pixels_{stage.pool_kind}")
            code.append(f"cheep_pixels_{stage.pool_kind}({args}, {out} + x * {pixel_step}, {step}, {limit});")
        else:
            self.kernels.add("pixels")
            code.append(f"cheep_pixels({args}, {out} + x * {pixel_step}, {step}, {pixel_step}, {valid}, {limit});")
        return [*code, "}"]

    def _single(self, stage, name, rows, channels, n, columns, made, out, step, pixel_step) -> list[str]:
        self.kernels.add("single_max")
        weights = 2 * stage.point.attributes["weights"].astype(np.int64).reshape(-1)
        pairs = (np.maximum(weights, 0) & 0xFFFF) | ((np.minimum(weights, 0) & 0xFFFF) << 16)
        w = self._constants.array("uint32_t", f"{name}_pairs", pairs, "(positive, negative) weight of each filter")
        pool_h, pool_w = stage.pool_size
        offsets = [(y, x) for y in range(pool_h) for x in range(pool_w)]
        offsets = [offsets[i % len(offsets)] for i in range(4)]
        values = ", ".join(f"v[{dy * columns + dx}]" for dy, dx in offsets)
        sums = self._p.mean is not None and stage is self._p.stages[-1]
        code = [f"for (int x = 0; x < {made}; ++x) {{", f"const int16_t *const v = values + {pool_w} * x;"]
        to = f"{out} + x * {pixel_step}"
        if sums:
            code.append(f"int8_t made[{n}];")
            to, step = "made", 1
        code.append(
            f"cheep_single_max({values}, {w}, {rows}, {n}, {to}, {step}, {channels.limit}, {channels.range_text});"
        )
        if sums:
            code += [f"for (int c = 0; c < {n}; ++c) {{", "memory->sums[c] += made[c];", "}"]
        return [*code, "}"]

    def _pixels(self, stage: Stage, pixels: list[tuple[int, int]], first: str, columns: int) -> list[str]:
        """Declare ``p`` and ``at``: four pixels (row, column from ``first``) as 16-bit values."""
        lanes = stage.lanes
        if stage.depth:
            steps = ", ".join(str((y * columns + x) * lanes) for y, x in pixels[1:])
            return [f"const int16_t *const p = values + {first} * {lanes};", f"const int at[3] = {{{steps}}};"]
        self.kernels.add("expand")
        a = stage.point.attributes
        height, width = stage.kernel
        channels = stage.source.shape[3]
        k = pad_filters(a["weights"]).shape[1]
        piece, length = width * channels, height * width * channels
        code = ["int16_t *const p = (int16_t *)(void *)scratch;", f"int8_t *const patch = scratch + {8 * k};"]
        for i, (y, x) in enumerate(pixels):
            over = not stage.pool and columns % 4 and i > 0  # pixels past the end of the row: any value
            code += [f"if (valid > {i}) {{"] if over else []
            start = f"rows + {y * a['stride_h'] * stage.row_bytes} + ({first} + {x}) * {a['stride_w'] * channels}"
            code += [f"memcpy(patch + {ky * piece}, {start} + {ky * stage.row_bytes}, {piece});" for ky in range(height)]
            if length < k:
                code.append(f"memset(patch + {length}, 0, {k - length});")
            code += [f"cheep_expand(patch, {k // 4}, p + {i * k});", *(["}"] if over else [])]
        return [*code, f"const int at[3] = {{{k}, {2 * k}, {3 * k}}};"]

    def reset(self) -> list[str]:
        """Statements that start a window: padding in place, nothing held."""
        code = []
        for k, stage in enumerate(self._p.stages):
            size = stage.rows * stage.row_bytes
            code.append(f"memset(bytes + {stage.ring}, {stage.source.zero_point & 255}, {size});")
            code.append(f"memory->held[{k}] = {stage.front.attributes['pad_top']};")
        code.append("memory->rows = 0;")
        if self._p.mean:
            code.append("memset(memory->sums, 0, sizeof memory->sums);")
        return code

    def row(self, source: str) -> list[str]:
        """Statements that give one input row at ``source`` to the first stage."""
        stage = self._p.stages[0]
        width, channels = stage.source.shape[2:]
        left = stage.front.attributes["pad_left"]
        to = f"bytes + {stage.ring} + memory->held[0] * {stage.row_bytes}"
        if not stage.depth or channels == 1:
            return [f"memcpy({to} + {left * channels}, {source}, {width * channels});", f"{self._prefix}_advance1(memory);"]
        return [
            f"int8_t *const to = {to} + {left};",
            f"for (int c = 0; c < {channels}; ++c) {{",
            f"for (int x = 0; x < {width}; ++x) {{",
            f"to[c * {stage.width} + x] = ({source})[x * {channels} + c];",
            "}", "}",
            f"{self._prefix}_advance1(memory);",
        ]  # fmt: skip

    def flush(self) -> list[str]:
        """Statements that push the padding below the window through the stages."""
        code = []
        for k, stage in enumerate(self._p.stages):
            if stage.pad_bottom:
                code += [
                    f"for (int i = 0; i < {stage.pad_bottom}; ++i) {{",
                    f"memset(bytes + {stage.ring} + memory->held[{k}] * {stage.row_bytes}, "
                    f"{stage.source.zero_point & 255}, {stage.row_bytes});",
                    f"{self._prefix}_advance{k + 1}(memory);",
                    "}",
                ]
        return code

    def finish(self, sums: str, out: str) -> list[str]:
        """Statements that make the MEAN's bytes at ``out`` from the sums."""
        mean = self._p.mean
        multiplier, shift, n = mean_constants(mean)
        zero = n * mean.inputs[0].zero_point
        return [
            f"for (int c = 0; c < {mean.output.size}; ++c) {{",
            f"({out})[c] = cheep_limit(cheep_scale({sums}[c] - {zero}, {multiplier}, {max(shift, 0)}, "
            f"{max(-shift, 0)}) + {mean.output.zero_point}, -128, 127);",
            "}",
        ]


def lanes_of(channel: int) -> int:
    """Return the place of ``channel`` among the 16-bit values of a pixel (order 0 2 1 3 in every four)."""
    return (channel & ~3) | (channel & 1) << 1 | (channel >> 1 & 1)


def saturates(zero_point: int) -> int:
    """Return ``zero_point`` limited to a byte (what padding cells hold)."""
    return fixedpoint.clamp(zero_point)
