"""The static memory plan: which tensor lives where, and until when."""

from __future__ import annotations

import dataclasses

from cheep.compiler.lower import Step
from cheep.tflite.graph import Tensor

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


def make_plan(steps: list[Step], inputs: list[Tensor], outputs: list[Tensor]) -> Plan:
    """Place every tensor: aliases share memory, element-wise results take over dying inputs, the rest first-fit."""
    root = {id(t): id(t) for t in inputs}
    for step in steps:
        for tensor in step.writes:
            root[id(tensor)] = root[id(step.reads[0])] if step.alias else id(tensor)
    last_read = dict.fromkeys(root.values(), -1)
    for i, step in enumerate(steps):
        for tensor in step.reads:
            last_read[root[id(tensor)]] = i
    end = len(steps)
    for tensor in outputs:
        last_read[root[id(tensor)]] = end

    storage: dict[int, _Storage] = {}
    for i, tensor in enumerate(inputs):
        storage[id(tensor)] = _Storage(tensor.n_bytes, -1, last_read[id(tensor)], "input", i)
    for i, step in enumerate(steps):
        if step.alias:
            continue
        for k, tensor in enumerate(step.writes):
            mine = id(tensor)
            over = storage.get(root[id(step.reads[0])]) if step.reads and step.in_place and k == 0 else None
            if over is not None and over.kind == "arena" and over.last == i and over.n_bytes == tensor.n_bytes:
                over.last = max(i, last_read[mine])
                storage[mine] = over
            else:
                storage[mine] = _Storage(tensor.n_bytes, i, max(i, last_read[mine]))

    inputs_end = max((storage[id(t)].last for t in inputs), default=-1)
    copies: list[tuple[Tensor, int]] = []
    for i, tensor in enumerate(outputs):
        s = storage[root[id(tensor)]]
        if s.kind == "arena" and s.first > inputs_end and s.n_bytes == tensor.n_bytes:
            s.kind, s.place = "output", i
        elif not (s.kind == "output" and s.place == i):
            copies.append((tensor, i))

    blocks = {id(s): s for s in storage.values() if s.kind == "arena"}
    items = [(s.n_bytes, s.first, s.last, s) for s in blocks.values()]
    needs = [_Storage(step.scratch, i, i) for i, step in enumerate(steps)]
    items += [(s.n_bytes, s.first, s.last, s) for s in needs if s.n_bytes]
    total = first_fit(items)
    location = {}
    for tensor in [*inputs, *(t for step in steps for t in step.writes)]:
        s = storage[root[id(tensor)]]
        location[id(tensor)] = (s.kind, s.place)
    return Plan(location, [s.place for s in needs], total, copies)


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
