"""Train the float network on a run's windows: model.h5 and bird_detector.tflite.

  python src/train.py                          the latest run, default settings
  python src/train.py --model sepconv_s --epochs 30
  python src/train.py --config recipe.yaml     sections 'features', 'train', 'augment'

Needs dataset.csv in the run folder (python src/split_dataset.py makes it). An interrupted training goes on
where it stopped when the same command is given again; Ctrl-C keeps the best network so far.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cheep import runs
from cheep.commands._shared import Progress, add_run, add_settings, load_recipe, metrics_table, settings_from, stage
from cheep.config import AugmentConfig, FeatureConfig, TrainConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_run(parser)
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML with sections features, train, augment")
    parser.add_argument("--board", metavar="NAME", help="refuse a network that cannot fit this board")
    add_settings(parser, TrainConfig, "training", skip=("augment",))
    add_settings(parser, FeatureConfig, "features")


def run(args: argparse.Namespace) -> int:
    """Train, save, print the metrics."""
    folder = runs.find_run(args.run)
    features, config = settings(args)
    from cheep import stages

    if args.board:
        from cheep.boards.budget import check_network

        check_network(args.board, config, features, stages.plan_of(folder, config))
    stage(f"training {config.model} on {folder / runs.DATASET}")
    progress = Progress("epoch")
    result, metrics = stages.train_stage(
        folder,
        features,
        config,
        Progress("features"),
        lambda epoch, epochs, n: progress(epoch, epochs, f"loss {n['loss']:.3f}, validation {n['val_loss']:.3f}"),
    )
    if result.interrupted:
        stage(f"interrupted: kept the best network so far ({result.kept}): {folder / runs.FLOAT_MODEL}")
    else:
        stage(f"trained {len(result.history)} epochs, kept {result.kept}")
    print(metrics_table({"float": metrics}))
    print(f"wrote {folder / runs.FLOAT_MODEL} and {folder / runs.FLOAT_TFLITE}\nnext: {stages.QAT_COMMAND}")
    return 130 if result.interrupted else 0


def settings(args: argparse.Namespace) -> tuple[FeatureConfig, TrainConfig]:
    """Return the settings of a YAML file, if one is given, overridden by options."""
    values = load_recipe(args.config) if args.config else {}
    if values.get("voices"):
        stage("the recipe's synthetic speakers come with the data: cheep dataset voices, split_dataset.py --train-only")
    features = settings_from(args, FeatureConfig, values.get("features"))
    base = dict(values.get("train", {}))
    if values.get("augment"):
        base["augment"] = AugmentConfig.parse(values["augment"], f"{args.config}: augment")
    return features, settings_from(args, TrainConfig, base)
