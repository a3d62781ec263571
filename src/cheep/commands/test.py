# SPDX-License-Identifier: MIT
"""Run the detector over audio files as the board would, and print the events; without a file, listen.

  cheep test FILE.wav ...          events of the latest run's int8 model
  cheep test --model runs/demo *.flac --json
  cheep test                       listen to the microphone (more: cheep listen --help)

Front end, int8 columns and detector are the C core that the firmware links; the network runs in TensorFlow Lite
Micro. Thresholds are the model's own (manifest.json); cheep calibrate measures them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

from cheep.commands import listen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="audio files or folders; none: listen")
    group = parser.add_argument_group("with files")
    group.add_argument("--json", action="store_true", help="one JSON object per event")
    group.add_argument("--csv", type=Path, metavar="OUT", help="also write the events as CSV")
    group.add_argument("--scores", action="store_true", help="also print the scores of every window")
    listen.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the events of every file, or listen."""
    if not args.files:
        return listen.run(args)
    from cheep.audio import audio_files
    from cheep.device.engine import Engine
    from cheep.device.offline import detect_file
    from cheep.live.events_csv import event_row, write_events

    engine = Engine(args.model, backend=args.backend)
    labels = engine.bundle.labels
    counts: Counter[str] = Counter()
    rows = []
    files = [path for item in args.files for path in audio_files(item)]
    audio_s = 0.0
    began = time.monotonic()
    for path in files:
        for item in detect_file(engine, path):
            if item.windows and args.scores:
                _print_scores(path, engine, item.windows, args.json)
            for event in item.events:
                if not event.ended:
                    continue
                counts[event.label] += 1
                rows.append(event_row(path, event))
                if args.json:
                    print(json.dumps({"file": str(path), **event.to_dict()}))
                else:
                    print(f"{path}  {event.start_s:9.2f} - {event.end_s:9.2f} s  {event.label}  {event.score:.2f}")
        audio_s += engine.samples / engine.bundle.features.sample_rate_hz
    if args.csv:
        write_events(args.csv, rows)
    took = time.monotonic() - began
    found = ", ".join(f"{counts[label]} {label}" for label in labels if counts[label]) or "no events"
    print(
        f"{engine.bundle.path.name}: {found} in {len(files)} file{'s' * (len(files) != 1)}, "
        f"{audio_s:.1f} s of audio in {took:.1f} s",
        file=sys.stderr,
    )
    return 0


def _print_scores(path: Path, engine, windows, as_json: bool) -> None:
    for window in windows:
        values = [round(float(value), 4) for value in engine.probability(window.scores)]
        if as_json:
            line = {"file": str(path), "window": window.index, "end_s": round(window.end_s, 3), "scores": values}
            print(json.dumps(line))
        else:
            text = "  ".join(f"{name} {value:.2f}" for name, value in zip(engine.bundle.labels, values, strict=True))
            print(f"{path}  {window.end_s:9.2f} s  {text}")
