# SPDX-License-Identifier: MIT
"""A scan end to end: what it finds, takes up again, and names."""

import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from cheep.cli import main
from cheep.commands.scan import _problem_lines
from cheep.device import Engine
from cheep.device.bundle import load_bundle
from cheep.errors import CheepError
from cheep.season import Season, scan
from cheep.season.run import problems, scan_folders
from cheep.season.store import read_part
from cheep.season.summary import summarize
from recorder_files import moth, put, wav
from tone_model import DETECTOR, FEATURES, tones, write_tone_run

RATE = FEATURES.sample_rate_hz
TABLES = ("recordings", "detections", "deployments")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tone_run(tmp_path_factory.mktemp("model") / "run")


def pcm(seconds=6, high=(1.0,), low=(3.0,), seed=1):
    spans = [(at, at + 0.6, name) for name, starts in (("high", high), ("low", low)) for at in starts]
    return tones([span for span in spans if span[0] < seconds], seconds, seed)


@pytest.fixture
def cards(tmp_path):
    """Two sites with recordings of an AudioMoth, one by name only."""
    for day in (1, 2):
        put(tmp_path / f"cards/A/{day:02d}.WAV", moth(pcm(seed=day), day=day))
    put(tmp_path / "cards/B/SMA01_20240601_050000.wav", wav(pcm(high=(2.0, 4.0), low=())))
    put(tmp_path / "cards/B/notes.txt", "rain")
    return tmp_path / "cards"


def do_scan(season, folders, model, **more):
    return scan_folders(Season.create(season), [Path(item) for item in folders], load_bundle(model), jobs=1, **more)


def tables(season):
    files = [season / f"{name}.parquet" for name in TABLES] + sorted((season / "scores").rglob("*.parquet"))
    return {str(path.relative_to(season)): path.read_bytes() for path in files}


def test_scan_makes_the_tables_once(cards, model, tmp_path, capsys):
    season = tmp_path / "season"
    assert main("scan", [str(cards), "--season", str(season), "--model", str(model)]) == 0
    said = capsys.readouterr()
    assert "3 ok; 6 detection(s)" in said.out and "1 .txt" in said.err and "taken for UTC" in said.err
    first = tables(season)
    rows = Season(season).recordings().to_pylist()
    assert [(row["site"], row["device"], row["time_source"]) for row in rows] == [
        ("A", "24F3190261F38D1F", "audiomoth"),
        ("A", "24F3190261F38D1F", "audiomoth"),
        ("B", "SMA01", "name"),
    ]
    assert [(r["temperature_c"], r["gain"], r["length_s"], r["status"]) for r in rows[:1]] == [(9.5, "medium", 6, "ok")]
    assert rows[0]["start_utc"].isoformat() == "2024-06-01T05:00:00+00:00"
    assert main("scan", [str(cards), "--season", str(season), "--model", str(model)]) == 0
    assert "0 recording(s) to scan, 3 are in the season already" in capsys.readouterr().out
    assert tables(season) == first


def test_detections_are_those_of_the_device_path(cards, model, tmp_path):
    do_scan(tmp_path / "season", [cards], model)
    season = Season(tmp_path / "season")
    row = next(row for row in season.recordings().to_pylist() if row["site"] == "B")
    found = [item for item in season.detections().to_pylist() if item["recording"] == row["recording"]]
    engine = Engine(model)
    events = engine.run(pcm(high=(2.0, 4.0), low=()))
    assert len(events) == 2
    keys = ("label", "start_s", "end_s", "first_window", "last_window")
    assert [[item[key] for key in keys] for item in found] == [[getattr(e, key) for key in keys] for e in events]
    assert found[0]["start_utc"].timestamp() == row["start_utc"].timestamp() + found[0]["start_s"]
    assert season.scores(season.model(), row).shape == (engine.windows, 3)


def test_any_number_of_workers_and_any_order_give_the_same_bytes(cards, model, tmp_path):
    for i in range(8):
        put(cards / f"C/{i}.wav", wav(pcm(3, seed=i)))
    do_scan(tmp_path / "one", [cards], model)
    do_scan(tmp_path / "two", [cards / "C"], model)
    scan_folders(Season.create(tmp_path / "two"), [cards], load_bundle(model), jobs=2)
    one, two = tables(tmp_path / "one"), tables(tmp_path / "two")
    again = {
        name
        for name, row in ((r["recording"], r) for r in Season(tmp_path / "two").recordings().to_pylist())
        if row["status"] == "duplicate"
    }
    assert len(again) == 8  # C was scanned as a folder of its own, and again below another: known by its content
    shutil.rmtree(tmp_path / "two")
    scan_folders(Season.create(tmp_path / "two"), [cards], load_bundle(model), jobs=2)
    assert tables(tmp_path / "two") == one
    assert two != one


def test_an_interrupted_scan_goes_on(cards, model, tmp_path, capsys):
    do_scan(tmp_path / "whole", [cards], model)

    def stop(done, total, item):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        do_scan(tmp_path / "season", [cards], model, on_done=stop)
    assert not (tmp_path / "season" / "recordings.parquet").exists()
    shutil.copytree(tmp_path / "season", tmp_path / "early")
    assert main("season", ["export", str(tmp_path / "early"), "csv", "-o", str(tmp_path / "x.csv")]) == 0
    assert "4 detection(s)" in capsys.readouterr().out  # of what there is
    (next((tmp_path / "season/scores").rglob("date=*")) / ".left.0123.part").write_bytes(b"half")
    result = do_scan(tmp_path / "season", [cards], model)
    assert (len(result.scanned), result.known) == (1, 2)
    assert tables(tmp_path / "season") == tables(tmp_path / "whole")
    assert not list((tmp_path / "season").rglob("*.part"))


def test_a_file_that_changed_is_scanned_again_and_one_that_vanished_is_tried_again(cards, model, tmp_path):
    season = tmp_path / "season"
    path = cards / "A/01.WAV"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    (cards / "A/link.wav").symlink_to(cards / "nowhere.wav")
    do_scan(season, [cards], model)
    status = {row["path"]: row["status"] for row in Season(season).recordings().to_pylist()}
    assert status == {
        "A/01.WAV": "partial",
        "A/02.WAV": "ok",
        "A/link.wav": "vanished",
        "B/SMA01_20240601_050000.wav": "ok",
    }
    path.write_bytes(whole)
    put(cards / "nowhere.wav", wav(pcm(seed=9)))
    result = do_scan(season, [cards], model)
    assert result.known == 2
    rows = Season(season).recordings().to_pylist()
    status = sorted((row["path"], row["status"]) for row in rows)
    assert ("A/01.WAV", "ok") in status and ("A/01.WAV", "replaced") in status
    assert ("A/link.wav", "duplicate") in status or ("nowhere.wav", "duplicate") in status
    assert not any(name == "vanished" for _, name in status)
    found = {item["recording"] for item in Season(season).detections().to_pylist()}
    assert {r["status"] for r in rows if r["recording"] in found} == {"ok"}


def test_a_defect_in_one_recording_is_its_status(cards, model, tmp_path, monkeypatch):
    real = scan.hear_file

    def broken(scorer, path):
        if path.name == "02.WAV":
            raise RuntimeError("what nobody thought of")
        return real(scorer, path)

    monkeypatch.setattr(scan, "hear_file", broken)
    result = do_scan(tmp_path / "season", [cards], model)
    assert result.counts == {"ok": 2, "failed": 1}
    monkeypatch.undo()
    result = do_scan(tmp_path / "season", [cards], model)
    assert result.counts == {"ok": 1} and result.known == 2
    do_scan(tmp_path / "whole", [cards], model)
    assert tables(tmp_path / "season") == tables(tmp_path / "whole")


def test_a_card_that_is_pulled_out_midway_is_scanned_when_it_is_back(cards, model, tmp_path, monkeypatch):
    do_scan(tmp_path / "whole", [cards], model)
    real = scan.hear_file

    def pulled(scorer, path):
        heard = real(scorer, path)
        if path.name != "02.WAV":
            return heard
        os.rename(path, path.with_suffix(".gone"))
        half = len(heard.scores) // 2
        return dataclasses.replace(heard, length_s=3.0, scores=heard.scores[:half], error=CheepError("decoding fails"))

    monkeypatch.setattr(scan, "hear_file", pulled)
    assert do_scan(tmp_path / "season", [cards], model).counts == {"ok": 2, "vanished": 1}
    monkeypatch.undo()
    os.rename(cards / "A/02.gone", cards / "A/02.WAV")
    assert do_scan(tmp_path / "season", [cards], model).counts == {"ok": 1}
    assert tables(tmp_path / "season") == tables(tmp_path / "whole")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs to become another user to be locked out")
def test_a_locked_file(cards, model, tmp_path):
    (cards / "A/02.WAV").chmod(0)
    season = Season.create(tmp_path / "season")
    row = season.add_model(load_bundle(model))
    settings = scan.ScanSettings(str(season.folder), row)
    pid = os.fork()
    if not pid:  # as somebody who may not read it
        os.seteuid(65534)
        try:
            scan.fast_digest(cards / "A/02.WAV", 100)
        except PermissionError as error:
            os._exit(0 if scan._failure(error) == ("locked", "Permission denied") else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert scan.failed_recording(settings, scan.Item(str(cards), "A/02.WAV"), RuntimeError("x")).status == "failed"


def test_a_damaged_part_is_made_again(cards, model, tmp_path):
    do_scan(tmp_path / "season", [cards], model)
    season = Season(tmp_path / "season")
    before = tables(season.folder)
    path = next(season.parts())
    item = read_part(path).row
    path.write_bytes(path.read_bytes()[:100])
    settings = scan.ScanSettings(str(season.folder), season.model())
    assert scan.scan_recording(settings, scan.Item(item.folder, item.path)).made
    assert tables(season.folder) == before


def test_scores_of_both_runtimes_are_the_same(cards, model, tmp_path):
    do_scan(tmp_path / "c", [cards], model)
    do_scan(tmp_path / "t", [cards], model, runtime="tflm")
    assert tables(tmp_path / "c") == tables(tmp_path / "t")
    assert all(
        np.ptp(Season(tmp_path / "c").scores(Season(tmp_path / "c").model(), row).astype(int)) > 100
        for row in Season(tmp_path / "c").recordings().to_pylist()
    )


def test_two_models_share_the_recordings(cards, model, tmp_path, capsys):
    other = write_tone_run(
        tmp_path / "other",
        labels=("background", "low"),
        detector=DETECTOR.model_copy(update={"threshold": (None, 0.6)}),
    )
    do_scan(tmp_path / "season", [cards], model)
    do_scan(tmp_path / "season", [cards], other)
    season = Season(tmp_path / "season")
    rows = season.recordings().to_pylist()
    ids = [row.model for row in season.models()]
    assert len(rows) == 3 and all(row["models"] == ids and len(ids) == 2 for row in rows)
    do_scan(tmp_path / "alone", [cards], other)
    alone = Season(tmp_path / "alone")
    assert season.detections(alone.model().model).equals(alone.detections())
    assert main("season", ["summary", str(season.folder)]) == 2
    assert "name one (--model ID)" in capsys.readouterr().err
    assert main("season", ["summary", str(season.folder), "--model", alone.model().model[:6]]) == 0


def test_cheep_test_takes_a_folder_and_names_what_is_damaged(cards, model, tmp_path, capsys):
    put(cards / "A/00_empty.wav", b"")
    out = tmp_path / "events.csv"
    assert main("test", [str(cards), "--model", str(model), "--csv", str(out), "--jobs", "1"]) == 0
    said = capsys.readouterr()
    assert said.out.count("high") == 4 and "0 bytes" in said.err and "4 files (1 unreadable)" in said.err
    assert len(out.read_text().splitlines()) == 1 + 6
    assert main("test", [str(cards / "A/00_empty.wav"), "--model", str(model)]) == 2


def test_mistakes_are_told(cards, model, tmp_path, capsys):
    scan = ["--season", str(tmp_path / "season"), "--model", str(model)]
    (tmp_path / "bare").mkdir()
    put(tmp_path / "text/notes.txt", "rain")
    for arguments, said in (
        ([str(tmp_path / "nowhere"), *scan], "no such file or folder"),
        ([str(cards), *scan, "--timezone", "Europe/Wien"], "timezone='Europe/Wien'"),
        ([str(cards), *scan, "--jobs", "0"], "jobs=0"),
        ([str(tmp_path / "bare"), *scan], "no recordings"),
        ([str(tmp_path / "text"), *scan], "1 .txt"),
        ([str(cards), "--season", str(cards), "--model", str(model)], "holds something that is no season"),
    ):
        assert main("scan", arguments) == 2
        assert said in capsys.readouterr().err
        assert not (tmp_path / "season").exists()


def test_what_a_scan_says_is_what_the_season_holds(cards, model, tmp_path, capsys, monkeypatch):
    """Copies count once, in the words of the scan too; ``..`` in a path makes no other recordings."""
    shutil.copytree(cards / "A", cards / "C")
    monkeypatch.chdir(cards / "A")
    season = tmp_path / "season"
    assert main("scan", ["..", "--season", str(season), "--model", str(model)]) == 0
    said = capsys.readouterr()
    rows = Season(season).recordings().to_pylist()
    assert said.out.count("3 ok, 2 duplicate; 6 detection(s)") == 1 and len(Season(season).detections()) == 6
    assert "C/01.WAV: duplicate: the same content as A/01.WAV" in said.err
    assert "; and 1 more in C, each of another" in said.err and "C/02.WAV" not in said.err
    assert {row["folder"] for row in rows} == {str(cards)}
    assert main("scan", [str(cards), "--season", str(season), "--model", str(model)]) == 0
    assert "0 recording(s) to scan, 5 are in the season already" in capsys.readouterr().out


def test_hours_of_a_scan_are_those_of_the_season_and_copies_hide_no_trouble(cards, model, tmp_path):
    """Exact zeros are no hours, neither here nor in the summary; what is damaged is named before what is a copy."""
    put(cards / "B/20240601_060000.wav", wav(np.concatenate([pcm(), np.zeros(20 * RATE, np.int16)])))
    put(cards / "D/01.WAV", b"")
    shutil.copytree(cards / "A", cards / "C")
    result = do_scan(tmp_path / "season", [cards], model)
    summary = summarize(Season(tmp_path / "season"), Season(tmp_path / "season").model())
    assert result.hours == pytest.approx(summary.hours) and 3600 * summary.hours == pytest.approx(24, abs=0.5)
    (empty, one), (copies, two) = _problem_lines(problems(result.scanned))
    assert empty.startswith("D/01.WAV: empty") and "C/01.WAV: duplicate" in copies and (one, two) == (1, 2)


def test_lines_of_a_table_that_match_nothing_are_named(cards, model, tmp_path, capsys):
    table = tmp_path / "deployments.csv"
    table.write_text("site,device,folder\nridge,24F3190261F38D1F,\ncreek,,B\nfen,0000,\nB moor,,nowhere\n")
    season = tmp_path / "season"
    command = [str(cards), "--season", str(season), "--model", str(model), "--deployments", str(table)]
    assert main("scan", command) == 0
    assert f"{table}: no recording is of B moor, fen:" in capsys.readouterr().err
    assert set(Season(season).recordings()["site"].to_pylist()) == {"ridge", "creek"}
