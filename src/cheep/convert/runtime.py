# SPDX-License-Identifier: MIT
"""Run any ``.tflite`` on real examples: in TFLM (the judge) or in the TFLite interpreter (for what TFLM cannot run)."""

from __future__ import annotations

import numpy as np

from cheep.errors import CheepError
from cheep.tflite.model import TensorInfo, read_model
from cheep.tflite.tflm import TflmModel

_LIMITS = {"int8": (-128, 127), "int16": (-32768, 32767), "uint8": (0, 255)}


def quantize_as(x: np.ndarray, info: TensorInfo) -> np.ndarray:
    """Return float ``x``, of any shape, in the dtype of ``info``.

    int8, uint8, int16: round half to even, then clip; other dtypes: cast.
    """
    if info.dtype not in _LIMITS:
        return x.astype(info.dtype)
    low, high = _LIMITS[info.dtype]
    if info.dtype == "int8":
        from cheep.features import quantize

        return quantize(np.ascontiguousarray(x, np.float32), info.scale, info.zero_point)
    return np.clip(np.round(x / info.scale) + info.zero_point, low, high).astype(info.dtype)


def dequantize_as(q: np.ndarray, info: TensorInfo) -> np.ndarray:
    """Return ``q``, of any shape and in the dtype of ``info``, as float32 in real units."""
    if info.dtype not in _LIMITS:
        return q.astype(np.float32)
    return ((q.astype(np.float32) - info.zero_point) * np.float32(info.scale)).astype(np.float32)


def tflm_outputs(model: bytes, x: np.ndarray, runtime: TflmModel | None = None) -> np.ndarray:
    """Return the real outputs (n, outputs) float32 of ``x`` (n, ...) float32 in TFLM; CheepError if it cannot run."""
    info = read_model(model)
    runtime = runtime or TflmModel(model)
    q = quantize_as(x, info.inputs[0]).reshape((len(x), *info.inputs[0].shape))
    rows = [np.array(runtime.invoke(q[0])).reshape(-1)]  # errors of the runtime are explained here
    for row in q[1:]:
        runtime.reset()
        runtime.run({0: row})
        rows.append(np.array(runtime.output(0)).reshape(-1))
    return dequantize_as(np.stack(rows), info.outputs[0])


def interpreter_outputs(model: bytes, x: np.ndarray) -> np.ndarray:
    """Return the real outputs (n, outputs) float32 of ``x`` in the TFLite interpreter with reference kernels."""
    from cheep.tf_runtime import import_tf, quiet_stderr

    tf = import_tf()
    info = read_model(model)
    with quiet_stderr():
        try:
            resolver = tf.lite.experimental.OpResolverType.BUILTIN_REF
            interpreter = tf.lite.Interpreter(model_content=model, experimental_op_resolver_type=resolver)
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise CheepError(f"the TFLite interpreter cannot run the model: {str(error).splitlines()[0]}") from None
    source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    q = quantize_as(x, info.inputs[0]).reshape((len(x), *info.inputs[0].shape))
    rows = []
    for row in q:
        interpreter.reset_all_variables()
        interpreter.set_tensor(source, row)
        interpreter.invoke()
        rows.append(interpreter.get_tensor(target).reshape(-1))
    return dequantize_as(np.stack(rows), info.outputs[0])


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosine of each row of ``a`` and ``b``, (n, outputs) float32 both: (n,)."""
    length = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.einsum("nk,nk->n", a, b) / np.maximum(length, 1e-12)


def accuracy(outputs: np.ndarray, y: np.ndarray) -> float:
    """Return the share (0 to 1) of right classes; one output is right when it is on the right side of 0.5.

    ``outputs`` : (n, outputs) float32; ``y`` : (n,) int64 class numbers or (n, classes) float32 targets.
    """
    from cheep.convert.data import classes_of

    found = (outputs[:, 0] >= 0.5).astype(int) if outputs.shape[1] == 1 else outputs.argmax(axis=1)
    return float(np.mean(found == classes_of(y)))
