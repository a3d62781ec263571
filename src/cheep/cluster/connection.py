# SPDX-License-Identifier: MIT
"""The connection to a scheduler, made again where it is lost."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import Any

from cheep.cluster.address import Address, connect, start_local
from cheep.errors import CheepError

log = logging.getLogger(__name__)

WAIT_S = 600.0  # for a scheduler, or for a first worker
_AT_REST = ("memory", "released", "forgotten", "error")  # of a worker's tasks: nothing is done about them


class Connection:
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

    def __enter__(self) -> Connection:
        if self.address.kind == "local":
            self._local = start_local(int(self.address.value))
        try:
            self._client = connect(self.address, self._local)
        except (OSError, ValueError) as error:
            raise CheepError(
                f"--cluster {self.address}: no scheduler answers ({first_line(error)}); start one: dask scheduler "
                "(docs/cluster.md)"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Exception):
            self._client.close(timeout=2)
        if self._local is not None:
            with contextlib.suppress(Exception):  # a busy machine is slow to end them: they end with this process
                self._local.close(timeout=5)

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
                        f"({first_line(error)}); start it, and run this again: it goes on where it was"
                    ) from None
                time.sleep(max(0.0, 1.0 - (time.monotonic() - begin)))
        self.generation += 1

    def workers(self) -> dict[str, int]:
        """Return the addresses of the workers with their threads."""
        info = self._client.scheduler_info(n_workers=-1)
        return {address: int(told["nthreads"]) for address, told in info["workers"].items()}

    def idle(self) -> dict[str, float]:
        """Return the workers that have nothing to do, with the scheduler's time of the last word from them, s."""
        info = self._client.scheduler_info(n_workers=-1)
        heard = {}
        for address, told in info["workers"].items():
            if told["status"] != "running":  # paused (memory), closing: it may have been given nothing
                continue
            counts = told["metrics"].get("task_counts", {"executing": 1})  # of a worker that has not said: busy
            if not any(number for state, number in counts.items() if state not in _AT_REST):
                heard[address] = float(told["last_seen"])
        return heard


def first_line(error: BaseException | None) -> str:
    """Return the first line of what an error says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
