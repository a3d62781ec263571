# SPDX-License-Identifier: MIT
"""Embeddings and verdicts for perch-hoplite. Its own database is tried where it is installed (it brings very much)."""

import sys
import types
import typing

import numpy as np
import pytest

from cheep.cli import main
from cheep.device import load_bundle
from cheep.season import Season
from cheep.season.run import scan_folders
from cheep.season.verdicts import Verdict, VerdictLog
from recorder_files import put, wav
from tone_model import FEATURES, tones, write_tone_run


class Database:
    """As much of the package's database as is called, with its signatures."""

    made: typing.ClassVar[list] = []

    def __init__(self):
        self.deployments, self.recordings, self.windows, self.annotations, self.committed = [], [], [], [], False
        Database.made.append(self)

    @classmethod
    def create(cls, db_path, usearch_cfg=None, readonly=False):
        return cls()

    def insert_deployment(self, name, project, latitude=None, longitude=None):
        self.deployments.append(name)
        return len(self.deployments)

    def insert_recording(self, filename, datetime=None, deployment_id=None):
        self.recordings.append((filename, datetime, deployment_id))
        return len(self.recordings)

    def insert_windows_batch(self, windows_batch, embeddings_batch=None, handle_duplicates="error"):
        assert len(windows_batch) == len(embeddings_batch)
        self.windows += list(zip(windows_batch, embeddings_batch, strict=True))

    def insert_annotation(self, recording_id, offsets, label, label_type, provenance, handle_duplicates="error"):
        self.annotations.append((recording_id, offsets, label, label_type, provenance))

    def commit(self):
        self.committed = True


@pytest.fixture
def season(tmp_path):
    card = tmp_path / "card"
    for seed, site in enumerate(("creek", "ridge")):
        spans = [(4, 6, "low"), (12, 13, "high")]
        put(card / site / "20260501_050000.WAV", wav(tones(spans, 20, seed), FEATURES.sample_rate_hz))
    season = Season.create(tmp_path / "season")
    scan_folders(season, [card], load_bundle(write_tone_run(tmp_path / "run")), jobs=1)
    return season


def test_detections_and_verdicts_become_a_database(season, tmp_path, monkeypatch, capsys):
    kinds = types.SimpleNamespace(POSITIVE=1, NEGATIVE=0, UNCERTAIN=2)
    database = types.ModuleType("perch_hoplite.db")
    database.datatypes = types.SimpleNamespace(LabelType=kinds)
    database.sqlite_usearch_impl = types.SimpleNamespace(
        SQLiteUSearchDB=Database, get_default_usearch_config=lambda embedding_dim: embedding_dim
    )
    monkeypatch.setitem(sys.modules, "perch_hoplite", types.ModuleType("perch_hoplite"))
    monkeypatch.setitem(sys.modules, "perch_hoplite.db", database)
    monkeypatch.setattr(
        "cheep.season.hoplite.embeddings_of",
        lambda season, model, places, progress: (np.arange(3.0 * len(places), dtype=np.float32).reshape(-1, 3), []),
    )
    name = season.recordings().to_pylist()[0]["recording"]
    VerdictLog(season.folder, "anna").add(Verdict(name, "low", 3.0, 6.0, "right"))
    assert main("season", ["export", str(season.folder), "hoplite", "-o", str(tmp_path / "db")]) == 0
    made = Database.made[-1]
    assert made.committed and sorted(made.deployments) == ["creek", "ridge"] and len(made.recordings) == 2
    assert f"{len(made.windows)} embedding(s)" in capsys.readouterr().out and len(made.windows) >= 4
    window, vector = made.windows[0]
    assert window["offsets"][1] - window["offsets"][0] == pytest.approx(FEATURES.window_s) and np.isfinite(vector).all()
    assert [item[1:] for item in made.annotations] == [([3.0, 6.0], "low", 1, "anna")]


def test_without_the_package_it_is_named(season, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "perch_hoplite", None)
    assert main("season", ["export", str(season.folder), "hoplite", "-o", str(tmp_path / "db")]) == 2
    assert "pip install perch-hoplite" in capsys.readouterr().err
