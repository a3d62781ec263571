# SPDX-License-Identifier: MIT
"""The flatbuffer itself: the schema, names of its numbers, text, and whole models to change and to write."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import numpy as np

from cheep.errors import CheepError

_IDENTIFIER = b"TFL3"


@functools.cache
def schema() -> Any:
    """Return the generated schema (tflite-micro's; no TensorFlow)."""
    from tflite_micro.tensorflow.lite.micro.python import schema_py_generated

    return schema_py_generated


@functools.cache
def names_of(enum: str) -> dict[int, str]:
    """Return the names of an enumeration of the schema by number."""
    return {value: key for key, value in vars(getattr(schema(), enum)).items() if isinstance(value, int)}


def text(value: Any) -> str:
    """Return a string of a flatbuffer."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else (value or "")


def dtype_of(tensor: Any) -> str:
    """Return a tensor's type in lower case, as numpy names it where numpy has it."""
    return names_of("TensorType").get(tensor.Type(), f"type {tensor.Type()}").lower()


def is_outside(buffer: Any) -> bool:
    """Whether a buffer's bytes lie behind the flatbuffer, as in files of more than 2 GB."""
    return buffer.Offset() > 1 and buffer.Size() > 1


def operator_name(code: Any) -> str:
    """Return the name of an operator code, ``CUSTOM:NAME`` for one that is not built in."""
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    name = names_of("BuiltinOperator").get(number, f"OPERATOR_{number}")
    return f"CUSTOM:{text(code.CustomCode()) or '?'}" if name == "CUSTOM" else name


def read_bytes(source: str | os.PathLike | bytes, name: str | None = None) -> tuple[str, bytes]:
    """Return the name and the bytes of a ``.tflite``; raises CheepError where it is missing or something else."""
    if isinstance(source, bytes):
        name, data = name or "model", source
    else:
        path = Path(source)
        if not path.is_file():
            raise CheepError(f"{path}: no such model file; train one first (cheep train) or check the path")
        name, data = name or str(path), path.read_bytes()
    if len(data) < 64 or data[4:8] != _IDENTIFIER:
        raise CheepError(f"{name}: not a .tflite file (no '{_IDENTIFIER.decode()}' mark); give a TensorFlow Lite model")
    return name, data


def unpack(data: bytes) -> Any:
    """Return a model as objects that can be changed (``ModelT``)."""
    return schema().ModelT.InitFromObj(schema().Model.GetRootAs(data, 0))


def pack(model: Any) -> bytes:
    """Return the bytes of a changed model."""
    import flatbuffers

    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def drop_unused(net: Any, graph: Any) -> None:
    """Drop tensors, buffers and operator codes that nothing refers to, and number the rest anew; metadata goes, too."""
    used = {int(i) for op in graph.operators for i in [*op.inputs, *op.outputs] if i >= 0}
    used |= {int(i) for i in [*graph.inputs, *graph.outputs]}
    kept = sorted(used)
    place = {old: new for new, old in enumerate(kept)} | {-1: -1}
    for op in graph.operators:
        op.inputs = np.array([place[int(i)] for i in op.inputs], np.int32)
        op.outputs = np.array([place[int(i)] for i in op.outputs], np.int32)
    graph.inputs = np.array([place[int(i)] for i in graph.inputs], np.int32)
    graph.outputs = np.array([place[int(i)] for i in graph.outputs], np.int32)
    graph.tensors = [graph.tensors[i] for i in kept]
    net.metadata, net.metadataBuffer = [], None
    buffers = sorted({0} | {t.buffer for t in graph.tensors})
    slot = {old: new for new, old in enumerate(buffers)}
    for t in graph.tensors:
        t.buffer = slot[t.buffer]
    net.buffers = [net.buffers[i] for i in buffers]
    codes = sorted({op.opcodeIndex for op in graph.operators})
    for op in graph.operators:
        op.opcodeIndex = codes.index(op.opcodeIndex)
    net.operatorCodes = [net.operatorCodes[i] for i in codes]
