# SPDX-License-Identifier: MIT
"""Paths through ``cheep convert`` that end in a firmware: board, sensitivity, manifest; and models of Keras 3."""

import json
import subprocess
import sys

import numpy as np
import pytest

import convert_cases as cases
from cheep.cli import main


def write_npz(path, data):
    arrays = {f"{k}_{s}": getattr(data, k)[s] for k in "xy" for s in ("train", "val", "test")}
    np.savez(path, **arrays, labels=np.array(data.labels))
    return str(path)


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """A trained detector as a run leaves it: ``model.h5`` with ``training.json``."""
    folder = tmp_path_factory.mktemp("run")
    cases.detector().keras.save(folder / "model.h5")
    described = {
        "features": {"window_frames": 20, "n_mels": 16},
        "labels": list(cases.patterns().labels),
        "train": {"model": "sepconv_s"},
    }
    (folder / "training.json").write_text(json.dumps(described))
    return folder, write_npz(folder / "x.npz", cases.patterns())


def test_a_detector_goes_on_to_the_firmware(detector, tmp_path, capsys):
    """One command: sensitivity, board, exports; and the manifest is what model_convert.py takes."""
    folder, data = detector
    out = tmp_path / "out"
    command = ["--input", str(folder / "model.h5"), "--dataset", data, "-q", "int8", "--output", str(out)]
    assert main("convert", [*command, "--sensitivity", "--board", "audiomoth", "-e", "--max-loss", "5"]) == 0
    text = capsys.readouterr().out
    assert f"{out / 'model.tflite'} fits audiomoth" in text
    assert "layer kept float" in text
    layers = json.loads((out / "results.json").read_text())["sensitivity"]["layers"]
    assert len(layers) == 6, "four convolutions, a pointwise one and the dense layer"
    from cheep.export import load_export

    export = load_export(out)
    assert export.bundle.labels == ("none", "up", "down")
    assert export.features.window_frames == 20
    assert main("model_convert", ["--model", str(out), "--output", str(tmp_path / "generated")]) == 0
    assert "CHEEP_MODEL_STATES 0" in (tmp_path / "generated" / "model.h").read_text()
    ran = subprocess.run([sys.executable, str(out / "model.py")], capture_output=True, text=True, check=True)
    assert ran.stdout == "model ok\n"


def test_boards_are_checked_before_and_after(tmp_path, capsys, detector):
    folder, data = detector
    command = ["--input", str(folder / "model.h5"), "--dataset", data, "--output", str(tmp_path / "out")]
    assert main("convert", [*command, "--board", "toaster"]) == 2
    assert "toaster" in capsys.readouterr().err
    assert main("convert", [*command, "-q", "float16", "--board", "audiomoth"]) == 2
    assert "boards run int8 models" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_too_big_is_a_gate(tmp_path, capsys):
    from cheep.tf_runtime import import_tf

    k = import_tf().keras
    layers = [k.layers.Dense(700, activation="relu"), k.layers.Dense(700, activation="relu"), k.layers.Dense(2)]
    k.Sequential([k.layers.Input((8,)), *layers]).save(tmp_path / "wide.h5")
    data = write_npz(tmp_path / "x.npz", cases.table())
    command = ["--input", str(tmp_path / "wide.h5"), "--dataset", data, "--output", str(tmp_path / "out")]
    assert main("convert", [*command, "--board", "audiomoth"]) == 1
    error = capsys.readouterr().err
    assert "flash" in error
    assert "audiomoth" in error.lower()


KERAS3 = """
import os, sys
os.environ["TF_USE_LEGACY_KERAS"] = "0"
import keras, numpy as np
keras.utils.set_random_seed(1)
data = np.load(sys.argv[1])
layers = [keras.layers.Dense(32, activation="relu"), keras.layers.Dense(24, activation="relu"),
          keras.layers.Dense(1, activation="sigmoid")]
model = keras.Sequential([keras.layers.Input((8,)), *layers])
model.compile(keras.optimizers.Adam(8e-3), "binary_crossentropy")
model.fit(data["x_train"], data["y_train"], epochs=25, batch_size=32, verbose=0)
model.save(sys.argv[2])
np.save(sys.argv[3], model.predict(data["x_test"], verbose=0))
"""


def test_keras_3_files_are_quantized_but_not_changed(tmp_path, capsys):
    data = write_npz(tmp_path / "x.npz", cases.table())
    model, outputs = str(tmp_path / "m.keras"), str(tmp_path / "y.npy")
    subprocess.run([sys.executable, "-c", KERAS3, data, model, outputs], check=True, capture_output=True)
    from cheep.convert.load import load_source

    source = load_source(model)
    assert source.kind == "keras3"
    assert np.allclose(source.predict(cases.table().x["test"]), np.load(outputs), atol=1e-5)
    out = tmp_path / "out"
    assert main("convert", ["--input", model, "--dataset", data, "-q", "int8", "--output", str(out), "--json"]) == 0
    variant = json.loads(capsys.readouterr().out)["variants"][0]
    assert variant["tflm"] == "yes"
    assert variant["float_accuracy"] > 0.85
    assert variant["float_accuracy"] - variant["accuracy"] <= 0.03
    assert main("convert", ["--input", model, "--dataset", data, "--prune", "0.5", "--output", str(out)]) == 2
    assert "saved by Keras 3" in capsys.readouterr().err
