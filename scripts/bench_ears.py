#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a large model's ears are worth: wrong labels found, what its embeddings reach, speed.

    python scripts/bench_ears.py --data DIR --by FILE,LABELS --json

``DIR/xc_species3/metadata.csv`` names clips (file, label, split_group). A tenth of the labels is flipped to another
one, with three seeds; windows are ranked as ``cheep dataset teacher`` ranks them, by the forest and by the model. Then
the device's network is trained on wrong labels and without the suspected ones (bench_flips.py), and from few labels
(bench_few.py): a minute or some a training, kept in ``--keep``, so that the same command goes on where it was;
``--no-training`` leaves them out.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from bench_few import KINDS, TASK, figures_of_few
from bench_flips import figures_of_flips, flip
from cheep.audio import int16_to_float, probe, read_audio
from cheep.datasets.manifest import Manifest
from cheep.datasets.probe import fit_probe
from cheep.datasets.teacher import TeacherConfig, teach, window_statistics
from cheep.ears import Ears, hear_manifest, hear_windows
from cheep.errors import CheepError

FEW = (3, 5, 10)


def examples(folder: Path) -> Manifest:
    """Return one row per clip of a set: the whole clip."""
    rows = []
    with open(folder / "metadata.csv", newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            path = folder / row["file"] if (folder / row["file"]).is_file() else folder.parent / row["file"]
            length = probe(path).duration_s
            rows.append(
                {"path": str(path), "label": row["label"], "group": row["split_group"], "recording": row["file"],
                 "start_s": 0.0, "duration_s": length}
            )  # fmt: skip
    return Manifest.from_rows(rows)


def flipped(manifest: Manifest, seed: int) -> tuple[Manifest, np.ndarray]:
    """Return the manifest with a share of wrong labels, and which rows are wrong, (n,) bool."""
    names, wrong = flip(np.array(manifest.column("label")), manifest.labels, seed)
    return manifest.with_column("label", names.tolist()), wrong


def found(manifest: Manifest, statistics: np.ndarray, judge: str, seeds: int) -> tuple[float, float]:
    """Return ROC AUC and precision among as many worst, means over seeds."""
    areas, shares = [], []
    for seed in range(1, seeds + 1):
        noisy, wrong = flipped(manifest, seed)
        taught = teach(noisy, TeacherConfig(judge=judge, seed=seed), statistics=statistics)
        worst = np.argsort(taught.plausibility, kind="stable")[: int(wrong.sum())]
        areas.append(roc_auc_score(wrong, -taught.plausibility))
        shares.append(float(wrong[worst].mean()))
    return float(np.mean(areas)), float(np.mean(shares))


def ceiling(manifest: Manifest, embeddings: np.ndarray, few: int | None = None, seed: int = 1) -> float:
    """Return the clip accuracy of a probe over five folds by group; from ``few`` clips per label where given."""
    names, groups = np.array(manifest.column("label")), np.array(manifest.column("group"))
    rng = np.random.default_rng(seed)
    right = np.zeros(len(names), bool)
    for train, test in StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(embeddings, names, groups):
        if few is not None:
            train = np.concatenate(
                [rng.permutation([row for row in train if names[row] == label])[:few] for label in manifest.labels]
            )
        right[test] = fit_probe(embeddings[train], names[train]).predict(embeddings[test]) == names[test]
    return float(right.mean())


def speed(manifest: Manifest, ears: Ears, clips: int = 20) -> float:
    """Return seconds of sound per second of CPU of one core: decoding, resampling, model."""
    begin, heard = time.process_time(), 0.0
    for row in range(min(clips, len(manifest))):
        pcm = read_audio(manifest.column("path")[row], ears.about.sample_rate_hz)
        length = manifest.duration_s[row : row + 1]
        hear_windows(int16_to_float(pcm), ears, np.zeros(1), length)
        heard += float(length[0])
    return heard / (time.process_time() - begin)


def speed_of_all(manifest: Manifest, ears: Ears) -> float:
    """Return seconds of sound per second on all cores: the whole set, nothing kept before."""
    begin = time.monotonic()
    hear_manifest(manifest, ears)
    return float(manifest.duration_s.sum()) / (time.monotonic() - begin)


def measured(args: argparse.Namespace, ears: Ears) -> tuple[dict[str, float], int]:
    """Return figures by name, and of how many clips.

    Raises
    ------
    CheepError
        Recordings or kept trainings do not fit.
    """
    manifest = examples(args.data / args.set_name)
    name = ears.about.name
    embeddings = hear_manifest(manifest, ears, args.keep).embeddings
    forest, _ = window_statistics(manifest, TeacherConfig().features())
    figures = {}
    for judge, statistics, by in (("forest", forest, "forest"), ("probe", embeddings, name)):
        area, share = found(manifest, statistics, judge, args.seeds)
        figures |= {f"ears.flips.{by}.auc": area, f"ears.flips.{by}.precision": share}
    figures[f"ears.probe.{name}.clip_accuracy"] = ceiling(manifest, embeddings)
    for few in FEW:
        runs = [ceiling(manifest, embeddings, few, seed) for seed in range(1, args.seeds + 1)]
        figures[f"ears.probe.{name}.clip_accuracy_{few}"] = float(np.mean(runs))
    figures[f"ears.{name}.realtime_per_core"] = speed(manifest, ears)
    figures[f"ears.{name}.realtime_on_all_cores"] = speed_of_all(manifest, ears)
    if not args.no_training and args.set_name == TASK:
        clips = {str(Path(path).resolve()): row for path, row in zip(manifest.column("path"), embeddings, strict=True)}
        folds = [int(text) for text in args.folds.split(",")]
        figures |= figures_of_flips(args.data, clips, args.keep, folds, args.set)
        figures |= figures_of_few(args.data, clips, args.keep, folds, args.set, list(KINDS))
    return figures, len(manifest)


def main() -> int:
    """Measure; print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--by", default="birdnet", metavar="MODEL", help="birdnet, perch, or FILE,LABELS[,RATE]")
    parser.add_argument("--set-name", default="xc_species3", help="folder of DIR (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--keep", type=Path, default=Path("build/bench/ears"), help="folder of embeddings and trainings (%(default)s)"
    )
    parser.add_argument("--folds", default="0,1,2", help="of the trainings, 0 to 4 (%(default)s)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change the recipe that is trained"
    )
    parser.add_argument("--no-training", action="store_true", help="leave the trainings out")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    try:
        ears = Ears(args.by)
        figures, clips = measured(args, ears)
    except CheepError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps({"model": ears.about.title, "clips": clips, "figures": figures}, indent=1))
    else:
        for key, value in figures.items():
            print(f"{key:45} {value:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
