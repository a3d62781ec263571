# SPDX-License-Identifier: MIT
"""Search settings of a pipeline (Optuna): accuracy against instructions per second, under a budget.

  cheep tune recipes/own_birds.yaml --trials 30 --ram 10000
  cheep tune recipes/own_birds.yaml --trials 30 --space space.yaml data.folder=my_birds

The study is kept in a file: the same command goes on with it, and several processes may work on it at once. Accuracy
is that of the int8 model on validation clips; the test set stays untouched. Needs requirements-pipelines.txt.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cheep import runs
from cheep.commands._cluster import add_cluster
from cheep.commands._progress import Progress, stage
from cheep.commands._shared import table
from cheep.files import write_bytes

INTERMIXED = True  # settings and options may come in any order


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("config", type=Path, metavar="FILE.yaml", help="the pipeline")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings in place of the file's")
    parser.add_argument("--trials", type=int, default=20, help="how many more (default 20)")
    add_cluster(parser)
    parser.add_argument("--study", default="study", help="name of the study (default: study)")
    parser.add_argument("--storage", help="Optuna storage URL (default: a SQLite file in runs/tune/STUDY)")
    parser.add_argument("--space", type=Path, help="YAML: setting -> list of values or {low, high, log, step}")
    parser.add_argument("--ram", type=int, metavar="BYTES", help="budget of the compiled network's RAM")
    parser.add_argument("--flash", type=int, metavar="BYTES", help="budget of its flash")


def run(args: argparse.Namespace) -> int:
    """Search, print the Pareto front, save its picture."""
    from cheep.pipeline.tune import Budget, pareto_picture, read_space, tune

    folder = runs.runs_folder() / "tune" / args.study
    folder.mkdir(parents=True, exist_ok=True)
    trials = tune(
        args.config,
        args.overrides,
        read_space(args.space),
        study=args.study,
        storage=args.storage or f"sqlite:///{folder / 'study.db'}",
        trials=args.trials,
        folder=folder,
        budget=Budget(args.ram, args.flash),
        say=stage,
        progress=Progress("trials"),
    )
    front = sorted((t for t in trials if t.best), key=lambda t: t.instructions_per_s)
    rows = [["trial", "accuracy", "M instructions/s", "RAM", "settings"]]
    rows += [
        [
            str(t.number),
            f"{t.accuracy:.3f}",
            f"{t.instructions_per_s / 1e6:.2f}",
            f"{t.ram_bytes:,}",
            json.dumps(t.settings, sort_keys=True),
        ]
        for t in front
    ]
    print(f"{len(trials)} finished trials; the Pareto front:")
    print(table(rows))
    if trials:
        write_bytes(folder / "pareto.png", pareto_picture(trials))
        print(f"wrote {folder / 'pareto.png'}; cheep run --help tells how to use settings of a trial")
    return 0
