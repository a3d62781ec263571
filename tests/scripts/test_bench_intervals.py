# SPDX-License-Identifier: MIT
"""scripts/bench_intervals.py: halves of counts, thresholds by calibration's rule."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import bench_intervals
from cheep.evaluate.calibration import expected_rate


def test_the_threshold_of_a_half_is_the_lowest_that_keeps_the_rate():
    alarms = np.array([[9, 6, 6], [4, 3, 3], [2, 1, 1], [1, 0, 0], [0, 0, 0]], float)
    sweep = bench_intervals.CountedSweep(alarms, np.ones(3))
    assert [expected_rate(sweep, level) for level in (4, 3, 2)] == pytest.approx([1 / 3, 2 / 3, 5 / 3], rel=0.2)
    assert sweep.lowest(lambda level: expected_rate(sweep, level) <= 2) == 2


def test_coverage_of_groups_that_are_alike_and_of_kinds_that_are_not(monkeypatch, capsys, tmp_path):
    rng = np.random.default_rng(4)
    kinds = [f"kind{i % 10}" for i in range(200)]
    rates = np.linspace(400, 0, 60)[:, None] * np.ones(200)
    alarms = rng.poisson(rates / 60).astype(float)
    monkeypatch.setattr(
        bench_intervals, "load_groups", lambda _: (alarms, np.full(200, 1 / 60), [f"g{i}" for i in range(200)], kinds)
    )
    monkeypatch.setattr(bench_intervals, "places_by_seed", lambda folders: [folders, folders])
    monkeypatch.setattr(sys, "argv", ["bench_intervals.py", str(tmp_path), "--rates", "30", "--draws", "8", "--json"])
    assert bench_intervals.main() == 0
    values = {item["name"]: item["value"] for item in json.loads(capsys.readouterr().out)}
    assert values["intervals.group.30_per_hour.inside"] >= 0.85
    # one kind in ten is never silent, and only the half that holds it can know
    alarms[:, :: len(set(kinds))] += 5
    assert bench_intervals.main() == 0
    harsh = {item["name"]: item["value"] for item in json.loads(capsys.readouterr().out)}
    assert harsh["intervals.kind.30_per_hour.inside"] < 0.8


def test_a_folder_without_scores_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["bench_intervals.py", str(tmp_path)])
    assert bench_intervals.main() == 2
    assert "no streamed.npz in it or below; make it with bench_accuracy.py" in capsys.readouterr().err


def test_seeds_of_a_benchmark_are_drawn_from_alone(tmp_path):
    """They heard the same hour: together they would pass for three hours, and intervals of them for narrow ones."""
    for name in ("bird-0", "bird-1", "bird-0-seed2", "bird-1-seed2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "streamed.npz").write_bytes(b"")
    places = bench_intervals.places_by_seed([tmp_path, tmp_path / "bird-0"])
    assert [[place.name for place in seed] for seed in places] == [
        ["bird-0", "bird-1"],
        ["bird-0-seed2", "bird-1-seed2"],
    ]
