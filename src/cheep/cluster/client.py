# SPDX-License-Identifier: MIT
"""The engine of :func:`cheep.parallel.map_each` on a Dask cluster: workers, the network and the scheduler may fail.

A job may be given to a worker more than once (its worker died, the scheduler was restarted): what it writes, it writes
whole, and the same each time. Outcomes come back in order, whoever made them.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import logging
import os
import pickle
import queue
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from cheep.cluster.address import Address, connect, start_local
from cheep.cluster.identity import identity, module_of, witness
from cheep.cluster.task import METADATA, Done, JobHead, Refused, agree, packed, run_batch
from cheep.errors import CheepError
from cheep.parallel import Outcome, using

log = logging.getLogger(__name__)

WAIT_S = 600.0  # for a scheduler, or for a first worker
_POLL_S = 2.0
_RESTART_S = 10.0  # what a worker may take to come back, without a word
_SURVEY_S = 180.0  # the first look at a worker compiles its C core
_BATCH_S = 0.2  # short items travel together, about so long
_MOST_IN_BATCH = 32
_AHEAD = 4  # batches per worker that are under way or wait for those before them: bounds the memory
_TRIES = 5  # of a batch that the cluster cancels without a reason


@contextlib.contextmanager
def connected(text: str) -> Iterator[Cluster]:
    """Let every :func:`cheep.parallel.map_each` inside work on the cluster that ``text`` (``--cluster``) names.

    Raises
    ------
    CheepError
        It cannot be reached, or ``text`` has none of the forms.
    """
    with Cluster(Address.parse(text)) as cluster, using(cluster):
        yield cluster


class Cluster:
    """A connection to a scheduler, made again where it is lost.

    Parameters
    ----------
    address : Address
        Of the scheduler.
    wait_s : float
        How long to wait, s, for a scheduler that is gone, and where there is no worker.
    """

    def __init__(self, address: Address, wait_s: float = WAIT_S):
        self.address, self.wait_s = address, wait_s
        self.generation = 0  # counts connections: futures of an older one are void
        self._local: Any = None
        self._client: Any = None

    def __enter__(self) -> Cluster:
        if self.address.kind == "local":
            self._local = start_local(int(self.address.value))
        try:
            self._client = connect(self.address, self._local)
        except (OSError, ValueError) as error:
            raise CheepError(
                f"--cluster {self.address}: no scheduler answers ({_first_line(error)}); start one: dask scheduler "
                "(docs/cluster.md)"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Exception):
            self._client.close(timeout=2)
        if self._local is not None:
            with contextlib.suppress(Exception):  # a busy machine is slow to end them: they end with this process
                self._local.close(timeout=5)

    def map(self, work: Callable, items: Sequence[Any]) -> Iterator[Outcome]:
        """Yield the outcome of ``work(item)`` for each of ``items``, in their order."""
        return _Job(self, work, items).outcomes()

    @property
    def client(self) -> Any:
        """The Dask client of now."""
        return self._client

    def alive(self) -> bool:
        """Tell whether the scheduler answers."""
        if self._client.status != "running":
            return False
        try:
            self._client.sync(self._client.scheduler.identity, n_workers=0, callback_timeout=10)
        except Exception:
            return False
        return True

    def again(self) -> None:
        """Connect anew; what was under way must be given again.

        Raises
        ------
        CheepError
            Nobody answers for ``wait_s``.
        """
        with contextlib.suppress(Exception):
            self._client.close(timeout=2)
        log.warning("%s: the scheduler is lost; waiting for it, and going on when it is back", self.address)
        deadline = time.monotonic() + self.wait_s
        while True:
            begin = time.monotonic()
            try:
                self._client = connect(self.address, self._local)
                break
            except (OSError, ValueError) as error:
                if time.monotonic() > deadline:
                    raise CheepError(
                        f"--cluster {self.address}: the scheduler is gone for {self.wait_s / 60:.0f} minutes "
                        f"({_first_line(error)}); start it, and run this again: it goes on where it was"
                    ) from None
                time.sleep(max(0.0, 1.0 - (time.monotonic() - begin)))
        self.generation += 1

    def workers(self) -> dict[str, int]:
        """Return the addresses of the workers with their threads."""
        info = self._client.scheduler_info(n_workers=-1)
        return {address: int(told["nthreads"]) for address, told in info["workers"].items()}


@dataclasses.dataclass
class _Batch:
    """Items that travel together, and what became of them."""

    first: int
    items: list[Any]
    future: Any = None
    generation: int = -1
    allowed: frozenset[str] | None = None  # workers; None: any
    cancelled: int = 0
    outcomes: list[Outcome] | None = None
    killed: bool = False


class _Job:
    """One call of :meth:`Cluster.map`."""

    def __init__(self, cluster: Cluster, work: Callable, items: Sequence[Any]):
        self.cluster, self.work, self.items = cluster, work, items
        self.name = secrets.token_hex(6)
        self._next = 0
        self._waiting: collections.deque[_Batch] = collections.deque()  # in order, finished or not
        self._ready: queue.SimpleQueue = queue.SimpleQueue()
        self._by_key: dict[str, _Batch] = {}
        self._refused: dict[str, str] = {}  # worker -> why
        self._workers: dict[str, int] = {}
        self._looked_s = -1e9
        self._item_s: float | None = None  # how long one takes
        self._attempt = 0

    def outcomes(self) -> Iterator[Outcome]:
        """Yield them in order."""
        if not len(self.items):
            return
        self._tell()
        self._survey()
        try:
            while self._waiting or self._next < len(self.items):
                self._fill()
                self._collect()
                while self._waiting and (self._waiting[0].outcomes is not None or self._waiting[0].killed):
                    if self._waiting[0].killed:
                        self._one_by_one(self._waiting[0])
                    yield from self._waiting.popleft().outcomes or ()
        finally:  # all is done, or Ctrl-C, or nobody wants the rest
            with contextlib.suppress(Exception):
                self.cluster.client.cancel([b.future for b in self._waiting if b.future is not None], reason="the end")
            with contextlib.suppress(Exception):
                self.cluster.client.set_metadata([METADATA, self.name], None)

    # -- what the workers are told, and who may work -------------------------------------------

    def _tell(self) -> None:
        import cloudpickle

        module = module_of(self.work)
        self._head = JobHead(module, identity(module), os.getcwd(), witness(self.items))
        self._payload = (pickle.dumps(self._head), cloudpickle.dumps(self.work))
        self.cluster.client.set_metadata([METADATA, self.name], self._payload)

    def _survey(self) -> None:
        """Ask every worker that is not known yet whether it agrees; say who is left out, and why.

        Raises
        ------
        CheepError
            There is no worker, for long, or none that agrees.
        """
        begin = time.monotonic()
        deadline = begin + self.cluster.wait_s
        said = False
        while not self._look(now=True):
            if not said and time.monotonic() - begin > _RESTART_S:
                log.warning("%s: no worker yet; waiting for one (dask worker %s)", self.cluster.address, self._url())
                said = True
            if time.monotonic() > deadline:
                raise CheepError(
                    f"--cluster {self.cluster.address}: no worker for {self.cluster.wait_s / 60:.0f} minutes; start "
                    f"some: dask worker {self._url()} --nthreads 1"
                )
            time.sleep(_POLL_S / 2)
        call, asked = packed(agree, self._head), {}
        for address, threads in self._workers.items():
            if address not in self._refused:
                key = f"cheep-agree-{self.name}-{secrets.token_hex(4)}"
                asked[address] = self.cluster.client.submit(pickle.loads, call, key=key, workers=[address], pure=False)
                if threads > 1:
                    log.info("worker %s: %d threads, of which Cheep uses one (--nthreads 1)", address, threads)
        end = time.monotonic() + _SURVEY_S
        for address, future in asked.items():
            try:
                said_no = future.result(timeout=max(0.1, end - time.monotonic()))
            except ImportError as error:
                said_no = Refused(f"{_first_line(error)}: install cheep there")
            except Exception as error:  # died or too slow meanwhile: its tasks will tell
                log.debug("worker %s: no answer (%s)", address, _first_line(error))
                continue
            if said_no is not None:
                self._refused[address] = said_no.reason
                log.warning("worker %s is left out: %s", address, said_no.reason)
        if self._refused and not set(self._workers) - set(self._refused):
            address, reason = next(iter(self._refused.items()))
            raise CheepError(
                f"--cluster {self.cluster.address}: none of {len(self._refused)} worker(s) may take part; {address}: "
                f"{reason}"
            )

    def _url(self) -> str:
        return self.cluster.address.value if self.cluster.address.kind == "url" else "tcp://HOST:8786"

    def _look(self, now: bool = False) -> dict[str, int]:
        """Return the workers, asked for every few seconds."""
        if now or time.monotonic() - self._looked_s > _POLL_S:
            with contextlib.suppress(Exception):
                self._workers = self.cluster.workers()
            self._looked_s = time.monotonic()
        return self._workers

    # -- there and back ------------------------------------------------------------------------

    def _fill(self) -> None:
        """Give the workers enough to do."""
        workers = max(1, len(set(self._look()) - set(self._refused)))
        unfinished = sum(batch.outcomes is None and not batch.killed for batch in self._waiting)
        for _ in range(min(2 * workers - unfinished, _AHEAD * workers - len(self._waiting))):
            if self._next >= len(self.items):
                return
            size = self._batch_size(workers)
            batch = _Batch(self._next, list(self.items[self._next : self._next + size]))
            self._next += len(batch.items)
            self._waiting.append(batch)
            self._give(batch)

    def _batch_size(self, workers: int) -> int:
        if self._item_s is None:
            return 1
        fair = (len(self.items) - self._next) // (2 * workers)  # nobody waits at the end for one long batch
        return max(1, min(_MOST_IN_BATCH, fair, int(_BATCH_S / max(self._item_s, 1e-6))))

    def _give(self, batch: _Batch) -> None:
        import cloudpickle

        self._attempt += 1
        call = packed(run_batch, self.name, [cloudpickle.dumps(item) for item in batch.items])
        batch.allowed = frozenset(set(self._look(now=True)) - set(self._refused)) if self._refused else None
        key = f"cheep-{self.name}-{batch.first}-{self._attempt}"
        self._by_key[key] = batch
        try:
            batch.generation = self.cluster.generation
            batch.future = self.cluster.client.submit(
                pickle.loads, call, key=key, pure=False, workers=sorted(batch.allowed) if batch.allowed else None
            )
            batch.future.add_done_callback(self._ready.put)
        except Exception as error:  # the client is closed: seen and mended below
            log.debug("cannot submit: %s", _first_line(error))
            batch.future = None

    def _collect(self) -> None:
        """Wait for finished batches and take their results; mend what is broken."""
        unfinished = [batch for batch in self._waiting if batch.outcomes is None and not batch.killed]
        if not unfinished:
            return
        ready = []
        with contextlib.suppress(queue.Empty):
            ready.append(self._ready.get(timeout=_POLL_S))
            while True:
                ready.append(self._ready.get_nowait())
        if not ready:
            self._check(unfinished)
            return
        batches = [(self._by_key.pop(future.key, None), future) for future in ready]
        current = [(batch, future) for batch, future in batches if batch is not None and batch.future is future]
        good = [(batch, future) for batch, future in current if future.status == "finished"]
        try:
            values = self.cluster.client.gather([future for _, future in good]) if good else []
        except Exception as error:  # the scheduler is lost in this moment
            log.debug("cannot gather: %s", _first_line(error))
            self._again()
            return
        for (batch, _), value in zip(good, values, strict=True):
            self._take(batch, value)
        for batch, future in current:
            if future.status == "error":
                self._failed(batch, future)
        if any(future.status in ("cancelled", "lost") for _, future in current):
            self._cancelled([batch for batch, future in current if future.status in ("cancelled", "lost")])

    def _take(self, batch: _Batch, value: Done | Refused) -> None:
        batch.future = None
        if isinstance(value, Refused):
            self._survey()
            self._give(batch)
            return
        batch.outcomes = [pickle.loads(outcome) for outcome in value.outcomes]
        each = value.seconds / len(batch.items)
        self._item_s = each if self._item_s is None else 0.8 * self._item_s + 0.2 * each

    def _failed(self, batch: _Batch, future: Any) -> None:
        """Workers that died over it, or one that could not even begin."""
        from distributed import KilledWorker

        error = future.exception()
        batch.future = None
        if isinstance(error, KilledWorker):
            batch.killed = True
            return
        batch.cancelled += 1
        if batch.cancelled > _TRIES:
            raise CheepError(f"--cluster {self.cluster.address}: workers fail before they begin: {_first_line(error)}")
        log.debug("batch %d: %s", batch.first, _first_line(error))
        self._survey()
        self._give(batch)

    def _cancelled(self, batches: list[_Batch]) -> None:
        if not self.cluster.alive() or any(batch.generation == self.cluster.generation for batch in batches):
            self._again()

    def _check(self, unfinished: list[_Batch]) -> None:
        """Nothing came for a while: is everybody still there?"""
        void = any(batch.future is None or batch.generation != self.cluster.generation for batch in unfinished)
        if void or not self.cluster.alive():
            self._again()
        elif not self._look(now=True):
            self._survey()
        else:
            for batch in unfinished:
                if batch.allowed is not None and not batch.allowed & set(self._workers):
                    self.cluster.client.cancel([batch.future], reason="its workers are gone")
                    self._give(batch)

    def _again(self) -> None:
        """Connect anew and give again what has not come back."""
        if all(b.generation == self.cluster.generation for b in self._waiting if b.outcomes is None and not b.killed):
            self.cluster.again()
        self.cluster.client.set_metadata([METADATA, self.name], self._payload)
        self._refused.clear()
        self._survey()
        for batch in self._waiting:
            if batch.outcomes is None and not batch.killed:
                self._give(batch)

    def _one_by_one(self, batch: _Batch) -> None:
        """Work on items over which workers died, each alone in the cluster: who kills again is to blame."""
        batch.outcomes = []
        while any(other.outcomes is None and not other.killed for other in self._waiting):
            self._collect()
        for place, item in enumerate(batch.items):
            alone = _Batch(batch.first + place, [item])
            self._waiting.append(alone)
            self._give(alone)
            while alone.outcomes is None and not alone.killed:
                self._collect()
            self._waiting.remove(alone)
            error = CheepError(f"{item}: ended the workers that worked on it, again and again (memory?)")
            batch.outcomes += [Outcome(error=error)] if alone.killed else alone.outcomes or []


def _first_line(error: BaseException | None) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
