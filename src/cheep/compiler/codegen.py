# SPDX-License-Identifier: MIT
"""Graph -> the text of ``model_compiled.c`` and ``model_compiled.h``."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import numpy as np

from cheep.compiler import ctext, incremental, layers, lower, pipeline, rows
from cheep.compiler.constants import Constants
from cheep.compiler.header import CTYPES, header, header_name, parameters
from cheep.compiler.kernels import kernel_parts, needed_parts, wrapper_text
from cheep.compiler.plan import Plan, make_plan, peak_bytes
from cheep.compiler.step import SlowLayer, Step
from cheep.tflite.graph import Graph, Node, Tensor

_INTERPRETER, _PER_NODE = 1024, 128  # bytes of an interpreter's arena besides its tensors, at the least
_FEWER_STAGES = (12, 8, 6, 4, 3, 2, 1)


@dataclasses.dataclass(frozen=True)
class Compiled:
    """The generated files and what is known about them.

    ``memory_bytes``: working memory of a whole window; ``constant_bytes``: weights and tables; ``macs``: multiply-
    accumulates; ``stream``: None, or a dict with the incremental mode's ``stride_rows`` and ``memory_bytes``;
    ``slow``: the layers that are not on the fast path; ``states``: whether it keeps values from run to run, and has a
    reset function.
    """

    source: str
    header: str
    prefix: str
    memory_bytes: int
    constant_bytes: int
    macs: int
    stream: dict[str, int] | None
    slow: tuple[SlowLayer, ...] = ()
    states: bool = False


def generate(
    graph: Graph, prefix: str, mark: str, sha256: str, feature_hash: str, row_pipeline: bool = True,
    role: ctext.Role = "alone",
) -> Compiled:  # fmt: skip
    """Generate C for ``graph`` (after the passes).

    Parameters
    ----------
    prefix : str
        Of every public name.
    mark : str
        The first line of both files, as C comment text.
    sha256 : str
        Of the model file.
    feature_hash : str
        Eight hexadecimal digits, or "" where the model carries no feature settings.
    row_pipeline : bool
        False: one operator at a time, whole tensors (for tests).
    role : str
        Of the network in a firmware (:func:`cheep.compiler.compile_bytes`).
    """

    def generator(most: int, narrow: bool) -> _Generator:
        return _Generator(graph, prefix, mark, sha256, feature_hash, row_pipeline, most, narrow, role)

    if not row_pipeline:
        return generator(1, False).run()
    return generator(*_shape(graph, generator)).run()


def _shape(graph: Graph, generator: Callable[[int, bool], _Generator]) -> tuple[int, bool]:
    """Return (stages of a pipeline at the most, whether layers take one pixel at a time): the fastest that fits.

    Rows of very many stages can take more than an interpreter's arena does: then shorter pipelines, one after the
    other, and then less scratch memory at the price of speed; at last no rows at all, and convolutions pixel by pixel.
    """
    first = (pipeline.ALL, False)
    if generator(*first).streams or not any(n.op in ("CONV", "DEPTHWISE") for n in graph.nodes):
        return first
    inputs = sum(t.n_bytes for t in graph.inputs)
    bound = peak_bytes(graph) + _INTERPRETER + _PER_NODE * len(graph.nodes) - inputs
    best, least = first, generator(*first).memory_bytes()
    for narrow, most in itertools.product((False, True), (pipeline.ALL, *_FEWER_STAGES)):
        if least <= bound:
            break
        n_bytes = generator(most, narrow).memory_bytes()
        best, least = ((most, narrow), n_bytes) if n_bytes < least else (best, least)
    if least > bound and generator(0, True).memory_bytes() < least:
        return 0, True
    return best


class _Generator:
    def __init__(
        self, graph: Graph, prefix: str, mark: str, sha256: str, feature_hash: str, row_pipeline: bool,
        most: int, narrow: bool, role: ctext.Role = "alone",
    ):  # fmt: skip
        self._graph, self._prefix, self._mark = graph, prefix, mark
        self._sha256, self._hash = sha256, feature_hash
        self._constants = Constants()
        self._most, self._narrow, self._role = most, narrow, role
        pipe = pipeline.find(graph, most, narrow) if row_pipeline else None
        # What neither streams nor hears the whole window first shares its memory with what follows.
        # So do several networks on one window, one after the other.
        self._pipe = pipe if pipe and (pipe.streams or pipe.head) and pipe.alone(graph) else None

    @property
    def streams(self) -> bool:
        """Whether the network has an incremental mode."""
        return self._pipe is not None and self._pipe.streams

    def memory_bytes(self) -> int:
        """Return the bytes of working memory (and make nothing else)."""
        self._constants.names_only = True
        return self._bytes(self._planned()[-2])

    def _planned(self):
        """Return (what follows the first pipeline, pipelines in it, steps, plan, words of memory, result's offset)."""
        rest, regions = self._divide()
        steps = [self._step(item, i) for i, item in enumerate(rest)]
        self._counters = sum(p.counters for p in (self._pipe, *regions) if p)
        tail_inputs = [self._pipe.result] if self._pipe else list(self._graph.inputs)
        plan = make_plan(steps, tail_inputs, self._graph.outputs, self._graph.states)
        return rest, regions, steps, plan, *self._memory(plan)

    def _bytes(self, words: int) -> int:
        size = 8 * words + 4 * self._counters
        if self._pipe and self._pipe.mean:
            size += 4 * self._pipe.mean.output.size
        return -(-size // 8) * 8

    def run(self) -> Compiled:
        """Return the files."""
        prefix, pipe = self._prefix, self._pipe
        rest, regions, steps, plan, words, result = self._planned()
        head = self._head_steps()
        kernels = {"base"} | {k for s in (*head, *steps) for k in s.kernels}
        wrappers = {w for s in (*head, *steps) for w in s.wrappers}
        self._writers: list[rows.Writer] = []
        stage_text: list[str] = []
        main = None
        if pipe:
            main = rows.Writer(
                pipe, prefix, f"{prefix}_memory", self._constants, scratch=pipe.n_bytes, final=f"bytes + {pipe.final}"
            )
            self._writers.append(main)
            stage_text = main.functions()
        body, region_text = self._functions(steps, plan, main, result, head)
        kernels |= {k for w in self._writers for k in w.kernels}
        wrappers |= {w for writer in self._writers for w in writer.wrappers}
        text = self._source(kernels, sorted(wrappers), [*stage_text, *region_text], body)
        size = self._bytes(words)
        plain = [item for item in rest if not isinstance(item, pipeline.Pipeline)]
        macs = sum(map(layers.macs, [*plain, *(n for p in (pipe, *regions) if p for n in p.nodes)]))
        text_of_header = header(self._graph, prefix, self._mark, self._hash, pipe, self._counters, words, size)
        slow = [s.slow for s in steps] + [
            layers.slow_scales(node, channels)
            for p in (pipe, *regions) if p for stage in p.stages
            for node, channels in stage.layers
        ]  # fmt: skip
        found = tuple(s for s in slow if s)
        stream = incremental.facts(pipe, size)
        weights, states = self._constants.n_bytes, bool(self._graph.states)
        return Compiled(text, text_of_header, prefix, size, weights, macs, stream, found, states)

    def _divide(self) -> tuple[list[Node | pipeline.Pipeline], list[pipeline.Pipeline]]:
        """Return what follows the first pipeline, in order: nodes, and pipelines that start inside the network."""
        graph, pipe = self._graph, self._pipe
        made = {id(t) for n in pipe.nodes for t in n.outputs} if pipe else set()
        taken = {id(n) for n in graph.nodes if any(id(t) in made for t in n.outputs)}
        regions = pipeline.find_more(graph, taken, self._most, self._narrow)
        by_result = {id(p.result): p for p in regions}
        items = [by_result.get(id(n.output), n) for n in graph.nodes if id(n) not in taken or id(n.output) in by_result]
        needed = {id(t) for t in graph.results}
        kept: list[Node | pipeline.Pipeline] = []
        for item in reversed(items):  # relabellings inside of pipelines need no code
            outs = [item.result] if isinstance(item, pipeline.Pipeline) else item.outputs
            if any(id(t) in needed for t in outs):
                kept.append(item)
                reads = [item.source] if isinstance(item, pipeline.Pipeline) else item.variable_inputs
                needed |= {id(t) for t in reads}
        return kept[::-1], regions

    def _step(self, item: Node | pipeline.Pipeline, i: int) -> Step:
        if not isinstance(item, pipeline.Pipeline):
            if item.op == "CONV" and self._most == 0:
                item = dataclasses.replace(item, attributes={**item.attributes, "one_pixel": True})
            return lower.lower(item, f"{self._prefix}_n{i}", self._constants)
        sums = 4 * item.mean.output.size if item.mean else 0
        title = f"Row by row: {len(item.stages)} stages"
        scratch = item.n_bytes + item.scratch_bytes + sums
        return Step(title, [item.source], [item.result], lambda p, s: [], set(), scratch=scratch, rows=item)

    def _region(self, pipe: pipeline.Pipeline, i: int, pointer, at: int) -> tuple[list[str], list[str]]:
        """Return (stage functions, statements) of a pipeline inside the network; ``at``: where its memory begins."""
        name = f"{self._prefix}_r{i}"
        counter = sum(w.pipeline.counters for w in self._writers)
        result = pointer(pipe.result)
        sums = f"((int32_t *)(void *)(bytes + {at + pipe.n_bytes + pipe.scratch_bytes}))"
        writer = rows.Writer(
            pipe, name, f"{self._prefix}_memory", self._constants,
            base=at, scratch=at + pipe.n_bytes, counter=counter, final=result, sums=sums,
        )  # fmt: skip
        self._writers.append(writer)
        text = writer.functions()
        row = pipe.source.shape[2] * pipe.source.shape[3]
        source = f"{pointer(pipe.source)} + y * {row}"
        code = writer.reset()
        code += [f"for (int y = 0; y < {pipe.source.shape[1]}; ++y) {{", *writer.row(source), "}", *writer.flush()]
        code += writer.finish(sums, result)
        return text, code

    def _memory(self, plan: Plan) -> tuple[int, int]:
        """Return (64-bit words of memory, offset of the pipeline's result)."""
        pipe = self._pipe
        if not pipe:  # the states lie behind the tensors
            words = -(-plan.n_bytes // 8)
            self._states = []
            for state in self._graph.states:
                self._states.append(8 * words)
                words += -(-state.before.n_bytes // 8)
            return max(1, words), 0
        # The tail's tensors share the stages' scratch: stages are at rest when the tail runs.
        self._arena = pipe.n_bytes
        result = pipe.final
        shared = max(pipe.scratch_bytes, plan.n_bytes)
        if pipe.mean:  # the mean's bytes come after the tail's tensors
            result = pipe.n_bytes + plan.n_bytes
            shared = max(pipe.scratch_bytes, plan.n_bytes + -(-pipe.mean.output.n_bytes // 8) * 8)
        return (pipe.n_bytes + shared) // 8, result

    _arena = 0
    _counters = 0
    _states: Sequence[int] = ()  # offsets of the states in the memory

    def _pointer(self, plan: Plan, result: int):
        def pointer(tensor: Tensor) -> str:
            kind, place = plan.location[id(tensor)]
            if kind == "arena":
                text = f"bytes + {self._arena + place}"
                return f"({CTYPES[tensor.dtype]} *)(void *)({text})" if tensor.dtype != "int8" else text
            if kind == "input" and self._pipe:
                return f"bytes + {result}"
            state = place - len(self._graph.inputs if kind == "input" else self._graph.outputs)
            if state >= 0:
                return self._state_pointer(state)
            owner = self._graph.outputs[place] if kind == "output" else tensor  # a table in place may change the type
            return (
                f"{kind}{place}" if owner.dtype == tensor.dtype else f"({CTYPES[tensor.dtype]} *)(void *){kind}{place}"
            )

        return pointer

    def _state_pointer(self, index: int) -> str:
        state, text = self._graph.states[index], f"bytes + {self._states[index]}"
        return text if state.before.dtype == "int8" else f"({CTYPES[state.before.dtype]} *)(void *)({text})"

    def _reset_function(self) -> list[str]:
        """Return the function that gives the states their first values."""
        code = []
        for i, state in enumerate(self._graph.states):
            n_bytes, values = state.before.n_bytes, np.frombuffer(state.initial.tobytes(), np.int8)
            if np.all(values == values[0]):
                code.append(f"memset({self._state_pointer(i)}, {int(values[0]) & 255}, {n_bytes});")
            else:
                ref = self._constants.array("int8_t", f"{self._prefix}_initial{i}", values)
                code.append(f"memcpy({self._state_pointer(i)}, {ref}, {n_bytes});")
        declare = "int8_t *const bytes = (int8_t *)memory->words;"
        return [f"void {self._prefix}_reset({self._prefix}_memory *memory) {{", declare, *code, "}", ""]

    def _head_steps(self) -> list[Step]:
        """Return the steps of the pipeline's head: once for the window, once for each row."""
        head = self._pipe.head if self._pipe else None
        if not head:
            return []
        nodes = (head.peak, head.row_difference)
        return [lower.lower(n, f"{self._prefix}_head{i}", self._constants) for i, n in enumerate(nodes)]

    def _head_lines(self, steps: list[Step], row: str) -> tuple[list[str], list[str], str]:
        """Return (statements before the rows, statements of a row, pointer to what the stages take)."""
        head = self._pipe.head if self._pipe else None
        if not head:
            return [], [], row
        peak, difference = steps
        value, made = f"bytes + {head.value}", f"bytes + {head.row}"
        once = peak.lines(lambda t: value if t is head.peak.output else "input0", "")
        out = difference.writes[0]
        pointer = lambda t: value if t is head.peak.output else made if t is out else row  # noqa: E731
        return [f"/* {peak.title} */", *once], [f"/* {difference.title} */", *difference.lines(pointer, "")], made

    def _functions(self, steps, plan: Plan, writer, result: int, head: list[Step]) -> tuple[list[str], list[str]]:
        """Return (the network's functions, the functions of pipelines inside it)."""
        graph, prefix, pipe = self._graph, self._prefix, self._pipe
        pointer = self._pointer(plan, result)
        code: list[str] = []
        inner: list[str] = []
        for i, step in enumerate(steps):
            if step.alias:
                continue
            at = self._arena + plan.scratch[i]
            if step.rows:
                functions, lines = self._region(step.rows, i, pointer, at)
                inner += functions
            else:
                lines = step.lines(pointer, f"bytes + {at}")
            code += [f"/* {step.title} */", *lines]
        for tensor, i in plan.copies:
            state = i - len(graph.outputs)
            to = f"output{i}" if state < 0 else self._state_pointer(state)
            code.append(f"memcpy({to}, {pointer(tensor)}, {tensor.n_bytes});")
        ins, outs = parameters(graph)
        uses_bytes = any("bytes" in line for line in code)
        text: list[str] = []
        declare = "int8_t *const bytes = (int8_t *)memory->words;"
        if not pipe:
            text += self._reset_function() if graph.states else []
            text += [f"void {prefix}_invoke({prefix}_memory *memory, {ins}, {outs}) {{"]
            text += [declare] if uses_bytes else ["(void)memory;"]
            unread = [f"input{i}" for i in range(len(graph.inputs)) if not any(f"input{i}" in line for line in code)]
            text += [f"(void){name};" for name in unread]
            return [*text, *code, "}"], inner
        names = ", ".join(f"output{i}" for i in range(len(graph.outputs)))
        sums = "const int32_t *sums, " if pipe.mean else ""
        text += [
            "/* What follows the stages, whole tensors at a time. */",
            f"static void {prefix}_tail({prefix}_memory *memory, {sums}{outs}) {{",
            declare,
        ]
        text += writer.finish("sums", f"bytes + {result}")
        text += [*code, "}", ""]
        text += [f"static void {prefix}_start({prefix}_memory *memory) {{", declare, *writer.reset(), "}", ""]
        row = pipe.source.shape[2] * pipe.source.shape[3]
        text += [f"static void {prefix}_row({prefix}_memory *memory, const int8_t *row) {{", declare]
        text += [*writer.row("row"), "}", ""]
        text += [f"void {prefix}_invoke({prefix}_memory *memory, {ins}, {outs}) {{"]
        flush = writer.flush()
        once, each, given = self._head_lines(head, f"input0 + y * {row}")
        text += [declare] if flush or head else []
        passed = "memory->sums, " if pipe.mean else ""
        text += [
            f"{prefix}_start(memory);",
            *once,
            f"for (int y = 0; y < {pipe.source.shape[1]}; ++y) {{",
            *each,
            f"{prefix}_row(memory, {given});",
            "}",
            *flush,
            f"{prefix}_tail(memory, {passed}{names});",
            "}",
        ]
        return [*text, *(incremental.functions(prefix, pipe, outs, names, writer.made) if pipe.streams else [])], inner

    def _source(self, kernels: set[str], wrappers, stage_text: list[str], body: list[str]) -> str:
        parts = kernel_parts()
        needed = needed_parts(kernels)
        includes = [f"#include <{name}.h>" for name in ("stdbool", "stddef", "string")]
        lines = [f'#include "{header_name(self._prefix)}"', "", *includes, ""]
        text = f"/* {self._mark} */\n" + "\n".join(lines)
        text += "\n" + "\n".join(parts[name][1] for name in needed)
        for kernel, limit in wrappers:
            text += wrapper_text(kernel, limit)
        text += "\n" + "\n\n".join(self._constants.texts) + "\n\n"
        text += ctext.indented(stage_text) + ctext.indented(body) + "\n"
        if not self._is_detector():
            return text
        inputs, outputs = self._graph.inputs, self._graph.outputs
        states = [(t.size, int(t.zero_points[0])) for t in inputs[1:]]
        model_id, sizes = f"0x{self._sha256[:8]}u", (inputs[0].size, outputs[0].size)
        if self._role == "second":
            return text + ctext.second_adapter(self._prefix, model_id, *sizes)
        return text + ctext.adapter(
            self._prefix, model_id, *sizes, states, resets=bool(self._graph.states), shared=self._role == "first"
        )

    def _is_detector(self) -> bool:
        g = self._graph
        if len(g.inputs) != len(g.outputs) or any(t.dtype != "int8" for t in (*g.inputs, *g.outputs)):
            return False
        return all(  # states: cheep.tflite.state
            one.size == two.size
            and list(one.scales) == list(two.scales)
            and list(one.zero_points) == list(two.zero_points)
            for one, two in zip(g.inputs[1:], g.outputs[1:], strict=True)
        )
