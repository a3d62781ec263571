# SPDX-License-Identifier: MIT
"""The board's serial port: found, opened, and opened again when it comes back."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

from cheep.errors import CheepError

BAUD = 115200
# USB vendor (and product) numbers of ESP32 boards: bridges by Silicon Labs, WCH, FTDI, and Espressif's own USB.
_BOARDS = {
    (0x10C4, 0xEA60): "CP210x",
    (0x1A86, 0x7523): "CH340",
    (0x1A86, 0x55D4): "CH9102",
    (0x0403, 0x6001): "FT232",
    (0x0403, 0x6010): "FT2232",
    (0x303A, None): "Espressif USB",
}


@dataclasses.dataclass(frozen=True)
class PortInfo:
    """A serial port: device path, what it says of itself, and the kind of board bridge (or an empty string)."""

    device: str
    description: str
    bridge: str


def list_ports() -> list[PortInfo]:
    """Return the serial ports of this machine."""
    from serial.tools import list_ports as tools

    return [
        PortInfo(item.device, item.description or "", _bridge(item)) for item in sorted(tools.comports(), key=_name)
    ]


def find_port(wanted: str | None) -> str:
    """Return ``wanted``, or the only port that looks like a board's.

    Raises
    ------
    CheepError
        None looks like one, or several do.
    """
    if wanted:
        return wanted
    ports = list_ports()
    boards = [item for item in ports if item.bridge]
    if len(boards) == 1:
        return boards[0].device
    if boards:
        names = ", ".join(f"{item.device} ({item.bridge})" for item in boards)
        raise CheepError(f"several boards: {names}; say which one with --port")
    others = f"; other ports: {', '.join(item.device for item in ports)}" if ports else ""
    raise CheepError(
        f"no board found on USB{others}; plug it in with a cable that carries data (many only charge), or name the "
        "port with --port"
    )


def _name(item: Any) -> str:
    return item.device


def _bridge(item: Any) -> str:
    return _BOARDS.get((item.vid, item.pid)) or _BOARDS.get((item.vid, None), "")


def open_serial(port: str, baud: int = BAUD) -> Any:
    """Open a port with a short timeout.

    Raises
    ------
    CheepError
        Missing, busy, or not permitted; the message says what to do.
    """
    import serial

    try:
        return serial.Serial(port, baud, timeout=0.1)
    except (serial.SerialException, OSError, ValueError) as error:
        text = str(error).lower()
        if "permission" in text or "denied" in text:
            raise CheepError(
                f"{port}: permission denied; join the port's group (sudo usermod -aG dialout $USER, log in again)"
            ) from None
        if "busy" in text or "lock" in text:
            raise CheepError(f"{port}: used by another program (a monitor, the Arduino IDE); close it") from None
        found = ", ".join(item.device for item in list_ports()) or "none"
        raise CheepError(f"{port}: cannot be opened ({error}); ports here: {found}") from None


def read_port(
    port: str,
    baud: int = BAUD,
    on_state: Callable[[str], None] = lambda text: None,
    retry_s: float = 1.0,
    give_up_s: float | None = None,
) -> Iterator[bytes]:
    """Yield bytes as they come, empty ones while there are none; open the port again when it goes away.

    ``on_state`` is told when the port is open (what a board says before that is dropped), lost and back. Only the
    first opening raises; after a loss, None for ``give_up_s`` means to wait for ever.
    """
    import serial

    connection = open_serial(port, baud)
    on_state(f"{port}: listening")
    lost_at: float | None = None
    while True:
        if connection is None:
            try:
                connection = open_serial(port, baud)
                on_state(f"{port}: back")
                lost_at = None
            except CheepError:
                if give_up_s is not None and time.monotonic() - (lost_at or 0) > give_up_s:
                    raise
                time.sleep(retry_s)
                yield b""
                continue
        try:
            yield connection.read(max(1, connection.in_waiting))
        except (serial.SerialException, OSError, TypeError):  # TypeError: pyserial on a port closed under it
            connection.close()
            connection = None
            lost_at = time.monotonic()
            on_state(f"{port}: connection lost, waiting for the board")
            yield b""
