# SPDX-License-Identifier: MIT
"""scripts/bench_accuracy.py on small synthesized sets: what it trains on, what it says, what it refuses."""

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import bench_accuracy
from cheep.audio import write_wav
from cheep.cli import main
from cheep.datasets.manifest import load_manifest

RATE = 8000
WORDS = {"one": 600.0, "two": 1800.0, "three": 3000.0}
RECIPE = """
features: {n_mels: 24, hop_samples: 200, window_frames: 30}
train: {model: sepconv_s, epochs: 12, batch_size: 16, learning_rate: 0.01}
augment: {noise_probability: 0.5}
qat: {epochs: 1}
"""


def tone(hz, seconds, rng):
    t = np.arange(int(RATE * seconds)) / RATE
    signal = 8000 * np.sin(2 * np.pi * hz * t) + rng.normal(0, 30, len(t))
    return signal.astype(np.int16)


def write_table(path, rows):
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def make_words(root, speakers):
    """A set laid out like fsdd_digits: each word three times by each speaker, shorter than a window."""
    rng = np.random.default_rng(len(speakers))
    rows = []
    for word, hz in WORDS.items():
        (root / "fsdd_digits" / word).mkdir(parents=True)
        for speaker in speakers:
            for take in range(3):
                name = f"{word}/{speaker}_{take}.wav"
                seconds = rng.uniform(0.3, 0.6)
                write_wav(root / "fsdd_digits" / name, tone(hz * rng.uniform(0.95, 1.05), seconds, rng), RATE)
                row = {"file": name, "label": word, "split_group": f"speaker:{speaker}", "fold": ""}
                rows.append(row | {"duration_s": f"{seconds:.3f}", "license": "CC0", "author": speaker})
    write_table(root / "fsdd_digits" / "metadata.csv", rows)
    return root


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    root = tmp_path_factory.mktemp("bench")
    make_words(root / "train", ["ann", "bob", "cat", "dan"])
    make_words(root / "test", ["eve"])
    (root / "recipe.yaml").write_text(RECIPE)
    return root


def run(monkeypatch, capsys, *options):
    monkeypatch.setattr(sys, "argv", ["bench_accuracy.py", *map(str, options)])
    status = bench_accuracy.main()
    return status, *capsys.readouterr()


def test_one_folder_is_trained_on_and_another_is_judged_as_the_device_would(sets, monkeypatch, capsys):
    options = ["--task", "fsdd_digits", "--recipe", sets / "recipe.yaml", "--keep", sets / "keep"]
    status, out, err = run(monkeypatch, capsys, *options, "--train", sets / "train", "--test", sets / "test", "--json")
    assert status == 0 and "warning" not in err
    values = {value["name"].removeprefix("fsdd_digits."): value["value"] for value in json.loads(out)}
    assert values["clip_accuracy"] > 0.8
    # a clip shorter than a window is the one window that the stream hears
    assert values["streamed_clip_accuracy"] == values["clip_accuracy"]
    assert values["window_auc"] > 0.8
    assert 0 < values["ram_bytes"] < 20_000
    manifest = load_manifest(sets / "keep" / "fsdd_digits-0" / "dataset.csv")
    split = dict(zip(manifest.column("group"), manifest.column("split"), strict=True))
    assert [group for group, name in split.items() if name == "test"] == ["speaker:eve"]


def make_birds(root):
    """Sets laid out like the bird task's: whistles in two of four seconds, noise, and a labelled soundscape."""
    rng = np.random.default_rng(5)
    rows, field = [], []
    for kind, folder in (
        ("bird", "bird_bg"),
        ("background", "bird_bg"),
        ("bird", "soundscapes"),
        ("no_bird", "soundscapes"),
    ):
        for number in range(10 if folder == "bird_bg" else 2):
            noise = rng.normal(0, 200, 4 * RATE)
            if kind == "bird":
                noise[RATE : 3 * RATE] += tone(2500 + 20 * number, 2, rng)
            name = f"{kind}/{number}.wav"
            (root / folder / kind).mkdir(parents=True, exist_ok=True)
            # the last recordings were made at half of the rate
            half = folder == "bird_bg" and number == 9
            samples = noise.astype(np.int16)
            write_wav(root / folder / name, samples[::2] if half else samples, RATE // 2 if half else RATE)
            row = {"file": f"{folder}/{name}", "binary": kind, "set": folder, "label": kind, "duration_s": "4.000"}
            row |= {"split_group": f"{kind}{number}", "license": "CC0"}
            snr = "2;20;21;3" if kind == "bird" else "2;3;2;1"
            rows.append(row | {"win1s_snr_db": snr, "win1s_snr_lt4k_db": snr})
            if folder == "soundscapes":
                field.append(rows[-1] | {"file": name})
    write_table(root / "manifest_bird_vs_background.csv", rows)
    write_table(root / "soundscapes" / "metadata.csv", field)
    return root


def test_the_bird_task_knows_its_seconds_and_reports_alarms_and_the_field(tmp_path, monkeypatch, capsys):
    root = make_birds(tmp_path / "birds")
    rows = bench_accuracy.bird_windows(root, 1.0)
    found = [(row["label"], row["start_s"], row["reason"]) for row in rows if row["path"] == "bird_bg/bird/3.wav"]
    assert found == [("background", 0, "gap"), ("bird", 1, ""), ("bird", 2, ""), ("background", 3, "gap")]
    assert not any("soundscapes" in row["path"] for row in rows)
    # a longer window stands around its second, and one that touches the bird is no gap
    assert [row["start_s"] for row in bench_accuracy.bird_windows(root, 2.0)[:4]] == [0.5, 1.5, 0.5, 1.5]
    assert [row["label"] for row in bench_accuracy.jura_windows(root, 1.0)] == ["bird"] * 8 + ["background"] * 8

    (tmp_path / "recipe.yaml").write_text(RECIPE)
    options = ["--task", "bird", "--recipe", tmp_path / "recipe.yaml", "--train", root, "--test", root, "--json"]
    status, out, err = run(monkeypatch, capsys, *options)
    assert status == 0, err
    values = {value["name"].removeprefix("bird."): value["value"] for value in json.loads(out)}
    assert values["window_auc"] > 0.9
    assert 0.8 < values["full_band.window_auc"] <= 1
    assert values["jura.window_auc"] > 0.5
    assert values["background_hours"] == pytest.approx(40 / 3600, rel=0.3)
    low, rate, high = (values[f"false_alarms_per_hour_at_80_recall{end}"] for end in (".low", "", ".high"))
    assert low <= rate <= high


def test_cross_validation_leaves_a_speaker_out(sets, monkeypatch, capsys):
    options = ["--task", "fsdd_digits", "--recipe", sets / "recipe.yaml", "--train", sets / "train", "--float"]
    status, out, err = run(monkeypatch, capsys, *options, "--folds", "0,3", "--set", "train.epochs=2")
    assert status == 0
    assert [line.split(":")[0] for line in err.splitlines()] == ["fsdd_digits fold 0", "fsdd_digits fold 3"]
    assert "fsdd_digits.float.clip_accuracy.std" in out

    args = argparse.Namespace(train=sets / "train", test=None, seed=1)
    recipe = bench_accuracy.load_recipe("fsdd_digits", sets / "recipe.yaml")
    manifest = bench_accuracy.examples_of("fsdd_digits", recipe, args, sets / "made")
    left_out = []
    for part in bench_accuracy.splits(manifest, bench_accuracy.data_of("fsdd_digits", recipe, args).split):
        groups = {name: set(part.of_split(name).column("group")) for name in ("train", "val", "test")}
        assert not groups["test"] & (groups["train"] | groups["val"])
        left_out += groups["test"]
    assert sorted(left_out) == ["speaker:ann", "speaker:bob", "speaker:cat", "speaker:dan"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--folds", "4"], "--folds 4: must be numbers from 0 to 3"),
        (["--folds", "a"], "must be numbers"),
        (["--set", "trane.epochs=3"], "trane: unknown setting (did you mean 'train'?)"),
        (["--set", "train.epochs=many"], "epochs='many'"),
        (["--test", "nowhere"], "nowhere/fsdd_digits: no such folder"),
    ],
)
def test_mistakes_are_named(sets, monkeypatch, capsys, options, message):
    base = ["--task", "fsdd_digits", "--recipe", sets / "recipe.yaml", "--train", sets / "train"]
    status, out, err = run(monkeypatch, capsys, *base, *options)
    assert status == 2 and not out
    assert message in err


def test_a_speaker_on_both_sides_is_pointed_out(sets, monkeypatch, capsys):
    options = ["--task", "fsdd_digits", "--recipe", sets / "recipe.yaml", "--train", sets / "train"]
    status, _, err = run(monkeypatch, capsys, *options, "--test", sets / "train", "--float", "--set", "train.epochs=1")
    assert status == 0
    assert "4 groups are in --train and in --test, such as 'speaker:ann'" in err


def test_cheep_run_gives_the_benchmarks_figure_of_a_recipe(tmp_path, monkeypatch, capsys):
    """recipes/esc10.yaml on a small set laid out like ESC-10, by both ways: the same examples, models and figures."""
    rng = np.random.default_rng(2)
    rows = []
    for label, hz in WORDS.items():
        (tmp_path / "data" / "esc10" / label).mkdir(parents=True)
        for number in range(8):
            name = f"{label}/{number % 2 + 1}-{1000 + len(rows)}-A-0.wav"
            sound = tone(hz * rng.uniform(0.9, 1.1), 5, rng)
            sound[RATE * 4 :] = 0  # padded with digital silence, as some of its clips are
            write_wav(tmp_path / "data" / "esc10" / name, sound, RATE)
            row = {"file": name, "label": label, "split_group": f"source{len(rows)}", "fold": str(number % 2 + 1)}
            rows.append(row | {"duration_s": "5.000"})
    write_table(tmp_path / "data" / "esc10" / "metadata.csv", rows)
    short = ["train.model=sepconv_s", "train.epochs=2", "qat.epochs=1"]
    recipe = bench_accuracy.RECIPES / "esc10.yaml"

    changes = [word for change in short for word in ("--set", change)]
    options = ["--task", "esc10", "--train", tmp_path / "data", "--keep", tmp_path / "bench", "--folds", "0", "--json"]
    status, out, _ = run(monkeypatch, capsys, *options, *changes)
    assert status == 0
    bench = {value["name"].removeprefix("esc10."): value["value"] for value in json.loads(out)}

    places = [f"data.folder={tmp_path / 'data' / 'esc10'}", f"run.folder={tmp_path / 'run'}"]
    assert main("run", [str(recipe), *short, *places, f"run.cache={tmp_path / 'cache'}"]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    for name, figure in (("float", "float.clip_accuracy"), ("int8", "clip_accuracy")):
        row = next(row for row in results["rows"] if row["model"] == name and row["fold"] == "1")
        assert row["clip_accuracy"] == bench[figure]
    for file in ("dataset.csv", "bird_detector.tflite", "bird_detector_int8.tflite", "manifest.json"):
        ours, theirs = tmp_path / "run" / "fold-1" / file, tmp_path / "bench" / "esc10-0" / file
        assert ours.read_bytes() == theirs.read_bytes(), file
