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

    def pooled(folders):
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
