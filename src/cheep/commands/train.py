# SPDX-License-Identifier: MIT
"""Train the float network on a run's windows: model.h5 and bird_detector.tflite.

  cheep train                              the latest run, with what split-dataset chose for it
  cheep train --model sepconv_s --epochs 30
  cheep train --config recipes/bird.yaml   a run file: its sections features and train (with augment)

Says before it starts how long it will take; --time 10m makes the plan smaller where that is too long, and says how. A
forecast from a few steps, no limit: the plan is trained to its end, also where the machine becomes busier.
Needs dataset.csv in the run folder (cheep split-dataset makes it). An interrupted training goes on
where it stopped when the same command is given again; Ctrl-C keeps the best network so far.
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from cheep import runs
from cheep.commands._cluster import add_cluster
from cheep.commands._progress import Progress, clock_text, epochs, stage, working
from cheep.commands._settings import add_config, add_setting, add_settings, run_file_of
from cheep.commands._shared import add_run, metrics_table, note
from cheep.config import AugmentConfig, FeatureConfig, RunFile, TrainConfig, load_run_file, save_run_file

if TYPE_CHECKING:
    from cheep.job.pace import Pace

log = logging.getLogger(__name__)

_LATE, _LATE_S = 1.15, 20.0  # of the time foreseen, and so many seconds more: what takes longer is said


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_run(parser)
    add_config(parser)
    add_cluster(parser)
    add_setting(parser, "--board", "deploy.board", metavar="NAME", help="refuse a network that cannot fit this board")
    parser.add_argument(
        "--time",
        metavar="TIME",
        help="plan for about so long (90s, 10m, 1h): fewer epochs, no teachers, a smaller network; no limit",
    )
    add_settings(parser, TrainConfig, "training", "train")
    add_settings(parser, FeatureConfig, "features", "features")
    add_settings(parser, AugmentConfig, "augmentation", "train.augment")


def run(args: argparse.Namespace) -> int:
    """Train, save, print the metrics."""
    from cheep.job.pace import seconds_of
    from cheep.job.train import train_network
    from cheep.job.windows import plan_of

    folder = runs.find_run(args.run)
    settings = run_file_of(args, folder / runs.RUN_FILE)
    features, config = settings.features, settings.train
    if settings.voices and args.config:
        stage("synthetic speakers are data: cheep split-dataset --config makes those of a recipe")
    if settings.deploy.board:
        from cheep.boards.budget import check_network

        check_network(settings.deploy.board, config, features, plan_of(folder, config))
    limit_s = seconds_of(args.time) if args.time else None
    with runs.working_in(folder):  # from here on: the plan is kept in the run, too
        config, foreseen_s = _plan(folder, settings, limit_s)
        begin = time.monotonic()
        stage(f"training {config.model} on {folder / runs.DATASET}")
        result, metrics = train_network(folder, features, config, Progress("features"), epochs(), working)
        took_s = time.monotonic() - begin
        note(args, folder, "train")
    if result.interrupted:
        stage(f"interrupted: kept the best network so far ({result.kept}): {folder / runs.FLOAT_MODEL}")
    else:
        stage(f"trained {len(result.history)} epochs, kept {result.kept}")
        if took_s > _LATE * foreseen_s + _LATE_S:
            stage(f"it took {clock_text(took_s)} in place of {clock_text(foreseen_s)} (other work on this machine?)")
    print(metrics_table({"float": metrics}))
    print(f"wrote {folder / runs.FLOAT_MODEL} and {folder / runs.FLOAT_TFLITE}\nnext: {runs.QAT_COMMAND}")
    return 130 if result.interrupted else 0


def _plan(folder: Path, settings: RunFile, limit_s: float | None) -> tuple[TrainConfig, float]:
    """Say how long the training will take; return the plan for ``limit_s``, which the run keeps, and that time, s."""
    from cheep.datasets.about import read_about
    from cheep.job.pace import measure_pace, plan_within
    from cheep.job.windows import load_windows

    begin = time.monotonic()
    config = settings.train
    windows = load_windows(folder, settings.features, config, Progress("features"))
    paces: dict[str, Pace] = {}

    def pace_of(plan: TrainConfig) -> Pace:
        if plan.model not in paces:
            stage(f"trying {plan.model} for a few steps")
            paces[plan.model] = measure_pace(windows, plan)
        return paces[plan.model]

    said: list[str] = []
    if limit_s is not None:
        config, said = plan_within(config, lambda: limit_s - (time.monotonic() - begin), pace_of)
    seconds = pace_of(config).seconds(config)
    teachers = f" and {len(config.teachers)} teachers" if config.teacher_model else ""
    stage(f"{config.epochs} epochs of {config.model}{teachers}: about {clock_text(seconds)} (measured on a few steps)")
    if limit_s is not None and seconds > limit_s:
        log.warning("the smallest plan takes longer than --time: give fewer recordings, or more time")
    if limit_s is not None and said:
        stage(f"for --time {clock_text(limit_s)}: {', '.join(said)}; kept in {folder / runs.RUN_FILE}")
        about = read_about(folder / runs.DATASET)
        lines = [*(about.why if about else ()), f"for {clock_text(limit_s)} of training: {', '.join(said)}"]
        comment = "\n".join(["What was chosen, and why (docs/defaults.md):", *(f"- {line}" for line in lines)])
        kept = load_run_file(folder / runs.RUN_FILE) if (folder / runs.RUN_FILE).is_file() else settings
        changed = kept.model_copy(update={"features": settings.features, "train": config})
        save_run_file(folder / runs.RUN_FILE, changed, comment)
    return config, seconds
