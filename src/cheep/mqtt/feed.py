# SPDX-License-Identifier: MIT
"""What listens (a board's lines, this machine's detector) to events and states of the uplink."""

from __future__ import annotations

import dataclasses
import os
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from cheep.mqtt.uplink import UplinkEvent, UplinkState

AWAY_S = 150.0  # a board says something every minute
LEVEL_S = 60.0


class Sink(Protocol):
    """Takes events and states: :class:`cheep.mqtt.bridge.Bridge`."""

    def add(self, event: UplinkEvent) -> bool:
        """Keep an event."""

    def set(self, state: UplinkState) -> None:
        """Say a state."""


class Feed:
    """Follows which events last, and says a state when it has changed.

    Parameters
    ----------
    sink : Sink
        Where to.
    lost : callable
        Called with an event for which there was no room.
    """

    def __init__(
        self,
        sink: Sink,
        lost: Callable[[UplinkEvent], None] = lambda event: None,
        state: UplinkState | None = None,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.state = state or UplinkState()
        self._sink, self._lost, self._wall, self._clock = sink, lost, wall, clock
        self._running: set[str] = set()
        self._heard = clock()
        self._levelled: float | None = None
        sink.set(self.state)

    def event(self, label: str, ended: bool, start_s: float, end_s: float, score: float, logit: float | None) -> None:
        """Take an event."""
        event = UplinkEvent(label, ended, start_s, end_s, score, logit, int(self._wall()))
        if not self._sink.add(event):
            self._lost(event)
        (self._running.discard if ended else self._running.add)(label)
        self._change(hearing=bool(self._running))

    def level(self, level_db: float) -> None:
        """Take the input's level, dB of full scale; said once a minute."""
        now = self._clock()
        if self._levelled is None or now - self._levelled >= LEVEL_S:
            self._levelled = now
            self._change(level_db=round(level_db, 1))

    def microphone(self, state: str) -> None:
        """Take the microphone's state."""
        self._change(microphone=state)

    def message(self, message: dict[str, Any]) -> None:
        """Take a message of a board's serial line."""
        self._heard = self._clock()
        if self.state.microphone == "away":
            self._change(microphone="heard")
        kind = message["type"]
        if kind == "boot":
            self._running.clear()
            self._change(hearing=False, microphone="heard", model=str(message.get("model", ""))[:8])
        elif kind == "event" and _is_event(message):
            self.event(
                message["label"], message.get("state") == "end", message["start_s"], message["end_s"], message["score"],
                message.get("logit"),
            )  # fmt: skip
        elif kind == "microphone":
            self._change(microphone=str(message.get("state")))
        elif kind == "stats" and isinstance(message.get("level_db"), (int, float)):
            self._change(level_db=float(message["level_db"]))
        elif kind == "error":
            self._change(microphone="refused")

    def tick(self) -> None:
        """Look whether the board still speaks."""
        if self._clock() - self._heard > AWAY_S:
            self._change(microphone="away")

    def _change(self, **values: Any) -> None:
        state = dataclasses.replace(self.state, **values)
        if state != self.state:
            self.state = state
            self._sink.set(state)


def _is_event(message: dict[str, Any]) -> bool:
    numbers = (message.get(name) for name in ("start_s", "end_s", "score"))
    return isinstance(message.get("label"), str) and all(
        isinstance(value, (int, float)) and 0 <= value < 2**53 for value in numbers
    )


def device_id(name: str) -> str:
    """Return the part of topics that a name gives: ``"Garden, east"`` -> ``garden_east``."""
    return re.sub(r"[^a-z0-9_-]+", "_", name.lower()).strip("_")[:32]


def default_name() -> str:
    """Return the name of this machine."""
    return socket.gethostname().split(".")[0] or "cheep"


def queue_path(identity: str) -> Path:
    """Return where the queue of a device lies when nothing else is said: with the user's state, not the cache."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return Path(base) / "cheep" / f"mqtt-{identity or 'cheep'}.queue"
