# SPDX-License-Identifier: MIT
"""Data for a conversion: real examples to calibrate on, to fine-tune with, and to judge by."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cheep.config import FeatureConfig, TrainConfig
from cheep.errors import CheepError

MIN_CALIBRATION = 16
_NPZ_KEYS = "x and y, or x_train, y_train, x_val, y_val (and x_test, y_test)"


@dataclasses.dataclass(frozen=True)
class ConversionData:
    """Examples by split.

    ``x[split]`` is (n, ...) float32 in the model's units, ``y[split]`` (n,) int64 class numbers or (n, classes)
    float32; splits are ``train``, ``val`` and ``test``. ``draw`` makes an epoch of changed training examples (audio);
    ``teacher`` is the network as it was, from inputs to outputs (n, outputs).
    """

    x: dict[str, np.ndarray]
    y: dict[str, np.ndarray]
    labels: tuple[str, ...]
    source: str
    standardize: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    draw: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]] | None = None
    teacher: Callable[[np.ndarray], np.ndarray] | None = None

    def epoch(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return inputs (n, ...) float32 and targets to fine-tune with.

        Recordings are augmented as in training, with targets (n, classes) float32; else these are ``x`` and ``y`` of
        the training split.
        """
        return self.draw(rng) if self.draw is not None else (self.x["train"], self.y["train"])

    def calibration(self, n: int, seed: int) -> np.ndarray:
        """Return up to ``n`` training examples, (n, ...) float32: without replacement, evenly over the classes."""
        x, y = self.x["train"], classes_of(self.y["train"])
        rng = np.random.default_rng(seed)
        by_class = [rng.permutation(np.flatnonzero(y == value)) for value in np.unique(y)]
        depth = max(len(rows) for rows in by_class)
        order = [rows[i] for i in range(depth) for rows in by_class if i < len(rows)]
        return x[np.sort(np.array(order[:n]))]

    @property
    def judged(self) -> str:
        """The split that results are stated on: ``test`` where there is one, else ``val``."""
        return "test" if len(self.x.get("test", ())) else "val"


def classes_of(y: np.ndarray) -> np.ndarray:
    """Return class numbers (n,) int64 of (n,) class numbers or (n, classes) targets; of (n, 1): 1 from 0.5 on."""
    if y.ndim == 1:
        return y.astype(np.int64)
    return (y[:, 0] >= 0.5).astype(np.int64) if y.shape[1] == 1 else y.argmax(axis=1)


def load_data(
    path: Path | str,
    features: FeatureConfig | None = None,
    specs: dict[str, Any] | None = None,
    seed: int = 1,
    labelled: bool = True,
) -> ConversionData:
    """Read examples.

    Parameters
    ----------
    path : ``.npz``; CSV of numbers with the label in the last column; CSV of feature files (columns ``path`` of
        ``.npy`` arrays, ``label``, optional ``split``); or an audio manifest (``dataset.csv``).
    features : how an audio manifest becomes windows (the model's own settings).
    specs : contents of ``specs.json``: ``input.mean`` and ``input.std`` are applied to a table of numbers, ``labels``
        fixes the order of the classes.
    seed : draws the split where the file has none.
    labelled : False: an ``.npz`` may hold ``x`` alone.

    Raises
    ------
    CheepError
        Anything unreadable, with file, line and column where they are known.
    """
    path, specs = Path(path), specs or {}
    if not path.is_file():
        raise CheepError(f"{path}: no such data file (--dataset takes an .npz, a CSV or dataset.csv of a run)")
    if path.suffix == ".npz":
        return _check(_load_npz(path, specs, seed, labelled))
    header = _header(path)
    if {"path", "label", "start_s", "split"} <= set(header):
        return _check(_load_audio(path, features, specs))
    if {"path", "label"} <= set(header):
        return _check(_load_feature_files(path, header, specs, seed))
    return _check(_load_table(path, specs, seed))


def _check(data: ConversionData) -> ConversionData:
    for split, x in data.x.items():
        bad = ~np.isfinite(x.reshape(len(x), -1)).all(axis=1) if len(x) else np.zeros(0, bool)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise CheepError(
                f"{data.source}: example {row} of split {split!r} holds NaN or infinity; remove or fill it"
            )
    if len(data.x["train"]) < MIN_CALIBRATION:
        total = sum(map(len, data.x.values()))
        raise CheepError(
            f"{data.source}: {len(data.x['train'])} training examples of {total}; calibration needs "
            f"{MIN_CALIBRATION} real ones: add examples, or give more of them the split 'train'"
        )
    if not len(data.x["val"]):
        raise CheepError(f"{data.source}: no validation examples; add a split 'val' or more rows")
    return data


def _load_npz(path: Path, specs: dict[str, Any], seed: int, labelled: bool) -> ConversionData:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # zip, header and codec errors are of many kinds
        raise CheepError(f"{path}: cannot be read as .npz ({error})") from None
    if not labelled and "x" in arrays and "y" not in arrays:
        arrays["y"] = np.zeros(len(arrays["x"]), np.int64)
    if {"x", "y"} <= set(arrays):
        labels = _labels(specs, arrays)
        x, y, labels = np.asarray(arrays["x"], np.float32), *_numbered(arrays["y"], labels, path)
        return _split(x, y, labels, str(path), seed)
    if not {"x_train", "y_train", "x_val", "y_val"} <= set(arrays):
        raise CheepError(f"{path}: holds {sorted(arrays) or 'nothing'}; must hold {_NPZ_KEYS}")
    labels = _labels(specs, arrays)
    xs, ys = {}, {}
    for split in ("train", "val", "test"):
        if f"x_{split}" in arrays:
            xs[split] = np.asarray(arrays[f"x_{split}"], np.float32)
            ys[split], labels = _numbered(arrays[f"y_{split}"], labels, path)
            if len(xs[split]) != len(ys[split]):
                raise CheepError(f"{path}: x_{split} has {len(xs[split])} rows, y_{split} {len(ys[split])}")
    return ConversionData(xs, ys, labels, str(path))


def _labels(specs: dict[str, Any], arrays: dict[str, np.ndarray]) -> tuple[str, ...]:
    if specs.get("labels"):
        return tuple(specs["labels"])
    return tuple(str(name) for name in arrays["labels"]) if "labels" in arrays else ()


def _numbered(y: np.ndarray, labels: tuple[str, ...], path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    if y.dtype.kind in "iub":
        y = y.astype(np.int64)
        top = int(y.max(initial=0)) if y.ndim == 1 else y.shape[1] - 1
        if y.size and y.min() < 0:
            raise CheepError(f"{path}: class {y.min()}: class numbers start at 0")
        labels = labels or tuple(str(i) for i in range(top + 1))
        if y.ndim == 1 and top >= len(labels):
            raise CheepError(f"{path}: class {top} but only {len(labels)} labels: {', '.join(labels)}")
        return y, labels
    if y.dtype.kind == "f":
        return (
            (y.astype(np.float32), labels or tuple(str(i) for i in range(y.shape[1])))
            if y.ndim == 2
            else _numbered(y.astype(np.int64), labels, path)
        )
    names = [str(value) for value in y]
    numbers = _class_numbers(names, labels)
    if numbers is not None:
        return _numbered(numbers, labels, path)
    labels = labels or tuple(sorted(set(names)))
    missing = sorted(set(names) - set(labels))
    if missing:
        raise CheepError(f"{path}: label {missing[0]!r} is not one of {', '.join(labels)}")
    place = {name: i for i, name in enumerate(labels)}
    return np.array([place[name] for name in names], np.int64), labels


def _class_numbers(names: list[str], labels: tuple[str, ...]) -> np.ndarray | None:
    """Return class numbers that were written as text ("0", "1.0000") where the labels are words, else None."""
    if not labels or set(names) & set(labels):
        return None
    values = [_number(name) for name in names]
    if any(value is None or not float(value).is_integer() for value in values):
        return None
    return np.array(values, np.float64).astype(np.int64)


def _split(
    x: np.ndarray,
    y: np.ndarray,
    labels: tuple[str, ...],
    source: str,
    seed: int,
    standardize: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
) -> ConversionData:
    """Split 60/20/20 within each class."""
    if len(x) != len(y):
        raise CheepError(f"{source}: x has {len(x)} rows, y {len(y)}")
    rng = np.random.default_rng(seed)
    part = np.empty(len(y), np.int64)
    numbers = classes_of(y)
    for value in np.unique(numbers):
        rows = rng.permutation(np.flatnonzero(numbers == value))
        part[rows] = np.minimum(2, np.maximum(0, (np.arange(len(rows)) + 0.5) / len(rows) * 5 - 2).astype(int))
    xs = {name: x[part == i] for i, name in enumerate(("train", "val", "test"))}
    ys = {name: y[part == i] for i, name in enumerate(("train", "val", "test"))}
    return ConversionData(xs, ys, labels, source, standardize)


def _header(path: Path) -> list[str]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            return next(csv.reader(file), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise CheepError(f"{path}: not a text CSV ({error}); --dataset takes an .npz, a CSV or dataset.csv") from None


def _load_table(path: Path, specs: dict[str, Any], seed: int) -> ConversionData:
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = [(number, row) for number, row in enumerate(csv.reader(file), 1) if row]
    if not rows:
        raise CheepError(f"{path}: empty file")
    if _number(rows[0][1][0]) is None:
        rows = rows[1:]
    if not rows or len(rows[0][1]) < 2:
        raise CheepError(f"{path}: needs at least one column of numbers and the label in the last column")
    width = len(rows[0][1])
    values = np.empty((len(rows), width - 1), np.float32)
    names = []
    for i, (number, row) in enumerate(rows):
        if len(row) != width:
            raise CheepError(f"{path}:{number}: {len(row)} columns where the first row has {width}")
        for column, text in enumerate(row[:-1]):
            value = _number(text)
            if value is None:
                raise CheepError(f"{path}:{number}: column {column + 1}: {text!r} is no number")
            values[i, column] = value
        names.append(row[-1].strip())
    y, labels = _numbered(np.array(names), tuple(specs.get("labels", ())), path)
    given = specs.get("input", {})
    data = _split(values, y, labels, str(path), seed)
    if "mean" not in given or "std" not in given:
        return data
    mean, std = np.asarray(given["mean"], np.float32), np.asarray(given["std"], np.float32)
    if mean.shape not in ((), (width - 1,)) or std.shape != mean.shape or not (std > 0).all():
        raise CheepError(f"{path}: specs.json input.mean/std must have {width - 1} values, std above 0")
    xs = {name: ((x - mean) / std).astype(np.float32) for name, x in data.x.items()}
    return dataclasses.replace(data, x=xs, standardize=(tuple(np.ravel(mean).tolist()), tuple(np.ravel(std).tolist())))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _load_feature_files(path: Path, header: list[str], specs: dict[str, Any], seed: int) -> ConversionData:
    arrays, names, splits = [], [], []
    with open(path, newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            source = path.parent / row["path"]
            try:
                arrays.append(np.load(source, allow_pickle=False).astype(np.float32))
            except Exception as error:
                raise CheepError(f"{path}:{number}: path: {source} cannot be read as .npy ({error})") from None
            if arrays[-1].shape != arrays[0].shape:
                raise CheepError(f"{path}:{number}: shape {arrays[-1].shape}, the first has {arrays[0].shape}")
            names.append(row["label"])
            splits.append(row.get("split") or "")
    if not arrays:
        raise CheepError(f"{path}: no rows")
    x = np.stack(arrays)
    y, labels = _numbered(np.array(names), tuple(specs.get("labels", ())), path)
    if "split" not in header:
        return _split(x, y, labels, str(path), seed)
    part = np.array(splits)
    wrong = set(splits) - {"train", "val", "test"}
    if wrong:
        raise CheepError(f"{path}: split {min(wrong)!r}: must be train, val or test")
    return ConversionData(
        {s: x[part == s] for s in ("train", "val", "test")},
        {s: y[part == s] for s in ("train", "val", "test")},
        labels,
        str(path),
    )


def _load_audio(path: Path, features: FeatureConfig | None, specs: dict[str, Any]) -> ConversionData:
    from cheep.datasets.manifest import load_manifest
    from cheep.training.augment import draw_epoch
    from cheep.training.data import LabelPlan, balanced_draw, load_cache, window_set

    if features is None:
        raise CheepError(
            f"{path}: an audio manifest needs the model's feature settings; put training.json, manifest.json or "
            "specs.json (key 'features') beside the model"
        )
    train = TrainConfig.parse(specs.get("train", {}), "training.json beside the model: train")
    manifest = load_manifest(path)
    plan = LabelPlan.of(manifest, train)
    cache = load_cache(manifest, features, path.parent / "features")
    parts = {split: window_set(manifest.of_split(split), cache, plan) for split in ("train", "val", "test")}
    xs = {split: part.all()[..., None].astype(np.float32) for split, part in parts.items()}

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        windows = parts["train"]
        return draw_epoch(windows, balanced_draw(windows.label, len(windows), rng), train.augment, rng)

    # (PCEN's augmentation works on levels, which are not kept here)
    augmented = None if features.compression != "db" else draw
    ys = {split: part.targets for split, part in parts.items()}
    return ConversionData(xs, ys, plan.labels, str(path), draw=augmented)
