# SPDX-License-Identifier: MIT
"""Search spaces, budgets and the cost that a search weighs; the search itself needs optuna (optional)."""

import functools
import json
from types import SimpleNamespace

import pytest

from cheep.config import DetectorConfig
from cheep.errors import CheepError
from cheep.parallel import outcome_of, using
from cheep.pipeline import tune as search
from cheep.pipeline.checks import parse_config
from cheep.pipeline.tune import (
    DEFAULT_SPACE,
    Budget,
    Trial,
    instructions_per_s,
    open_storage,
    pareto_picture,
    read_space,
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train.dropout: 0.3\n", r"train.dropout=0.3: must be a list of values or \{low"),
        ("train.dropout: {low: 0.4, high: 0.1}\n", "low=0.4 must be below high=0.1"),
        ("train.dropout: {low: 0.1, hihg: 0.4}\n", "must be a list of values"),
        ("train.dropout: []\n", "must be a list of values"),
        ("- 1\n", "must name settings"),
        ("a: [1\n", "not valid YAML"),
    ],
)
def test_wrong_spaces(tmp_path, text, message):
    path = tmp_path / "space.yaml"
    path.write_text(text)
    with pytest.raises(CheepError, match=message):
        read_space(path)
    with pytest.raises(CheepError, match="no such search space"):
        read_space(tmp_path / "missing.yaml")


def test_every_setting_of_the_default_space_exists():
    for name, choice in DEFAULT_SPACE.items():
        for value in choice if isinstance(choice, list) else (choice["low"], choice["high"]):
            parse_config("run: {steps: [predict]}\n", overrides=[
                f"{name}={value}", "run.model=.", "predict.files=.",
            ])  # fmt: skip


def test_budget_says_what_is_over_and_by_how_much():
    row = {"ram_bytes": 5000, "flash_bytes": 20_000}
    assert Budget().excess(row) == []
    assert Budget(5000, 20_000).excess(row) == []
    assert Budget(4096, 19_000).excess(row) == [
        "RAM 5,000 bytes, 904 over", "flash 20,000 bytes, 1,000 over",
    ]  # fmt: skip


def test_cost_counts_runs_per_second():
    config = parse_config("run: {steps: [predict]}\n", overrides=["run.model=.", "predict.files=."])
    stride_s = DetectorConfig().stride_frames * 0.025  # columns of 25 ms
    assert instructions_per_s(1_000_000, config) == pytest.approx(1_000_000 / stride_s)


def test_picture_of_the_front():
    trials = [Trial(i, {}, 0.5 + i / 10, 1e6 * (i + 1), 4000, i % 2 == 0) for i in range(4)]
    assert pareto_picture(trials).startswith(b"\x89PNG")


def test_processes_that_make_the_storage_together_try_again(tmp_path, monkeypatch):
    optuna = pytest.importorskip("optuna", reason="requirements-pipelines.txt is optional")
    from sqlalchemy.exc import OperationalError

    calls = []

    def racing(url):
        calls.append(url)
        if len(calls) < 3:
            raise OperationalError("CREATE TABLE", {}, Exception("table studies already exists"))

    monkeypatch.setattr(optuna.storages, "get_storage", racing)
    open_storage("sqlite:///x.db")
    assert len(calls) == 3
    monkeypatch.undo()
    with pytest.raises(CheepError, match=r"--storage sqlite:////no/such/x\.db: cannot be opened"):
        open_storage("sqlite:////no/such/x.db")


class Backwards:
    """An engine that works on the last item first."""

    def map(self, work, items):
        done = {place: outcome_of(functools.partial(work, items[place])) for place in reversed(range(len(items)))}
        yield from (done[place] for place in range(len(items)))


def trained(settings):
    """What a trial would have found: a function of its settings."""
    folder = search.output_folder(settings)
    folder.mkdir(parents=True)
    if settings.features.n_mels == 48:
        raise CheepError("48 bands do not fit")
    accuracy = {"metrics": {"val": {"clip_accuracy": 1 - settings.train.learning_rate}}}
    (folder / "evaluation_int8.json").write_text(json.dumps(accuracy))
    row = {"model": "int8", "instructions": 1000 * settings.features.n_mels, "ram_bytes": 10, "flash_bytes": 10}
    return SimpleNamespace(rows=[row])


@pytest.mark.filterwarnings("ignore")
def test_the_same_trials_are_made_whoever_makes_them(tmp_path, monkeypatch):
    optuna = pytest.importorskip("optuna", reason="requirements-pipelines.txt is optional")
    monkeypatch.setattr(search, "run_pipeline", trained)
    config = tmp_path / "a.yaml"
    for label in ("robin", "wren"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.wav").touch()
    config.write_text("run: {steps: [train, quantize, evaluate, benchmark]}\ndata: {folder: .}\n")
    space = {"features.n_mels": [32, 40, 48], "train.learning_rate": {"low": 0.001, "high": 0.01}}
    found, said, seen = [], [], []
    for name, engine in (("here", None), ("there", Backwards())):
        with using(engine):
            storage = f"sqlite:///{tmp_path / name}.db"
            found.append(
                search.tune(config, [], space, study="s", storage=storage, trials=15, folder=tmp_path / name,
                            budget=Budget(), say=said.append, progress=lambda *at: seen.append(at))
            )  # fmt: skip
    assert found[0] == found[1] and 5 < len(found[0]) < 15
    states = [t.state.name for t in optuna.load_study(study_name="s", storage=storage).trials]
    assert states.count("PRUNED") == 15 - len(found[1]) == sum("48 bands" in text for text in said) / 2
    assert seen == 2 * [(done, 15) for done in range(16)]
    monkeypatch.setattr(search, "run_pipeline", lambda settings: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        search.tune(config, [], space, study="s", storage=storage, trials=3, folder=tmp_path / "x", budget=Budget())
    states = [t.state.name for t in optuna.load_study(study_name="s", storage=storage).trials]
    assert states[15:] == ["FAIL"] * 3  # none is left as running
