# SPDX-License-Identifier: MIT
"""Run files that are to be run: every mistake gets its message, all at once, with its line; recipes and schema."""

import datetime
import json
from pathlib import Path

import pytest

from cheep.cli import main
from cheep.config import load_run_file
from cheep.config.reader import json_schema
from cheep.config.source import parse_source
from cheep.errors import CheepError
from cheep.pipeline.checks import load_config, parse_config
from cheep.pipeline.runner import output_folder
from pipeline_mistakes import BASE, MISTAKES, markdown, message_of

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


@pytest.mark.parametrize(("title", "mistake", "message"), MISTAKES, ids=[m[0] for m in MISTAKES])
def test_mistake(tmp_path, title, mistake, message):
    text = message_of(mistake, tmp_path)
    assert message in text, title
    if isinstance(mistake, str):
        assert "line " in text
    elif "override" not in text:
        pytest.fail(f"no place named: {text}")


def test_there_are_forty_and_the_documentation_lists_them():
    assert len(MISTAKES) >= 40
    assert markdown() in (ROOT / "docs" / "pipelines.md").read_text(encoding="utf-8")


def test_all_errors_come_at_once_in_the_order_of_the_lines(tmp_path):
    text = (
        "operation_mode: chain_tqed\n"  # 1
        "general:\n  globel_seed: 3\n"  # 3
        f"dataset:\n  training_audio_path: {tmp_path}\n  use_garbage_class: perhaps\n"  # 6
        "feature_extraction:\n  center: true\n  n_fft: 400\n"  # 9
        "training:\n  epochs: 0\n  model: {name: sepcov_m}\n"  # 11, 12
    )
    with pytest.raises(CheepError) as caught:
        parse_config(text, "my.yaml", ["quantization.epochs=x"])
    lines = str(caught.value).splitlines()
    assert lines[0] == "my.yaml: 6 errors; nothing was run"
    assert [line.split(":")[0].strip() for line in lines[1:]] == [*(f"line {n}" for n in (3, 6, 9, 11, 12)), "override"]
    assert "did you mean 'sepconv_m'?" in lines[5]


def test_a_wrong_setting_is_reported_once(tmp_path):
    text = message_of(["feature_extraction.n_fft=0"], tmp_path)
    assert text.count("n_fft") == 1 and "1 error" in text


def test_no_yaml_and_no_file(tmp_path):
    with pytest.raises(CheepError, match="no such run file; recipes/"):
        load_config(tmp_path / "missing.yaml")
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CheepError, match="not UTF-8"):
        load_config(tmp_path / "c.yaml")
    with pytest.raises(CheepError, match=r"train\.epochs: must be key=value"):
        parse_source("", "c", ["train.epochs"])
    with pytest.raises(CheepError, match=r"train\.seed holds a value, not a section"):
        parse_source("train: {seed: 1}", "c", ["train.seed.x=1"])


def test_overrides_references_and_time(tmp_path):
    when = datetime.datetime(2031, 5, 7, 4, 3, 2)
    text = f"data: {{folder: {tmp_path}}}\nrun:\n  folder: out/${{run.name}}-${{now:%Y_%m_%d}}\n"
    source = parse_source(text, "c", ["run.name=wrens", "train.learning_rate=1e-3"], when)
    assert source.problems == []
    assert source.values["run"]["folder"] == "out/wrens-2031_05_07"
    assert source.values["train"]["learning_rate"] == 0.001
    config = parse_config(text, overrides=["run.name=wrens"])
    assert str(output_folder(config)).startswith("out/wrens-2")
    loop = parse_source("run: {name: '${run.name}x'}", "c")
    assert "refers to itself" in loop.problems[0][1]
    zoo = BASE.replace("DATA", str(tmp_path)) + "hydra: {run: {dir: 'out/${general.project_name}'}}\n"
    assert str(output_folder(parse_config(zoo, overrides=["general.project_name=tits"]))) == "out/tits"


def places_of(run_file, tmp_path):
    """Overrides that let a recipe find recordings, empty ones in their place, and a backbone."""
    backbone = [f"train.backbone={tmp_path}"] if run_file.train.backbone else []
    (tmp_path / "a.csv").write_text("filename,category\n")
    if run_file.data.csv:
        return [f"data.csv={tmp_path / 'a.csv'}", f"data.audio_root={tmp_path}", *backbone]
    return [f"data.folder={tmp_path}", *backbone]


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_every_recipe_is_right_for_run_and_for_train(path, tmp_path, capsys, monkeypatch):
    overrides = places_of(load_run_file(path), tmp_path)
    assert load_config(path, overrides).run.steps
    assert main("run", [str(path), *overrides, "--check"]) == 0
    assert "no errors" in capsys.readouterr().out
    (tmp_path / "runs" / "x").mkdir(parents=True)
    monkeypatch.setenv("CHEEP_RUNS", str(tmp_path / "runs"))
    assert main("train", ["--run", "x", "--config", str(path)]) == 2
    error = capsys.readouterr().err
    assert "dataset.csv: missing" in error  # the settings were read, and nothing is there to train on


@pytest.mark.parametrize(
    "words", [["FILE", "--check", "KEY"], ["FILE", "KEY", "--check"], ["--check", "FILE", "KEY"]], ids=" ".join
)
def test_options_and_settings_come_in_any_order(words, tmp_path, capsys):
    (tmp_path / "a.yaml").write_text("train: {epochs: 3}\n")
    names = {"FILE": str(tmp_path / "a.yaml"), "KEY": f"data.folder={tmp_path}"}
    assert main("run", [names.get(word, word) for word in words]) == 0
    assert "no errors; steps: train, quantize, evaluate" in capsys.readouterr().out


@pytest.mark.parametrize("text, said", [("train: {epochs: 3}", True), ("features: {sample_rate_hz: 16000}", False)])
def test_features_that_nobody_chose_are_pointed_out(text, said, tmp_path, capsys):
    (tmp_path / "a.yaml").write_text(text)
    assert main("run", [str(tmp_path / "a.yaml"), f"data.folder={tmp_path}", "--check"]) == 0
    assert ("features are the defaults (8 kHz)" in capsys.readouterr().out) == said


def test_the_schema_for_editors_is_that_of_the_settings(capsys):
    assert main("run", ["--schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema == json_schema() == json.loads((ROOT / "recipes" / "schema.json").read_text())
    assert schema["additionalProperties"] is False
    assert {"features", "data", "train", "augment", "qat"} <= set(schema["properties"])
    assert set(schema["$defs"]["FeatureConfig"]["properties"]) >= {"hop_samples", "n_mels", "window_frames"}


def test_file_settings_and_options_are_understood_in_any_order(tmp_path, capsys):
    file = tmp_path / "zoo.yaml"
    file.write_text(BASE.replace("DATA", str(tmp_path)))
    words = [str(file), "--check", "training.epochs=3", "general.project_name=tits"]
    for order in (words, words[::-1], [words[2], words[0], words[3], words[1]]):
        assert main("run", order) == 0
        assert "no errors; steps: train, quantize, evaluate" in capsys.readouterr().out
    assert main("run", [words[2], "--check"]) == 2 and main("run", [*words, "epochs"]) == 2
    assert "epochs: must be key=value" in capsys.readouterr().err
