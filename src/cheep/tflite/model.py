"""The ``.tflite`` file without TensorFlow: what it takes and gives, its operators, and Cheep's metadata in it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from cheep.errors import CheepError

METADATA_NAME = "CHEEP"
_IDENTIFIER = b"TFL3"


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
    name, data = _load(source)
    schema = _schema()
    try:
        model = schema.Model.GetRootAs(data, 0)
        graph = model.Subgraphs(0)
        if graph is None:
            raise ValueError("it has no graph")
        inputs = tuple(_tensor(schema, graph.Tensors(int(i))) for i in graph.InputsAsNumpy())
        outputs = tuple(_tensor(schema, graph.Tensors(int(i))) for i in graph.OutputsAsNumpy())
        operators = Counter(
            _operator_name(schema, model.OperatorCodes(graph.Operators(i).OpcodeIndex()))
            for i in range(graph.OperatorsLength())
        )
        metadata = _metadata(model)
    except CheepError:
        raise
    except Exception as error:  # the flatbuffer library raises many kinds on damaged bytes
        raise CheepError(f"{name}: damaged or truncated .tflite file ({error}); convert the model again") from None
    return TfliteModel(data, inputs, outputs, dict(sorted(operators.items())), metadata)


def write_metadata(data: bytes, values: dict[str, Any]) -> bytes:
    """Return the model's bytes with ``values`` as its metadata buffer ``CHEEP`` (replacing an older one)."""
    import flatbuffers

    from cheep.config import canonical_json

    schema = _schema()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    text = np.frombuffer(canonical_json(values).encode(), np.uint8)
    model.metadata = model.metadata or []
    for entry in model.metadata:
        if _text(entry.name) == METADATA_NAME:
            model.buffers[entry.buffer].data = text
            break
    else:
        buffer = schema.BufferT()
        buffer.data = text
        model.buffers.append(buffer)
        entry = schema.MetadataT()
        entry.name, entry.buffer = METADATA_NAME, len(model.buffers) - 1
        model.metadata.append(entry)
    builder = flatbuffers.Builder(len(data) + len(text) + 1024)
    builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def _load(source: str | os.PathLike | bytes) -> tuple[str, bytes]:
    if isinstance(source, bytes):
        name, data = "model", source
    else:
        path = Path(source)
        if not path.is_file():
            raise CheepError(f"{path}: no such model file; train one first (python src/train.py) or check the path")
        name, data = str(path), path.read_bytes()
    if len(data) < 64 or data[4:8] != _IDENTIFIER:
        raise CheepError(f"{name}: not a .tflite file (no '{_IDENTIFIER.decode()}' mark); give a TensorFlow Lite model")
    return name, data


def _schema():
    from tflite_micro.tensorflow.lite.micro.python import schema_py_generated

    return schema_py_generated


def _names_of(enum) -> dict[int, str]:
    return {value: key for key, value in vars(enum).items() if isinstance(value, int)}


def _operator_name(schema, code) -> str:
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    name = _names_of(schema.BuiltinOperator).get(number, f"OPERATOR_{number}")
    return f"CUSTOM:{_text(code.CustomCode())}" if name == "CUSTOM" else name


def _tensor(schema, tensor) -> TensorInfo:
    quantization = tensor.Quantization()
    quantized = quantization is not None and quantization.ScaleLength() > 0
    return TensorInfo(
        name=_text(tensor.Name()),
        shape=tuple(int(n) for n in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else (),
        dtype=_names_of(schema.TensorType).get(tensor.Type(), "?").lower(),
        scale=float(quantization.Scale(0)) if quantized else 0.0,
        zero_point=int(quantization.ZeroPoint(0)) if quantized else 0,
    )


def _metadata(model) -> dict[str, Any] | None:
    for i in range(model.MetadataLength()):
        entry = model.Metadata(i)
        if _text(entry.Name()) == METADATA_NAME:
            raw = bytes(model.Buffers(entry.Buffer()).DataAsNumpy())
            return json.loads(raw)
    return None


def _text(value) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else (value or "")
