# SPDX-License-Identifier: MIT
"""What runs on a worker: a batch of items of one job, one after another, whatever threads the worker has.

A task travels as bytes whose unpickling is the call (:func:`packed`), so that neither the scheduler nor a worker's own
machinery needs Cheep to handle it; a worker without Cheep fails in the task, and that is told apart.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from cheep.cluster.identity import difference, identity, unseen
from cheep.parallel import Outcome, carried, keep_memory, outcome_of, using

METADATA = "cheep-jobs"  # where the scheduler keeps the jobs
_KEPT = 4  # jobs that a worker remembers
_TURN = threading.Lock()  # the folder, and scorers that keep a state, belong to the process
_JOBS: dict[str, _Job | str] = {}


@dataclasses.dataclass(frozen=True)
class JobHead:
    """What a worker must agree with before it works: :func:`cheep.cluster.identity.identity`, folder, a file."""

    module: str
    identity: dict[str, Any]
    folder: str
    file: tuple[str, int] | None


@dataclasses.dataclass(frozen=True)
class _Job:
    work: Callable
    folder: str


@dataclasses.dataclass(frozen=True)
class Done:
    """The outcomes of a batch, each pickled, and how long it took."""

    outcomes: list[bytes]
    seconds: float


@dataclasses.dataclass(frozen=True)
class Refused:
    """Why this worker may not take part."""

    reason: str


class _Call:
    def __init__(self, function: Callable, *args: Any):
        self._call = (function, args)

    def __reduce__(self) -> Any:
        return self._call


def packed(function: Callable, *args: Any) -> bytes:
    """Return bytes of which ``pickle.loads`` makes the result of ``function(*args)``."""
    return pickle.dumps(_Call(function, *args))


def agree(head: JobHead) -> Refused | None:
    """Say whether this process may work for the client."""
    reason = difference(head.identity, identity(head.module)) or unseen(head.folder, head.file)
    return Refused(reason) if reason else None


def run_batch(job: str, items: Iterable[bytes]) -> Done | Refused:
    """Work on a batch of pickled items of job ``job``."""
    with _TURN:
        begin = time.perf_counter()
        found = _job(job)
        if isinstance(found, str):
            return Refused(found)
        before = os.getcwd()
        os.chdir(found.folder)
        try:
            with using(None):
                outcomes = [_pickled(outcome_of(functools.partial(_run, found.work, item))) for item in items]
        finally:
            os.chdir(before)
        return Done(outcomes, time.perf_counter() - begin)


def _run(work: Callable, item: bytes) -> Any:
    return carried(work, pickle.loads(item))


def _pickled(outcome: Outcome) -> bytes:
    try:
        return pickle.dumps(outcome, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        return pickle.dumps(Outcome(error=RuntimeError(f"the result cannot travel: {type(error).__name__}: {error}")))


def _job(name: str) -> _Job | str:
    """Return a job, or why this process must not work on it; read from the scheduler once."""
    if name not in _JOBS:
        from distributed import get_client

        head, work = get_client().get_metadata([METADATA, name])
        told: JobHead = pickle.loads(head)
        refused = agree(told)
        while len(_JOBS) >= _KEPT:
            del _JOBS[next(iter(_JOBS))]
        keep_memory()
        _JOBS[name] = refused.reason if refused else _Job(pickle.loads(work), told.folder)
    return _JOBS[name]
