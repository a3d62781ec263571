# SPDX-License-Identifier: MIT
"""The static memory plan: which tensor lives where, and until when."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from cheep.compiler.step import Step
from cheep.errors import CheepError
from cheep.tflite.graph import Graph, State, Tensor

ALIGNMENT = 8


@dataclasses.dataclass
class Plan:
    """Where tensors live: ``location[id(tensor)]`` is ("input"|"output"|"arena", index or offset)."""

    location: dict[int, tuple[str, int]]
    scratch: list[int]  # offset of the scratch memory of each step
    n_bytes: int  # size of the arena
    copies: list[tuple[Tensor, int]]  # (tensor, output index): copied to the caller after the last step


@dataclasses.dataclass
class _Storage:
    n_bytes: int
    first: int
    last: int
    kind: str = "arena"
    place: int = 0
    fixed: bool = False  # not in the caller's memory


def make_plan(steps: list[Step], inputs: list[Tensor], outputs: list[Tensor], states: Sequence[State] = ()) -> Plan:
    """Place every tensor: aliases share memory, element-wise results take over dying inputs, the rest first-fit.

    ``states`` are inputs and outputs behind the others, in memory of their own: one place for both.
    """
    own_inputs, own_outputs = inputs, outputs
    inputs, outputs = [*inputs, *(s.before for s in states)], [*outputs, *(s.after for s in states)]
    root = _roots(steps, inputs)
    storage = _storages(steps, inputs, root, _last_reads(steps, outputs, root))
    copies = _take_outputs(own_inputs, own_outputs, root, storage)
    copies += _take_states(steps, states, root, storage, len(own_inputs), len(own_outputs))
    blocks = {id(s): s for s in storage.values() if s.kind == "arena"}
    scratch = [_Storage(step.scratch, i, i) for i, step in enumerate(steps)]
    total = first_fit([(s.n_bytes, s.first, s.last, s) for s in (*blocks.values(), *scratch) if s.n_bytes])
    location = {}
    for tensor in [*inputs, *(t for step in steps for t in step.writes)]:
        s = storage[root[id(tensor)]]
        location[id(tensor)] = (s.kind, s.place)
    return Plan(location, [s.place for s in scratch], total, copies)


def _roots(steps: list[Step], inputs: list[Tensor]) -> dict[int, int]:
    """Return whose memory each tensor is: its own, or that of the tensor that it is another view of."""
    root = {id(t): id(t) for t in inputs}
    for step in steps:
        for tensor in step.writes:
            root[id(tensor)] = root[id(step.reads[0])] if step.alias else id(tensor)
    return root


def _last_reads(steps: list[Step], outputs: list[Tensor], root: dict[int, int]) -> dict[int, int]:
    """Return the last step that reads each memory: -1 where none does, behind the end for outputs."""
    last = dict.fromkeys(root.values(), -1)
    for i, step in enumerate(steps):
        for tensor in step.reads:
            last[root[id(tensor)]] = i
    for tensor in outputs:
        last[root[id(tensor)]] = len(steps)
    return last


def _storages(
    steps: list[Step], inputs: list[Tensor], root: dict[int, int], last_read: dict[int, int]
) -> dict[int, _Storage]:
    """Return the memory of each tensor that has its own; a result in place takes over the first input's."""
    storage: dict[int, _Storage] = {}
    for i, tensor in enumerate(inputs):
        storage[id(tensor)] = _Storage(tensor.n_bytes, -1, last_read[id(tensor)], "input", i)
    for i, step in enumerate(steps):
        for k, tensor in enumerate(() if step.alias else step.writes):
            last = max(i, last_read[id(tensor)])
            over = storage.get(root[id(step.reads[0])]) if step.reads and step.in_place and k == 0 else None
            if over is not None and over.kind == "arena" and over.last == i and over.n_bytes == tensor.n_bytes:
                over.last = last
                storage[id(tensor)] = over
            else:
                storage[id(tensor)] = _Storage(tensor.n_bytes, i, last, fixed=step.rows is not None)
    return storage


def _take_outputs(
    inputs: list[Tensor], outputs: list[Tensor], root: dict[int, int], storage: dict[int, _Storage]
) -> list[tuple[Tensor, int]]:
    """Let outputs be computed where the caller wants them; return those that must be copied there at the end.

    The caller may give one buffer for an input and an output, so that an output is written only when all inputs have
    been read.
    """
    inputs_end = max((storage[id(t)].last for t in inputs), default=-1)
    copies: list[tuple[Tensor, int]] = []
    for i, tensor in enumerate(outputs):
        s = storage[root[id(tensor)]]
        if s.kind == "arena" and not s.fixed and s.first > inputs_end and s.n_bytes == tensor.n_bytes:
            s.kind, s.place = "output", i
        elif not (s.kind == "output" and s.place == i):
            copies.append((tensor, i))
    return copies


def _take_states(
    steps: list[Step], states: Sequence[State], root: dict[int, int], storage: dict[int, _Storage],
    first_input: int, first_output: int,
) -> list[tuple[Tensor, int]]:  # fmt: skip
    """Let what a state becomes be computed where the state lies, as soon as nobody reads the old value any more."""
    copies: list[tuple[Tensor, int]] = []
    for k, state in enumerate(states):
        old, new = storage[root[id(state.before)]], storage[root[id(state.after)]]
        if new is old:
            continue  # it stays
        if new.kind == "input" and new.place >= first_input:
            raise CheepError(f"variable '{state.name}' becomes another variable's old value: not supported; use TFLM")
        ends = old.last
        if 0 <= new.first < len(steps) and steps[new.first].updates:
            ends -= 1
        if new.kind == "arena" and not new.fixed and new.first > ends and new.n_bytes == state.after.n_bytes:
            new.kind, new.place = "output", first_output + k
        else:
            copies.append((state.after, first_output + k))
    return copies


def first_fit(items) -> int:
    """Give every (bytes, first, last, storage) an offset, largest first; returns the bytes needed."""
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first, last
    for n_bytes, first, last, storage in sorted(items, key=lambda item: (-item[0], item[1])):
        size = -(-n_bytes // ALIGNMENT) * ALIGNMENT
        offset = 0
        for low, high, a, b in sorted(placed):
            if a <= last and first <= b and low < offset + size and offset < high:
                offset = high
        storage.place = offset
        placed.append((offset, offset + size, first, last))
    return max((high for _, high, _, _ in placed), default=0)


def peak_bytes(graph: Graph) -> int:
    """Return the bytes of the tensors that an interpreter holds at once, at the most."""
    root = {id(t): id(t) for t in graph.sources}
    for node in graph.nodes:
        root |= {id(t): root.get(id(node.inputs[0]), 0) if node.op == "ALIAS" else id(t) for t in node.outputs}
    last: dict[int, int] = {}
    for i, node in enumerate(graph.nodes):
        last |= {root[id(t)]: i for t in node.variable_inputs}
    last |= {root[id(t)]: len(graph.nodes) for t in graph.results}
    first = {id(t): -1 for t in graph.sources} | {id(t): i for i, n in enumerate(graph.nodes) for t in n.outputs}
    tensors = [*graph.sources, *(t for n in graph.nodes for t in n.outputs if n.op != "ALIAS")]

    def held(i: int) -> int:
        return sum(t.n_bytes for t in tensors if first[id(t)] <= i <= last.get(id(t), -2))

    return max(map(held, range(len(graph.nodes))), default=0)
