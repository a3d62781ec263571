# SPDX-License-Identifier: MIT
"""A scan that is killed, whose disk is full, whose workers die; and the same events from every way through Cheep."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cheep.cli import main
from cheep.device import Engine
from cheep.device.bundle import load_bundle
from cheep.errors import CheepError
from cheep.evaluate.streaming import ScoreTiming, best_scorer, detect, score_recording
from cheep.files import DiskError
from cheep.season import Season, scan
from cheep.season.run import scan_folders
from recorder_files import put, wav
from tone_model import FEATURES, tones, write_tone_run

RATE = FEATURES.sample_rate_hz
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tone_run(tmp_path_factory.mktemp("model") / "run")


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    for i in range(24):
        put(folder / f"{i:02d}.wav", wav(tones([(0.5 + 0.1 * i, 1.2 + 0.1 * i, "high")], 5, seed=i)))
    return folder


@pytest.fixture(scope="module")
def whole(card, model, tmp_path_factory):
    """The tables and files of a scan that nothing disturbed."""
    season = Season.create(tmp_path_factory.mktemp("whole") / "season")
    scan_folders(season, [card], load_bundle(model), jobs=1)
    return contents(season.folder)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_killed_scan_goes_on_where_it_was(card, model, whole, tmp_path, jobs):
    season = tmp_path / "season"
    command = [sys.executable, "-m", "cheep", "scan", str(card), "--season", str(season), "--model", str(model)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    killed = subprocess.Popen(
        [*command, "--jobs", str(jobs)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    while killed.poll() is None and len(list(season.rglob("*.parquet"))) < 3:
        pass
    with contextlib.suppress(ProcessLookupError):
        os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    before = len(list(season.rglob("*.parquet")))
    assert before >= 3
    result = scan_folders(Season(season), [card], load_bundle(model), jobs=1)
    assert len(result.scanned) + result.known == 24 and result.known >= 3
    assert contents(season) == whole


def test_a_full_disk_ends_the_scan_and_loses_nothing(card, model, whole, tmp_path, monkeypatch):
    season = Season.create(tmp_path / "season")
    real, left = scan.write_part, iter(range(7))

    def full(path, *more):
        if next(left, None) is None:
            raise DiskError(f"{path}: cannot write: No space left on device; free space or check the path")
        real(path, *more)

    monkeypatch.setattr(scan, "write_part", full)
    with pytest.raises(DiskError, match="No space left"):
        scan_folders(season, [card], load_bundle(model), jobs=1)
    monkeypatch.undo()
    result = scan_folders(season, [card], load_bundle(model), jobs=1)
    assert (result.known, len(result.scanned)) == (7, 17)
    assert contents(season.folder) == whole


def test_two_scans_at_once_are_told_of_each_other(card, model, tmp_path):
    season = Season.create(tmp_path / "season")

    def another(plan):
        code = f"from cheep.cli import main; import sys; sys.exit(main('scan', {arguments!r}))"
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        done = subprocess.run(
            [sys.executable, "-c", code], check=False, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 2 and "is being worked on by process" in done.stderr
        raise CheepError("enough")

    arguments = [str(card), "--season", str(season.folder), "--model", str(model)]
    with pytest.raises(CheepError, match="enough"):
        scan_folders(season, [card], load_bundle(model), jobs=1, on_plan=another)


def events_of(lines):
    """(label, start, end) of the ended events among a board's lines."""
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return [(e["label"], e["start_s"], e["end_s"]) for e in found if e.get("type") == "event" and e["state"] == "end"]


def test_every_way_gives_the_same_events(model, tmp_path):
    """Scan, test, the engine, what evaluate and calibrate use, the application here and in an AudioMoth's core."""
    spans = [(1.0, 1.8, "high"), (4.0, 4.7, "low"), (6.5, 8.5, "low"), (10.5, 11.3, "high"), (13.2, 14.0, "high")]
    path = put(tmp_path / "card/x.wav", wav(tones(spans, 14, seed=3)))  # the last one ends with the recording
    bundle = load_bundle(model)
    season = Season.create(tmp_path / "season")
    scan_folders(season, [path], bundle, jobs=1)
    table = season.detections().to_pylist()
    scanned = [(row["label"], round(row["start_s"], 3), round(row["end_s"], 3)) for row in table]
    assert [label for label, *_ in scanned] == ["high", "low", "low", "high", "high"]

    def plain(events):
        return sorted(((e.label, round(e.start_s, 3), round(e.end_s, 3)) for e in events), key=lambda item: item[1])

    recording = score_recording(bundle, best_scorer(bundle)[0], path)
    found = detect(recording.scores, bundle.detector, bundle.labels, ScoreTiming.of(bundle), bundle.scale)
    assert plain(found) == scanned
    assert np.array_equal(recording.scores, season.scores(season.model(), season.recordings().to_pylist()[0]))
    from cheep.audio import read_audio

    assert plain(Engine(bundle).run(read_audio(path, RATE))) == scanned
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main("test", [str(path), "--model", str(model), "--json"]) == 0
    assert sorted(events_of(
        line.replace('{"file"', '{"type": "event", "file"') for line in out.getvalue().splitlines()
    ), key=lambda item: item[1]) == scanned  # fmt: skip
    for board in ("host", "cortex-m4"):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            assert main("simulate", [str(path), "--model", str(model), "--board", board]) == 0
        assert sorted(events_of(out.getvalue().splitlines()), key=lambda item: item[1]) == scanned, board
