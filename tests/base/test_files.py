# SPDX-License-Identifier: MIT
"""Files are whole or absent, also where two processes write the same one; locks name who holds them."""

import errno
import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cheep import runs
from cheep.errors import CheepError, disk_error_text
from cheep.files import DiskError, atomic_folder, atomic_path, atomic_write, read_json, write_bytes, write_json
from cheep.locks import lock

SOURCE = str(Path(__file__).resolve().parents[2] / "src")
SPAWN = multiprocessing.get_context("spawn")


def write_half_then_wait(path, letter, started, go_on):
    with atomic_write(path) as stream:
        stream.write(letter * 1000)
        stream.flush()
        started.set()
        assert go_on.wait(60)
        stream.write(letter * 1000)


def test_two_processes_that_write_one_file_at_once_do_not_mix(tmp_path):
    path = tmp_path / "lists" / "metadata.csv"
    started, go_on = [SPAWN.Event() for _ in "ab"], SPAWN.Event()
    processes = [
        SPAWN.Process(target=write_half_then_wait, args=(path, letter, begun, go_on))
        for letter, begun in zip((b"a", b"b"), started, strict=True)
    ]
    for process in processes:
        process.start()
    assert all(event.wait(60) for event in started)  # both are in the middle of it
    assert len(list(path.parent.iterdir())) == 2 and not path.exists()
    go_on.set()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert path.read_bytes() in (b"a" * 2000, b"b" * 2000)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")
    with pytest.raises(type(error)), atomic_path(path) as part:
        part.write_bytes(b"new")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_read_is_not_reported_as_one_that_cannot_be_written(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a.bin"):
        (tmp_path / "other").read_bytes()
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match=r"a\.bin: cannot write: .*a file is where a folder must be: name another"):
        write_bytes(tmp_path / "file" / "a.bin", b"")


def test_a_full_disk_and_a_forbidden_place_have_their_own_remedies():
    for number, fix in ((errno.ENOSPC, "free space"), (errno.EACCES, "permissions"), (errno.EIO, "check the path")):
        assert disk_error_text(OSError(number, "said")).startswith("said; ")
        assert fix in disk_error_text(OSError(number, "said"))
    assert disk_error_text(OSError("odd")) == "odd; free space or check the path"


def test_long_names_modes_and_json(tmp_path):
    path = tmp_path / ("ä" * 120 + ".json")
    write_json(path, {"b": 1, "a": [1.5]})
    assert read_json(path, "cheep x") == {"a": [1.5], "b": 1}
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, float("nan"))
    assert read_json(path, "cheep x") == {"a": [1.5], "b": 1}


def test_a_folder_is_whole_or_absent_and_the_first_one_stays(tmp_path):
    target = tmp_path / "step-1"
    with pytest.raises(ValueError), atomic_folder(target) as part:
        (part / "a").write_text("half")
        raise ValueError
    assert not list(tmp_path.iterdir())
    target.mkdir()  # an empty one is replaced
    with atomic_folder(target) as first:
        (first / "a").write_text("first")
        with atomic_folder(target) as second:
            (second / "a").write_text("second")
    assert (target / "a").read_text() == "second"
    assert list(tmp_path.iterdir()) == [target]


HOLDER = """
import sys
from cheep.runs import working_in
from pathlib import Path
with working_in(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that works in a run until its input ends."""
    run = tmp_path / "run"
    run.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(run)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": SOURCE},
    )
    assert process.stdout.readline() == "held\n"
    yield run, process
    process.kill()
    process.wait(60)
    process.stdin.close()
    process.stdout.close()


def test_a_second_training_in_a_run_names_the_first(holder):
    run, process = holder
    with pytest.raises(CheepError) as caught, runs.working_in(run):
        pass
    message = str(caught.value)
    holds = f"process {process.pid} on {socket.gethostname()} (-c {run})"
    assert message.startswith(f"{run}: is being worked on by {holds} since 20")
    assert "or work in another run (--run NAME)" in message
    process.stdin.close()
    process.wait(60)
    assert not (run / runs.LOCK).exists()
    with runs.working_in(run):
        assert json.loads((run / runs.LOCK).read_text())["pid"] == os.getpid()


def test_the_lock_of_a_process_that_was_killed_is_taken_over(holder, caplog):
    run, process = holder
    process.kill()
    process.wait(60)
    (run / ".model.h5.0123456789ab.part").write_text("what it was writing")
    (run / ".step.part").mkdir()
    assert (run / runs.LOCK).exists()
    with caplog.at_level("INFO"), runs.working_in(run), runs.working_in(run):
        pass
    assert f"taken over from process {process.pid} " in caplog.text
    assert not list(run.iterdir())


def test_an_unreadable_lock_still_locks(tmp_path):
    path = tmp_path / "lock"
    with lock(path, "x", "y"):
        path.write_text("not json")
        code = f"from cheep.locks import lock\nwith lock({str(path)!r}, 'x', 'do y'): pass"
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": SOURCE},
        )
    assert "x: is being worked on by another process; wait for it, or do y" in done.stderr


def test_runs_without_a_latest_one_are_named(tmp_path, monkeypatch):
    """A copy on a stick has no link, and the latest run may have been removed."""
    monkeypatch.setenv("CHEEP_RUNS", str(tmp_path / "runs"))
    with pytest.raises(CheepError, match="no run yet"):
        runs.find_run()
    for name in ("one", "two"):
        with runs.start_run(name) as run:
            (run / "dataset.csv").write_text("x")
    shutil.rmtree(tmp_path / "runs" / "two")
    with pytest.raises(CheepError, match=r"--run one\?"):
        runs.find_run()


def test_a_run_in_which_nothing_was_written_leaves_nothing_and_is_not_the_latest(tmp_path, monkeypatch):
    monkeypatch.setenv("CHEEP_RUNS", str(tmp_path / "runs"))
    with runs.start_run("old") as run:
        (run / "dataset.csv").write_text("x")
    assert runs.find_run().name == "old"
    with pytest.raises(DiskError), runs.start_run():
        raise DiskError("full")
    with runs.start_run("empty"):
        pass
    assert runs.find_run().name == "old"
    assert sorted(item.name for item in (tmp_path / "runs").iterdir()) == ["latest", "old"]
    with runs.start_run() as run:
        (run / "dataset.csv").write_text("x")
    assert runs.find_run().name == run.name == "run-001"


def test_a_run_is_named_or_a_folder_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with runs.start_run("birds") as run:
        (run / "a").write_text("")
    (tmp_path / "birds").mkdir()  # a folder of that name here does not hide the run
    (tmp_path / "other").mkdir()
    for name in ("birds", "runs/birds", tmp_path / "runs" / "birds"):
        assert runs.find_run(name).resolve() == run.resolve()
        with runs.start_run(name) as again:
            assert again.resolve() == run.resolve()
    assert runs.find_run("other").resolve() == tmp_path / "other"  # no such run: a folder
    with runs.start_run("./other") as outside:
        (outside / "a").write_text("")
    assert runs.find_run().resolve() == tmp_path / "other"
    with pytest.raises(CheepError, match="nowhere: no such run"):
        runs.find_run("nowhere")


def test_a_lock_names_the_command_as_it_is_typed(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/cheep/__main__.py", "train", "--epochs", "5"])
    with lock(tmp_path / "one.lock", "one", "wait"):
        assert '"cheep train --epochs 5"' in (tmp_path / "one.lock").read_text()
