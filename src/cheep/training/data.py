# SPDX-License-Identifier: MIT
"""From a manifest to network inputs: labels, windows into the feature cache, balanced epochs."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from cheep.config import FeatureConfig, TrainConfig
from cheep.config.data import LABEL_SEPARATOR, means_background
from cheep.datasets.manifest import Manifest
from cheep.datasets.split import components
from cheep.detector import check_classes
from cheep.errors import CheepError
from cheep.features.cache import FeatureCache, build_feature_cache

CONTEXT_S = 1.0
BLOCK_WINDOWS = 8192  # a multiple of every batch in which windows are judged: the scores do not depend on it
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class LabelPlan:
    """What the network's outputs mean.

    ``labels`` are the outputs in order. One target against the background has one sigmoid output; several have
    softmax outputs, the background being one of them where it occurs.
    """

    labels: tuple[str, ...]
    activation: str
    background: str | None

    @classmethod
    def of(cls, manifest: Manifest, config: TrainConfig) -> LabelPlan:
        """Derive the plan from the labels of a manifest."""
        names = sorted({part for name in manifest.labels for part in name.split(LABEL_SEPARATOR)})
        background = _background_of(names, config.background)
        targets = [name for name in names if name != background]
        if not targets:
            raise CheepError(f"labels {names}: no target beside the background {background!r}; add a species")
        if len(targets) == 1 and background is None:
            raise CheepError(
                f"label {targets[0]!r} is the only one: a detector needs something else to tell it from; add "
                f"background recordings (label {config.background!r}) or another species"
            )
        if len(targets) == 1:
            return cls((targets[0],), "sigmoid", background)
        activation = "softmax" if config.activation == "auto" else config.activation
        outputs = names if activation == "softmax" else targets
        check_classes(len(outputs))
        return cls(tuple(outputs), activation, background)

    @property
    def silence(self) -> np.ndarray:
        """Targets of a window without any sound, (labels,) float32: background, or all labels alike."""
        if self.background in self.labels:
            return self.encode([self.background])[0]
        share = 1 / len(self.labels) if self.activation == "softmax" else 0.0
        return np.full(len(self.labels), share, np.float32)

    def encode(self, names: list[str]) -> np.ndarray:
        """Return targets (n, labels) float32 in {0, 1}."""
        place = {label: i for i, label in enumerate(self.labels)}
        out = np.zeros((len(names), len(self.labels)), np.float32)
        for row, name in enumerate(names):
            for part in name.split(LABEL_SEPARATOR):
                if part in place:
                    out[row, place[part]] = 1
        return out


def _background_of(names: list[str], wanted: str) -> str | None:
    if wanted in names:
        return wanted
    found = [name for name in names if means_background(name)]
    if len(found) > 1:
        raise CheepError(
            f"labels {', '.join(found)}: all of them mean that no target species is there: make them one (split again "
            "with cheep split-dataset, which joins them)"
        )
    if found:
        log.warning("label %r is taken as the background", found[0])
    return found[0] if found else None


@dataclasses.dataclass(frozen=True)
class WindowSet:
    """Windows of one split.

    ``first`` (n,) int64 is each window's first row in ``cache.columns``; ``low`` and ``high`` (n,) bound where it
    may start inside its recording; ``targets`` (n, classes) float32; ``clip`` (n,) int ids of the recording, ``group``
    (n,) of what the split keeps together (recording, content, group);
    ``silence`` (classes,) float32, the targets of a window of digital silence, whatever its recording is called.
    ``levels`` holds the same recordings' columns in dB (training only): needed for PCEN, and for teachers that use it.
    """

    cache: FeatureCache
    first: np.ndarray
    low: np.ndarray
    high: np.ndarray
    targets: np.ndarray
    label: np.ndarray
    clip: np.ndarray
    is_background: np.ndarray
    silence: np.ndarray
    levels: FeatureCache | None = None
    group: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.first)

    @property
    def context_frames(self) -> int:
        """Columns before a window that :meth:`gather_levels` adds, for the running means of PCEN to settle."""
        config = self.cache.config
        return round(CONTEXT_S / config.hop_s) if self.levels is not None else 0

    def gather_levels(self, index: np.ndarray, shift: np.ndarray | int = 0) -> np.ndarray:
        """Return windows in dB, (k, context_frames + columns, mels) float32, of rows ``index``, as :meth:`gather`.

        Where a recording starts too late for the context, its first column is repeated. A recording of one window
        cannot be moved: it is turned, so that some of its (quiet) end comes first.
        """
        cache = self.levels or self.cache
        frames = cache.config.window_frames
        low, high = self.low[index], self.high[index]
        start = np.clip(self.first[index] + shift, low, high)
        turn = np.where(low == high, np.abs(shift), 0)[:, None]
        inside = (np.arange(frames) - turn) % frames
        rows = start[:, None] + np.concatenate([np.arange(-self.context_frames, 0) + inside[:, :1], inside], axis=1)
        return cache.take(np.maximum(rows, low[:, None]))

    def gather(self, index: np.ndarray, shift: np.ndarray | int = 0) -> np.ndarray:
        """Return windows (k, columns, mels) float32 of rows ``index``, moved by ``shift`` columns in their recordings.

        ``index`` : (k,) int64; ``shift`` : (k,) int64, or one number for all.
        """
        start = np.clip(self.first[index] + shift, self.low[index], self.high[index])
        rows = start[:, None] + np.arange(self.cache.config.window_frames)
        return self.cache.take(rows)

    def all(self) -> np.ndarray:
        """Return every window, (n, columns, mels) float32."""
        return self.gather(np.arange(len(self)))

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield every window, some thousands at a time: (k, columns, mels) float32, in bounded memory."""
        for first in range(0, len(self), BLOCK_WINDOWS):
            yield self.gather(np.arange(first, min(len(self), first + BLOCK_WINDOWS)))


def load_cache(
    manifest: Manifest, config: FeatureConfig, folder: Path, progress: Callable[[int, int], None] | None = None
) -> FeatureCache:
    """Return the features of all recordings that ``manifest`` uses, cached in ``folder``."""
    codes, values = manifest.codes("path")
    used = [values[code] for code in np.unique(codes)]
    order = sorted(used)
    return build_feature_cache([manifest.folder / name for name in order], order, config, folder, progress=progress)


def window_set(manifest: Manifest, cache: FeatureCache, plan: LabelPlan) -> WindowSet:
    """Return the windows of ``manifest`` (one row each, start rounded to the nearest column).

    Raises
    ------
    CheepError
        A row starts behind the end of its recording.
    """
    config = cache.config
    codes, values = manifest.codes("path")
    spans = np.array([cache.spans.get(value, (0, 0)) for value in values], np.int64).reshape(-1, 2)
    begin, count = spans[codes, 0], spans[codes, 1]
    offset = np.rint(manifest.start_s * config.sample_rate_hz / config.hop_samples).astype(np.int64)
    beyond = np.flatnonzero(offset > count)
    if beyond.size:
        row = int(beyond[0])
        raise CheepError(
            f"{values[codes[row]]}: window at {manifest.start_s[row]:g} s starts behind the end of the recording; "
            "make the manifest again with cheep split-dataset"
        )
    last = begin + count - config.window_frames
    first = np.minimum(begin + offset, last)
    label, names = manifest.codes("label")
    order = sorted(names[code] for code in np.unique(label))
    rank = {name: place for place, name in enumerate(order)}
    return WindowSet(
        cache=cache,
        first=first,
        low=begin,
        high=last,
        targets=plan.encode(names)[label],
        label=np.array([rank.get(name, -1) for name in names], np.int64)[label],
        clip=codes.astype(np.int64),
        group=components(manifest, ("recording", "sha256", "group")),
        is_background=np.array([name == plan.background for name in names], bool)[label],
        silence=plan.silence,
    )


def balanced_draw(labels: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw ``n`` row indices so that classes occur with the square root of their size, each class reshuffled.

    Parameters
    ----------
    labels : (m,) int64
        Class of each row.

    Returns
    -------
    ndarray
        (n,) int64.
    """
    classes, counts = np.unique(labels, return_counts=True)
    weight = np.sqrt(counts)
    wanted = np.floor(n * weight / weight.sum()).astype(int)
    wanted[: n - wanted.sum()] += 1
    parts = []
    for value, size in zip(classes, wanted, strict=True):
        rows = np.flatnonzero(labels == value)
        repeats = [rng.permutation(rows) for _ in range(-(-size // len(rows)))]
        parts.append(np.concatenate(repeats)[:size] if repeats else rows[:0])
    return rng.permutation(np.concatenate(parts))
