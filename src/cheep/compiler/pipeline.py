# SPDX-License-Identifier: MIT
"""Row by row: layers that never hold a whole activation.

Each stage keeps only the few input rows (time steps) that its kernel spans, as bytes. A new row that completes a
group makes the stage compute one row of its output, which becomes a row of the stages that read it. Residual additions
happen row by row too: the operand that comes earlier waits in a queue. Fed with the rows of a window this is the full
network; where no layer pads in time, it can be fed with new rows for ever, and the last rows are those of the full
window, bit for bit.
"""

from __future__ import annotations

import dataclasses
import math

from cheep.compiler.stages import Fifo, Post, Stage, Target, is_elementwise, make_stage, only_consumer
from cheep.tflite.graph import Graph, Node, Tensor

ALL = 1 << 30  # stages of a pipeline


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
    """The stages, the head before them, and the mean over time and frequency that may end them.

    ``targets``: who receives the rows of ``source``.
    """

    source: Tensor
    stages: list[Stage]
    fifos: list[Fifo]
    result: Tensor
    targets: list[Target] = dataclasses.field(default_factory=list)
    mean: Node | None = None
    head: Head | None = None
    n_bytes: int = 0  # rows of all stages
    scratch_bytes: int = 0
    final: int = 0  # offset of the last stage's rows, where no mean ends the chain

    @property
    def largest(self) -> bool:
        """Whether what ends the pipeline keeps the largest of each channel, in place of its mean."""
        return self.mean is not None and self.mean.op == "REDUCE_MAX"

    @property
    def streams(self) -> bool:
        """Whether only new rows need computing: no layer pads in time or hears the whole window first."""
        padded = any(s.front.attributes["pad_top"] or s.pad_bottom or s.rows < s.advance for s in self.stages)
        chain = all(len(t) == 1 for t in (self.targets, *(s.targets for s in self.stages)))
        return self.head is None and not padded and not self.fifos and chain

    def alone(self, graph: Graph) -> bool:
        """Say whether nothing outside of the pipeline reads the network's input."""
        inside = {id(t) for node in self.nodes for t in node.outputs}
        readers = [n for tensor in (graph.inputs[0], self.source) for n in graph.consumers(tensor)]
        return all(n.op == "ALIAS" or id(n.output) in inside for n in readers)

    @property
    def row_stride(self) -> int:
        """Input rows per row of the last stage."""
        return math.prod(s.advance for s in self.stages)

    @property
    def nodes(self) -> list[Node]:
        """All nodes that the pipeline computes."""
        before = [self.head.peak, self.head.difference] if self.head else []
        return before + [n for s in self.stages for n in s.nodes] + ([self.mean] if self.mean else [])

    @property
    def counters(self) -> int:
        """How many rows are counted: those of each stage and queue, and those of the result."""
        return len(self.stages) + len(self.fifos) + 1


class _Finder:
    """Grows a pipeline from ``source``, node by node in the order of execution."""

    def __init__(self, graph: Graph, source: Tensor, taken: set[int], most_stages: int):
        self._graph, self._taken, self._most = graph, taken, most_stages
        self._source = source
        self._makers: dict[int, int] = {id(source): -1}  # tensor -> the stage that makes it
        self._same: dict[int, Tensor] = {}  # relabelled tensor -> the tensor
        self._views: dict[int, list[Tensor]] = {}  # tensor -> its relabelled forms
        self.stages: list[Stage] = []
        self._adds: dict[int, tuple[int, Tensor]] = {}
        self._covered: set[int] = set()
        self._readers: dict[int, list[Node]] = {}
        for node in graph.nodes:
            for tensor in node.variable_inputs:
                self._readers.setdefault(id(tensor), []).append(node)
        self._outputs = {id(t) for t in graph.results}

    def grow(self) -> Pipeline | None:
        """Return the longest pipeline of which the rest of the network reads one tensor."""
        best = None
        for node in self._graph.nodes:
            if id(node) in self._taken or id(node) in self._covered:
                continue
            if not self._take(node):
                continue
            self._covered.add(id(node))
            if node.op != "ALIAS":
                best = self._cut() or best
        return best

    def _root(self, tensor: Tensor) -> Tensor:
        return self._same.get(id(tensor), tensor)

    def _inside(self, tensor: Tensor) -> bool:
        return id(self._root(tensor)) in self._makers

    def _take(self, node: Node) -> bool:
        inputs = node.variable_inputs
        if not inputs or not all(self._inside(t) for t in inputs):
            return False
        if node.op == "ALIAS":
            if node.output.shape != self._root(inputs[0]).shape:
                return False
            self._same[id(node.output)] = root = self._root(inputs[0])
            self._views.setdefault(id(root), []).append(node.output)
            return True
        if is_elementwise(node):
            return self._add(node)
        if len(self.stages) >= self._most:
            return False
        stage = make_stage(self._graph, node)
        if isinstance(stage, str) or stage.front.inputs[0].shape != self._root(inputs[0]).shape:
            return False
        self.stages.append(stage)
        self._covered |= {id(n) for n in stage.nodes} | {id(node)}
        self._makers[id(stage.out)] = len(self.stages) - 1
        return True

    def _add(self, node: Node) -> bool:
        """Give an element-wise node to the stage that makes its operand, or the later one of its two."""
        operands = [self._root(t) for t in node.variable_inputs]
        if len(operands) == 2 and operands[0] is operands[1]:
            return False
        for own, other in ((operands[-1], operands[0]), (operands[0], operands[-1])):
            k = self._makers[id(own)]
            if k < 0 or self.stages[k].out is not own or only_consumer(self._graph, own) is not node:
                continue
            stage = self.stages[k]
            stage.posts.append(Post(node, own, None))
            if own is not other:
                self._adds[id(node)] = (k, other)
            self._makers[id(node.output)] = k
            if own is other or self._cut(trial=True) is not None:
                return True
            stage.posts.pop()
            del self._adds[id(node)], self._makers[id(node.output)]
        return False

    def _cut(self, trial: bool = False) -> Pipeline | None:
        """Return the pipeline of all that was taken, if the rest of the network reads only its last tensor."""
        if not self.stages:
            return None
        for high_first in (True, False):
            made = self._link(high_first, trial)
            if made is not None:
                return made
        return None

    def _link(self, high_first: bool, trial: bool) -> Pipeline | None:
        stages = [dataclasses.replace(s, posts=[dataclasses.replace(p) for p in s.posts]) for s in self.stages]
        fifos: list[Fifo] = []
        targets: dict[int, list[Target]] = {}
        order = range(len(stages))
        for k in reversed(order) if high_first else order:
            targets.setdefault(id(self._root(stages[k].source)), []).append(Target("stage", k))
        for stage in stages:
            for post in stage.posts:
                if id(post.node) in self._adds:
                    other = self._adds[id(post.node)][1]
                    post.fifo = len(fifos)
                    targets.setdefault(id(other), []).insert(0, Target("fifo", len(fifos)))
                    fifos.append(Fifo(other))
        covered = {id(n) for s in stages for n in s.nodes} | self._covered
        outside = []
        for stage in stages:
            views = [stage.out, *self._views.get(id(stage.out), [])]
            read = any(id(n) not in covered for t in views for n in self._readers.get(id(t), []))
            if read or any(id(t) in self._outputs for t in views) or id(stage.out) not in targets:
                outside.append(stage.out)
            stage.targets = targets.get(id(stage.out), [])
        if len(outside) != 1 and not trial:
            return None
        final = next(s for s in stages if s.out is outside[0])
        final.targets = [*final.targets, Target("final")]
        made = Pipeline(self._source, stages, fifos, final.out, targets.get(id(self._source), []))
        return made if _schedule(made) else None


class _Empty(Exception):
    """A queue is read before a row is in it."""


class _DryRun:
    """The pipeline run with counters in place of rows; sets the queues' lengths."""

    def __init__(self, pipeline: Pipeline):
        self._stages, self._fifos = pipeline.stages, pipeline.fifos
        self._held = [s.front.attributes["pad_top"] for s in self._stages]
        self.waiting, self.made = [0] * len(self._fifos), 0

    def deliver(self, targets: list[Target]) -> None:
        """Give a row to queues and result, then to the stages that read it."""
        for t in targets:
            if t.kind == "fifo":
                self.waiting[t.index] += 1
                self._fifos[t.index].rows = max(self._fifos[t.index].rows, self.waiting[t.index])
            elif t.kind == "final":
                self.made += 1
        for t in targets:
            if t.kind == "stage":
                self.advance(t.index)

    def advance(self, k: int) -> None:
        """Give a row to a stage, which makes one where it holds enough."""
        stage = self._stages[k]
        self._held[k] += 1
        if self._held[k] < stage.rows:
            return
        self._held[k] = stage.rows - stage.advance
        for post in stage.posts:
            if post.fifo is not None:
                if self.waiting[post.fifo] == 0:
                    raise _Empty
                self.waiting[post.fifo] -= 1
        self.deliver(stage.targets)


def _schedule(pipeline: Pipeline) -> bool:
    """Run the pipeline with counters alone: False where a queue would be read empty; sets the queues' lengths."""
    run = _DryRun(pipeline)
    try:
        for _ in range(pipeline.source.shape[1]):
            run.deliver(pipeline.targets)
        for k, stage in enumerate(pipeline.stages):
            for _ in range(stage.pad_bottom):
                run.advance(k)
    except _Empty:
        return False
    return run.made == pipeline.result.shape[1] and not any(run.waiting)


def find(graph: Graph, most: int = ALL, narrow: bool = False) -> Pipeline | None:
    """Return the pipeline at the start of the network, of ``most`` stages, or None.

    ``narrow``: with less scratch memory, slower.
    """
    if len(graph.sources) != 1 or graph.inputs[0].dtype != "int8":
        return None
    tensor = _through_aliases(graph, graph.inputs[0])
    head = _head(graph, tensor)
    if head:
        tensor = head.difference.output
    if len(tensor.shape) != 4 or tensor.shape[1] < 2:
        return None
    readers = graph.consumers(tensor)
    if graph.is_output(tensor) or not readers:
        return None
    tensor = _through_aliases(graph, tensor)
    pipeline = _grown(graph, tensor, set(), head, most, narrow)
    if pipeline is not None and pipeline.mean is None:
        pipeline.final = pipeline.n_bytes
        pipeline.n_bytes += _round8(pipeline.result.n_bytes)
    return pipeline


def find_more(graph: Graph, taken: set[int], most: int = ALL, narrow: bool = False) -> list[Pipeline]:
    """Return the pipelines inside the network, of ``most`` stages.

    ``taken``: ids of the nodes that have their code already; changed in place.
    """
    found = []
    for node in graph.nodes:
        if id(node) in taken or node.op not in ("CONV", "DEPTHWISE") or isinstance(make_stage(graph, node), str):
            continue
        pipeline = _grown(graph, node.inputs[0], taken, None, most, narrow)
        if pipeline is not None:
            found.append(pipeline)
            taken |= {id(n) for n in graph.nodes if any(n.output is m.output for m in pipeline.nodes)}
    return found


def _grown(
    graph: Graph, source: Tensor, taken: set[int], head: Head | None, most: int, narrow: bool
) -> Pipeline | None:
    pipeline = _Finder(graph, source, taken, most).grow()
    if pipeline is None:
        return None
    pipeline.head = head
    for stage in pipeline.stages:
        stage.narrow = narrow
    last = pipeline.result
    stage = next(s for s in pipeline.stages if s.out is last)
    mean = only_consumer(graph, last)
    if stage.targets == [Target("final")] and mean is not None and _is_mean(mean, last):
        pipeline.mean, pipeline.result = mean, mean.output
        stage.targets = [Target("sums")]
    _place(pipeline)
    return pipeline


def _is_mean(node: Node, source: Tensor) -> bool:
    """Whether a node takes the mean, or the largest, over all rows and columns of each channel."""
    if source.shape[2] > 255:
        return False
    if node.op == "AVERAGE_POOL_2D":
        a = node.attributes
        whole = (a["filter_h"], a["filter_w"]) == source.shape[1:3] and node.output.shape[1:3] == (1, 1)
        return whole and source.shape[1] * source.shape[2] <= 1 << 20
    if node.op not in ("MEAN", "REDUCE_MAX"):
        return False
    axes = {i % 4 for i in node.inputs[1].integers}
    return {i for i in range(3) if source.shape[i] > 1} <= axes and 3 not in axes


def _through_aliases(graph: Graph, tensor: Tensor) -> Tensor:
    node = only_consumer(graph, tensor)
    while node is not None and node.op == "ALIAS" and len(node.output.shape) == 4:
        tensor = node.output
        node = only_consumer(graph, tensor)
    return tensor


def _head(graph: Graph, tensor: Tensor) -> Head | None:
    readers = graph.consumers(tensor)
    if len(readers) != 2 or graph.is_output(tensor) or len(tensor.shape) != 4 or tensor.shape[0] != 1:
        return None
    pool, difference = sorted(readers, key=lambda node: node.op)
    if pool.op != "MAX_POOL_2D" or pool.output.shape[1:3] != (1, 1) or difference.op != "SUB":
        return None
    window = (pool.attributes["filter_h"], pool.attributes["filter_w"])
    whole = window == tensor.shape[1:3] and only_consumer(graph, pool.output) is difference
    return Head(pool, difference) if whole and difference.output.shape == tensor.shape else None


def _place(pipeline: Pipeline) -> None:
    offset, scratch = 0, 0
    for stage in pipeline.stages:
        stage.ring = offset
        offset += _round8(stage.rows * stage.row_bytes + 4)  # a word is read past the last row
        stage.scratch = 8 * stage.pixels * stage.fours if stage.matrix else 0
        if stage.depth and not stage.block:  # an odd row writes one pixel more
            stage.values = _round8(stage.pitch * (stage.pool_size[0] * stage.point.output.shape[2] + 1))
            stage.scratch += stage.values
        stage.row = stage.scratch
        if _gathers(stage, pipeline.stages, pipeline.largest):
            stage.scratch += stage.out.shape[2] * stage.out.shape[3]
        scratch = max(scratch, _round8(stage.scratch))
    for fifo in pipeline.fifos:
        fifo.offset = offset
        offset += _round8(fifo.rows * fifo.row_bytes)
    if pipeline.head:
        shape = pipeline.head.peak.inputs[0].shape
        pipeline.head.row, pipeline.head.value = offset, offset + shape[2] * shape[3]
        offset += _round8((shape[2] + 1) * shape[3])
    pipeline.n_bytes, pipeline.scratch_bytes = offset, scratch


def _gathers(stage: Stage, stages: list[Stage], largest: bool) -> bool:
    """Whether a row lies in scratch memory before it goes to who receives it."""
    kinds = {t.kind for t in stage.targets}
    if any(t.kind == "stage" and not stages[t.index].depth for t in stage.targets) or "final" in kinds:
        return False
    if stage.posts or stage.pooling or len(stage.targets) > 1:
        return True
    return kinds == {"sums"} and (largest or bool(stage.pool) or not stage.matrix)


def _round8(n: int) -> int:
    return -(-n // 8) * 8
