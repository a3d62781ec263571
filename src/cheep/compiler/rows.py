# SPDX-License-Identifier: MIT
"""The C functions of a :class:`cheep.compiler.pipeline.Pipeline`."""

from __future__ import annotations

import numpy as np

from cheep.compiler import fixedpoint, lower, matrix
from cheep.compiler.constants import Constants
from cheep.compiler.lower import mean_constants, title
from cheep.compiler.pipeline import Pipeline
from cheep.compiler.stages import Stage, Target, row_node
from cheep.tflite.graph import Node


def taps(weights: np.ndarray) -> np.ndarray:
    """Return (channels, 5) int32: the words of ``cheep_depth3x3`` for weights (3, 3, channels), doubled."""
    w = 2 * weights.astype(np.int64)

    def pair(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return (low & 0xFFFF) | ((high & 0xFFFF) << 16)

    words = [pair(w[y, 0], w[y, 2]) for y in range(3)]
    words += [pair(w[0, 1], w[1, 1]), pair(w[2, 1], np.zeros_like(w[2, 1]))]
    return np.stack(words, axis=1)


def _pointers(places: dict[int, str]) -> lower.Pointers:
    return lambda tensor: places[id(tensor)]


class Writer:
    """The C functions of a pipeline.

    Parameters
    ----------
    memory : str
        The type of the network's memory.
    base : int
        Where the pipeline's rows begin in it.
    scratch : int
        Where its scratch begins.
    counter : int
        The first of its counters in ``memory->held``.
    final : str
        Expression of the result's place, where no mean ends the pipeline.
    sums : str
        Expression of the mean's sums.
    """

    def __init__(
        self, pipeline: Pipeline, prefix: str, memory: str, constants: Constants,
        base: int = 0, scratch: int = 0, counter: int = 0, final: str = "", sums: str = "memory->sums",
    ):  # fmt: skip
        self._p, self._prefix, self._memory, self._constants = pipeline, prefix, memory, constants
        self._base, self._scratch, self._counter, self._final, self._sums = base, scratch, counter, final, sums
        self.kernels: set[str] = set()
        self.wrappers: set[tuple[str, str]] = set()
        self._packed: dict[str, matrix.Packed] = {}

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline."""
        return self._p

    @property
    def made(self) -> str:
        """Expression of the counter of the result's rows."""
        return f"memory->held[{self._counter + len(self._p.stages) + len(self._p.fifos)}]"

    def _held(self, k: int) -> str:
        return f"memory->held[{self._counter + k}]"

    def _waiting(self, j: int) -> str:
        return f"memory->held[{self._counter + len(self._p.stages) + j}]"

    def functions(self) -> list[str]:
        """Return the text of the stage functions, after declarations of those that are called earlier."""
        n = len(self._p.stages)
        called = {t.index for k in range(n) for t in self._p.stages[k].targets if t.kind == "stage" and t.index <= k}
        head = [f"static void {self._prefix}_advance{k + 1}({self._memory} *memory);" for k in sorted(called)]
        return [*head, *(line for k in reversed(range(n)) for line in self._stage(k))]

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
            f"if (++{self._held(k)} < {stage.rows}) {{",
            "return;",
            "}",
            "int8_t *const bytes = (int8_t *)memory->words;",
            f"int8_t *const rows = bytes + {self._base + stage.ring};",
        ]
        body, where, place = self._target(stage)
        body += self._depth(k, stage.depth) if stage.depth and not stage.block else []
        body += self._pool(stage, place[0]) if stage.pooling else self._point(k, *place)
        body += self._posts(k, place[0])
        columns, channels = out.shape[2:]
        body += self._give(stage.targets, place[0], columns, channels, where) if where else []
        if any("scratch" in line for line in body):
            lines.append(f"int8_t *const scratch = bytes + {self._scratch};")
        lines += body
        kept = stage.rows - stage.advance
        if kept > 0:
            self.kernels.add("copy")
            lines.append(f"cheep_copy(rows, rows + {stage.advance * stage.row_bytes}, {kept * stage.row_bytes});")
        lines.append(f"{self._held(k)} = {kept};")
        lines += [f"++{self.made};"] if any(t.kind in ("final", "sums") for t in stage.targets) else []
        lines += [f"{self._prefix}_advance{t.index + 1}(memory);" for t in stage.targets if t.kind == "stage"]
        return [*lines, "}", ""]

    def _ring(self, k: int) -> str:
        """Expression of the place of the next row of stage ``k``, without its padding."""
        stage = self._p.stages[k]
        held = self._held(k)
        if stage.rows < stage.advance:  # rows between two filters are written, and written over
            held = f"({held} > 0 ? {held} : 0)"
        left = stage.front.attributes["pad_left"] * (1 if stage.depth else stage.source.shape[3])
        return f"bytes + {self._base + stage.ring + left} + {held} * {stage.row_bytes}"

    def _target(self, stage: Stage) -> tuple[list[str], str, tuple[str, int, int]]:
        """Return (declarations, kind of the place, (the place, step of a channel, step of a pixel)).

        The kind is that of the target whose memory the row is written to ("scratch": of none), from where the others
        get it; "" where there is one target, written straight.
        """
        columns, channels = stage.out.shape[2:]
        plain = ("out", 1, channels)
        first = next((t for t in stage.targets if t.kind == "stage" and not self._p.stages[t.index].depth), None)
        if len(stage.targets) == 1 and not stage.posts and not stage.pooling:
            target = stage.targets[0]
            if target.kind == "sums":
                return [], "", ("sums", 1, channels)
            if target.kind == "stage" and first is None:
                after = self._p.stages[target.index]
                return [f"int8_t *const out = {self._ring(target.index)};"], "", ("out", after.width, 1)
        if first is not None:
            return [f"int8_t *const out = {self._ring(first.index)};"], "stage", plain
        if Target("final") in stage.targets:
            row, rows = columns * channels, stage.out.shape[1]
            lines = [f"int8_t *const made = {self._final};"]
            if self._p.streams:
                lines += [
                    f"if ({self.made} == {rows}) {{ /* the oldest row leaves */",
                    f"memmove(made, made + {row}, {row * (rows - 1)});",
                    f"{self.made} = {rows - 1};",
                    "}",
                ]
            return [*lines, f"int8_t *const out = made + {self.made} * {row};"], "final", plain
        return [f"int8_t *const out = scratch + {stage.row};"], "scratch", plain

    def _posts(self, k: int, row: str) -> list[str]:
        """Element-wise nodes on the row, in place; what waits in a queue is taken out of it."""
        stage, code = self._p.stages[k], []
        for i, post in enumerate(stage.posts):
            node = row_node(post.node)
            step = lower.lower(node, f"{self._prefix}_post{k + 1}_{i}", self._constants)
            self.kernels |= step.kernels
            self.wrappers |= step.wrappers
            places = [row, row]
            if post.fifo is not None:
                fifo = self._p.fifos[post.fifo]
                first = f"bytes + {self._base + fifo.offset}"
                places = [row if t is post.source else first for t in post.node.inputs]
            by_tensor = {id(t): p for t, p in zip(node.inputs, places, strict=False)} | {id(node.output): row}
            code += [f"/* {step.title} */", *step.lines(_pointers(by_tensor), "")]
            if post.fifo is not None and fifo.rows > 1:
                self.kernels.add("copy")
                at, n, waiting = self._base + fifo.offset, fifo.row_bytes, self._waiting(post.fifo)
                code += [f"--{waiting};", f"cheep_copy(bytes + {at}, bytes + {at + n}, {waiting} * {n});"]
            elif post.fifo is not None:
                code.append(f"{self._waiting(post.fifo)} = 0;")
        return code

    def _give(self, targets: list[Target], row: str, columns: int, channels: int, where: str) -> list[str]:
        """Give a row to every target; ``where``: the kind of the first that holds it already."""
        code, n = [], columns * channels
        for target in targets:
            planar = target.kind == "stage" and self._p.stages[target.index].depth is not None
            if target.kind == where and not planar:
                where = ""
                continue
            if target.kind == "sums":
                self.kernels.add("add_up")
                code.append(f"cheep_add_up({row}, {columns}, {channels}, {self._sums});")
            elif planar and channels > 1:
                self.kernels.add("planes")
                width = self._p.stages[target.index].width
                code.append(f"cheep_planes({row}, {columns}, {channels}, {self._ring(target.index)}, {width});")
            else:
                self.kernels.add("copy")
                if target.kind == "stage":
                    to = self._ring(target.index)
                elif target.kind == "final":
                    to = f"{self._final} + {self.made} * {n}"
                else:
                    at = self._base + self._p.fifos[target.index].offset
                    to = f"bytes + {at} + {self._waiting(target.index)}++ * {n}"
                code.append(f"cheep_copy({to}, {row}, {n});")
        return code

    def _depth(self, k: int, depth: Node) -> list[str]:
        stage, name = self._p.stages[k], f"{self._prefix}_depth{k + 1}"
        weights, channels = depth.attributes["weights"], stage.depth_channels
        rows = self._constants.structs("cheep_channel", f"{name}_channels", channels.fast, 16)
        height, width, n = weights.shape
        columns, stride = depth.output.shape[2], depth.attributes["stride_w"]
        code = [
            f"/* values int8[{stage.pool_size[0]}][{columns}][{stage.pitch}] [row][column][channel] */",
            "int8_t *const values = scratch;",
        ]
        step = stage.front.attributes["stride_h"] * stage.row_bytes
        row_values = columns * stage.pitch
        own, plane = "" if stage.single else " + c", f" + c * {stage.width}"
        limit = f"{channels.limit}, {channels.range_text});"
        two = (
            (height, width) == (3, 3)
            and stage.pool_size == (2, 2)
            and stride == stage.front.attributes["stride_h"] == 1
        )
        y, x, to = ("", "", "values") if two or stage.pool_size[0] == 1 else (f" + y * {step}", "y", "values")
        to += f" + y * {row_values}" if x else ""
        loops = [f"for (int y = 0; y < {stage.pool_size[0]}; ++y) {{"] if x else []
        loops.append(f"for (int c = 0; c < {n}; ++c) {{")
        if (height, width) == (3, 3):
            words = self._constants.array("uint32_t", f"{name}_taps", taps(weights), f"[{n}][5]")
            if two:
                self.kernels.add("depth3x3_two")
                call = f"cheep_depth3x3_two(rows{plane}, {stage.row_bytes}, {words} + 5 * c, {rows} + c, {to}{own}, "
                call += f"{stage.pitch}, {row_values}, {2 * stage.out.shape[2]}, {limit}"
            else:
                self.kernels.add("depth3x3")
                call = f"cheep_depth3x3(rows{y}{plane}, {stage.row_bytes}, {stride}, {words} + 5 * c, {rows} + c, "
                call += f"{to}{own}, {stage.pitch}, {columns}, {limit}"
        else:
            self.kernels.add("depth")
            flat = np.ascontiguousarray(weights.transpose(2, 0, 1))
            w = self._constants.array("int8_t", f"{name}_weights", flat, f"[{n}][{height}][{width}]")
            call = f"cheep_depth(rows{y}{plane}, {stage.row_bytes}, {stride}, {w} + {height * width} * c, "
            call += f"{height}, {width}, {rows} + c, {to}{own}, {stage.pitch}, {columns}, {limit}"
        return [*code, *loops, call, "}" * len(loops)] if len(loops) > 1 else [*code, *loops, call, "}"]

    def _point(self, k: int, out: str, step: int, pixel_step: int) -> list[str]:
        stage = self._p.stages[k]
        point, name = stage.point, f"{self._prefix}_point{k + 1}"
        channels = stage.point_channels
        n, columns, made = len(channels.fast), point.output.shape[2], stage.out.shape[2]
        if not stage.matrix:
            rows = self._constants.structs("cheep_channel", f"{name}_channels", channels.fast, 16)
            if stage.single:
                return self._single(k, stage, name, rows, channels, n, columns, made, out, step, pixel_step)
            return self._image(stage, name, rows, channels, n, made, out, step, pixel_step)
        shape, rows = self._matrix(stage, name, step, pixel_step)
        sums = out == "sums"
        kind = stage.pool_kind or ("sum" if sums else "store")
        call = f"{self._kernel(kind.upper(), stage, channels.limit, name)}({shape}, {rows}, scratch + {stage.values}"
        if not sums:
            return [f"{call}, {out});"]
        if not stage.pool:
            return [f"{call}, {self._sums});"]
        self.kernels.add("add_up")
        row = f"scratch + {stage.row}"
        return [f"{call}, {row});", f"cheep_add_up({row}, {made}, {n}, {self._sums});"]

    def _kernel(self, kind: str, stage: Stage, limit: str, name: str) -> str:
        """Return the matrix kernel's function for a kind of result, and have it made."""
        packed, limit = self._packed[name], limit.removeprefix("CHEEP_")
        wide = packed.chunk < packed.fours
        self.kernels.add(f"pack{stage.pixels}")
        if wide or stage.pixels == 1 or kind == "MEAN" or limit in ("CLAMP", "ANY"):  # not written by hand
            self.kernels.add(f"block{stage.pixels}")
            self.wrappers.add((f"CHEEP_MATRIX_C({kind}, {stage.pixels}, {str(wide).lower()}, {limit})", ""))
            return f"cheep_{kind}{stage.pixels}_{limit}_{str(wide).lower()}"
        self.kernels |= {"group", f"block{stage.pixels}"}
        self.wrappers.add((f"CHEEP_MATRIX({kind}, {stage.pixels}, {limit})", ""))
        return f"cheep_{kind}{stage.pixels}_{limit}"

    def _matrix(self, stage: Stage, name: str, step: int, pixel_step: int) -> tuple[str, str]:
        """Define the ``cheep_matrix`` of a stage; returns it and the first row under the filter."""
        point, channels = stage.point, stage.point_channels
        filters = matrix.filter_rows(point.attributes["weights"], stage.pieces)
        filters = np.pad(filters, ((0, 0), (0, 4 * stage.fours - filters.shape[1])))
        packed = self._packed[name] = matrix.pack(filters, channels)
        n, columns, pixels = len(channels.fast), point.output.shape[2], stage.pixels
        w = self._constants.array("int8_t", f"{name}_weights", packed.weights, f"{n} filters of {4 * packed.fours}")
        rows = self._constants.structs("cheep_channel", f"{name}_channels", packed.channels, 16)
        pool_h, pool_w = stage.pool_size
        if stage.depth:
            dy, dx, row_step, base, piece_step = columns * stage.pitch, stage.pitch, 0, "values", 0
        else:
            a = stage.front.attributes
            dx, row_step, base = a["stride_w"] * stage.source_channels, a["dilation_h"] * stage.row_bytes, "rows"
            dy, piece_step = a["stride_h"] * stage.row_bytes, a["dilation_w"] * stage.source_channels
        if stage.pool:
            offsets = [dy * y + dx * x for y in range(pool_h) for x in range(pool_w)]
            offsets, advance = [offsets[i % len(offsets)] for i in range(4)], pool_w * dx
            groups, last = stage.out.shape[2], 4
        else:
            offsets, advance = [dx * i if i < pixels else 0 for i in range(4)], pixels * dx
            groups = -(-columns // pixels)
            last = columns - pixels * (groups - 1)
        height = 1 if stage.depth else stage.kernel[0]
        numbers = [n, height, stage.pieces, stage.row_fours // stage.pieces, packed.fours, groups, last, packed.chunk]
        text = f"{w}, {rows}, {{{', '.join(map(str, offsets))}}}, {advance}, {row_step}, {piece_step}, "
        text += ", ".join(map(str, [step, pixel_step, *numbers]))
        text += f", {{{channels.range_[0]}, {channels.range_[1]}}}"
        return self._constants.struct("cheep_matrix", f"{name}_matrix", text, 64), base

    def _pool(self, stage: Stage, out: str) -> list[str]:
        self.kernels.add("pool_row")
        a, channels = stage.point.attributes, stage.source.shape[3]
        sizes = f"{a['filter_h']}, {a['filter_w']}, {a['stride_w'] * channels}, {channels}, {stage.out.shape[2]}"
        return [f"cheep_pool_row(rows, {stage.row_bytes}, {sizes}, {out}, {str(a['mean']).lower()});"]

    def _image(self, stage, name, rows, channels, n, made, out, step, pixel_step) -> list[str]:
        self.kernels.add("image_max")
        words = taps(stage.point.attributes["weights"][..., 0].transpose(1, 2, 0))
        w = self._constants.array("uint32_t", f"{name}_taps", words, f"[{n}][5]")
        before = f"cheep_image_max(rows + 2 * x, {stage.row_bytes}, {w}, {rows}, {n}, "
        after = f", {channels.limit}, {channels.range_text});"
        return self._store(stage, f"for (int x = 0; x < {made}; ++x) {{", before, after, n, out, step, pixel_step)

    def _store(
        self, stage, loop: str, before: str, after: str, n: int, out: str, step: int, pixel_step: int
    ) -> list[str]:
        """A loop over columns whose kernel writes its bytes to the next stage, or to be summed up by the mean."""
        if out != "sums":
            return [loop, f"{before}{out} + x * {pixel_step}, {step}{after}", "}"]
        self.kernels.add("add_up")
        row = f"scratch + {stage.row}"
        return [loop, f"{before}{row}, 1{after}", f"cheep_add_up({row}, 1, {n}, {self._sums});", "}"]

    def _single(self, k, stage, name, rows, channels, n, columns, made, out, step, pixel_step) -> list[str]:
        self.kernels.add("single_max")
        weights = 2 * stage.point.attributes["weights"].astype(np.int64).reshape(-1)
        pairs = (np.maximum(weights, 0) & 0xFFFF) | ((np.minimum(weights, 0) & 0xFFFF) << 16)
        w = self._constants.array("uint32_t", f"{name}_pairs", pairs, "(positive, negative) weight of each filter")
        loop = f"for (int x = 0; x < {made}; ++x) {{\n"
        if stage.block:
            self.kernels.add("extremes")
            depth, own = stage.depth_channels, f"{self._prefix}_depth{k + 1}"
            table = self._constants.array("uint32_t", f"{own}_taps", taps(stage.depth.attributes["weights"]))
            fixed = self._constants.structs("cheep_channel", f"{own}_channels", depth.fast, 16)
            loop += f"const uint32_t v = cheep_extremes(rows + 2 * x, {stage.row_bytes}, {table}, {fixed}, "
            loop += f"{depth.limit}, {depth.range_text});"
        else:
            pool_h, pool_w = stage.pool_size
            offsets = [(y, x) for y in range(pool_h) for x in range(pool_w)]
            offsets = [offsets[i % len(offsets)] for i in range(4)]
            at = ", ".join(f"p[{dy * columns + dx}]" for dy, dx in offsets)
            loop += f"const int8_t *const p = values + {pool_w} * x;\nconst uint32_t v = cheep_extremes_of({at});"
        before = f"cheep_single_max(v, {w}, {rows}, {n}, "
        after = f", {channels.limit}, {channels.range_text});"
        first, *rest = self._store(stage, loop, before, after, n, out, step, pixel_step)
        return [*first.split("\n"), *rest]

    def reset(self) -> list[str]:
        """Statements that start a window: padding in place, nothing held."""
        code = []
        for k, stage in enumerate(self._p.stages):
            size = stage.rows * stage.row_bytes
            code.append(f"memset(bytes + {self._base + stage.ring}, {stage.fill & 255}, {size});")
            code.append(f"{self._held(k)} = {stage.front.attributes['pad_top']};")
        code += [f"{self._waiting(j)} = 0;" for j in range(len(self._p.fifos))]
        code.append(f"{self.made} = 0;")
        if self._p.mean:
            code.append(f"memset({self._sums}, 0, {4 * self._p.mean.output.size});")
        return code

    def row(self, source: str) -> list[str]:
        """Statements that give one input row at ``source`` to who reads it."""
        columns, channels = self._p.source.shape[2:]
        code = self._give(self._p.targets, source, columns, channels, "")
        return code + [f"{self._prefix}_advance{t.index + 1}(memory);" for t in self._p.targets if t.kind == "stage"]

    def flush(self) -> list[str]:
        """Statements that push the padding below the window through the stages."""
        code = []
        for k, stage in enumerate(self._p.stages):
            if stage.pad_bottom:
                ring = f"bytes + {self._base + stage.ring} + {self._held(k)} * {stage.row_bytes}"
                code += [
                    f"for (int i = 0; i < {stage.pad_bottom}; ++i) {{",
                    f"memset({ring}, {stage.fill & 255}, {stage.row_bytes});",
                    f"{self._prefix}_advance{k + 1}(memory);",
                    "}",
                ]
        return code

    def finish(self, sums: str, out: str) -> list[str]:
        """Statements that make the mean's bytes at ``out`` from the sums, where a mean ends the pipeline."""
        mean = self._p.mean
        if mean is None:
            return []
        loop = [f"for (int c = 0; c < {mean.output.size}; ++c) {{"]
        if mean.op == "AVERAGE_POOL_2D":
            self.kernels.add("limit")
            n = mean.inputs[0].size // mean.output.size
            low, high = fixedpoint.activation_range(
                mean.attributes["activation"], mean.output.scale, mean.output.zero_point
            )
            return [
                *loop,
                f"const int32_t sum = {sums}[c];",
                f"({out})[c] = cheep_limit((sum > 0 ? sum + {n // 2} : sum - {n // 2}) / {n}, {low}, {high});",
                "}",
            ]
        self.kernels |= {"limit"}
        multiplier, shift, n = mean_constants(mean)
        zero = n * mean.inputs[0].zero_point
        return [
            *loop,
            f"({out})[c] = cheep_limit(cheep_scale({sums}[c] - {zero}, {multiplier}, {max(shift, 0)}, "
            f"{max(-shift, 0)}) + {mean.output.zero_point}, -128, 127);",
            "}",
        ]
