# SPDX-License-Identifier: MIT
"""Readers of examples and models: what they take, and the words for what they refuse."""

import json

import numpy as np
import pytest

from cheep.cli import main
from cheep.convert.data import load_data
from cheep.convert.job import fit_shape
from cheep.convert.load import beside, load_source
from cheep.errors import CheepError


def write_table(path, rows=60, header=True, classes=("ant", "bee", "cat")):
    rng = np.random.default_rng(0)
    lines = ["a,b,c,kind"] if header else []
    lines += [f"{rng.normal():.4f},{rng.normal(5):.4f},{i},{classes[i % len(classes)]}" for i in range(rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("header", [True, False])
def test_table_with_the_label_last(tmp_path, header):
    data = load_data(write_table(tmp_path / "t.csv", header=header))
    assert data.labels == ("ant", "bee", "cat")
    assert {k: len(v) for k, v in data.x.items()} == {"train": 36, "val": 12, "test": 12}
    for split in data.x:
        assert data.x[split].shape[1:] == (3,)
        assert np.array_equal(np.bincount(data.y[split]), [len(data.y[split]) // 3] * 3), "each class split alike"
        assert np.array_equal(data.x[split][:, 2].astype(int) % 3, data.y[split]), "rows keep their labels"
    again = load_data(tmp_path / "t.csv")
    assert all(np.array_equal(again.x[k], data.x[k]) for k in data.x)
    rows = np.concatenate([data.x[k][:, 2] for k in data.x])
    assert sorted(rows) == list(range(60))


def test_specs_give_scaling_and_order(tmp_path):
    specs = {"input": {"mean": [0, 5, 30], "std": [1, 1, 10]}, "labels": ["cat", "bee", "ant"]}
    plain = load_data(write_table(tmp_path / "t.csv"))
    data = load_data(tmp_path / "t.csv", None, specs)
    assert data.labels == ("cat", "bee", "ant")
    old = np.concatenate([plain.x[k] for k in plain.x]), np.concatenate([plain.y[k] for k in plain.y])
    new = np.concatenate([data.x[k] for k in data.x]), np.concatenate([data.y[k] for k in data.y])
    by_row = [np.argsort(x[:, 2]) for x, _ in (old, new)]
    assert np.allclose(new[0][by_row[1]], (old[0][by_row[0]] - [0, 5, 30]) / [1, 1, 10], atol=1e-5)
    assert np.array_equal(new[1][by_row[1]], 2 - old[1][by_row[0]])
    assert data.standardize == ((0, 5, 30), (1, 1, 10))
    specs["input"]["std"] = [1, 0, 1]
    with pytest.raises(CheepError, match=r"mean/std must have 3 values, std above 0"):
        load_data(tmp_path / "t.csv", None, specs)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,x\n2,y,z\n", r"t.csv:3: 3 columns where the first row has 2"),
        ("a,b\n1,x\noops,y\n", r"t.csv:3: column 1: 'oops' is no number"),
        ("", "empty file"),
        ("a,b\n", "at least one column of numbers"),
        ("1,x\n" * 5, "3 training examples of 5; calibration needs 16"),
        ("nan,x\n" * 60, "holds NaN or infinity"),
    ],
)
def test_table_errors(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(CheepError, match=message):
        load_data(tmp_path / "t.csv")


def test_npz_forms(tmp_path):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(50, 4, 2)), rng.integers(0, 2, 50)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    np.savez(tmp_path / "b.npz", x_train=x, y_train=y, x_val=x[:9], y_val=np.eye(2, dtype=np.float32)[y[:9]])
    np.savez(tmp_path / "c.npz", x=x, y=np.array(["no", "yes"])[y])
    assert load_data(tmp_path / "a.npz").labels == ("0", "1")
    assert load_data(tmp_path / "b.npz").judged == "val"
    assert load_data(tmp_path / "c.npz").labels == ("no", "yes")
    np.savez(tmp_path / "d.npz", z=x)
    with pytest.raises(CheepError, match=r"holds \['z'\]; must hold x and y"):
        load_data(tmp_path / "d.npz")
    (tmp_path / "e.npz").write_bytes(b"PK\x03\x04rubbish")
    with pytest.raises(CheepError, match=r"cannot be read as \.npz"):
        load_data(tmp_path / "e.npz")
    np.savez(tmp_path / "f.npz", x=np.array([object()], dtype=object), y=y)
    with pytest.raises(CheepError, match=r"cannot be read as \.npz"):  # no pickled objects from strangers
        load_data(tmp_path / "f.npz")
    with pytest.raises(CheepError, match="class 1 but only 1 labels"):
        load_data(tmp_path / "a.npz", None, {"labels": ["one"]})


def test_feature_files(tmp_path):
    lines = ["path,label,split"]
    for i in range(40):
        np.save(tmp_path / f"{i}.npy", np.full((3, 2), i, np.float32))
        lines.append(f"{i}.npy,{'ab'[i % 2]},{'train' if i < 20 else 'val' if i < 30 else 'test'}")
    (tmp_path / "f.csv").write_text("\n".join(lines))
    data = load_data(tmp_path / "f.csv")
    assert {k: v.shape for k, v in data.x.items()} == {"train": (20, 3, 2), "val": (10, 3, 2), "test": (10, 3, 2)}
    assert np.array_equal(data.x["val"][:, 0, 0].astype(int) % 2, data.y["val"])
    (tmp_path / "7.npy").write_bytes(b"no")
    with pytest.raises(CheepError, match=r"f.csv:9: path: .*7.npy cannot be read"):
        load_data(tmp_path / "f.csv")


def test_audio_manifest_needs_the_feature_settings(tmp_path):
    (tmp_path / "dataset.csv").write_text("path,label,start_s,duration_s,recording,split\n")
    with pytest.raises(CheepError, match="needs the model's feature settings"):
        load_data(tmp_path / "dataset.csv")


def test_shapes_are_fitted_or_refused(tmp_path):
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "a.npz", x=rng.normal(size=(50, 2, 5, 4)), y=rng.integers(0, 2, 50))
    data = load_data(tmp_path / "a.npz")
    turned = fit_shape(data, (5, 4, 2))
    assert np.array_equal(turned.x["train"][3, 1, 2], data.x["train"][3, :, 1, 2])
    assert fit_shape(data, (1, 2, 5, 4)).x["train"].shape[1:] == (1, 2, 5, 4)
    with pytest.raises(CheepError, match=r"shape \(2, 5, 4\), the model takes \(7,\)"):
        fit_shape(data, (7,))


def test_what_lies_beside_a_model(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"labels": ["a"], "model": {"bytes": 1}}))
    (tmp_path / "specs.json").write_text(json.dumps({"units": "mm", "labels": ["b"]}))
    assert beside(str(tmp_path / "m.h5")) == {"labels": ["b"], "units": "mm"}
    (tmp_path / "specs.json").write_text("{")
    with pytest.raises(CheepError, match=r"specs.json: damaged JSON"):
        beside(str(tmp_path / "m.h5"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.h5", b"rubbish", "damaged: it is neither HDF5 nor a Keras archive"),
        ("m.h5", b"\x89HDF\r\n\x1a\n" + bytes(300), "damaged or truncated"),
        ("m.keras", b"PK\x05\x06" + bytes(18), "holds no model"),
        ("m.tflite", b"\x1c\0\0\0TFL3" + bytes(100), "is a .tflite already"),
        ("m.pt", b"PK\x03\x04", "weights alone"),
        ("m.xyz", b"hello", "not a model that can be read"),
        (None, b"", "no such model"),
    ],
)
def test_model_files_that_are_none(tmp_path, name, content, message):
    path = tmp_path / (name or "missing.h5")
    if name:
        path.write_bytes(content)
    with pytest.raises(CheepError, match=message):
        load_source(str(path))


def test_empty_folder_and_missing_factory(tmp_path):
    with pytest.raises(CheepError, match=r"no saved_model.pb"):
        load_source(str(tmp_path))
    with pytest.raises(CheepError, match="no such Python file"):
        load_source(str(tmp_path / "net.py:make"))


def test_command_errors_have_no_traceback(tmp_path, capsys):
    table = write_table(tmp_path / "t.csv")
    (tmp_path / "m.h5").write_bytes(b"rubbish")
    assert (
        main("convert", ["--input", str(tmp_path / "m.h5"), "--dataset", str(table), "--output", str(tmp_path / "out")])
        == 2
    )
    error = capsys.readouterr().err
    assert "neither HDF5 nor a Keras archive" in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists(), "nothing half-written is left"
    assert main("convert", ["--input", "m.h5", "--dataset", str(table), "-q", "float16", "--qat"]) == 2
    assert "half precision" in capsys.readouterr().err


def test_a_crash_of_the_converter_is_an_error_of_ours(tmp_path, monkeypatch):
    """The child dies by a signal: the parent says so and leaves nothing behind."""
    from cheep.convert import worker

    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import sys, os\n"
        "if 'cheep.isolated' in ' '.join(sys.orig_argv):\n"
        "    print('about to crash', file=sys.stderr, flush=True)\n"
        "    os.abort()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(site))
    with pytest.raises(CheepError, match=r"crashed \(SIGABRT\); nothing was written.*about to crash"):
        worker.run_isolated({"input": "m.h5"}, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["site"]
