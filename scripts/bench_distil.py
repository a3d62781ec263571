#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Does a small network learn more from a large one than from labels? The study of docs/ears.md.

    python scripts/bench_distil.py --data DIR --keep K --teacher xc_species3=birdnet --teacher esc10=yamnet/

Per task, fold and seed the recipe's float network is trained once for each arm, all for as many epochs of as many
examples (fewer than the recipe's: ``TASKS``), and judged on the fold's test recordings:

    labels      the recipe
    soft        half of each target from the teacher's probe (``cheep dataset soften``, ``--soft-weight 0.5``)
    mixes       half of the examples are mixes of two windows, with the label of the louder one: the control of
    mixes-soft  the same, half of each target from the probe, which has heard the mixes
    embeddings  the layers under the last first learn to give the teacher's embeddings of all audio at hand (nothing of
                the groups and authors that the fold tests on), and then the labels, their normalization frozen
    pcen, db    the recipe on the other form of its bands

Every finished training is kept, and the same command goes on where it was; ``--at-most N`` trains N and prints what is
known by then. Differences to the control are paired by fold (the mean over seeds); the interval is Student's, 95 %.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from bench_accuracy import data_of, examples_of, load_recipe, splits
from bench_bird import table
from bench_fold import run_fold
from bench_leaderboard import deviation
from cheep import runs
from cheep.audio import probe
from cheep.config import RunFile
from cheep.datasets.manifest import Manifest, load_manifest
from cheep.datasets.soft import SOFT_LABELS, write_soft
from cheep.ears import Ears, hear_manifest
from cheep.ears.soften import soften
from cheep.errors import CheepError
from cheep.files import read_json
from cheep.job.windows import with_levels
from cheep.models import network_for
from cheep.models.saved import save_keras
from cheep.tf_runtime import import_tf, seed_everything
from cheep.training.augment import draw_epoch
from cheep.training.data import LabelPlan, WindowSet, load_cache, window_set

WEIGHT = 0.5
DIMENSIONS = 64  # of the teacher's embeddings, that a network learns to give
PRE_EXAMPLES = 24_000  # that it sees for it
TRUNK = "trunk"
SETS = ("xc_species3", "xc_species10", "bird_bg", "us8k_more", "us8k_subset", "esc10")


class Task(NamedTuple):
    """What is changed in a recipe so that it trains in a minute, and to give it the other form of the bands."""

    short: tuple[str, ...]
    name_of_other: str
    other: tuple[str, ...]


PCEN = ("features.compression=pcen", "features.pcen_eps=1e-8")
TASKS = {
    "xc_species3": Task(("train.epochs=20",), "db", ("features.compression=db",)),
    "esc10": Task(("train.epochs=20",), "pcen", PCEN),
    "bird": Task(
        ("train.towers=[]", "features.n_mels=32", *PCEN, "train.epochs=8", "train.examples_per_epoch=2000"),
        "db",
        ("features.compression=db",),
    ),
}
#: Arm -> what it is compared with.
CONTROLS = {**dict.fromkeys(("soft", "mixes", "embeddings", "pcen", "db"), "labels"), "mixes-soft": "mixes"}


class Study:
    """A task's folds, its teacher, and where what is finished is kept."""

    def __init__(self, task: str, teacher: str, data: Path, keep: Path) -> None:
        self.task, self.teacher, self.data, self.keep = task, teacher, data, keep
        self.recipe = load_recipe(task, None, TASKS[task].short)
        self.cache = keep / "cache"

    @functools.cached_property
    def ears(self) -> Ears:
        """The teacher."""
        return Ears(self.teacher)

    @functools.cached_property
    def parts(self) -> list[Manifest]:
        """The folds."""
        options = argparse.Namespace(train=self.data, test=None, seed=None)
        examples = examples_of(self.task, self.recipe, options, self.cache)
        return splits(examples, data_of(self.task, self.recipe, options).split)

    @property
    def arms(self) -> tuple[str, ...]:
        """What is compared."""
        return ("labels", "soft", "mixes", "mixes-soft", "embeddings", TASKS[self.task].name_of_other)

    def folder(self, fold: int, seed: int, arm: str) -> Path:
        """Return where a training is kept."""
        return self.keep / f"{self.task}-{fold}-{seed}-{arm}"

    def known(self, fold: int, seed: int, arm: str) -> dict[str, float] | None:
        """Return the test figures of a finished training."""
        path = self.folder(fold, seed, arm) / runs.TRAINING
        return read_json(path, "bench_distil.py")["metrics"]["float"]["test"] if path.is_file() else None

    def train(self, fold: int, seed: int, arm: str) -> None:
        """Train one arm."""
        part, folder = self.parts[fold].anchored(), self.folder(fold, seed, arm)
        folder.mkdir(parents=True, exist_ok=True)
        other = TASKS[self.task]
        recipe = load_recipe(self.task, None, other.short + other.other) if arm == other.name_of_other else self.recipe
        n = len(part.of_split("train"))
        changes: dict[str, Any] = {"seed": seed, "examples_per_epoch": recipe.train.examples_per_epoch or n}
        if arm == "embeddings":
            path = self.pretrained(fold, part, recipe)
            changes |= {"model": "backbone", "backbone": str(path), "cut": TRUNK, "fine_tune": "all"}
        if arm in ("soft", "mixes", "mixes-soft"):
            heard = self.keep / f"soft-{self.task}-{fold}"
            made = soften(part, self.ears, heard, mixes=0 if arm == "soft" else n, seed=1)
            part = made.manifest
            if arm != "mixes":
                changes["soft_weight"] = WEIGHT
                part.write(folder / runs.DATASET)  # as run_fold writes it: the table has its paths
                write_soft(folder / SOFT_LABELS, load_manifest(folder / runs.DATASET), made.labels, made.values)
            print(f"{folder.name}: the probe is right on {made.accuracy:.3f} of windows of groups it has not heard",
                  file=sys.stderr, flush=True)  # fmt: skip
        recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update=changes)})
        run_fold(part, recipe, folder, self.cache, None, float_only=True)

    def pretrained(self, fold: int, part: Manifest, recipe: RunFile) -> Path:
        """Return a network (``.h5``) whose layer ``trunk`` has learned the teacher's embeddings: one a fold."""
        folder = self.keep / f"{self.task}-{fold}-pretrained"
        path = folder / runs.FLOAT_MODEL
        if path.is_file():
            return path
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "features").is_symlink():
            (folder / "features").symlink_to(self.cache.resolve(), target_is_directory=True)
        manifest = self.audio_at_hand(part, recipe.features.window_s)
        heard = hear_manifest(manifest, self.ears, self.keep / "heard").embeddings
        manifest = manifest.select(np.isfinite(heard).all(axis=1))
        wanted = principal(heard[np.isfinite(heard).all(axis=1)])
        plan = LabelPlan(tuple(map(str, range(wanted.shape[1]))), "sigmoid", None)
        windows = window_set(manifest, load_cache(manifest, recipe.features, self.cache), plan)
        windows = dataclasses.replace(with_levels(windows, manifest, folder), targets=wanted)
        save_keras(regress(windows, recipe, folder.name), path)
        return path

    def audio_at_hand(self, part: Manifest, window_s: float) -> Manifest:
        """Return the fold's training windows, and those of all other recordings that it does not judge by."""
        about = {
            str((self.data / name / row["file"]).resolve()): {row["split_group"], row["source_id"], row["author"]}
            for name in SETS
            if (self.data / name / "metadata.csv").is_file()
            for row in table(self.data / name / "metadata.csv")
        }
        judged = part.select(np.array([split in ("val", "test") for split in part.column("split")]))
        paths = {str((part.folder / path).resolve()) for path in judged.column("path")}
        taken = set().union(*(about.get(path, set()) for path in paths)) - {""}
        train = part.of_split("train")
        mine = {str((part.folder / path).resolve()) for path in part.column("path")}
        rows = [dict(row) for row in train.anchored().rows()]
        for path in sorted(set(about) - mine):
            if about[path] & taken:
                continue
            count = max(1, int(probe(Path(path)).duration_s / window_s))
            rows += [
                {"path": path, "label": rows[0]["label"], "start_s": at * window_s, "duration_s": window_s,
                 "recording": path, "split": "train"}
                for at in range(count)
            ]  # fmt: skip
        return Manifest.from_rows(rows)


def principal(embeddings: np.ndarray) -> np.ndarray:
    """Return the first components of embeddings (n, d), each of deviation 1: (n, k) float32."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    scaled = StandardScaler().fit_transform(embeddings.astype(np.float64))
    k = min(DIMENSIONS, *scaled.shape)
    return PCA(k, whiten=True, random_state=1).fit_transform(scaled).astype(np.float32)


def regress(windows: WindowSet, recipe: RunFile, name: str) -> Any:
    """Return the recipe's network up to its layer before the average (``trunk``), trained to give ``targets``."""
    keras = import_tf().keras
    seed_everything(1)
    whole = network_for(recipe.train, recipe.features, 1, "sigmoid")
    average = whole.get_layer("embedding")
    flat = keras.layers.Flatten()(average.output)
    model = keras.Model(whole.input, keras.layers.Dense(windows.targets.shape[1])(flat))
    size = min(4000, PRE_EXAMPLES)
    epochs = PRE_EXAMPLES // size
    schedule = keras.optimizers.schedules.CosineDecay(
        recipe.train.learning_rate, epochs * -(-size // recipe.train.batch_size)
    )
    model.compile(keras.optimizers.AdamW(schedule, weight_decay=recipe.train.weight_decay), "mse")
    for epoch in range(epochs):
        rng = np.random.default_rng([1, epoch])
        x, y = draw_epoch(windows, rng.integers(0, len(windows), size), recipe.train.augment, rng)
        fitted = model.fit(x, y, batch_size=recipe.train.batch_size, verbose=0)
        print(f"{name}: {len(windows)} windows, pass {epoch + 1} of {epochs}, loss {fitted.history['loss'][0]:.3f} "
              f"(1: nothing learned)", file=sys.stderr, flush=True)  # fmt: skip
    average.input._keras_history.layer._name = TRUNK  # before the network is made that knows its layers by name
    return keras.Model(whole.input, average.input)


def paired(study: Study, arm: str, folds: list[int], seeds: list[int], figure: str) -> dict[str, float] | None:
    """Return mean of an arm, mean difference to its control and half its interval; None: not one fold is finished."""
    values, differences, trainings = [], [], 0
    for fold in folds:
        pairs = [(study.known(fold, seed, arm), study.known(fold, seed, CONTROLS.get(arm, arm))) for seed in seeds]
        both = [(mine[figure], other[figure]) for mine, other in pairs if mine and other]
        if both:
            trainings += len(both)
            values.append(np.mean([mine for mine, _ in both]))
            differences.append(np.mean([mine - other for mine, other in both]))
    if not values:
        return None
    difference, half = float(np.mean(differences)), deviation(differences)
    return {"mean": float(np.mean(values)), "difference": difference, "half": half, "n": trainings}


def summary(study: Study, folds: list[int], seeds: list[int]) -> dict[str, float]:
    """Return the figures of a task that are known, by name."""
    out = {}
    for arm in study.arms:
        for figure in ("clip_accuracy", "window_auc"):
            found = paired(study, arm, folds, seeds, figure)
            if found is None:
                continue
            name = f"distil.{study.task}.{arm}.{figure}"
            out[name] = found["mean"]
            out[f"{name}.trainings"] = found["n"]
            if arm in CONTROLS:
                out[f"{name}.difference"], out[f"{name}.half_interval"] = found["difference"], found["half"]
    return out


def main() -> int:
    """Train what is not kept yet; print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--teacher", action="append", required=True, metavar="TASK=MODEL", help=f"of {', '.join(TASKS)}; MODEL as --by"
    )
    parser.add_argument("--folds", default="0,1,2", help="(%(default)s)")
    parser.add_argument("--seeds", default="1,2", help="(%(default)s)")
    parser.add_argument("--arms", help="only these, such as labels,soft")
    parser.add_argument("--keep", type=Path, default=Path("build/bench/distil"), help="(%(default)s)")
    parser.add_argument("--at-most", type=int, metavar="N", help="trainings of this call")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    folds, seeds = ([int(text) for text in given.split(",")] for given in (args.folds, args.seeds))
    try:
        studies = []
        for text in args.teacher:
            task, _, teacher = text.partition("=")
            if task not in TASKS or not teacher:
                raise CheepError(f"--teacher {text!r}: must be TASK=MODEL, TASK one of {', '.join(TASKS)}")
            studies.append(Study(task, teacher, args.data, args.keep))
        left = args.at_most
        for seed in seeds:
            for study in studies:
                for fold in folds:
                    for arm in args.arms.split(",") if args.arms else study.arms:
                        if arm not in study.arms or study.known(fold, seed, arm) or left == 0:
                            continue
                        begin = time.monotonic()
                        study.train(fold, seed, arm)
                        test = study.known(fold, seed, arm)
                        print(f"{study.task}, fold {fold}, seed {seed}, {arm}: clip accuracy "
                              f"{test['clip_accuracy']:.4f}, window AUC {test['window_auc']:.4f}, "
                              f"{time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)  # fmt: skip
                        left = None if left is None else left - 1
    except CheepError as error:
        print(f"bench_distil.py: {error}", file=sys.stderr)
        return error.exit_status
    figures = {name: value for study in studies for name, value in summary(study, folds, seeds).items()}
    if args.json:
        print(json.dumps(figures, indent=1))
        return 0
    for name, value in figures.items():
        if name.endswith(("clip_accuracy", "window_auc")):
            more = f"  {figures[name + '.trainings']:.0f} trainings"
            if name + ".difference" in figures:
                more += f", {figures[name + '.difference']:+.4f} +- {figures[name + '.half_interval']:.4f}"
            print(f"{name:45} {value:.4f}{more}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
