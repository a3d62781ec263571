# SPDX-License-Identifier: MIT
"""The graph of a file: constants, inputs that are not there, and multiply-accumulates."""

import numpy as np
import pytest

from cheep.errors import CheepError
from cheep.tflite.graph import Node, Tensor


def _tensor(*shape: int, data: np.ndarray | None = None) -> Tensor:
    return Tensor(7, "axes", shape, "int32", np.zeros(0, np.float32), np.zeros(0, np.int64), data=data)


def test_a_computed_tensor_where_a_constant_is_needed_is_named():
    assert _tensor(2, data=np.array([1, 2], np.int32)).integers == [1, 2]
    with pytest.raises(CheepError, match=r"tensor 7 'axes' \(int32 2\) is computed where a constant is needed"):
        _ = _tensor(2).integers


def test_macs_of_an_lstm_without_one_of_its_gates():
    weights = [_tensor(4, 3)] * 4 + [_tensor(4, 4)] * 4
    full = Node("UNIDIRECTIONAL_SEQUENCE_LSTM", [_tensor(1, 5, 3), *weights, _tensor(4)], [_tensor(1, 5, 4)])
    assert full.macs == 5 * (4 * 12 + 4 * 16)
    coupled = Node(full.op, [full.inputs[0], *weights[1:4], *weights[5:], _tensor(4)], full.outputs, absent=(1, 5, 9))
    assert coupled.macs == 5 * (3 * 12 + 3 * 16)


def test_macs_of_a_convolution_without_a_bias():
    node = Node("CONV_2D", [_tensor(1, 8, 8, 2), _tensor(4, 3, 3, 2)], [_tensor(1, 8, 8, 4)], absent=(2,))
    assert node.macs == 8 * 8 * 4 * 3 * 3 * 2
