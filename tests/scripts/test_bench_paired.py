# SPDX-License-Identifier: MIT
"""scripts/bench_paired.py: differences of two kept benchmarks, in pairs."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import bench_bird
import bench_paired
from cheep.config import DetectorConfig
from cheep.detector.scores import ScoreScale
from cheep.evaluate.streaming import Output, ScoredRecording, ScoreTiming
from counted_by_hand import counted

THRESHOLDS = [0.1, 0.3, 0.5, 0.7, 0.9]
ALARMS = np.array([[9, 9, 9], [6, 4, 2], [3, 2, 1], [1, 0, 0], [0, 0, 0]])  # thresholds, recordings of background
FOUND = np.array([[1] * 10, [1] * 10, [1] * 9 + [0], [1] * 8 + [0] * 2, [1] * 3 + [0] * 7])


def keep(folder, names, auc):
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "streamed.npz").write_bytes(b"")
        (folder / name / "bench.json").write_text(json.dumps({"result": {}}))
        metrics = {"metrics": {"int8": {"test": {"window_auc": auc + 0.01 * int(name[5])}}}}
        (folder / name / "evaluation.json").write_text(json.dumps(metrics))
    return folder


def judged(monkeypatch, alarms_of, hours=2.0):
    """Let each keep have the alarms that ``alarms_of`` says, by its name."""

    def pooled(folders, background=None):
        alarms = alarms_of[folders[0].parent.name]
        return bench_bird.Pooled([counted(alarms, FOUND, THRESHOLDS, hours * alarms.shape[1] / 3)])

    monkeypatch.setattr(bench_paired, "pooled", pooled)


def test_the_same_twice_differs_by_nothing_and_less_by_what_is_less(tmp_path, monkeypatch):
    a = keep(tmp_path / "a", ["bird-0", "bird-1", "bird-0-seed2", "bird-1-seed2", "bird-0-seed3"], 0.9)
    b = keep(tmp_path / "b", ["bird-0", "bird-1", "bird-0-seed2", "bird-1-seed2"], 0.95)
    judged(monkeypatch, {"a": ALARMS, "b": ALARMS})
    rows = bench_paired.compare(a, b, draws=50)["rows"]
    for name in bench_paired.FIGURES:
        assert rows[name]["difference"] == rows[name]["low"] == rows[name]["high"] == 0.0
    assert rows[bench_paired.AUC]["difference"] == pytest.approx(0.05)
    assert rows[bench_paired.AUC]["low"] == pytest.approx(0.05), "every fold gains as much"
    assert rows[bench_paired.WORST_AUC]["first"] == pytest.approx(0.9)

    judged(monkeypatch, {"a": ALARMS, "b": ALARMS * [0, 1, 1]})
    found = bench_paired.compare(a, b, draws=50)
    assert found["seeds"] == ["the recipe's", "2"] and found["folds"] == 2, "seed 3 is not in both"
    rates = found["rows"][bench_paired.FIGURES[0]]
    assert (rates["first"], rates["second"]) == (0.5, 0.0) and rates["low"] <= -0.5 <= rates["high"] <= 0
    assert found["rows"][bench_paired.FIGURES[-1]]["first"] == 1.0
    text = bench_paired.table(found, ("a", "b"))
    assert "| false alarms an hour at 80 % | 0.5 (0.5, 0.5) | 0.0 (0.0, 0.0) | -0.5 (" in text


def test_what_cannot_be_compared_is_refused(tmp_path, monkeypatch, capsys):
    a, b = keep(tmp_path / "a", ["bird-0", "bird-1"], 0.9), keep(tmp_path / "b", ["bird-0"], 0.9)
    monkeypatch.setattr(sys, "argv", ["bench_paired.py", str(a), str(b)])
    assert bench_paired.main() == 2 and "no seed has the same finished folds" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["bench_paired.py", str(a), str(tmp_path / "c")])
    assert bench_paired.main() == 2 and "no finished fold of the bird task" in capsys.readouterr().err
    keep(b, ["bird-1"], 0.9)
    judged(monkeypatch, {"a": ALARMS, "b": ALARMS[:, :2]})
    monkeypatch.setattr(sys, "argv", ["bench_paired.py", str(a), str(b)])
    assert bench_paired.main() == 2 and "judged on other recordings" in capsys.readouterr().err


def test_one_benchmark_and_what_it_reaches_without_a_group(tmp_path, monkeypatch, capsys):
    a = keep(tmp_path / "a", ["bird-0", "bird-1", "bird-0-seed2", "bird-1-seed2"], 0.9)
    judged(monkeypatch, {"a": ALARMS})
    found = bench_paired.reached(a, draws=50)
    rates = found["rows"][bench_paired.FIGURES[0]]
    assert rates["by_seed"] == [0.5, 0.5] and 0 <= rates["low"] <= 0.5 <= rates["high"]
    assert found["rows"][bench_paired.WORST_AUC]["mean"] == pytest.approx(0.9) and found["hours"] == pytest.approx(2.0)
    assert "| false alarms an hour at 80 % | 0.5 (0.5, 0.5) | 0.0 to " in bench_paired.table(found, ["a"])

    group = found_group(a)
    less = bench_paired.reached(a, draws=50, without=[group])
    assert less["left_out"] == {"groups": [group], "recordings": 1} and less["hours"] == pytest.approx(4 / 3)
    assert less["rows"][bench_paired.FIGURES[0]]["mean"] == 0.0, "its one alarm was the left-out recording's"
    both = bench_paired.compare(a, a, draws=50, without=[group])["rows"][bench_paired.FIGURES[0]]
    assert (both["first"], both["second"], both["low"], both["high"]) == (0.0, 0.0, 0.0, 0.0)
    monkeypatch.setattr(sys, "argv", ["bench_paired.py", str(a), "--without", "freesound:1"])
    assert bench_paired.main() == 2 and "--without freesound:1: no group of this name" in capsys.readouterr().err


def test_seeds_with_other_folds_are_no_one_benchmark(tmp_path, monkeypatch, capsys):
    a = keep(tmp_path / "a", ["bird-0", "bird-1", "bird-0-seed2"], 0.9)
    monkeypatch.setattr(sys, "argv", ["bench_paired.py", str(a)])
    assert bench_paired.main() == 2
    assert "its seeds have not the same finished folds (the recipe’s: 0, 1; 2: 0)" in capsys.readouterr().err


def found_group(folder):
    """Return the group of the background recording with the one alarm at 80 % recall."""
    item = bench_paired.pooled(list(bench_paired.seeds_of(folder)[""].values()))
    return item.groups[item.group[np.flatnonzero(item.alarms_at(0.8, np.ones(len(item.hours))))[0]]]


def test_background_that_no_fold_knows_takes_the_place_of_the_held_out(tmp_path, monkeypatch, capsys):
    a = keep(tmp_path / "a", ["bird-0", "bird-1"], 0.9)
    (tmp_path / "loops").mkdir()
    for name in ("cows.mp3", "rain.mp3", "short.mp3"):
        (tmp_path / "loops" / name).write_bytes(b"")
    bird = ScoredRecording("bird.flac", "bird", 3.0, np.full((4, 1), 60, np.int8), (bench_bird._ANYWHERE,))
    dog = ScoredRecording("dog.flac", "dog", 3600.0, np.full((4, 1), 100, np.int8), ())
    output = Output(("bird",), ScoreScale(), ScoreTiming(0.5, 1.0))
    kept = bench_bird.Streamed([dog, bird], ["dog_bark", "bird"], output, DetectorConfig())
    monkeypatch.setattr(bench_bird.Streamed, "load", lambda path, model: kept)
    monkeypatch.setattr(bench_paired, "load_bundle", lambda path: None)
    scores = {"cows.mp3": [70] * 4, "rain.mp3": [-100] * 4, "short.mp3": []}

    def score_recordings(bundle, plan):
        for file, group, events in plan:
            heard = np.array(scores[file.name], np.int8).reshape(-1, 1)
            yield ScoredRecording(str(file), group, 1800.0, heard, events)

    monkeypatch.setattr(bench_paired, "score_recordings", score_recordings)
    found = bench_paired.reached(a, draws=20, background=tmp_path / "loops")
    assert found["hours"] == 1.0, "two of half an hour: one is too short, the dog is not asked"
    rows = found["rows"]
    assert rows[bench_paired.FIGURES[0]]["mean"] == 1.0 and found["most"] == {"cows.mp3": 1.0}
    assert rows["recall at 10 an hour"]["mean"] == 1.0 and list(rows) == list(bench_paired.FIGURES[:-1])
    assert "    1.00  cows.mp3" in bench_paired.table(found, ("a",))
    monkeypatch.setattr(sys, "argv", ["bench_paired.py", str(a), str(a), "--background", str(tmp_path / "none")])
    assert bench_paired.main() == 2 and "no such file or folder" in capsys.readouterr().err
