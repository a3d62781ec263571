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
import bench_bird
import bench_fold
from cheep.audio import write_wav
from cheep.cli import main
from cheep.config import SyntheticBackgroundConfig
from cheep.datasets.manifest import load_manifest
from cheep.datasets.soft import SOFT_LABELS, keys_of, read_soft
from cheep.errors import CheepError
from counted_by_hand import counted
from crow_model import write_crow

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
    rows = bench_bird.bird_windows(root, 1.0)
    found = [(row["label"], row["start_s"], row["reason"]) for row in rows if row["path"] == "bird_bg/bird/3.wav"]
    assert found == [("background", 0, "gap"), ("bird", 1, ""), ("bird", 2, ""), ("background", 3, "gap")]
    assert not any("soundscapes" in row["path"] for row in rows)
    # a longer window stands around its second, and one that touches the bird is no gap
    assert [row["start_s"] for row in bench_bird.bird_windows(root, 2.0)[:4]] == [0.5, 1.5, 0.5, 1.5]
    assert [row["label"] for row in bench_bird.jura_windows(root, 1.0)] == ["bird"] * 8 + ["background"] * 8

    (tmp_path / "recipe.yaml").write_text(RECIPE)
    options = ["--task", "bird", "--recipe", tmp_path / "recipe.yaml", "--train", root, "--test", root, "--json"]
    options += ["--keep", tmp_path / "keep"]
    status, out, err = run(monkeypatch, capsys, *options)
    assert status == 0, err
    values = {value["name"].removeprefix("bird."): value["value"] for value in json.loads(out)}
    assert values["window_auc"] > 0.9
    assert 0.8 < values["full_band.window_auc"] <= 1
    assert values["jura.window_auc"] > 0.5
    assert values["background_hours"] == pytest.approx(40 / 3600, rel=0.3)
    low, rate, high = (values[f"false_alarms_per_hour_at_80_recall{end}"] for end in (".low", "", ".high"))
    assert low <= rate <= high
    for name in ("10", "5", "1", "0.1"):
        low, recall, high = (values[f"recall_at_{name}_per_hour{end}"] for end in (".low", "", ".high"))
        assert 0 <= low <= recall <= high <= 1
    assert values["seeds"] == 1
    alarms = (tmp_path / "keep" / "false_alarms.csv").read_text().splitlines()
    assert alarms[0] == "score,file,kind,start_s" and len(alarms) == 11  # of ten background recordings
    assert "bird_bg/background/" in alarms[1] and "the strongest 10 false alarms" in err

    # given again, nothing is trained, and the figures are the same
    monkeypatch.setattr(bench_fold, "train_network", None)
    monkeypatch.setattr(bench_fold, "quantize_run", None)
    assert run(monkeypatch, capsys, *options)[:2] == (0, out)
    # what was trained otherwise is not taken for it
    status, _, err = run(monkeypatch, capsys, *options, "--set", "train.epochs=3")
    assert status == 2 and "bird-0: holds a training with other train; give another --keep" in err


def test_nothing_is_trained_before_all_that_is_judged_was_looked_at(tmp_path, monkeypatch, capsys):
    train, test = make_birds(tmp_path / "train"), make_birds(tmp_path / "test")
    options = ["--task", "bird", "--recipe", tmp_path / "recipe.yaml", "--train", train, "--test", test]
    options += ["--keep", tmp_path / "keep"]
    (tmp_path / "recipe.yaml").write_text(RECIPE)

    class Trained(Exception):
        pass

    def train_network(*_args, **_more):
        raise Trained

    monkeypatch.setattr(bench_fold, "train_network", train_network)
    rows = bench_bird.table(test / "soundscapes" / "metadata.csv")
    for label in ("unlabelled", "bird"):  # no label, or one alone, tells nothing of the field; the rest is judged
        write_table(test / "soundscapes" / "metadata.csv", [row | {"label": label} for row in rows])
        with pytest.raises(Trained):
            run(monkeypatch, capsys, *options)
        assert "soundscapes: no labelled birds and background: no figures of the field" in capsys.readouterr().err
    (test / "bird_bg" / "background" / "3.wav").unlink()
    status, _, err = run(monkeypatch, capsys, *options)
    assert status == 2 and "bird_bg/background/3.wav" in err
    manifest = bench_bird.table(test / "manifest_bird_vs_background.csv")
    write_table(test / "manifest_bird_vs_background.csv", [row for row in manifest if row["binary"] == "bird"])
    status, _, err = run(monkeypatch, capsys, *options)
    assert status == 2 and "the test recordings hold no window of 'background'" in err


def test_clips_that_hold_a_bird_are_no_background(tmp_path):
    root = make_birds(tmp_path / "birds")
    field = [row | {"note": ""} for row in bench_bird.table(root / "soundscapes" / "metadata.csv")]
    field[-1]["note"] = "NOT free of birds: a calling owl near 800 Hz"
    write_table(root / "soundscapes" / "metadata.csv", field)
    assert len(bench_bird.jura_windows(root, 1.0)) == 12
    (root / "us8k_more").mkdir()
    row = {"file": "siren/a.wav", "label": "siren", "split_group": "s", "duration_s": "2.000", "note": "", "title": ""}
    rows = [row, row | {"file": "siren/b.wav", "note": "title hints at possible bird sound"}]
    write_table(root / "us8k_more" / "metadata.csv", rows)
    more = [row for row in bench_bird.bird_windows(root, 1.0) if row["path"].startswith("us8k_more")]
    assert [(row["path"], row["label"]) for row in more] == [("us8k_more/siren/a.wav", "background")] * 2
    assert bench_bird.kinds_of(root)["us8k_more/siren/a.wav"] == "siren"


def test_a_bird_is_heard_in_the_bands_that_the_rate_has(tmp_path):
    root = make_birds(tmp_path / "birds")
    rows = bench_bird.table(root / "manifest_bird_vs_background.csv")
    high = next(row for row in rows if row["file"] == "bird_bg/bird/3.wav")
    high["win1s_snr_lt4k_db"] = "2;20;3;3"  # in its third second it sings above 4 kHz alone
    write_table(root / "manifest_bird_vs_background.csv", rows)

    def birds(rate):
        rows = bench_bird.bird_windows(root, 1.0, rate)
        return [r["start_s"] for r in rows if r["path"] == "bird_bg/bird/3.wav" and r["label"] == "bird"]

    assert birds(16000) == [1, 2] and birds(8000) == [1]


def test_synthesized_background_is_trained_on_and_not_judged(tmp_path):
    config = SyntheticBackgroundConfig(hours=0.015, recording_s=4.0, kinds=("siren", "loop"))
    rows = bench_bird.synthetic_windows(config, RATE, 2.0, tmp_path)
    assert len(rows) == 14 * 3, "14 recordings of 4 s, windows at 0, 1 and 2 s"
    assert {(row["label"], row["split"], row["reason"]) for row in rows} == {("background", "train", "synthetic")}
    assert len({row["group"] for row in rows}) == 14 and all(Path(row["path"]).is_file() for row in rows)


def test_recall_at_a_rate_is_that_of_the_lowest_threshold_that_keeps_it():
    alarms = np.array([[10, 10], [6, 4], [3, 2], [1, 0], [0, 0]])
    found = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]])
    fold = counted(alarms, found, [0.1, 0.3, 0.5, 0.7, 0.9], hours=2.0)
    points = bench_bird.operating_points([fold], (5.0, 2.5, 1.0)).recall
    assert [points[rate][0] for rate in (5.0, 2.5, 1.0)] == [1.0, 0.75, 0.5]
    assert all(low <= value <= high for value, low, high, _ in points.values())
    # two folds are one pool: the other's alarms count, too
    other = counted(alarms * 2, found, [0.1, 0.3, 0.5, 0.7, 0.9], hours=2.0, groups=[f"h{i}" for i in range(6)])
    assert bench_bird.operating_points([fold, other], (5.0,)).recall[5.0][0] == 0.75


def test_a_rate_below_one_in_the_hours_is_extrapolated_and_said_so():
    """Scores of alarms fall off exponentially in log-odds: the threshold for a tenth of the rate lies ln 10 higher."""
    rng = np.random.default_rng(3)
    odds = np.linspace(-2, 12, 400)
    peaks = rng.exponential(1.0, 4000)  # 4,000 alarms above 0: one is left at ln 4000 = 8.3
    alarms = (peaks[:, None] > odds).sum(0)[:, None]
    birds = rng.uniform(0, 12, 500)  # recall falls evenly: it tells where the threshold is
    found = (birds > odds[:, None]).astype(float)
    fold = counted(alarms, found, 1 / (1 + np.exp(-odds)), hours=1.0)
    value, _, _, extrapolated = bench_bird.operating_points([fold], (0.1,), draws=20).recall[0.1]
    assert extrapolated
    assert 12 * (1 - value) == pytest.approx(np.log(4000 / 0.1), abs=1.2)


def test_cross_validation_leaves_a_speaker_out(sets, monkeypatch, capsys):
    options = ["--task", "fsdd_digits", "--recipe", sets / "recipe.yaml", "--train", sets / "train", "--float"]
    options += ["--keep", sets / "folds", "--set", "train.epochs=2"]
    status, out, err = run(monkeypatch, capsys, *options, "--folds", "0,3")
    assert status == 0
    shown = [line.split(":")[0] for line in err.splitlines() if " fold " in line]
    assert shown == ["fsdd_digits fold 0", "fsdd_digits fold 3"] and "of one seed" in out
    assert "fsdd_digits.float.clip_accuracy.std" in out
    status, out, _ = run(monkeypatch, capsys, *options, "--folds", "0", "--seeds", "1,2", "--json")
    values = {value["name"]: value["value"] for value in json.loads(out)}
    assert values["fsdd_digits.seeds"] == 2 and "fsdd_digits.float.clip_accuracy.seed_std" in values

    args = argparse.Namespace(train=sets / "train", test=None, seed=1)
    recipe = bench_accuracy.load_recipe("fsdd_digits", sets / "recipe.yaml")
    manifest = bench_accuracy.examples_of("fsdd_digits", recipe, args, sets / "made")
    left_out = []
    for part in bench_accuracy.splits(manifest, bench_accuracy.data_of("fsdd_digits", recipe, args).split):
        groups = {name: set(part.of_split(name).column("group")) for name in ("train", "val", "test")}
        assert not groups["test"] & (groups["train"] | groups["val"])
        left_out += groups["test"]
    assert sorted(left_out) == ["speaker:ann", "speaker:bob", "speaker:cat", "speaker:dan"]


def test_soft_labels_are_those_of_ears_that_heard_the_training_windows_alone(tmp_path, monkeypatch, capsys):
    root = make_words(tmp_path / "train", [f"speaker{n}" for n in range(8)])
    spec = write_crow(tmp_path)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    options = ["--task", "fsdd_digits", "--recipe", tmp_path / "recipe.yaml", "--train", root, "--float"]
    options += ["--folds", "0", "--set", "train.epochs=1", "--set", "train.soft_weight=0.5"]
    options += ["--keep", tmp_path / "keep"]
    status, _, err = run(monkeypatch, capsys, *options)
    assert status == 2 and "--soften (not given), train.soft_weight=0.5: both or none" in err

    def train_network(*_args, **_more):
        raise CheepError("this is where it would train")

    monkeypatch.setattr(bench_fold, "train_network", train_network)
    status, _, err = run(monkeypatch, capsys, *options, "--soften", spec)
    assert status == 2 and "where it would train" in err and "a probe is right on" in err
    manifest = load_manifest(tmp_path / "keep" / "fsdd_digits-0" / "dataset.csv")
    soft = read_soft(tmp_path / "keep" / "fsdd_digits-0" / SOFT_LABELS)
    assert set(soft.rows) == set(keys_of(manifest.of_split("train"))) and set(soft.labels) == set(WORDS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--folds", "4"], "--folds 4: must be numbers from 0 to 3"),
        (["--folds", "a"], "must be numbers"),
        (["--seeds", "1,1"], "--seeds 1,1: must be different whole numbers"),
        (["--set", "trane.epochs=3"], "trane: unknown setting (did you mean 'train'?)"),
        (["--set", "train.epochs=many"], "epochs='many'"),
        (["--test", "nowhere"], "nowhere/fsdd_digits: no such folder"),
    ],
)
def test_mistakes_are_named(sets, monkeypatch, capsys, options, message):
    base = ["--task", "fsdd_digits", "--recipe", sets / "recipe.yaml", "--train", sets / "train"]
    base += ["--keep", sets / "mistakes"]
    status, out, err = run(monkeypatch, capsys, *base, *options)
    assert status == 2 and not out
    assert message in err


def test_a_speaker_on_both_sides_is_pointed_out(sets, monkeypatch, capsys):
    options = ["--task", "fsdd_digits", "--recipe", sets / "recipe.yaml", "--train", sets / "train"]
    options += ["--keep", sets / "both"]
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
