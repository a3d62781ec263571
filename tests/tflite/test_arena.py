# SPDX-License-Identifier: MIT
"""TFLM's arena on an ESP32-S3: what esp-nn's kernels ask for, and where TFLM's planner puts it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from cheep.boards.budget import needs_tflm, refused_for
from cheep.boards.data import find_board
from cheep.inspection.report import inspect_model, render_text
from cheep.tflite.arena import (
    Buffer,
    arena_on,
    arena_on_esp32s3,
    buffers,
    cmsis_nn_scratch,
    esp32s3_scratch,
    plan,
    refused_by,
)
from cheep.tflite.graph import Graph, Node, Tensor
from cheep.tflite.model import read_model
from cheep.tflite.reader import read_graph
from cheep.tflite.tflm import TflmModel, _captured_stderr
from tflite_builder import Builder, T, constant

# One token a layer, from an input of (height, width, channels): c convolution, d depthwise, p pooling, f dense or mean,
# r reshape, s softmax; capitals pad (SAME); 3x1 is the filter, .16 the channels, /2 the stride. =a names what was made
# last, @a goes on from it, kN crops it to N x N, +a adds it.
NETWORKS = {
    "inverted residual": (
        (39, 40, 1),
        "c3.12 p2/2 c1.36 d3 c1.16 p2/2 c1.48 d3 c1.24 =a c1.72 d3 c1.24 =b @a k4 +b c1.72 d3 c1.32 c1.64 f64 c1.3 "
        "r3 s",
        58,
    ),
    "time convolution": (
        (39, 1, 40),
        "r39x1x40 c3x1.48 p2x1/2 d5x1 c1.48 d5x1 c1.64 d5x1 c1.64 f64 c1.3 r3 s",
        33,
    ),
    "separable, small": ((40, 32, 1), "D3 c1.8 p2/2 D3 c1.16 p2/2 D3 c1.32 f32 f16 f1 r1", 30),
    "separable, medium": ((40, 32, 1), "D3 c1.16 p2/2 D3 c1.32 p2/2 D3 c1.64 p2/2 D3 c1.64 f64 f16 f1 r1", 37),
    "MobileNet": (
        (96, 96, 3),
        "C3.8/2 D3 C1.16 D3/2 C1.32 D3 C1.32 D3/2 C1.64 D3 C1.64 D3/2 C1.128" + " D3 C1.128" * 5 + " D3/2 C1.256 D3 "
        "C1.256 p3 r256 f2 s",
        89,
    ),
    "ResNet": (
        (32, 32, 3),
        "C3.16 =a C3.16 C3.16 +a =a C3.32/2 C3.32 =b @a C1.32/2 +b =a C3.64/2 C3.64 =b @a C1.64/2 +b p8 r64 f10 s",
        38,
    ),
}
# (arena measured on this machine, what an S3 was found to need with esp-tflite-micro 1.4.0), bytes
MEASURED = {
    "inverted residual": (32832, 70236),
    "time convolution": (9952, 22668),
    "separable, small": (16784, 24636),
    "separable, medium": (31888, 37036),
    "MobileNet": (103680, 122508),
    "ResNet": (55984, 110140),
}


def network(shape, layers, n_tensors) -> Graph:
    tensors, nodes, named = [], [], {}

    def tensor(*shape, data=None):
        tensors.append(Tensor(len(tensors), "", shape, "int8", np.zeros(1), np.zeros(1), data=data))
        return tensors[-1]

    def node(op, inputs, shape, **attributes):
        nodes.append(Node(op, inputs, [tensor(*shape)], attributes))
        return nodes[-1].output

    now = first = tensor(1, *shape)
    for token in layers.split():
        if token[0] in "=@":
            named[token[1:]], now = (now, now) if token[0] == "=" else (named[token[1:]], named[token[1:]])
            continue
        kind, size, channels, stride = re.fullmatch(r"(.)([\dx]*\w?)(?:\.(\d+))?(?:/(\d))?", token).groups()
        if kind in "fsr+k":
            numbers = [int(n) for n in size.split("x") if n.isdigit()]
            other = [now, named[size]] if kind == "+" else [now]
            shapes = {"+": now.shape, "s": now.shape, "k": (1, *numbers, *numbers, now.shape[-1])}
            flat = (1, *numbers) if len(numbers) > 1 or kind == "r" else (1, 1, 1, *numbers)
            op = {"s": "SOFTMAX", "f": "FULLY_CONNECTED"}.get(kind, "ADD")
            now = node(op, other, shapes.get(kind, flat))
            continue
        height, width = (int(n) for n in (size.split("x") * 2)[:2])
        steps = (int(stride or 1), int(stride or 1) if width > 1 or kind != "p" else 1)
        same, taken = kind.isupper(), now.shape
        if kind == "p" and stride is None:
            steps = (height, width)
        given = [
            -(-n // s) if same else (n - k) // s + 1 for n, k, s in zip(taken[1:3], (height, width), steps, strict=True)
        ]
        out = int(channels or taken[3])
        op = {"c": "CONV_2D", "d": "DEPTHWISE_CONV_2D", "p": "MAX_POOL_2D"}[kind.lower()]
        weights = (out, height, width, taken[3]) if op == "CONV_2D" else (1, height, width, out)
        filters = [tensor(*weights, data=np.zeros(weights, np.int8))] if kind != "p" else []
        now = node(op, [now, *filters], (1, *given, out), padding="SAME" if same else "VALID", strideH=steps[0],
                   strideW=steps[1])  # fmt: skip
    while len(tensors) < n_tensors:  # biases, axes, shapes
        tensor(1, data=np.zeros(1, np.int8))
    return Graph([first], [now], nodes, tensors)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_arena_on_an_s3_is_enough_and_little_more(name):
    measured, needed = MEASURED[name]
    found = arena_on_esp32s3(network(*NETWORKS[name]), measured)
    assert needed <= found <= 1.03 * needed, f"{found / needed:.3f}"


def conv(shape, weights, out, stride=(1, 1), padding="VALID", op="CONV_2D", dtype="int8"):
    ends = [Tensor(0, "", s, dtype, np.zeros(1), np.zeros(1)) for s in (shape, weights, out)]
    return Node(op, ends[:2], ends[2:], {"strideH": stride[0], "strideW": stride[1], "padding": padding})


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        # 1x1: filters and transposed input; channels that are no multiple of 8 also copy the input
        (conv((1, 8, 8, 16), (48, 1, 1, 16), (1, 8, 8, 48)), 16 * 48 + 2 * 8 * 16 + 64),
        (conv((1, 18, 19, 12), (36, 1, 1, 12), (1, 18, 19, 36)), 16 * 36 + 18 * 19 * 16 + 2 * 8 * 16 + 64),
        (conv((1, 2, 2, 32), (64, 1, 1, 32), (1, 2, 2, 64)), 32 * 64 + 64),
        # a field of 27 values is gathered into 32
        (conv((1, 32, 32, 3), (16, 3, 3, 3), (1, 32, 32, 16), padding="SAME"), 16 * 4 + 17 * 32 + 32 + 64),
        # padding on all sides, then once more to the right and below
        (conv((1, 8, 8, 64), (64, 3, 3, 64), (1, 8, 8, 64), padding="SAME"),
         2 * 9 * 64 * 64 + 2 * 10 * 10 * 64 + 4 * 64 + 64),
        # depthwise: in one copy, in strips, as int16, with channels filled up, with several outputs a channel
        (conv((1, 6, 6, 64), (1, 3, 3, 64), (1, 6, 6, 64), padding="SAME", op="DEPTHWISE_CONV_2D"),
         9 * 64 + 64 * 64 + 16),
        (conv((1, 48, 48, 32), (1, 3, 3, 32), (1, 48, 48, 32), padding="SAME", op="DEPTHWISE_CONV_2D"),
         9 * 32 + 50 * 3 * 32 + 16),
        (conv((1, 14, 1, 48), (1, 5, 1, 48), (1, 10, 1, 48), op="DEPTHWISE_CONV_2D"), 2 * (5 * 48 + 14 * 48) + 32),
        (conv((1, 8, 8, 24), (1, 3, 3, 24), (1, 6, 6, 24), op="DEPTHWISE_CONV_2D"),
         9 * 32 + 8 * 8 * 32 + 6 * 6 * 32 + 64),
        (conv((1, 9, 9, 2), (1, 3, 3, 8), (1, 7, 7, 8), op="DEPTHWISE_CONV_2D"), 2 * (9 * 8 + 81 * 2) + 32),
        (conv((1, 9, 9, 1), (1, 3, 3, 1), (1, 7, 7, 1), op="DEPTHWISE_CONV_2D"), 32),
        # 3x3, stride 2, padded above but not to the left: esp-nn asked for 32,944 once, and wrote 44,912
        (conv((1, 49, 20, 32), (1, 3, 3, 32), (1, 25, 10, 32), (2, 2), "SAME", "DEPTHWISE_CONV_2D"), 46_368),
        (conv((1, 8, 8, 16), (48, 1, 1, 16), (1, 8, 8, 48), dtype="float32"), 0),
        (Node("SOFTMAX", [Tensor(0, "", (1, 10), "int8", np.zeros(1), np.zeros(1))],
              [Tensor(1, "", (1, 10), "int8", np.zeros(1), np.zeros(1))]), 40),
    ],
)  # fmt: skip
def test_scratch_follows_from_the_shapes(node, expected):
    assert esp32s3_scratch(node) == expected


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (conv((1, 8, 8, 16), (48, 1, 1, 16), (1, 8, 8, 48)), 0),
        (conv((1, 8, 8, 16), (48, 1, 1, 16), (1, 4, 4, 48), (2, 2)), 4 * 16),
        (conv((1, 32, 32, 3), (16, 3, 3, 3), (1, 32, 32, 16), padding="SAME"), 4 * 27),
        (conv((1, 6, 6, 64), (1, 3, 3, 64), (1, 6, 6, 64), padding="SAME", op="DEPTHWISE_CONV_2D"), 2 * 9 * 64),
        (conv((1, 9, 9, 2), (1, 3, 3, 8), (1, 7, 7, 8), op="DEPTHWISE_CONV_2D"), 0),  # several outputs a channel
        (conv((1, 8, 8, 24), (1, 1, 1, 1), (1, 4, 4, 24), op="AVERAGE_POOL_2D"), 4 * 24),
        (conv((1, 8, 8, 24), (1, 1, 1, 1), (1, 4, 4, 24), op="MAX_POOL_2D"), 0),
    ],
)
def test_scratch_of_cmsis_nn(node, expected):
    assert cmsis_nn_scratch(node) == expected


def test_the_arena_with_cmsis_nn_grows_by_what_lies_beside_the_largest_tensors():
    graph = network(*NETWORKS["separable, small"])
    found = arena_on("cmsis-nn", graph, 16784)
    assert 16784 <= found < arena_on_esp32s3(graph, 16784)
    assert arena_on("reference", graph, 16784) == arena_on("esp-nn", graph, 16784) == 16784


def test_the_planner_fills_gaps_of_its_time():
    assert plan([]) == 0
    assert plan([Buffer(100, 0, 1), Buffer(50, 1, 2), Buffer(100, 2, 3)]) == 150  # the third lies over the first
    # largest first: scratch of operator 2 goes under the tensors that live then, and over the one that does not
    assert plan([Buffer(64, 0, 1), Buffer(32, 1, 2), Buffer(128, 2, 2)]) == 160


def test_the_plan_is_that_of_tflm(int8_model):
    """The planned tensors are the head of the arena that TFLM itself reports."""
    model = TflmModel(int8_model)
    model._run_zeros()
    with _captured_stderr() as log:
        model._interpreter.print_allocations()
        head = int(re.search(r"Arena allocation head (\d+) bytes", log()).group(1))
    graph = read_graph(int8_model)
    assert plan(buffers(graph)) == head
    assert plan(buffers(graph, esp32s3_scratch)) > head


def test_size_counts_the_boards_own_kernels(int8_model):
    model = read_model(int8_model)
    arena = {name: needs_tflm(model, 10_000, None, find_board(name)).ram["arena"] for name in ("esp32", "esp32s3")}
    assert arena["esp32"] == 10_000
    assert arena["esp32s3"] == arena_on_esp32s3(read_graph(int8_model), 10_000) > 10_000


GROUPED = conv((1, 8, 8, 16), (16, 3, 3, 4), (1, 8, 8, 16), padding="SAME")
ONE_AXIS = conv((1, 49, 20, 32), (1, 3, 3, 32), (1, 25, 10, 32), (2, 2), "SAME", "DEPTHWISE_CONV_2D")


@pytest.mark.parametrize(
    ("node", "on_esp", "on_s3"),
    [
        (GROUPED, "4 groups of channels", "4 groups of channels"),
        (ONE_AXIS, None, r"1 row\(s\) above and 0 column\(s\) to the left"),
        (conv((1, 48, 20, 32), (1, 3, 3, 32), (1, 24, 10, 32), (2, 2), "SAME", "DEPTHWISE_CONV_2D"), None, None),
        (conv((1, 49, 20, 24), (1, 3, 3, 24), (1, 25, 10, 24), (2, 2), "SAME", "DEPTHWISE_CONV_2D"), None, None),
    ],
)
def test_what_esp_nn_cannot_run_is_refused(node, on_esp, on_s3):
    graph = Graph(node.inputs[:1], node.outputs, [node], [*node.inputs, *node.outputs])
    assert refused_by("reference", graph) is None
    for kernels, expected in (("esp-nn", on_esp), ("esp-nn-s3", on_s3)):
        reason = refused_by(kernels, graph)
        assert re.search(expected, reason) if expected else reason is None


def grouped_model() -> bytes:
    b = Builder()
    shape, weights = (1, 8, 8, 4), np.ones((4, 1, 1, 2), np.int8)
    x, w = b.tensor(T(shape, 0.1)), b.tensor(constant(weights, [0.1] * 4, [0] * 4))
    bias, y = b.tensor(constant(np.zeros(4), [0.01] * 4, [0] * 4, "int32")), b.tensor(T(shape, 0.1))
    b.op("CONV_2D", [x, w, bias], [y], "Conv2DOptions", strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1)
    return b.build([x], [y])


def test_a_grouped_convolution_is_refused_with_the_way_out():
    data = grouped_model()
    reason = refused_for(find_board("esp32"), read_model(data))
    assert "2 groups of channels" in reason and "compiled backend (cheep compile)" in reason
    assert refused_for(find_board("audiomoth"), read_model(data)) is None
    text = render_text(inspect_model(data))
    assert "TFLM: runs" in text and "TFLM on ESP boards: operator 0 (CONV_2D) has 2 groups" in text
    assert text.count("groups of channels") == 1
