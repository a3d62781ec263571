# SPDX-License-Identifier: MIT
"""What a network keeps from run to run: variables become states, values that enter the graph and leave it.

Resource variables (VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE, and a CALL_ONCE that gives them their first values) are
followed in the order of execution: a variable that is read is the tensor that was assigned to it last. Variable tensors
(of SVDF and UNIDIRECTIONAL_SEQUENCE_LSTM) get a second output of their operator, which is what they become.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from cheep.errors import CheepError
from cheep.tflite.graph import Graph, Node, State, Tensor

VARIABLE_OPERATORS = ("CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE")
# operator -> its inputs that are variable tensors
UPDATED = {"SVDF": (4,), "UNIDIRECTIONAL_SEQUENCE_LSTM": (18, 19)}


def find_states(graph: Graph, name: str) -> None:
    """Replace variables by :attr:`Graph.states` (changes the graph in place).

    Raises
    ------
    CheepError
        A variable is used in a way that has no such form (named).
    """
    _Resources(graph, name).resolve()
    now: dict[int, Tensor] = {}  # variable tensor -> what it has become: whoever reads it later sees that
    for node in graph.nodes:
        updated = {id(t) for place, t in _by_place(node).items() if place in UPDATED.get(node.op, ())}
        node.inputs = [t if id(t) in updated else now.get(id(t), t) for t in node.inputs]
        for place, before in _by_place(node).items():
            if place not in UPDATED.get(node.op, ()):
                continue
            if not before.is_variable:
                raise CheepError(f"{name}: {node.op}: its state {before.label} is not a variable; the file is damaged")
            if before.dtype not in ("int8", "int16") or before.zero_point not in range(-128, 128):
                raise CheepError(f"{name}: {node.op}: its state {before.label} is not int8 or int16; convert it again")
            if any(s.before is before for s in graph.states):
                raise CheepError(f"{name}: {node.op}: two operators share the state {before.label}: not supported")
            after = dataclasses.replace(before, index=-2 - before.index, is_variable=False)
            node.outputs.append(after)
            now[id(before)] = after
            zero = before.zero_point if before.dtype == "int8" else 0
            graph.states.append(State(before.name, before, after, np.full(before.shape, zero, before.dtype)))
    graph.outputs = [now.get(id(t), t) for t in graph.outputs]
    _check(graph, name)


def _by_place(node: Node) -> dict[int, Tensor]:
    places = (i for i in range(len(node.inputs) + len(node.absent)) if i not in node.absent)
    return dict(zip(places, node.inputs, strict=False))


def _check(graph: Graph, name: str) -> None:
    befores = {id(s.before): s for s in graph.states}
    used = {id(t) for n in graph.nodes for t in n.inputs}
    for tensor in graph.tensors:
        if tensor.is_variable and id(tensor) in used and id(tensor) not in befores:
            raise CheepError(f"{name}: {tensor.label} keeps its value from run to run: not supported; use TFLM")
    for state in graph.states:
        other = befores.get(id(state.after))
        if other is not None and other is not state:
            raise CheepError(
                f"{name}: variable '{state.name}' becomes variable '{other.name}': not supported; use TFLM"
            )
        if state.after.data is not None:
            raise CheepError(f"{name}: variable '{state.name}' is assigned a constant in every run; use TFLM")


class _Resources:
    """The resource variables of a graph."""

    def __init__(self, graph: Graph, name: str):
        self._graph, self._name = graph, name
        self._current: dict[str, Tensor] = {}  # variable -> the tensor that holds its value now
        self._first: dict[str, Tensor] = {}  # variable -> the tensor that it enters as
        self._initial: dict[str, np.ndarray] = {}
        self._like: dict[str, Tensor] = {}  # variable -> what is assigned first: TFLM takes size and zero from it

    def resolve(self) -> None:
        graph = self._graph
        if not any(n.op in VARIABLE_OPERATORS for n in graph.nodes):
            return
        names = self._handles(graph)
        for node in graph.nodes:
            if node.op == "ASSIGN_VARIABLE":
                self._like.setdefault(self._variable(node, names), self._operand(node))
        kept: list[Node] = []
        same: dict[int, Tensor] = {}
        for node in graph.nodes:
            node.inputs = [same.get(id(t), t) for t in node.inputs]
            if node.op == "CALL_ONCE":
                self._call_once(graph.called[int(node.attributes.get("initSubgraphIndex", 0))])
            elif node.op == "READ_VARIABLE":
                result = self._result(node)
                same[id(result)] = self._read(self._variable(node, names), result)
            elif node.op == "ASSIGN_VARIABLE":
                variable, value = self._variable(node, names), self._operand(node)
                self._enter(variable, value)
                self._current[variable] = value
            elif node.op != "VAR_HANDLE":
                kept.append(node)
        graph.nodes = kept
        graph.outputs = [same.get(id(t), t) for t in graph.outputs]
        for variable, before in self._first.items():
            after = self._current[variable]
            graph.states.append(State(variable, before, after, self._value(variable, before)))

    def _fail(self, what: str) -> CheepError:
        return CheepError(f"{self._name}: {what}; use TFLM for this model")

    def _handles(self, graph: Graph) -> dict[int, str]:
        """Return the variable that each resource tensor stands for."""
        names = {}
        for node in graph.nodes:
            if node.op == "VAR_HANDLE" and node.outputs:
                parts = [node.attributes.get(key) or b"" for key in ("container", "sharedName")]
                texts = [p.decode("utf-8", "replace") if isinstance(p, bytes) else str(p) for p in parts]
                names[id(node.output)] = "/".join(filter(None, texts))
        return names

    def _variable(self, node: Node, names: dict[int, str]) -> str:
        if not node.inputs or id(node.inputs[0]) not in names:
            raise self._fail(f"{node.op} does not name its variable with a VAR_HANDLE")
        return names[id(node.inputs[0])]

    def _operand(self, node: Node) -> Tensor:
        if len(node.inputs) != 2:
            raise self._fail("an ASSIGN_VARIABLE without a value")
        return node.inputs[1]

    def _result(self, node: Node) -> Tensor:
        if len(node.outputs) != 1:
            raise self._fail("a READ_VARIABLE without a result")
        return node.output

    def _call_once(self, called: Graph) -> None:
        """Take the first values of variables from the subgraph that runs once."""
        if self._first or self._initial:
            raise self._fail("a CALL_ONCE behind operators that use variables")
        names = self._handles(called)
        for node in called.nodes:
            if node.op == "ASSIGN_VARIABLE":
                value = self._operand(node)
                if value.data is None:
                    raise self._fail(f"CALL_ONCE computes the first value {value.label}")
                self._initial[self._variable(node, names)] = value.data
                self._like.setdefault(self._variable(node, names), value)
            elif node.op != "VAR_HANDLE":
                raise self._fail(f"CALL_ONCE runs {node.op}")

    def _enter(self, variable: str, like: Tensor) -> Tensor:
        if variable not in self._first:
            number = -100_000 - len(self._first)
            entry = dataclasses.replace(like, index=number, name=variable, data=None, is_variable=True)
            self._first[variable] = self._current[variable] = entry
            self._graph.tensors.append(entry)
        known = self._first[variable]
        if (like.shape, like.dtype) != (known.shape, known.dtype):
            shapes = " and ".join(f"{t.dtype} {list(t.shape)}" for t in (known, like))
            raise self._fail(f"variable '{variable}' is {shapes}")
        if like.dtype != "int8" or like.zero_point not in range(-128, 128):
            raise self._fail(f"variable '{variable}' is {like.dtype}: the compiler takes int8 networks")
        return known

    def _read(self, variable: str, result: Tensor) -> Tensor:
        self._enter(variable, result)
        held = self._current[variable]
        alike = (list(held.scales), list(held.zero_points)) == (list(result.scales), list(result.zero_points))
        if not alike:  # the bytes are the same, what they mean is not
            raise self._fail(f"variable '{variable}' is written as {held.label} and read in another quantization")
        return held

    def _value(self, variable: str, before: Tensor) -> np.ndarray:
        if variable in self._initial:
            value = self._initial[variable]
            if value.shape != before.shape or value.dtype != np.int8:
                raise self._fail(f"the first value of variable '{variable}' has another shape than {before.label}")
            return value
        if variable not in self._like:
            raise self._fail(f"variable '{variable}' is read and never assigned")
        zero = self._like[variable].zero_point
        if zero not in range(-128, 128):
            raise self._fail(f"variable '{variable}' has zero point {zero} outside int8")
        return np.full(before.shape, zero, np.int8)
