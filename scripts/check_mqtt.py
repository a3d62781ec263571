# SPDX-License-Identifier: MIT
"""Events through a broker that is stopped and started, cut lines and resets: each arrives once (docs/mqtt.md).

  python scripts/check_mqtt.py --json                    the board's code as a program, then the laptop's bridge
  python scripts/check_mqtt.py --kind host --events 5000 --outages 200

A reset kills the program in any state; a cut comes in the middle of any packet. Needs mosquitto and paho-mqtt.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "helpers")]

from cheep.ccore import find_compiler  # noqa: E402
from cheep.resources import firmware_root, include_dir, source_dir  # noqa: E402
from mqtt_broker import MOSQUITTO, REASON, Broker, Line, Subscriber, wait_until  # noqa: E402

NET = firmware_root() / "net"
HOST_SOURCES = [
    *sorted((NET / "src").glob("*.c")),
    *(NET / "host" / f"{name}.c" for name in ("flash_file", "mqtt_client", "main")),
    *(source_dir() / f"cheep_{name}.c" for name in ("crc32", "text")),
]
# The bridge with a device that makes events: its number of the next one says how many there have been.
WORKER = """
import sys
from pathlib import Path
from cheep.mqtt.bridge import Bridge
from cheep.mqtt.broker import read_broker
from cheep.mqtt.uplink import Device, UplinkEvent
port, queue, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
bridge = Bridge(read_broker(f"mqtt://127.0.0.1:{port}"), Device("campaign", "c", "esp32"), queue, retry_s=(0.02, 0.05))
while (number := bridge.next_number) <= count:
    bridge.add(UplinkEvent("bird", False, number, number + 0.5, 0.9, 2.197))
while not bridge.drain(600):
    pass
bridge.close()
"""


def build_host(folder: Path) -> Path:
    """Compile the board's uplink as a program of this machine."""
    program = folder / "cheep-uplink"
    includes = [f"-I{path}" for path in (include_dir(), NET / "include", NET / "host")]
    subprocess.run([*find_compiler(), "-std=c11", "-O2", *includes, *map(str, HOST_SOURCES), "-o", program], check=True)
    return program


class Program:
    """What sends events; started again where it was killed."""

    def __init__(self, kind: str, folder: Path, port: int, events: int):
        queue = str(folder / "queue")
        if kind == "host":
            self._command = [str(build_host(folder)), "127.0.0.1", str(port), "campaign", queue, str(events)]
        else:
            self._command = [sys.executable, "-c", WORKER, str(port), queue, str(events)]
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        self.start()

    def start(self) -> None:
        """Start it."""
        self.process = subprocess.Popen(self._command, env=self._environment)

    def reset(self) -> None:
        """Kill it in whatever state it is, and start it again."""
        self.process.kill()
        self.process.wait()
        self.start()


def campaign(kind: str, folder: Path, events: int, outages: int, cuts: int, resets: int, seed: int) -> dict[str, Any]:
    """Disturb, spread over the events by their arrival; return what arrived."""
    rng = random.Random(seed)
    began = time.monotonic()
    plan = ["outage"] * outages + ["cut"] * cuts + ["reset"] * resets
    rng.shuffle(plan)
    with Broker(folder / "broker") as broker:
        subscriber = Subscriber(broker.port, "cheep/#")
        line = Line(broker.port)
        program = Program(kind, folder, line.port, events)
        for i, what in enumerate(plan):
            due = events * i // len(plan)
            wait_until(lambda due=due: len(subscriber.once) >= due, 300, f"event {due}")
            if what == "outage":
                broker.stop()
                broker.start()
            elif what == "cut":
                line.cut_after(rng.randrange(1, 400))
            else:
                program.reset()
        status = program.process.wait(600)
        wait_until(lambda: len(subscriber.once) >= events, 60, "the last events")
        subscriber.close()
        line.close()
    numbers = [event["seq"] for event in subscriber.once]
    seconds = [event["start_s"] for event in subscriber.once]
    return {
        "kind": kind,
        "events": events,
        "outages": outages,
        "cuts": line.cuts - 1,
        "resets": resets,
        "status": status,
        "arrived": len(numbers),
        "missing": len(set(range(1, events + 1)) - {round(value) for value in seconds}),
        "doubled": len(numbers) - len(set(numbers)),
        "in_order": numbers == sorted(numbers),
        "copies_known_as_copies": subscriber.copies,
        "queues": len({event["queue"] for event in subscriber.once}),
        "seconds": round(time.monotonic() - began, 1),
    }


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=("host", "bridge"), help="(default: both)")
    parser.add_argument("--events", type=int, default=1000)
    parser.add_argument("--outages", type=int, default=50)
    parser.add_argument("--cuts", type=int, default=100)
    parser.add_argument("--resets", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    if MOSQUITTO is None:
        print(f"check_mqtt.py: {REASON}", file=sys.stderr)
        return 2
    good = True
    for kind in (args.kind,) if args.kind else ("host", "bridge"):
        with tempfile.TemporaryDirectory() as folder:
            found = campaign(kind, Path(folder), args.events, args.outages, args.cuts, args.resets, args.seed)
        text = ", ".join(f"{name} {value}" for name, value in found.items())
        print(json.dumps(found) if args.json else text, flush=True)
        good = good and found["arrived"] == args.events and not found["missing"] + found["doubled"] + found["status"]
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
