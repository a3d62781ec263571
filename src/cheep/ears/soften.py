# SPDX-License-Identifier: MIT
"""Soft labels from another model's ears: for the windows of a data set, and for mixes of their sound.

A probe on the model's embeddings says how likely each of the data set's own labels is: of a window, a probe that has
not heard its group of recordings; of a mix, one that knows all training windows, because nobody else can say which of
two sounds is still to be heard in it. What is validated and tested on is neither heard nor changed.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cheep.audio import float_to_int16, int16_to_float, probe, read_span, resample, write_wav
from cheep.audio.augment import mix_at_snr
from cheep.config.data import LABEL_SEPARATOR
from cheep.datasets.manifest import Manifest
from cheep.datasets.probe import STRENGTH, fit_probe
from cheep.datasets.teacher import TeacherConfig, teach
from cheep.ears.hearing import hear_manifest
from cheep.ears.model import Ears
from cheep.errors import CheepError
from cheep.parallel import map_each

MIXED = "mix"  # reason of such an example
SNR_DB = (-9.0, 9.0)


@dataclasses.dataclass(frozen=True)
class Softened:
    """Training windows with what a probe says of them.

    Attributes
    ----------
    manifest
        The data set, and the mixes after it.
    labels
        Of the columns of ``values``.
    values : (rows, labels) float32
        0..1; NaN where nothing is said (validation, test, recordings that cannot be read).
    accuracy
        Of the probe on windows whose groups it has not heard.
    mixes
        How many.
    problems
        Recordings that could not be read.
    """

    manifest: Manifest
    labels: tuple[str, ...]
    values: np.ndarray
    accuracy: float
    mixes: int
    problems: list[str]


class Pair(NamedTuple):
    """Two stretches to be mixed: path, middle of the window in s; the first ``snr_db`` over the second."""

    first: tuple[Path, float]
    second: tuple[Path, float]
    snr_db: float
    rate_hz: int
    length_s: float
    target: Path


def soften(
    manifest: Manifest,
    ears: Ears,
    folder: Path,
    *,
    mixes: int = 0,
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
    jobs: int | None = None,
) -> Softened:
    """Return a data set with soft labels; what was heard is kept in ``folder``, and so are the mixes.

    Parameters
    ----------
    manifest
        Mixes of an earlier call are left out.
    mixes
        How many pairs of training windows with different labels to mix, at :data:`SNR_DB`. A mix bears the label of
        the louder one, so that training without soft labels can be compared.

    Raises
    ------
    CheepError
        Windows of several labels at once, one label, one group of recordings, or nothing that can be read.
    """
    several = [name for name in manifest.labels if LABEL_SEPARATOR in name]
    if several:
        raise CheepError(f"label {several[0]!r}: soft labels are for windows of one label each")
    if manifest.has("reason"):
        manifest = manifest.select(np.array([reason != MIXED for reason in manifest.column("reason")], bool))
    split = np.array(manifest.column("split"))
    rows = np.flatnonzero((split == "train") | (split == ""))
    train = manifest.select(rows)
    heard = hear_manifest(train, ears, folder, progress, jobs)
    config = TeacherConfig(judge="probe", strength=STRENGTH, seed=seed)
    told = teach(train, config, jobs=jobs, statistics=heard.embeddings)
    values = np.full((len(manifest), len(told.labels)), np.nan, np.float32)
    values[rows] = told.probability
    if not mixes:
        return Softened(manifest, tuple(told.labels), values, told.accuracy, 0, heard.problems)
    usable = np.flatnonzero(np.isfinite(heard.embeddings).all(axis=1))
    made = _mixed(train, usable, mixes, ears, folder / MIXED, np.random.default_rng(seed), jobs)
    said = hear_manifest(made, ears, folder, progress, jobs)
    names = np.array(train.column("label"))
    model = fit_probe(heard.embeddings[usable], names[usable])
    both = Manifest.from_rows([*manifest.anchored().rows(), *made.anchored().rows()], manifest.folder)
    values = np.concatenate([values, _probabilities(model, said.embeddings, told.labels)])
    return Softened(both, tuple(told.labels), values, told.accuracy, len(made), heard.problems + said.problems)


def _probabilities(model: Any, x: np.ndarray, labels: list[str]) -> np.ndarray:
    out = np.full((len(x), len(labels)), np.nan, np.float32)
    there = np.isfinite(x).all(axis=1)
    if there.any():
        out[there] = 0
        out[np.ix_(there, [labels.index(name) for name in model.classes_])] = model.predict_proba(x[there])
    return out


def _mixed(
    train: Manifest, usable: np.ndarray, n: int, ears: Ears, folder: Path, rng: np.random.Generator, jobs: int | None
) -> Manifest:
    """Mix ``n`` pairs of windows with different labels, and return them as examples."""
    names, paths = np.array(train.column("label"))[usable], train.column("path")
    columns = {name: train.column(name) for name in ("recordist", "licence", "attribution")}
    pairs, rows = [], []
    for _ in range(n):
        a = int(rng.integers(len(usable)))
        others = np.flatnonzero(names != names[a])
        b = int(others[rng.integers(len(others))])
        snr = float(rng.uniform(*SNR_DB))
        one, two = (int(usable[at]) for at in (a, b))
        window = float(train.duration_s[one])
        length = max(window, float(train.duration_s[two]), ears.about.window_s)
        files = [train.folder / paths[row] for row in (one, two)]
        rate = min(ears.about.sample_rate_hz, *(probe(file).sample_rate_hz for file in files))
        middles = [float(train.start_s[row] + train.duration_s[row] / 2) for row in (one, two)]
        key = hashlib.sha256(f"{files} {middles} {snr} {rate} {length}".encode()).hexdigest()[:16]
        target = folder / f"{key}.wav"
        pairs.append(Pair((files[0], middles[0]), (files[1], middles[1]), snr, rate, length, target))
        credits = {
            name: "; ".join(dict.fromkeys(columns[name][row] for row in (one, two) if columns[name][row]))
            for name in columns
        }
        louder = a if snr >= 0 else b
        rows.append(
            {**credits, "path": str(target), "label": str(names[louder]), "start_s": round((length - window) / 2, 3),
             "duration_s": window, "recording": f"{MIXED}-{key}", "split": "train", "sha256": key, "reason": MIXED,
             "group": f"{MIXED}-{key}"}
        )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    for outcome in map_each(_mix, pairs, jobs=jobs):
        outcome.value  # noqa: B018 # raises: these recordings have been read before
    return Manifest.from_rows(rows)


def _mix(pair: Pair) -> None:
    if pair.target.is_file():
        return
    size = round(pair.length_s * pair.rate_hz)
    one, two = (_around(path, middle, pair.length_s, pair.rate_hz, size) for path, middle in (pair.first, pair.second))
    mixed = mix_at_snr(one, two, pair.snr_db)
    peak = float(np.abs(mixed).max())
    write_wav(pair.target, float_to_int16(mixed / max(1.0, peak)), pair.rate_hz)


def _around(path: Path, middle_s: float, length_s: float, rate_hz: int, size: int) -> np.ndarray:
    """Return (size,) float32 around a moment of a recording; beyond it is silence."""
    first = middle_s - length_s / 2
    pcm, rate = read_span(path, max(0.0, first), middle_s + length_s / 2)
    samples = int16_to_float(pcm)
    if rate != rate_hz:
        samples = resample(samples, rate, rate_hz)
    before = max(0, round(-first * rate_hz))
    return np.pad(samples, (before, size))[:size].astype(np.float32)
