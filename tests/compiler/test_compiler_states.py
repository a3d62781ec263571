# SPDX-License-Identifier: MIT
"""Networks that keep something from run to run, and files that are laid out in unusual ways."""

from __future__ import annotations

import flatbuffers
import numpy as np
import pytest
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from cheep.compiler import CompiledModel, compile_bytes
from cheep.errors import CheepError
from cheep.tflite.tflm import TflmModel
from compiler_grid import convolution
from recurrent_grid import lstm, recurrent, svdf, variables
from tflite_builder import Builder, T, constant


def _packed(model) -> bytes:
    builder = flatbuffers.Builder(1 << 14)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _inputs(model: CompiledModel, rng) -> list[np.ndarray]:
    return [rng.integers(-128, 128, t.shape).astype(np.int8) for t in model.inputs]


@pytest.mark.parametrize(
    "data", [variables(np.random.default_rng(0)), lstm(np.random.default_rng(1))], ids=["variables", "lstm"]
)
def test_a_state_lives_from_run_to_run_until_reset(data):
    rng = np.random.default_rng(7)
    compiled, reference = CompiledModel(data), TflmModel(data)
    assert compiled.compiled.states and "_reset(" in compiled.compiled.header
    runs = [_inputs(compiled, rng) for _ in range(5)]
    for _ in range(2):
        made = []
        for inputs in runs:
            made.append(compiled.invoke(*inputs)[0].tobytes())
            reference.invoke(*inputs)
            assert made[-1] == reference.output(0).tobytes()
        compiled.reset()
        reference.reset()
    assert compiled.invoke(*runs[-1])[0].tobytes() != made[-1], "the last run did not depend on those before"


def test_memory_of_states_never_exceeds_the_arena():
    for name, data in recurrent(np.random.default_rng(2)):
        compiled = compile_bytes(data, name=name)
        model = TflmModel(data)
        assert compiled.memory_bytes + int(np.prod(model.input_shape)) <= model.arena_bytes, name


def test_the_firmware_forgets_through_reset():
    rng = np.random.default_rng(3)
    text = compile_bytes(svdf(rng)).source
    assert "void cheep_model_forget(void) {\n    model_compiled_reset(&CHEEP_WINDOW_MEMORY);\n}" in text


def _variable_model(change) -> bytes:
    b, q = Builder(), (0.05, -3)
    x, y, handle = b.tensor(T((1, 4), *q)), b.tensor(T((1, 4), *q)), b.tensor(T((), dtype="resource"))
    b.op("VAR_HANDLE", [], [handle], "VarHandleOptions", container="", sharedName="v")
    change(b, x, y, handle)
    return b.build([x], [y])


def _never_assigned(b, x, y, handle):
    b.op("READ_VARIABLE", [handle], [y])


def _assigned_a_constant(b, x, y, handle):
    b.op("READ_VARIABLE", [handle], [y])
    b.op("ASSIGN_VARIABLE", [handle, b.tensor(constant([[1, 2, 3, 4]], 0.05, -3))], [])


def _of_two_shapes(b, x, y, handle):
    b.op("READ_VARIABLE", [handle], [y])
    b.op("ASSIGN_VARIABLE", [handle, b.tensor(T((1, 5), 0.05, -3))], [])


def _not_a_handle(b, x, y, handle):
    b.op("READ_VARIABLE", [x], [y])


def _read_into_nothing(b, x, y, handle):
    b.op("READ_VARIABLE", [handle], [])
    b.op("ASSIGN_VARIABLE", [handle, x], [])


def _called_late(b, x, y, handle):
    b.op("ASSIGN_VARIABLE", [handle, x], [])
    b.op("CALL_ONCE", [], [], "CallOnceOptions", initSubgraphIndex=1)
    b.op("RELU", [x], [y])
    b.subgraph()
    b.tensor(T((1,), 0.05))
    b.main()


@pytest.mark.parametrize(
    "change, message",
    [
        (_never_assigned, "variable 'v' is read and never assigned"),
        (_assigned_a_constant, "'v' is assigned a constant"),
        (_of_two_shapes, "variable 'v' is int8 .1, 4. and int8 .1, 5."),
        (_not_a_handle, "does not name its variable"),
        (_read_into_nothing, "a READ_VARIABLE without a result"),
        (_called_late, "CALL_ONCE behind operators that use variables"),
    ],
)
def test_variables_that_cannot_be_followed(change, message):
    with pytest.raises(CheepError, match=message):
        compile_bytes(_variable_model(change))


@pytest.mark.parametrize(
    "options, rule",
    [
        ({"cell_power": 16}, "power of two, 2.-15 to 1"),
        ({"clip": -1.0}, "cell_clip=-1.0"),
        ({"gain": 1e6}, "times another's"),
    ],
)
def test_recurrent_layers_outside_of_what_is_exact(options, rule):
    with pytest.raises(CheepError, match=rf"UNIDIRECTIONAL_SEQUENCE_LSTM.*{rule}"):
        compile_bytes(lstm(np.random.default_rng(4), **options))


def test_what_nobody_uses_may_be_anything(rng):
    data = convolution(rng)
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    empty = schema.TensorT()
    empty.shape, empty.type, empty.name, empty.buffer = [1, 0], schema.TensorType.INT8, "empty", 0
    model.subgraphs[0].tensors.append(empty)
    other = schema.SubGraphT()
    other.tensors, other.operators, other.inputs, other.outputs = [empty], [], [], []
    model.subgraphs.append(other)
    changed = _packed(model)
    x = rng.integers(-128, 128, (1, 7, 9, 3)).astype(np.int8)
    expected = TflmModel(changed).invoke(x).tobytes()
    assert CompiledModel(changed).invoke(x)[0].tobytes() == expected == TflmModel(data).invoke(x).tobytes()


def test_weights_behind_the_flatbuffer(rng):
    """TFLite writes large models so. TFLM does not look there, and would compute with what it finds."""
    data = convolution(rng)
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    raw = [bytes(np.array(b.data, np.uint8)) for b in model.buffers[1:]]
    for buffer, values in zip(model.buffers[1:], raw, strict=True):
        buffer.data, buffer.offset, buffer.size = None, 2, len(values)
    out = bytearray(_packed(model))
    head = len(out)
    for buffer, values in zip(model.buffers[1:], raw, strict=True):
        out += bytes(-len(out) % 16)
        buffer.offset = len(out)
        out += values
    out[:head] = _packed(model)
    x = rng.integers(-128, 128, (1, 7, 9, 3)).astype(np.int8)
    made = CompiledModel(bytes(out)).invoke(x)[0]
    assert made.tobytes() == TflmModel(data).invoke(x).tobytes()
    with pytest.raises(CheepError, match="behind the flatbuffer, where TFLM does not look"):
        TflmModel(bytes(out))
    with pytest.raises(CheepError, match=r"buffer 1 lies at \d+ to \d+ in a file of"):
        compile_bytes(bytes(out[: head + 20]))
