# SPDX-License-Identifier: MIT
"""Networks on (bands, columns) become networks on (columns, bands) that say the same, in float and in int8."""

import math

import numpy as np
import pytest

from cheep.convert.tflite import calibrated_int8
from cheep.errors import CheepError
from cheep.models.layout import layout_of, on_columns
from cheep.tf_runtime import import_tf
from cheep.tflite.layout import input_sizes
from cheep.tflite.layout import on_columns as int8_on_columns

BANDS, COLUMNS, UNIT = 12, 18, 20 / math.log(10)


def network(end="flatten", permute=False):
    """All that the zoo's networks have: padding on one side, unequal strides, pools, a sum, a nested part."""
    keras = import_tf().keras
    keras.utils.set_random_seed(3)
    L = keras.layers
    x = start = keras.Input((BANDS, COLUMNS, 1))
    if permute:
        x = L.Permute((2, 1, 3))(x)
    x = L.ZeroPadding2D(((2, 1), (0, 3)))(x)
    x = L.Conv2D(6, (3, 5), strides=(1, 2), activation="relu")(x)
    inner = keras.Input(x.shape[1:])
    y = L.DepthwiseConv2D((5, 3), padding="same", use_bias=False)(inner)
    y = L.BatchNormalization()(y)
    y = L.Add()([L.ReLU()(y), inner])
    x = keras.Model(inner, y)(x)
    x = L.MaxPooling2D((2, 3), padding="same")(x)
    x = L.Flatten()(x) if end == "flatten" else L.GlobalAveragePooling2D()(x)
    model = keras.Model(start, L.Dense(3, activation="softmax")(L.Dropout(0.2)(x)))
    rng = np.random.default_rng(1)
    model.set_weights([w + rng.normal(0, 0.2, w.shape) ** 2 for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def windows():
    return np.random.default_rng(0).normal(-4, 2, (40, BANDS, COLUMNS)).astype(np.float32)


@pytest.mark.parametrize(("end", "permute"), [("flatten", False), ("mean", True)])
def test_the_turned_network_says_the_same_float_and_every_integer_of_int8(windows, end, permute):
    model = network(end, permute)
    turned = on_columns(model, bands_first=True, unit_db=UNIT)
    assert turned.input_shape == (None, COLUMNS, BANDS, 1)
    ours = windows.swapaxes(1, 2) * np.float32(UNIT)
    want, got = model(windows[..., None]).numpy(), turned(ours[..., None]).numpy()
    np.testing.assert_allclose(got, want, atol=2e-6)
    assert want.std(axis=0).max() > 0.01  # it says something
    names = {type(layer).__name__ for layer in turned.layers}
    assert "Permute" not in names and "Rescaling" not in names

    theirs = calibrated_int8(model, windows, "uint8", "float")
    made = int8_on_columns(theirs, bands_first=True, unit_db=UNIT)
    assert input_sizes(theirs) == (BANDS, COLUMNS, 1) and input_sizes(made) == (COLUMNS, BANDS, 1)
    assert abs(run(theirs, windows) - run(made, ours)).max() == 0


def run(tflite, windows):
    """Return the scores of TensorFlow Lite in float, whatever types stand at the ends."""
    interpreter = import_tf().lite.Interpreter(model_content=tflite)
    interpreter.allocate_tensors()
    start, end = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    (scale, zero), limits = start["quantization"], np.iinfo(start["dtype"])
    out = []
    for window in windows.astype(np.float64):
        q = np.clip(np.rint(window / scale) + zero, limits.min, limits.max).astype(start["dtype"])
        interpreter.set_tensor(start["index"], q[None, ..., None])
        interpreter.invoke()
        scores = interpreter.get_tensor(end["index"])[0]
        if end["dtype"] != np.float32:
            scores = (scores.astype(np.float64) - end["quantization"][1]) * end["quantization"][0]
        out.append(scores)
    return np.array(out)


def test_what_cannot_be_turned_is_said():
    keras = import_tf().keras
    start = keras.Input((BANDS, COLUMNS, 1))
    line = keras.layers.Reshape((BANDS, COLUMNS))(start)
    model = keras.Model(start, keras.layers.GRU(4, name="memory")(line))
    with pytest.raises(CheepError, match=r"\(Reshape\): its axes cannot be exchanged"):
        on_columns(model, bands_first=True)
    assert on_columns(model, bands_first=False).input_shape == (None, BANDS, COLUMNS, 1)
    start = keras.Input((BANDS, COLUMNS, 1))
    model = keras.Model(start, keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(start)))
    scaled = on_columns(model, bands_first=True, unit_db=2.0)  # nothing with a kernel: a factor stands in front
    assert [type(layer).__name__ for layer in scaled.layers][1] == "Rescaling"


def test_the_layout_is_that_of_the_shape():
    assert layout_of((COLUMNS, BANDS, 1), COLUMNS, BANDS, "m") == "columns"
    assert layout_of((BANDS, COLUMNS, 1), COLUMNS, BANDS, "m") == "bands"
    with pytest.raises(CheepError, match=r"m: takes windows of 64 x 96 x 1, the features give 18 columns of 12 bands"):
        layout_of((64, 96, 1), COLUMNS, BANDS, "m")
