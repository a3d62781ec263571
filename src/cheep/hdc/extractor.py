# SPDX-License-Identifier: MIT
"""The feature extractor: an int8 ``.tflite`` network cut at its embedding, the input of the last dense layer."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from cheep.config import DetectorConfig, FeatureConfig
from cheep.errors import CheepError
from cheep.hdc.config import MAX_DIMS
from cheep.tflite.flatbuffer import drop_unused, names_of, pack, schema, unpack
from cheep.tflite.model import read_model, write_metadata

MAX_FIRMWARE_DIMS = 64  # CHEEP_MAX_CLASSES: the embedding takes the place of the scores
_HEADS = ("FULLY_CONNECTED", "SOFTMAX", "LOGISTIC", "RESHAPE", "QUANTIZE", "DEQUANTIZE")


@dataclasses.dataclass(frozen=True)
class Extractor:
    """A network whose output is the embedding.

    Attributes
    ----------
    data
        The flatbuffer: the same operators and weights as the detector's, up to the embedding, so that the embedding
        is bit for bit the one under the detector's scores.
    n_dims
        Size of the embedding.
    scale, zero_point
        Quantization of the embedding: ``real = (q - zero_point) * scale``.
    head_bytes
        Bytes of weights and biases of the layers cut off.
    """

    data: bytes
    n_dims: int
    scale: float
    zero_point: int
    head_bytes: int

    @property
    def sha256(self) -> str:
        """SHA-256 of the flatbuffer, hexadecimal."""
        return read_model(self.data).sha256

    def embed(self, windows: np.ndarray) -> np.ndarray:
        """Return the embeddings (n, n_dims) int8 of int8 windows (n, columns, mels).

        Runs the compiled network, which has TFLM's bits; TFLM itself where the compiler does not know an operator.
        """
        return self._engine().scores(windows)

    def _engine(self) -> Any:
        from cheep.compiler import CompiledModel
        from cheep.tflite.tflm import TflmModel

        try:
            return CompiledModel(self.data)
        except CheepError:
            return TflmModel(self.data)


def cut_at_embedding(model: str | os.PathLike | bytes) -> Extractor:
    """Cut an int8 classifier before its last dense layer.

    Parameters
    ----------
    model : path or bytes
        An int8 ``.tflite`` with one input and one output that ends in a dense layer (and softmax or sigmoid).

    Raises
    ------
    CheepError
        It does not end so, or its embedding is too wide or not int8.
    """
    info = read_model(model)
    name = "model" if isinstance(model, bytes) else str(model)
    net = unpack(info.data)
    graph = net.subgraphs[0]
    if len(net.subgraphs) != 1 or len(graph.outputs) != 1:
        raise CheepError(
            f"{name}: has several graphs or outputs; an extractor is cut from a classifier with one output"
        )
    dense = _last_dense(net, graph, name)
    embedding = int(graph.operators[dense].inputs[0])
    head = graph.operators[dense:]
    tensor = graph.tensors[embedding]
    n_dims = int(np.prod(tensor.shape[1:]))
    if tensor.type != schema().TensorType.INT8:
        raise CheepError(f"{name}: its embedding is not int8; quantize the network first (cheep train-qat)")
    if n_dims > MAX_DIMS:
        raise CheepError(f"{name}: its embedding has {n_dims} values; at most {MAX_DIMS} (choose a narrower network)")
    head_bytes = sum(
        len(net.buffers[graph.tensors[i].buffer].data)
        for op in head
        for i in op.inputs
        if i >= 0 and net.buffers[graph.tensors[i].buffer].data is not None
    )
    graph.operators = graph.operators[:dense]
    graph.outputs = np.array([embedding], np.int32)
    drop_unused(net, graph)
    net.signatureDefs = []
    data = pack(net)
    if info.metadata is not None:
        kept = {name: value for name, value in info.metadata.items() if name != "scores"}
        data = write_metadata(data, {**kept, "cut_from_sha256": info.sha256})
    out = read_model(data).outputs[0]
    return Extractor(data, n_dims, out.scale, out.zero_point, head_bytes)


def write_extractor(folder: Path, name: str, extractor: Extractor, features: FeatureConfig, stride_frames: int) -> str:
    """Write the extractor as a model that every tool and firmware of the project takes; return its sha256.

    Its "labels" are the values of the embedding, ``e00``, ``e01``, ..., and none makes an event; the golden windows of
    the boot check cover it like any model. An embedding of more than 64 values, which the application cannot carry,
    is written without a manifest.
    """
    from cheep.convert.bundle import write_bundle
    from cheep.files import write_bytes

    n = extractor.n_dims
    if n > MAX_FIRMWARE_DIMS:
        write_bytes(folder / name, extractor.data)
        return extractor.sha256
    manifest = write_bundle(
        folder,
        name,
        extractor.data,
        features=features,
        labels=[f"e{i:02d}" for i in range(n)],
        detector=DetectorConfig(stride_frames=stride_frames, threshold=(None,) * n),
    )
    return manifest["model"]["sha256"]


def _last_dense(net: Any, graph: Any, name: str) -> int:
    kinds = names_of("BuiltinOperator")
    for i in reversed(range(len(graph.operators))):
        code = net.operatorCodes[graph.operators[i].opcodeIndex]
        kind = kinds.get(max(code.builtinCode, code.deprecatedBuiltinCode), "?")
        if i > 0 and (kind == "FULLY_CONNECTED" or (kind == "CONV_2D" and _is_dense(graph, graph.operators[i]))):
            return i
        if kind not in _HEADS:
            break
    raise CheepError(f"{name}: does not end in a dense layer; an extractor is the network before its last dense layer")


def _is_dense(graph: Any, op: Any) -> bool:
    """A 1 x 1 convolution of one point, as the converter writes a dense layer after a global pooling."""
    shapes = [list(graph.tensors[int(i)].shape) for i in (op.inputs[0], op.inputs[1], op.outputs[0])]
    return all(list(shape[1:3]) == [1, 1] for shape in shapes)
