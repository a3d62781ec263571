# SPDX-License-Identifier: MIT
"""Run the detector over audio files as the board would, and print the events; without a file, listen.

  cheep test FILE.wav ...          events of the latest run's int8 model
  cheep test FOLDER --csv events.csv
  cheep test --model runs/demo *.flac --json
  cheep test                       listen to the microphone (more: cheep listen --help)

Front end, int8 columns and detector are the C core that the firmware links; the network is compiled, or runs in
TensorFlow Lite Micro (--backend tflm), with the same bits. Thresholds are the model's own (manifest.json); cheep
calibrate measures them. What cannot be read is named, and the rest goes on; cheep scan keeps what it finds.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cheep.commands import listen
from cheep.commands._cluster import add_cluster

if TYPE_CHECKING:
    from cheep.device.bundle import ModelBundle
    from cheep.device.engine import LiveEvent
    from cheep.device.offline import Heard


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="audio files or folders; none: listen")
    group = parser.add_argument_group("with files")
    group.add_argument("--json", action="store_true", help="one JSON object per event")
    group.add_argument("--csv", type=Path, metavar="OUT", help="also write the events as CSV")
    group.add_argument("--scores", action="store_true", help="also print the scores of every window")
    group.add_argument("--jobs", type=int, metavar="N", help="worker processes (default: one per core)")
    add_cluster(group)
    listen.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the events of every file, or listen."""
    if not args.files:
        return listen.run(args)
    from cheep.audio import audio_files
    from cheep.device.bundle import load_bundle
    from cheep.live.events_csv import event_row, write_events

    bundle = load_bundle(args.model)
    counts: Counter[str] = Counter()
    rows = []
    files = [path for item in args.files for path in audio_files(item)]
    audio_s, unread = 0.0, 0
    began = time.monotonic()
    try:
        for path, heard, events in _heard(bundle, files, args):
            if args.scores:
                _print_scores(path, bundle, heard, args.json)
            for event in events:
                counts[event.label] += 1
                rows.append(event_row(path, event))
                _print_event(path, event, args.json)
            if heard.error is not None:
                print(heard.error, file=sys.stderr)
                unread += not heard.length_s
            elif heard.info is not None and heard.info.note:
                print(f"{path}: {heard.info.note}", file=sys.stderr)
            audio_s += heard.length_s
    finally:  # also what was found before Ctrl-C
        if args.csv:
            write_events(args.csv, rows)
    took = time.monotonic() - began
    found = ", ".join(f"{counts[label]} {label}" for label in bundle.labels if counts[label]) or "no events"
    print(
        f"{bundle.path.name}: {found} in {len(files)} file{'s' * (len(files) != 1)}"
        f"{f' ({unread} unreadable)' * bool(unread)}, {audio_s:.1f} s of audio in {took:.1f} s",
        file=sys.stderr,
    )
    return 2 if unread == len(files) else 0


def _heard(
    bundle: ModelBundle, files: list[Path], args: argparse.Namespace
) -> Iterator[tuple[Path, Heard, list[LiveEvent]]]:
    from cheep.device.offline import nothing_heard
    from cheep.device.scoring import runnable_backend
    from cheep.parallel import map_each

    work = functools.partial(_hear, bundle, runnable_backend(bundle, args.backend or "compiled"))
    for path, outcome in zip(files, map_each(work, files, jobs=args.jobs), strict=True):
        if outcome.error is not None:
            yield path, nothing_heard(bundle, outcome.error), []
        else:
            yield path, *outcome.value


def _hear(bundle: ModelBundle, backend: str, path: Path) -> tuple[Heard, list[LiveEvent]]:
    from cheep.device.offline import ended_events, hear_file
    from cheep.device.scoring import shared_scorer

    heard = hear_file(shared_scorer(bundle, backend), path)
    return heard, ended_events(bundle, heard.scores)


def _print_event(path: Path, event: LiveEvent, as_json: bool) -> None:
    from cheep.detector import show_probability

    if as_json:
        print(json.dumps({"file": str(path), **event.to_dict()}))
    else:
        score = show_probability(event.score)
        print(f"{path}  {event.start_s:9.2f} - {event.end_s:9.2f} s  {event.label}  {score}")


def _print_scores(path: Path, bundle: ModelBundle, heard: Heard, as_json: bool) -> None:
    from cheep.detector import show_probability
    from cheep.device.engine import window_end_s

    for index, row in enumerate(bundle.scale.probabilities(heard.scores)):
        end_s = window_end_s(bundle, index)
        values = [round(float(value), 6) for value in row]
        if as_json:
            print(json.dumps({"file": str(path), "window": index, "end_s": round(end_s, 3), "scores": values}))
        else:
            shown = zip(bundle.labels, map(show_probability, values), strict=True)
            text = "  ".join(f"{name} {value}" for name, value in shown)
            print(f"{path}  {end_s:9.2f} s  {text}")
