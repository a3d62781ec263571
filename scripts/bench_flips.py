# SPDX-License-Identifier: MIT
"""What wrong labels cost the device's network, and what taking out the suspected ones gives back: of bench_ears.py.

A tenth of the labels of the three-species recipe's training clips are wrong. Its network is trained on the right labels
(``clean``), on the wrong ones among them (``flipped``), and on what ``cheep dataset teacher --by`` leaves of those
(``cleaned``), each time for ``EPOCHS`` epochs of as many examples, and judged, as a float network, on the fold's test
clips, whose labels are right.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from bench_accuracy import data_of, examples_of, load_recipe, splits
from bench_few import TASK, clips_of
from bench_fold import digest, run_fold
from cheep.datasets.manifest import Manifest
from cheep.datasets.teacher import PROBE_DROP, TeacherConfig, teach

FLIPPED = 0.10
EPOCHS = 20  # of the recipe's 60: the three are compared with each other only
KINDS = ("clean", "flipped", "cleaned")


def flip(names: np.ndarray, labels: list[str], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels of which a share are wrong, (n,) str, and which, (n,) bool."""
    rng = np.random.default_rng(seed)
    names = names.copy()
    wrong = np.zeros(len(names), bool)
    wrong[rng.choice(len(names), round(FLIPPED * len(names)), replace=False)] = True
    for row in np.flatnonzero(wrong):
        names[row] = rng.choice([label for label in labels if label != names[row]])
    return names, wrong


def spoiled(part: Manifest, clips: dict[str, np.ndarray], kind: str, seed: int) -> tuple[Manifest, dict[str, float]]:
    """Return a fold with wrong labels, or without those that are suspected; and the shares of wrong labels.

    Parameters
    ----------
    part : Manifest
        The fold, with right labels.
    clips : dict
        Resolved path -> embedding (d,) of the clip.
    """
    paths, mine = clips_of(part)
    order = sorted(mine)
    truth = np.array([mine[path] for path in order])
    names, wrong = flip(truth, part.labels, seed)
    said = dict(zip(order, names.tolist(), strict=True))
    group = dict(zip(paths, part.column("group"), strict=True))
    changed = part.with_column(
        "label", [said.get(path, name) for path, name in zip(paths, part.column("label"), strict=True)]
    )
    if kind == "flipped":
        return changed, {"wrong": float(wrong.mean())}
    suspects = Manifest.from_rows(
        {"path": path, "label": said[path], "group": group[path], "recording": path, "start_s": 0, "duration_s": 1}
        for path in order
    )
    config = TeacherConfig(judge="probe", drop=PROBE_DROP, seed=seed)
    dropped = teach(suspects, config, statistics=np.stack([clips[path] for path in order])).doubtful
    left_out = {order[row] for row in dropped}
    keep = np.ones(len(order), bool)
    keep[dropped] = False
    return changed.select(np.array([path not in left_out for path in paths])), {
        "wrong": float(wrong[keep].mean()), "left_out": len(dropped) / len(order), "right": float(wrong[dropped].mean())
    }  # fmt: skip


def figures_of_flips(
    data: Path, clips: dict[str, np.ndarray], keep: Path, folds: list[int], changes: list[str]
) -> dict[str, float]:
    """Train, and return ``ears.flips.train.clean``, ``.flipped``, ``.cleaned``: clip accuracy, means over folds."""
    recipe = load_recipe(TASK, None, [f"train.epochs={EPOCHS}", *changes])
    options = argparse.Namespace(train=data, test=None, seed=None)
    parts = splits(examples_of(TASK, recipe, options, keep / "cache"), data_of(TASK, recipe, options).split)
    figures: dict[str, list[float]] = {}
    for fold in folds:
        size = len(parts[fold].of_split("train"))
        train = recipe.train.model_copy(update={"examples_per_epoch": size})
        for kind in KINDS:
            part, shares = parts[fold].anchored(), {}
            if kind != "clean":
                part, shares = spoiled(part, clips, kind, seed=fold)
            key = digest([part.column("path"), part.column("label"), train.to_dict(), recipe.quantize.to_dict()])[:10]
            folder = keep / f"flips-{fold}-{kind}-{key}"
            result = run_fold(part, recipe.model_copy(update={"train": train}), folder, keep / "cache", None, True)
            reached = result["metrics"]["float"]["test"]["clip_accuracy"]
            print(f"flips {kind}, fold {fold}: clip accuracy {reached:.3f}", file=sys.stderr, flush=True)
            for name, value in {"": reached, **{f".{name}": share for name, share in shares.items()}}.items():
                figures.setdefault(f"ears.flips.train.{kind}{name}", []).append(value)
    return {name: float(np.mean(values)) for name, values in figures.items()}
