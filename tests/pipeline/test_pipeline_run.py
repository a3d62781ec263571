# SPDX-License-Identifier: MIT
"""Pipelines that really run, on three tones: chains, folds, the cache, garbage, several labels at once."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from cheep.audio import read_audio, write_wav
from cheep.cli import main
from cheep.config import ClipConfig, WindowConfig
from cheep.datasets.clips import prepared, without_silence
from cheep.datasets.gather import gather
from cheep.datasets.manifest import load_manifest
from cheep.datasets.windows import window_starts
from cheep.errors import CheepError
from cheep.pipeline.cache import StepCache, content_key
from cheep.pipeline.checks import load_config, parse_config
from cheep.pipeline.judge import judge
from cheep.pipeline.runner import run_pipeline
from cheep.pipeline.tracking import Tracker

PITCH_HZ = {"low": 500, "middle": 1400, "high": 3000, "odd": 2200, "even": 900}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """48 recordings in an ESC-50-like layout: 3 labels x 2 folds x 6, and two labels of three for garbage."""
    folder = tmp_path_factory.mktemp("sounds")
    (folder / "audio").mkdir()
    rng = np.random.default_rng(3)
    rows = []
    for label, pitch in PITCH_HZ.items():
        for i in range(12 if label in ("low", "middle", "high") else 3):
            t = np.arange(int(8000 * rng.uniform(1.2, 2.0))) / 8000
            x = 0.2 * np.sin(2 * np.pi * pitch * rng.uniform(0.95, 1.05) * t) + 0.02 * rng.standard_normal(len(t))
            name = f"{i % 2 + 1}-{1000 + len(rows)}-A-0.wav"
            write_wav(folder / "audio" / name, np.rint(x * 20000).astype(np.int16), 8000)
            rows.append({"filename": name, "fold": i % 2 + 1, "category": label})
    with (folder / "meta.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["filename", "fold", "category"])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def overrides(sounds, out, **more):
    values = {
        "dataset.training_audio_path": sounds / "audio",
        "dataset.training_csv_path": sounds / "meta.csv",
        "dataset.class_names": "[low, middle, high]",
        "general.cache_dir": out.parent / "cache",
        "general.output_dir": out,
        "general.global_seed": 5,
        "training.model.name": "sepconv_s",
        "training.epochs": 6,
        "training.examples_per_epoch": 256,
        "training.learning_rate": 0.01,
        "quantization.quantization_type": "PTQ",
        "feature_extraction.overlap": 0.5,
        **more,
    }
    return [f"{key}={value}" for key, value in values.items()]


def run(sounds, out, mode, say=lambda text: None, **more):
    config = parse_config(f"operation_mode: {mode}\n", overrides=overrides(sounds, out, **more))
    return run_pipeline(config, say=say)


@pytest.fixture(scope="module")
def trained(sounds, tmp_path_factory):
    """One chain_tqed with post-training quantization: train, quantize, evaluate, deploy."""
    out = tmp_path_factory.mktemp("pipeline") / "first"
    return run(sounds, out, "chain_tqed", **{"dataset.test_folds": 2})


def test_a_chain_trains_quantizes_evaluates_and_deploys(trained):
    rows = {row["model"]: row for row in trained.rows}
    assert set(rows) == {"float", "int8"}
    assert rows["int8"]["split"] == "test" and rows["int8"]["clips"] == 18
    assert rows["int8"]["clip_accuracy"] > 0.8
    assert rows["int8"]["model_bytes"] == (trained.folder / "bird_detector_int8.tflite").stat().st_size
    low, high = rows["int8"]["clip_accuracy_interval"]
    assert low <= rows["int8"]["clip_accuracy"] <= high
    headers = {path.name for path in trained.files if path.suffix == ".h"}
    assert {"model.h", "mel_filter_bank.h", "detector_settings.h"} <= headers
    assert (trained.folder / "report.html").is_file()
    values = json.loads((trained.folder / "evaluation_int8.json").read_text())
    assert np.sum(values["confusion"]["clips"]) == 18
    splits = load_manifest(trained.folder / "dataset.csv")
    assert set(splits.where("fold", "2").column("split")) == {"test"}
    assert set(splits.where("fold", "1").column("split")) == {"train", "val"}


def test_an_unchanged_chain_runs_nothing_and_gives_the_same(sounds, trained):
    out = trained.folder.parent / "again"
    again = run(sounds, out, "chain_tqe", **{"dataset.test_folds": 2})
    assert again.executed == []
    assert len(again.cached) == 5
    assert again.rows == trained.rows
    assert (out / "manifest.json").read_bytes() == (trained.folder / "manifest.json").read_bytes()


def test_a_change_redoes_what_depends_on_it_and_nothing_else(sounds, trained):
    out = trained.folder.parent / "changed"
    fold = {"dataset.test_folds": 2}
    judged = run(sounds, out, "chain_tqe", **fold, **{"evaluation.unknown_class_threshold": 0.9})
    assert judged.executed == ["evaluation (float)", "evaluation (int8)"]
    values = json.loads((out / "evaluation_int8.json").read_text())
    assert values["unknown"]["threshold"] == 0.9 and values["confusion"]["labels"][-1] == "(none)"
    heard = []
    more = {"feature_extraction.n_mels": 32, "training.epochs": 1}
    mels = run(sounds, out, "training", heard.append, **fold, **more)
    assert mels.executed == ["training"] and mels.cached == ["data"]
    float_ = json.loads((out / "training.json").read_text())["metrics"]["float"]
    test, val = (f"{float_[split]['clip_accuracy']:.3f} of {float_[split]['clips']}" for split in ("test", "val"))
    assert [text for text in heard if "accuracy" in text] == [
        f"clip accuracy, float: {test} test clips, {val} validation clips"
    ]


def test_the_saved_configuration_gives_the_same_results(trained, capsys):
    resolved = trained.folder / "run.yaml"
    out = trained.folder.parent / "from_saved"
    assert main("run", [str(resolved), f"run.folder={out}"]) == 0
    text = capsys.readouterr().out
    assert "training: unchanged, taken from the cache" in text
    assert (out / "bird_detector_int8.tflite").read_bytes() == (
        trained.folder / "bird_detector_int8.tflite"
    ).read_bytes()


def test_a_finished_model_is_quantized_evaluated_predicted_and_measured(sounds, trained):
    out = trained.folder.parent / "later"
    more = {"general.model_path": trained.folder, "dataset.test_folds": 2}
    rows = {row["model"]: row for row in run(sounds, out, "chain_eqeb", **more).rows}
    assert rows["int8"]["instructions"] > 10_000 and rows["int8"]["ram_bytes"] > 500
    more = {
        "general.model_path": trained.folder, "prediction.test_files_path": sounds / "audio",
        "prediction.unknown_class_threshold": 0.5,
    }  # fmt: skip
    run(sounds, out, "prediction", **more)
    with (out / "predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 42
    known = {path["filename"]: path["category"] for path in csv.DictReader((sounds / "meta.csv").open())}
    right = [row["label"] == known[row["file"].rsplit("/", 1)[-1]] for row in rows if float(row["score"]) > 0.5]
    assert np.mean(right) > 0.6
    assert any(row["label"] == "unknown" for row in rows) or all(float(row["score"]) >= 0.5 for row in rows)


def test_float_scores_come_as_a_second_file(sounds, trained):
    out = trained.folder.parent / "float_io"
    more = {"dataset.test_folds": 2, "quantization.quantization_output_type": "float"}
    outcome = run(sounds, out, "chain_tqe", **more)
    from cheep.tflite.model import read_model

    model = read_model(out / "bird_detector_int8_other_ends.tflite")
    assert (model.inputs[0].dtype, model.outputs[0].dtype) == ("int8", "float32")
    assert "quantization" in outcome.executed and "training" in outcome.cached


def test_every_fold_is_the_test_set_once(sounds, trained):
    out = trained.folder.parent / "folds"
    outcome = run(sounds, out, "chain_tqe", **{"dataset.cross_validate": "true", "training.epochs": 2})
    assert [row["fold"] for row in outcome.rows] == ["1", "1", "2", "2", "mean", "mean"]
    mean = outcome.rows[-1]
    per_fold = [row["clip_accuracy"] for row in outcome.rows[:4] if row["model"] == "int8"]
    assert mean["clip_accuracy"] == pytest.approx(np.mean(per_fold)) and mean["clips"] == 36
    low, high = mean["clip_accuracy_interval"]  # of all folds together: narrower than one fold's
    assert low < mean["clip_accuracy"] <= high
    text = (out / "report.md").read_text()
    assert "### Folds" in text and "36 clips" in text
    values = json.loads((out / "report.json").read_text())
    assert [item["stage"] for item in values["histories"]][:1] == ["fold 1: float training"]
    assert values["data"]["recordings"] == 36 and values["data"]["rows"] == []
    assert len(values["mistakes"]) <= 6 and values["boards"] == []  # nothing was benchmarked
    assert json.loads((out / "fold-2" / "report.json").read_text())["title"] == "cheep, tested on fold 2"


def test_an_example_runs_shortened(sounds, tmp_path):
    """recipes/garbage.yaml as it is committed, but for three tones, one epoch and a small network."""
    more = {
        "data.csv": sounds / "meta.csv", "data.audio_root": sounds / "audio", "data.labels": "[low, high]",
        "qat.epochs": 1, "train.epochs": 1, "train.examples_per_epoch": 64, "train.model": "sepconv_s",
        "run.folder": tmp_path / "out", "run.cache": tmp_path / "cache",
    }  # fmt: skip
    recipe = Path(__file__).parents[2] / "recipes" / "garbage.yaml"
    outcome = run_pipeline(load_config(recipe, [f"{key}={value}" for key, value in more.items()]))
    evaluation = json.loads((tmp_path / "out" / "evaluation_int8.json").read_text())
    assert evaluation["confusion"]["labels"][:3] == ["garbage", "high", "low"]
    assert evaluation["unknown"]["threshold"] == 0.5
    row = outcome.rows[-1]
    assert row["model"] == "int8" and row["instructions"] > 100_000 and row["ram_bytes"] > 1000
    boards = json.loads((tmp_path / "out" / "report.json").read_text())["boards"]
    assert boards[0]["fits"] and boards[0]["ms_per_second"] > 1


def test_garbage_is_one_class_of_few_samples(sounds, tmp_path):
    more = {"dataset.use_garbage_class": "true", "dataset.n_samples_per_garbage_class": 2}
    config = parse_config("operation_mode: training\n", overrides=overrides(sounds, tmp_path / "x", **more))
    listed = gather(config.data).recordings
    labels = [item.label for item in listed]
    assert labels.count("garbage") == 4 and labels.count("low") == 12
    again = [item.path for item in gather(config.data).recordings]
    assert again == [item.path for item in listed]
    wrong = parse_config(
        "operation_mode: training\n", overrides=[*overrides(sounds, tmp_path / "x"), "dataset.class_names=[lwo]"]
    )
    with pytest.raises(CheepError, match=r"label 'lwo': not in .*did you mean 'low'"):
        gather(wrong.data)


def test_several_labels_at_once(sounds, tmp_path):
    """A recording with two labels is positive for both, and one with none of the chosen ones is background."""
    from cheep.config import TrainConfig
    from cheep.datasets.manifest import Manifest
    from cheep.training.data import LabelPlan

    text = (sounds / "meta.csv").read_text().replace(",low", ',"low,high"')
    (tmp_path / "multi.csv").write_text(text)
    more = {
        "dataset.training_csv_path": tmp_path / "multi.csv", "dataset.class_names": "[low, high]",
        "dataset.multi_label": "true",
    }  # fmt: skip
    config = parse_config("operation_mode: training\n", overrides=overrides(sounds, tmp_path / "x", **more))
    labels = [item.label for item in gather(config.data).recordings]
    assert labels.count("high;low") == 12 and labels.count("background") == 18
    manifest = Manifest.from_rows([{"label": label} for label in labels])
    plan = LabelPlan.of(manifest, TrainConfig(activation="sigmoid"))
    assert plan.labels == ("high", "low") and plan.activation == "sigmoid"
    assert plan.encode(["high;low", "high", "background"]).tolist() == [[1, 1], [1, 0], [0, 0]]


def test_windows_of_clips_and_their_preparation():
    def starts(columns, overlap, last):
        step_s, length_s = 40 * (1 - overlap) * 0.025, (39 * 200 + 256) / 8000
        config = WindowConfig(window_s=length_s, hop_s=step_s, last=last)
        found = window_starts(0, ((columns - 1) * 200 + 256) / 8000, config)
        return [round(start / 0.025) for start in found]

    assert starts(100, 0.5, False) == [0, 20, 40, 60]
    assert starts(105, 0.5, False) == [0, 20, 40, 60]
    assert starts(105, 0.5, True) == [0, 20, 40, 60, 65]
    assert starts(30, 0.5, True) == [0]
    rate = 8000
    tone = (8000 * np.sin(np.arange(rate) * 0.6)).astype(np.int16)
    quiet = np.zeros(rate, np.int16)
    clip = np.concatenate([quiet, tone, quiet])
    assert abs(len(without_silence(clip, 60, 800, 800)) - rate) <= 1600
    assert len(without_silence(quiet, 60, 800, 800)) == rate
    settings = ClipConfig(min_s=2, max_s=2.5, silence_frame_samples=800, silence_hop_samples=800)
    assert len(prepared(clip, settings, rate)) == 2 * rate  # cut to the tone, then repeated
    before = settings.model_copy(update={"lengthen": "before"})
    assert len(prepared(clip, before, rate)) <= rate + 1600  # long enough before the silence went
    keep = settings.model_copy(update={"silence_db": None})
    assert len(prepared(clip, keep, rate)) == 2.5 * rate
    whole = keep.model_copy(update={"whole_seconds": True})
    assert len(prepared(clip[: 3 * rate - 100], whole, rate)) == 2 * rate
    assert len(prepared(tone[:3000], settings, rate)) == 2 * rate


def test_centred_frames_are_those_of_librosa():
    import librosa

    from cheep.config import FeatureConfig
    from cheep.features import compute_features

    rng = np.random.default_rng(1)
    pcm = (rng.standard_normal(8000) * 3000).astype(np.int16)
    padded = prepared(pcm, ClipConfig(silence_db=None, pad_samples=128), 8000)
    ours = compute_features(padded, FeatureConfig())
    power = librosa.feature.melspectrogram(
        y=pcm / 32768.0, sr=8000, n_fft=256, hop_length=200, n_mels=40, fmin=100, fmax=4000, center=True,
        pad_mode="constant",
    )  # fmt: skip
    theirs = 10 * np.log10(np.maximum(power, 1e-10)).T
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=0.02)


def test_a_broken_step_leaves_nothing_that_looks_whole(tmp_path):
    cache = StepCache(tmp_path / "cache")

    def fails(folder):
        (folder / "half").write_text("x")
        raise CheepError("stop")

    with pytest.raises(CheepError):
        cache.build("data", "key", fails)
    assert list(cache.folder.iterdir()) == []
    assert cache.build("data", "key", lambda folder: (folder / "whole").write_text("x"))[1] is False
    assert cache.build("data", "key", fails)[1] is True
    assert content_key("a", {"x": 1}) != content_key("b", {"x": 1}) != content_key("a", {"x": 2})


def test_judge_counts_what_is_rejected():
    from cheep.evaluate.windows import WindowScores

    scores = np.array([[0.9, 0.1], [0.55, 0.45], [0.2, 0.8], [0.6, 0.4]], np.float32)
    targets = np.array([[1, 0], [0, 1], [0, 1], [1, 0]], np.float32)
    part = WindowScores(("a", "b"), "softmax", targets, scores, np.arange(4))
    config = parse_config("steps: [benchmarking]\n", overrides=[
        "evaluation.unknown_class_threshold=0.58", "general.model_path=.",
    ])  # fmt: skip
    values = judge({"test": part}, config.evaluate)
    assert values["unknown"] == {
        "threshold": 0.58, "clips_rejected": 1, "accuracy_of_accepted": 1.0, "errors_rejected": 1,
    }  # fmt: skip
    assert values["clip_accuracy"]["value"] == 0.75
    low, high = values["clip_accuracy"]["interval"]
    assert low < 0.5 and high > 0.9


def test_trackers_that_are_not_installed_are_named(tmp_path, monkeypatch):
    import importlib

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    config = parse_config("steps: [benchmarking]\n", overrides=["mlflow.uri=runs", "general.model_path=."])
    with pytest.raises(CheepError, match=r"track.mlflow: needs mlflow, .*requirements-pipelines.txt"):
        Tracker(config, tmp_path)


def test_mlflow_writes_into_a_folder(tmp_path):
    """MLflow 3 refuses folders unless it is told otherwise."""
    pytest.importorskip("mlflow", reason="requirements-pipelines.txt is optional")
    values = [f"mlflow.uri={tmp_path / 'tracks'}", "general.model_path=.", "general.project_name=finch"]
    config = parse_config("steps: [benchmarking]\n", overrides=values)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.json").write_text("{}")
    tracker = Tracker(config, tmp_path / "run")
    for epoch in (1, 2):
        tracker.on_epoch(epoch, 2, {"loss": 1 / epoch})
    tracker.finish([{"model": "int8", "clip_accuracy": 0.9}], tmp_path / "run")
    files = {path.name: path for path in (tmp_path / "tracks").rglob("*") if path.is_file()}
    assert len(files["loss"].read_text().splitlines()) == 2
    assert " 0.9 " in files["int8_clip_accuracy"].read_text()
    assert files["run.name"].read_text() == "finch" and "results.json" in files


def test_a_model_that_is_none(sounds, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheepError, match="holds no model"):
        run(sounds, tmp_path / "x", "benchmarking", **{"general.model_path": tmp_path / "empty"})
    (tmp_path / "m.onnx").write_text("x")
    with pytest.raises(CheepError, match=r"must be a run folder, a \.h5, \.keras or \.tflite"):
        run(sounds, tmp_path / "x", "benchmarking", **{"general.model_path": tmp_path / "m.onnx"})


def test_audio_of_the_data_step_is_kept(trained):
    manifest = load_manifest(trained.folder / "dataset.csv")
    assert len(read_audio(manifest.audio_path(0), 8000)) >= 8000
