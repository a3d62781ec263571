# SPDX-License-Identifier: MIT
"""Whole networks: row pipeline, whole tensors and incremental mode all give TFLM's bytes."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from cheep.ccore import compile_shared
from cheep.compiler import codegen, compile_bytes
from cheep.compiler.engine import CompiledModel
from cheep.compiler.intake import read_network
from cheep.errors import CheepError
from cheep.tflite.tflm import TflmModel
from compiler_grid import Network, convolutions, networks, one_file


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Every network, with the row pipeline (``p``), without (``w``), in one library."""
    folder = tmp_path_factory.mktemp("networks")
    made = {}
    for i, (name, data) in enumerate(networks()):
        for letter, rows in (("p", True), ("w", False)):
            compiled = compile_bytes(data, f"{letter}{i}", name, row_pipeline=rows)
            (folder / f"{letter}{i}.h").write_text(compiled.header)
            made[name, letter] = compiled
    source = folder / "networks.c"
    source.write_text(one_file(list(made.values())))
    return ctypes.CDLL(str(compile_shared([source], [folder], ["-O1", "-Werror"], "networks"))), made


def _quiet(rng, shape, zero_point):
    """Columns around the input's zero: the scores of full-scale noise are all the same, the largest and the least."""
    return np.clip(zero_point + rng.integers(-20, 20, shape), -128, 127).astype(np.int8)


def _call(function, *arrays):
    return function(*(ctypes.c_void_p(a.ctypes.data) for a in arrays))


@pytest.mark.parametrize("case", networks(), ids=lambda case: case[0])
def test_window(library, case):
    name, data = case
    rng = np.random.default_rng(3)
    graph, reference = read_network(data), TflmModel(data)
    for round_ in range(12):
        shape = graph.inputs[0].shape
        window = rng.integers(-128, 128, shape) if round_ > 1 else np.full(shape, (-128, 127)[round_])
        window = window.astype(np.int8)
        expected = reference.invoke(window).tobytes()
        for letter in "pw":
            compiled = library[1][name, letter]
            memory = np.full(compiled.memory_bytes // 8 + 1, -1, np.int64)  # nothing may depend on what was there
            scores = np.full(graph.outputs[0].shape, 99, np.int8)
            _call(library[0][f"{compiled.prefix}_invoke"], memory, window, scores)
            assert scores.tobytes() == expected, (name, letter, round_)
            assert memory[-1] == -1, "wrote past its memory"


def test_expected_pipelines(library):
    made = library[1]
    streaming = {name for (name, letter), c in made.items() if letter == "p" and c.stream}
    assert {"valid", "odd", "valid strides", "conv front valid", "flatten", "padded bands", "single band"} <= streaming
    assert "largest valid" in streaming
    assert not streaming & {"same", "odd same", "strides", "conv front", "short", "under peak", "peaks of channels"}
    assert made["valid", "p"].stream["stride_rows"] == 2
    for name, share in (
        ("valid", 0.6),
        ("largest", 0.7),
        ("largest valid", 0.6),
        ("under peak", 0.6),
        ("peaks of channels", 0.85),
    ):
        assert made[name, "p"].memory_bytes < made[name, "w"].memory_bytes * share, name


def test_memory_with_the_input_never_exceeds_the_arena(library):
    for name, data in networks():
        made, reference = library[1][name, "p"], TflmModel(data)
        assert made.memory_bytes + int(np.prod(reference.input_shape)) <= reference.arena_bytes, name


def test_convolutions_without_scratch_memory(tmp_path, monkeypatch):
    """What is left where an interpreter's arena would be exceeded: the same bytes for every kind of window."""
    monkeypatch.setattr(codegen, "_shape", lambda graph, generator: (0, True))
    rng = np.random.default_rng(6)
    plain = [case for case in convolutions(rng) if case[0].startswith("conv")]
    cases = [case for case in plain if "scale" not in case[0] and not case[0].startswith("conv 1 ")][::2]
    made = [compile_bytes(data, f"s{i}", name) for i, (name, data) in enumerate(cases)]
    for compiled in made:
        (tmp_path / f"{compiled.prefix}.h").write_text(compiled.header)
    (tmp_path / "small.c").write_text(one_file(made))
    library = ctypes.CDLL(str(compile_shared([tmp_path / "small.c"], [tmp_path], ["-O1", "-Werror"], "small")))
    assert sum("cheep_conv_small_" in c.source for c in made) > 12
    for (name, data), compiled in zip(cases, made, strict=True):
        graph, reference = read_network(data), TflmModel(data)
        for low, high in ((-128, 128), (-128, -127), (127, 128)):
            window = rng.integers(low, high, graph.inputs[0].shape).astype(np.int8)
            out, memory = np.zeros(graph.outputs[0].shape, np.int8), np.zeros(compiled.memory_bytes // 8 + 1, np.int64)
            _call(library[f"{compiled.prefix}_invoke"], memory, window, out)
            assert out.tobytes() == reference.invoke(window).tobytes(), name


def test_residual_networks_hold_no_activation(library):
    for name, share in (("residual", 0.6), ("projection", 0.7), ("inverted", 0.7), ("pooled stem", 0.85)):
        assert library[1][name, "p"].memory_bytes < library[1][name, "w"].memory_bytes * share, name


def test_several_networks_on_a_window_share_their_memory(library):
    rng = np.random.default_rng(7)
    one = compile_bytes(
        Network(rng, 20, 12).conv(8, (3, 3), padding="VALID").pool().separable(12, padding="VALID").mean().build()
    )
    both = library[1]["towers", "p"]
    assert both.stream is None
    assert both.memory_bytes < 1.2 * one.memory_bytes < 1.2 * library[1]["towers", "w"].memory_bytes


def test_dead_channels_cost_nothing(library):
    live = compile_bytes(Network(np.random.default_rng(5), 20, 12).separable(8).separable(6).mean().build())
    made = Network(np.random.default_rng(5), 20, 12).separable(8, dead={2: -1.0}).separable(6).mean().build()
    dead = compile_bytes(made)
    assert dead.macs < live.macs and dead.memory_bytes < live.memory_bytes
    assert dead.constant_bytes < live.constant_bytes
    assert library[1]["dead", "p"].memory_bytes < library[1]["dead", "w"].memory_bytes


@pytest.mark.parametrize("case", networks(), ids=lambda case: case[0])
def test_stream(library, case):
    name, data = case
    compiled = library[1][name, "p"]
    if compiled.stream is None:
        assert f"void {compiled.prefix}_stream_push(" not in compiled.header + compiled.source
        return
    graph, reference = read_network(data), TflmModel(data)
    frames, row = graph.inputs[0].shape[1], int(np.prod(graph.inputs[0].shape[2:]))
    rng = np.random.default_rng(4)
    columns = rng.integers(-128, 128, (3 * frames + 7, row)).astype(np.int8)
    columns[frames + 3 :] = _quiet(rng, (2 * frames + 4, row), graph.inputs[0].zero_point)
    stride = compiled.stream["stride_rows"]
    memory = np.zeros(compiled.stream["memory_bytes"] // 8, np.int64)
    scores = np.zeros(graph.outputs[0].shape, np.int8)
    for _ in range(2):  # a reset replays
        _call(library[0][f"{compiled.prefix}_stream_reset"], memory)
        windows = 0
        for i, column in enumerate(columns):
            _call(library[0][f"{compiled.prefix}_stream_push"], memory, column)
            start = i + 1 - frames
            ready = _call(library[0][f"{compiled.prefix}_stream_scores"], memory, scores)
            if start < 0:
                assert not ready or (frames - i - 1) < stride
            elif start % stride == 0:
                assert ready
                expected = reference.invoke(columns[start : i + 1].reshape(graph.inputs[0].shape))
                assert scores.tobytes() == expected.tobytes(), (name, start)
                windows += 1
        assert windows >= 2 * frames // stride


@pytest.mark.parametrize("name", ["valid", "same"])
def test_slide_gives_the_scores_of_the_windows(name):
    """With an incremental mode and without one, at strides that it takes and others, also beyond the window."""
    model = CompiledModel(dict(networks())[name])
    _, frames, mels = model.inputs[0].shape[:3]
    columns = _quiet(np.random.default_rng(5), (4 * frames + 5, mels), model.inputs[0].zero_point)
    for stride in (1, 2, 6, 7, frames, frames + 4):
        starts = np.arange(0, len(columns) - frames + 1, stride)
        expected = model.scores(columns[starts[:, None] + np.arange(frames)])
        assert np.array_equal(model.slide(columns, stride), expected), stride
        assert stride > 2 or len(np.unique(expected[:, 0])) > 3
    assert model.slide(columns[: frames - 1], 2).shape == (0, expected.shape[1])
    with pytest.raises(CheepError, match=f"columns of {mels + 1} values"):
        model.slide(np.zeros((frames, mels + 1), np.int8), 1)
