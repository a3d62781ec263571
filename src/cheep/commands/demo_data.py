# SPDX-License-Identifier: MIT
"""Synthesize the demo data set: three bird-like voices over procedural backgrounds, and a soundscape."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cheep.datasets.demo import SIZES, make_demo_dataset, summary_dict
from cheep.datasets.demo_card import SITES, make_demo_card
from cheep.errors import CheepError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--output", type=Path, default=Path("datasets/demo"), help="folder to write (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same bytes (%(default)s)")
    parser.add_argument("--size", choices=sorted(SIZES), default="normal", help="%(default)s by default")
    parser.add_argument(
        "--card", type=Path, metavar="DIR", help="instead: a card of two recorders, with the truth beside it"
    )
    parser.add_argument("--nights", type=int, default=4, help="of the card (%(default)s)")
    parser.add_argument("--minutes", type=float, default=4.0, help="of each recording of the card (%(default)g)")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(args: argparse.Namespace) -> int:
    """Make the set and say what it holds."""
    if args.card is not None:
        if args.nights < 1 or not args.minutes >= 0.5:
            raise CheepError(f"--nights {args.nights} --minutes {args.minutes:g}: must be at least 1 and 0.5")
        made, heard = make_demo_card(args.card, args.nights, args.minutes, args.seed)
        print(f"{args.card}: {made} recordings of {len(SITES)} sites, {heard} calls (truth.csv)")
        return 0
    summary = make_demo_dataset(args.output, seed=args.seed, size=args.size)
    if args.json:
        print(json.dumps(summary_dict(summary), indent=2))
        return 0
    print(
        f"{summary.folder}: {'made' if summary.made else 'already there'} "
        f"(seed {summary.seed}, {summary.total_bytes / 1e6:.1f} MB)"
    )
    for label, files in summary.recordings.items():
        calls = summary.events.get(label)
        print(f"  {label:<12} {files:4d} recordings" + (f", {calls} calls" if calls is not None else ""))
    print(
        f"  {summary.duration_s / 60:.1f} min by {summary.recordists} recordists; soundscape of "
        f"{summary.soundscape_s / 60:.0f} min with {sum(summary.soundscape_events.values())} calls"
    )
    return 0
