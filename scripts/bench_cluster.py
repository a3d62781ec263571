# SPDX-License-Identifier: MIT
"""What the engine costs, and how far it scales: python scripts/bench_cluster.py --json

Measures the processor time (not the clock: other programs may run) of every process for a job over recordings: one
process; two local workers; a Dask scheduler with two workers. From it: the speed-up of two cores, and the efficiency of
up to 32 workers for recordings of different lengths, with what bounds it. Also prints the clock and the machine's load.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from cheep.audio import write_wav
from cheep.cluster import connected, job
from cheep.cluster.job import BATCH_S, MOST_IN_BATCH
from cheep.config import FeatureConfig
from cheep.features.cache import recording_columns
from cheep.parallel import map_each, using

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 3
WORKERS = (1, 2, 4, 8, 16, 32)
REAL_TIME = 2000.0  # what a core scans, times real time, at 8 kHz
BYTES_PER_S = 16000  # of 8 kHz, 16 bit


def main() -> int:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=60.0, help="of each file")
    parser.add_argument("--tiny", type=int, default=6000, help="items that cost nothing, for the overhead")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found: dict = {"load": [round(value, 1) for value in os.getloadavg()], "cores": os.cpu_count()}
    with tempfile.TemporaryDirectory() as folder:
        paths = make_files(Path(folder), args.files, args.minutes)
        found |= speed_up(paths)
        found |= overhead(Path(folder), args.tiny)
    found["engine.efficiency"] = efficiency(found)
    print(json.dumps(found, indent=2) if args.json else "\n".join(f"{key}: {value}" for key, value in found.items()))
    return 0


def make_files(folder: Path, n: int, minutes: float) -> list[Path]:
    """Write n names of a few recordings of noise."""
    rng, paths = np.random.default_rng(1), []
    for number in range(n):
        path = folder / f"{number:05d}.wav"
        if number < 4:
            write_wav(path, rng.integers(-3000, 3000, int(minutes * 60 * 8000)).astype(np.int16), 8000)
        else:
            os.link(folder / f"{number % 4:05d}.wav", path)
        paths.append(path)
    return paths


def columns_of(path: Path) -> int:
    """The job: decode, and compute the features; return how many columns."""
    return len(recording_columns(path, FeatureConfig()))


def speed_up(paths: list[Path]) -> dict:
    """One process against two local workers, in turn, medians of three: processor time, and the clock."""
    with using(None):
        list(map_each(columns_of, paths[:4]))
    list(map_each(columns_of, paths[:8], jobs=2))  # the workers are there, the core is loaded
    rows = []
    for _ in range(ROUNDS):
        with using(None):
            begin, cpu = time.monotonic(), time.process_time()
            list(map_each(columns_of, paths))
            one_s, one_cpu = time.monotonic() - begin, time.process_time() - cpu
        before, begin, cpu = worker_times(), time.monotonic(), time.process_time()
        list(map_each(columns_of, paths, jobs=2))
        two_s, client_cpu = time.monotonic() - begin, time.process_time() - cpu
        after = worker_times()
        workers = sum(after[pid] - before.get(pid, 0.0) for pid in after)
        # with two cores of its own a job lasts as long as the workers' time, evenly shared, and what the client adds
        rows.append((one_cpu, workers, client_cpu, one_cpu / ((workers + client_cpu) / 2), one_s, two_s))
    names = ("one_process_cpu_s", "two_workers_cpu_s", "client_cpu_s", "speed_up_two", "clock_one_s", "clock_two_s")
    return {
        f"engine.{name}": round(float(value), 3) for name, value in zip(names, np.median(rows, axis=0), strict=True)
    }


def worker_times() -> dict[int, float]:
    """Return the processor time of each local worker, s."""
    found = {}
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "popen_loky" in " ".join(child.cmdline()):
                found[child.pid] = sum(child.cpu_times()[:2])
    return found


def overhead(folder: Path, n: int) -> dict:
    """Return processor time per task of client, scheduler and worker, ms, for items that cost nothing."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    common = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    module = [sys.executable, "-m"]
    scheduler = subprocess.Popen(
        [*module, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"],
        **common,
    )
    url = f"tcp://127.0.0.1:{port}"
    workers = [
        subprocess.Popen([*module, "distributed.cli.dask_worker", url, "--nthreads", "1", "--no-dashboard"], **common)
        for _ in range(2)
    ]
    try:
        time.sleep(8)
        with connected(url):
            out = {}
            for name, most in (("single", 1), ("batched", MOST_IN_BATCH)):
                job.MOST_IN_BATCH = most
                list(map_each(nothing, range(200)))
                idle = [cpu_of(scheduler), sum(map(cpu_of, workers)), time.monotonic()]
                time.sleep(3)
                idle = [cpu_of(scheduler) - idle[0], sum(map(cpu_of, workers)) - idle[1], time.monotonic() - idle[2]]
                mine, theirs, others = time.process_time(), cpu_of(scheduler), sum(map(cpu_of, workers))
                begin = time.monotonic()
                list(map_each(nothing, range(n if most > 1 else n // 4)))
                took = time.monotonic() - begin
                tasks = n / most if most > 1 else n // 4
                mine = time.process_time() - mine
                theirs = cpu_of(scheduler) - theirs - idle[0] / idle[2] * took  # without what they do when idle
                others = sum(map(cpu_of, workers)) - others - idle[1] / idle[2] * took
                out |= {
                    f"engine.{name}.client_ms_per_task": round(1e3 * mine / tasks, 2),
                    f"engine.{name}.scheduler_ms_per_task": round(1e3 * theirs / tasks, 2),
                    f"engine.{name}.worker_ms_per_task": round(1e3 * others / tasks, 2),
                }
            job.MOST_IN_BATCH = MOST_IN_BATCH
            return out
    finally:
        for process in (*workers, scheduler):
            process.terminate()
        for process in (*workers, scheduler):
            process.wait()


def nothing(_: int) -> None:
    """An item that costs nothing."""


def cpu_of(process: subprocess.Popen) -> float:
    """Return the processor time of a process and those below it, s."""
    top = psutil.Process(process.pid)
    return sum(sum(each.cpu_times()[:2]) for each in (top, *top.children(recursive=True)))


def efficiency(found: dict) -> dict:
    """Return, by length of the recordings, the efficiency of 1 to 32 workers, what bounds it, and the disk it takes.

    A worker has its work and its own cost per item; the scheduler and the client take each task in turn.
    """
    out = {}
    for minutes in (1, 5, 60):
        work_s = 60 * minutes / REAL_TIME
        batch = max(1, min(MOST_IN_BATCH, int(BATCH_S / work_s)))
        task_s = max(found["engine.single.client_ms_per_task"], found["engine.single.scheduler_ms_per_task"]) / 1e3
        own_s = max(0.0, found["engine.single.worker_ms_per_task"]) / 1e3
        row = {}
        for workers in WORKERS:
            wanted = workers / (work_s + own_s / batch)
            bound = batch / task_s
            row[str(workers)] = round(min(wanted, bound) * work_s / workers, 3)
        row["bound"] = f"{bound * 60 * minutes / 3600:.0f} h of sound a second (scheduler and client)"
        row["disk_mb_per_s_at_32"] = round(row["32"] * 32 * REAL_TIME * BYTES_PER_S / 1e6)
        out[f"{minutes} min"] = row
    return out


if __name__ == "__main__":
    raise SystemExit(main())
