# SPDX-License-Identifier: MIT
"""Run files: one reader, every error with its line and the nearest name; what is saved is read back."""

import argparse
from pathlib import Path

import pytest

from cheep.commands._settings import add_config, add_setting, add_settings, run_file_of
from cheep.config import FeatureConfig, RunFile, TrainConfig, load_run_file, parse_run_file, save_run_file
from cheep.config.reader import section_of
from cheep.errors import CheepError

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_every_recipe_loads_and_comes_back_as_it_was_saved(path, tmp_path):
    run_file = load_run_file(path)
    save_run_file(tmp_path / "run.yaml", run_file, "why:\n\nbecause")
    assert load_run_file(tmp_path / "run.yaml") == run_file
    assert (tmp_path / "run.yaml").read_text().startswith("# why:\n#\n# because\nrun:\n")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epohcs=5", "train.epohcs: unknown setting (did you mean 'epochs'?)"),
        ("train.n_mels=64", "train.n_mels: unknown setting (it belongs to section 'features')"),
        ("train.hop_s=1", "train.hop_s: unknown setting (it belongs to section 'data.windows')"),
        ("trian.epochs=5", "trian: unknown setting (did you mean 'train'?)"),
        ("agument.gain_db=5", "agument: unknown setting (did you mean 'augment'?)"),
        ("augment.gain=5", "augment.gain: unknown setting (did you mean 'gain_db'?)"),
        ("train.augment.gain=5", "train.augment.gain: unknown setting (did you mean 'gain_db'?)"),
        ("qat.epochs=0", "qat.epochs=0: must be at least 1"),
        ("train.epochs=many", "train.epochs='many': must be a whole number"),
        ("train=3", "train=3: must be a section: its settings go below it, indented"),
        ("run.steps=[train, quantise]", "run.steps.1='quantise': must be one of train, "),
        ("features.fmax_hz=9000", "features.fmax_hz=9000.0: must be at most half of sample_rate_hz=8000 (4000)"),
        ("data.windows.hop_s=3", "data.windows.hop_s=3.0: must be at most window_s=1.0"),
        ("data.split.test=0.9", "data.split.test=0.9: with val=0.15 must leave at least 0.05 for training"),
        ("data.sample_rate_hz=16000", "data.sample_rate_hz=16000: contradicts features.sample_rate_hz=8000"),
        ("data.windows.window_s=2", "data.windows.window_s=2: contradicts the features, whose window lasts 0.982 s"),
        ("data.clips={min_s: 3, max_s: 2}", "data.clips.min_s=3: must be at most max_s=2"),
    ],
)
def test_a_mistake_is_named_with_its_place(override, message):
    with pytest.raises(CheepError) as caught:
        parse_run_file("train: {epochs: 3}\n", overrides=[override])
    lines = str(caught.value).splitlines()
    assert lines[0] == "run.yaml: 1 error; nothing was run"
    assert lines[1].strip().startswith(("override: ", "line 1: ")) and message in lines[1]


def test_all_mistakes_come_at_once_in_the_order_of_their_lines():
    text = "features:\n  n_mels: 0\n\ntrain:\n  modle: sepconv_s\naugment:\n  gain_db: 99\nqat: {epochs: x}\n"
    with pytest.raises(CheepError) as caught:
        parse_run_file(text, "my.yaml", ["voices.per_word=0"], lambda run_file: [(("train", "model"), "=...: no")])
    assert [line.strip() for line in str(caught.value).splitlines()] == [
        "my.yaml: 6 errors; nothing was run",
        "line 2: features.n_mels=0: must be at least 1",
        "line 4: train.model=...: no",
        "line 5: train.modle: unknown setting (did you mean 'model'?)",
        "line 7: augment.gain_db=99: must be at most 40",
        "line 8: qat.epochs='x': must be a whole number",
        "override: voices.per_word=0: must be at least 1",
    ]


def test_parts_may_stand_beside_their_section_and_overrides_know_both_names():
    beside = parse_run_file("train: {epochs: 3}\naugment: {gain_db: 3}\n", overrides=["train.augment.tilt_db=1"])
    inside = parse_run_file("train: {epochs: 3, augment: {gain_db: 3, tilt_db: 1}}\n")
    assert beside == inside
    assert parse_run_file("qat: {epochs: 2}\n", overrides=["quantize.qat.epochs=4"]).quantize.qat.epochs == 4
    assert parse_run_file("quantize: {qat: {epochs: 2}}\n", overrides=["qat.epochs=4"]).quantize.qat.epochs == 4
    with pytest.raises(CheepError, match=r"line 1: train\.augment\.gain_db: contradicts augment\.gain_db"):
        parse_run_file("train: {augment: {gain_db: 3}}\naugment: {gain_db: 4}\n")


def test_what_the_features_say_is_written_once():
    text = "features: {sample_rate_hz: 16000, frame_samples: 512, fft_size: 512, hop_samples: 400, window_frames: 79}\n"
    run_file = parse_run_file(text + "voices: {per_word: 3}\ndata: {windows: {background: noise}}\n")
    assert (run_file.data.sample_rate_hz, run_file.data.windows.window_s) == (16000, 2.0)
    assert run_file.voices.sample_rate_hz == 16000 and run_file.train.background == "noise"
    assert RunFile(features=FeatureConfig(sample_rate_hz=16000)).data.sample_rate_hz == 16000
    assert parse_run_file("train: {background: noise}\n").data.windows.background == "noise"
    with pytest.raises(CheepError, match=r"train\.background='a': contradicts data\.windows\.background='b'"):
        parse_run_file("train: {background: a}\ndata: {windows: {background: b}}\n")
    short = parse_run_file("features: {window_frames: 9}\n")
    assert short.data.windows.window_s == short.data.windows.hop_s == 0.2


def test_files_that_are_none(tmp_path):
    with pytest.raises(CheepError, match="no such run file; recipes/"):
        load_run_file(tmp_path / "missing.yaml")
    for text, message in [("a: [1, 2\n", "line 2: not valid YAML"), ("- 1\n", "must hold sections"), ("x", "sections")]:
        (tmp_path / "c.yaml").write_text(text)
        with pytest.raises(CheepError, match=message):
            load_run_file(tmp_path / "c.yaml")


def test_options_are_settings_and_go_over_the_file(tmp_path):
    parser = argparse.ArgumentParser()
    add_config(parser)
    add_settings(parser, TrainConfig, "training", "train")
    add_setting(parser, "--window", "data.windows.window_s")
    add_setting(parser, "--no-selection", "data.windows.selection", off=True)
    add_setting(parser, "--labels", "data.labels")
    (tmp_path / "a.yaml").write_text("train: {epochs: 3, dropout: 0.1}\n")
    line = ["--config", str(tmp_path / "a.yaml"), "--epochs", "5", "--window", "0.95", "--no-selection"]
    run_file = run_file_of(parser.parse_args([*line, "--labels", "yes", "no"]))
    assert (run_file.train.epochs, run_file.train.dropout, run_file.data.windows.window_s) == (5, 0.1, 0.95)
    assert not run_file.data.windows.selection and run_file.data.labels == ("yes", "no")
    with pytest.raises(CheepError, match=r"--epochs: train\.epochs='many': must be a whole number"):
        run_file_of(parser.parse_args(["--epochs", "many"]))
    assert "distance of the starts" not in parser.format_help() and "length of an example, s" in parser.format_help()


def test_every_setting_says_what_it_is():
    def fields(kind, prefix=""):
        for name, field in kind.model_fields.items():
            inner = section_of(field.annotation)
            yield f"{prefix}{name}", field, inner
            if inner is not None:
                yield from fields(inner, f"{prefix}{name}.")

    silent = [name for name, field, inner in fields(RunFile) if inner is None and not field.description]
    assert silent == []
    units = {"_hz": "Hz", "_s": ", s", "_db": "dB", "_samples": "samples", "_gib": "GiB"}
    for name, field, inner in fields(RunFile):
        for ending, unit in units.items():
            if inner is None and name.endswith(ending):
                assert unit in field.description, name
