# SPDX-License-Identifier: MIT
"""Where a species' energy lies, against what the detector's sample rate can carry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def share_above(edges_hz: Sequence[float] | np.ndarray, energy: Sequence[float] | np.ndarray, limit_hz: float) -> float:
    """Return the share of ``energy`` above ``limit_hz``; a band that is cut counts in proportion.

    ``edges_hz`` : (bands + 1,) float64, rising; ``energy`` : (bands,) float64, summing to 1.
    """
    edges = np.asarray(edges_hz, float)
    part = np.clip((edges[1:] - limit_hz) / np.maximum(np.diff(edges), 1e-9), 0, 1)
    return float(np.sum(part * np.asarray(energy, float)))


def bandwidth_warnings(rows: Sequence[dict[str, Any]], sample_rate_hz: int, least: float = 0.2) -> list[str]:
    """Return one sentence per label whose energy lies above half the rate by more than ``least`` in the mean."""
    shares: dict[str, list[float]] = {}
    for row in rows:
        if row["energy_above"] != "":
            shares.setdefault(row["label"], []).append(float(row["energy_above"]))
    return [
        f"{label}: {100 * np.mean(values):.0f} % of this species' energy is above {sample_rate_hz / 2000:g} kHz "
        f"(mean of {len(values)} recordings): use --sample-rate {2 * sample_rate_hz}"
        for label, values in sorted(shares.items())
        if np.mean(values) > least
    ]
