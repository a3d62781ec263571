# SPDX-License-Identifier: MIT
"""Every ONNX operator that is imported, in the forms that exporters write, against onnx's own evaluator."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from cheep.convert.onnx.operators import OPERATORS  # noqa: E402
from cheep.convert.onnx.reader import import_graph  # noqa: E402
from cheep.errors import CheepError  # noqa: E402

IMAGE, ROW, LINE, FLAT = (1, 4, 9, 8), (1, 4, 9), (1, 5, 7), (1, 6)
RNG = np.random.default_rng(3)


def w(*shape):
    return RNG.normal(0, 0.5, shape).astype(np.float32)


def n(*values):
    return np.array(values, np.int64)


# operator, shape of the input, further constant arguments (None: left out), attributes
FORMS = [
    ("Conv", IMAGE, [w(6, 4, 3, 3), w(6)], {}),
    ("Conv", IMAGE, [w(6, 4, 3, 3)], {"pads": [1, 1, 1, 1]}),
    ("Conv", IMAGE, [w(6, 4, 3, 2)], {"pads": [2, 0, 1, 1], "strides": [2, 1]}),
    ("Conv", IMAGE, [w(6, 4, 3, 3)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("Conv", IMAGE, [w(6, 4, 2, 2)], {"auto_pad": "SAME_LOWER"}),
    ("Conv", IMAGE, [w(6, 4, 3, 3)], {"dilations": [2, 2], "pads": [2, 2, 2, 2]}),
    ("Conv", IMAGE, [w(8, 1, 3, 3), w(8)], {"group": 4, "pads": [1, 1, 1, 1]}),
    ("Conv", IMAGE, [w(6, 2, 3, 3)], {"group": 2}),
    ("Conv", ROW, [w(6, 4, 3), w(6)], {"pads": [1, 1], "strides": [2]}),
    ("Conv", ROW, [w(4, 1, 3)], {"group": 4}),
    ("MaxPool", IMAGE, [], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ("MaxPool", IMAGE, [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 1]}),
    ("MaxPool", ROW, [], {"kernel_shape": [3], "strides": [3]}),
    ("AveragePool", IMAGE, [], {"kernel_shape": [3, 2], "strides": [3, 2]}),
    ("AveragePool", IMAGE, [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ("AveragePool", IMAGE, [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ("AveragePool", ROW, [], {"kernel_shape": [3]}),
    ("GlobalAveragePool", IMAGE, [], {}),
    ("GlobalMaxPool", IMAGE, [], {}),
    ("GlobalAveragePool", ROW, [], {}),
    ("ReduceMean", IMAGE, [], {"axes": [2, 3], "keepdims": 0}),
    ("ReduceMean", IMAGE, [], {"axes": [-1]}),
    ("ReduceMax", IMAGE, [], {"axes": [2, 3]}),
    ("ReduceMax", IMAGE, [], {"axes": [1], "keepdims": 0}),
    ("ReduceSum", IMAGE, [n(2, 3)], {"keepdims": 0}),
    ("ReduceSum", FLAT, [n(1)], {}),
    ("BatchNormalization", IMAGE, [w(4), w(4), w(4), np.abs(w(4)) + 0.5], {"epsilon": 1e-3}),
    ("Gemm", FLAT, [w(6, 3), w(3)], {"alpha": 0.5, "beta": 2.0}),
    ("Gemm", FLAT, [w(3, 6)], {"transB": 1}),
    ("MatMul", LINE, [w(7, 3)], {}),
    ("MatMul", FLAT, [w(6, 3)], {}),
    *((op, IMAGE, [], {}) for op in ("Sigmoid", "Tanh", "Softplus", "Elu", "Relu", "HardSwish", "HardSigmoid")),
    ("LeakyRelu", FLAT, [], {"alpha": 0.2}),
    ("Clip", IMAGE, [np.float32(0), np.float32(1.5)], {}),
    ("Clip", IMAGE, [np.float32(0)], {}),
    *(("Softmax", IMAGE, [], {"axis": axis}) for axis in (1, 2, 3, -1)),
    ("Softmax", LINE, [], {"axis": 1}),
    ("Softmax", FLAT, [], {}),
    *((op, IMAGE, [np.float32(2.5)], {}) for op in ("Add", "Sub", "Mul", "Div")),
    *((op, IMAGE, [w(4, 1, 1) + 3], {}) for op in ("Add", "Sub", "Mul", "Div")),
    ("Add", IMAGE, [w(8)], {}),
    ("Sub", FLAT, [w(1, 6)], {}),
    ("Flatten", IMAGE, [], {}),
    ("Reshape", IMAGE, [n(1, -1)], {}),
    ("Reshape", IMAGE, [n(0, 4, -1)], {}),
    ("Reshape", IMAGE, [n(-1, 288)], {}),
    ("Squeeze", (1, 4, 1, 8), [n(2)], {}),
    ("Squeeze", (1, 6, 1, 1), [n(2, 3)], {}),
    ("Unsqueeze", FLAT, [n(1, -1)], {}),
    ("Transpose", IMAGE, [], {"perm": [0, 2, 3, 1]}),
    ("Transpose", IMAGE, [], {"perm": [0, 3, 1, 2]}),
    ("Transpose", LINE, [], {"perm": [0, 2, 1]}),
    ("Pad", IMAGE, [n(0, 0, 1, 2, 0, 0, 3, 0)], {}),
    ("Pad", (1, 4, 9), [n(0, 0, 2, 0, 0, 1), np.float32(0)], {}),
    ("Slice", IMAGE, [n(1, 2), n(2**31 - 1, -1), n(2, 3)], {}),
    ("Slice", IMAGE, [n(1), n(3), n(1), n(1)], {}),
    ("Gather", LINE, [n(3).reshape(())], {"axis": 1}),
    ("Gather", IMAGE, [n(-1).reshape(())], {"axis": 3}),
    *((op, IMAGE, [], {}) for op in ("Identity", "Dropout")),
    ("Cast", IMAGE, [], {"to": 1}),
]

# operator, shape, further arguments, attributes, what the message says
REFUSED = [
    ("Conv", (1, 2, 4, 4, 4), [w(2, 2, 1, 1, 1)], {}, "a convolution of 3 dimensions"),
    ("Conv", IMAGE, [w(6, 4, 2, 2)], {"strides": [1, 2], "dilations": [2, 2]}, "strides that differ"),
    ("MaxPool", IMAGE, [], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, "ceil_mode"),
    ("MaxPool", IMAGE, [], {"kernel_shape": [2, 2], "pads": [1, 1, 0, 0]}, "only symmetric padding"),
    ("Gemm", (1, 1), [w(1, 3)], {"transA": 1}, "a transposed input"),
    ("Clip", IMAGE, [np.float32(-1), np.float32(1)], {}, "only a lower limit of 0"),
    ("Flatten", IMAGE, [], {"axis": 2}, "axis other than 1"),
    ("Reshape", IMAGE, [n(4, -1)], {}, "the batch must stay the first axis"),
    ("Transpose", IMAGE, [], {"perm": [1, 0, 2, 3]}, "the batch must stay the first axis"),
    ("Pad", IMAGE, [n(0, 1, 0, 0, 0, 0, 0, 0)], {}, "padding of batch or channels"),
    ("Pad", IMAGE, [n(0, 0, 1, 0, 0, 0, 0, 0), np.float32(1)], {}, "anything but zeros"),
    ("Slice", IMAGE, [n(0), n(8), n(3), n(2)], {}, "with a step"),
    ("Gather", IMAGE, [n(0, 1)], {"axis": 2}, "other than one position"),
]


def graph_of(nodes, constants, shape):
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def one_node(op, shape, arguments, attributes):
    constants = {f"c{i}": v for i, v in enumerate(arguments) if v is not None}
    names = ["x", *(f"c{i}" if v is not None else "" for i, v in enumerate(arguments))]
    return graph_of([onnx.helper.make_node(op, names, ["y"], **attributes)], constants, shape)


def check(model, shape):
    from onnx.reference import ReferenceEvaluator

    x = RNG.normal(size=shape).astype(np.float32)
    expected = ReferenceEvaluator(model).run(None, {"x": x})[0].reshape(-1)
    keras, inner = import_graph(model, "m.onnx")
    found = keras.predict(np.moveaxis(x, 1, -1) if len(shape) == 4 else x, verbose=0).reshape(-1)
    assert len(inner) == len(shape) - 1
    if found.shape != expected.shape or not np.allclose(found, expected, atol=2e-5):
        # an output that is an image leaves as channels last
        given = ReferenceEvaluator(model).run(None, {"x": x})[0]
        np.testing.assert_allclose(found, np.moveaxis(given, 1, -1).reshape(-1), atol=2e-5)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form[0]}-{len(form[1])}-{sorted(form[3])}")
def test_operator(form):
    op, shape, arguments, attributes = form
    check(one_node(op, shape, arguments, attributes), shape)


def test_two_tensors():
    make = onnx.helper.make_node
    for op in ("Add", "Sub", "Mul", "Div"):
        nodes = [make("Conv", ["x", "w"], ["a"]), make("Sigmoid", ["a"], ["b"]),
                 make(op, ["a", "b"], ["y"])]  # fmt: skip
        check(graph_of(nodes, {"w": w(4, 4, 1, 1)}, IMAGE), IMAGE)
    nodes = [make("MatMul", ["x", "w"], ["a"]), make("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
             make("MatMul", ["a", "t"], ["y"])]  # fmt: skip
    check(graph_of(nodes, {"w": w(7, 7)}, LINE), LINE)


def test_shapes_that_are_computed():
    """What exporters write for x.view(x.size(0), -1): Shape, Gather, Unsqueeze, Concat, Constant are folded."""
    make = onnx.helper.make_node
    nodes = [
        make("Relu", ["x"], ["r"]),
        make("Shape", ["r"], ["s"]),
        make("Gather", ["s", "zero"], ["batch"], axis=0),
        make("Unsqueeze", ["batch", "axes"], ["first"]),
        make("Constant", [], ["rest"], value_ints=[-1]),
        make("Concat", ["first", "rest"], ["to"], axis=0),
        make("Reshape", ["r", "to"], ["y"]),
    ]
    check(graph_of(nodes, {"zero": n(0).reshape(()), "axes": n(0)}, IMAGE), IMAGE)
    nodes = [make("Relu", ["x"], ["r"]), make("Concat", ["r", "x"], ["y"], axis=1)]
    check(graph_of(nodes, {}, IMAGE), IMAGE)


def test_every_operator_is_tried():
    elsewhere = {
        "Shape",
        "Constant",
        "Concat",
        "GRU",
        "LSTM",
        "Split",
        "Expand",
    }  # the last four: test_convert_steps.py
    tried = {form[0] for form in FORMS} | elsewhere
    assert set(OPERATORS) == tried


@pytest.mark.parametrize("form", REFUSED, ids=lambda form: f"{form[0]}: {form[4]}")
def test_refused(form):
    op, shape, arguments, attributes, message = form
    with pytest.raises(CheepError, match=message):
        import_graph(one_node(op, shape, arguments, attributes), "m.onnx")
