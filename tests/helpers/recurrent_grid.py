# SPDX-License-Identifier: MIT
"""Small models that keep something from run to run, and products of matrices: part of the compiler's grid."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tflite_builder import Builder, T, constant

_TANH = 4


def recurrent(rng) -> Iterator[tuple[str, bytes]]:
    """Return SVDF, UNIDIRECTIONAL_SEQUENCE_LSTM and models with variables."""
    for case in (
        {}, {"rank": 2}, {"batches": 2}, {"wide": False}, {"wide": False, "zero": -7, "rank": 2}, {"memory": 1},
        {"inputs": 13, "units": 3, "in_zero": 127}, {"out_scale": 0.002}, {"state_scale": 2e-5, "wide": True},
        {"shown": True, "wide": False},
    ):  # fmt: skip
        yield f"SVDF {case}", svdf(rng, **case)
    for case in (
        {}, {"batches": 2}, {"batches": 3, "time_major": True}, {"clip": 0.0}, {"clip": 0.4}, {"steps": 1},
        {"cell_power": 15}, {"cell_power": 9}, {"in_zero": 127, "hidden_zero": -128}, {"inputs": 9, "units": 3},
        {"units": 1, "inputs": 1}, {"gain": 8.0}, {"gain": 0.03, "hidden_scale": 2.0**-13},
        {"gain": 0.2, "hidden_scale": 2.0**-11, "cell_power": 15, "units": 16},
    ):  # fmt: skip
        yield f"LSTM {case}", lstm(rng, **case)
    for first, order in ((True, "read"), (False, "read"), (True, "assign"), (True, "both")):
        yield f"variables {first} {order}", variables(rng, first, order)


def svdf(
    rng, batches=1, inputs=8, units=5, rank=1, memory=6, wide=True, zero=0, in_zero=-5, state_scale=None,
    out_scale=0.05, shown=False,
) -> bytes:  # fmt: skip
    """SVDF, with int16 or int8 time weights and state; ``shown``: the state is an output too."""
    b = Builder()
    filters, kind = units * rank, "int16" if wide else "int8"
    state_scale = state_scale or (1 / 1024 if wide else 0.2)
    time_scale, most = (1 / 8192, 8000) if wide else (0.01, 127)
    product = float(np.float32(state_scale) * np.float32(time_scale))
    x = b.tensor(T((batches, inputs), 0.05, in_zero))
    operands = [
        b.tensor(constant(rng.integers(-127, 128, (filters, inputs)), 0.01)),
        b.tensor(constant(rng.integers(-most, most + 1, (filters, memory)), time_scale, dtype=kind)),
        b.tensor(constant(rng.integers(-20000, 20000, units), product, dtype="int32")),
        b.tensor(T((batches, filters * memory), state_scale, zero, dtype=kind, variable=True)),
    ]
    y = b.tensor(T((batches, units), out_scale, 3))
    b.op("SVDF", [x, *operands], [y], "SVDFOptions", rank=rank, fusedActivationFunction=1)
    return b.build([x], [y, operands[-1]] if shown else [y])


def lstm(
    rng, batches=1, steps=5, inputs=6, units=4, time_major=False, clip=10.0, cell_power=12, in_zero=-9, hidden_zero=11,
    gain=1.0, hidden_scale=1 / 128,
) -> bytes:  # fmt: skip
    """UNIDIRECTIONAL_SEQUENCE_LSTM."""
    b = Builder()
    front = (steps, batches) if time_major else (batches, steps)
    x = b.tensor(T((*front, inputs), 0.05, in_zero))
    scales = [0.004 * gain * float(s) for s in rng.uniform(0.8, 1.2, 8)]
    weights = [
        b.tensor(constant(rng.integers(-127, 128, (units, n)), s))
        for n, s in zip([inputs] * 4 + [units] * 4, scales, strict=True)
    ]
    biases = [b.tensor(constant(rng.integers(-3000, 3000, units), s * 0.05, dtype="int32")) for s in scales[:4]]
    hidden = b.tensor(T((batches, units), hidden_scale, hidden_zero, variable=True))
    cell = b.tensor(T((batches, units), 2.0**-cell_power, 0, dtype="int16", variable=True))
    y = b.tensor(T((*front, units), hidden_scale, hidden_zero))
    operands = [x, *weights, -1, -1, -1, *biases, -1, -1, hidden, cell, -1, -1, -1, -1]
    b.op("UNIDIRECTIONAL_SEQUENCE_LSTM", operands, [y], "UnidirectionalSequenceLSTMOptions",
         fusedActivationFunction=_TANH, cellClip=clip, timeMajor=time_major)  # fmt: skip
    return b.build([x], [y])


def variables(rng, first: bool = True, order: str = "read") -> bytes:
    """Two variables around a concatenation: the last rows of the input before, and a running minimum.

    Parameters
    ----------
    first : CALL_ONCE gives the first values.
    order : ``read`` (read, then assign), ``assign`` (read again after it), ``both`` (the value is an output too).
    """
    b, q = Builder(), (0.05, -3)
    x = b.tensor(T((1, 3, 4), *q))
    if first:
        b.op("CALL_ONCE", [], [], "CallOnceOptions", initSubgraphIndex=1)
    handles = [b.tensor(T((), dtype="resource")) for _ in range(2)]
    for i, handle in enumerate(handles):
        b.op("VAR_HANDLE", [], [handle], "VarHandleOptions", container="", sharedName=f"v{i}")
    old = b.tensor(T((1, 2, 4), *q))
    b.op("READ_VARIABLE", handles[:1], [old])
    whole, rows = b.tensor(T((1, 5, 4), *q)), b.tensor(T((1, 2, 4), *q))
    b.op("CONCATENATION", [old, x], [whole], "ConcatenationOptions", axis=1)
    cut = [b.tensor(constant(v, dtype="int32")) for v in ([0, 3, 0], [1, 5, 4], [1, 1, 1])]
    b.op("STRIDED_SLICE", [whole, *cut], [rows], "StridedSliceOptions")
    b.op("ASSIGN_VARIABLE", [handles[0], rows], [])
    seen, made = b.tensor(T((1, 5, 4), *q)), b.tensor(T((1, 5, 4), *q))
    b.op("READ_VARIABLE", handles[1:], [seen])
    b.op("SUB", [whole, seen], [made], "SubOptions")
    b.op("ASSIGN_VARIABLE", [handles[1], made], [])
    outs = [made]
    if order == "assign":
        again, twice = b.tensor(T((1, 5, 4), *q)), b.tensor(T((1, 5, 4), 0.1, 0))
        b.op("READ_VARIABLE", handles[1:], [again])
        b.op("ADD", [again, whole], [twice], "AddOptions")
        outs = [twice]
    elif order == "both":
        outs = [made, seen, rows]
    if first:
        b.subgraph()
        for i, shape in enumerate(((1, 2, 4), (1, 5, 4))):
            handle = b.tensor(T((), dtype="resource"))
            b.op("VAR_HANDLE", [], [handle], "VarHandleOptions", container="", sharedName=f"v{i}")
            b.op("ASSIGN_VARIABLE", [handle, b.tensor(constant(rng.integers(-128, 128, shape), *q))], [])
        b.main()
    return b.build([x], outs)


def products(rng) -> Iterator[tuple[str, bytes]]:
    """Return BATCH_MATMUL: adjoints, broadcast batches, constants."""
    shapes = (
        ((4, 6), (6, 5)), ((2, 4, 6), (2, 6, 5)), ((1, 4, 6), (2, 6, 5)), ((3, 4, 6), (1, 6, 5)), ((2, 4, 6), (6, 5)),
        ((2, 3, 4, 6), (2, 1, 6, 5)), ((1, 1, 6), (1, 6, 7)), ((2, 1, 2, 3), (1, 3, 3, 4)),
    )  # fmt: skip
    for a, c in shapes:
        for adjoint_a, adjoint_b, fixed in ((0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1), (0, 1, 1), (1, 1, 1)):
            left = (*a[:-2], a[-1], a[-2]) if adjoint_a else a
            right = (*c[:-2], c[-1], c[-2]) if adjoint_b else c
            values = constant(rng.integers(-127, 128, right), 0.03, 0 if adjoint_b else 4)
            tensors = [T(left, 0.05, -11), values if fixed else T(right, 0.03, 9)]
            out = (*np.broadcast_shapes(a[:-2], c[:-2]), a[-2], c[-1])
            b = Builder()
            ins = [b.tensor(t) for t in tensors]
            y = b.tensor(T(out, 0.3, 6))
            b.op("BATCH_MATMUL", ins, [y], "BatchMatMulOptions", adjX=bool(adjoint_a), adjY=bool(adjoint_b))
            yield f"BATCH_MATMUL {left} {right} {adjoint_a}{adjoint_b}{fixed}", b.build(ins[: 2 - fixed], [y])
