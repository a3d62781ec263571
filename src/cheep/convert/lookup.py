# SPDX-License-Identifier: MIT
"""TFLM's lookup-table compression for clustered weights: the one runtime gain that clusters have."""

from __future__ import annotations

import contextlib
import io

import numpy as np

from cheep.errors import CheepError
from cheep.tflite.reader import read_graph

MAX_BITS = 7
_OVERHEAD = 400  # operator, tensors, header and alignment of one table
_WEIGHTS_INPUT = {"CONV_2D": 1, "FULLY_CONNECTED": 1, "DEPTHWISE_CONV_2D": 1}


def compress(model: bytes) -> tuple[bytes, list[dict[str, object]]]:
    """Return the model with lookup tables where they save bytes, and one row per compressed tensor.

    Each weight becomes an index of 1 to 7 bits into a table of its layer or channel; the runtime decodes it before
    each use (operator DECODE), into the arena.

    Raises
    ------
    CheepError
        No tensor has few enough distinct values (cluster first: ``--cluster 16``).
    """
    from tflite_micro.tensorflow.lite.micro.compression import compress, spec, spec_builder

    builder = spec_builder.SpecBuilder()
    rows: list[dict[str, object]] = []
    done: set[int] = set()
    for node in read_graph(model).nodes:
        if node.op not in _WEIGHTS_INPUT:
            continue
        tensor = node.inputs[_WEIGHTS_INPUT[node.op]]
        if tensor.index in done or tensor.data is None or tensor.dtype != "int8":
            continue
        done.add(tensor.index)
        weights = tensor.data
        best = _cheaper(weights, len(tensor.scales), 0 if node.op != "DEPTHWISE_CONV_2D" else weights.ndim - 1)
        if best is None:
            continue
        saved, bits, axis = best
        tables = spec.PerTensor() if axis is None else spec.PerChannel(axis=axis)
        builder.add_tensor(0, tensor.index).with_lut(bits, tables)
        rows.append(
            {
                "operator": node.op,
                "tensor": tensor.name,
                "bits": bits,
                "bytes": int(weights.size),
                "compressed": int(weights.size - saved),
                "tables": "one" if axis is None else "per channel",
            }
        )
    if not rows:
        raise CheepError(
            "lookup tables: no layer has few enough distinct weights to gain; cluster first (--cluster 16)"
        )
    with contextlib.redirect_stderr(io.StringIO()):
        packed = bytes(compress(model, builder.build()))
    if len(packed) >= len(model):
        raise CheepError(
            f"lookup tables: {len(packed)} bytes in place of {len(model)}: operators and tables cost more than "
            "they save (layers of some thousand weights gain)"
        )
    return packed, rows


def _cheaper(weights: np.ndarray, scales: int, channel_axis: int) -> tuple[int, int, int | None] | None:
    """Return (bytes saved, index bits, axis of the tables), or None where nothing is saved.

    Weights with a scale per channel need a table per channel: the runtime takes the number of tables from the scales,
    and one table for all gives other values.
    """
    axis = channel_axis if scales > 1 else None
    slices = [weights] if axis is None else list(np.moveaxis(weights, axis, 0))
    widest = max(len(np.unique(part)) for part in slices)
    bits = int(np.ceil(np.log2(widest))) if widest > 2 else 1
    saved = weights.size - (-(-weights.size * bits // 8) + len(slices) * widest + _OVERHEAD)
    return (int(saved), bits, axis) if bits <= MAX_BITS and saved > 0 else None
