# SPDX-License-Identifier: MIT
"""From the settings of a run to examples: sources, sets of their own, folds, validation, clips."""

import hashlib
import shutil

import numpy as np
import pytest

from cheep import runs
from cheep.audio import write_wav
from cheep.cli import main
from cheep.config import ClipConfig, DataConfig, SourceConfig, SplitConfig, VoicesConfig, WindowConfig, load_run_file
from cheep.datasets.manifest import Manifest, load_manifest
from cheep.datasets.split import assign_splits, fold_splits
from cheep.datasets.voices import PROGRAMS
from cheep.errors import CheepError, GateError
from cheep.files import write_json
from cheep.job.split import make_examples

RATE = 8000


def sound(seconds, seed):
    rng = np.random.default_rng(seed)
    return (3000 * rng.standard_normal(int(RATE * seconds))).astype(np.int16)


def folder_of(root, labels=("a", "b"), count=6, seconds=2.2, start=0):
    for place, label in enumerate(labels):
        (root / label).mkdir(parents=True)
        for i in range(count):
            write_wav(root / label / f"{label}{start + i}.wav", sound(seconds, start + 100 * place + i), RATE)
    return root


def config_of(folder, **more):
    windows = WindowConfig(window_s=1.0, hop_s=1.0, selection=False, **more.pop("windows", {}))
    return DataConfig(folder=str(folder), windows=windows, **more)


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
    return folder_of(tmp_path_factory.mktemp("birds") / "birds")


def splits_of(manifest, name="recording"):
    return dict(zip(manifest.column(name), manifest.column("split"), strict=True))


def test_sets_of_their_own_take_the_place_of_shares(birds, tmp_path):
    test = folder_of(tmp_path / "test", count=2, start=20)
    ranges = folder_of(tmp_path / "ranges", count=1, start=40)
    borrowed = folder_of(tmp_path / "borrowed", labels=("a",), count=2, start=60)
    config = config_of(
        birds, test=SourceConfig(folder=str(test)), calibration=SourceConfig(folder=str(ranges)),
        train_only=(str(borrowed),), split=SplitConfig(val=0.2, test=0.5),
    )  # fmt: skip
    made = make_examples(config, tmp_path / "made")
    found = splits_of(made.manifest)
    assert {name for name, split in found.items() if split == "test"} == {"a20", "a21", "b20", "b21"}
    assert "val" in found.values() and found["a60"] == found["a61"] == "train"
    assert made.calibration is not None and set(made.calibration.column("recording")) == {"a40", "b40"}
    assert set(made.calibration.column("split")) == {"train"}


def test_each_fold_is_the_test_set_once_and_groups_stay_whole():
    rows = [
        {"label": "ab"[i % 2], "recording": f"r{i}", "group": f"g{i // 4}", "split": "", "sha256": f"{i}"}
        for i in range(80)
    ]
    rows += [{"label": "a", "recording": "said", "group": "voice", "split": "train", "sha256": "s"}]
    config = SplitConfig(cross_validate=True, fold_count=4, val=0.125, val_by="group", seed=3)
    tested = []
    for fold, part in fold_splits(Manifest.from_rows(rows), config):
        groups = {name: set(part.of_split(name).column("group")) for name in ("train", "val", "test")}
        assert not groups["test"] & (groups["train"] | groups["val"]) and not groups["train"] & groups["val"], fold
        assert len(groups["val"]) == 2 and "voice" in groups["train"]  # every eighth of fifteen
        tested += groups["test"]
    assert sorted(tested) == sorted({f"g{i}" for i in range(20)})
    with pytest.raises(CheepError, match="cross_validate: needs a column 'fold' with two folds or more, or fold_count"):
        list(fold_splits(Manifest.from_rows(rows), SplitConfig(cross_validate=True)))


def test_folds_of_the_table_and_a_leak_through_the_same_content():
    rows = [
        {"label": "ab"[i % 2], "recording": f"r{i}", "group": "", "split": "", "sha256": f"{i}", "fold": str(i % 3)}
        for i in range(30)
    ]
    parts = dict(fold_splits(Manifest.from_rows(rows), SplitConfig(cross_validate=True, val=0.2)))
    assert list(parts) == ["0", "1", "2"]
    assert set(parts["1"].where("fold", "1").column("split")) == {"test"}
    assert set(parts["1"].where("fold", "0", "2").column("split")) == {"train", "val"}
    rows[1]["sha256"] = rows[0]["sha256"]
    with pytest.raises(GateError, match="leak: sha256 '0'"):
        list(fold_splits(Manifest.from_rows(rows), SplitConfig(cross_validate=True, val=0.2)))


def test_named_test_folds_leave_validation_to_the_others():
    rows = [{"label": "ab"[i % 2], "recording": f"r{i}", "fold": str(i % 4), "sha256": f"{i}"} for i in range(40)]
    result = assign_splits(Manifest.from_rows(rows), SplitConfig(test_folds=("2",), val=0.25))
    assert set(result.where("fold", "2").column("split")) == {"test"}
    assert set(result.where("fold", "0", "1", "3").column("split")) == {"train", "val"}
    assert set(assign_splits(Manifest.from_rows(rows), SplitConfig(val=0, test=0)).column("split")) == {"train"}


def test_examples_that_a_runs_network_was_not_trained_on_are_pointed_out(birds, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CHEEP_RUNS", str(tmp_path / "runs"))
    command = ["split-dataset", str(birds), "--run", "one", "--sample-rate", "8000", "--window", "1", "--no-selection"]
    assert main(command[0], command[1:]) == 0
    run = tmp_path / "runs" / "one"
    digest = hashlib.sha256((run / runs.DATASET).read_bytes()).hexdigest()
    write_json(run / runs.TRAINING, {"data": {"dataset_sha256": digest}})
    assert main(command[0], command[1:]) == 0
    assert "trained on other examples" not in capsys.readouterr().out
    assert main(command[0], [*command[1:], "--seed", "7"]) == 0
    assert "its network was trained on other examples; train again (cheep train)" in capsys.readouterr().out


def test_clips_are_prepared_and_cut_to_their_end(birds, tmp_path):
    clips = ClipConfig(silence_db=None, min_s=3, max_s=3.5)
    config = config_of(birds, clips=clips, windows={"last": True})
    made = make_examples(config, tmp_path / "made")
    wav = sorted((tmp_path / "made" / "audio").glob("*.wav"))
    assert len(wav) == 12 and set(made.manifest.duration_s.tolist()) == {1.0}
    assert sorted(set(made.manifest.start_s.tolist())) == [0, 1, 2]  # repeated to 3 s
    assert set(made.manifest.column("recording")) == {f"{x}{i}" for x in "ab" for i in range(6)}
    plain = make_examples(config_of(birds, windows={"last": True}), tmp_path / "other").manifest
    assert sorted(set(plain.start_s.tolist())) == [0, 1, 1.2]


def test_windows_of_padding_are_kept_where_they_are_asked_for(tmp_path):
    folder_of(tmp_path / "padded", count=4)
    for path in (tmp_path / "padded" / "a").iterdir():
        write_wav(path, np.concatenate([sound(1, int(path.stem[1:])), np.zeros(RATE, np.int16)]), RATE)
    for keep, count in ((False, 4), (True, 8)):
        made = make_examples(config_of(tmp_path / "padded", windows={"keep_zeros": keep}), tmp_path / "made")
        assert made.manifest.column("label").count("a") == count


def test_a_recipe_says_how_to_split_and_one_split_is_drawn(birds, tmp_path, capsys, caplog):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "data: {windows: {hop_s: 1.0, selection: false}, labels: [a, b],\n"
        "       split: {cross_validate: true, fold_count: 3, val: 0.2}}\n"
    )
    out = tmp_path / "dataset.csv"
    assert main("split-dataset", [str(birds), "--config", str(recipe), "--val", "0.25", "-o", str(out)]) == 0
    assert "one split is drawn" in caplog.text
    manifest = load_manifest(out)
    assert set(manifest.column("split")) == {"train", "val", "test"} and len(manifest) == 24
    assert main("split-dataset", [str(birds), "--config", str(recipe), "--labels", "a", "c", "-o", str(out)]) == 2
    assert "label 'c': not in" in capsys.readouterr().err
    assert load_run_file(recipe).data.split.fold_count == 3


def test_a_label_of_another_set_must_be_one_of_the_data_sets(birds, tmp_path):
    for name, place in (("train_only", "--train-only"), ("test", "data.test")):
        other = folder_of(tmp_path / name, labels=("c",), count=1)
        more = {"train_only": (str(other),)} if name == "train_only" else {"test": SourceConfig(folder=str(other))}
        with pytest.raises(CheepError, match=rf"label 'c' \({place}\) is none of the data set's: a, b"):
            make_examples(config_of(birds, **more), tmp_path / "made")


def test_synthetic_speakers_say_the_labels_and_train_only(birds, tmp_path):
    if not any(map(shutil.which, PROGRAMS)):
        pytest.skip("no speech synthesizer here: apt install espeak-ng flite")
    made = make_examples(config_of(birds), tmp_path / "made", VoicesConfig(per_word=3))
    said = [row for row in made.manifest.rows() if "/voices/" in row["path"]]
    assert {(row["label"], row["split"]) for row in said} == {("a", "train"), ("b", "train")}
    assert len(said) == 6 and len(made.manifest) == 24 + 6
