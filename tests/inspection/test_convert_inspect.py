# SPDX-License-Identifier: MIT
"""cheep inspect and cheep verify: counts that can be checked by hand, and files that lie."""

import json
import random
import re

import numpy as np
import pytest

import convert_cases as cases
from cheep.cli import main
from cheep.convert.schemes import to_scheme
from cheep.errors import CheepError
from cheep.inspection.agreement import agreement
from cheep.inspection.report import inspect_model, render_memory_svg, render_text
from cheep.tflite.reader import read_graph


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The perceptron 8-32-24-1 as float, int8 and float16 files, and its data."""
    folder = tmp_path_factory.mktemp("models")
    data = cases.table()
    for scheme in ("none", "int8", "float16"):
        model = to_scheme(cases.mlp().keras, (8,), scheme, data.x["train"][:64])
        (folder / f"{scheme}.tflite").write_bytes(model)
    arrays = {f"{k}_{s}": getattr(data, k)[s] for k in "xy" for s in ("train", "val", "test")}
    np.savez(folder / "table.npz", **arrays, labels=np.array(data.labels))
    return folder


def test_counts_of_a_perceptron(models):
    report = inspect_model(models / "int8.tflite", run_tflm=False)
    assert report["macs"] == 8 * 32 + 32 * 24 + 24 * 1
    assert [op["name"] for op in report["operators"]] == ["FULLY_CONNECTED"] * 3 + ["LOGISTIC"]
    assert [op["macs"] for op in report["operators"]] == [256, 768, 24, 0]
    assert report["int8_share"] == {"tensors": 1.0, "bytes": 1.0, "macs": 1.0}
    assert report["not_int8"] == []
    # live bytes: input + first output, first + second, second + third, third + sigmoid
    assert [row["bytes"] for row in report["memory"]] == [8 + 32, 32 + 24, 24 + 1, 1 + 1]
    assert report["weights_bytes"] == (256 + 768 + 24) + 4 * (32 + 24 + 1)


def test_what_is_not_int8_has_a_reason(models):
    floats = inspect_model(models / "none.tflite", run_tflm=False)
    assert floats["int8_share"]["macs"] == 0
    assert any("without calibration" in row["why"] for row in floats["not_int8"])
    halves = inspect_model(models / "float16.tflite")
    assert any("half-precision" in row["why"] for row in halves["not_int8"])
    assert not halves["tflm"]["runs"]
    assert "DEQUANTIZE" in halves["tflm"]["reason"]


def test_ranges_on_examples(models):
    x = cases.table().x["val"]
    report = inspect_model(models / "int8.tflite", x, run_tflm=False)
    by_operator = [row["operator"] for row in report["ranges"]]
    assert by_operator == ["input", "FULLY_CONNECTED", "FULLY_CONNECTED", "FULLY_CONNECTED", "LOGISTIC"]
    entrance = report["ranges"][0]
    scale = report["inputs"][0]["scale"]
    assert entrance["low"] == pytest.approx(max(x.min(), (-128 - report["inputs"][0]["zero_point"]) * scale), abs=scale)
    assert 0.5 < entrance["used"] <= 1
    shouted = inspect_model(models / "int8.tflite", 20 * x, run_tflm=False)
    assert any("saturate" in text for text in shouted["suspicious"])
    whispered = inspect_model(models / "int8.tflite", x / 50, run_tflm=False)
    assert any("of its range" in text for text in whispered["suspicious"])


def test_text_and_picture(models, capsys, tmp_path):
    picture = tmp_path / "memory.svg"
    assert main("inspect", [str(models / "int8.tflite"), "--tensors", "--svg", str(picture)]) == 0
    text = capsys.readouterr().out
    assert "1,048 MACs" in text
    assert re.search(r"TFLM: runs, arena \d+ bytes .*, \d+ on an ESP32-S3", text)
    assert text.count("FULLY_CONNECTED") == 3
    assert picture.read_text().count("<rect") == 1 + 4
    assert main("inspect", [str(models / "int8.tflite"), "--json", "--no-tflm"]) == 0
    assert json.loads(capsys.readouterr().out)["macs"] == 1048
    report = inspect_model(models / "none.tflite", run_tflm=False)
    assert "not int8:" in render_text(report)
    assert render_memory_svg(report).startswith("<svg")


def test_verify_agrees_with_itself_and_not_with_another(models, capsys):
    data = ["--data", str(models / "table.npz")]
    same = [str(models / "none.tflite"), str(models / "none.tflite"), *data]
    assert main("verify", [*same, "--min-agreement", "1", "--max-difference", "0"]) == 0
    assert "same class 100.00 %" in capsys.readouterr().out
    pair = [str(models / "none.tflite"), str(models / "int8.tflite"), *data]
    assert main("verify", [*pair, "--min-agreement", "0.95", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert 0 < result["max_difference"] < 0.3
    assert result["cosine"] > 0.99
    assert {row["label"] for row in result["classes"]} == {"no", "yes"}
    assert main("verify", [*pair, "--max-difference", "0.0001"]) == 1
    assert "more than --max-difference" in capsys.readouterr().err


def test_agreement_by_hand():
    a = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], np.float32)
    b = np.array([[0.8, 0.2], [0.7, 0.3], [0.6, 0.4]], np.float32)
    result = agreement(a, b, np.array([0, 1, 1]), ("x", "y"))
    assert result["same_class"] == pytest.approx(2 / 3)
    assert (result["accuracy_a"], result["accuracy_b"]) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert (result["worst_example"], result["max_difference"]) == (1, pytest.approx(0.5))
    assert result["mse"] == pytest.approx((2 * 0.01 + 2 * 0.25) / 6)
    assert [row["same_class"] for row in result["classes"]] == [1.0, 0.5]
    with pytest.raises(CheepError, match="do not answer the same question"):
        agreement(a, b[:, :1])
    with pytest.raises(CheepError, match="model B gives NaN"):
        agreement(a, np.full_like(a, np.nan))


def test_state_scales_that_differ_are_pointed_out(models):
    from cheep.convert.recurrent_cell import Cell
    from cheep.convert.step_model import convert_step

    rng = np.random.default_rng(1)
    cell = Cell(
        "gru", *(rng.normal(0, 0.3, s).astype(np.float32) for s in ((6, 24), (8, 24), (24,), (24,), (8, 2), (2,)))
    )
    features = (np.sin(np.arange(40) / 5)[None, :, None] * np.ones((4, 1, 6)) * np.linspace(0.2, 1, 6)).astype(
        np.float32
    )
    step = convert_step(cell, features)
    report = inspect_model(step.data, run_tflm=False)
    assert not any("requantized" in text for text in report["suspicious"])


@pytest.mark.parametrize("kind", ["cut", "flipped", "foreign", "empty"])
def test_damaged_files_are_said_and_never_crash(models, tmp_path, kind, capsys):
    good = (models / "int8.tflite").read_bytes()
    rng = random.Random(1)
    for trial in range({"cut": 12, "flipped": 25}.get(kind, 1)):
        data = bytearray(good)
        if kind == "cut":
            data = data[: rng.randrange(1, len(good))]
        elif kind == "flipped":
            for _ in range(rng.randrange(1, 12)):
                data[rng.randrange(8, len(data))] = rng.randrange(256)
        else:
            data = bytearray(b"PK\x03\x04 not a model" * 20) if kind == "foreign" else bytearray()
        path = tmp_path / f"{kind}{trial}.tflite"
        path.write_bytes(data)
        status = main("inspect", [str(path), "--no-tflm"])
        captured = capsys.readouterr()
        assert status in ((0, 2) if kind in ("flipped", "cut") else (2,))
        assert "Traceback" not in captured.err
        if status:
            assert path.name in captured.err


def test_hostile_models_crash_the_child_not_the_user(models):
    """Bytes that pass the reader may still kill the native runtime: that is an answer, not a crash."""
    from cheep.tflite.tflm import tflm_support

    data = bytearray((models / "int8.tflite").read_bytes())
    graph = read_graph(bytes(data))
    weights = max((t for t in graph.tensors if t.data is not None), key=lambda t: t.n_bytes)
    at = bytes(data).find(weights.data.tobytes())
    for offset in range(4, 200, 8):  # tables before the buffer: offsets and lengths
        data[max(8, at - offset)] ^= 0x5A
    verdict = tflm_support(bytes(data), timeout_s=60)
    assert isinstance(verdict["runs"], bool)
    assert verdict["runs"] or verdict["reason"]
