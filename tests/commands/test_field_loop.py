# SPDX-License-Identifier: MIT
"""docs/field-loop.md, command by command: from the demo's card to the second model."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from cheep.cli import main
from cheep.config import FeatureConfig, QatConfig, TrainConfig
from cheep.files import read_json
from cheep.job.quantize import quantize_aware
from cheep.job.train import train_network

DOC = Path(__file__).parents[2] / "docs" / "field-loop.md"
#: What the test does with less work than the page.
SHORTER = {
    "cheep demo-data --card card --nights 6": "--nights 3 --minutes 1",
    "cheep season plan season --label whistler --want recall:0.15": "--clips 90 --threshold 0.05",
    "cheep season estimate season --precision 0.9 --keep demo": "--precision 0.01",  # no promise of a hasty network
    "cheep season learn season --run demo": "--epochs 1",
}


def commands():
    """Return the commands of the page's walk."""
    block = re.search(r"```\n(cheep demo-data --card.*?)```", DOC.read_text(), re.DOTALL)[1]
    return [line.split("#")[0].strip() for line in block.splitlines() if line.startswith("cheep ")]


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """Walk the page; return what each command said."""
    said = {}
    folder = tmp_path_factory.mktemp("walk")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("CHEEP_RUNS", str(folder / "runs"))
        for command in commands():
            words = shlex.split(f"{command} {SHORTER.get(command, '')}")[1:]
            if words[0] == "demo":  # the same in short: three epochs of a small network
                assert main("demo-data", ["--output", "datasets/demo", "--size", "small"]) == 0
                options = ["--run", "demo", "--sample-rate", "8000", "--window", "1"]
                assert main("split-dataset", ["datasets/demo", *options]) == 0
                features = FeatureConfig(n_mels=24, hop_samples=256, window_frames=31)
                train = TrainConfig(model="sepconv_s", epochs=3, batch_size=16, warmup_epochs=1)
                train_network(folder / "runs" / "demo", features, train)
                quantize_aware(folder / "runs" / "demo", QatConfig(epochs=1, batch_size=32))
                said[command] = 0
            elif words[0] == "review":
                said[command] = None  # a page for people: tests/review
            else:
                said[command] = main(words[0], words[1:])
    return folder, said


def test_the_walk_has_ten_commands():
    assert len(commands()) == 10


@pytest.mark.parametrize("number", range(10))
def test_each_command_of_the_walk(walk, number):
    _, said = walk
    command = commands()[number]
    assert said[command] in (0, None), command


def test_what_the_walk_leaves(walk):
    folder, _ = walk
    assert list((folder / "season" / "estimates").glob("*/report.html"))
    about = read_json(folder / "season" / "rounds" / "01" / "round.json", "")
    assert about["positives"] + about["negatives"] > 20
    lineage = read_json(folder / "season" / "rounds" / "01" / "run" / "manifest.json", "")["lineage"]
    first = read_json(folder / "runs" / "demo" / "manifest.json", "")
    assert [item["parent_sha256"] for item in lineage] == [first["model"]["sha256"]]
    assert first["calibration"]["season"]["label"] == "whistler"


def test_embeddings_are_of_the_sound_and_kept(walk):
    from cheep.season import Season
    from cheep.season.embed import embeddings_of

    season = Season(walk[0] / "season")
    model = season.model()
    name = season.recordings().to_pylist()[0]["recording"]
    found, problems = embeddings_of(season, model, [(name, 5.0), (name, 5.1), (name, 40.0), ("nowhere", 1.0)])
    assert len(problems) == 1 and np.isnan(found[3]).all() and np.isfinite(found[:3]).all()
    assert np.ptp(found[:3], axis=0).max() > 0
    again, problems = embeddings_of(season, model, [(name, 40.0), (name, 5.0)])
    assert np.array_equal(again, found[[2, 0]]) and not problems
