# SPDX-License-Identifier: MIT
"""map_each on a cluster: the outcomes of local processes, whatever dies; workers that differ are refused."""

import functools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("distributed", reason="requirements-cluster.txt is optional")

from cheep.cluster import connected
from cheep.cluster import job as engine
from cheep.cluster.address import Address
from cheep.cluster.connection import Connection
from cheep.cluster.identity import difference, identity, unseen, witness
from cheep.errors import CheepError
from cheep.parallel import map_each, using
from processes import wait_for_end

pytestmark = pytest.mark.xdist_group("cluster")


@pytest.fixture(scope="module")
def cluster():
    with connected("local:2") as made:
        yield made


def describe(number):
    """What a work may depend on: its item, and the folder."""
    if number % 5 == 4:
        raise CheepError(f"number={number}: must not end in 4 or 9")
    if number == 3:
        raise Awkward("an", "odd one")
    if number == 7:
        return threading.Lock()
    inner = [outcome.value for outcome in map_each(square, [number, number + 1], jobs=2)]
    return number, os.getcwd(), inner


def square(number):
    return number * number


def pid(_):
    return os.getpid()


def die_at(bad, number):
    if number == bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


class Awkward(Exception):
    """Pickles, but does not come back."""

    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


def told(outcomes):
    return [str(outcome.error) if outcome.error else outcome.value for outcome in outcomes]


def test_outcomes_are_those_of_local_processes(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []
    with using(cluster):
        there = told(map_each(describe, range(60), progress=lambda *at: seen.append(at)))
        assert list(map_each(describe, [])) == []
    with using(None):
        here = told(map_each(describe, range(60), jobs=2))
    assert "cannot travel" in there[7]
    assert here[:3] == there[:3] and here[8:] == there[8:]
    assert "an odd one" in there[3] and there[4] == "number=4: must not end in 4 or 9"
    assert seen == [(done, 60) for done in range(1, 61)]


def test_the_work_is_done_elsewhere_and_can_be_given_up(cluster):
    with using(cluster):
        rest = map_each(pid, range(500))
        assert next(rest).value != os.getpid()
        rest.close()
        assert len({outcome.value for outcome in map_each(pid, range(200))}) <= 2


def test_what_kills_workers_is_a_problem_of_its_item_only(cluster):
    with using(cluster):
        outcomes = told(map_each(functools.partial(die_at, 2), range(8)))
    assert outcomes[:2] + outcomes[3:] == [0, 1, 3, 4, 5, 6, 7]
    assert outcomes[2].startswith("2: ended the workers that worked on it, again and again")


def test_work_that_the_cluster_forgets_is_given_again(cluster, monkeypatch, caplog):
    monkeypatch.setattr(engine, "_POLL_S", 0.3)
    monkeypatch.setattr(engine, "_FORGOTTEN_S", -1.0)
    collect, lost = engine.Job._collect, []

    def lose_the_first(job):
        lost or lost.append(job._ready.get())
        collect(job)

    monkeypatch.setattr(engine.Job, "_collect", lose_the_first)
    with using(cluster):
        assert told(map_each(square, range(8))) == [number * number for number in range(8)]
    assert lost and "given again" in caplog.text


class Told:
    """A cluster that says what the test wants: states of futures, words of workers."""

    generation, address, wait_s = 0, "tcp://there:1", 1.0

    def __init__(self):
        self.client, self.futures, self.words = self, [], {}

    def submit(self, *_, key, **__):
        self.futures.append(SimpleNamespace(key=key, status="pending", add_done_callback=lambda call: None))
        return self.futures[-1]

    def gather(self, futures):
        for future in self.futures:
            future.status = "finished"  # what was lost has been made anew meanwhile
        return [engine.Done([engine.pickle.dumps(engine.Outcome(future.key))], 0.1) for future in futures]

    def cancel(self, futures, reason):
        pass

    def workers(self):
        return dict.fromkeys(self.words, 1)

    def idle(self):
        return {worker: word for worker, (idle, word) in self.words.items() if idle}


def test_a_result_that_dies_with_its_worker_is_given_again():
    """Dask makes it anew and does not call a second time: it was waited for until the end of days."""
    link = Told()
    job = engine.Job(link, square, range(2))
    for item in range(2):
        job._waiting.append(engine._Batch(item, [item]))
        job._give(job._waiting[-1])
    there, lost = link.futures
    there.status, lost.status = "finished", "lost"
    for future in link.futures:
        job._ready.put(future)
    job._collect()
    first, second = job._waiting
    assert first.outcomes is not None and second.outcomes is None
    assert second.future is link.futures[2] and second.future.key in job._by_key


@pytest.mark.parametrize(
    ("words", "forgotten"),
    [
        (lambda s: {"a": (True, s), "b": (True, s)}, True),
        (lambda s: {"a": (True, s // 4), "b": (True, s)}, True),  # a word every four seconds: many workers
        (lambda s: {"a": (True, s), "b": (s % 9 > 0, s)}, False),  # one works now and then
        (lambda s: {"a": (True, s), "b": (True, s if s < 3 else 3)}, False),  # in C code, which keeps it from speaking
        (lambda s: {"a": (True, s), "refused": (False, 0)}, True),  # works for somebody else
        (lambda s: {"a": (False, s), "refused": (True, s)}, False),
        (lambda s: {"refused": (True, s)}, False),
    ],
)
def test_work_is_forgotten_where_all_who_take_part_say_that_they_wait(monkeypatch, words, forgotten):
    link, seconds = Told(), iter(range(0, 60, 2))
    job = engine.Job(link, square, [])
    job._refused["refused"] = "other code"
    said = []
    for second in seconds:
        monkeypatch.setattr(engine, "time", SimpleNamespace(monotonic=lambda second=second: float(second)))
        link.words = words(second)
        job._workers = link.workers()
        said.append(job._forgotten())
    assert any(said) == forgotten and not any(said[: int(engine._FORGOTTEN_S) // 2])


def test_workers_that_differ_are_refused_with_the_reason(cluster, monkeypatch):
    real = engine.identity
    monkeypatch.setattr(engine, "identity", lambda module: {**real(module), "cheep": "0.0.1"})
    with (
        using(cluster),
        # one of the two may still be starting again, if a test before has ended it
        pytest.raises(CheepError, match=r"none of [12] worker\(s\).*it has cheep .*, this is 0.0.1: inst"),
    ):
        list(map_each(square, range(3)))
    monkeypatch.setattr(engine, "identity", real)
    monkeypatch.setattr(engine, "witness", lambda items: ("/not/there.wav", 3))
    with using(cluster), pytest.raises(CheepError, match=r"/not/there.wav is not on .*: shared storage"):
        list(map_each(square, range(3)))


def test_what_differs_is_named():
    ours = identity("cheep.features.cache")
    assert difference(ours, ours) == ""
    assert "numpy 1.0 instead of" in difference(ours, {**ours, "libraries": {**ours["libraries"], "numpy": "1.0"}})
    assert "other code (abcdabcd instead of" in difference(ours, {**ours, "code": "abcdabcdabcd"})
    assert "its C core computes other features" in difference(ours, {**ours, "core": "00"})


def test_a_worker_must_see_the_client_s_files(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"abc")
    file = witness([(1, path), tmp_path / "b.wav"])
    assert file == (str(path), 3) and witness([1]) is None
    assert unseen(str(tmp_path), file) == ""
    path.write_bytes(b"abcd")
    assert "has 4 bytes" in unseen(str(tmp_path), file)
    path.unlink()
    assert "shared storage under the same path" in unseen(str(tmp_path), file)
    assert "no-folder is not on" in unseen(str(tmp_path / "no-folder"), None)


@pytest.mark.parametrize("text", ["tcp:host", "host:8786", "local:0", "local:", "file:", "tcp://host", "ftp://host:1"])
def test_an_address_that_is_none(text):
    with pytest.raises(CheepError, match=r"must be tcp://HOST:8786, .*local:N"):
        Address.parse(text)


def test_nobody_answers(tmp_path):
    with (
        pytest.raises(CheepError, match=r"no scheduler answers .*no such scheduler file"),
        connected(f"file:{tmp_path / 'none.json'}"),
    ):
        pass


def test_the_command_line_reaches_the_cluster(capsys, tmp_path):
    from cheep.cli import main

    Path(tmp_path / "m.csv").write_text("path,label\n")
    assert main("dataset", ["inspect", str(tmp_path / "m.csv"), "--cluster", "nowhere"]) == 2
    assert "--cluster nowhere: must be tcp://HOST:8786" in capsys.readouterr().err
    program = "from cheep.cli import main; main('dataset', ['inspect', 'm.csv', '--cluster', 'local:1'])"
    command = [sys.executable, "-c", program]
    environment = {**os.environ, "PYTHONPATH": str(Path(engine.__file__).parents[2])}
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert "m.csv:1: column(s) start_s" in done.stderr and len(done.stderr.splitlines()) == 1  # nothing of Dask's
    assert main("dataset", ["inspect", str(tmp_path / "m.csv"), "--cluster", "local:2", "--jobs", "2"]) == 2
    assert "--jobs and --cluster: give one of the two" in capsys.readouterr().err


def test_ctrl_c_ends_the_workers_of_a_local_cluster(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, time\n"
        "from cheep.cluster import connected\n"
        "from cheep.parallel import map_each\n"
        "def work(number):\n"
        "    time.sleep(600 * min(number, 1))\n"
        "    return os.getpid()\n"
        "if __name__ == '__main__':\n"
        "    try:\n"
        "        with connected('local:1'):\n"
        "            for outcome in map_each(work, range(9)):\n"
        "                print(outcome.value, flush=True)\n"
        "    except KeyboardInterrupt:\n"
        "        print('ended')\n"
    )
    child = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "PYTHONPATH": str(Path(engine.__file__).parents[2])},
    )  # fmt: skip
    worker = int(child.stdout.readline())
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does
    out, errors = child.communicate(timeout=60)
    assert out == "ended\n" and "Traceback" not in errors
    wait_for_end(worker)


def test_workers_that_are_slow_to_end_are_no_error():
    class Slow:
        def close(self, timeout):
            raise TimeoutError(f"timed out after {timeout} s.")

    made = Connection(Address.parse("local:1"))
    made._client = made._local = Slow()
    made.__exit__()


def heavy(folder, number):
    (folder / str(number)).touch()
    deadline = time.monotonic() + 60
    while number == 0 and len(list(folder.iterdir())) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    return bytes(1000)


def test_results_that_wait_bound_what_is_given_out(cluster, tmp_path, monkeypatch):
    """The first item waits for two others; then there is too much of results to give out more."""
    monkeypatch.setattr(engine, "_WAITING_BYTES", 500)
    with using(cluster):
        outcomes = map_each(functools.partial(heavy, tmp_path), range(40))
        assert len(next(outcomes).value) == 1000
        assert len(list(tmp_path.iterdir())) <= 5  # two workers with two each, and one
        assert len(list(outcomes)) == 39
