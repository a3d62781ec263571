# SPDX-License-Identifier: MIT
"""What split chooses by itself: each rule on synthesized sounds or facts, what the user sets, what is refused."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest

from cheep import cli
from cheep.audio import float_to_int16, probe, write_wav
from cheep.boards.data import find_board
from cheep.config import FeatureConfig, TrainConfig, load_run_file
from cheep.datasets.about import read_about
from cheep.datasets.facts import LabelFacts, gather_facts
from cheep.datasets.manifest import load_manifest
from cheep.datasets.sources.folders import recordings_in_folder
from cheep.errors import CheepError, GateError
from cheep.job.choose import choose, with_windows
from cheep.job.pace import Pace, plan_within, seconds_of
from cheep.job.windows import load_windows

RATE = 16000


def calls(tone_hz: float, call_s: float, length_s: float = 4.0, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """Return noise with a tone of ``call_s`` every 1.5 times as long, int16."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(length_s * rate)) / rate
    sounding = (t % (1.5 * call_s + 0.5)) < call_s
    pcm = 0.001 * rng.normal(size=len(t)) + 0.2 * np.sin(2 * np.pi * tone_hz * t) * sounding
    return float_to_int16(pcm.astype(np.float32))


def folder_of(root, sounds: dict[str, list[np.ndarray]], rate: int = RATE):
    for label, items in sounds.items():
        (root / label).mkdir(parents=True)
        for i, pcm in enumerate(items):
            write_wav(root / label / f"{label}{i}.wav", pcm, rate)
    return root


def facts_of(label: str, **changes) -> LabelFacts:
    usual = LabelFacts(label, False, 50, 20, 32, 5.0, 0.4, {4000: 0.05, 8000: 0.0}, 35.0, -30.0, 6.0, {48000: 32})
    return dataclasses.replace(usual, **changes)


BACKGROUND = facts_of("background", background=True, rise_db=8.0, above={4000: 0.9, 8000: 0.9}, call_s=9.0)


@pytest.fixture(scope="module")
def high_and_low(tmp_path_factory):
    """A label at 6 kHz, one at 2 kHz with long calls, and noise."""
    rng = np.random.default_rng(5)
    noise = [float_to_int16((0.01 * rng.normal(size=4 * RATE)).astype(np.float32)) for _ in range(4)]
    return folder_of(
        tmp_path_factory.mktemp("sounds") / "mine",
        {
            "background": noise,
            "high": [calls(6000 + 50 * i, 0.3, seed=i) for i in range(4)],
            "low": [calls(2000 + 50 * i, 1.2, seed=9 + i) for i in range(4)],
        },
    )


def test_facts_say_where_the_energy_lies_and_how_long_calls_last(high_and_low):
    found = {f.label: f for f in gather_facts(recordings_in_folder(high_and_low), lambda name: name == "background")}
    assert found["high"].above[4000] > 0.95 and found["low"].above[4000] < 0.05
    assert 8000 not in found["high"].above  # 16 kHz recordings do not tell
    assert found["high"].call_s == pytest.approx(0.3, abs=0.08)
    assert found["low"].call_s == pytest.approx(1.2, abs=0.1)
    assert found["low"].rise_db > 30 and found["background"].rise_db < 10
    assert found["background"].background and not found["low"].background
    assert found["low"].recording_s == pytest.approx(4.0) and found["low"].rates_hz == {RATE: 4}


def test_a_label_above_4_khz_asks_for_16_khz(high_and_low):
    facts = gather_facts(recordings_in_folder(high_and_low), lambda name: name == "background")
    choice = choose(facts, {})
    assert choice.features.sample_rate_hz == 16000 and choice.features.fmax_hz == 8000
    assert "of high's energy lies above 4 kHz" in choice.paragraph
    low = choose([f for f in facts if f.label != "high"], {})
    assert low.features == FeatureConfig(**{**low.features.to_dict(), "sample_rate_hz": 8000})
    assert low.features.sample_rate_hz == 8000 and "8 kHz: no target has more than 20% " in low.paragraph


@pytest.mark.parametrize(
    ("above", "rate"),
    [
        ({4000: 0.19}, 8000),
        ({4000: 0.21}, 16000),
        ({4000: 0.9, 8000: 0.19}, 16000),
        ({4000: 0.9, 8000: 0.21}, 32000),
        ({4000: 0.9, 8000: 0.9, 16000: 0.9}, 32000),  # more is not to be had
        ({}, 8000),  # recorded at 8 kHz
    ],
)
def test_the_lowest_rate_that_carries_every_target(above, rate):
    features = choose([facts_of("a", above=above), facts_of("b"), BACKGROUND], {}).features
    assert features.sample_rate_hz == rate and features.fmax_hz == rate / 2
    assert features.hop_s == pytest.approx(0.025)


@pytest.mark.parametrize(("call_s", "recording_s", "window_s"), [(0.7, 5, 1), (0.8, 5, 2), (3, 5, 2), (3, 1.9, 1)])
def test_long_calls_ask_for_longer_windows(call_s, recording_s, window_s):
    choice = choose([facts_of("a", call_s=call_s, recording_s=recording_s), facts_of("b"), BACKGROUND], {})
    assert choice.window_s == window_s
    assert choice.features.window_s == pytest.approx(window_s, rel=0.02)
    assert choice.train.augment.shift_frames == round(window_s / 4 / choice.features.hop_s)


def test_pcen_where_targets_rise_and_levels_where_one_is_steady():
    rising = [facts_of("a"), facts_of("b"), BACKGROUND]
    assert choose(rising, {}).features.compression == "pcen"
    assert not choose(rising, {}).train.teacher_model
    steady = choose([*rising, facts_of("rain", rise_db=9.0)], {})
    assert steady.features.compression == "db" and "rain rises only 9 dB" in steady.paragraph
    assert steady.train.augment.tilt_db < 2 < choose(rising, {}).train.augment.tilt_db
    short = choose([facts_of("a", recording_s=1.5), facts_of("b"), BACKGROUND], {})
    assert short.features.compression == "db" and "no time to settle" in short.paragraph


def test_one_target_alone_has_teachers_unless_it_is_steady_or_the_user_chose():
    alone = choose([facts_of("a"), BACKGROUND], {})
    assert alone.features.compression == "db" and alone.train.teachers == ("db", "pcen")
    assert alone.train.teacher_model == "sepconv_l" and "two teachers" in alone.paragraph
    assert not choose([facts_of("a", rise_db=12.0), BACKGROUND], {}).train.teacher_model
    assert not choose([facts_of("a"), BACKGROUND], {"train": {"model": "sepconv_m"}}).train.teacher_model


def test_words_that_were_cut_out():
    choice = choose([facts_of(name, recording_s=0.5, call_s=0.3) for name in ("one", "two")], {})
    assert choice.train.hears == "peak" and choice.features.hop_s == pytest.approx(0.01)
    assert choice.train.augment.trim_probability > 0 and choice.window_s == 1


def test_epochs_follow_the_number_of_windows():
    choice = choose([facts_of("a"), BACKGROUND], {})
    assert [with_windows(choice, n, {}).train.epochs for n in (100, 4000, 8000, 10**6)] == [60, 60, 30, 15]
    assert "8,000 training windows say" in with_windows(choice, 8000, {}).paragraph
    fixed = choose([facts_of("a"), BACKGROUND], {"train": {"epochs": 7}})
    assert with_windows(fixed, 8000, {"train": {"epochs": 7}}).train.epochs == 7


def test_a_small_board_gets_a_smaller_detector_and_a_busy_day_too():
    facts = [facts_of("a", above={4000: 0.5}, call_s=2.0), facts_of("b"), BACKGROUND]
    small = choose(facts, {}, find_board("audiomoth"))
    assert (small.train.model, small.features.n_mels) == ("sepconv_l", 36)
    assert "bytes needed, 19456 free on audiomoth" in small.paragraph
    weak = find_board("esp32s3").model_copy(update={"active_ma": 500.0, "name": "thirsty"})
    busy = choose(facts, {}, weak, 86400.0)
    assert busy.features.n_mels < 64 and "for the battery, with 86400 s of audio a day" in busy.paragraph
    with pytest.raises(GateError, match="no network of the registry fits audiomoth with what you have set"):
        full = find_board("audiomoth").model_copy(update={"base_ram_bytes": 18 * 1024})
        choose(facts, {"features": small.features.to_dict(), "train": {"model": "sepconv_l"}}, full)


def test_what_the_user_sets_stands_and_the_rest_follows():
    facts = [facts_of("a", above={4000: 0.9}, call_s=3.0), facts_of("b"), BACKGROUND]
    given = {
        "features": {"sample_rate_hz": 8000, "compression": "db"},
        "windows": {"window_s": 1.5},
        "train": {"model": "sepconv_s", "augment": {"tilt_db": 0.5}},
        "qat": {"epochs": 2},
    }
    choice = choose(facts, given)
    assert (choice.features.sample_rate_hz, choice.features.compression, choice.window_s) == (8000, "db", 1.5)
    assert choice.features.window_frames == 59 and choice.features.fmax_hz == 4000
    assert (choice.train.model, choice.train.augment.tilt_db, choice.qat.epochs) == ("sepconv_s", 0.5, 2)
    assert choice.train.augment.gain_db == choose(facts, {}).train.augment.gain_db
    assert "8 kHz: as you set it" in choice.paragraph


# -- a given time -----------------------------------------------------------------------------


def pace_of(config: TrainConfig) -> Pace:
    """Seconds an epoch: the large network takes four times what the middle one does."""
    each = {"sepconv_l": 8.0, "sepconv_m": 2.0, "sepconv_s": 0.5}[config.model]
    return Pace(each, each)


@pytest.mark.parametrize(
    ("limit_s", "model", "epochs", "teachers", "said"),
    [
        (5000, "sepconv_l", 60, True, []),
        (700, "sepconv_l", 60, False, ["no teachers"]),
        (245, "sepconv_l", 30, False, ["no teachers", "30 epochs in place of 60"]),
        (130, "sepconv_m", 60, False, ["no teachers", "sepconv_m in place of sepconv_l"]),
        (15, "sepconv_s", 20, False, ["no teachers", "sepconv_s in place of sepconv_l", "20 epochs in place of 60"]),
        (1, "sepconv_s", 3, False, ["no teachers", "sepconv_s in place of sepconv_l", "3 epochs in place of 60"]),
    ],
)
def test_a_given_time_makes_the_plan_smaller(limit_s, model, epochs, teachers, said):
    config = TrainConfig(model="sepconv_l", teacher_model="sepconv_l", epochs=60)
    plan, given_up = plan_within(config, lambda: limit_s, pace_of)
    assert (plan.model, plan.epochs, bool(plan.teacher_model), given_up) == (model, epochs, teachers, said)
    assert plan.warmup_epochs < plan.epochs
    if limit_s > 10:
        assert pace_of(plan).seconds(plan) <= limit_s


def test_times_as_people_write_them():
    assert [seconds_of(text) for text in ("90s", "10m", "1.5h", "1h30m")] == [90, 600, 5400, 5400]
    for wrong in ("10", "m", "0s", "10 minutes", "-5m"):
        with pytest.raises(CheepError, match="--time"):
            seconds_of(wrong)


# -- the commands -----------------------------------------------------------------------------


def split(*options) -> int:
    return cli.main("split-dataset", [str(option) for option in options])


def test_split_writes_its_choice_into_the_run_and_train_takes_it(high_and_low, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CHEEP_RUNS", str(tmp_path / "runs"))
    assert split(high_and_low) == 0
    said = capsys.readouterr().out
    assert "Chosen: 16 kHz:" in said and "windows of 2 s" in said
    assert "high  " in said.split("Chosen")[0] and "above 4 kHz" in said
    assert "groups that stay together: 6 train, 3 val, 3 test; 12 of 12 are one recording each" in said
    assert said.splitlines()[-1].startswith("next: cheep train ")
    run = tmp_path / "runs" / "run-001"
    settings, about = load_run_file(run / "run.yaml"), read_about(run / "dataset.csv")
    assert settings.features.sample_rate_hz == about.sample_rate_hz == 16000
    assert settings.data.windows.window_s == about.window_s == 2.0
    assert about.labels == ("background", "high", "low")
    assert "of high's energy lies above 4 kHz" in (run / "run.yaml").read_text()
    assert any("high" in sentence for sentence in about.why)
    assert max(load_manifest(run / "dataset.csv").duration_s) == 2.0
    monkeypatch.setattr("cheep.commands.train._LATE_S", -1000.0)  # as if the machine had become busy
    assert cli.main("train", ["--model", "sepconv_s", "--time", "1s"]) == 0
    training = json.loads((run / "training.json").read_text())
    assert FeatureConfig.parse(training["features"]) == settings.features
    assert training["train"]["model"] == "sepconv_s" and training["train"]["dropout"] == settings.train.dropout
    said = capsys.readouterr().out
    assert re.search(r"3 epochs of sepconv_s: about \d+:\d\d", said)  # how fast this machine is says nothing here
    assert "for --time 0:01: 3 epochs in place of 60" in said
    assert re.search(r"it took \d+:\d\d in place of \d+:\d\d", said)
    kept = load_run_file(run / "run.yaml")
    assert kept.train.epochs == 3 and kept.data == settings.data
    assert "3 epochs in place of 60" in (run / "run.yaml").read_text()


def test_a_manifest_that_the_features_contradict_is_refused(high_and_low, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CHEEP_RUNS", str(tmp_path / "runs"))
    assert split(high_and_low, "--sample-rate", 16000, "--window", 2) == 0
    run = tmp_path / "runs" / "run-001"
    (run / "run.yaml").unlink()  # as before, when nothing was kept of what split had decided
    assert cli.main("train", ["--epochs", "1"]) == 2
    said = capsys.readouterr().err
    assert "sample_rate_hz=8000: the windows of" in said and "were cut for 16000 Hz" in said
    assert "--sample-rate 8000" in said
    second = FeatureConfig(sample_rate_hz=16000, hop_samples=400, window_frames=39)
    with pytest.raises(CheepError, match=r"window_frames=39: .* hears only the first .* last 2 s; .* --window 1"):
        load_windows(run, second, TrainConfig())
    with pytest.raises(CheepError, match="window_frames=120"):
        load_windows(run, second.model_copy(update={"window_frames": 120}), TrainConfig())
    (run / "dataset.about.json").unlink()  # a manifest alone: its examples are longer than the window
    with pytest.raises(CheepError, match="hears only the first"):
        load_windows(run, second, TrainConfig())
    assert len(load_windows(run, second.model_copy(update={"window_frames": 79}), TrainConfig()).splits["train"])


def test_options_and_run_files_override_the_choice(high_and_low, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CHEEP_RUNS", str(tmp_path / "runs"))
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("features: {window_frames: 39}\ntrain: {model: sepconv_m, epochs: 3}\n")
    assert split(high_and_low, "--config", recipe, "--no-selection", "--run", "one") == 0
    settings = load_run_file(tmp_path / "runs" / "one" / "run.yaml")
    assert settings.features == FeatureConfig()
    assert (settings.train.model, settings.train.epochs) == ("sepconv_m", 3)
    assert settings.data.windows.window_s == 1.0
    assert split(high_and_low, "--config", recipe, "--sample-rate", 16000) == 2
    assert "--sample-rate 16000: " in capsys.readouterr().err
    recipe.write_text("deploy: {board: audiomot}\n")
    assert split(high_and_low, "--config", recipe, "--run", "two") == 2
    assert "did you mean 'audiomoth'" in capsys.readouterr().err
    assert split(high_and_low, "--seconds-of-audio-per-day", 3600) == 2
    assert "needs --board" in capsys.readouterr().err


def test_a_run_file_that_names_only_its_recordings_leaves_the_choice_open(high_and_low, tmp_path, monkeypatch):
    monkeypatch.setenv("CHEEP_RUNS", str(tmp_path / "runs"))
    mine = tmp_path / "run.yaml"
    mine.write_text(f"data: {{folder: '{high_and_low}'}}\n")
    assert split("--config", mine, "--run", "one") == 0
    assert split(high_and_low, "--run", "two") == 0
    one, two = (load_run_file(tmp_path / "runs" / name / "run.yaml") for name in ("one", "two"))
    assert (one.features, one.train, one.data.windows) == (two.features, two.train, two.data.windows)
    assert (one.features.sample_rate_hz, one.data.windows.window_s) == (16000, 2.0)
    windows = "sample_rate_hz: 8000, windows: {window_s: 1, selection: false}"
    mine.write_text(f"data: {{folder: '{high_and_low}', {windows}}}\n")
    assert split("--config", mine, "--run", "three") == 0
    three = load_run_file(tmp_path / "runs" / "three" / "run.yaml")
    assert (three.features.sample_rate_hz, three.data.sample_rate_hz, three.data.windows.window_s) == (8000, 8000, 1.0)


def test_what_is_made_of_a_run_keeps_its_choice(high_and_low, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CHEEP_RUNS", str(tmp_path / "runs"))
    assert split(high_and_low, "--run", "one") == 0
    old, new = tmp_path / "runs" / "one", tmp_path / "runs" / "more"
    assert cli.main("augment", ["--run", str(old), "--output", str(new)]) == 0
    assert read_about(new / "dataset.csv") == read_about(old / "dataset.csv")
    assert load_run_file(new / "run.yaml") == load_run_file(old / "run.yaml")
    copies = list((new / "augmented").glob("*.wav"))
    assert copies and {probe(path).sample_rate_hz for path in copies} == {16000}
    capsys.readouterr()
    assert cli.main("dataset", ["inspect", str(old / "dataset.csv")]) == 0
    assert "use --sample-rate" not in capsys.readouterr().out  # 6 kHz fit into 16 kHz
    assert cli.main("dataset", ["inspect", str(old / "dataset.csv"), "--sample-rate", "8000"]) == 0
    assert "high: 100 % of the energy is above 4 kHz" in capsys.readouterr().out


def test_a_manifest_split_again_keeps_its_windows(high_and_low, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CHEEP_RUNS", str(tmp_path / "runs"))
    first = tmp_path / "first.csv"
    assert split(high_and_low, "--sample-rate", 16000, "--window", 1, "--hop", 0.25, "-o", first) == 0
    assert split("--csv", first, "--seed", 4, "--run", "again") == 0
    about = read_about(tmp_path / "runs" / "again" / "dataset.csv")
    assert (about.sample_rate_hz, about.window_s, about.hop_s) == (16000, 1.0, 0.25)
    assert split("--csv", first, "--window", 2) == 2
    assert "window_s=2: the windows of" in capsys.readouterr().err


def test_a_single_label_is_warned_of():
    assert "robin is the only label: training needs" in choose([facts_of("robin")], {}).paragraph
    two = choose([facts_of("robin"), facts_of("background", background=True)], {})
    assert "only label" not in two.paragraph


def test_what_was_not_heard_is_no_number():
    from cheep.commands.split_dataset import _facts_table

    (line,) = [line for line in _facts_table([facts_of("robin", heard=0, above={})]).splitlines() if "robin" in line]
    assert line.split()[-5:] == ["-"] * 5
