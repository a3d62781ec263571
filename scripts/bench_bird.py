# SPDX-License-Identifier: MIT
"""The bird task of bench_accuracy.py: what is a bird, what is background, and what a detector does at given rates.

Every held-out recording is streamed through the device's path once (:func:`stream_recordings`); the scores are kept,
and every figure is counted from them: false alarms an hour at 80 % event recall, recall at 10, 5, 1 and 0.1 false
alarms an hour, by kind of background, and the strongest false alarms.
"""

from __future__ import annotations

import csv
import dataclasses
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from cheep.audio import probe
from cheep.config import DetectorConfig, SyntheticBackgroundConfig
from cheep.datasets.manifest import Manifest
from cheep.datasets.synthetic import synthesize_background
from cheep.device.bundle import load_bundle
from cheep.errors import CheepError
from cheep.evaluate.matching import Annotation, EventCounts, add_counts
from cheep.evaluate.streaming import Output, ScoredRecording, best_scorer, score_recording
from cheep.evaluate.sweep import LevelSweep
from cheep.files import atomic_write

BIRD = "bird"
BIRD_SNR_DB = 12.0  # a bird window holds a bird: its level over the recording's floor in the bands that the rate has
WIDE_HZ = 16000  # the rate from which the level over all bands counts, too, and not only that in 0.9-3.9 kHz
GAP_SNR_DB = 6.0  # a window of a bird recording that stays below this is background (training only)
MORE_BACKGROUND = ("us8k_more",)  # sets of background that the joint manifest does not name, where they are there
NOT_BACKGROUND = ("NOT free of birds", "title hints at possible bird")  # beginnings of notes: such clips are left out
EVENT_RECALL = 0.8
RATES_PER_HOUR = (10.0, 5.0, 1.0, 0.1)
STRONGEST = 20
#: One name for a kind of sound that several sets hold.
KINDS = {
    "dog_bark": "dog",
    "waves": "sea_waves",
    "dude_miaowing": "cat",
    "": "speech",
    **dict.fromkeys(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"], "speech"),
}


def bird_windows(root: Path, window_s: float, sample_rate_hz: int = WIDE_HZ) -> list[dict[str, Any]]:
    """Return bird and background windows of the joint manifest without the soundscapes, and gaps to train on.

    Labels are known by the second: a bird is there where the level in 0.9-3.9 kHz, or (features of ``WIDE_HZ`` or more)
    that over all bands, rises over the recording's floor, so that owls, geese and high trills count as well.
    A longer window stands around its second; a gap is quiet in all of its window. Sets of ``MORE_BACKGROUND`` are
    background, too; clips whose note says that they hold a bird are left out.
    """
    out = []
    notes = _notes(root)
    for row in [*table(root / "manifest_bird_vs_background.csv"), *_more_background(root)]:
        if row["set"] == "soundscapes" or (row["binary"] != BIRD and _holds_bird(notes.get(row["file"], ""))):
            continue
        low, full = _levels(row, "win1s_snr_lt4k_db"), _levels(row, "win1s_snr_db")
        loud = np.maximum(low[: len(full)], full[: len(low)])
        heard = loud if sample_rate_hz >= WIDE_HZ else low
        for second in range(max(1, int(float(row["duration_s"])))):
            start = _around(second, window_s, row)
            if row["binary"] != BIRD:
                out.append(_window(row["file"], "background", start, row, window_s))
            elif second < len(heard) and heard[second] >= BIRD_SNR_DB:
                out.append(_window(row["file"], BIRD, start, row, window_s))
            elif second < len(loud) and max(loud[int(start) : int(np.ceil(start + window_s))]) <= GAP_SNR_DB:
                out.append(_window(row["file"], "background", start, row, window_s) | {"reason": "gap"})
    return out


def synthetic_windows(config: SyntheticBackgroundConfig, rate_hz: int, window_s: float, folder: Path):
    """Return windows of synthesized background, one a second, to train on: rows as those of :func:`bird_windows`."""
    out = []
    for item in synthesize_background(folder / f"{config.sha256[:16]}-{rate_hz}", config, rate_hz):
        row = {"split_group": item.recording, "license": item.licence, "author": item.attribution}
        for second in range(max(1, int(config.recording_s - window_s) + 1)):
            window = _window(str(item.path.resolve()), "background", float(second), row, window_s)
            out.append(window | {"split": "train", "reason": "synthetic"})
    return out


def jura_windows(root: Path, window_s: float) -> list[dict[str, Any]]:
    """Return every second of the labelled soundscapes: the field test, never trained on.

    Empty where ``root`` has no soundscapes, or none with both labels. Clips without a bird whose note says that one
    calls there are left out.
    """
    names = {"bird": BIRD, "no_bird": "background"}
    path = root / "soundscapes" / "metadata.csv"
    rows = [row for row in (table(path) if path.is_file() else []) if row["label"] in names]
    rows = [row for row in rows if row["label"] == BIRD or not _holds_bird(row.get("note", ""))]
    if len({row["label"] for row in rows}) < 2:
        return []
    return [
        _window(f"soundscapes/{row['file']}", names[row["label"]], _around(second, window_s, row), row, window_s)
        for row in rows
        for second in range(int(float(row["duration_s"])))
    ]


def check_birds(test: Manifest) -> None:
    """Say before any training what could not be judged after it.

    Raises
    ------
    CheepError
        The test set holds no bird, or no background, or a recording that cannot be read.
    """
    for label in (BIRD, "background"):
        if label not in test.column("label"):
            raise CheepError(f"the test recordings hold no window of {label!r}: false alarms and recall want both")
    for path in sorted(set(test.column("path"))):
        probe(test.folder / path)


def kinds_of(root: Path) -> dict[str, str]:
    """Return the kind of sound of every file of the sets below ``root`` (path relative to it): dog, siren, rain, ..."""
    out = {}
    for path in sorted(root.glob("*/metadata.csv")):
        for row in table(path):
            kind = row["label"]
            if kind == "background":
                weak = row.get("note", "").startswith("weak negative")
                kind = "quiet part of a bird recording" if weak else row.get("title", "")
            out[f"{path.parent.name}/{row['file']}"] = KINDS.get(kind, kind)
    return out


@dataclasses.dataclass(frozen=True)
class Streamed:
    """Held-out recordings of one trained network, scored through the device's path, and the kind of each."""

    recordings: list[ScoredRecording]
    kinds: list[str]
    output: Output
    detector: DetectorConfig

    def save(self, path: Path) -> None:
        """Write all but the model's own facts, which its file has."""
        items = self.recordings
        with atomic_write(path) as stream:
            np.savez_compressed(
                stream,
                names=np.array([item.name for item in items]),
                groups=np.array([item.group for item in items]),
                kinds=np.array(self.kinds),
                birds=np.array([bool(item.annotations) for item in items]),
                seconds=np.array([item.duration_s for item in items]),
                windows=np.array([len(item.scores) for item in items]),
                scores=np.concatenate([item.scores for item in items]),
            )

    @classmethod
    def load(cls, path: Path, model: Path) -> Streamed:
        """Read the scores of ``model`` (an int8 ``.tflite`` with metadata)."""
        bundle = load_bundle(model)
        with np.load(path) as data:
            ends = np.cumsum(data["windows"])
            items = [
                ScoredRecording(str(name), str(group), float(seconds), scores, (_ANYWHERE,) if bird else ())
                for name, group, seconds, bird, scores in zip(
                    data["names"], data["groups"], data["seconds"], data["birds"],
                    np.split(data["scores"], ends[:-1]), strict=True,
                )
            ]  # fmt: skip
            return cls(items, [str(kind) for kind in data["kinds"]], Output.of(bundle), bundle.detector)


_ANYWHERE = Annotation(BIRD, 0.0, 1e6)  # a recording with a bird window is one event


def stream_recordings(model: Path, test: Manifest) -> Streamed:
    """Stream every test recording through front end, int8 network and smoothing at the detector's default stride.

    A recording with a bird window is one event, found wherever an event lies in it; what is detected in the others is a
    false alarm. Recordings too short for the window and the smoothing are left out.
    """
    bundle = load_bundle(model)
    scorer, _ = best_scorer(bundle)
    kinds: dict[str, str] = {}
    items, found = [], []
    rows: dict[str, dict[str, str]] = {}
    for row in test.rows():
        if row["label"] == BIRD or row["path"] not in rows:
            rows[row["path"]] = row
    for path, row in rows.items():
        file = (test.folder / path).resolve()
        root = file.parents[2]
        if str(root) not in kinds:
            kinds |= {f"{root}/{name}": kind for name, kind in kinds_of(root).items()} | {str(root): ""}
        events = (_ANYWHERE,) if row["label"] == BIRD else ()
        item = score_recording(bundle, scorer, file, group=row["group"], annotations=events)
        if len(item.scores) >= bundle.detector.smoothing_windows:
            name = file.relative_to(root).as_posix()
            items.append(dataclasses.replace(item, name=name))
            found.append(BIRD if events else kinds.get(str(file), file.parent.name))
    return Streamed(items, found, Output.of(bundle), bundle.detector)


class Counted:
    """What one network's detector does at every threshold: events found and false alarms, by recording."""

    def __init__(self, streamed: Streamed):
        self.streamed = streamed
        sweep = LevelSweep(streamed.recordings, streamed.output, streamed.detector, BIRD)
        sweep.measure(range(min(sweep.counts), max(sweep.counts) + 1))
        self.levels = sorted(sweep.counts)
        self.counts = sweep.counts
        self.thresholds = np.array([sweep.threshold(level) for level in self.levels])
        rows = [sweep.counts[level] for level in self.levels]
        self.alarms = np.array([[part.false_alarms for part in row] for row in rows], np.float64)
        self.found = np.array([[part.found for part in row] for row in rows], np.float64)  # (levels, recordings)
        birds = np.array([bool(item.annotations) for item in streamed.recordings])
        self.alarms[:, birds] = 0.0
        self.events = birds.astype(np.float64)
        self.hours = np.array([0.0 if item.annotations else item.duration_s / 3600 for item in streamed.recordings])
        self.groups = [item.group for item in streamed.recordings]

    def at_recall(self, recall: float = EVENT_RECALL) -> list[EventCounts]:
        """Return the counts of each recording at the highest threshold that still finds this share of events."""
        enough = [level for level in self.levels if (add_counts(self.counts[level]).recall or 0.0) >= recall]
        return self.counts[max(enough)]

    def at(self, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (false alarms, events found) at ``thresholds``, (thresholds, recordings) each; nothing above all."""
        where = np.searchsorted(self.thresholds, thresholds - 1e-12)
        silent = np.zeros((1, len(self.hours)))
        return np.concatenate([self.alarms, silent])[where], np.concatenate([self.found, silent])[where]

    def strongest(self, count: int = STRONGEST) -> list[tuple[float, str, str, float]]:
        """Return (score, file, kind, start in s) of the background recordings with the strongest smoothed scores."""
        out = []
        stream = self.streamed
        column, smoothing = stream.output.labels.index(BIRD), stream.detector.smoothing_windows
        for number, (item, kind) in enumerate(zip(stream.recordings, stream.kinds, strict=True)):
            on = np.nonzero(self.alarms[:, number])[0]
            if len(on):
                sums = np.convolve(item.scores[:, column].astype(int), np.ones(smoothing, int), "valid")
                start_s = int(sums.argmax()) * stream.output.timing.stride_s
                out.append((float(self.thresholds[on[-1]]), item.name, kind, start_s))
        return sorted(out, key=lambda alarm: -alarm[0])[:count]


@dataclasses.dataclass(frozen=True)
class OperatingPoints:
    """Recall at given false alarms an hour, of several folds under one threshold each.

    ``recall`` by rate: (value, low, high, extrapolated); ``hours`` of background.
    """

    recall: dict[float, tuple[float, float, float, bool]]
    hours: float


class Pooled:
    """Folds under one threshold each, for all of them the same: what drawn recordings say of them.

    ``weights`` (recordings,) say how often each recording counts: ones, or a draw, ``draw_groups(rng)[group]``.
    """

    def __init__(self, folds: Sequence[Counted]):
        grid = np.append(np.unique(np.concatenate([fold.thresholds for fold in folds])), 1.0)
        parts = [fold.at(grid) for fold in folds]
        self.alarms, self.found = (np.concatenate(side, axis=1) for side in zip(*parts, strict=True))
        self.hours = np.concatenate([fold.hours for fold in folds])
        self.events = np.concatenate([fold.events for fold in folds])
        self.groups, self.group = np.unique([group for fold in folds for group in fold.groups], return_inverse=True)
        clipped = np.clip(grid, 1e-6, 1 - 1e-6)
        self._odds = np.log(clipped / (1 - clipped))

    def draw_groups(self, rng: np.random.Generator) -> np.ndarray:
        """Return how often each group counts, (groups,), where as many as there are are drawn with replacement."""
        drawn = rng.integers(0, len(self.groups), len(self.groups))
        return np.bincount(drawn, minlength=len(self.groups)).astype(np.float64)

    def recalls(self, rates: Iterable[float], weights: np.ndarray) -> list[float]:
        """Return the recall at each rate, false alarms an hour."""
        count, total = self.alarms @ weights, float(self.hours @ weights)
        share = self._share(weights)
        return [_recall_at(rate, count, share, self._odds, total) for rate in rates]

    def alarms_at(self, recall: float, weights: np.ndarray) -> np.ndarray:
        """Return the false alarms of each recording, weighted, at the highest threshold with this recall."""
        level = np.flatnonzero(self._share(weights) >= recall)
        return self.alarms[int(level[-1]) if len(level) else 0] * weights

    def _share(self, weights: np.ndarray) -> np.ndarray:
        return (self.found @ weights) / max(1.0, float(self.events @ weights))


def operating_points(
    folds: Sequence[Counted], rates: Iterable[float] = RATES_PER_HOUR, draws: int = 300, seed: int = 1
):
    """Return recall at ``rates`` over all folds together, with 95 % intervals (bootstrap by group).

    One threshold for all folds: the lowest at and above which the false alarms of all held-out background stay within
    the rate (folds whose scores are of other scales, means of two networks with other weights, lose by it). Where the
    hours are too few to count a rate (less than one false alarm would be left), the threshold is
    extrapolated: the strongest ten false alarms are taken as the exponential tail of the log-odds of the score.
    """
    pooled, rates = Pooled(folds), list(rates)
    value = pooled.recalls(rates, np.ones(len(pooled.hours)))
    rng = np.random.default_rng(seed)
    drawn = [pooled.recalls(rates, pooled.draw_groups(rng)[pooled.group]) for _ in range(draws)]
    low, high = np.quantile(np.array(drawn), [0.025, 0.975], axis=0)
    total = float(pooled.hours.sum())
    points = {
        rate: (value[i], min(value[i], float(low[i])), max(value[i], float(high[i])), rate * total < 1)
        for i, rate in enumerate(rates)
    }
    return OperatingPoints(points, total)


def _recall_at(rate: float, alarms: np.ndarray, recall: np.ndarray, odds: np.ndarray, hours: float) -> float:
    """Return the recall at ``rate``; ``alarms``, ``recall``, ``odds`` (log-odds of thresholds) by rising threshold."""
    over = np.nonzero(alarms > rate * hours)[0]  # the rate holds at this threshold and at all above
    first = int(over[-1]) + 1 if len(over) else 0
    if rate * hours < 1:
        tail = np.nonzero(alarms <= 10)[0]
        start = int(tail[0]) if len(tail) else len(alarms) - 1
        many = float(alarms[start])
        if many >= 3:  # mean excess over the tenth strongest: the area under what is left
            scale = float(np.sum(alarms[start:-1] * np.diff(odds[start:]) * (odds[start + 1 :] < 13))) / many
            limit = odds[start] + scale * np.log(many / (rate * hours))
            first = max(first, int(np.searchsorted(odds, limit)))
    return float(recall[min(first, len(recall) - 1)])


def alarms_by_kind(folds: Sequence[Counted]) -> list[tuple[str, float, int]]:
    """Return (kind, hours, false alarms at 80 % recall) of background, most false alarms an hour first."""
    total: dict[str, list[float]] = {}
    for fold in folds:
        for kind, item, part in zip(fold.streamed.kinds, fold.streamed.recordings, fold.at_recall(), strict=True):
            if not item.annotations:
                entry = total.setdefault(kind, [0.0, 0.0])
                entry[0] += part.hours
                entry[1] += part.false_alarms
    rows = [(kind, hours, int(alarms)) for kind, (hours, alarms) in total.items()]
    return sorted(rows, key=lambda row: (-row[2] / max(row[1], 1e-9), row[0]))


def table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV."""
    if not path.is_file():
        raise CheepError(f"{path}: no such file; --train and --test want a folder of sets with metadata.csv")
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _more_background(root: Path) -> list[dict[str, str]]:
    out = []
    for name in MORE_BACKGROUND:
        path = root / name / "metadata.csv"
        for row in table(path) if path.is_file() else []:
            levels = {"win1s_snr_db": "", "win1s_snr_lt4k_db": ""}
            out.append(row | levels | {"set": name, "binary": "background", "file": f"{name}/{row['file']}"})
    return out


def _notes(root: Path) -> dict[str, str]:
    """Return the note of every file of the sets below ``root``."""
    paths = sorted(root.glob("*/metadata.csv"))
    return {f"{path.parent.name}/{row['file']}": row.get("note") or "" for path in paths for row in table(path)}


def _holds_bird(note: str) -> bool:
    return (note or "").startswith(NOT_BACKGROUND)


def _around(second: int, window_s: float, row: dict[str, str]) -> float:
    """Return where a window starts, s, that has a second in its middle, as far as the recording's ends allow."""
    return round(max(0.0, min(second + 0.5 - window_s / 2, float(row["duration_s"]) - window_s)), 3)


def _window(path: str, label: str, start_s: float, row: dict[str, str], window_s: float) -> dict[str, Any]:
    return {
        "path": path,
        "label": label,
        "start_s": float(start_s),
        "duration_s": round(window_s, 3),
        "recording": path,
        "group": row["split_group"],
        "fold": row.get("fold", ""),
        "licence": row.get("license", ""),
        "attribution": row.get("author", ""),
        "reason": "",
        "split": "",
    }


def _levels(row: dict[str, str], name: str) -> list[float]:
    return [float(value) for value in row[name].split(";") if value]
