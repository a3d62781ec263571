# SPDX-License-Identifier: MIT
"""The engine of :func:`cheep.parallel.map_each` on a Dask cluster."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from cheep.cluster.address import Address
from cheep.cluster.connection import Connection
from cheep.cluster.job import Job
from cheep.parallel import Outcome, using


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of a scheduler."""

    connection: Connection

    def map(self, work: Callable, items: Sequence[Any]) -> Iterator[Outcome]:
        """Yield the outcome of ``work(item)`` for each of ``items``, in their order."""
        return Job(self.connection, work, items).outcomes()


@contextlib.contextmanager
def connected(text: str) -> Iterator[Cluster]:
    """Let every :func:`cheep.parallel.map_each` inside work on the cluster that ``text`` (``--cluster``) names.

    Raises
    ------
    CheepError
        It cannot be reached, or ``text`` has none of the forms.
    """
    with Connection(Address.parse(text)) as connection:
        cluster = Cluster(connection)
        with using(cluster):
            yield cluster
