# SPDX-License-Identifier: MIT
"""Add augmented copies of the training recordings: other microphones, distance, background.

  cheep augment --output runs/augmented && cheep train --run runs/augmented
  cheep augment --mic board.json --output runs/augmented      with the response that cheep mic probe measured

Level, time shift, SpecAugment and mixup need no copies: training draws them in every epoch.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cheep.commands._progress import Progress
from cheep.commands._shared import add_run, note
from cheep.errors import CheepError
from cheep.files import needed, write_bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_run(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="new run folder")
    parser.add_argument("--copies", type=int, default=1, help="per training recording (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(%(default)s)")
    parser.add_argument("--rate", type=int, metavar="HZ", help="of the copies (default: the run's)")
    parser.add_argument("--mic", type=Path, action="append", default=[], metavar="JSON", help="profile; may repeat")
    for name in ("response", "distance", "mix"):
        parser.add_argument(f"--{name}", type=float, metavar="P", help=f"probability of {name}, 0..1")
    parser.add_argument("--background", default="background", help="label that is mixed in (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Write the copies and the new ``dataset.csv``."""
    from cheep import runs
    from cheep.audio.augment import WaveformAugment
    from cheep.datasets.about import carry_about, rate_of
    from cheep.datasets.manifest import load_manifest
    from cheep.live.probe import read_profile
    from cheep.training.copies import add_copies

    given = {f"{name}_probability": getattr(args, name) for name in ("response", "distance", "mix")}
    for name, value in given.items():
        if value is not None and not 0 <= value <= 1:
            raise CheepError(f"--{name.split('_')[0]} {value:g}: must lie in 0..1 (a probability)")
    responses = {path.stem: read_profile(path).response for path in args.mic}
    settings = WaveformAugment(responses=responses, **{name: v for name, v in given.items() if v is not None})
    run_folder = runs.find_run(args.run)
    manifest = load_manifest(needed(run_folder / runs.DATASET, "cheep split-dataset"))
    if args.output.resolve() == run_folder.resolve():
        raise CheepError(f"--output {args.output}: is the run that is read; give a new folder")
    result = add_copies(
        manifest,
        args.output / "augmented",
        rate_of(run_folder / runs.DATASET, args.rate),
        settings,
        args.copies,
        args.seed,
        args.background,
        Progress("recordings"),
    )
    result.write(args.output / runs.DATASET)
    carry_about(run_folder / runs.DATASET, args.output / runs.DATASET)
    if (run_folder / runs.RUN_FILE).is_file():  # the new run is trained as the old one
        write_bytes(args.output / runs.RUN_FILE, (run_folder / runs.RUN_FILE).read_bytes())
    note(args, args.output, "augment", before=run_folder)
    print(f"{args.output / runs.DATASET}: {len(result)} windows, {len(result) - len(manifest)} of them augmented")
    print(f"next: cheep train --run {args.output}")
    return 0
