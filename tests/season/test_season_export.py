# SPDX-License-Identifier: MIT
"""Detections of a season for other programs, as sound, in numbers; and again, with another threshold."""

import csv
import json
from datetime import datetime, timedelta

import numpy as np
import pytest
import soundfile

from cheep.audio import read_audio, read_span
from cheep.cli import main
from cheep.datasets.labels.files import parse_audacity
from cheep.datasets.tables import read_table
from cheep.season import Season
from cheep.season.summary import summarize
from recorder_files import put, wav
from tone_model import FEATURES, tones, write_tone_run

RATE = FEATURES.sample_rate_hz


@pytest.fixture(scope="module")
def season(tmp_path_factory):
    """Two sites, six days of June; ridge misses the fourth. Each recording has a high and a low tone."""
    top = tmp_path_factory.mktemp("export")
    model = write_tone_run(top / "run")
    for site, missing in (("ridge", 3), ("old oak", None)):
        for day in range(6):
            if day == missing:
                continue
            time = datetime(2026, 6, 1, 5, 59, 58) + timedelta(days=day)
            sound = tones([(1.0, 1.6, "high"), (3.0, 3.6, "low")], 6, seed=10 * len(site) + day)
            put(top / f"cards/{site}/{time:%Y%m%d_%H%M%S}.WAV", wav(sound))
    scan = [str(top / "cards"), "--season", str(top / "season"), "--model", str(model), "--timezone", "+02:00"]
    assert main("scan", [*scan, "--jobs", "1"]) == 0
    return Season(top / "season")


def export(season, kind, out, *more):
    assert main("season", ["export", str(season.folder), kind, "-o", str(out), *more]) == 0
    return out


def rows(path):
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_csv_has_date_time_and_site(season, tmp_path):
    found = rows(export(season, "csv", tmp_path / "x.csv", "--label", "high", "--site", "old oak"))
    assert len(found) == 6
    first = found[0]
    assert (first["site"], first["label"], first["date"]) == ("old oak", "high", "2026-06-01")
    start = float(first["start_s"])
    assert first["time"] == f"05:59:{58 + int(start):02d}" if start < 2 else "06:00"
    assert first["start_utc"].startswith("2026-06-01T03:59:5")
    assert len(rows(export(season, "csv", tmp_path / "y.csv", "--min-score", "1"))) == 0


def test_tables_of_other_programs(season, tmp_path):
    found = rows(export(season, "birdnet", tmp_path / "b.csv"))
    assert list(found[0]) == ["Start (s)", "End (s)", "Scientific name", "Common name", "Confidence", "File"]
    found = rows(export(season, "kaleidoscope", tmp_path / "k.csv"))
    assert (found[0]["FOLDER"], found[0]["IN FILE"]) == ("old oak", "20260601_055958.WAV")
    assert float(found[0]["DURATION"]) > 0.9 and {row["AUTO ID"] for row in found} == {"high", "low"}
    folder = export(season, "raven", tmp_path / "raven")
    tables = sorted(folder.rglob("*.selections.txt"))
    assert len(tables) == 11
    table = read_table(tables[0])
    place = table.places()
    assert len(table.rows) == 2 and table.rows[0][1][place["label"]] == "high"
    folder = export(season, "audacity", tmp_path / "audacity")
    path = next(folder.rglob("*.txt"))
    boxes = parse_audacity(path, path.read_text(encoding="utf-8"))
    assert [box.label.split()[0] for box in boxes] == ["high", "low"]
    export(season, "raven", tmp_path / "raven")  # again: over it
    assert len(list(folder.rglob("*.txt"))) == 11


def test_clips_are_the_sound_around_the_detections(season, tmp_path, capsys):
    folder = export(season, "clips", tmp_path / "clips", "--context", "0.5", "--most", "3")
    found = rows(folder / "clips.csv")
    assert sorted(row["label"] for row in found) == ["high"] * 3 + ["low"] * 3
    row = found[0]
    pcm, rate = soundfile.read(folder / row["clip"], dtype="int16")
    whole = read_audio(row["file"], RATE)
    first = round(float(row["clip_start_s"]) * RATE)
    assert rate == RATE and np.array_equal(pcm, whole[first : first + len(pcm)])
    assert len(pcm) == round((float(row["end_s"]) + 0.5) * RATE) - first
    assert main("season", ["export", str(season.folder), "clips", "-o", str(folder)]) == 2
    assert "holds 7 file(s) already" in capsys.readouterr().err  # older clips would pass for new ones


def test_a_recording_that_is_gone_costs_its_clips_only(season, tmp_path, capsys):
    import shutil

    copy = tmp_path / "season"
    shutil.copytree(season.folder, copy)
    gone = rows(export(season, "csv", tmp_path / "x.csv"))[0]["file"]
    import os

    os.rename(gone, gone + ".away")
    try:
        folder = export(Season(copy), "clips", tmp_path / "clips")
    finally:
        os.rename(gone + ".away", gone)
    assert len(rows(folder / "clips.csv")) == 20
    said = capsys.readouterr()
    assert "1 recording(s) could not be read" in said.out and "no such file" in said.err


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3"])
def test_a_span_is_what_a_whole_reading_has_there(kind, tmp_path):
    path = tmp_path / f"x.{kind}"
    soundfile.write(path, tones([(1, 2, "high")], 4), RATE)
    whole = read_audio(path, RATE)
    for begin, end in ((0, 1), (1.25, 2.5), (3.5, 9), (8, 9)):
        pcm, rate = read_span(path, begin, end)
        assert rate == RATE and np.array_equal(pcm, whole[round(begin * RATE) : round(end * RATE)])


def test_summary_counts_by_site_hour_and_month_and_finds_the_gap(season, tmp_path, capsys):
    assert main("season", ["summary", str(season.folder), "-o", str(tmp_path / "s")]) == 0
    said = capsys.readouterr().out
    assert "gap: ridge, 2026-06-04: 0.00 h" in said and "11 ok" in said
    found = summarize(season, season.model())
    assert {line.name: line.recordings for line in found.by_site} == {"old oak": 6, "ridge": 5}
    hours = {line.name: line for line in found.by_hour}  # from 05:59:58 on: two seconds before six, four after
    assert hours["05"].hours * 3600 == pytest.approx(22) and hours["06"].hours * 3600 == pytest.approx(44)
    assert hours["05"].recordings == 11 and hours["06"].detections["low"] == 11
    table = season.detections().to_pylist()
    assert sum(line.detections["high"] for line in found.by_hour) == sum(row["label"] == "high" for row in table) == 11
    assert json.loads((tmp_path / "s/summary.json").read_text())["hours"] == pytest.approx(66 / 3600)
    for name in ("coverage", "by_hour", "by_site"):
        assert (tmp_path / f"s/{name}.png").read_bytes()[:4] == b"\x89PNG"


def test_another_threshold_needs_no_recordings(season, tmp_path, capsys):
    import shutil

    copy = tmp_path / "season"
    shutil.copytree(season.folder, copy)
    before = (copy / "detections.parquet").read_bytes()
    assert main("season", ["detect", str(copy), "--threshold", "high=0.99", "--threshold", "low=never"]) == 0
    found = Season(copy).detections().to_pylist()
    said = capsys.readouterr().out
    assert not found and "0 detection(s), 22 before" in said and "low never" in said and "high 0.990" in said
    assert main("season", ["detect", str(copy), "--threshold", "high=0.6", "--threshold", "low=0.6"]) == 0
    assert (copy / "detections.parquet").read_bytes() == before
    assert main("season", ["detect", str(copy), "--threshold", "hgh=0.6"]) == 2
    assert "did you mean 'high'" in capsys.readouterr().err
    for wrong in ("1.5", "-0.1", "nan", "high", "high=x"):
        assert main("season", ["detect", str(copy), "--threshold", wrong]) == 2
        assert f"--threshold {wrong}: must be a number 0..1" in capsys.readouterr().err


def test_a_model_calibrated_again_changes_the_season_when_asked(season, tmp_path, capsys):
    import shutil

    copy, run = tmp_path / "season", tmp_path / "run"
    shutil.copytree(season.folder, copy)
    shutil.copytree(season.folder.parent / "run", run)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["detector"]["threshold"] = [None, None, 0.6]
    (run / "manifest.json").write_text(json.dumps(manifest))
    cards = str(season.folder.parent / "cards")
    assert main("scan", [cards, "--season", str(copy), "--model", str(run)]) == 0
    assert "cheep season detect" in capsys.readouterr().err
    assert len(Season(copy).detections()) == 22
    assert main("season", ["detect", str(copy), "--like", str(run)]) == 0
    assert {row["label"] for row in Season(copy).detections().to_pylist()} == {"low"}
    assert main("scan", [cards, "--season", str(copy), "--model", str(run)]) == 0
    assert "cheep season detect" not in capsys.readouterr().err


def test_a_picture_of_many_sites_and_labels_is_a_matrix():
    import io

    from cheep.season.pictures import site_figure
    from cheep.season.summary import Line

    labels = tuple(f"species {i}" for i in range(14))
    lines = [Line(f"site {i}", 10.0, 3, dict.fromkeys(labels, i)) for i in range(60)]
    from matplotlib.image import imread

    height, width, _ = imread(io.BytesIO(site_figure(lines, labels))).shape
    assert width < 1600 and height < 2000


@pytest.mark.parametrize(
    "options",
    [
        ["csv", "--min-score", "1.5"],
        ["raven", "--min-score", "-1"],
        ["csv", "--min-score", "nan"],
        ["clips", "--most", "-3"],
        ["clips", "--context", "-1"],
        ["csv", "--label", "hgh"],
        ["csv", "--site", "nowhere"],
    ],
)
def test_a_wish_that_no_detection_can_meet_is_an_error(season, tmp_path, capsys, options):
    kind, option, value = options
    assert main("season", ["export", str(season.folder), kind, "-o", str(tmp_path / "out"), option, value]) == 2
    said = capsys.readouterr().err
    assert value in said and option in said and not (tmp_path / "out").exists()
