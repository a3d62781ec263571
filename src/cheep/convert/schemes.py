# SPDX-License-Identifier: MIT
"""Keras or graph -> ``.tflite`` in each quantization scheme. Calibration is on real examples, always."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np

from cheep.convert.config import CALIBRATED
from cheep.convert.tflite import run_converter
from cheep.errors import CheepError
from cheep.tf_runtime import import_tf, quiet_stderr

MIN_CALIBRATION = 16


def to_scheme(
    model: Any,
    input_shape: tuple[int, ...],
    scheme: str,
    calibration: np.ndarray | None = None,
    quantization_aware: bool = False,
) -> bytes:
    """Return the ``.tflite`` bytes of ``model`` in ``scheme``, batch 1.

    Parameters
    ----------
    model : Keras model or callable of one tensor (batch, ...) float32.
    input_shape : without batch.
    calibration : (n, *input_shape) float32, real examples; needed by the integer schemes unless
        ``quantization_aware``. Constant or unstructured random numbers are refused: see :func:`check_calibration`.
    quantization_aware : the model carries its ranges (tfmot).
    """
    tf = import_tf()
    converter = concrete_converter(model, input_shape)
    if scheme == "none":
        return run_converter(converter)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if scheme == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if scheme in CALIBRATED:
        if not quantization_aware:
            # (a quantization-aware network brings its ranges, and is integer by itself)
            examples = check_calibration(calibration, input_shape)
            sets = tf.lite.OpsSet
            converter.target_spec.supported_ops = {
                "int16x8": [sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8],
                "integer_with_float_fallback": [sets.TFLITE_BUILTINS],
            }.get(scheme, [sets.TFLITE_BUILTINS_INT8])
            converter.representative_dataset = lambda: ([row[None].astype(np.float32)] for row in examples)
        if scheme == "int8":
            converter.inference_input_type = converter.inference_output_type = tf.int8
        if scheme == "int16x8":
            converter.inference_input_type = converter.inference_output_type = tf.int16
    return run_converter(converter)


def concrete_converter(model: Any, input_shape: tuple[int, ...]) -> Any:
    """Return a TFLite converter of a Keras model or a callable, batch 1."""
    tf = import_tf()
    layered = hasattr(model, "layers")
    function = tf.function(lambda x: model(x, training=False) if layered else model(x))
    concrete = function.get_concrete_function(tf.TensorSpec((1, *input_shape), tf.float32, name="input"))
    if getattr(model, "has_loops", False):
        return _of_fixed_batch(concrete, model.loaded)
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete], model if layered else None)


def _of_fixed_batch(concrete: Any, loaded: Any) -> Any:
    """Return a converter of a SavedModel saved again with a batch of 1: only so an LSTM becomes one operator."""
    tf = import_tf()
    folder = tempfile.TemporaryDirectory(prefix="cheep-saved-")
    module = tf.Module()
    module.loaded = loaded
    with quiet_stderr():
        tf.saved_model.save(module, folder.name, signatures=concrete)
    converter = tf.lite.TFLiteConverter.from_saved_model(folder.name)
    converter.cheep_folder = folder  # it is read while converting
    return converter


def check_calibration(examples: np.ndarray | None, input_shape: tuple[int, ...]) -> np.ndarray:
    """Return the examples, (n, *input_shape) float32 in the model's units; refuse what is no real data.

    That is: nothing, too little, constant, repeated, or the output of a random generator.

    Real inputs have unequal statistics along at least one axis (bands, columns, time). Independent identically
    distributed numbers have none: position means then scatter only by ``sigma / sqrt(n)``, and neighbours do not
    correlate.
    """
    if examples is None:
        raise CheepError("calibration: no data; give real examples with --dataset (random numbers are refused)")
    if tuple(examples.shape[1:]) != tuple(input_shape):
        raise CheepError(f"calibration: examples of shape {examples.shape[1:]}, the model takes {tuple(input_shape)}")
    if len(examples) < MIN_CALIBRATION:
        raise CheepError(f"calibration: {len(examples)} examples; at least {MIN_CALIBRATION} real ones are needed")
    flat = examples.reshape(len(examples), -1).astype(np.float64)
    if flat.std() == 0 or len(np.unique(flat[:, : min(64, flat.shape[1])], axis=0)) < MIN_CALIBRATION // 2:
        raise CheepError("calibration: the examples are constant or repeat each other; give real, different examples")
    if flat.shape[1] >= 64 and _looks_random(examples.astype(np.float64)):
        raise CheepError(
            "calibration: the examples look like random numbers (no position differs from another, neighbours do not "
            "correlate); ranges from noise are wrong ranges: give real examples with --dataset"
        )
    return examples


def _looks_random(x: np.ndarray) -> bool:
    n = len(x)
    flat = x.reshape(n, -1)
    sigma = flat.std()
    means = flat.mean(axis=0)
    expected = sigma / np.sqrt(n)
    if means.std() > 2.0 * expected:
        return False
    for axis in range(1, x.ndim):
        if x.shape[axis] < 2:
            continue
        a = np.take(x, range(x.shape[axis] - 1), axis).ravel() - flat.mean()
        b = np.take(x, range(1, x.shape[axis]), axis).ravel() - flat.mean()
        if abs((a * b).mean()) / sigma**2 > 5 / np.sqrt(a.size) + 0.02:
            return False
    per_example = flat.mean(axis=1)
    return per_example.std() < 2.0 * sigma / np.sqrt(flat.shape[1])
