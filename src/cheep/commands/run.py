"""Run a configured pipeline: training, quantization, evaluation, benchmarking, prediction, deployment, or a chain.

  cheep run examples/esc10.yaml dataset.training_audio_path=ESC-50/audio dataset.training_csv_path=ESC-50/meta/esc50.csv
  cheep run config.yaml training.epochs=5 general.global_seed=7       overrides: section.key=value
  cheep run config.yaml --check                                       only look for errors
  cheep run --schema > cheep-schema.json                              JSON schema for editors

Steps that nothing has changed for are taken from the cache.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cheep.commands._shared import Progress, stage, table
from cheep.errors import CheepError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("config", nargs="?", type=Path, metavar="CONFIG.yaml")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings in place of the file's")
    parser.add_argument("--check", action="store_true", help="check the configuration and stop")
    parser.add_argument("--schema", action="store_true", help="print the JSON schema and stop")


def run(args: argparse.Namespace) -> int:
    """Check, run, print the table."""
    if args.schema:
        from cheep.pipeline.schema import json_schema

        print(json.dumps(json_schema(), indent=2))
        return 0
    if args.config is None:
        raise CheepError("no configuration: cheep run CONFIG.yaml (examples/ holds some to start from)")
    from cheep.pipeline.validate import load_config

    config = load_config(args.config, args.overrides)
    if args.check:
        print(f"{args.config}: no errors; steps: {', '.join(config.plan)}")
        return 0
    from cheep.pipeline.runner import run_pipeline, table_of

    outcome = run_pipeline(config, say=stage, progress=Progress("  "))
    if outcome.rows:
        print("\n" + table(table_of(outcome.rows)))
    print(f"\nresults: {outcome.folder}")
    for path in outcome.files:
        print(f"  {path}")
    print(f"steps run: {len(outcome.executed)}, taken from the cache: {len(outcome.cached)}")
    return 0
