"""The C functions of a :class:`cheep.compiler.pipeline.Pipeline`."""

from __future__ import annotations

import numpy as np

from cheep.compiler import matrix
from cheep.compiler.constants import Constants
from cheep.compiler.lower import mean_constants, title, wrapper_name
from cheep.compiler.pipeline import Pipeline, Stage


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
        self.wrappers: set[tuple[str, str]] = set()
        self._packed: dict[str, matrix.Packed] = {}

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
        ]
        lines += [] if stage.image else [f"int8_t *const scratch = bytes + {self._p.n_bytes};"]
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
        code = [
            f"/* values int8[{stage.pool_size[0]}][{columns}][{stage.pitch}] [row][column][channel] */",
            "int8_t *const values = scratch;",
        ]
        step = stage.front.attributes["stride_h"] * stage.row_bytes
        row_values = columns * stage.pitch
        if stage.pool_size[0] > 1:
            code.append(f"for (int y = 0; y < {stage.pool_size[0]}; ++y) {{")
            at, to = f"rows + y * {step}", f"values + y * {row_values}"
        else:
            at, to = "rows", "values"
        code.append(f"for (int c = 0; c < {n}; ++c) {{")
        to += "" if stage.single else " + c"
        tail = f"{to}, {stage.pitch}, {columns}, {channels.limit}, {channels.range_text});"
        if (height, width) == (3, 3):
            self.kernels.add("depth3x3")
            words = self._constants.array("uint32_t", f"{name}_taps", taps(weights), f"[{n}][5]")
            code.append(
                f"cheep_depth3x3({at} + c * {stage.width}, {stage.row_bytes}, {stride}, {words} + 5 * c, "
                f"{rows} + c, {tail}"
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
        n, columns, made = len(channels.fast), point.output.shape[2], stage.out.shape[2]
        if not stage.matrix:
            rows = self._constants.structs("cheep_channel", f"{name}_channels", channels.fast, 16)
            if stage.single:
                return self._single(stage, name, rows, channels, n, columns, made, out, step, pixel_step)
            return self._image(stage, name, rows, channels, n, made, out, step, pixel_step)
        shape, rows = self._matrix(stage, name, step, pixel_step)
        sums = self._p.mean is not None and k + 1 == len(self._p.stages)
        kind = stage.pool_kind or ("sum" if sums else "store")
        packed = self._packed[name]
        kernel = f"{kind}{stage.pixels}" + "_wide" * (packed.chunk < packed.fours)
        self.kernels.add(f"matrix{stage.pixels}")
        self.wrappers.add((kernel, channels.limit))
        call = f"{wrapper_name(kernel, channels.limit)}({shape}, {rows}, scratch + {stage.values}"
        if not sums:
            return [f"{call}, {out});"]
        if not stage.pool:
            return [f"{call}, memory->sums);"]
        return [
            f"int8_t *const row = scratch + {stage.row};", f"{call}, row);", f"for (int i = 0; i < {made}; ++i) {{",
            f"for (int c = 0; c < {n}; ++c) {{", f"memory->sums[c] += row[{n} * i + c];", "}", "}",
        ]  # fmt: skip

    def _matrix(self, stage: Stage, name: str, step: int, pixel_step: int) -> tuple[str, str]:
        """Define the ``cheep_matrix`` of a stage; returns it and the first row under the filter."""
        point, channels = stage.point, stage.point_channels
        packed = self._packed[name] = matrix.pack(matrix.filter_rows(point.attributes["weights"]), channels)
        n, columns, pixels = len(channels.fast), point.output.shape[2], stage.pixels
        w = self._constants.array("int8_t", f"{name}_weights", packed.weights, f"{n} filters of {4 * packed.fours}")
        rows = self._constants.structs("cheep_channel", f"{name}_channels", packed.channels, 16)
        pool_h, pool_w = stage.pool_size
        if stage.depth:
            dy, dx, row_step, base = columns * stage.pitch, stage.pitch, 0, "values"
        else:
            a = stage.front.attributes
            dx, row_step, base = a["stride_w"] * stage.source_channels, stage.row_bytes, "rows"
            dy = a["stride_h"] * stage.row_bytes
        if stage.pool:
            offsets = [dy * y + dx * x for y in range(pool_h) for x in range(pool_w)]
            offsets, advance = [offsets[i % len(offsets)] for i in range(4)], pool_w * dx
            groups, last = stage.out.shape[2], 4
        else:
            offsets, advance = [dx * i if i < pixels else 0 for i in range(4)], pixels * dx
            groups = -(-columns // pixels)
            last = columns - pixels * (groups - 1)
        if self._p.mean is not None and stage is self._p.stages[-1] and stage.pool:
            step, pixel_step = 1, n
        height = 1 if stage.depth else stage.kernel[0]
        numbers = [n, height, stage.row_fours, packed.fours, groups, last, packed.chunk]
        text = f"{w}, {rows}, {{{', '.join(map(str, offsets))}}}, {advance}, {row_step}, {step}, {pixel_step}, "
        text += ", ".join(map(str, numbers)) + f", {{{channels.range_[0]}, {channels.range_[1]}}}"
        return self._constants.struct("cheep_matrix", f"{name}_matrix", text, 60), base

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
        """A loop over columns whose kernel writes its bytes to the next stage, or to be summed by the MEAN."""
        if self._p.mean is None or stage is not self._p.stages[-1]:
            return [loop, f"{before}{out} + x * {pixel_step}, {step}{after}", "}"]
        add = [f"for (int c = 0; c < {n}; ++c) {{", "memory->sums[c] += made[c];", "}"]
        return [loop, f"int8_t made[{n}];", f"{before}made, 1{after}", *add, "}"]

    def _single(self, stage, name, rows, channels, n, columns, made, out, step, pixel_step) -> list[str]:
        self.kernels.add("single_max")
        weights = 2 * stage.point.attributes["weights"].astype(np.int64).reshape(-1)
        pairs = (np.maximum(weights, 0) & 0xFFFF) | ((np.minimum(weights, 0) & 0xFFFF) << 16)
        w = self._constants.array("uint32_t", f"{name}_pairs", pairs, "(positive, negative) weight of each filter")
        pool_h, pool_w = stage.pool_size
        offsets = [(y, x) for y in range(pool_h) for x in range(pool_w)]
        offsets = [offsets[i % len(offsets)] for i in range(4)]
        values = ", ".join(f"v[{dy * columns + dx}]" for dy, dx in offsets)
        loop = f"for (int x = 0; x < {made}; ++x) {{\nconst int8_t *const v = values + {pool_w} * x;"
        before = f"cheep_single_max({values}, {w}, {rows}, {n}, "
        after = f", {channels.limit}, {channels.range_text});"
        first, *rest = self._store(stage, loop, before, after, n, out, step, pixel_step)
        return [*first.split("\n"), *rest]

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
            return [
                f"memcpy({to} + {left * channels}, {source}, {width * channels});",
                f"{self._prefix}_advance1(memory);",
            ]
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
