# SPDX-License-Identifier: MIT
"""The season folder: parts written and read, models, and what docs/season.md says of the tables."""

import re
from pathlib import Path

import numpy as np
import pytest

from cheep.device.bundle import load_bundle
from cheep.errors import CheepError
from cheep.season import Season, SeasonError
from cheep.season.schema import DEPLOYMENTS, DETECTIONS, RECORDINGS, STATUSES, Detection, Recording
from cheep.season.store import Part, read_part, write_part
from tone_model import write_tone_run

DOC = Path(__file__).parents[2] / "docs" / "season.md"


@pytest.fixture
def bundle(tmp_path):
    return load_bundle(write_tone_run(tmp_path / "run"))


def test_a_part_reads_back(tmp_path, bundle):
    season = Season.create(tmp_path / "season")
    model = season.add_model(bundle)
    scores = np.random.default_rng(1).integers(-128, 128, (5, 3)).astype(np.int8)
    row = Recording("0123456789abcdef", "/cards", "A/x.wav", site="Wald/Süd 1", start_local=86_400_000 * 365)
    part = Part(row, (Detection("low", 0.5, 1.5, 0.75, 1, 3, 100),), model.settings, 5)
    path = season.part_path(model.model, row)
    assert path.parent.name == "date=1971-01-01" and "/site=Wald%2FS" in str(path)
    write_part(path, model, scores, part)
    assert read_part(path) == part
    assert np.array_equal(season.scores(model, row), scores)
    assert list(season.parts()) == [path]
    first = path.read_bytes()
    write_part(path, model, scores, part)
    assert path.read_bytes() == first


def test_pandas_reads_sites_and_dates_from_the_path(tmp_path, bundle):
    import pyarrow.parquet as pq

    season = Season.create(tmp_path / "season")
    model = season.add_model(bundle)
    for i, site in enumerate(("Wald/Süd 1", "unknown")):
        row = Recording(f"{i:016x}", "/cards", f"{i}.wav", site=site)
        write_part(season.part_path(model.model, row), model, np.full((2, 3), i, np.int8), Part(row, (), "", 2))
    table = pq.read_table(tmp_path / "season" / "scores")
    assert set(table["site"].to_pylist()) == {"Wald/Süd 1", "unknown"}
    assert table.column_names == [
        *("recording", "window", "score_background", "score_high", "score_low", "model", "site", "date"),
    ]


def test_a_very_long_site_is_cut_in_the_path_and_stays_distinct(tmp_path, bundle):
    season = Season.create(tmp_path / "season")
    model = season.add_model(bundle)
    rows = [Recording("0" * 16, "/cards", "x.wav", site="鳥" * 90 + end) for end in "ab"]
    paths = {season.part_path(model.model, row) for row in rows}
    assert len(paths) == 2 and all(len(part) <= 255 for path in paths for part in path.parts)
    for row in rows:
        write_part(season.part_path(model.model, row), model, np.zeros((2, 3), np.int8), Part(row, (), "", 2))
        assert read_part(season.part_path(model.model, row)).row.site == row.site


def test_a_damaged_part_is_named(tmp_path, bundle):
    season = Season.create(tmp_path / "season")
    model = season.add_model(bundle)
    row = Recording("0" * 16, "/cards", "x.wav")
    path = season.part_path(model.model, row)
    write_part(path, model, np.zeros((9, 3), np.int8), Part(row, (), "", 9))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SeasonError, match="damaged"):
        read_part(path)
    with pytest.raises(SeasonError, match="damaged"):
        season.scores(model, row)


def test_the_model_travels_with_the_season(tmp_path, bundle):
    season = Season.create(tmp_path / "season")
    row = season.add_model(bundle)
    assert season.model() == row == season.add_model(bundle)
    assert season.bundle(row).detector == bundle.detector
    changed = row.detector.model_copy(update={"threshold": (None, 0.7, 0.7)})
    assert season.bundle(season.set_detector(row, changed)).detector == changed
    assert season.model().settings != row.settings
    with pytest.raises(SeasonError, match="no model feed"):
        season.model("feed")


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(CheepError, match="missing; make it with cheep scan"):
        Season(tmp_path)
    (tmp_path / "x.wav").touch()
    with pytest.raises(SeasonError, match="no season"):
        Season.create(tmp_path)
    made = Season.create(tmp_path / "s").folder
    (made / "season.json").write_text('{"format": "cheep season", "version": 99}')
    with pytest.raises(SeasonError, match="version 99"):
        Season(made)


def test_the_document_names_every_column_and_status():
    text = DOC.read_text(encoding="utf-8")
    for name, schema in (("recordings", RECORDINGS), ("detections", DETECTIONS), ("deployments", DEPLOYMENTS)):
        section = text.split(f"## {name}.parquet")[1].split("\n## ")[0].split("| Status |")[0]
        told = [
            column for line in re.findall(r"^\| (`.*?) \|", section, re.M) for column in re.findall("`(.*?)`", line)
        ]
        assert told == schema.names
    told = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`[a-z`, ]+?) \| ", text.split("| Status |")[1], re.M)))
    assert set(STATUSES) <= set(told)
