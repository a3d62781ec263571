# SPDX-License-Identifier: MIT
"""Soft labels: how likely each label of a window is, in a table beside the manifest (``soft_labels.csv``).

Its columns are ``path`` and ``start_s``, as the manifest has them, and one for each label, 0..1. Training blends them
into the labels (``train.soft_weight``); windows that have none keep their label alone.
"""

from __future__ import annotations

import csv
import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cheep.datasets.manifest import Manifest
from cheep.errors import CheepError
from cheep.files import write_csv

log = logging.getLogger(__name__)

SOFT_LABELS = "soft_labels.csv"
SOFTEN_COMMAND = "cheep dataset soften"
Key = tuple[str, int]  # path, start in ms


@dataclasses.dataclass(frozen=True)
class SoftLabels:
    """Probabilities by window: ``values`` (n, labels) float32 in 0..1, in the order of ``rows`` (path, start in ms)."""

    labels: tuple[str, ...]
    rows: dict[Key, int]
    values: np.ndarray

    def blend(self, manifest: Manifest, targets: np.ndarray, labels: Sequence[str], weight: float) -> np.ndarray:
        """Return ``targets`` (rows, labels) float32 with ``weight`` (0..1) of the soft labels in them.

        Raises
        ------
        CheepError
            A label of the network has no column, or no window has a soft label.
        """
        missing = [name for name in labels if name not in self.labels]
        if missing:
            raise CheepError(
                f"{SOFT_LABELS}: no column for {', '.join(missing)} (it has {', '.join(self.labels)}): make it again "
                f"with {SOFTEN_COMMAND}"
            )
        columns = [self.labels.index(name) for name in labels]
        at = np.array([self.rows.get(key, -1) for key in keys_of(manifest)])
        there = at >= 0
        if not there.any():
            raise CheepError(f"{SOFT_LABELS}: holds none of the training windows: make it again with {SOFTEN_COMMAND}")
        if not there.all():
            log.warning("%d of %d training windows have no soft label: theirs is the label", (~there).sum(), len(there))
        out = targets.copy()
        out[there] = (1 - weight) * targets[there] + weight * self.values[at[there]][:, columns]
        return out


def keys_of(manifest: Manifest) -> list[Key]:
    """Return path and start (ms) of each row."""
    starts = np.rint(manifest.start_s * 1000).astype(int).tolist()
    return list(zip(manifest.column("path"), starts, strict=True))


def write_soft(path: Path, manifest: Manifest, labels: Sequence[str], values: np.ndarray) -> None:
    """Write the table of a manifest's windows; ``values`` (rows, labels) float32 in 0..1; rows of NaN are left out."""
    rows = []
    for (name, start_ms), row in zip(keys_of(manifest), values, strict=True):
        if np.isfinite(row).all():
            rows.append((name, f"{start_ms / 1000:g}", *(f"{value:.4f}" for value in row)))
    write_csv(path, ("path", "start_s", *labels), rows)


def read_soft(path: Path) -> SoftLabels:
    """Read the table.

    Raises
    ------
    CheepError
        It is not there, or a line is none of it.
    """
    if not path.is_file():
        raise CheepError(f"{path}: no soft labels (train.soft_weight): make them with {SOFTEN_COMMAND}, or set it to 0")
    rows: dict[Key, int] = {}
    values: list[list[float]] = []
    with open(path, newline="", encoding="utf-8") as stream:
        lines = csv.reader(stream)
        head = next(lines, [])
        if head[:2] != ["path", "start_s"] or len(head) < 3:
            raise CheepError(f"{path}: begins with {','.join(head[:3])!r}: must be path,start_s and a column per label")
        for number, line in enumerate(lines, 2):
            try:
                start, row = float(line[1]), [float(text) for text in line[2:]]
                if len(line) != len(head) or not all(0 <= value <= 1 for value in row):
                    raise ValueError
            except (ValueError, IndexError):
                raise CheepError(f"{path}:{number}: must be a path, a start in s and {len(head) - 2} numbers 0..1") \
                    from None  # fmt: skip
            rows[(line[0], round(start * 1000))] = len(values)
            values.append(row)
    return SoftLabels(tuple(head[2:]), rows, np.array(values, np.float32).reshape(len(values), len(head) - 2))
