# SPDX-License-Identifier: MIT
"""``--mqtt`` of the commands that listen."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cheep.errors import CheepError

if TYPE_CHECKING:
    from cheep.mqtt.feed import Feed


def add_mqtt(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    group = parser.add_argument_group("to a broker and Home Assistant (docs/mqtt.md)")
    group.add_argument("--mqtt", metavar="URL", help="mqtt://HOST[:PORT], or with TLS mqtts://HOST[:PORT]")
    group.add_argument("--mqtt-name", metavar="NAME", help="what the device is called (default: this machine's name)")
    group.add_argument("--mqtt-login", type=Path, metavar="FILE", help="user and password, a line each; chmod 600")
    group.add_argument("--mqtt-ca", type=Path, metavar="FILE", help="authority of the broker's certificate (PEM)")
    group.add_argument("--mqtt-queue", type=Path, metavar="FILE", help="events on their way (in ~/.local/state)")


@contextlib.contextmanager
def mqtt_feed(
    args: argparse.Namespace, board: str, say: Callable[[str], None], model: str = ""
) -> Iterator[Feed | None]:
    """Yield what takes events and states, or None without ``--mqtt``; at the end say what has not been delivered."""
    if not args.mqtt:
        for name in ("name", "login", "ca", "queue"):
            if getattr(args, f"mqtt_{name}"):
                raise CheepError(f"--mqtt-{name}: says nothing without --mqtt mqtt://HOST")
        yield None
        return
    from cheep.mqtt.bridge import Bridge
    from cheep.mqtt.broker import read_broker
    from cheep.mqtt.feed import Feed, default_name, device_id, queue_path
    from cheep.mqtt.uplink import Device, UplinkState

    broker = read_broker(args.mqtt, args.mqtt_ca, args.mqtt_login)
    if broker.exposed:
        say(f"{broker.address}: the password crosses the network unencrypted; mqtts:// keeps it to yourself")
    name = args.mqtt_name or default_name()
    device = Device(device_id(name), name, board)
    path = args.mqtt_queue or queue_path(device.id)
    bridge = Bridge(broker, device, path, say)
    try:
        yield Feed(bridge, lambda event: say(f"{path}: full; event {event.label} is lost"), UplinkState(model=model))
    finally:
        refused = bridge.refused
        left = bridge.close()
        if left or refused:
            lost = f", {refused} found no room" if refused else ""
            say(f"{left} event(s) not delivered{lost}; they wait in {path} for the next start")
