# SPDX-License-Identifier: MIT
"""One way to do the same to many recordings: on every core, in order, whatever happens to one of them.

The workers are joblib's (loky): fresh processes on every system, so that no script needs a guard, and kept for the
next call. What a function returns does not depend on how many there are. Another engine can take their place
(:func:`using`): :mod:`cheep.cluster` has one of many machines.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import dataclasses
import functools
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from typing import Any, Generic, Protocol, TypeVar

from cheep.errors import CheepError

Item = TypeVar("Item")
Result = TypeVar("Result")

_HERE_FIRST_S = 1.0  # about what it costs to start workers
_AHEAD = 4  # items per worker that are under way or wait for those before them: bounds the memory
_IDLE_S = 60  # after which workers end
_LOOK_S = 0.5  # between two looks at who is there
#: One thread per worker: as many workers as cores, each with a thread per core, would be in each other's way.
ONE_THREAD = {
    name: "1"
    for name in (
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
        *("NUMEXPR_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
    )
}


_KEPT_BYTES = 64 << 20


@dataclasses.dataclass(frozen=True)
class Outcome(Generic[Result]):
    """What became of one item: ``value``, or the ``error`` that its work raised."""

    _value: Result | None = None
    error: Exception | None = None

    @property
    def value(self) -> Result:
        """What the function returned; raises what it raised."""
        if self.error is not None:
            raise self.error
        return self._value  # type: ignore[return-value] # None too may be what the function returned


class Engine(Protocol):
    """What can do the work of :func:`map_each` elsewhere: with the same outcomes, in the same order."""

    def map(self, work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Outcome[Result]]:
        """Yield the outcome of ``work(item)`` for each of ``items``, in their order."""


_ENGINES: list[Engine | None] = []  # the last one counts; None: no other process at all


@contextlib.contextmanager
def using(engine: Engine | None) -> Iterator[None]:
    """Let every :func:`map_each` inside use ``engine``; None: all is done in this process (which is a worker)."""
    _ENGINES.append(engine)
    try:
        yield
    finally:
        _ENGINES.pop()


def cores() -> int:
    """Return how many cores this process may use (affinity and container limits count)."""
    from joblib import cpu_count

    return cpu_count()


def map_each(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Outcome[Result]]:
    """Yield the outcome of ``work(item)`` for each of ``items``, in their order, as they are ready.

    Parameters
    ----------
    work : callable
        Depends on nothing but its item; it and the items travel to other processes (``functools.partial`` of a
        function of a module does). What it raises is in the outcome of its item; the others go on.
    items : sequence
        Recordings, files: what takes a hundredth of a second or more each.
    jobs : int, optional
        Worker processes on this machine; 1: none, all is done here. Default: one per core, once the first second
        here has shown that it is worth starting them. A cluster (:func:`using`) has as many as it has.
    progress : callable, optional
        Called with (done, total) after each item.

    Raises
    ------
    CheepError
        ``jobs`` below 1. Nothing of an item: not even a worker that is killed (memory, a crash in native code) ends
        the others; the item that killed it, alone once more, has a CheepError as its outcome.
    """
    check_jobs(jobs)
    for done, outcome in enumerate(_outcomes(work, items, jobs), 1):
        if progress is not None:
            progress(done, len(items))
        yield outcome


def check_jobs(jobs: int | None) -> None:
    """Raise CheepError where there can be no such number of workers: for commands, before they write anything."""
    if jobs is not None and jobs < 1:
        raise CheepError(f"jobs={jobs}: must be at least 1 (--jobs)")


def _outcomes(work: Callable[[Item], Result], items: Sequence[Item], jobs: int | None) -> Iterator[Outcome[Result]]:
    if _ENGINES and _ENGINES[-1] is not None:
        yield from _ENGINES[-1].map(work, items)
        return
    few = bool(_ENGINES) or jobs == 1 or len(items) < 2 or (jobs is None and cores() == 1)
    begin = time.monotonic()
    at = 0
    while at < len(items) and (few or (jobs is None and time.monotonic() - begin < _HERE_FIRST_S)):
        yield outcome_of(functools.partial(work, items[at]))
        at += 1
    if at < len(items):
        yield from _by_workers(functools.partial(carried, work), items[at:], jobs or cores())


def _by_workers(work: Callable[[Item], Result], items: Sequence[Item], jobs: int) -> Iterator[Outcome[Result]]:
    jobs = min(jobs, len(items))
    waiting: collections.deque[tuple[Item, Future]] = collections.deque()  # in order, finished or not
    left = collections.deque(items)
    try:
        while waiting or left:
            unfinished = sum(not future.done() for _, future in waiting)
            with ctrl_c_later():
                for _ in range(min(2 * jobs - unfinished, _AHEAD * jobs - len(waiting), len(left))):
                    item = left.popleft()
                    waiting.append((item, _workers(jobs).submit(work, item)))
            wait([future for _, future in waiting if not future.done()], return_when=FIRST_COMPLETED)
            while waiting and waiting[0][1].done():
                item, future = waiting.popleft()
                try:
                    outcome = outcome_of(future.result)
                except BrokenExecutor:  # a worker died, and all that it and its sisters had not finished is lost
                    outcome = _alone(work, item)
                    with ctrl_c_later():
                        waiting = collections.deque(
                            (each, _workers(jobs).submit(work, each) if _lost(old) else old) for each, old in waiting
                        )
                yield outcome
    except BaseException:  # Ctrl-C, or nobody wants the rest
        deadline = time.monotonic() + 1  # loky ends without complaint once it has taken over what it was given
        while any(not (future.running() or future.done()) for _, future in waiting) and time.monotonic() < deadline:
            time.sleep(0.001)
        _workers(jobs).shutdown(wait=True, kill_workers=True)
        raise


def _workers(jobs: int) -> Any:
    from joblib.externals.loky import get_reusable_executor

    return get_reusable_executor(
        jobs, timeout=_IDLE_S, env=ONE_THREAD, initializer=_begin_worker, initargs=(os.getpid(),)
    )


def keep_memory() -> None:
    """Keep some of what is freed for the next recording.

    glibc gives large blocks back to the system at once, and each is asked for and cleared anew: a quarter of the time
    of decoding and features. (In a process that has done other things before, it has learned not to.)
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            library = ctypes.CDLL(None)
            for parameter in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
                library.mallopt(parameter, _KEPT_BYTES)


def _begin_worker(client: int) -> None:
    """Let this worker end soon after the process that it works for, however that ends (a kill tells nobody)."""
    keep_memory()

    def watch() -> None:
        while os.getppid() == client:
            time.sleep(_LOOK_S)
        os._exit(1)

    if os.name == "posix":
        threading.Thread(target=watch, name="cheep-parent", daemon=True).start()


@contextlib.contextmanager
def ctrl_c_later() -> Iterator[None]:
    """Hold Ctrl-C back; workers that are started meanwhile never hear it: who asked for the work ends them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing.resource_tracker import ensure_running

    ensure_running()  # loky would start it below, and it unblocks signals
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def _alone(work: Callable[[Item], Result], item: Item) -> Outcome[Result]:
    try:
        with ctrl_c_later():
            future = _workers(1).submit(work, item)
        return outcome_of(future.result)
    except BrokenExecutor as error:
        how = str(error).splitlines()[-1] if str(error) else type(error).__name__
        return Outcome(error=CheepError(f"{item}: ended the process that worked on it, twice (memory?): {how}"))


def _lost(future: Future) -> bool:
    return not future.done() or isinstance(future.exception(), BrokenExecutor)


def carried(work: Callable[[Item], Result], item: Item) -> Result:
    """Work in a worker: an exception that cannot travel becomes one that can."""
    try:
        return work(item)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            mistake = isinstance(error, CheepError)  # of a recording: those who go on past it know it by its class
            stand_in = CheepError(str(error)) if mistake else RuntimeError(f"{type(error).__name__}: {error}")
        else:
            raise
    raise stand_in  # not above: it would travel with the other one as its context


def outcome_of(result: Callable[[], Result]) -> Outcome[Result]:
    """Return what ``result()`` gives or raises (but for the end of a worker)."""
    try:
        return Outcome(result())
    except BrokenExecutor:
        raise
    except Exception as error:
        return Outcome(error=error)
