# SPDX-License-Identifier: MIT
"""A job over many items on a Dask cluster: workers, the network and the scheduler may fail.

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

from cheep.cluster.connection import Connection, first_line
from cheep.cluster.identity import identity, module_of, witness
from cheep.cluster.task import METADATA, Done, JobHead, Refused, agree, packed, run_batch
from cheep.errors import CheepError
from cheep.parallel import Outcome

log = logging.getLogger(__name__)

_POLL_S = 2.0
_RESTART_S = 10.0  # what a worker may take to come back, without a word
_SURVEY_S = 180.0  # the first look at a worker compiles its C core
BATCH_S = 0.2  # short items travel together, about so long
MOST_IN_BATCH = 32
_AHEAD = 4  # batches per worker that are under way or wait for those before them: bounds the memory
_WAITING_BYTES = 1 << 29  # of results that wait for one before them: no more is given out meanwhile
_TRIES = 5  # of a batch that the cluster cancels, or forgets, without a reason
_FORGOTTEN_S = 20.0  # every worker has nothing to do for so long, and there is work: the cluster has lost it
_WORD_S = 5.0  # so long a worker may be without a word meanwhile (of 800 workers each gives one every 5 s)


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
    n_bytes: int = 0
    killed: bool = False


class Job:
    """One call of :func:`cheep.parallel.map_each`: what is under way, what has come back."""

    def __init__(self, connection: Connection, work: Callable, items: Sequence[Any]):
        self.link, self.work, self.items = connection, work, items
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
        self._words: dict[str, float] = {}  # worker -> when it was heard of last
        self._words_s = 0.0
        self._idle_since_s: float | None = None

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
                self.link.client.cancel([b.future for b in self._waiting if b.future is not None], reason="the end")
            with contextlib.suppress(Exception):
                self.link.client.set_metadata([METADATA, self.name], None)

    # -- what the workers are told, and who may work -------------------------------------------

    def _tell(self) -> None:
        import cloudpickle

        module = module_of(self.work)
        self._head = JobHead(module, identity(module), os.getcwd(), witness(self.items))
        self._payload = (pickle.dumps(self._head), cloudpickle.dumps(self.work))
        self.link.client.set_metadata([METADATA, self.name], self._payload)

    def _survey(self) -> None:
        """Ask every worker that is not known yet whether it agrees; say who is left out, and why.

        Raises
        ------
        CheepError
            There is no worker, for long, or none that agrees.
        """
        begin = time.monotonic()
        deadline = begin + self.link.wait_s
        said = False
        while not self._look(now=True):
            if not said and time.monotonic() - begin > _RESTART_S:
                log.warning("%s: no worker yet; waiting for one (dask worker %s)", self.link.address, self._url())
                said = True
            if time.monotonic() > deadline:
                raise CheepError(
                    f"--cluster {self.link.address}: no worker for {self.link.wait_s / 60:.0f} minutes; start "
                    f"some: dask worker {self._url()} --nthreads 1"
                )
            time.sleep(_POLL_S / 2)
        call, asked = packed(agree, self._head), {}
        for address, threads in self._workers.items():
            if address not in self._refused:
                key = f"cheep-agree-{self.name}-{secrets.token_hex(4)}"
                asked[address] = self.link.client.submit(pickle.loads, call, key=key, workers=[address], pure=False)
                if threads > 1:
                    log.info("worker %s: %d threads, of which Cheep uses one (--nthreads 1)", address, threads)
        end = time.monotonic() + _SURVEY_S
        for address, future in asked.items():
            try:
                said_no = future.result(timeout=max(0.1, end - time.monotonic()))
            except ImportError as error:
                said_no = Refused(f"{first_line(error)}: install cheep there")
            except Exception as error:  # died or too slow meanwhile: its tasks will tell
                log.debug("worker %s: no answer (%s)", address, first_line(error))
                continue
            if said_no is not None:
                self._refused[address] = said_no.reason
                log.warning("worker %s is left out: %s", address, said_no.reason)
        if self._refused and not set(self._workers) - set(self._refused):
            address, reason = next(iter(self._refused.items()))
            raise CheepError(
                f"--cluster {self.link.address}: none of {len(self._refused)} worker(s) may take part; {address}: "
                f"{reason}"
            )

    def _url(self) -> str:
        return self.link.address.value if self.link.address.kind == "url" else "tcp://HOST:8786"

    def _look(self, now: bool = False) -> dict[str, int]:
        """Return the workers, asked for every few seconds."""
        if now or time.monotonic() - self._looked_s > _POLL_S:
            with contextlib.suppress(Exception):
                self._workers = self.link.workers()
            self._looked_s = time.monotonic()
        return self._workers

    # -- there and back ------------------------------------------------------------------------

    def _fill(self) -> None:
        """Give the workers enough to do."""
        workers = max(1, len(set(self._look()) - set(self._refused)))
        unfinished = sum(batch.outcomes is None and not batch.killed for batch in self._waiting)
        if unfinished and sum(batch.n_bytes for batch in self._waiting) > _WAITING_BYTES:
            return
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
        return max(1, min(MOST_IN_BATCH, fair, int(BATCH_S / max(self._item_s, 1e-6))))

    def _give(self, batch: _Batch) -> None:
        import cloudpickle

        self._attempt += 1
        call = packed(run_batch, self.name, [cloudpickle.dumps(item) for item in batch.items])
        batch.allowed = frozenset(set(self._look(now=True)) - set(self._refused)) if self._refused else None
        key = f"cheep-{self.name}-{batch.first}-{self._attempt}"
        self._by_key[key] = batch
        try:
            batch.generation = self.link.generation
            batch.future = self.link.client.submit(
                pickle.loads, call, key=key, pure=False, workers=sorted(batch.allowed) if batch.allowed else None
            )
            batch.future.add_done_callback(self._ready.put)
        except Exception as error:  # the client is closed: seen and mended below
            log.debug("cannot submit: %s", first_line(error))
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
        self._idle_since_s = None
        batches = [(self._by_key.pop(future.key, None), future) for future in ready]
        current = [(batch, future) for batch, future in batches if batch is not None and batch.future is future]
        # asked once: it changes meanwhile (what was lost with its worker is made anew), and nobody tells a second time
        states = [(batch, future, future.status) for batch, future in current]
        good = [(batch, future) for batch, future, status in states if status == "finished"]
        try:
            values = self.link.client.gather([future for _, future in good]) if good else []
        except Exception as error:  # the scheduler is lost in this moment
            log.debug("cannot gather: %s", first_line(error))
            self._again()
            return
        for (batch, _), value in zip(good, values, strict=True):
            self._take(batch, value)
        for batch, future, status in states:
            if status == "error":
                self._failed(batch, future)
            elif status not in ("finished", "cancelled"):
                self._anew(batch, "lost with its worker")
        if cancelled := [batch for batch, _, status in states if status == "cancelled"]:
            self._cancelled(cancelled)

    def _take(self, batch: _Batch, value: Done | Refused) -> None:
        batch.future = None
        if isinstance(value, Refused):
            self._survey()
            self._give(batch)
            return
        batch.outcomes = [pickle.loads(outcome) for outcome in value.outcomes]
        batch.n_bytes = sum(map(len, value.outcomes))
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
            raise CheepError(f"--cluster {self.link.address}: workers fail before they begin: {first_line(error)}")
        log.debug("batch %d: %s", batch.first, first_line(error))
        self._survey()
        self._give(batch)

    def _anew(self, batch: _Batch, reason: str) -> None:
        """Give a batch again that the scheduler may still know."""
        with contextlib.suppress(Exception):  # the scheduler is lost in this moment: seen and mended in _check
            self.link.client.cancel([batch.future], reason=reason)
        self._give(batch)

    def _cancelled(self, batches: list[_Batch]) -> None:
        if not self.link.alive() or any(batch.generation == self.link.generation for batch in batches):
            self._again()

    def _check(self, unfinished: list[_Batch]) -> None:
        """Nothing came for a while: is everybody still there?"""
        void = any(batch.future is None or batch.generation != self.link.generation for batch in unfinished)
        if void or not self.link.alive():
            self._again()
        elif not self._look(now=True):
            self._idle_since_s = None
            self._survey()
        else:
            for batch in unfinished:
                if batch.allowed is not None and not batch.allowed & set(self._workers):
                    self._anew(batch, "its workers are gone")
            if self._forgotten():
                self._give_forgotten(unfinished)

    def _forgotten(self) -> bool:
        """Tell whether all workers that take part have had nothing to do for a while.

        A worker whose last word is old (C code can keep it from speaking) counts as busy.
        """
        try:
            idle = self.link.idle()
        except Exception as error:  # the scheduler is lost in this moment
            log.debug("cannot look: %s", first_line(error))
            return False
        now, mine = time.monotonic(), set(self._workers) - set(self._refused)
        if not mine or not mine <= idle.keys():
            self._idle_since_s = None
            return False
        if self._idle_since_s is None:
            self._idle_since_s = self._words_s = now
            self._words = idle
        elif now - self._words_s >= _WORD_S:
            if any(self._words.get(worker) == idle[worker] for worker in mine):
                self._idle_since_s = now
            self._words, self._words_s = idle, now
        return now - self._idle_since_s > _FORGOTTEN_S

    def _give_forgotten(self, batches: list[_Batch]) -> None:
        """Give again what a cluster with idle workers does not do: a worker that dies can take its tasks with it.

        Raises
        ------
        CheepError
            It has done so again and again.
        """
        log.warning("%s: workers wait, and %d batch(es) do not come: given again", self.link.address, len(batches))
        self._idle_since_s = None
        for batch in batches:
            batch.cancelled += 1
            if batch.cancelled > _TRIES:
                raise CheepError(f"--cluster {self.link.address}: work is lost again and again; look at its log")
            self._anew(batch, "forgotten")

    def _again(self) -> None:
        """Connect anew and give again what has not come back."""
        self._idle_since_s = None
        open_ones = [batch for batch in self._waiting if batch.outcomes is None and not batch.killed]
        lost = all(batch.generation == self.link.generation for batch in open_ones)  # else: connected anew already
        for _ in range(_TRIES):
            if lost:
                self.link.again()
            try:
                self.link.client.set_metadata([METADATA, self.name], self._payload)
                self._refused.clear()
                self._survey()
                break
            except CheepError:
                raise
            except Exception as error:  # lost once more
                log.debug("lost again: %s", first_line(error))
                lost = True
        else:
            raise CheepError(f"--cluster {self.link.address}: the scheduler comes and goes; look at its log")
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
