# SPDX-License-Identifier: MIT
"""One helper for loops over recordings: order, errors, dead workers, Ctrl-C, spawn, threads."""

import functools
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cheep.audio import read_audio
from cheep.errors import CheepError
from cheep.parallel import carried, map_each
from processes import wait_for_end

SRC = Path(__file__).parents[2] / "src"


def values(work, items, **more):
    return [outcome.value for outcome in map_each(work, items, **more)]


def square(number):
    return number * number


def late_first(folder, number):
    """The first item ends after the next ones, where there is a second process: results must wait for it."""
    (folder / str(number)).touch()
    deadline = time.monotonic() + 60
    while number == 0 and folder.name == "2" and len(list(folder.iterdir())) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    return number


class Awkward(Exception):
    """Pickles, but does not come back."""

    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


def refuse_odd(number):
    if number == 3:
        raise Awkward("an", "odd one")
    if number % 2:
        raise CheepError(f"number={number}: must be even")
    return number


def die_at(bad, number):
    if number == bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return number, os.getpid()


def threads_and_pid(_):
    return os.environ.get("OMP_NUM_THREADS"), os.environ.get("TF_NUM_INTRAOP_THREADS"), os.getpid()


@pytest.mark.parametrize("jobs", [1, 2, 3, None])
def test_order_and_progress_do_not_depend_on_the_workers(jobs, tmp_path):
    seen, folder = [], tmp_path / str(jobs)
    folder.mkdir()
    work = functools.partial(late_first, folder)
    assert values(work, range(30), jobs=jobs, progress=lambda *at: seen.append(at)) == list(range(30))
    assert seen == [(done, 30) for done in range(1, 31)]
    assert values(square, [], jobs=jobs) == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_belongs_to_its_item(jobs):
    outcomes = list(map_each(refuse_odd, range(6), jobs=jobs))
    assert [outcome.value for outcome in outcomes[::2]] == [0, 2, 4]
    assert isinstance(outcomes[1].error, CheepError) and "number=1" in str(outcomes[1].error)
    assert "an odd one" in str(outcomes[3].error)
    with pytest.raises(CheepError, match="number=5: must be even"):
        _ = outcomes[5].value
    with pytest.raises(CheepError, match="jobs=0: must be at least 1"):
        list(map_each(square, [1], jobs=0))


def test_a_worker_that_dies_takes_only_its_item():
    outcomes = list(map_each(functools.partial(die_at, 5), range(20), jobs=2))
    assert [outcome.value[0] for at, outcome in enumerate(outcomes) if at != 5] == [*range(5), *range(6, 20)]
    assert isinstance(outcomes[5].error, CheepError)
    assert "5: ended the process that worked on it" in str(outcomes[5].error)


def test_workers_have_one_thread_and_stay_for_the_next_call():
    first = values(threads_and_pid, range(8), jobs=2)
    again = values(threads_and_pid, range(8), jobs=2)
    assert {item[:2] for item in first} == {("1", "1")}
    pids = {item[2] for item in first + again}
    assert os.getpid() not in pids and len(pids) <= 2


def test_no_more_than_a_few_results_wait(tmp_path):
    """Memory stays bounded where the first item is slow: later ones do not run far ahead."""
    outcomes = map_each(functools.partial(mark, tmp_path), range(100), jobs=2)
    next(outcomes)
    assert len(list(tmp_path.iterdir())) <= 9
    outcomes.close()


def mark(folder, number):
    (folder / str(number)).touch()
    if number == 0:
        deadline = time.monotonic() + 60
        while len(list(folder.iterdir())) < 8 and time.monotonic() < deadline:
            time.sleep(0.01)


def run_script(tmp_path, text):
    script = tmp_path / "script.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(SRC)!r})\n" + textwrap.dedent(text))
    return subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_script_needs_no_guard_under_spawn(tmp_path):
    child = run_script(
        tmp_path,
        """
        import multiprocessing
        multiprocessing.set_start_method("spawn")
        from cheep.parallel import carried, map_each

        def work(number):
            return 2 * number

        print("once", sum(outcome.value for outcome in map_each(work, range(10), jobs=2)))
        """,
    )
    out, errors = child.communicate(timeout=60)
    assert (out, errors) == ("once 90\n", "")


def test_ctrl_c_ends_the_workers_too(tmp_path):
    child = run_script(
        tmp_path,
        """
        import os, time
        from cheep.parallel import carried, map_each

        def work(number):
            if number:
                time.sleep(600)
            return os.getpid()

        try:
            for outcome in map_each(work, range(10), jobs=2):
                print("begun", outcome.value, flush=True)
        except KeyboardInterrupt:
            print("ended")
        """,
    )
    worker = int(child.stdout.readline().split()[1])
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does
    out, errors = child.communicate(timeout=60)
    assert out == "ended\n" and "Traceback" not in errors
    wait_for_end(worker)


def test_workers_end_with_a_client_that_is_killed(tmp_path):
    child = run_script(
        tmp_path,
        """
        import os, time
        from cheep.parallel import carried, map_each

        def work(number):
            if number:
                time.sleep(600)
            return os.getpid()

        for outcome in map_each(work, range(10), jobs=2):
            print(outcome.value, flush=True)
        """,
    )
    worker = int(child.stdout.readline())
    child.kill()
    child.communicate()
    wait_for_end(worker)


class Damage(CheepError):
    """Comes from a worker, but not back: it is made of two things."""

    def __init__(self, path, done):
        super().__init__(f"{path}: ends after {done} samples")


def broken(path):
    raise Damage(path, 7)


def test_a_mistake_of_a_recording_that_cannot_travel_is_still_one():
    with pytest.raises(CheepError, match=r"^card/a\.flac: ends after 7 samples$"):
        carried(broken, "card/a.flac")


def test_what_a_damaged_recording_raises_is_a_mistake_in_a_worker_too(tmp_path):
    noise = np.random.default_rng(1).integers(-9000, 9000, 80_000).astype(np.int16)
    soundfile.write(tmp_path / "whole.flac", noise, 8000)
    whole = (tmp_path / "whole.flac").read_bytes()
    a_half, three_quarters = len(whole) // 2, 3 * len(whole) // 4
    (tmp_path / "damaged.flac").write_bytes(whole[:a_half] + whole[three_quarters:])
    with pytest.raises(CheepError, match="decoding fails after"):
        carried(functools.partial(read_audio, sample_rate_hz=8000), tmp_path / "damaged.flac")
