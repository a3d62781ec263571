# SPDX-License-Identifier: MIT
"""Run a configured pipeline: training, quantization, evaluation, benchmarking, prediction, deployment, or a chain.

  cheep run recipes/own_birds.yaml data.folder=my_birds       a run file, with settings in place of the file's
  cheep run recipes/esc10.yaml data.folder=ESC-10 --check  only look for errors
  cheep run zoo.yaml                                       of the STM32 model zoo, imported (docs/zoo.md)
  cheep run --schema > run-file.json                       JSON schema for editors

Steps that nothing has changed for are taken from the cache.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cheep.commands._cluster import add_cluster
from cheep.commands._progress import Progress, epochs, stage, working
from cheep.commands._shared import table
from cheep.config import FeatureConfig
from cheep.errors import CheepError

INTERMIXED = True  # settings and options may come in any order


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "given", nargs="*", metavar="FILE.yaml KEY=VALUE", help="the pipeline, and settings in place of the file's"
    )
    add_cluster(parser)
    parser.add_argument("--check", action="store_true", help="check the configuration and stop")
    parser.add_argument("--schema", action="store_true", help="print the JSON schema and stop")


def _file_and_settings(given: list[str]) -> tuple[Path, list[str]]:
    """Return the run file and the settings of what was given in any order."""
    files = [item for item in given if "=" not in item or Path(item).is_file()]
    if not files:
        raise CheepError("no run file: cheep run FILE.yaml (recipes/ holds some to start from)")
    if len(files) > 1:
        raise CheepError(f"{files[1]}: must be key=value, such as train.epochs=5 (the run file is {files[0]})")
    return Path(files[0]), [item for item in given if item != files[0]]


def run(args: argparse.Namespace) -> int:
    """Check, run, print the table."""
    if args.schema:
        from cheep.config.reader import json_schema

        print(json.dumps(json_schema(), indent=2))
        return 0
    file, overrides = _file_and_settings(args.given)
    from cheep.pipeline.checks import load_config

    config = load_config(file, overrides)
    if "train" in config.run.steps and config.features == FeatureConfig():
        stage(
            f"features are the defaults ({config.features.sample_rate_hz / 1000:g} kHz); to have them chosen for the "
            f"recordings: cheep split-dataset --config {file}, then cheep train and cheep train-qat"
        )
    if args.check:
        print(f"{file}: no errors; steps: {', '.join(config.run.steps)}")
        return 0
    from cheep.pipeline.runner import run_pipeline, table_of

    outcome = run_pipeline(config, say=stage, progress=Progress("files"), on_epoch=epochs(), on_step=working)
    if outcome.rows:
        print("\n" + table(table_of(outcome.rows)))
    print(f"\nresults: {outcome.folder}")
    for path in outcome.files:
        print(f"  {path}")
    print(f"steps run: {len(outcome.executed)}, taken from the cache: {len(outcome.cached)}")
    return 0
