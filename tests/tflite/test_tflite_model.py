# SPDX-License-Identifier: MIT
"""The .tflite file and TFLM on this machine."""

import re

import numpy as np
import pytest

from cheep.errors import CheepError
from cheep.tflite.model import read_model, write_metadata
from cheep.tflite.tflm import TflmModel, tflm_support
from tflite_builder import Builder, T


def test_reads_what_a_model_takes_and_gives(int8_model, small_features):
    info = read_model(int8_model)
    assert info.inputs[0].shape == (1, small_features.window_frames, small_features.n_mels, 1)
    assert info.inputs[0].dtype == info.outputs[0].dtype == "int8"
    assert info.outputs[0].scale == pytest.approx(1 / 256)
    assert info.outputs[0].zero_point == -128
    assert info.operators["DEPTHWISE_CONV_2D"] == 2
    assert info.operators["SOFTMAX"] == 1
    assert info.metadata is None


def test_metadata_travels_inside_and_changes_no_score(int8_model, rng):
    values = {"labels": ["a", "ü"], "floor": 1e-10, "deep": {"x": [1, None]}}
    once = write_metadata(int8_model, values)
    assert read_model(once).metadata == values
    twice = write_metadata(once, {"labels": []})
    assert read_model(twice).metadata == {"labels": []}
    assert write_metadata(int8_model, values) == once
    windows = rng.integers(-128, 128, (20, 31, 24)).astype(np.int8)
    assert np.array_equal(TflmModel(int8_model).scores(windows), TflmModel(twice).scores(windows))


def test_tflm_equals_the_tflite_reference_interpreter(int8_model, rng):
    from cheep.tf_runtime import import_tf

    tf = import_tf()
    reference = tf.lite.Interpreter(
        model_content=int8_model, experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_REF
    )
    reference.allocate_tensors()
    windows = rng.integers(-128, 128, (1000, 31, 24)).astype(np.int8)
    expected = []
    for window in windows:
        reference.set_tensor(reference.get_input_details()[0]["index"], window[None, ..., None])
        reference.invoke()
        expected.append(reference.get_tensor(reference.get_output_details()[0]["index"])[0])
    got = TflmModel(int8_model).scores(windows)
    assert len(np.unique(got)) > 20  # not a saturated toy
    assert np.array_equal(got, np.array(expected))


def test_arena_is_enough_and_not_more(int8_model):
    size = TflmModel(int8_model).arena_bytes
    window = np.zeros((1, 31, 24, 1), np.int8)
    assert TflmModel(int8_model, size).invoke(window).shape == (1, 2)
    assert 2000 < size < 40000
    with pytest.raises(CheepError, match="TFLM cannot run it"):
        TflmModel(int8_model, size // 2)


def wide_model(side: int) -> bytes:
    """A file of some hundred bytes whose tensors take 4 * side**2 bytes."""
    b = Builder()
    x, y = (b.tensor(T((1, side, side, 2), 0.1)) for _ in range(2))
    b.op("ADD", [x, x], [y], "AddOptions")
    return b.build([x], [y])


def test_a_small_file_with_large_tensors_gets_the_arena_that_it_needs():
    support = tflm_support(wide_model(1024), arena=False)  # 4 MB; the guess from the file is 1 MB
    assert support["runs"], support["reason"]
    too_large = tflm_support(wide_model(5000), arena=False)
    assert not too_large["runs"]
    assert re.match(r"needs an arena of 1\d{8} bytes or more, at most 67108864 are given", too_large["reason"])


@pytest.mark.parametrize("cut", [0, 3, 63, 100, 1000, 4000])
def test_truncated_models_are_refused(int8_model, cut):
    with pytest.raises(CheepError, match="tflite"):
        read_model(int8_model[:cut])


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(CheepError, match="no such model file"):
        read_model(tmp_path / "none.tflite")
    (tmp_path / "a.tflite").write_text("hello " * 100)
    with pytest.raises(CheepError, match=r"not a .tflite file"):
        TflmModel(tmp_path / "a.tflite")


def test_an_operator_that_tflm_lacks_is_named():
    from cheep.tf_runtime import import_tf

    tf = import_tf()

    @tf.function(input_signature=[tf.TensorSpec((1, 8), tf.float32)])
    def function(x):
        return tf.math.segment_sum(x[0], tf.constant([0, 0, 0, 1, 1, 1, 2, 2]))

    data = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()]).convert()
    with pytest.raises(CheepError, match="SEGMENT_SUM"):
        TflmModel(data)
