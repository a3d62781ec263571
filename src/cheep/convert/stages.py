# SPDX-License-Identifier: MIT
"""Numerical agreement of successive forms of one network, with the first that departs named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cheep.errors import CheepError

FLOAT_TOLERANCE = 1e-3


def check_stages(
    stages: Sequence[tuple[str, Callable[[np.ndarray], np.ndarray]]], x: np.ndarray, tolerance: float = FLOAT_TOLERANCE
) -> list[dict[str, Any]]:
    """Run ``x`` (n, ...) float32 through every form; return one row per step.

    A step departs when the largest difference exceeds ``tolerance`` times the largest output (at least 1).

    Raises
    ------
    CheepError
        Names the first step that departs, by how much, and on which example.
    """
    rows: list[dict[str, Any]] = []
    before = None
    for name, run in stages:
        out = np.asarray(run(x), np.float64).reshape(len(x), -1)
        if not np.isfinite(out).all():
            raise CheepError(f"stage {name}: gives NaN or infinity on real examples")
        if before is not None:
            if out.shape != before[1].shape:
                raise CheepError(f"stage {name}: {out.shape[1]} outputs where {before[0]} gives {before[1].shape[1]}")
            difference = np.abs(out - before[1])
            worst, example = float(difference.max()), int(difference.max(axis=1).argmax())
            limit = tolerance * max(1.0, float(np.abs(before[1]).max()))
            rows.append(
                {
                    "from": before[0],
                    "to": name,
                    "max_difference": worst,
                    "limit": limit,
                    "same_class": float(np.mean(out.argmax(1) == before[1].argmax(1))),
                }
            )
            if worst > limit:
                raise CheepError(
                    f"stage {name} departs from {before[0]}: by {worst:.3g} on example {example} (limit "
                    f"{limit:.3g}); the stages before agree. Report the operator list of the model"
                )
        before = (name, out)
    return rows
