"""Train the float network on a run's windows: model.h5 and bird_detector.tflite.

  cheep train                              the latest run, default settings
  cheep train --model sepconv_s --epochs 30
  cheep train --config recipes/bird.yaml   a run file: its sections features and train (with augment)

Needs dataset.csv in the run folder (cheep split-dataset makes it). An interrupted training goes on
where it stopped when the same command is given again; Ctrl-C keeps the best network so far.
"""

from __future__ import annotations

import argparse

from cheep import runs
from cheep.commands._progress import Progress, epochs, stage
from cheep.commands._settings import add_config, add_settings, run_file_of
from cheep.commands._shared import add_run, metrics_table, note
from cheep.config import AugmentConfig, FeatureConfig, TrainConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_run(parser)
    add_config(parser)
    parser.add_argument("--board", metavar="NAME", help="refuse a network that cannot fit this board")
    add_settings(parser, TrainConfig, "training", "train")
    add_settings(parser, FeatureConfig, "features", "features")
    add_settings(parser, AugmentConfig, "augmentation", "train.augment")


def run(args: argparse.Namespace) -> int:
    """Train, save, print the metrics."""
    from cheep.job.train import train_network
    from cheep.job.windows import plan_of

    folder = runs.find_run(args.run)
    settings = run_file_of(args, folder / runs.RUN_FILE)
    features, config = settings.features, settings.train
    if settings.voices:
        stage("the recipe's synthetic speakers come with the data: cheep dataset voices, split_dataset.py --train-only")
    if args.board:
        from cheep.boards.budget import check_network

        check_network(args.board, config, features, plan_of(folder, config))
    stage(f"training {config.model} on {folder / runs.DATASET}")
    result, metrics = train_network(
        folder,
        features,
        config,
        Progress("features"),
        epochs(),
    )
    note(args, folder, "train")
    if result.interrupted:
        stage(f"interrupted: kept the best network so far ({result.kept}): {folder / runs.FLOAT_MODEL}")
    else:
        stage(f"trained {len(result.history)} epochs, kept {result.kept}")
    print(metrics_table({"float": metrics}))
    print(f"wrote {folder / runs.FLOAT_MODEL} and {folder / runs.FLOAT_TFLITE}\nnext: {runs.QAT_COMMAND}")
    return 130 if result.interrupted else 0
