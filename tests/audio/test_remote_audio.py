# SPDX-License-Identifier: MIT
"""Recordings in object storage, from a local S3 server: listed, read, scanned as those of a folder."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from cheep.audio import audio_files, iter_audio, list_audio, read_audio, remote, write_wav
from cheep.audio.remote import copy_path, local_file, place_of, status_of, url_of
from cheep.cli import main
from cheep.errors import CheepError
from tone_model import tones, write_tone_run


def test_a_url_keeps_its_meaning_as_a_path(tmp_path):
    assert url_of("s3://bucket/a b/c.wav") == url_of(Path("s3://bucket/a b/c.wav")) == "s3://bucket/a b/c.wav"
    assert url_of(Path("s3://bucket", "a", "b.wav")) == "s3://bucket/a/b.wav"
    for local in (tmp_path, Path("a/b.wav"), "c:/sounds/a.wav", "/a:/b", "s3:", "12:30/a.wav"):
        assert url_of(local) is None
    assert copy_path(tmp_path) == tmp_path and place_of(Path("s3://b/c")) == Path("s3://b/c")


def test_copies_of_killed_processes_go_and_those_of_others_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(remote.tempfile, "gettempdir", lambda: str(tmp_path))
    for name in (f"cheep-copies-{2**22 + 5}", f"cheep-copies-{os.getppid()}", "cheep-copies-x"):
        (tmp_path / name).mkdir()
    remote._folder.cache_clear()
    assert remote._folder() == tmp_path / f"cheep-copies-{os.getpid()}"
    remote._folder.cache_clear()
    assert sorted(tmp_path.iterdir()) == [
        tmp_path / f"cheep-copies-{pid}" for pid in sorted((os.getpid(), os.getppid()))
    ]


def test_an_unknown_storage_and_a_missing_package_are_named(monkeypatch):
    pytest.importorskip("fsspec", reason="requirements-s3.txt is optional")
    with pytest.raises(CheepError, match="nowhere:// is no storage that fsspec knows"):
        list_audio("nowhere://a/b")
    import fsspec

    def missing(url):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(CheepError, match=r"s3://a/b: needs a package .*pip install fsspec s3fs"):
        list_audio("s3://a/b")


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """A folder of recordings, and the same in a bucket: (folder, URL)."""
    pytest.importorskip("s3fs", reason="requirements-s3.txt is optional")
    pytest.importorskip("flask_cors", reason="requirements-dev.txt: the local S3 server")
    from moto.server import ThreadedMotoServer

    folder = tmp_path_factory.mktemp("cards")
    rng = np.random.default_rng(5)
    for name in ("A/SM1_20240601_050000.wav", "A/SM1_20240601_060000.wav", "B/SM2_20240601_050000.wav", "B/empty.wav"):
        (folder / name).parent.mkdir(exist_ok=True)
        write_wav(folder / name, rng.integers(-3000, 3000, 16000).astype(np.int16), 8000)
    write_wav(folder / "A/SM1_20240601_070000.wav", tones([(1.0, 1.8, "high")], 4, 1), 8000)
    (folder / "B/empty.wav").write_bytes(b"")
    (folder / "B/bad.wav").write_bytes(b"RIFF" + bytes(60))
    (folder / "B/notes.txt").write_text("rain")
    server = ThreadedMotoServer(port=0)
    server.start()
    old = dict(os.environ)
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y",
        "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    import fsspec

    storage = fsspec.filesystem("s3")
    storage.mkdir("season")
    for path in folder.rglob("*.*"):
        storage.pipe_file(f"season/cards/{path.relative_to(folder).as_posix()}", path.read_bytes())
    yield folder, "s3://season/cards"
    server.stop()
    os.environ.clear()
    os.environ.update(old)


def test_a_bucket_is_listed_and_read_as_a_folder(bucket):
    folder, url = bucket
    here, there = list_audio(folder), list_audio(url)
    names = [path.relative_to(folder).as_posix() for path in here.audio]
    assert [url_of(path) for path in there.audio] == [f"{url}/{name}" for name in names]
    assert here.others == there.others and audio_files(Path(url, names[0])) == [Path(url, names[0])]
    assert np.array_equal(read_audio(there.audio[0], 4000), read_audio(here.audio[0], 4000))
    assert status_of(there.audio[0]).st_size == here.audio[0].stat().st_size
    copies = [local_file(path) for path in there.audio]
    assert [path.name for path in copies] == [path.name for path in here.audio]
    assert sum(path.is_file() for path in copies) == 3  # the last ones: the disk stays bounded
    with pytest.raises(CheepError, match=r"s3://season/cards/none\.wav: cannot be read"):
        list(iter_audio("s3://season/cards/none.wav"))
    with pytest.raises(CheepError, match="no such file or folder"):
        audio_files("s3://season/nothing")


def test_a_scan_of_a_bucket_is_that_of_the_folder(bucket, tmp_path, capsys):
    from cheep.season import Season

    folder, url = bucket
    model = write_tone_run(tmp_path / "run")
    for name, where in (("here", str(folder)), ("there", url)):
        command = [where, "--season", str(tmp_path / name), "--model", str(model), "--jobs", "1"]
        assert main("scan", command) == 0
    rows = [Season(tmp_path / name).recordings().to_pylist() for name in ("here", "there")]
    differ = ("folder", "mtime_ns", "recording")
    plain = [[{k: v for k, v in row.items() if k not in differ} for row in table] for table in rows]
    assert plain[0] == plain[1] and {row["status"] for row in rows[1]} == {"ok", "empty", "unreadable"}
    assert {row["folder"] for row in rows[1]} == {url}
    first = {path.name: path.read_bytes() for path in (tmp_path / "there").rglob("*.parquet")}
    capsys.readouterr()
    assert main("scan", command) == 0
    assert "0 recording(s) to scan, 6 are in the season already" in capsys.readouterr().out
    for kind in ("csv", "clips"):
        assert main("season", ["export", str(tmp_path / "there"), kind, "-o", str(tmp_path / kind)]) == 0
    assert f"{url}/A/SM1_20240601_070000.wav" in (tmp_path / "csv").read_text()
    assert len(list((tmp_path / "clips").rglob("*.wav"))) >= 1
    shutil.rmtree(tmp_path / "there" / "scores")
    assert main("scan", command) == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "there").rglob("*.parquet")} == first
