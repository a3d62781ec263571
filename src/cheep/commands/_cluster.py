# SPDX-License-Identifier: MIT
"""The option ``--cluster``: where a command's work over recordings is done."""

from __future__ import annotations

import argparse
import contextlib
from typing import Any

from cheep.errors import CheepError


def add_cluster(parser: Any) -> None:
    """Declare ``--cluster``."""
    parser.add_argument(
        "--cluster",
        metavar="WHERE",
        help="Dask cluster that does the work: tcp://HOST:8786, file:SCHEDULER.json or local:N "
        "(default: processes on this machine); docs/cluster.md",
    )


def working_on(args: argparse.Namespace) -> contextlib.AbstractContextManager:
    """Return the context in which the command's work over recordings is done where ``--cluster`` says."""
    where = getattr(args, "cluster", None)
    if not where:
        return contextlib.nullcontext()
    if getattr(args, "jobs", None):
        raise CheepError("--jobs and --cluster: give one of the two (a cluster has its own number of workers)")
    from cheep.cluster import connected

    return connected(where)
