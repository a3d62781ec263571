"""Configurations: every mistake gets its message, all at once, with its line."""

import datetime
import json
from pathlib import Path

import pytest
import yaml

from cheep.cli import main
from cheep.config import AugmentConfig
from cheep.errors import CheepError
from cheep.pipeline.mapping import augment_config, feature_config, qat_config, train_config
from cheep.pipeline.runner import output_folder
from cheep.pipeline.schema import CHAINS, MODES, json_schema
from cheep.pipeline.source import parse_source
from cheep.pipeline.validate import load_config, parse_config
from pipeline_mistakes import BASE, MISTAKES, markdown, message_of

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(("title", "mistake", "message"), MISTAKES, ids=[m[0] for m in MISTAKES])
def test_mistake(tmp_path, title, mistake, message):
    text = message_of(mistake, tmp_path)
    assert message in text, title
    if isinstance(mistake, str):
        assert "line " in text
    elif "override" not in text:
        pytest.fail(f"no place named: {text}")


def test_there_are_thirty_and_the_documentation_lists_them():
    assert len(MISTAKES) >= 30
    assert markdown() in (ROOT / "docs" / "pipelines.md").read_text(encoding="utf-8")


def test_all_errors_come_at_once_in_the_order_of_the_lines(tmp_path):
    text = (
        "operation_mode: chain_tqed\n"  # 1
        "general:\n  globel_seed: 3\n"  # 3
        f"dataset:\n  training_audio_path: {tmp_path}\n  use_garbage_class: perhaps\n"  # 6
        "feature_extraction:\n  center: true\n  n_fft: 400\n"  # 8, 9
        "training:\n  epochs: 0\n  model: {name: sepcov_m}\n"  # 11, 12
    )
    with pytest.raises(CheepError) as caught:
        parse_config(text, "my.yaml", ["quantization.epochs=x"])
    lines = str(caught.value).splitlines()
    assert lines[0] == "my.yaml: 7 errors; nothing was run"
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        *(f"line {n}" for n in (3, 6, 8, 9, 11, 12)),
        "override",
    ]
    assert "did you mean 'sepconv_m'?" in lines[6]


def test_a_wrong_setting_is_reported_once(tmp_path):
    text = message_of(["feature_extraction.n_fft=0"], tmp_path)
    assert text.count("n_fft") == 1 and "1 error" in text


def test_no_yaml_and_no_file(tmp_path):
    with pytest.raises(CheepError, match="no such configuration; examples/"):
        load_config(tmp_path / "missing.yaml")
    for text, message in [
        ("a: [1, 2\n", r"line 2: not valid YAML"),
        ("- 1\n- 2\n", "must hold sections"),
        ("just text\n", "must hold sections"),
    ]:
        (tmp_path / "c.yaml").write_text(text)
        with pytest.raises(CheepError, match=message):
            load_config(tmp_path / "c.yaml")
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CheepError, match="not UTF-8"):
        load_config(tmp_path / "c.yaml")
    with pytest.raises(CheepError, match=r"training\.epochs: must be key=value"):
        parse_source("", "c", ["training.epochs"])
    with pytest.raises(CheepError, match=r"general\.global_seed holds a value, not a section"):
        parse_source("general: {global_seed: 1}", "c", ["general.global_seed.x=1"])


def test_overrides_references_and_time(tmp_path):
    when = datetime.datetime(2031, 5, 7, 4, 3, 2)
    text = (
        BASE.replace("DATA", str(tmp_path)) + "hydra:\n  run:\n    dir: out/${general.project_name}-${now:%Y_%m_%d}\n"
    )
    source = parse_source(text, "c", ["general.project_name=wrens", "training.learning_rate=1e-3"], when)
    assert source.problems == []
    assert source.values["hydra"]["run"]["dir"] == "out/wrens-2031_05_07"
    assert source.values["training"]["learning_rate"] == 0.001
    config = parse_config(text, overrides=["general.project_name=wrens"])
    assert str(output_folder(config)).startswith("out/wrens-2")
    loop = parse_source("general: {project_name: '${general.project_name}x'}", "c")
    assert "refers to itself" in loop.problems[0][1]


def test_values_reach_the_stages(tmp_path):
    config = parse_config(
        BASE.replace("DATA", str(tmp_path)),
        overrides=[
            "preprocessing.target_rate=16000", "feature_extraction.n_fft=512", "feature_extraction.window_length=400",
            "feature_extraction.hop_length=160", "feature_extraction.n_mels=64", "feature_extraction.patch_length=96",
            "feature_extraction.power=1.0", "feature_extraction.fmin=125", "feature_extraction.fmax=7500",
            "feature_extraction.norm=None", "feature_extraction.htk=True",
            "training.optimizer.Adam.learning_rate=0.005", "training.epochs=7", "general.global_seed=120",
            "quantization.epochs=3", "data_augmentation.SpecAug={enable: true, freq_mask_param: 4, time_mask_param: 5}",
        ],
    )  # fmt: skip
    features = feature_config(config)
    assert (features.sample_rate_hz, features.fft_size, features.frame_samples, features.hop_samples) == (
        16000, 512, 400, 160,
    )  # fmt: skip
    assert (features.mel_scale, features.mel_norm, features.spectrum) == ("htk", "none", "magnitude")
    assert (features.fmin_hz, features.fmax_hz, features.window_frames) == (125, 7500, 96)
    training = train_config(config)
    assert (training.learning_rate, training.epochs, training.seed) == (0.005, 7, 120)
    augment = augment_config(config)
    assert (augment.mask_bands, augment.mask_frames, augment.mixup_alpha, augment.gain_db) == (4, 5, 0, 0)
    assert qat_config(config).epochs == 3
    plain = parse_config(BASE.replace("DATA", str(tmp_path)))
    assert augment_config(plain) == AugmentConfig()
    volume = parse_config(
        BASE.replace("DATA", str(tmp_path)), overrides=["data_augmentation.VolumeAugment.enable=true"]
    )
    assert augment_config(volume).gain_db == pytest.approx(1.017, abs=1e-3)


def test_every_chain_is_made_of_known_steps():
    for name in ("tqe", "tbqeb", "eqe", "qb", "eqeb", "qd", "tqed", "tqeb"):
        assert f"chain_{name}" in MODES
    for name, steps in CHAINS.items():
        letters = {"t": "training", "b": "benchmarking", "q": "quantization", "e": "evaluation", "d": "deployment"}
        assert [step.removesuffix("_float") for step in steps] == [letters[c] for c in name.removeprefix("chain_")]


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda p: p.stem)
def test_examples_are_right(path, tmp_path):
    (tmp_path / "a.csv").write_text("filename,category\n")
    values = yaml.safe_load(path.read_text())
    overrides = [f"dataset.training_audio_path={tmp_path}"]
    if "training_csv_path" in values["dataset"]:
        overrides.append(f"dataset.training_csv_path={tmp_path / 'a.csv'}")
    assert load_config(path, overrides).plan
    assert main("run", [str(path), *overrides, "--check"]) == 0


def test_the_schema_for_editors_is_that_of_the_settings(capsys):
    assert main("run", ["--schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema == json_schema() == json.loads((ROOT / "examples" / "schema.json").read_text())
    assert "chain_tqeb" in schema["properties"]["operation_mode"]["enum"]
    assert schema["additionalProperties"] is False
    assert set(schema["$defs"]["FeatureExtraction"]["properties"]) >= {"patch_length", "n_mels", "overlap", "htk"}
