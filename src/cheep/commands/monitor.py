# SPDX-License-Identifier: MIT
"""Show and log what a board says on its serial line.

  cheep monitor                          the only board on USB
  cheep monitor /dev/ttyUSB0 --csv log.csv --jsonl log.jsonl
  cheep simulate FILE.wav | cheep monitor -
  cheep monitor --mqtt mqtt://homeassistant.local --mqtt-login FILE

Lines whose checksum fails are counted, never used. When the board goes away the monitor waits for it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from cheep.commands._mqtt import add_mqtt, mqtt_feed
from cheep.commands._shared import add_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("port", nargs="?", help="serial port, or - for standard input (default: the only board)")
    parser.add_argument("--list-ports", action="store_true", help="show the serial ports and end")
    parser.add_argument("--baud", type=int, default=115200, help="(%(default)s)")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="append messages as CSV")
    parser.add_argument("--jsonl", type=Path, metavar="FILE", help="append messages as JSON lines")
    add_model(parser, "to warn when the board runs another one")
    parser.add_argument("--plain", action="store_true", help="one line per message (default when piped)")
    parser.add_argument("--json-lines", action="store_true", help="print the messages as JSON")
    add_mqtt(parser)


def run(args: argparse.Namespace) -> int:
    """Monitor until Ctrl-C or the end of standard input."""
    from cheep.live.monitor import Monitor, check_boot, describe
    from cheep.live.serial_port import find_port, list_ports, read_port

    if args.list_ports:
        for item in list_ports():
            print(f"{item.device}  {item.description}  {item.bridge}")
        return 0
    bundle = None
    if args.model:
        from cheep.device.bundle import load_bundle

        bundle = load_bundle(args.model)
    notes: list[str] = []
    with contextlib.ExitStack() as stack:
        plain = args.plain or args.json_lines or not sys.stdout.isatty()
        view = None
        port = "-" if args.port == "-" else find_port(args.port)
        if not plain:
            from cheep.live.view_board import BoardView

            view = stack.enter_context(BoardView(port))

        def say(text: str) -> None:
            notes.append(text)
            if view:
                view.note(text)
            else:
                print(f"cheep monitor: {text}", file=sys.stderr)

        feed = stack.enter_context(mqtt_feed(args, "board", say))

        def show(message: dict) -> None:
            if feed:
                feed.message(message)
            if view:
                view.message(message)
            else:
                print(json.dumps(message) if args.json_lines else describe(message), flush=True)
            if bundle and message["type"] == "boot":
                problem = check_boot(message, bundle.model.sha256, bundle.features.hash32)
                say(problem or "the board runs this machine's model")

        monitor = Monitor(show, args.csv, args.jsonl)
        stack.callback(monitor.close)
        source = _standard_input() if port == "-" else read_port(port, args.baud, say)
        with contextlib.suppress(KeyboardInterrupt):
            for data in source:
                monitor.feed(data)
                if feed:
                    feed.tick()
                if view:
                    view.refresh(monitor.reader.counts)
    counts = monitor.reader.counts
    events = ", ".join(f"{count} {label}" for label, count in monitor.events.items()) or "no events"
    print(
        f"{counts.intact} lines, {events}; not used: {counts.damaged} damaged lines, {counts.other_bytes} other bytes",
        file=sys.stderr,
    )
    return 0


def _standard_input() -> Iterator[bytes]:
    while data := os.read(sys.stdin.fileno(), 65536):
        yield data
