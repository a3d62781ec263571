# SPDX-License-Identifier: MIT
"""Cutting an int8 network at its embedding keeps the embedding's bits."""

from __future__ import annotations

import flatbuffers
import numpy as np
import pytest
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from cheep.device.bundle import load_bundle
from cheep.errors import CheepError
from cheep.hdc.extractor import cut_at_embedding, write_extractor
from cheep.tflite.model import read_model, write_metadata
from cheep.tflite.tflm import TflmModel
from tone_model import FEATURES, _buffer, _code, _operator, _tensor, tone_model

SIZE = FEATURES.window_frames * FEATURES.n_mels


def network(layers: int, dims: int = 24) -> bytes:
    """Dense (window -> dims) and, for two layers, dense (dims -> 3) and softmax; the same first weights always."""
    rng = np.random.default_rng(4)
    first = rng.integers(-127, 128, (dims, SIZE)).astype(np.int8)
    second = rng.integers(-127, 128, (3, dims)).astype(np.int8)
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.description = 3, "two layers"
    model.buffers = [_buffer(v) for v in (None, first, np.zeros(dims, "<i4"), second, np.ones(3, "<i4"))]
    graph.tensors = [
        _tensor("window", (1, FEATURES.window_frames, FEATURES.n_mels, 1), 0.5, 3),
        _tensor("w1", first.shape, 0.002, 0, 1),
        _tensor("b1", (dims,), 0.001, 0, 2, schema.TensorType.INT32),
        _tensor("embedding", (1, dims), 2.0, -20),
        _tensor("w2", second.shape, 0.01, 0, 3),
        _tensor("b2", (3,), 0.02, 0, 4, schema.TensorType.INT32),
        _tensor("logits", (1, 3), 0.9, 0),
        _tensor("scores", (1, 3), 1 / 256, -128),
    ]
    graph.operators = [_operator(0, [0, 1, 2], [3]), _operator(0, [3, 4, 5], [6]), _operator(1, [6], [7])]
    graph.operators = graph.operators[: 1 if layers == 1 else 3]
    for operator in graph.operators:
        if operator.opcodeIndex == 0:
            operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
            operator.builtinOptions = schema.FullyConnectedOptionsT()
        else:
            operator.builtinOptionsType = schema.BuiltinOptions.SoftmaxOptions
            operator.builtinOptions = schema.SoftmaxOptionsT()
            operator.builtinOptions.beta = 1.0
    graph.inputs, graph.outputs = [0], [3 if layers == 1 else 7]
    model.subgraphs = [graph]
    model.operatorCodes = [_code(schema.BuiltinOperator.FULLY_CONNECTED, 4), _code(schema.BuiltinOperator.SOFTMAX, 2)]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def test_the_cut_network_gives_the_embedding_under_the_scores():
    windows = np.random.default_rng(0).integers(-128, 128, (5, FEATURES.window_frames, FEATURES.n_mels)).astype(np.int8)
    extractor = cut_at_embedding(write_metadata(network(2), {"labels": ["a"]}))
    expected = TflmModel(network(1)).scores(windows)
    assert len(np.unique(expected)) > 20
    assert np.array_equal(extractor.embed(windows), expected)
    assert np.array_equal(TflmModel(extractor.data).scores(windows), expected)
    assert (extractor.n_dims, extractor.scale, extractor.zero_point) == (24, 2.0, -20)
    assert extractor.head_bytes == 3 * 24 + 12
    info = read_model(extractor.data)
    assert info.operators == {"FULLY_CONNECTED": 1} and info.metadata["cut_from_sha256"]


def test_the_extractor_is_a_model_like_any_other(tmp_path):
    extractor = cut_at_embedding(network(2))
    sha256 = write_extractor(tmp_path, "extractor_int8.tflite", extractor, FEATURES, 7)
    bundle = load_bundle(tmp_path)
    assert bundle.model.sha256 == sha256 and len(bundle.labels) == 24
    assert bundle.detector.threshold == (None,) * 24 and bundle.detector.stride_frames == 7


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (tone_model, "does not end in a dense layer"),
        (lambda: network(1), "does not end in a dense layer"),
        (lambda: network(2, dims=300), r"embedding has 300 values; at most 256 \(choose a narrower network\)"),
        (lambda: b"nonsense" * 20, "not a .tflite file"),
    ],
)
def test_what_cannot_be_cut_is_refused(model, message):
    with pytest.raises(CheepError, match=message):
        cut_at_embedding(model())
