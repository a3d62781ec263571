# SPDX-License-Identifier: MIT
"""Keras -> TFLite: float, int8 of a quantization-aware network, int8 by calibration on real windows."""

from __future__ import annotations

from typing import Any

import numpy as np

from cheep.errors import CheepError
from cheep.tf_runtime import quiet_stderr


def to_tflite(model: Any) -> bytes:
    """Return the float32 ``.tflite`` of a Keras model, batch 1."""
    return run_converter(_converter(model))


def qat_to_int8(model: Any) -> bytes:
    """Return the int8 ``.tflite`` (int8 in and out) of a quantization-aware model, batch 1."""
    return run_converter(_int8(model))


def calibrated_int8(model: Any, windows: np.ndarray, input_type: str = "int8", output_type: str = "int8") -> bytes:
    """Return the int8 ``.tflite`` of a float model, its ranges taken from real windows.

    Parameters
    ----------
    windows : (n, columns, mels) float32
        Real features (training windows), at least 16.
    input_type, output_type : "int8", "uint8" or "float", optional
        The same network with other types outside: a Quantize or Dequantize operator stands at its ends.
    """
    if len(windows) < 16:
        raise CheepError(f"calibration: {len(windows)} windows; at least 16 real ones are needed")
    converter = _int8(model, input_type, output_type)
    converter.target_spec.supported_ops = [_tf().lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.representative_dataset = lambda: ([w[None, ..., None].astype(np.float32)] for w in windows)
    return run_converter(converter)


def _tf() -> Any:
    from cheep.tf_runtime import import_tf

    return import_tf()


def _int8(model: Any, input_type: str = "int8", output_type: str = "int8") -> Any:
    tf = _tf()
    kinds = {"float": tf.float32, "int8": tf.int8, "uint8": tf.uint8}
    converter = _converter(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = kinds[input_type]
    converter.inference_output_type = kinds[output_type]
    return converter


def _converter(model: Any) -> Any:
    tf = _tf()
    shape = (1, *model.input_shape[1:])
    function = tf.function(lambda mel: model(mel, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec(shape, tf.float32, name="mel"))
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete], model)


def run_converter(converter: Any) -> bytes:
    """Return what a TFLite converter makes; its many ways to fail become one CheepError."""
    with quiet_stderr():
        try:
            return converter.convert()
        except Exception as error:
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
            raise CheepError(f"TFLite conversion failed: {reason}; see docs/conversion.md") from None
