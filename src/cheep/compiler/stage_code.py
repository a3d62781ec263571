# SPDX-License-Identifier: MIT
"""The arithmetic of a stage in C: how a row is made of those under its filter."""

from __future__ import annotations

import numpy as np

from cheep.compiler import matrix
from cheep.compiler.constants import Constants
from cheep.compiler.stages import Stage
from cheep.tflite.graph import Node


def taps(weights: np.ndarray) -> np.ndarray:
    """Return (channels, 5) int32: the words of ``cheep_depth3x3`` for weights (3, 3, channels), doubled."""
    w = 2 * weights.astype(np.int64)

    def pair(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return (low & 0xFFFF) | ((high & 0xFFFF) << 16)

    words = [pair(w[y, 0], w[y, 2]) for y in range(3)]
    words += [pair(w[0, 1], w[1, 1]), pair(w[2, 1], np.zeros_like(w[2, 1]))]
    return np.stack(words, axis=1)


class StageCode:
    """C statements of stages; ``kernels`` and ``wrappers`` collect what they call.

    ``prefix`` begins the names of their constants; ``sums`` is the expression of a mean's sums.
    """

    def __init__(self, prefix: str, constants: Constants, sums: str) -> None:
        self._prefix, self._constants, self._sums = prefix, constants, sums
        self.kernels: set[str] = set()
        self.wrappers: set[tuple[str, str]] = set()
        self._packed: dict[str, matrix.Packed] = {}

    def depth(self, k: int, stage: Stage, depth: Node) -> list[str]:
        """Return the depthwise layer of stage ``k``, its values to the scratch memory."""
        name = f"{self._prefix}_depth{k + 1}"
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

    def point(self, k: int, stage: Stage, out: str, step: int, pixel_step: int) -> list[str]:
        """Return the layer that makes the row of stage ``k``, and its pooling.

        ``out`` is the row's place, or "sums"; ``step`` lies between channels and ``pixel_step`` between columns, bytes.
        """
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

    def pool(self, stage: Stage, out: str) -> list[str]:
        """Return the pooling of a stage that has no other layer."""
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
