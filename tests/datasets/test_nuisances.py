# SPDX-License-Identifier: MIT
"""Synthesized sounds that fool a bird detector: what they are, the same every time, only to train on."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from cheep.audio import float_to_int16, read_audio, write_wav
from cheep.commands import split_dataset
from cheep.config import NUISANCE_KINDS, DataConfig, SyntheticBackgroundConfig
from cheep.datasets.nuisances import KINDS, nuisance
from cheep.datasets.synthetic import synthesize_background
from cheep.errors import CheepError
from cheep.job.split import make_examples

RATE = 16000


@pytest.mark.parametrize("kind", NUISANCE_KINDS)
@pytest.mark.parametrize("rate", [8000, 16000])
def test_every_kind_sounds_is_bounded_and_is_the_same_again(kind, rate):
    made = [nuisance(kind, 2 * rate, rate, np.random.default_rng([3, seed])) for seed in range(2)]
    for samples in made:
        assert samples.shape == (2 * rate,) and np.isfinite(samples).all()
        level = 20 * np.log10(np.sqrt(np.mean(samples**2)))
        assert -51 < level < -11 and np.abs(samples).max() <= 1
    assert not np.array_equal(*made)
    assert np.array_equal(made[0], nuisance(kind, 2 * rate, rate, np.random.default_rng([3, 0])))


def test_the_kinds_are_those_of_the_settings():
    assert tuple(KINDS) == NUISANCE_KINDS
    with pytest.raises(CheepError, match="kinds: 'lark' is none of siren, "):
        DataConfig.parse({"synthetic_background": {"kinds": ["lark"]}}, "x")


def _narrow(samples: np.ndarray) -> float:
    """Share of the energy above 300 Hz that lies in the strongest tenth of a percent of the bins."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    power[: int(300 * len(samples) / RATE)] = 0
    power = np.sort(power)[::-1]
    return power[: max(1, len(power) // 200)].sum() / power.sum()


def test_tones_are_narrow_and_noises_are_wide():
    def narrow(kind):
        return np.median([_narrow(KINDS[kind](2 * RATE, RATE, np.random.default_rng([5, s]))) for s in range(9)])

    assert min(narrow("morse"), narrow("beep"), narrow("chime")) > 0.7
    assert narrow("rustle") < 0.1


def test_recordings_are_made_once_for_training_only_and_never_judged(tmp_path):
    config = SyntheticBackgroundConfig(hours=0.01, recording_s=2.0, kinds=("siren", "beep"))
    first = synthesize_background(tmp_path / "a", config, RATE)
    again = synthesize_background(tmp_path / "b", config, RATE)
    assert len(first) == 18 and {item.split for item in first} == {"train"}
    assert [item.path.read_bytes() for item in first] == [item.path.read_bytes() for item in again]
    assert len({item.path.read_bytes() for item in first}) == 18
    before = first[0].path.stat().st_mtime_ns
    synthesize_background(tmp_path / "a", config, RATE)
    assert first[0].path.stat().st_mtime_ns == before
    assert len(read_audio(first[0].path, RATE)) == 2 * RATE


def test_split_takes_hours_as_an_option_beside_a_run_file(tmp_path):
    parser = argparse.ArgumentParser()
    split_dataset.add_arguments(parser)
    (tmp_path / "run.yaml").write_text("data: {synthetic_background: null}")
    for given in ([], ["--config", str(tmp_path / "run.yaml")]):
        config = split_dataset.settings(parser.parse_args([str(tmp_path), "--synthetic-background", "0.5", *given]))
        assert config.synthetic_background == SyntheticBackgroundConfig(hours=0.5)
    assert split_dataset.settings(parser.parse_args([str(tmp_path)])).synthetic_background is None


def test_split_adds_them_as_background(tmp_path, rng):
    for label in ("wren", "background"):
        for number in range(6):
            sound = 0.3 * np.sin(2 * np.pi * 2000 * np.arange(3 * RATE) / RATE) * (np.arange(3 * RATE) % 8000 < 2000)
            sound = sound + 0.001 * rng.standard_normal(3 * RATE)
            path = tmp_path / "in" / label / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_wav(path, float_to_int16(sound.astype(np.float32)), RATE)
    values = {"folder": str(tmp_path / "in"), "sample_rate_hz": RATE}
    plain = make_examples(DataConfig.parse(values, "x"), tmp_path / "made").manifest
    values["synthetic_background"] = {"hours": 0.01, "recording_s": 2.0}
    more = make_examples(DataConfig.parse(values, "x"), tmp_path / "made").manifest
    new = [row for row in more.rows() if "synthetic" in row["path"]]
    assert len(more) == len(plain) + len(new) and len(new) == 3 * 18  # of 2 s, a second each, every half second
    assert {(row["label"], row["split"], row["licence"]) for row in new} == {("background", "train", "CC0-1.0")}
