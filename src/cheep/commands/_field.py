"""What evaluate and calibrate share: options that name held-out recordings, and loading them."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from cheep.commands._shared import Progress, add_model, stage
from cheep.errors import CheepError


def add_recordings(parser: argparse.ArgumentParser) -> None:
    """Declare the options that name a model and held-out recordings."""
    add_model(parser)
    group = parser.add_argument_group("held-out recordings (never trained on)")
    group.add_argument(
        "--recordings",
        type=Path,
        metavar="CSV",
        help="annotations: columns file,label,start_s,end_s (and optionally group); '?' as label: leave out",
    )
    group.add_argument(
        "--audio", type=Path, metavar="DIR", help="folder of the files that the CSV names (default: its own)"
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


def load(args: argparse.Namespace):
    """Return (bundle, scored recordings); CheepError where nothing is named."""
    from cheep.device.bundle import load_bundle
    from cheep.evaluate.field import load_recordings
    from cheep.evaluate.matching import read_annotations, read_groups
    from cheep.evaluate.streaming import best_scorer

    if args.recordings is None and not args.background:
        raise CheepError(
            "no held-out recordings: give --recordings EVENTS.csv (file,label,start_s,end_s) and/or --background FOLDER"
        )
    bundle = load_bundle(args.model)
    annotations, groups, folder = {}, {}, Path()
    if args.recordings is not None:
        annotations = read_annotations(args.recordings, bundle.labels)
        groups = read_groups(args.recordings)
        folder = args.audio or args.recordings.parent
    _, backend = best_scorer(bundle)
    stage(f"scoring held-out recordings through the device path ({backend})")
    microphone = None
    if args.mic is not None:
        from cheep.live.probe import read_profile

        microphone = partial(read_profile(args.mic).path, bundle.features.sample_rate_hz, args.seed)
    recordings = load_recordings(
        bundle, annotations, folder, args.background, groups, Progress("  recordings"), microphone,
        args.background_group,
    )  # fmt: skip
    return bundle, recordings


def annotated_paths(args: argparse.Namespace, recordings) -> list:
    """Return (path, annotations) of what was scored, for scoring it again under other conditions."""
    folder = args.audio or (args.recordings.parent if args.recordings else Path())
    return [
        (Path(item.name) if Path(item.name).is_file() else folder / item.name, item.annotations) for item in recordings
    ]
