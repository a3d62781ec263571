"""The C functions of a :class:`cheep.compiler.pipeline.Pipeline`."""

from __future__ import annotations

import numpy as np

from cheep.compiler.constants import Constants
from cheep.compiler.lower import mean_constants, pad_filters, title
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
        lane = "0" if stage.single else "((c & ~3) | (c & 1) << 1 | (c >> 1 & 1))"
        code = [
            f"/* values int16[{stage.pool_size[0]}][{columns}][{stage.lanes}] [row][column][channel, lanes 0 2 1 3] */",
            "int16_t *const values = (int16_t *)(void *)scratch;",
        ]
        step = stage.front.attributes["stride_h"] * stage.row_bytes
        row_values = columns * stage.lanes
        if stage.pool_size[0] > 1:
            code.append(f"for (int y = 0; y < {stage.pool_size[0]}; ++y) {{")
            at, to = f"rows + y * {step}", f"values + y * {row_values}"
        else:
            at, to = "rows", "values"
        code.append(f"for (int c = 0; c < {n}; ++c) {{")
        tail = f"{to} + {lane}, {stage.lanes}, {columns}, {channels.limit}, {channels.range_text});"
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
        rows = self._constants.structs("cheep_channel", f"{name}_channels", channels.fast, 16)
        n, columns, made = len(channels.fast), point.output.shape[2], stage.out.shape[2]
        pool_h, pool_w = stage.pool_size
        sums = self._p.mean is not None and k + 1 == len(self._p.stages)
        if stage.single:
            return self._single(stage, name, rows, channels, n, columns, made, out, step, pixel_step)
        if stage.image:
            return self._image(stage, name, rows, channels, n, made, out, step, pixel_step)
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
        loop = f"for (int x = 0; x < {made}; ++x) {{\nconst int16_t *const v = values + {pool_w} * x;"
        before = f"cheep_single_max({values}, {w}, {rows}, {n}, "
        after = f", {channels.limit}, {channels.range_text});"
        first, *rest = self._store(stage, loop, before, after, n, out, step, pixel_step)
        return [*first.split("\n"), *rest]

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
            code += [
                f"memcpy(patch + {ky * piece}, {start} + {ky * stage.row_bytes}, {piece});" for ky in range(height)
            ]
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
