# SPDX-License-Identifier: MIT
"""The ``.tflite`` file without TensorFlow: what it takes and gives, its operators, and Cheep's metadata in it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections import Counter
from typing import Any

import numpy as np

from cheep.errors import CheepError
from cheep.tflite.flatbuffer import dtype_of, operator_name, pack, read_bytes, schema, text, unpack

METADATA_NAME = "CHEEP"


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """One input or output: quantization is ``real = (q - zero_point) * scale`` (scale 0: none)."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values (``manifest.json``)."""
        return {**dataclasses.asdict(self), "shape": list(self.shape)}


@dataclasses.dataclass(frozen=True)
class TfliteModel:
    """A model file: bytes, inputs, outputs, builtin operators with their number, metadata of Cheep (or None)."""

    data: bytes
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    operators: dict[str, int]
    metadata: dict[str, Any] | None

    @property
    def sha256(self) -> str:
        """SHA-256 of the file's bytes, hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()


def read_model(source: str | os.PathLike | bytes) -> TfliteModel:
    """Read a ``.tflite`` file or its bytes.

    Raises
    ------
    CheepError
        Missing, empty, truncated or foreign file.
    """
    name, data = read_bytes(source)
    try:
        model = schema().Model.GetRootAs(data, 0)
        graph = model.Subgraphs(0)
        if graph is None:
            raise ValueError("it has no graph")
        inputs = tuple(_tensor(graph.Tensors(int(i))) for i in graph.InputsAsNumpy())
        outputs = tuple(_tensor(graph.Tensors(int(i))) for i in graph.OutputsAsNumpy())
        operators = Counter(
            operator_name(model.OperatorCodes(graph.Operators(i).OpcodeIndex())) for i in range(graph.OperatorsLength())
        )
        metadata = _metadata(model)
    except CheepError:
        raise
    except Exception as error:  # the flatbuffer library raises many kinds on damaged bytes
        raise CheepError(f"{name}: damaged or truncated .tflite file ({error}); convert the model again") from None
    return TfliteModel(data, inputs, outputs, dict(sorted(operators.items())), metadata)


def write_metadata(data: bytes, values: dict[str, Any]) -> bytes:
    """Return the model's bytes with ``values`` as its metadata buffer ``CHEEP`` (replacing an older one)."""
    from cheep.config import canonical_json

    model = unpack(data)
    content = np.frombuffer(canonical_json(values).encode(), np.uint8)
    model.metadata = model.metadata or []
    for entry in model.metadata:
        if text(entry.name) == METADATA_NAME:
            model.buffers[entry.buffer].data = content
            break
    else:
        buffer = schema().BufferT()
        buffer.data = content
        model.buffers.append(buffer)
        entry = schema().MetadataT()
        entry.name, entry.buffer = METADATA_NAME, len(model.buffers) - 1
        model.metadata.append(entry)
    return pack(model)


def _tensor(tensor: Any) -> TensorInfo:
    quantization = tensor.Quantization()
    quantized = quantization is not None and quantization.ScaleLength() > 0
    return TensorInfo(
        name=text(tensor.Name()),
        shape=tuple(int(n) for n in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else (),
        dtype=dtype_of(tensor),
        scale=float(quantization.Scale(0)) if quantized else 0.0,
        zero_point=int(quantization.ZeroPoint(0)) if quantized else 0,
    )


def _metadata(model) -> dict[str, Any] | None:
    for i in range(model.MetadataLength()):
        entry = model.Metadata(i)
        if text(entry.Name()) == METADATA_NAME:
            raw = bytes(model.Buffers(entry.Buffer()).DataAsNumpy())
            return json.loads(raw)
    return None
