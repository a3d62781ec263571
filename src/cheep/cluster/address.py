# SPDX-License-Identifier: MIT
"""Which cluster ``--cluster`` means, and the connection to it."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

from cheep.errors import CheepError
from cheep.parallel import ONE_THREAD, ctrl_c_later

FORMS = "tcp://HOST:8786, tls://HOST:8786, file:SCHEDULER.json, or local:N"
_CONNECT_S = 10.0


@dataclasses.dataclass(frozen=True)
class Address:
    """Where a scheduler is: ``kind`` is ``url``, ``file`` or ``local``, ``value`` the URL, the path or the number."""

    kind: str
    value: str

    def __str__(self) -> str:
        return self.value if self.kind == "url" else f"{self.kind}:{self.value}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read what ``--cluster`` was given.

        Raises
        ------
        CheepError
            It has none of the forms.
        """
        kind, _, value = text.partition(":")
        if kind in ("tcp", "tls") and value.startswith("//") and value.rpartition(":")[2].isdigit():
            return cls("url", text)
        if kind == "file" and value:
            return cls("file", value)
        if kind == "local" and value.isdigit() and int(value) >= 1:
            return cls("local", value)
        raise CheepError(f"--cluster {text}: must be {FORMS} (docs/cluster.md)")


def import_distributed() -> Any:
    """Return the module ``distributed``; CheepError where it is not installed."""
    try:
        import distributed
    except ImportError:
        raise CheepError(
            "--cluster needs dask and distributed: pip install dask distributed (tested: requirements-cluster.txt)"
        ) from None
    for name in ["distributed", *logging.root.manager.loggerDict]:
        if name.split(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters is said by Cheep, once
    return distributed


def start_local(number: int) -> Any:
    """Return a cluster of ``number`` processes on this machine; they end with this process, however it ends."""
    distributed = import_distributed()
    import dask

    settings = {
        "logging": {"distributed": "critical", "bokeh": "critical"},
        "distributed.scheduler.allowed-failures": 1,  # who has killed two workers is tried alone
    }
    # Else a worker that takes long to come back is given up; read whenever one is lost, so it must stay.
    dask.config.set({"distributed.deploy.lost-worker-timeout": "1000 days"})
    with dask.config.set(settings), ctrl_c_later():  # also for workers that are started later, by its thread
        return distributed.LocalCluster(
            n_workers=number,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",  # any free port: the usual one may be in use
            env=ONE_THREAD,
            silence_logs=logging.CRITICAL,
        )


def connect(address: Address, local: Any = None) -> Any:
    """Return a Dask client of the scheduler at ``address``.

    Raises
    ------
    OSError
        Nobody answers there, or the scheduler file is not there (yet).
    """
    distributed = import_distributed()
    if local is not None:
        return distributed.Client(local, set_as_default=False)
    timeout_s = f"{_CONNECT_S:g}s"
    if address.kind == "file":
        if not Path(address.value).is_file():
            raise OSError(f"{address.value}: no such scheduler file")
        return distributed.Client(scheduler_file=address.value, timeout=timeout_s, set_as_default=False)
    return distributed.Client(address.value, timeout=timeout_s, set_as_default=False)
