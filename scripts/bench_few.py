# SPDX-License-Identifier: MIT
"""What few labels are worth to the device's network: the part of bench_ears.py that trains.

The three-species recipe's folds, three times each: from all labels; and from 5 or 10 clips a species that somebody has
confirmed, where all other clips are without a label. A probe on the large model's embeddings orders the others, a
simulated reviewer names what is in at most 100 of them (in batches; the probe learns after each), and the probe's last
word is the label of the rest. The device's network is trained on that by the same recipe, and judged, as int8, on
groups of recordings that none of this has heard. ``confirmed``: trained on what a person has confirmed, without the
rest. Where all labels come out right, the training is that with all labels, and is not repeated.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from bench_accuracy import data_of, examples_of, load_recipe, splits
from bench_fold import digest, run_fold
from cheep.datasets.manifest import Manifest
from cheep.datasets.probe import fit_probe
from cheep.season.order import by_value

TASK = "xc_species3"
VERDICTS, BATCH = 100, 25
KINDS = ("all", "5", "10", "5.confirmed", "10.confirmed")


def asked(x: np.ndarray, truth: np.ndarray, few: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which clips were confirmed, (n,) bool, and the label of every clip, (n,): a person's, or the probe's.

    Parameters
    ----------
    x : (n, d) float32
        Embeddings.
    truth : (n,) str
        What the simulated reviewer says when asked.
    few : int
        Clips of each label that are confirmed before.
    """
    rng = np.random.default_rng(seed)
    labels = sorted(set(truth.tolist()))
    known = np.zeros(len(truth), bool)
    for label in labels:
        known[rng.permutation(np.flatnonzero(truth == label))[:few]] = True
    first = int(known.sum())
    while known.sum() < first + VERDICTS and not known.all():
        probe = fit_probe(x[known], truth[known])
        logits = probe.decision_function(x)
        for place in range(len(labels)):
            share = min(-(-BATCH // len(labels)), first + VERDICTS - int(known.sum()))
            if share > 0 and not known.all():
                known[by_value(logits[:, place], x, share, heard=np.flatnonzero(known), seed=seed)] = True
    probe = fit_probe(x[known], truth[known])
    return known, np.where(known, truth, probe.predict(x))


def clips_of(part: Manifest) -> tuple[list[str], dict[str, str]]:
    """Return the resolved path of every row of a fold, and the labels of clips that it does not test on, by path."""
    paths = [str((part.folder / path).resolve()) for path in part.column("path")]
    rows = zip(paths, part.column("label"), part.column("split"), strict=True)
    return paths, {path: name for path, name, split in rows if split != "test"}


def few_labels(
    part: Manifest, clips: dict[str, np.ndarray], few: int, seed: int, confirmed: bool = False
) -> tuple[Manifest, float]:
    """Return a fold whose training labels are what few clips and a probe make of them, and the share of right ones.

    Parameters
    ----------
    part : Manifest
        The fold, with all labels.
    clips : dict
        Resolved path -> embedding (d,) of the clip.
    confirmed : bool
        Only the clips that a person named are left to train on.
    """
    names = part.column("label")
    paths, mine = clips_of(part)
    order = sorted(mine)
    truth = np.array([mine[path] for path in order])
    known, said = asked(np.stack([clips[path] for path in order]), truth, few, seed)
    label = dict(zip(order, said.tolist(), strict=True))
    changed = part.with_column("label", [label.get(path, name) for path, name in zip(paths, names, strict=True)])
    if confirmed:
        left_out = {path for path, sure in zip(order, known.tolist(), strict=True) if not sure}
        changed = changed.select(np.array([path not in left_out for path in paths]))
    return changed, float((said == truth).mean())


def figures_of_few(
    data: Path, clips: dict[str, np.ndarray], keep: Path, folds: list[int], changes: list[str], kinds: list[str]
) -> dict[str, float]:
    """Train, and return ``ears.few.all``, ``ears.few.5``, ...: int8 clip accuracy, means over folds."""
    recipe = load_recipe(TASK, None, changes)
    options = argparse.Namespace(train=data, test=None, seed=None)
    parts = splits(examples_of(TASK, recipe, options, keep / "cache"), data_of(TASK, recipe, options).split)
    figures: dict[str, float] = {}
    for kind in kinds:
        reached, right = [], []
        for fold in folds:
            part = parts[fold]
            if kind != "all":
                few, _, only = kind.partition(".")
                part, share = few_labels(part, clips, int(few), seed=fold, confirmed=bool(only))
                right.append(share)
            # what is the same data is the same training
            key = digest([part.column("path"), part.column("label"), recipe.train.to_dict(), recipe.quantize.to_dict()])
            folder = keep / f"few-{fold}-{key[:10]}"
            result = run_fold(part, recipe, folder, keep / "cache", None)
            reached.append(result["metrics"]["int8"]["test"]["clip_accuracy"])
            print(f"few {kind}, fold {fold}: int8 clip accuracy {reached[-1]:.3f}", file=sys.stderr, flush=True)
        figures[f"ears.few.{kind}"] = float(np.mean(reached))
        if right:
            figures[f"ears.few.{kind}.right_labels"] = float(np.mean(right))
    return figures
