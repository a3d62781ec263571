# SPDX-License-Identifier: MIT
"""scripts/bench_leaderboard.py: pages from kept figures, and what is said of two recipes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import bench_leaderboard
from cheep.errors import CheepError, GateError


def entry(*folds, ram=10_000, seeds=(1,), **figures):
    by_seed = {str(seed) if number else "": list(folds) for number, seed in enumerate(seeds)}
    return {"date": "2026-01-02", "seeds": list(seeds), "folds": by_seed, "figures": {"ram_bytes": ram, **figures}}


def test_the_pages_are_those_of_the_kept_figures():
    entries = json.loads(bench_leaderboard.FIGURES.read_text())
    for page, text in bench_leaderboard.pages(entries).items():
        assert page.read_text() == text, f"{page.name}: python scripts/bench_leaderboard.py"


def test_larger_is_better_only_where_it_is_shown():
    tie = {"esc10_small": entry(0.86, 0.89, 0.87, 0.89), "esc10": entry(0.89, 0.95, 0.88, 0.86, ram=20_000)}
    assert "no difference to `esc10_small` is shown (+0.0" in bench_leaderboard.compared(tie, "esc10")
    shown = tie | {"esc10": entry(0.90, 0.92, 0.91, 0.93, ram=20_000)}
    assert bench_leaderboard.compared(shown, "esc10").startswith("better than `esc10_small` (+0.03")
    assert bench_leaderboard.compared(shown, "esc10_small").startswith("worse than `esc10`")
    # a seed that one of them alone has says nothing of the other: the better seed is not taken for a better recipe
    lucky = shown["esc10"]["folds"] | {"2": [0.2, 0.2, 0.2, 0.2]}
    assert bench_leaderboard.compared(shown | {"esc10": shown["esc10"] | {"folds": lucky}}, "esc10").startswith(
        "better"
    )
    # the cheaper one stands first, whatever they reach
    assert bench_leaderboard.in_order(shown) == ["esc10_small", "esc10"]
    assert bench_leaderboard.compared(shown | {"bird": entry(0.9, 0.9)}, "bird") == ""


def test_one_seed_is_marked():
    found = {"recall_at_1_per_hour": 0.5, "recall_at_1_per_hour.low": 0.4, "recall_at_1_per_hour.high": 0.6}
    entries = {"bird": entry(0.9, 0.8, **found), "esc10": entry(0.7, 0.8, seeds=(1, 2, 3))}
    table = bench_leaderboard.leaderboard(entries)
    rows = {row.split("|")[2].strip(): row for row in table.splitlines() if row.startswith("|")}
    assert "| 1 \\* |" in rows["`bird`"] and "| 3 |" in rows["`esc10`"]
    assert "| events found at 1 false alarm an hour | | 0.500 (0.400 to 0.600) |" in table
    assert bench_leaderboard.by_fold(entries).count("`esc10`") == 3


def test_what_was_changed_is_shown_and_other_folds_are_not_compared():
    entries = {"bird": entry(0.9, 0.8) | {"changes": ["data.split.fold_count=2"]}, "bird_32k": entry(0.9, 0.8)}
    assert "| `bird`, `data.split.fold_count=2` | 0.850 ±" in bench_leaderboard.leaderboard(entries)
    assert "| `bird`, `data.split.fold_count=2`, window auc |" in bench_leaderboard.by_fold(entries)
    assert bench_leaderboard.compared(entries, "bird") == ""
    entries["bird_32k"]["changes"] = ["data.split.fold_count=2"]
    assert bench_leaderboard.compared(entries, "bird").startswith("no difference to `bird_32k`")


def test_a_page_without_its_marks_is_an_error(tmp_path):
    (tmp_path / "page.md").write_text("text")
    with pytest.raises(CheepError, match=r"the marks .* are missing"):
        bench_leaderboard.put(tmp_path / "page.md", "table")


def test_a_recipe_is_measured_by_bench_accuracy_and_kept(tmp_path, monkeypatch):
    said = [{"name": "esc10.ram_bytes", "value": 1.0, "unit": "B"}, {"name": "esc10.kind.x", "value": 1.0, "unit": ""}]
    calls = []

    def run(command, **_):
        calls.append(command)
        folder = Path(command[command.index("--keep") + 1])
        for name, value in (("esc10-0", 0.5), ("esc10-1", 0.7), ("esc10-1-seed2", 0.9), ("esc10-0-seed2", 0.6)):
            (folder / name).mkdir(parents=True)
            (folder / name / "bench.json").write_text("{}")
            metrics = {"metrics": {"int8": {"test": {"clip_accuracy": value}}}}
            (folder / name / "evaluation.json").write_text(json.dumps(metrics))
        return subprocess.CompletedProcess(command, 0, json.dumps(said))

    monkeypatch.setattr(bench_leaderboard.subprocess, "run", run)
    found = bench_leaderboard.measure("esc10", tmp_path / "data", tmp_path / "keep", "1,2")
    assert "changes" not in found
    assert found["folds"] == {"": [0.5, 0.7], "2": [0.6, 0.9]} and found["figures"] == {"ram_bytes": 1.0}
    assert calls[0][-3:] == ["--seeds", "1,2", "--json"]
    monkeypatch.setattr(
        bench_leaderboard.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 2, "")
    )
    with pytest.raises(GateError, match=r"esc10: bench_accuracy.py ended with 2; what it has finished is kept"):
        bench_leaderboard.measure("esc10", tmp_path / "data", tmp_path / "keep", "1")
