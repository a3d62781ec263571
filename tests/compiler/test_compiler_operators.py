# SPDX-License-Identifier: MIT
"""Compiled C against TFLM's reference kernels: the same bytes for every operator of the grid."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from cheep.ccore import compile_shared
from cheep.compiler import compile_bytes
from cheep.compiler.intake import read_network
from cheep.tflite.tflm import TflmModel
from compiler_grid import grid, one_file

ROUNDS = 6


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Every model of the grid, compiled into one library."""
    folder = tmp_path_factory.mktemp("grid")
    cases = []
    for i, (name, data) in enumerate(grid()):
        compiled = compile_bytes(data, f"m{i}", name)
        (folder / f"m{i}.h").write_text(compiled.header)
        cases.append((name, data, i, compiled))
    source = folder / "grid.c"
    source.write_text(one_file([c[3] for c in cases]))
    library = ctypes.CDLL(str(compile_shared([source], [folder], ["-O1", "-Werror"], "grid")))
    return library, [(*case[:3], case[3]) for case in cases]


def _random(rng, tensor, round_: int) -> np.ndarray:
    if tensor.dtype == "float32":
        values = rng.normal(0, 3, tensor.shape).astype(np.float32)
        halves = np.float32(0.0371) * (np.arange(tensor.size) - 100.5).astype(np.float32)
        return halves.reshape(tensor.shape) if round_ == 0 else values
    if round_ == 0:
        made = (np.arange(tensor.size) % 256 - 128).astype(np.int8).reshape(tensor.shape)
    elif round_ in (1, 2):
        made = np.full(tensor.shape, (-128, 127)[round_ - 1], np.int8)
    else:
        made = rng.integers(-128, 128, tensor.shape).astype(np.int8)
    return made.view(tensor.dtype)


def test_same_bytes_as_tflm(models):
    library, cases = models
    rng = np.random.default_rng(1)
    wrong = []
    for name, data, i, compiled in cases:
        graph = read_network(data)
        reference = TflmModel(data)
        memory = np.full(compiled.memory_bytes // 8 + 1, -1, np.int64)
        if compiled.states:
            library[f"m{i}_reset"](ctypes.c_void_p(memory.ctypes.data))
        for round_ in range(ROUNDS):
            inputs = [_random(rng, t, round_) for t in graph.inputs]
            made = [np.full(t.shape, 99, t.dtype) for t in graph.outputs]
            reference.invoke(*inputs)
            arrays = [memory, *inputs, *made]
            library[f"m{i}_invoke"](*(ctypes.c_void_p(a.ctypes.data) for a in arrays))
            expected = [reference.output(k) for k in range(len(made))]
            if any(a.tobytes() != b.tobytes() for a, b in zip(made, expected, strict=True)):
                wrong.append(name)
                break
        assert memory[-1] == -1, f"{name} wrote past its memory"
    assert not wrong, f"{len(wrong)} of {len(cases)} models differ: {wrong[:20]}"
    assert len(cases) > 400
