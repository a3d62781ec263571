# SPDX-License-Identifier: MIT
"""Augmented copies of recordings: only of training rows, leak-free, deterministic."""

import numpy as np
import pytest

from cheep.audio import read_audio, write_wav
from cheep.audio.augment import WaveformAugment
from cheep.cli import main
from cheep.datasets.manifest import Manifest, load_manifest
from cheep.errors import CheepError
from cheep.live.probe import ProbeResult, write_profile
from cheep.training.copies import add_copies

RATE = 8000


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    rng, rows = np.random.default_rng(1), []
    for number, (label, split) in enumerate(
        [("bird", "train"), ("background", "train"), ("bird", "val"), ("bird", "test"), ("background", "test")]
    ):
        write_wav(folder / f"{number}.wav", rng.normal(0, 3000, 2 * RATE).astype(np.int16), RATE)
        for start in (0.0, 1.0):
            rows.append({"path": f"{number}.wav", "label": label, "start_s": start, "duration_s": 1.0,
                         "recording": f"r{number}", "recordist": f"p{number}", "split": split,
                         "sha256": "x"})  # fmt: skip
    manifest = Manifest.from_rows([{"licence": "", "attribution": "", **row} for row in rows], folder)
    manifest.write(folder / "dataset.csv")
    return folder


def test_copies_are_added_to_training_only_and_keep_their_recording(run, tmp_path):
    manifest = load_manifest(run / "dataset.csv")
    result = add_copies(manifest, tmp_path / "copies", RATE, WaveformAugment(), copies=2)
    assert len(result) == 10 + 2 * 4
    added = list(result.rows())[10:]
    assert {row["split"] for row in added} == {"train"} and {row["recording"] for row in added} == {"r0", "r1"}
    assert {row["reason"] for row in added} == {"augmented 1", "augmented 2"}
    for row in added:
        original = read_audio(run / f"{row['recording'][1]}.wav", RATE)
        copy = read_audio(row["path"], RATE)
        assert len(copy) == len(original) and not np.array_equal(copy, original)
    again = add_copies(manifest, tmp_path / "again", RATE, WaveformAugment(), copies=2)
    assert again.column("sha256") == result.column("sha256")
    other = add_copies(manifest, tmp_path / "other", RATE, WaveformAugment(), copies=2, seed=2)
    assert other.column("sha256")[10:] != result.column("sha256")[10:]


def test_loud_copies_are_not_clipped(run, tmp_path):
    write_wav(run / "0.wav", np.full(2 * RATE, 30000, np.int16) * np.tile([1, -1], RATE).astype(np.int16), RATE)
    settings = WaveformAugment(0, 0, (5, 80), 0, (0, 20), 0, 30)
    result = add_copies(load_manifest(run / "dataset.csv"), tmp_path / "copies", RATE, settings, copies=6)
    for path in set(result.column("path")[10:]):
        assert np.abs(read_audio(path, RATE).astype(int)).max() <= 32200


def test_mistakes_are_named(run, tmp_path):
    manifest = load_manifest(run / "dataset.csv")
    with pytest.raises(CheepError, match="copies=0"):
        add_copies(manifest, tmp_path / "c", RATE, WaveformAugment(), copies=0)
    with pytest.raises(CheepError, match="no rows of split 'train'"):
        add_copies(manifest.of_split("test"), tmp_path / "c", RATE, WaveformAugment())
    with pytest.raises(CheepError, match="labelled 'wind'"):
        add_copies(manifest, tmp_path / "c", RATE, WaveformAugment(), background="wind")
    (run / "1.wav").unlink()
    with pytest.raises(CheepError, match=r"1.wav: no such recording \(1 of 2 are missing\); make the manifest again"):
        add_copies(manifest, tmp_path / "c", RATE, WaveformAugment())


def test_the_command_makes_a_run_that_training_takes(run, tmp_path, capsys):
    profile = tmp_path / "mic.json"
    write_profile(profile, ProbeResult(RATE, 0.0, -3.0, -70.0, 0.0, None, ((100.0, -9.0), (1000.0, 0.0)), ()))
    out = tmp_path / "new"
    arguments = ["--run", str(run), "--output", str(out), "--mic", str(profile), "--distance", "0"]
    assert main("augment", arguments) == 0
    assert "14 windows, 4 of them augmented" in capsys.readouterr().out
    manifest = load_manifest(out / "dataset.csv")
    assert all(path.is_file() for path in manifest.audio_paths()) and len(manifest) == 14
    assert main("augment", ["--run", str(run), "--output", str(run)]) == 2
    assert main("augment", ["--run", str(run), "--output", str(out), "--mix", "2"]) == 2
    assert "must lie in 0..1" in capsys.readouterr().err
