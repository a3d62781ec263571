"""What evaluate and calibrate share: options that name held-out recordings, and loading them."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from cheep.commands._progress import Progress, stage
from cheep.commands._shared import add_model
from cheep.errors import CheepError


def add_recordings(parser: argparse.ArgumentParser) -> None:
    """Declare the options that name a model and held-out recordings."""
    add_model(parser)
    group = parser.add_argument_group("held-out recordings (never trained on)")
    group.add_argument(
        "--recordings",
        type=Path,
        metavar="PATH",
        help="annotations: CSV with file,label,start_s,end_s (and optionally group), or any table or folder of tables "
        "that split_dataset.py --annotations reads; '?' as label: leave out",
    )
    group.add_argument(
        "--min-confidence", type=float, metavar="PART", help="of annotations that a model made: believe these, 0..1"
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
    from cheep.audio import list_audio
    from cheep.datasets.labels import boxes_for, groups_for
    from cheep.device.bundle import load_bundle
    from cheep.evaluate.field import load_recordings
    from cheep.evaluate.matching import truth_of
    from cheep.evaluate.streaming import best_scorer

    if args.recordings is None and not args.background:
        raise CheepError(
            "no held-out recordings: give --recordings EVENTS.csv (file,label,start_s,end_s) and/or --background FOLDER"
        )
    bundle = load_bundle(args.model)
    annotations, groups = {}, {}
    if args.recordings is not None:
        audio = list_audio(_folder(args)).audio
        boxes = boxes_for([args.recordings], audio, args.min_confidence, every=True)
        annotations = {str(path): events for path, events in truth_of(boxes, bundle.labels).items()}
        groups = {str(path): group for path, group in groups_for(args.recordings, audio).items()}
    _, backend = best_scorer(bundle)
    stage(f"scoring held-out recordings through the device path ({backend})")
    microphone = None
    if args.mic is not None:
        from cheep.live.probe import read_profile

        microphone = partial(read_profile(args.mic).path, bundle.features.sample_rate_hz, args.seed)
    recordings = load_recordings(
        bundle, annotations, Path(), args.background, groups, Progress("recordings"), microphone,
        args.background_group,
    )  # fmt: skip
    return bundle, recordings


def annotated_paths(args: argparse.Namespace, recordings) -> list:
    """Return (path, annotations) of what was scored, for scoring it again under other conditions."""
    return [(Path(item.name), item.annotations) for item in recordings]


def _folder(args: argparse.Namespace) -> Path:
    """Where the annotated recordings are."""
    given = args.recordings
    if not given.exists():
        raise CheepError(f"{given}: no such file or folder (--recordings: annotations of held-out recordings)")
    folder = args.audio or (given if given.is_dir() else given.parent)
    if not folder.is_dir():
        raise CheepError(f"{folder}: no such folder (--audio: where the recordings of {given.name} are)")
    return folder
