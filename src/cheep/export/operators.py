# SPDX-License-Identifier: MIT
"""TFLM's name of each operator: the resolver of the firmware registers exactly what the model uses."""

from __future__ import annotations

from collections.abc import Sequence

from cheep.errors import CheepError

# Operators of an int8 network whose resolver method is not the plain camel case of the name.
_IRREGULAR = {
    "ADD_N": "AddN",
    "BATCH_MATMUL": "BatchMatMul",
    "CUMSUM": "CumSum",
    "PADV2": "PadV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTM",
}
_REGULAR = """ABS ADD ARG_MAX ARG_MIN ASSIGN_VARIABLE AVERAGE_POOL_2D BATCH_TO_SPACE_ND BROADCAST_TO CALL_ONCE CAST
CONCATENATION CONV_2D DEPTH_TO_SPACE DEPTHWISE_CONV_2D DEQUANTIZE DIV ELU EQUAL EXP EXPAND_DIMS FILL FULLY_CONNECTED
GATHER HARD_SWISH L2_NORMALIZATION LEAKY_RELU LOGISTIC MAXIMUM MAX_POOL_2D MEAN MINIMUM MUL NEG PACK PAD PRELU QUANTIZE
READ_VARIABLE REDUCE_MAX RELU RELU6 RESHAPE RESIZE_NEAREST_NEIGHBOR RSQRT SHAPE SLICE SOFTMAX SPACE_TO_BATCH_ND
SPACE_TO_DEPTH SPLIT SPLIT_V SQUEEZE SQRT SQUARE SQUARED_DIFFERENCE STRIDED_SLICE SUB SUM SVDF TANH TRANSPOSE
TRANSPOSE_CONV UNPACK VAR_HANDLE ZEROS_LIKE""".split()  # noqa: SIM905
# Kernels that TFLM also offers for int8 alone, which leaves out the code for the other types.
_INT8 = frozenset(
    (
        *("ADD", "AVERAGE_POOL_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"),
        *("MAXIMUM", "MAX_POOL_2D", "MINIMUM", "MUL", "PAD", "SOFTMAX"),
    )
)


def resolver_entries(operators: Sequence[str]) -> list[tuple[str, str | None]]:
    """Return ``(method, int8 registration or None)`` per operator for ``CHEEP_MODEL_OPERATORS``.

    Parameters
    ----------
    operators : sequence of str
        TFLite names (``CONV_2D``), each once, of an int8 model.

    Raises
    ------
    CheepError
        An operator that the firmware's resolver cannot register.
    """
    entries = []
    for name in sorted(set(operators)):
        if name in _IRREGULAR:
            method = _IRREGULAR[name]
        elif name in _REGULAR:
            method = "".join(part.capitalize() for part in name.split("_"))
            method = method.replace("2d", "2D")
        else:
            raise CheepError(
                f"{name}: an operator that the firmware cannot register in TensorFlow Lite Micro; "
                "build the network from operators that TFLM supports"
            )
        entries.append((method, f"{name}_INT8" if name in _INT8 else None))
    return entries
