# SPDX-License-Identifier: MIT
"""The firmware's queue and uplink (``firmware/net``) on this machine."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from cheep import __version__
from cheep.ccore import compile_shared
from cheep.errors import CheepError
from cheep.locks import lock
from cheep.resources import firmware_root, include_dir, source_dir

SECTORS = 1024  # of 4 KB: 31 events each
_ARGUMENT, _MEMORY = 1, 2  # cheep_status
_PUBLISH = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_bool
)
Publish = Callable[[str, bytes, int, bool], int]


class _Event(ctypes.Structure):
    """``cheep_uplink_event``."""

    _fields_ = [
        ("ended", ctypes.c_bool),
        ("has_logit", ctypes.c_bool),
        ("label", ctypes.c_char * 65),
        ("start_ms", ctypes.c_uint64),
        ("end_ms", ctypes.c_uint64),
        ("time_s", ctypes.c_uint64),
        ("score_e6", ctypes.c_uint32),
        ("logit_e3", ctypes.c_int32),
    ]


class _State(ctypes.Structure):
    """``cheep_uplink_state``."""

    _fields_ = [
        ("hearing", ctypes.c_bool),
        ("has_level", ctypes.c_bool),
        ("level_e1", ctypes.c_int32),
        ("microphone", ctypes.c_char * 12),
        ("model", ctypes.c_char * 12),
    ]


@dataclasses.dataclass(frozen=True)
class UplinkEvent:
    """An event to deliver: s since listening began, a probability, Unix time in s when it was said (0: unknown)."""

    label: str
    ended: bool
    start_s: float
    end_s: float
    score: float
    logit: float | None = None
    time_s: int = 0

    def to_c(self) -> _Event:
        """Return the C structure; a label longer than 64 bytes is cut between characters."""
        label = self.label.replace("\0", " ").encode()[:64].decode(errors="ignore").encode()
        logit = round(1000 * (self.logit or 0.0))
        return _Event(
            self.ended, self.logit is not None, label,
            round(1000 * self.start_s), round(1000 * self.end_s), self.time_s,
            round(1e6 * min(max(self.score, 0.0), 1.0)), min(max(logit, -(2**31)), 2**31 - 1),
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class UplinkState:
    """What a device says of itself: an event lasts, dB of full scale of its input, microphone, digits of its model."""

    hearing: bool = False
    level_db: float | None = None
    microphone: str = "heard"
    model: str = ""

    def to_c(self) -> _State:
        """Return the C structure."""
        level = -100.0 if self.level_db is None else self.level_db
        return _State(
            self.hearing, self.level_db is not None, round(10 * level), self.microphone.encode()[:11],
            self.model.encode()[:11],
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Device:
    """Who speaks. ``id``: part of topics, ``[a-z0-9_-]``, at most 32 characters; ``name``: for people."""

    id: str
    name: str
    board: str
    discovery: str = "homeassistant"


@functools.cache
def _library() -> ctypes.CDLL:
    net = firmware_root() / "net"
    sources = [
        *sorted((net / "src").glob("*.c")), net / "host" / "bridge.c", net / "host" / "flash_file.c",
        source_dir() / "cheep_crc32.c", source_dir() / "cheep_text.c",
    ]  # fmt: skip
    folders = [include_dir(), net / "include", net / "host"]
    library = ctypes.CDLL(str(compile_shared(sources, folders, name="cheep_uplink")))
    library.bridge_open.restype = ctypes.c_void_p
    library.bridge_open.argtypes = [
        ctypes.c_char_p, ctypes.c_uint32, ctypes.c_uint32, *[ctypes.c_char_p] * 5, _PUBLISH,
        ctypes.POINTER(ctypes.c_int),
    ]  # fmt: skip
    for name, result, arguments in (
        ("close", None, []),
        ("connected", None, []),
        ("disconnected", None, []),
        ("acknowledged", None, [ctypes.c_int32]),
        ("add", ctypes.c_int, [ctypes.POINTER(_Event)]),
        ("set", None, [ctypes.POINTER(_State)]),
        ("idle", ctypes.c_bool, []),
        ("waiting", ctypes.c_uint32, []),
        ("refused", ctypes.c_uint32, []),
        ("next", ctypes.c_uint32, []),
    ):
        function = getattr(library, f"bridge_{name}")
        function.restype, function.argtypes = result, [ctypes.c_void_p, *arguments]
    return library


class Uplink:
    """The C uplink with its queue in a file. Not for several threads at once.

    Parameters
    ----------
    publish : callable
        Called with topic, payload, QoS and whether the broker keeps it; returns the message's number (above 0), or -1.

    Raises
    ------
    CheepError
        Another program uses the queue, it cannot be written, or the device's id is none.
    """

    def __init__(self, device: Device, queue: Path, publish: Publish, sectors: int = SECTORS):
        self._library = _library()
        self._stack = contextlib.ExitStack()
        self._queue = queue

        def call(_context, topic, payload, n, qos, retain) -> int:
            return publish(topic.decode(), ctypes.string_at(payload, n), qos, retain)

        self._publish = _PUBLISH(call)  # C keeps it
        _make_private(queue)
        self._stack.enter_context(lock(f"{queue}.lock", f"{queue} (events on their way)", "choose another --mqtt-name"))
        status = ctypes.c_int()
        texts = [text.encode() for text in (device.id, device.name, device.board, __version__, device.discovery)]
        self._bridge = self._library.bridge_open(
            os.fsencode(queue), sectors, secrets.randbits(32), *texts, self._publish, ctypes.byref(status)
        )
        if not self._bridge:
            self._stack.close()
            if status.value == _ARGUMENT:
                raise CheepError(
                    f"--mqtt-name {device.name}: gives the id {device.id!r}; it must be 1 to 32 of a-z, 0-9, - and _, "
                    "the name at most 64 bytes"
                )
            raise CheepError(f"{queue}: is no usable queue (status {status.value}); choose --mqtt-queue FILE")

    def add(self, event: UplinkEvent) -> bool:
        """Keep an event until it is delivered; False where the queue is full (counted).

        Raises
        ------
        CheepError
            The file cannot be written.
        """
        status = self._library.bridge_add(self._bridge, event.to_c())
        if status not in (0, _MEMORY):
            raise CheepError(f"{self._queue}: an event could not be written (status {status}); is the disk full?")
        return status == 0

    def set(self, state: UplinkState) -> None:
        """Say another state."""
        self._library.bridge_set(self._bridge, state.to_c())

    def connected(self) -> None:
        """The broker has taken the connection."""
        self._library.bridge_connected(self._bridge)

    def disconnected(self) -> None:
        """The connection is gone."""
        self._library.bridge_disconnected(self._bridge)

    def acknowledged(self, message: int) -> None:
        """The broker has taken a message."""
        self._library.bridge_acknowledged(self._bridge, message)

    @property
    def idle(self) -> bool:
        """Everything is delivered."""
        return bool(self._library.bridge_idle(self._bridge))

    @property
    def waiting(self) -> int:
        """Events that the broker has not acknowledged."""
        return int(self._library.bridge_waiting(self._bridge))

    @property
    def refused(self) -> int:
        """Events for which there was no room."""
        return int(self._library.bridge_refused(self._bridge))

    @property
    def next_number(self) -> int:
        """The number that the next event gets."""
        return int(self._library.bridge_next(self._bridge))

    def close(self) -> None:
        """Close the queue; what waits stays in it."""
        if self._bridge:
            self._library.bridge_close(self._bridge)
            self._bridge = None
            self._stack.close()


def _make_private(path: Path) -> None:
    """Make the file, for its owner alone, where it is not there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise CheepError(f"{path}: cannot be written ({error.strerror}); choose --mqtt-queue FILE") from None
