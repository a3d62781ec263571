# SPDX-License-Identifier: MIT
"""The main job on a small synthesized data set: every stage, its files, its refusals."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cheep import runs
from cheep.cli import main
from cheep.compiler import CompiledModel
from cheep.config import AugmentConfig, FeatureConfig, QatConfig, TrainConfig
from cheep.convert import shrink
from cheep.convert.config import ConvertConfig
from cheep.convert.tflite import qat_to_int8
from cheep.datasets.demo import make_demo_dataset
from cheep.datasets.manifest import load_manifest
from cheep.datasets.soft import SOFT_LABELS, write_soft
from cheep.device.bundle import load_bundle
from cheep.ears.papers import add_papers
from cheep.errors import CheepError
from cheep.files import DiskError, write_bytes
from cheep.job import scores
from cheep.job.pace import measure_pace
from cheep.job.quantize import quantize_aware
from cheep.job.scores import quantize_windows
from cheep.job.train import train_network, train_teachers
from cheep.job.windows import load_windows
from cheep.models import build_model
from cheep.models.registry import RANGE_DB
from cheep.models.saved import load_keras, save_keras
from cheep.tf_runtime import import_tf, seed_everything
from cheep.tflite.model import read_model
from cheep.tflite.reader import read_graph
from cheep.tflite.tflm import TflmModel
from cheep.training.augment import draw_epoch

pytestmark = pytest.mark.xdist_group("main_job")

FEATURES = FeatureConfig(n_mels=24, hop_samples=256, window_frames=31)
TRAIN = TrainConfig(model="sepconv_s", epochs=8, batch_size=16, warmup_epochs=1)
PAPER = {"model": "birdnet 2.4", "sha256": "ab", "licence": "CC BY-NC-SA 4.0", "did": "judged labels",
         "commercial_use": False, "means": "not for commercial use"}  # fmt: skip
QAT = QatConfig(epochs=1, batch_size=32)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with the small demo data and a split run."""
    folder = tmp_path_factory.mktemp("job")
    make_demo_dataset(folder / "demo", seed=2, size="small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHEEP_RUNS", str(folder / "runs"))
        options = ["--run", "one", "--sample-rate", "8000", "--window", "1"]
        assert main("split-dataset", [str(folder / "demo"), *options]) == 0
    return folder


@pytest.fixture(scope="module")
def trained(home):
    """The run after both trainings."""
    run = home / "runs" / "one"
    add_papers(run / "ears.json", [PAPER])
    train_network(run, FEATURES, TRAIN)
    quantize_aware(run, QAT)
    return run


def test_the_papers_of_a_model_travel_with_it(trained, tmp_path, capsys):
    manifest = json.loads((trained / "manifest.json").read_text())
    assert manifest["training"]["judged_by"] == [PAPER]
    assert read_model(trained / "bird_detector_int8.tflite").metadata["training"]["judged_by"] == [PAPER]
    assert "birdnet 2.4" in (trained / "NOTICE.txt").read_text()
    assert main("model-convert", ["--model", str(trained), "--output", str(tmp_path / "headers")]) == 0
    assert "warning: not for commercial use" in capsys.readouterr().err
    assert (tmp_path / "headers" / "NOTICE.txt").read_text() == (trained / "NOTICE.txt").read_text()


def test_files_of_a_run(trained):
    for name in ("dataset.csv", "model.h5", "bird_detector.tflite", "bird_detector_int8.tflite", "manifest.json"):
        assert (trained / name).stat().st_size > 100
    assert not list(trained.glob("*.part"))
    assert not (trained / "checkpoint").exists()


def test_many_windows_are_scored_by_the_compiled_network_with_the_same_bits(trained, monkeypatch):
    bundle, windows = load_bundle(trained / "bird_detector_int8.tflite"), load_windows(trained, FEATURES, TRAIN)
    runtime = TflmModel(bundle.path)
    slow = scores.int8_scores(runtime, windows, bundle.scale)
    monkeypatch.setattr(scores, "_WORTH_COMPILING", 1)
    alone = {name: part for name, part in windows.splits.items() if name == "val"}
    monkeypatch.setattr(scores, "_COMPARED", 2)
    fast = scores.int8_scores(runtime, dataclasses.replace(windows, splits=alone), bundle.scale)
    assert np.array_equal(fast["val"].scores, slow["val"].scores)

    class Wrong(CompiledModel):
        def scores(self, windows):
            return super().scores(windows) + np.int8(1)

    monkeypatch.setattr(scores, "CompiledModel", Wrong)
    with pytest.raises(CheepError, match="does not say what TFLM says"):
        scores.int8_scores(runtime, windows, bundle.scale)


def test_towers_are_trained_each_on_its_own_and_run_as_one(home):
    run = home / "runs" / "towers"
    shutil.copytree(home / "runs" / "one", run, ignore=shutil.ignore_patterns("*.h5", "*.tflite", "*.json"))
    both = FEATURES.model_copy(update={"compression": "both", "n_mels": 48})
    config = TRAIN.model_copy(update={"epochs": 2, "towers": ("db", "pcen")})
    with pytest.raises(CheepError, match="features give 'db' alone"):
        train_network(run, FEATURES, config)
    result, _ = train_network(run, both, config)
    assert len(result.history) == 2 and result.kept == "the average of the last epochs"
    windows, merged = load_windows(run, both, config), load_keras(run / "model.h5")
    score = {}
    for number, kind in enumerate(("db", "pcen"), 1):
        own = load_windows(run, both.alone(kind), config).splits["test"].gather(np.arange(30))
        model = load_keras(run / f"tower_{number}_{kind}.h5")
        short = import_tf().keras.Model(model.input, model.get_layer("flat").output)
        score[kind] = short.predict(own[..., None], verbose=0)
    x = windows.splits["test"].gather(np.arange(30))
    short = import_tf().keras.Model(merged.input, merged.get_layer("flat").output)
    assert np.allclose(short.predict(x[..., None], verbose=0), (score["db"] + score["pcen"]) / 2, atol=0.02)
    before = (run / "tower_1_db.h5").stat().st_mtime_ns
    train_network(run, both, config)  # nothing is trained twice
    assert (run / "tower_1_db.h5").stat().st_mtime_ns == before
    quantize_aware(run, QAT)
    device, compiled = (kind(run / "bird_detector_int8.tflite") for kind in (TflmModel, CompiledModel))
    q = quantize_windows(device, x)
    assert np.array_equal(device.scores(q), compiled.scores(q))
    assert len(np.unique(device.scores(q))) > 5


def test_a_tower_is_trained_again_where_its_soft_labels_are_others(home, trained, monkeypatch):
    run = home / "runs" / "soft"
    shutil.copytree(trained, run, ignore=shutil.ignore_patterns("*.h5", "*.tflite", "*.json"))
    manifest = load_manifest(run / "dataset.csv")
    config = TRAIN.model_copy(update={"epochs": 1, "towers": ("db", "db"), "soft_weight": 0.5})
    write_soft(run / SOFT_LABELS, manifest, manifest.labels, np.full((len(manifest), 4), 0.25, np.float32))
    train_network(run, FEATURES, config)
    monkeypatch.setattr("cheep.job.train.fit", None)  # from here on nothing can be trained
    train_network(run, FEATURES, config)
    write_soft(run / SOFT_LABELS, manifest, manifest.labels, np.full((len(manifest), 4), 0.2, np.float32))
    with pytest.raises(TypeError, match="not callable"):
        train_network(run, FEATURES, config)


def test_manifest_describes_the_model_it_lies_beside(trained):
    manifest = json.loads((trained / "manifest.json").read_text())
    info = read_model(trained / "bird_detector_int8.tflite")
    assert manifest["model"]["sha256"] == info.sha256
    assert manifest["labels"] == ["background", "buzzer", "triller", "whistler"]
    assert FeatureConfig.parse(manifest["features"]) == FEATURES
    assert int(manifest["feature_hash"], 16) == FEATURES.hash32
    assert info.metadata["features"] == manifest["features"]
    assert manifest["detector"]["threshold"][0] is None  # the background makes no events
    assert sum(manifest["data"]["windows"]["buzzer"].values()) > 10
    assert manifest["training"]["train"]["seed"] == TRAIN.seed
    assert "tflite-micro" in manifest["training"]["versions"]


def test_golden_windows_give_their_scores(trained):
    manifest = json.loads((trained / "manifest.json").read_text())
    runtime = TflmModel(trained / "bird_detector_int8.tflite")
    names = [golden["name"] for golden in manifest["golden"]]
    assert names == ["silence", "loud", "extremes", "noise", *manifest["labels"]]
    for golden in manifest["golden"][4:]:
        window = np.frombuffer(base64.b64decode(golden["window"]), np.int8).reshape(1, 31, 24)
        assert runtime.scores(window)[0].tolist() == golden["scores"]
    assert TflmModel(trained / "bird_detector_int8.tflite", manifest["model"]["arena_bytes"])


def test_what_follows_the_last_epoch_is_named(home, trained):
    run = home / "runs" / "named"
    shutil.copytree(trained, run)
    said = []
    quantize_aware(run, QAT, on_epoch=lambda epoch, total, _: said.append((epoch, total)), on_step=said.append)
    after = said[said.index((1, 1)) + 1 :]
    assert after[:2] == ["conversion to int8", "scores of the fine-tuned network"]
    assert any("int8 scores of" in text for text in after) and any("without sound" in text for text in after)


def test_float_qat_and_int8_are_evaluated_on_the_same_windows(trained):
    metrics = json.loads((trained / "evaluation.json").read_text())["metrics"]
    assert set(metrics) == {"float", "qat", "int8"}
    windows = {metrics[name]["test"]["windows"] for name in metrics}
    assert len(windows) == 1
    assert windows.pop() > 20
    assert abs(metrics["qat"]["test"]["window_auc"] - metrics["int8"]["test"]["window_auc"]) < 0.03


def test_same_seed_and_data_give_the_same_bytes(home, trained):
    again = home / "runs" / "two"
    again.mkdir()
    for name in ("dataset.csv", "ears.json"):
        shutil.copy(trained / name, again)
    assert measure_pace(load_windows(again, FEATURES, TRAIN), TRAIN).student_s > 0  # leaves nothing behind
    train_network(again, FEATURES, TRAIN)
    quantize_aware(again, QAT)
    for name in ("bird_detector.tflite", "bird_detector_int8.tflite", "manifest.json", "training.json"):
        assert (again / name).read_bytes() == (trained / name).read_bytes(), name
    caches = [sorted((run / "features").glob("*.f32"))[0] for run in (trained, again)]
    assert caches[0].name == caches[1].name
    assert caches[0].read_bytes() == caches[1].read_bytes()


def test_an_interrupted_training_keeps_its_best_and_goes_on(home, trained):
    config = TRAIN.model_copy(update={"dropout": 0.0})  # its masks do not repeat after a restart
    run, whole = home / "runs" / "three", home / "runs" / "whole"
    for folder in (run, whole):
        folder.mkdir()
        shutil.copy(trained / "dataset.csv", folder)
        shutil.copytree(trained / "features", folder / "features")
    expected, _ = train_network(whole, FEATURES, config)

    def stop_after_two(epoch, _epochs, _numbers):
        if epoch == 2:
            raise KeyboardInterrupt

    result, _ = train_network(run, FEATURES, config, on_epoch=stop_after_two)
    assert result.interrupted
    assert (run / "model.h5").is_file()
    assert (run / "checkpoint" / "state.json").is_file()
    result, _ = train_network(run, FEATURES, config)
    assert not result.interrupted
    assert len(result.history) == 8
    for name in ("loss", "val_loss"):
        assert [h[name] for h in result.history] == pytest.approx([h[name] for h in expected.history], rel=1e-4)


def test_scripts_go_on_with_the_latest_run(home, trained, monkeypatch, capsys):
    monkeypatch.setenv("CHEEP_RUNS", str(home / "runs"))
    with runs.start_run("one"):
        pass
    assert runs.find_run().name == "one"
    folder = home / "runs" / "one"
    for name in ("one", folder):  # by name or by folder, to make and to find
        with runs.start_run(name) as run:
            assert run == folder == runs.find_run(name)
    assert main("train-qat", ["--epochs", "1", "--batch-size", "32", "--max-loss", "-200"]) == 1
    captured = capsys.readouterr()
    assert "int8" in captured.out
    assert "more than --max-loss" in captured.err


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("train", ["--run", "nowhere"], "nowhere: no such run, folder or name in "),
        ("train", ["--epochs", "0"], "epochs=0"),
        ("train", ["--model", "sepcon_m"], "did you mean 'sepconv_m'"),
        ("train", ["--n-mels", "8"], "needs at least 24 frames and 24 bands"),
        ("train", ["--config", "none.yaml"], "no such run file"),
        ("train", ["--board", "audiomot"], "audiomoth"),
        ("train-qat", ["--learning-rate", "fast"], "learning_rate='fast'"),
    ],
)
def test_mistakes_end_with_status_2_and_a_reason(home, trained, monkeypatch, capsys, command, arguments, message):
    monkeypatch.setenv("CHEEP_RUNS", str(home / "runs"))
    before = (trained / "model.h5").read_bytes()
    with runs.start_run("one"):
        pass
    assert main(command, arguments) == 2
    assert message in capsys.readouterr().err
    assert (trained / "model.h5").read_bytes() == before


def test_without_a_run_the_next_command_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CHEEP_RUNS", str(tmp_path / "empty"))
    assert main("train", []) == 2
    assert "cheep split-dataset" in capsys.readouterr().err


def test_missing_recordings_and_changed_labels_are_refused(home, trained, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    text = (trained / "dataset.csv").read_text()
    (run / "dataset.csv").write_text(text)
    with pytest.raises(CheepError, match="no such recording"):
        train_network(run, FEATURES, TRAIN)
    other = home / "runs" / "four"
    other.mkdir()
    (other / "dataset.csv").write_text(text.replace(",buzzer,", ",humming,"))
    shutil.copy(trained / "model.h5", other)
    shutil.copy(trained / "training.json", other)
    with pytest.raises(CheepError, match="train again"):
        quantize_aware(other, QAT)


def test_a_report_is_made_without_the_recordings_and_says_so(home, trained, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    whole = json.loads(_report(trained, tmp_path / "whole.html"))
    text = (run / "dataset.csv").read_text().replace(".wav,", "_moved.wav,")
    (run / "dataset.csv").write_text(text)
    less = json.loads(_report(run, tmp_path / "less.html"))
    assert whole["words"]["weak"] != less["words"]["weak"] and not less["mistakes"]
    assert less["variants"] == whole["variants"] and less["data"]["rows"] == whole["data"]["rows"]
    page = (tmp_path / "less.md").read_text()
    assert "test recordings cannot be read any more" in page and "no such recording" in page
    assert "cannot be read" not in (tmp_path / "whole.md").read_text()


def _report(run, page):
    assert main("report", ["--run", str(run), "--output", str(page)]) == 0
    return page.with_suffix(".json").read_text()


def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch):
    write_bytes(tmp_path / "a.bin", b"old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DiskError, match="No space left"):
        write_bytes(tmp_path / "a.bin", b"new" * 1000)
    assert (tmp_path / "a.bin").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_settings_unknown_to_the_yaml_are_named(tmp_path, home, monkeypatch, capsys):
    monkeypatch.setenv("CHEEP_RUNS", str(home / "runs"))
    (tmp_path / "a.yaml").write_text("features:\n  hop_sample: 3\n")
    assert main("train", ["--config", str(tmp_path / "a.yaml")]) == 2
    assert "did you mean 'hop_samples'" in capsys.readouterr().err
    (tmp_path / "b.yaml").write_text("augment:\n  gain_db: 99\n")
    assert main("train", ["--config", str(tmp_path / "b.yaml")]) == 2
    assert "gain_db=99" in capsys.readouterr().err


def test_augmentation_off_changes_nothing(trained):
    from cheep.training.augment import add_db

    windows = load_windows(trained, FEATURES, TRAIN).splits["train"]
    off = AugmentConfig(
        gain_db=0, tilt_db=0, band_db=0, shift_frames=0, mix_probability=0, mask_frames=0, mask_bands=0, mixup_alpha=0
    )
    index = np.arange(10)
    x, y = draw_epoch(windows, index, off, np.random.default_rng(0))
    assert np.array_equal(x[..., 0], windows.gather(index))
    assert np.array_equal(y, windows.targets[:10])
    a, b = np.float32(-30), np.array([-30, -130, -20], np.float32)
    assert add_db(a, b) == pytest.approx(10 * np.log10(10 ** (a / 10) + 10 ** (b / 10)), abs=1e-4)


def test_pcen_is_augmented_before_the_compression(rng):
    from cheep.features import compute_features
    from cheep.features.pcen import pcen_windows

    pcen = FeatureConfig(n_mels=24, hop_samples=256, window_frames=31, compression="pcen", pcen_eps=1e-8)
    pcm = (rng.standard_normal(16000) * 500).astype(np.int16)
    level = compute_features(pcm, pcen.model_copy(update={"compression": "db"}))
    both = np.stack([level, level - 20])
    out = pcen_windows(10 ** (both / np.float32(10)), pcen)
    assert np.abs(out[0] - compute_features(pcm, pcen)).max() < 1e-4
    assert np.abs(out[1] - out[0]).max() < 0.2 * np.abs(out[0]).max()  # 20 dB less: nearly the same units
    with pytest.raises(CheepError, match="'pcen'"):
        pcen_windows(both, pcen.model_copy(update={"compression": "db"}))


def test_a_student_learns_from_teachers_that_hear_differently(home, trained):
    run = home / "runs" / "student"
    run.mkdir()
    shutil.copy(trained / "dataset.csv", run)
    kinds = ("db", "pcen", "db")
    lessons = {"teacher_model": "sepconv_s", "teachers": kinds, "teacher_epochs": 2, "epochs": 2}
    config = TRAIN.model_copy(update=lessons)
    train_network(run, FEATURES, config)
    assert (run / "teacher_1_db.h5").is_file()
    before = (run / "teacher_2_pcen.h5").stat().st_mtime_ns
    windows = load_windows(run, FEATURES, config)
    teacher = train_teachers(run, windows, config)
    more = config.model_copy(update={"teachers": (*kinds, "mean"), "teacher_weight": 0.5})
    assert len(train_teachers(run, windows, more).members) == 4
    assert (run / "teacher_2_pcen.h5").stat().st_mtime_ns == before  # not trained again
    assert [features.compression for _, features in teacher.members] == ["db", "pcen", "db"]
    one, *_, other = (model.get_weights()[0] for model, _ in teacher.members)
    assert np.abs(one - other).max() > 0  # the same ears, another seed
    levels = windows.splits["train"].gather_levels(np.arange(8))
    assert levels.shape[1] == FEATURES.window_frames + teacher.context_frames
    targets = teacher.targets(levels)
    assert targets.sum(axis=1) == pytest.approx(1, abs=1e-5)
    single = dataclasses.replace(teacher, members=teacher.members[:1])
    expected = teacher.members[0][0].predict(levels[:, teacher.context_frames :, :, None], verbose=0)
    assert single.targets(levels) == pytest.approx(expected, abs=1e-3)
    train, index, lively = windows.splits["train"], np.arange(24), AugmentConfig(mixup_alpha=0.3)
    x, y = draw_epoch(train, index, lively, np.random.default_rng(1), single, 1.0)
    judge = dataclasses.replace(single, context_frames=0)
    assert y == pytest.approx(judge.targets(x[..., 0]), abs=1e-3)  # of the very input, masks and mixes included
    _, part = draw_epoch(train, index, lively, np.random.default_rng(1), single, 0.99)
    assert np.abs(part - judge.targets(x[..., 0])).max() > 0.02
    quantize_aware(run, QAT)
    assert (run / "manifest.json").is_file()
    train_teachers(run, windows, config.model_copy(update={"teacher_epochs": 1, "teachers": kinds[:2]}))
    assert (run / "teacher_2_pcen.h5").stat().st_mtime_ns > before  # other lessons


@pytest.mark.parametrize("hears", ["peak", "mean"])
def test_a_teacher_on_relative_levels_hears_no_gain_and_over_means_no_microphone(tmp_path, hears):
    seed_everything(1)
    model = build_model("sepconv_s", (39, 40), 3, hears=hears)
    save_keras(model, tmp_path / "teacher.h5")
    model = load_keras(tmp_path / "teacher.h5")
    rng = np.random.default_rng(1)
    x = rng.uniform(-70, -60, (4, 39, 40, 1)).astype(np.float32)
    x[:, 10:30] += rng.uniform(30, 40, (4, 20, 40, 1)).astype(np.float32)
    curve = np.linspace(-4, 4, 40, dtype=np.float32)[:, None]
    plain, louder = model.predict(x, verbose=0), model.predict(x + 17, verbose=0)
    assert np.abs(louder - plain).max() < 1e-4
    assert np.ptp(plain, axis=0).max() > 1e-3  # it does hear something
    steady = np.tile(x[:, 10:30], (1, 2, 1, 1))[:, :39]  # every column sounds
    moved = np.abs(model.predict(steady + curve, verbose=0) - model.predict(steady, verbose=0)).max()
    assert moved < 1e-4 if hears == "mean" else moved > 1e-4


def test_a_network_under_the_peak_hears_no_gain_on_the_device_either(home, trained):
    run = home / "runs" / "peak"
    run.mkdir()
    shutil.copy(trained / "dataset.csv", run)
    shutil.copytree(trained / "features", run / "features")
    config = TRAIN.model_copy(update={"hears": "peak"})
    train_network(run, FEATURES, config)
    _, metrics = quantize_aware(run, QAT)
    assert metrics["int8"]["test"]["window_auc"] > metrics["float"]["test"]["window_auc"] - 0.05
    data = (run / runs.INT8_TFLITE).read_bytes()
    operators = [node.op for node in read_graph(data).nodes]
    assert operators[:3] == ["MAX_POOL_2D", "SUB", "CONV_2D"]
    assert "MINIMUM" not in operators  # the quantization clips
    device, compiled = TflmModel(data), CompiledModel(data)
    assert compiled.compiled.stream is None
    windows = load_windows(run, FEATURES, config).splits["test"].gather(np.arange(40))
    quantized = quantize_windows(device, windows)
    scores = device.scores(quantized)
    assert len(np.unique(scores, axis=0)) > 4
    assert np.array_equal(compiled.scores(quantized), scores)
    low = int(quantized.min())
    assert low > -128 + 5
    assert np.array_equal(device.scores(quantized - np.int8(5)), scores)  # a quieter recording
    floor = 127 - int(np.ceil(RANGE_DB / device.input_info.scale))
    assert floor > -128 + 20
    some = np.random.default_rng(1).random(quantized.shape) < 0.2
    quantized[:, 0, 0], some[:, 0, 0] = 127, False
    deep, deeper, heard = (np.where(some, level, quantized).astype(np.int8) for level in (floor, -128, floor + 20))
    assert np.array_equal(device.scores(deep), device.scores(deeper))  # what lies below the range is not heard
    assert not np.array_equal(device.scores(deep), device.scores(heard))


@pytest.mark.parametrize("change", [{}, {"prune": 0.5}, {"cluster": 8}])
def test_convert_marks_levels_under_the_peak_too(change, monkeypatch):
    monkeypatch.setattr(shrink, "fine_tune", lambda *_: None)
    model = build_model("sepconv_s", (39, 40), 3, hears="peak")
    aware = shrink.quantization_aware(model, None, ConvertConfig(method="qat", **change))
    peak, under, *_ = read_graph(qat_to_int8(aware)).nodes
    assert (peak.op, under.op) == ("MAX_POOL_2D", "SUB")
    assert under.output.scale == pytest.approx(RANGE_DB / 255)


def test_a_network_that_cannot_fit_the_board_is_refused_before_training(home, trained, monkeypatch, capsys):
    monkeypatch.setenv("CHEEP_RUNS", str(home / "runs"))
    with runs.start_run("one"):
        pass
    before = (trained / "model.h5").read_bytes()
    wide = ["--n-mels", "128", "--hop-samples", "62", "--window-frames", "120"]  # as long as the examples
    assert main("train", ["--board", "audiomoth", *wide, "--frame-samples", "512", "--fft-size", "512"]) == 1
    assert "too many; largest is " in capsys.readouterr().err
    assert (trained / "model.h5").read_bytes() == before
    assert main("train", ["--sample-rate-hz", "16000"]) == 2  # the examples were cut for another rate
    assert "data.sample_rate_hz=8000: contradicts features.sample_rate_hz=16000" in capsys.readouterr().err


def test_the_emulated_board_prints_the_host_s_events_on_the_soundscape(home, trained, capsys, tmp_path):
    """The whole application with the compiled network, in regions of the AudioMoth's size.

    With low thresholds: a network of a few epochs says more to silence than to a call, and its own are raised for that.
    """
    trained = shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("features", "*.h5"))
    manifest = json.loads((trained / "manifest.json").read_text())
    manifest["detector"]["threshold"] = [None, 0.3, 0.3, 0.3]
    (trained / "manifest.json").write_text(json.dumps(manifest))
    sound = str(home / "demo" / "soundscape.wav")
    lines = {}
    for board in ("host", "cortex-m4"):
        assert main("simulate", ["--model", str(trained), "--board", board, sound]) == 0
        lines[board] = [line for line in capsys.readouterr().out.splitlines() if '"type":"event"' in line]
    assert len(lines["host"]) > 2
    assert lines["cortex-m4"] == lines["host"]


def test_runs_are_listed_with_what_they_reached(home, trained, monkeypatch, capsys):
    monkeypatch.setenv("CHEEP_RUNS", str(home / "runs"))
    with runs.start_run("unfinished") as run:
        shutil.copy(trained / "dataset.csv", run)
    (run / "training.json").write_text("{")
    (home / "runs" / "notes").mkdir(exist_ok=True)  # no run
    assert main("runs", []) == 0
    out = capsys.readouterr().out
    assert "notes" not in out
    one, two = (next(line for line in out.splitlines() if f" {name} " in line) for name in ("one", "unfinished"))
    accuracy = json.loads((trained / "evaluation.json").read_text())["metrics"]["int8"]["test"]["clip_accuracy"]
    n_bytes = (trained / "bird_detector_int8.tflite").stat().st_size
    assert one.startswith("  one ") and f"quantized {accuracy:.3f} (int8, test)" in " ".join(one.split())
    assert f"{n_bytes:,}" in one and "background" in one
    assert two.startswith("* unfinished ") and " trained " in two
    assert "unfinished: training.json: damaged JSON" in out
    shutil.rmtree(run)


def test_a_second_training_in_the_run_is_told_of_the_first(home, trained, monkeypatch, capsys):
    monkeypatch.setenv("CHEEP_RUNS", str(home / "runs"))
    before = (trained / "model.h5").read_bytes()
    source = str(Path(runs.__file__).resolve().parents[1])
    hold = "with r.working_in(p.Path(sys.argv[1])): print('held', flush=1), input()"
    code = "import sys, pathlib as p, cheep.runs as r\n" + hold
    first = subprocess.Popen(
        [sys.executable, "-c", code, str(trained)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": source},
    )  # fmt: skip
    assert first.stdout.readline() == "held\n"
    for command in ("train", "train-qat"):
        assert main(command, ["--run", "one", "--epochs", "1"]) == 2
        assert f"one: is being worked on by process {first.pid} on " in capsys.readouterr().err
    first.communicate("\n")
    assert (trained / "model.h5").read_bytes() == before
    assert not (trained / runs.LOCK).exists()


def test_a_split_onto_a_full_disk_leaves_no_run_and_the_latest_as_it_was(home, trained, monkeypatch, capsys):
    monkeypatch.setenv("CHEEP_RUNS", str(home / "runs"))
    with runs.start_run("one"):
        pass

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("os.fsync", full)
        assert main("split-dataset", [str(home / "demo"), "--run", "new"]) == 2
    assert "dataset.csv: cannot write: No space left on device" in capsys.readouterr().err
    assert not (home / "runs" / "new").exists()
    assert runs.find_run().name == "one"
