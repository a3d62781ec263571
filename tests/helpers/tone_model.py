# SPDX-License-Identifier: MIT
"""A detector of two tones without training: one dense layer of matched mel weights, written as a .tflite by hand.

Class ``low`` answers to energy around 1 kHz, class ``high`` to energy around 3 kHz that stands out of the rest of the
spectrum; class ``background`` never makes an event. For tests of everything around a model.
"""

from __future__ import annotations

import os
from pathlib import Path

import flatbuffers
import numpy as np
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from cheep.config import DetectorConfig, FeatureConfig
from cheep.convert.bundle import write_bundle
from cheep.features import compute_features, mel_points_hz, quantize
from cheep.tflite.logits import cut_activation, with_output_scale
from cheep.tflite.model import read_model

LABELS = ("background", "high", "low")
CENTRES_HZ = {"high": 3000.0, "low": 1000.0}
FEATURES = FeatureConfig()
DETECTOR = DetectorConfig(
    stride_frames=10, smoothing_windows=2, min_windows=1, hold_off_windows=2, threshold=(None, 0.6, 0.6)
)
IN_SCALE, IN_ZERO = 0.5, 60  # -94 .. +33.5 dB
DB_PER_LOGIT = 3.0
OUTSTANDING_DB = 10.0  # at which the score is 0.5
# Of columns in PCEN units (or both forms): scale and zero point, units per logit, units at which the score is 0.5.
PCEN_UNITS = (1 / 64, -128, 0.1, 0.3)


def tone_model(features: FeatureConfig = FEATURES, labels: tuple[str, ...] = LABELS) -> bytes:
    """Return the model: int8 (1, frames, mels, 1) -> FULLY_CONNECTED -> LOGISTIC -> int8 (1, labels).

    A label that is no tone hears nothing.
    """
    n = len(labels)
    frames, mels = features.window_frames, features.bands
    in_scale, in_zero, per_logit, outstanding = units_of(features)
    edges = mel_points_hz(features)
    centres = np.asarray(edges)[1:-1]
    weights = np.zeros((n, mels))
    for row, label in enumerate(labels):
        if label in CENTRES_HZ:
            inside = np.argsort(np.argsort(np.abs(centres - CENTRES_HZ[label]))) < 3
            weights[row, inside] = 1 / inside.sum()
            weights[row, ~inside] = -1 / (~inside).sum()
    weights = np.repeat(weights, features.n_mels // mels, 1) / (features.n_mels // mels)
    weights = np.repeat(weights[:, None, :], frames, 1).reshape(n, -1) / frames / per_logit
    w_scale = np.abs(weights).max() / 127
    w_q = np.clip(np.rint(weights / w_scale), -127, 127).astype(np.int8)
    bias = np.array([-outstanding / per_logit if label in CENTRES_HZ else -3.0 for label in labels])
    b_q = np.rint(bias / (w_scale * in_scale)).astype("<i4")

    model = schema.ModelT()
    model.version, model.description = 3, "tones"
    model.buffers = [_buffer(None), _buffer(w_q), _buffer(b_q)]
    graph = schema.SubGraphT()
    graph.tensors = [
        _tensor("window", (1, frames, features.n_mels, 1), in_scale, in_zero),
        _tensor("weights", w_q.shape, w_scale, 0, 1),
        _tensor("bias", b_q.shape, w_scale * in_scale, 0, 2, schema.TensorType.INT32),
        _tensor("logits", (1, n), 0.1, 0),
        _tensor("scores", (1, n), 1 / 256, -128),
    ]
    dense = _operator(0, [0, 1, 2], [3])
    dense.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    dense.builtinOptions = schema.FullyConnectedOptionsT()
    graph.operators = [dense, _operator(1, [3], [4])]
    graph.inputs, graph.outputs = [0], [4]
    model.subgraphs = [graph]
    model.operatorCodes = [
        _code(schema.BuiltinOperator.FULLY_CONNECTED, 4),
        _code(schema.BuiltinOperator.LOGISTIC, 2),
    ]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def units_of(features: FeatureConfig) -> tuple[float, int, float, float]:
    """Return scale and zero point of the model's input, what makes a logit, and where the score is 0.5."""
    return (IN_SCALE, IN_ZERO, DB_PER_LOGIT, OUTSTANDING_DB) if features.compression == "db" else PCEN_UNITS


def write_tone_run(
    folder: Path,
    features: FeatureConfig = FEATURES,
    detector: DetectorConfig = DETECTOR,
    labels: tuple[str, ...] = LABELS,
    logits: str | None = None,
) -> Path:
    """Write ``bird_detector_int8.tflite`` and ``manifest.json`` into ``folder``; return the folder.

    ``logits``: "logit" or "log_odds", what the model gives in place of the sigmoid of the older models.
    """
    folder.mkdir(parents=True, exist_ok=True)
    window = quantize(compute_features(tones([(0, 1, "high")], 2), features), *units_of(features)[:2])
    model, scores = tone_model(features, labels), None
    if logits:
        model = with_output_scale(cut_activation(model)[0], float(np.float32(0.06)), -30)
        out = read_model(model).outputs[0]
        scores = {"kind": logits, "scale": out.scale, "zero_point": out.zero_point}
    write_bundle(
        folder,
        "bird_detector_int8.tflite",
        model,
        features=features,
        labels=labels,
        detector=detector,
        golden=window[: features.window_frames],
        data={},
        training={},
        scores=scores,
    )
    return folder


def tones(spans: list[tuple[float, float, str]], seconds: float, seed: int = 1, rate: int = 8000) -> np.ndarray:
    """Return int16 noise with tones ``(start_s, end_s, label)`` in it."""
    rng = np.random.default_rng(seed)
    out = rng.normal(0, 0.003, round(seconds * rate))
    t = np.arange(len(out)) / rate
    for start, end, label in spans:
        inside = (t >= start) & (t < end)
        out[inside] += 0.05 * np.sin(2 * np.pi * CENTRES_HZ[label] * t[inside])
    return np.clip(np.rint(out * 32768), -32768, 32767).astype(np.int16)


def overloaded() -> str:
    """Return why this machine cannot run anything in real time just now, or an empty string."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    return f"load {load:.0f} on {cores} cores: nothing runs in real time here now" if load > 2.5 * cores else ""


def _buffer(values: np.ndarray | None):
    buffer = schema.BufferT()
    if values is not None:
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    return buffer


def _tensor(name, shape, scale, zero_point, buffer=0, kind=schema.TensorType.INT8):
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), kind, buffer
    tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.scale, tensor.quantization.zeroPoint = [float(scale)], [int(zero_point)]
    return tensor


def _operator(code, inputs, outputs):
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, inputs, outputs
    return operator


def _code(builtin, version):
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = builtin
    code.version = version
    return code
