# SPDX-License-Identifier: MIT
"""The C functions of a :class:`cheep.compiler.pipeline.Pipeline`."""

from __future__ import annotations

from cheep.compiler import fixedpoint, lower
from cheep.compiler.constants import Constants
from cheep.compiler.pipeline import Pipeline
from cheep.compiler.reductions import mean_constants
from cheep.compiler.stage_code import StageCode
from cheep.compiler.stages import Stage, Target, row_node
from cheep.compiler.step import Pointers, title


def _pointers(places: dict[int, str]) -> Pointers:
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
        self._code = StageCode(prefix, constants, sums)
        self.kernels, self.wrappers = self._code.kernels, self._code.wrappers  # that this pipeline calls

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
        body += self._code.depth(k, stage, stage.depth) if stage.depth and not stage.block else []
        body += self._code.pool(stage, place[0]) if stage.pooling else self._code.point(k, stage, *place)
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
            if target.kind == "sums" and not self._p.largest:
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
            self.kernels.update(step.kernels)
            self.wrappers.update(step.wrappers)
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
                kernel = "keep_largest" if self._p.largest else "add_up"
                self.kernels.add(kernel)
                code.append(f"cheep_{kernel}({row}, {columns}, {channels}, {self._sums});")
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
            first = 128 if self._p.largest else 0  # 0x80808080: below every byte
            code.append(f"memset({self._sums}, {first}, {4 * self._p.mean.output.size});")
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
        """Statements that make the bytes of the mean (or maximum) that ends the pipeline at ``out``, from ``sums``."""
        mean = self._p.mean
        if mean is None:
            return []
        loop = [f"for (int c = 0; c < {mean.output.size}; ++c) {{"]
        if self._p.largest:
            return [*loop, f"({out})[c] = (int8_t){sums}[c];", "}"]
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
        self.kernels.add("limit")
        multiplier, shift, n = mean_constants(mean)
        zero = n * mean.inputs[0].zero_point
        return [
            *loop,
            f"({out})[c] = cheep_limit(cheep_scale({sums}[c] - {zero}, {multiplier}, {max(shift, 0)}, "
            f"{max(-shift, 0)}) + {mean.output.zero_point}, -128, 127);",
            "}",
        ]
