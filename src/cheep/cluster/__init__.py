# SPDX-License-Identifier: MIT
"""Many machines for one job over recordings: :func:`cheep.parallel.map_each` on a Dask cluster."""

from cheep.cluster.client import connected

__all__ = ["connected"]
