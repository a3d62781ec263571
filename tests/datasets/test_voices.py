# SPDX-License-Identifier: MIT
"""Synthetic speakers: the same words, the same files; an example for training only."""

import csv

import numpy as np
import pytest

from cheep import cli
from cheep.audio import read_audio
from cheep.config import VoicesConfig
from cheep.datasets import load_manifest
from cheep.datasets.voices import find_voices, say, synthesize_words
from cheep.errors import CheepError


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_words_are_said_by_many_voices_and_are_the_same_again(tmp_path):
    config = VoicesConfig(per_word=12, seed=3)
    for name in ("one", "two"):
        synthesize_words(["yes", "no"], tmp_path / name, config)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    rows = list(csv.DictReader((tmp_path / "one" / "metadata.csv").open()))
    assert [row["label"] for row in rows] == ["yes"] * 12 + ["no"] * 12
    assert len({row["recordist"] for row in rows}) > 8
    for row in rows:
        pcm = read_audio(tmp_path / "one" / row["file"], 8000)
        assert len(pcm) / 8000 == pytest.approx(float(row["end_s"]), abs=2e-3) and 0.08 < len(pcm) / 8000 < 1.5
        assert 32768 * 10 ** (-25 / 20) < np.abs(pcm.astype(int)).max() < 32768 * 10 ** (-2 / 20)
        assert np.abs(pcm[:400].astype(int)).max() > 0  # no silence before the word


def test_every_voice_of_the_table_says_something(rng):
    voices = find_voices()
    assert {voice.program for voice in voices} == {"espeak-ng", "flite"}
    one_of_each = {voice.speaker: voice for voice in voices}.values()
    assert len(one_of_each) > 60
    for voice in one_of_each:
        assert len(say("seven", voice, rng, 8000)) > 1000, voice
    assert all(voice.accent.startswith("de") for voice in find_voices("de"))


def test_voices_train_and_are_never_tested_on(tmp_path, capsys):
    mine, more = tmp_path / "mine", tmp_path / "voices"
    for folder, seed in ((mine, 1), (more, 2)):
        synthesize_words(["yes", "no"], folder, VoicesConfig(per_word=6, seed=seed))
    (mine / "metadata.csv").unlink()  # a user's own words
    out = tmp_path / "dataset.csv"
    arguments = ["split-dataset", str(mine), "--train-only", str(more), "--no-selection", "-o", str(out)]
    assert cli.main(argv=arguments) == 0
    manifest = load_manifest(out)
    synthetic = ["voices/" in path for path in manifest.column("path")]
    split = np.array(manifest.column("split"))
    assert sum(synthetic) == 12 and set(split[synthetic]) == {"train"}
    assert {"train", "test"} <= set(split[~np.array(synthetic)])
    capsys.readouterr()
    synthesize_words(["maybe"], tmp_path / "other", VoicesConfig(per_word=1))
    assert cli.main(argv=[*arguments[:3], str(tmp_path / "other"), "-o", str(out)]) == 2
    assert "'maybe' (--train-only) is none of the data set's: no, yes" in capsys.readouterr().err


def test_mistakes_are_named(tmp_path, monkeypatch):
    for words, message in ([], "no words"), (["../up"], "names a folder"), (["-v"], "names a folder"):
        with pytest.raises(CheepError, match=message):
            synthesize_words(words, tmp_path, VoicesConfig(per_word=1))
    with pytest.raises(CheepError, match="no voice for it"):
        find_voices("qq")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CheepError, match="apt install espeak-ng flite"):
        find_voices()
