# SPDX-License-Identifier: MIT
"""What evaluate and calibrate share: options that name held-out recordings, and loading them."""

from __future__ import annotations

import argparse
import dataclasses
from functools import partial
from pathlib import Path

from cheep.commands._cluster import add_cluster
from cheep.commands._progress import Progress, stage
from cheep.commands._shared import add_model
from cheep.errors import CheepError


def add_recordings(parser: argparse.ArgumentParser) -> None:
    """Declare the options that name a model and held-out recordings."""
    add_model(parser)
    add_cluster(parser)
    group = parser.add_argument_group("held-out recordings (never trained on)")
    group.add_argument(
        "--recordings",
        type=Path,
        metavar="PATH",
        help="annotations: CSV with file,label,start_s,end_s (and optionally group), or any table or folder of tables "
        "that cheep split-dataset --annotations reads; '?' as label: leave out",
    )
    group.add_argument(
        "--min-confidence", type=float, metavar="PART", help="of annotations that a model made: believe these, 0..1"
    )
    group.add_argument(
        "--audio",
        type=Path,
        metavar="DIR",
        help="folder of the files that the CSV names (default: its own, and the paths that it names)",
    )
    group.add_argument(
        "--background",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="recordings or folders without any target: every event in them is a false alarm",
    )
    group.add_argument(
        "--background-group",
        choices=("file", "folder"),
        default="file",
        help="what is independent of each other: every background file, or every folder of them (a night, a site)",
    )
    group.add_argument(
        "--collar-s", type=float, default=0.0, metavar="S", help="widen annotations by this on both sides (default 0)"
    )
    group.add_argument(
        "--mic", type=Path, metavar="JSON", help="hear them through a microphone's profile (cheep mic probe --profile)"
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write the results as JSON")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default 0)")


def load(args: argparse.Namespace, gated: bool = True, bundle=None):
    """Return (bundle, scored recordings); CheepError where nothing is named. ``gated=False``: every window is run.

    ``bundle``: instead of that of ``--model``.
    """
    from cheep.device.bundle import load_bundle
    from cheep.evaluate.streaming import best_scorer
    from cheep.job.evaluate import HeldOut, score_held_out

    if not 0 <= args.collar_s < 3600:
        raise CheepError(f"--collar-s {args.collar_s:g}: must be 0 or more seconds")
    bundle = load_bundle(args.model) if bundle is None else bundle
    if not gated:
        bundle = dataclasses.replace(bundle, detector=bundle.detector.model_copy(update={"gate": None}))
    held_out = HeldOut(args.recordings, args.audio, args.background, args.background_group, args.min_confidence)
    microphone = microphone_of(args, bundle)
    stage(f"scoring held-out recordings through the device path ({best_scorer(bundle)[1]})")
    return bundle, score_held_out(bundle, held_out, microphone=microphone, on_file=Progress("recordings"))


def microphone_of(args: argparse.Namespace, bundle):
    """Return what makes the microphone of ``--mic`` for each recording, or None."""
    if args.mic is None:
        return None
    from cheep.live.probe import read_profile

    return partial(read_profile(args.mic).path, bundle.features.sample_rate_hz, args.seed)
