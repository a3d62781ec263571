# SPDX-License-Identifier: MIT
"""A season scanned on a cluster that is broken all the time: the tables must be those of one undisturbed process.

  sudo make bench-cluster-faults                                    2,000 files, 100 faults
  python scripts/bench_cluster_faults.py --files 40 --faults 4 --workers 2 --json

A scheduler and workers, each in a network namespace of its own (ip netns, veth, a bridge), and the client in this one.
Faults are drawn from a seed: workers and their nannies are killed with SIGKILL or stopped, their network is cut, the
scheduler is killed and started again, the season's disk (a small tmpfs) is filled, the client is killed or interrupted
and given the same command again. At the end all files of the season are compared, byte by byte, with those of one
process that nobody disturbed. Needs Linux, root, iproute2; exit status 1 where a byte differs, 3 where it cannot run.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "helpers")]

SUBNET = f"10.{128 + os.getpid() % 64}.{os.getpid() // 64 % 256}"  # of its own, where two of these run at once
PORT = 8786
#: Fault -> share.
FAULTS = {
    "worker killed": 50,
    "worker and nanny killed": 12,
    "worker stopped": 6,
    "network cut": 12,
    "scheduler restarted": 8,
    "disk full": 5,
    "client killed": 4,
    "client interrupted": 3,
}


class CannotRun(Exception):
    """This machine does not let us."""


def main() -> int:
    """Scan undisturbed, scan disturbed, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each file")
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--only", nargs="+", choices=FAULTS, help="these faults, in this order, over and over")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--pause", type=float, default=1.5, help="mean time between two faults, s")
    parser.add_argument("--limit-s", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", type=Path, help="new folder for the logs (default: a temporary one, removed)")
    args = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background too: the client must hear it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leaves no namespace behind
    try:
        found = campaign(args)
    except CannotRun as reason:
        print(f"cannot run here: {reason}", file=sys.stderr)
        return 3
    print(json.dumps(found, indent=2) if args.json else "\n".join(f"{key}: {value}" for key, value in found.items()))
    return int(bool(found["faults.files_that_differ"]) or found["faults.done"] < args.faults)


def campaign(args: argparse.Namespace) -> dict:
    """Return the counts of faults and the comparison."""
    with contextlib.ExitStack() as stack:
        folder = args.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = folder.resolve()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        network = stack.enter_context(Network(["s", *(f"w{i}" for i in range(args.workers))]))
        disk = stack.enter_context(SmallDisk(folder / "disk", 8 + args.files // 20))
        make_recordings(folder / "recordings", args.files, args.seconds)
        from tone_model import write_tone_run

        model = write_tone_run(folder / "run")
        begin = time.monotonic()
        command = [sys.executable, "-m", "cheep", "scan", str(folder / "recordings"), "--model", str(model)]
        undisturbed = folder / "undisturbed"
        subprocess.run([*command, "--season", str(undisturbed), "--jobs", "1"], check=True, env=environment(),
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        alone_s = time.monotonic() - begin
        wanted = digests(undisturbed)
        rng = random.Random(args.seed)
        counts: collections.Counter[str] = collections.Counter()
        rounds, runs, differ, begin = 0, 0, [], time.monotonic()
        cluster = stack.enter_context(Cluster(network, args.workers, folder))
        while sum(counts.values()) < args.faults and time.monotonic() - begin < args.limit_s:
            rounds += 1
            season = disk.folder / f"season-{rounds}"
            client = Client([*command, "--cluster", network.url], season, folder / "client.log")
            breaker = Breaker(cluster, network, disk, client, rng, args)
            client.finish(breaker, counts)
            runs += client.runs
            got = digests(season)
            differ += [name for name in sorted({**wanted, **got}) if wanted.get(name) != got.get(name)]
            shutil.rmtree(season)
        return {
            "faults.files": args.files,
            "faults.workers": args.workers,
            "faults.undisturbed_s": round(alone_s, 1),
            "faults.disturbed_s": round(time.monotonic() - begin, 1),
            "faults.seasons": rounds,
            "faults.client_runs": runs,
            "faults.done": sum(counts.values()),
            "faults.kinds": dict(counts),
            "faults.files_compared": rounds * len(wanted),
            "faults.files_that_differ": len(differ),
            "faults.examples": differ[:5],
        }


def environment() -> dict[str, str]:
    """Return the environment of every process: this checkout."""
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}


def make_recordings(folder: Path, files: int, seconds: float) -> None:
    """Write tones over noise, a folder per site; some are damaged."""
    from cheep.audio import write_wav
    from tone_model import tones

    for number in range(files):
        clock = f"{number // 3600:02d}{number // 60 % 60:02d}{number % 60:02d}"
        path = folder / f"site{number % 5}" / f"SM{number % 7}_20240601_{clock}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(number)
        spans = [(at, at + 0.5, str(rng.choice(["high", "low"]))) for at in rng.uniform(0, seconds, 2)]
        write_wav(path, tones(spans, seconds, number), 8000)
        if number % 50 == 7:
            path.write_bytes(path.read_bytes()[: int(rng.integers(0, 2000))])


def digests(season: Path) -> dict[str, str]:
    """Return the sha256 of every file of a season."""
    files = [path for path in season.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(season)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def run(*command: str) -> None:
    """Run a command of iproute2 and the like."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise CannotRun(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")


class Network:
    """Namespaces on a bridge: machines of their own, as far as the network goes."""

    def __init__(self, names: list[str]):
        self.tag = f"cf{os.getpid() % 100000}"
        self.address = {name: f"{SUBNET}.{10 + place}" for place, name in enumerate(names)}
        self.url = f"tcp://{self.address['s']}:{PORT}"

    def __enter__(self) -> Network:
        if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None:
            raise CannotRun("network namespaces need Linux, root and iproute2 (ip)")
        try:
            run("ip", "link", "add", "name", self.tag, "type", "bridge")
            run("ip", "addr", "add", f"{SUBNET}.1/24", "dev", self.tag)
            run("ip", "link", "set", self.tag, "up")
            for name, address in self.address.items():
                space, here = self.space(name), f"{self.tag}{name}"
                run("ip", "netns", "add", space)
                run("ip", "link", "add", here, "type", "veth", "peer", "name", "eth0", "netns", space)
                run("ip", "link", "set", here, "master", self.tag, "up")
                run("ip", "-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
                run("ip", "-n", space, "link", "set", "eth0", "up")
                run("ip", "-n", space, "link", "set", "lo", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in self.address:
            subprocess.run(["ip", "link", "del", f"{self.tag}{name}"], check=False, capture_output=True)
            subprocess.run(["ip", "netns", "del", self.space(name)], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", self.tag], check=False, capture_output=True)

    def space(self, name: str) -> str:
        """Return the namespace of a machine."""
        return f"{self.tag}-{name}"

    def cut(self, name: str, cut: bool) -> None:
        """Take the cable out, or put it in."""
        run("ip", "link", "set", f"{self.tag}{name}", "down" if cut else "up")


class SmallDisk:
    """A tmpfs that is full soon."""

    def __init__(self, folder: Path, megabytes: int):
        self.folder, self.megabytes = folder, megabytes

    def __enter__(self) -> SmallDisk:
        self.folder.mkdir(parents=True, exist_ok=True)
        run("mount", "-t", "tmpfs", "-o", f"size={self.megabytes}m", "tmpfs", str(self.folder))
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=False, capture_output=True)

    def fill(self) -> None:
        """Leave no byte."""
        with contextlib.suppress(OSError), open(self.folder / "filler", "wb", buffering=0) as stream:
            size = 1 << 20
            while size:
                try:
                    stream.write(bytes(size))
                except OSError:
                    size //= 2

    def free(self) -> None:
        """Give the room back."""
        (self.folder / "filler").unlink(missing_ok=True)


class Cluster:
    """The scheduler and the workers; who ends is started again, as a service manager does."""

    def __init__(self, network: Network, workers: int, folder: Path):
        self._network, self._folder = network, folder
        self.workers = [f"w{i}" for i in range(workers)]
        self._processes: dict[str, subprocess.Popen] = {}
        self._stop = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> Cluster:
        for name in ("s", *self.workers):
            self._start(name)
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._keeper.join()
        for name in self._processes:
            self.kill(name)

    def _start(self, name: str) -> None:
        command = ["ip", "netns", "exec", self._network.space(name), sys.executable, "-m"]
        if name == "s":
            command += ["distributed.cli.dask_scheduler", "--host", self._network.address["s"], "--port", str(PORT)]
            command += ["--no-dashboard", "--no-show"]
        else:
            scratch = self._folder / "scratch" / name
            command += ["distributed.cli.dask_worker", self._network.url, "--nthreads", "1", "--name", name]
            command += ["--no-dashboard", "--local-directory", str(scratch), "--death-timeout", "60"]
        with open(self._folder / f"{name}.log", "ab") as out:
            self._processes[name] = subprocess.Popen(
                command, stdout=out, stderr=out, env=environment(), start_new_session=True, cwd=self._folder
            )

    def _keep(self) -> None:
        while not self._stop.wait(0.2):
            with self._lock:
                for name, process in list(self._processes.items()):
                    if process.poll() is not None:
                        self._start(name)

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        """End a machine's processes."""
        with self._lock, contextlib.suppress(ProcessLookupError):
            os.killpg(self._processes[name].pid, how)
            self._processes[name].wait()

    def worker_processes(self, name: str) -> list[int]:
        """Return the worker proper below the nanny (not the resource tracker)."""
        found, waiting = [], [self._processes[name].pid]
        while waiting:
            for child in children(waiting.pop()):
                waiting.append(child)
                text = command_of(child)
                if "spawn_main" in text:
                    found.append(child)
        return found


def children(pid: int) -> list[int]:
    """Return the child processes of one, whichever of its threads started them."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(text) for text in path.read_text().split()]
    return found


def command_of(pid: int) -> str:
    """Return the command line of a process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


class Client:
    """The command, given again until it ends well."""

    def __init__(self, command: list[str], season: Path, log: Path):
        self._command, self._season, self._log = [*command, "--season", str(season)], season, log
        self.runs = 0
        self._process: subprocess.Popen | None = None

    def kill(self, how: signal.Signals) -> bool:
        """Send a signal to the client; False: it does not run."""
        if self._process is None or self._process.poll() is not None:
            return False
        self._process.send_signal(how)
        return True

    def has_results(self) -> bool:
        """Tell whether the first recordings are done: before, there is little to break."""
        return next(self._season.glob("scores/*/*/*/*.parquet"), None) is not None

    def finish(self, breaker: Breaker, counts: collections.Counter[str]) -> None:
        """Run until the season is whole; meanwhile things break."""
        while True:
            self.runs += 1
            with open(self._log, "ab") as out:
                self._process = subprocess.Popen(self._command, stdout=out, stderr=out, env=environment())
                while self._process.poll() is None:
                    breaker.step(counts)
            if self._process.returncode == 0:
                breaker.mend()
                return
            if self.runs > 500:
                raise RuntimeError(f"the client ends with {self._process.returncode} again and again; see {self._log}")
            breaker.step(counts, any_time=True)


class Breaker:
    """Draws faults and does them."""

    def __init__(self, cluster: Cluster, network: Network, disk: SmallDisk, client: Client, rng: random.Random, args):
        self._cluster, self._network, self._disk, self._client = cluster, network, disk, client
        self._rng, self._args = rng, args
        self._next_s = 0.0
        self._begun = False
        self._later: list[tuple[float, str, object]] = []  # what is mended when
        self._place = 0

    def step(self, counts: collections.Counter[str], any_time: bool = False) -> None:
        """Break something if it is time, mend what is due."""
        time.sleep(0.05)
        now = time.monotonic()
        for entry in [entry for entry in self._later if entry[0] <= now]:
            self._later.remove(entry)
            entry[2]()  # type: ignore[operator]
        self._begun = self._begun or self._client.has_results()
        if not self._begun or now < self._next_s or sum(counts.values()) >= self._args.faults or any_time:
            return
        kind = self._draw()
        if self._do(kind):
            counts[kind] += 1
            self._place += 1
            self._next_s = now + self._rng.expovariate(1 / self._args.pause)

    def mend(self) -> None:
        """Mend everything now."""
        for entry in self._later:
            entry[2]()  # type: ignore[operator]
        self._later.clear()

    def _draw(self) -> str:
        if self._args.only:
            return self._args.only[self._place % len(self._args.only)]
        return self._rng.choices(list(FAULTS), list(FAULTS.values()))[0]

    def _do(self, kind: str) -> bool:
        name = self._rng.choice(self._cluster.workers)
        if kind in ("worker killed", "worker stopped"):
            pids = self._cluster.worker_processes(name)
            if not pids:
                return False  # it is just being started
            if kind == "worker stopped":
                self._signal(pids[0], signal.SIGSTOP)
                self._after(self._rng.uniform(1, 8), lambda: self._signal(pids[0], signal.SIGCONT))
            else:
                self._signal(pids[0], signal.SIGKILL)
            return True
        if kind == "worker and nanny killed":
            self._cluster.kill(name)
        elif kind == "network cut":
            if any(entry[1] == name for entry in self._later):
                return False
            self._network.cut(name, True)
            self._after(self._rng.uniform(2, 45), lambda: self._network.cut(name, False), name)
        elif kind == "scheduler restarted":
            self._cluster.kill("s", self._rng.choice([signal.SIGKILL, signal.SIGTERM]))
        elif kind == "disk full":
            if any(entry[1] == "disk" for entry in self._later):
                return False
            self._disk.fill()
            self._after(self._rng.uniform(1, 5), self._disk.free, "disk")
        else:
            return self._client.kill(signal.SIGKILL if kind == "client killed" else signal.SIGINT)
        return True

    def _after(self, seconds: float, mend, what: str = "") -> None:
        self._later.append((time.monotonic() + seconds, what, mend))

    @staticmethod
    def _signal(pid: int, how: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)


if __name__ == "__main__":
    raise SystemExit(main())
