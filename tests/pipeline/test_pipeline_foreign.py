# SPDX-License-Identifier: MIT
"""Networks that were made elsewhere, on (bands, columns) of natural logarithms, run from a zoo file as they are."""

import csv

import numpy as np
import pytest

from cheep.audio import write_wav
from cheep.convert.tflite import calibrated_int8
from cheep.errors import CheepError
from cheep.pipeline.checks import parse_config
from cheep.pipeline.runner import run_pipeline
from cheep.tf_runtime import import_tf
from cheep.tflite.model import read_model

BANDS, COLUMNS = 16, 20
FILE = f"""
general: {{project_name: tones}}
dataset: {{class_names: [low, high]}}
preprocessing: {{target_rate: 8000, min_length: 1, max_length: 5, top_db: 60}}
feature_extraction: {{patch_length: {COLUMNS}, n_mels: {BANDS}, n_fft: 256, hop_length: 200, power: 1.0, fmin: 100,
  fmax: 4000, norm: None, htk: True, to_db: False}}
quantization: {{quantization_type: PTQ, quantization_input_type: uint8, quantization_output_type: float}}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Twelve tones with their table, and a network that tells high from low by the bands in which they lie."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "audio").mkdir()
    rng = np.random.default_rng(2)
    rows = []
    for i in range(12):
        label = ("low", "high")[i % 2]
        t = np.arange(12000) / 8000
        x = np.sin(2 * np.pi * (400, 2600)[i % 2] * rng.uniform(0.9, 1.1) * t) + 0.01 * rng.standard_normal(len(t))
        write_wav(folder / "audio" / f"{i}.wav", np.rint(x * 8000).astype(np.int16), 8000)
        rows.append({"filename": f"{i}.wav", "category": label})
    with (folder / "meta.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["filename", "category"])
        writer.writeheader()
        writer.writerows(rows)
    keras = import_tf().keras
    start = keras.Input((BANDS, COLUMNS, 1))
    x = keras.layers.Conv2D(2, (BANDS, 3), name="bands")(start)
    model = keras.Model(start, keras.layers.Softmax()(keras.layers.GlobalAveragePooling2D()(x)))
    kernel = np.zeros((BANDS, 3, 1, 2), np.float32)
    kernel[11:15, :, 0, 0] = 0.1  # the first output is that of "high"
    kernel[1:5, :, 0, 1] = 0.1
    model.layers[1].set_weights([kernel, np.zeros(2, np.float32)])
    model.save(folder / "theirs.h5", include_optimizer=False)
    windows = rng.uniform(-9, 3, (64, BANDS, COLUMNS)).astype(np.float32)
    (folder / "theirs.tflite").write_bytes(calibrated_int8(model, windows, "uint8", "float"))
    return folder


def run(made, mode, model, *more):
    settings = (f"operation_mode={mode}", f"general.model_path={made / model}", f"general.cache_dir={made / 'cache'}",
                f"general.output_dir={made / f'{mode}-{model}'}", *more)  # fmt: skip
    return run_pipeline(parse_config(FILE, "zoo.yaml", settings))


def test_a_network_is_evaluated_on_test_data_alone_in_float_and_in_int8(made):
    tests = (f"dataset.test_audio_path={made / 'audio'}", f"dataset.test_csv_path={made / 'meta.csv'}")
    for model, kind in (("theirs.h5", "float"), ("theirs.tflite", "int8")):
        outcome = run(made, "evaluation", model, *tests)
        assert [(row["model"], row["clips"], row["clip_accuracy"]) for row in outcome.rows] == [(kind, 12, 1.0)]
        labels = [
            row["label"]
            for row in rows_of(run(made, "prediction", model, f"prediction.test_files_path={made / 'audio'}"))
        ]
        assert len(labels) == 12 and set(labels) == {"low", "high"}


def test_silence_that_training_leaves_out_has_no_vote_in_a_prediction(made):
    (made / "two").mkdir()
    tone = np.rint(8000 * np.sin(2 * np.pi * 2600 * np.arange(9600) / 8000)).astype(np.int16)
    for name, pcm in (("a.wav", tone), ("b.wav", np.concatenate([tone, np.zeros(16000, np.int16)]))):
        write_wav(made / "two" / name, pcm, 8000)
    alone, padded = rows_of(run(made, "prediction", "theirs.h5", f"prediction.test_files_path={made / 'two'}"))
    assert alone["label"] == "high" and padded == {**alone, "file": padded["file"]}


def rows_of(outcome):
    with (outcome.folder / "predictions.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_quantization_takes_quantization_data_and_leaves_an_int8_model_of_ours(made):
    data = (f"dataset.quantization_audio_path={made / 'audio'}", f"dataset.quantization_csv_path={made / 'meta.csv'}")
    outcome = run(made, "chain_qd", "theirs.h5", *data)
    ours = read_model(outcome.folder / "bird_detector_int8.tflite")
    assert ours.inputs[0].shape[1:3] == (COLUMNS, BANDS) and ours.metadata["labels"] == ["high", "low"]
    ends = read_model(outcome.folder / "bird_detector_int8_other_ends.tflite")
    assert (ends.inputs[0].dtype, ends.outputs[0].dtype) == ("uint8", "float32")
    assert (outcome.folder / "generated" / "model.h").is_file()


def test_what_does_not_fit_is_said(made):
    tests = (f"dataset.test_audio_path={made / 'audio'}", f"dataset.test_csv_path={made / 'meta.csv'}")
    for model, more, message in (
        ("theirs.h5", ("feature_extraction.patch_length=30",), "takes windows of 16 x 20 x 1, the features give 30"),
        ("theirs.tflite", ("dataset.class_names=[low]",), "has 2 outputs, data.labels 1 names"),
        ("theirs.h5", ("feature_extraction.layout=columns",), "which is bands; leave it out"),
    ):
        with pytest.raises(CheepError, match=message):
            run(made, "evaluation", model, *tests, *more)
    with pytest.raises(CheepError, match=r"evaluate_float needs the float model \(\.h5\)"):
        run(made, "chain_eqe", "theirs.tflite", f"dataset.training_audio_path={made / 'audio'}")
