# SPDX-License-Identifier: MIT
"""The xeno-canto client against a real HTTP server on loopback, with faults injected."""

import argparse
import csv
import hashlib
import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

import xeno_canto_server
from cheep import cli
from cheep.commands import download_dataset
from cheep.datasets.bands import share_above
from cheep.datasets.web import Fetcher, Permanent, Politeness, Transient
from cheep.datasets.xeno_canto.download import STATE, DownloadConfig, choose
from cheep.datasets.xeno_canto.query import XenoCantoQuery, licence_matches
from cheep.datasets.xeno_canto.recording import (
    XcRecording,
    annotation_boxes,
    licence_name,
    parse_date,
    parse_length,
)
from cheep.datasets.xeno_canto.search import count
from cheep.errors import CheepError
from cheep.files import csv_text
from xeno_canto_server import FAULTS, KEY, Server, audio


def download(server, folder, *more, key=KEY, monkeypatch=None):
    os.environ["XENO_CANTO_API_KEY"] = key
    try:
        arguments = ["--server", server.url, "--interval", "0", "--timeout", "5", "--group", "birds", "-o", str(folder)]
        return cli.main("download-dataset", [*arguments, "--per-page", "50", "--sample-rate", "8000", *more])
    finally:
        del os.environ["XENO_CANTO_API_KEY"]


def tree(folder):
    """Every file that a user sees, by content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and ".xeno-canto" not in path.parts
    }


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """The data set as a faultless server gives it."""
    folder = tmp_path_factory.mktemp("clean") / "set"
    with Server() as server:
        assert download(server, folder) == 0
        assert all(times == 1 for times in server.whole.values())
        before = len(server.times)
        assert download(server, folder) == 0
        assert len(server.times) == before, "a second run asked the server again"
    return folder, tree(folder), server.port


def test_the_data_set_is_what_the_server_holds(clean, capsys):
    folder = clean[0]
    rows = xc_rows(folder)
    # one of the twelve is restricted (file: null)
    assert len(rows) == 11
    assert "XC1049,restricted species" in (folder / "problems.csv").read_text()
    for entry in rows:
        number = int(entry["recording"][2:])
        pcm, rate = soundfile.read(folder / entry["file"], dtype="int16")
        assert rate == 8000 and pcm.ndim == 1
        # MP3 pads a little
        assert abs(len(pcm) / 8000 - audio(number)[2]) < 0.11
        spectrum = np.abs(np.fft.rfft(pcm.astype(float)))
        assert abs(np.argmax(spectrum) * 8000 / len(pcm) - (1000 + 97 * (number % 20))) < 3
        assert entry["original_sha256"] == hashlib.sha256(audio(number)[0]).hexdigest()
    by_number = {entry["recording"]: entry for entry in rows}
    first = by_number["XC1000"]
    assert (first["recordist"], first["country"], first["locality"]) == (
        "Zoë O'Neill",
        "Côte d'Ivoire",
        "L'Anse, north",
    )
    assert (first["date"], first["remarks"]) == ("2004", 'said "hello" at 0:03')
    assert first["licence"] == "CC-BY-NC-SA-4.0"
    assert by_number["XC1007"]["also"] == "Sylvia atricapilla"
    assert by_number["XC1007"]["url"] == "http://xeno-canto.example/1007"
    notice = (folder / "NOTICE.txt").read_text()
    assert "NoDerivatives (ND): 5 recording(s)" in notice and "NonCommercial (NC): 11" in notice
    assert all(f"XC{n}" in notice for n in (1000, 1077)) and "Zoë O'Neill" in notice
    assert (folder / "annotations.csv").read_text().splitlines()[
        1
    ] == "turdus_merula/XC1014.flac,0.5,1.25,turdus_merula,900.0,2800.0"
    assert not list(folder.rglob("*.part"))


def xc_rows(folder):
    import csv

    with open(folder / "metadata.csv", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("seed", range(3))
def test_faults_change_nothing(clean, tmp_path, seed):
    with Server(faults=FAULTS, seed=seed, port=0) as server:
        assert download(server, tmp_path / "set", "--tries", "12") == 0
        assert len(server.kinds) >= 6
    assert tree(tmp_path / "set") == clean[1]


def test_a_server_that_restarts_is_waited_for(clean, tmp_path):
    server = Server(faults=("slow",), seed=3, most=9)

    def restart():
        time.sleep(0.15)
        server.stop()
        time.sleep(0.4)
        server.start()

    thread = threading.Thread(target=restart)
    thread.start()
    os.environ["XENO_CANTO_API_KEY"] = KEY
    common = ["--server", server.url, "--interval", "0.02", "--group", "birds", "-o", str(tmp_path / "set")]
    status = cli.main("download-dataset", [*common, "--tries", "12", "--per-page", "50", "--sample-rate", "8000"])
    thread.join()
    server.stop()
    assert status == 0
    assert tree(tmp_path / "set") == clean[1]


def run_and_kill(server, folder, after_s):
    """Run the script in a process of its own; kill -9 after ``after_s``; True if it had ended by itself."""
    script = Path(__file__).parents[2] / "src" / "download_dataset.py"
    arguments = ["--server", server.url, "--interval", "0", "--group", "birds", "-o", str(folder), "--per-page", "50"]
    arguments += ["--sample-rate", "8000"]
    child = subprocess.Popen(
        [sys.executable, str(script), *arguments],
        env={**os.environ, "XENO_CANTO_API_KEY": KEY},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _, errors = child.communicate(timeout=after_s)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGKILL)
        child.communicate()
        return False
    assert child.returncode == 0, errors.decode()
    return True


def check_kills(expected, folder, kills, seed):
    """Kill a download ``kills`` times at random moments, then let it end; nothing may be lost or half."""
    draw = random.Random(seed)
    done = 0
    with Server(faults=("slow",), seed=seed, most=99) as server:
        limit = 1.0
        while done < kills:
            if run_and_kill(server, folder, draw.uniform(0.3, limit)):
                # it ended before the kill: begin anew
                assert tree(folder) == expected
                for path in sorted(folder.rglob("*"), reverse=True):
                    path.unlink() if path.is_file() else path.rmdir()
                continue
            done += 1
            if (folder / "metadata.csv").exists():
                for entry in xc_rows(folder):
                    content = (folder / entry["file"]).read_bytes()
                    assert hashlib.sha256(content).hexdigest() == entry["sha256"]
        assert run_and_kill(server, folder, 60)
    assert tree(folder) == expected


def test_kill_9_and_resume(clean, tmp_path):
    check_kills(clean[1], tmp_path / "set", 5, seed=1)


def test_a_broken_off_file_goes_on_where_it_stopped(tmp_path):
    with Server(n=1, faults=("truncated",), seed=2, most=1) as server:
        server.random.random = lambda: 0.9
        assert download(server, tmp_path / "set") == 0
        size = len(audio(1000)[0])
        assert server.whole == {1000: 1}
        assert server.served_bytes < size // 2 + 20000  # the second half only
    # a file that was complete when the run was killed is not fetched again
    folder = tmp_path / "again"
    with Server(n=1) as server:
        (folder / ".xeno-canto" / "incoming").mkdir(parents=True)
        (folder / ".xeno-canto" / "incoming" / f"XC1000{audio(1000)[1]}").write_bytes(audio(1000)[0])
        assert download(server, folder) == 0
        assert server.whole == {}
    assert tree(folder) == tree(tmp_path / "set")


def test_one_request_per_interval_over_all_threads_and_restarts(tmp_path):
    with Server(n=4, faults=("503",), most=1) as server:
        os.environ["XENO_CANTO_API_KEY"] = KEY
        common = ["--server", server.url, "--group", "birds", "-o", str(tmp_path / "set"), "--interval", "0.1"]
        for _ in range(2):
            assert cli.main("download-dataset", [*common, "--per-page", "50", "--refresh"]) == 0
        times = np.array(server.times)
    assert len(times) > 10
    # as the server sees it, give or take what a busy machine delays
    assert np.diff(times).mean() >= 0.099
    assert (times[5:] - times[:-5]).min() > 0.3
    with pytest.raises(CheepError, match=r"--interval 0\.5: must be at least 1"):
        from cheep.commands import download_dataset

        args = parse(["--species", "Turdus merula", "--interval", "0.5"])
        download_dataset.run(args)


def parse(arguments):
    import argparse

    from cheep.commands import download_dataset

    parser = argparse.ArgumentParser()
    download_dataset.add_arguments(parser)
    return parser.parse_args(arguments)


def test_the_key_is_never_shown_or_stored(tmp_path, capsys, caplog):
    caplog.set_level(logging.DEBUG)
    with Server(faults=("503", "html200", "reset"), most=1) as server:
        assert download(server, tmp_path / "set") == 0
        assert download(server, tmp_path / "other", key="wrong-key-987654321") == 2
    out = capsys.readouterr()
    text = out.out + out.err + caplog.text
    assert "Invalid key" in out.err and "401" in out.err
    for path in tmp_path.rglob("*"):
        if path.is_file():
            text += path.read_bytes().decode("latin1")
    assert KEY not in text and "wrong-key" not in text


def test_without_a_key_the_message_says_how_to_get_one(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("XENO_CANTO_API_KEY", raising=False)
    common = ["--species", "Turdus merula", "-o", str(tmp_path / "set")]
    assert cli.main("download-dataset", common) == 2
    error = capsys.readouterr().err
    assert "register at https://xeno-canto.org" in error and "XENO_CANTO_API_KEY" in error
    (tmp_path / "key").write_text("two words here\n")
    assert cli.main("download-dataset", [*common, "--key-file", str(tmp_path / "key")]) == 2
    error = capsys.readouterr().err
    assert "does not hold an API key" in error and "two words" not in error


def test_no_row_of_a_list_is_lost_silently(tmp_path):
    assert csv_text(("file", "label"), [("a", None), ("b", "x,y")]) == 'file,label\na,\nb,"x,y"\n'
    with pytest.raises((TypeError, csv.Error)):  # never a list that just ends here
        csv_text(("file",), [("a",), 5, ("b",)])
    # a note that lacks what the lists need does not count: the recording is fetched again
    with Server(n=3) as server:
        assert download(server, tmp_path / "set") == 0
        expected = tree(tmp_path / "set")
        note = sorted((tmp_path / "set" / ".xeno-canto" / "done").iterdir())[0]
        facts = json.loads(note.read_bytes())
        del facts["band_energy"]
        note.write_text(json.dumps(facts))
        assert download(server, tmp_path / "set") == 0
        assert sorted(server.whole.values()) == [1, 1, 2]
    assert tree(tmp_path / "set") == expected


def test_addresses_that_are_none_end_at_once(tmp_path):
    """Whatever a row says: no other scheme, no file of this machine, no endless redirect."""
    fetcher = Fetcher(Politeness(0.0, 5.0, 2, first_wait_s=0.0))
    for url in ("file:///etc/passwd", "ftp://127.0.0.1/x", "http://[::1/x", "nothing"):
        with pytest.raises(Permanent, match="malformed address"):
            fetcher.open(url)
    with Server(n=1) as server:
        target = {"Location": "file:///etc/passwd"}
        handler = server.http.RequestHandlerClass
        handler.answer = lambda self: (
            self.send_response(302),
            [self.send_header(*item) for item in {**target, "Content-Length": "0"}.items()],
            self.end_headers(),
        )
        with pytest.raises(Permanent, match="malformed address"):
            fetcher.open(server.url)
        target["Location"] = "/again"
        with pytest.raises(Permanent, match="more than 6 redirects"):
            fetcher.open(server.url)
        target.clear()
        with pytest.raises(Transient, match="HTTP 302"):
            fetcher.open(server.url)


def test_what_is_lost_for_good_is_listed(tmp_path, capsys):
    with Server(n=6, faults=("404",), most=99) as server:
        server.fault = lambda path: "404" if path.startswith("/files/1014/") else "wrong" if "/1021/" in path else ""
        assert download(server, tmp_path / "set") == 1
    problems = (tmp_path / "set" / "problems.csv").read_text()
    assert "XC1014,HTTP 404" in problems
    assert 'XC1021,"lasts 7.0 s, xeno-canto says 3 s: truncated or another file (fetched 4 times)"' in problems
    assert len(xc_rows(tmp_path / "set")) >= 4
    # once the server has them again, the same command fetches only those
    with Server(n=6) as server:
        download(server, tmp_path / "set", "--refresh")
        assert set(server.whole) <= {1014, 1021}
    assert len(xc_rows(tmp_path / "set")) == 6


def test_originals_wav_and_stereo_on_request(tmp_path):
    with Server(n=3) as server:
        more = [
            "--keep-originals",
            "--format",
            "wav",
            "--channels",
            "2",
            "--sample-rate",
            "16000",
            "--label-by",
            "english",
        ]
        assert download(server, tmp_path / "set", *more) == 0
        assert (tmp_path / "set" / "originals" / f"XC1007{audio(1007)[1]}").read_bytes() == audio(1007)[0]
        info = soundfile.info(tmp_path / "set" / "song_thrush" / "XC1007.wav")
        assert (info.samplerate, info.channels) == (16000, 2)
        # another rate is made from the kept originals
        before = len(server.times)
        assert download(server, tmp_path / "set", "--keep-originals", "--label-by", "english") == 0
        assert len(server.times) == before
        assert soundfile.info(tmp_path / "set" / "song_thrush" / "XC1007.flac").samplerate == 8000


def test_queries_are_quoted_and_combined():
    query = XenoCantoQuery(
        species=("Turdus merula", "Parus major"), country="United Kingdom", quality=("A", "B"), type="song",
        length="5-120", box="50,-5,55,2", since="2020-01-01", group="birds", annotated=True, query="method:field",
    )  # fmt: skip
    assert query.searches() == [
        f'sp:"{name}" cnt:"United Kingdom" box:50,-5,55,2 type:song len:5-120 since:2020-01-01 grp:birds ann:yes '
        'q:">C" method:field'
        for name in ("Turdus merula", "Parus major")
    ]
    assert XenoCantoQuery(species=('x" key:1',)).searches() == ['sp:"x key:1"']
    for wrong, text in (
        ({"quality": ("F",)}, "quality='F'"),
        ({"length": "120-5"}, "length='120-5'"),
        ({"box": "1,2,3"}, "box='1,2,3'"),
    ):
        with pytest.raises(CheepError, match=text):
            XenoCantoQuery.parse(wrong)
    with pytest.raises(CheepError, match="nothing to search for"):
        XenoCantoQuery().searches()


def test_placeholders_are_no_species(tmp_path, capsys, monkeypatch):
    """Rows without a species (nobody knows it, a soundscape) make no class; asked for by name, they come."""
    unknown = {"id": 5, "gen": "Mystery", "sp": "mystery", "en": "Identity unknown", "grp": "birds"}
    scape = {"id": 6, "gen": "Sonus", "sp": "naturalis", "en": "Soundscape", "grp": "soundscape"}
    bird = {"id": 7, "gen": "Turdus", "sp": "merula", "en": "Common Blackbird", "grp": "birds"}
    rows = [XcRecording.from_row(row) for row in (unknown, scape, bird)]
    query = XenoCantoQuery(country="Germany")
    assert [query.refuses(row) for row in rows] == ["identity unknown", "a soundscape, no species", ""]
    assert XenoCantoQuery(group="soundscape").refuses(rows[1]) == ""
    assert XenoCantoQuery(species=("Mystery mystery",)).refuses(rows[0]) == ""
    boxes = annotation_boxes({"annotations": [{"start_time": 1, "end_time": 2, "scientific_name": "Sonus naturalis"}]})
    assert [box.label for box in boxes] == ["?"]
    real = xeno_canto_server.row

    def row(number, base, index):
        return {**real(number, base, index), **({"gen": "Mystery", "sp": "mystery"} if index == 1 else {})}

    monkeypatch.setattr(xeno_canto_server, "row", row)
    with Server(n=4) as server:
        assert download(server, tmp_path / "set") in (0, 1)
    assert "4 recordings, 3 wanted, 1 left out (identity unknown)" in capsys.readouterr().out
    assert not list((tmp_path / "set").glob("mystery*"))


def test_rows_in_all_their_shapes():
    read = XcRecording.from_row
    assert read({"id": 5, "also": "Parus major", "lic": None, "rec": None}).also == ("Parus major",)
    assert read({"nr": "XC77"}).name == "XC77"
    assert (
        read({"id": "5", "lng": "3", "file": "//xeno-canto.org/5/download"}).file_url
        == "https://xeno-canto.org/5/download"
    )
    for file in (
        {"url": "//xeno-canto.org/5/download", "name": "a.WAV"},
        [{"href": "https://xeno-canto.org/5/download"}],
    ):
        assert read({"id": 5, "file": file}).file_url == "https://xeno-canto.org/5/download"
    assert read({"id": 5, "file": {"url": "//x.org/5", "filename": "a.WAV"}}).suffix == ".wav"
    assert read({"id": 5, "file": {"size": 3}}).file_url == "" == read({"id": 5, "file": []}).file_url
    for wrong in (None, [], {"id": None}, {"id": "../../etc"}, {"id": "²"}, {"id": {}}):
        with pytest.raises(ValueError, match=r"id|row"):
            read(wrong)
    assert [parse_length(text) for text in ("1:05", "1:00:05", "0:07.5", 12, "", None, "a:b", "1:2:3:4", True)] == [
        65.0, 3605.0, 7.5, 12.0, None, None, None, None, None,
    ]  # fmt: skip
    dates = ("2004-00-00", "2004-05-00", "2004-5-7", "0000-00-00", "", None, "unknown", "2004-13-01")
    assert [parse_date(text) for text in dates] == ["2004", "2004-05", "2004-05-07", "", "", "", "", "2004"]
    assert [licence_name(url) for url in (
        "https://creativecommons.org/licenses/by-nc-sa/4.0/", "http://creativecommons.org/publicdomain/zero/1.0/",
        "mine",
    )] == ["CC-BY-NC-SA-4.0", "CC0-1.0", "mine"]  # fmt: skip
    assert licence_matches("CC-BY-NC-SA-4.0", "by-nc-sa") and not licence_matches("CC-BY-NC-SA-4.0", "BY")
    assert licence_matches("CC-BY-4.0", "CC-BY-4.0") and not licence_matches("CC-BY-3.0", "BY-4.0")
    assert count("1,234", "n") == 1234 and count(None, "n") == 0
    with pytest.raises(CheepError, match="numPages='many'"):
        count("many", "numPages")


def test_a_limit_takes_the_best_of_many_recordists():
    rows = [
        XcRecording.from_row({"id": i, "gen": "A", "sp": "b", "q": "AB"[i % 2], "rec": "ann" if i < 8 else f"p{i}"})
        for i in range(1, 12)
    ]
    chosen = choose(rows, 5)
    assert len(chosen) == 5 and len({row.recordist for row in chosen}) == 5
    assert {row.recordist for row in chosen} >= {"p8", "p9", "p10", "p11"}


def test_recordings_keep_what_a_detector_may_need():
    parser = argparse.ArgumentParser()
    download_dataset.add_arguments(parser)
    assert parser.parse_args([]).sample_rate == DownloadConfig().sample_rate_hz == 16000


def test_energy_above_half_the_rate():
    assert share_above([0, 1000, 2000, 4000], [0.2, 0.2, 0.6], 3000) == pytest.approx(0.3)
    from cheep.config import ActivityConfig
    from cheep.datasets.activity import LevelMeter

    rate = 44100
    t = np.arange(4 * rate) / rate
    on = np.sin(2 * np.pi * t) > 0.5
    sound = on * (0.1 * np.sin(2 * np.pi * 2000 * t) + 0.2 * np.sin(2 * np.pi * 6000 * t))
    noise = np.random.default_rng(1).normal(0, 0.001, len(t)) + 0.3 * np.sin(2 * np.pi * 900 * t)  # a steady hum
    meter = LevelMeter(rate, ActivityConfig())
    meter.push((32767 * (sound + noise)).astype(np.int16))
    edges, energy = meter.band_energy()
    assert share_above(edges, energy, 4000) == pytest.approx(0.8, abs=0.02)


def test_bad_answers_end_with_the_reason(tmp_path, capsys):
    with Server() as server:
        assert download(server, tmp_path / "a", "--quality", "E") == 2
        assert "no recording matches" in capsys.readouterr().err
        server.page = lambda query: (400, {"error": "client_error", "message": "Untagged search"})
        assert download(server, tmp_path / "b") == 2
        assert "client_error: Untagged search" in capsys.readouterr().err
        server.page = lambda query: (200, {"error": {"code": "x", "message": "no such area"}})
        assert download(server, tmp_path / "c") == 2
        assert "x: no such area" in capsys.readouterr().err
        server.page = lambda query: (200, {"oops": 1})
        assert download(server, tmp_path / "d", "--tries", "2") == 2
        assert "gave up after 2 tries: no list of recordings" in capsys.readouterr().err
        server.page = lambda query: (503, {})
        assert download(server, tmp_path / "e", "--tries", "2") == 2
        assert "gave up after 2 tries: HTTP 503" in capsys.readouterr().err


def test_a_full_disk_stops_with_the_reason(clean, tmp_path, capsys, monkeypatch):
    import errno

    from cheep import files

    real = files.os.fsync
    monkeypatch.setattr(
        files.os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device"))
    )
    with Server(n=3) as server:
        assert download(server, tmp_path / "set") == 2
    assert "No space left on device" in capsys.readouterr().err
    monkeypatch.setattr(files.os, "fsync", real)
    assert not [path for path in (tmp_path / "set").rglob("*.json") if json.loads(path.read_bytes()) is None]


def test_a_second_download_into_a_folder_is_told_of_the_first(tmp_path, capsys):
    folder = tmp_path / "set"
    code = "import sys; from cheep.locks import lock\nwith lock(sys.argv[1],'',''): print('held', flush=1), input()"
    source = str(Path(__file__).resolve().parents[2] / "src")
    (folder / STATE).mkdir(parents=True)
    first = subprocess.Popen(
        [sys.executable, "-c", code, str(folder / STATE / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": source},
    )  # fmt: skip
    assert first.stdout.readline() == b"held\n"
    with Server(n=1) as server:
        assert download(server, folder) == 2
    assert f"{folder}: is being worked on by process {first.pid} on " in capsys.readouterr().err
    assert not list(folder.rglob("*.flac"))
    first.communicate(b"\n")
    with Server(n=1) as server:
        assert download(server, folder) == 0
