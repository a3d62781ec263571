# SPDX-License-Identifier: MIT
"""Which layer loses accuracy in int8: each operator in turn is kept float, by the converter's own denylist."""

from __future__ import annotations

from typing import Any

import numpy as np

from cheep.convert.config import ConvertConfig
from cheep.convert.data import ConversionData
from cheep.convert.runtime import accuracy, interpreter_outputs
from cheep.convert.schemes import check_calibration, concrete_converter
from cheep.convert.source import SourceModel
from cheep.errors import CheepError
from cheep.tf_runtime import import_tf, quiet_stderr
from cheep.tflite.reader import read_graph

MAX_EXAMPLES = 256
_WORTH = 0.5  # points of accuracy that a float layer must bring back


def layer_sensitivity(source: SourceModel, data: ConversionData, config: ConvertConfig) -> dict[str, Any]:
    """Quantize the whole network, then again with one operator at a time left float.

    Returns
    -------
    dict
        ``float_accuracy`` and ``int8_accuracy``; ``layers``: per operator that computes, ``accuracy`` with it in float,
        ``gain`` in points over all-int8, ``error`` (mean square difference to the float network, relative to all-int8);
        ``mixed``: the fallback with every layer that pays, measured; ``advice``: one sentence.

    Notes
    -----
    The measure runs in the TFLite interpreter (a mixed model has QUANTIZE and DEQUANTIZE operators in between). The
    judged split must not choose layers: the validation split does, and ``mixed`` is stated on the judged split.
    """
    calibration = data.calibration(config.calibration_examples, config.seed)
    check_calibration(calibration, source.input_shape)
    x, y = data.x["val"][:MAX_EXAMPLES], data.y["val"][:MAX_EXAMPLES]
    reference = source.predict(x).reshape(len(x), -1)
    whole, names = _quantize(source, calibration, ())
    plain = interpreter_outputs(whole, x)
    base, base_error = accuracy(plain, y), float(np.mean((plain - reference) ** 2))
    rows, not_tried = [], []
    for name, kind in names:
        try:
            mixed, _ = _quantize(source, calibration, (name,))
            out = interpreter_outputs(mixed, x)
        except CheepError as error:
            not_tried.append({"layer": f"{kind} {short(name)}", "reason": str(error)})
            continue
        rows.append(
            {
                "layer": f"{kind} {short(name)}",
                "tensor": name,
                "accuracy": accuracy(out, y),
                "gain": 100 * (accuracy(out, y) - base),
                "error": float(np.mean((out - reference) ** 2)) / max(base_error, 1e-12),
            }
        )
    rows.sort(key=lambda row: (-row["gain"], row["error"]))
    report: dict[str, Any] = {
        "float_accuracy": accuracy(reference, y),
        "int8_accuracy": base,
        "layers": rows,
        "not_tried": not_tried,
        "mixed": None,
    }
    lost = 100 * (report["float_accuracy"] - base)
    paying = [row for row in rows if row["gain"] >= _WORTH]
    if lost < _WORTH:
        report["advice"] = f"int8 loses {lost:.2f} points on the validation split: no layer needs to stay float"
    elif not paying:
        report["advice"] = (
            f"int8 loses {lost:.2f} points, but no single layer brings {_WORTH:g} back: the loss is spread; "
            "use --qat or int16x8"
        )
    else:
        chosen = [row["tensor"] for row in paying[:3]]
        mixed, _ = _quantize(source, calibration, tuple(chosen))
        judged = data.judged
        before = accuracy(interpreter_outputs(whole, data.x[judged]), data.y[judged])
        after = accuracy(interpreter_outputs(mixed, data.x[judged]), data.y[judged])
        report["mixed"] = {
            "float_layers": [row["layer"] for row in paying[:3]],
            "accuracy": after,
            "int8_accuracy": before,
            "bytes": len(mixed),
            "int8_bytes": len(whole),
        }
        report["advice"] = (
            f"keeping {', '.join(row['layer'] for row in paying[:3])} in float: {100 * after:.2f} % in place "
            f"of {100 * before:.2f} % ({judged}), {len(mixed)} bytes in place of {len(whole)}"
        )
    return report


def short(name: str) -> str:
    """Return the last telling part of a tensor name."""
    skipped = ("Conv2D", "BiasAdd", "Relu", "MatMul")
    parts = [part for part in name.split(";", maxsplit=1)[0].split("/") if part not in skipped]
    return "/".join(parts[-2:])[-40:]


def _quantize(source: SourceModel, calibration: np.ndarray, float_tensors: tuple[str, ...]) -> tuple[bytes, list]:
    """Return the int8 model (float inputs and outputs) with the named results left float, and the results by name."""
    tf = import_tf()
    from tensorflow.lite.python.convert import mlir_quantize

    converter = concrete_converter(source.keras if source.keras is not None else source.graph, source.input_shape)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([row[None].astype(np.float32)] for row in calibration)
    converter._experimental_calibrate_only = True
    try:
        with quiet_stderr():
            calibrated = converter.convert()
            model = mlir_quantize(calibrated, denylisted_nodes=list(float_tensors) or None)
    except Exception as error:  # the converter raises many kinds
        raise CheepError(f"cannot quantize with {', '.join(float_tensors) or 'all layers'}: {error}") from None
    return bytes(model), [(node.output.name, node.op) for node in read_graph(bytes(calibrated)).nodes if node.macs]
