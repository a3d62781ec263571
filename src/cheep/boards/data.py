# SPDX-License-Identifier: MIT
"""Boards as data: memory, clock, what is taken before the detector starts, and typical currents with their source.

A board is one file, ``firmware/boards/NAME.json``; where it has a firmware of its own, its folder is named there.
"""

from __future__ import annotations

from pydantic import Field

from cheep.config import Settings
from cheep.config.base import nearest_name
from cheep.errors import CheepError, GateError
from cheep.files import read_json
from cheep.resources import firmware_root
from cheep.tflite.arena import Kernels


class Region(Settings):
    """A RAM region. ``per_inference``: fast enough for what a network touches at every run."""

    name: str
    n_bytes: int = Field(gt=0)
    per_inference: bool = True


class CardSlots(Settings):
    """Where a firmware that takes models from a card has them (docs/card.md): bytes, and addresses of flash and RAM.

    ``slots``: of two, ``slot_bytes`` each. ``state``: two pages of records. ``window``: RAM that the model in use has
    for itself. ``max_classes``, ``max_scores``: what the detector has room for (labels; labels times smoothing).
    """

    page_bytes: int = Field(gt=0)
    slots: tuple[int, int]
    slot_bytes: int = Field(gt=0)
    state: tuple[int, int]
    window: int
    window_bytes: int = Field(gt=0)
    max_classes: int = Field(gt=0)
    max_scores: int = Field(gt=0)


class Network(Settings):
    """Wi-Fi, MQTT and TLS: what they take of the flash, and the RAM that they leave to all else, in bytes."""

    flash_bytes: int = Field(gt=0)
    left_ram_bytes: int = Field(gt=0)


class Board(Settings):
    """What a detector must fit into.

    ``flash_bytes`` is what an application may use; ``base_flash_bytes`` and ``base_ram_bytes`` are taken by the
    vendor's library and Cheep's board code; ``stack_bytes`` and ``heap_bytes`` are reserved. Currents are typical
    ones in mA at ``clock_hz``: ``active`` while the core computes, ``idle`` while it waits and the microphone's
    converter and its memory transfers go on. ``tflm_kernels``: whose kernels TFLM has there, for what they take of its
    arena beyond the reference kernels of this machine. ``tflm_code_bytes``: of TFLM with six operators;
    ``firmware``: its folder in ``firmware``, or empty: a project of the user's own around the core. ``emulated``: the
    core of :mod:`cheep.emulator` that runs its instructions. ``currents_known``: they have a source; reports leave
    others out.
    ``microphone``: the sample rates that its firmware can listen at, in Hz, and what the filters behind the converter
    take for each, in instructions a second of audio (empty: any rate, cost not known).
    ``network``: of the firmware that speaks to a broker, if there is one.
    ``card``: where models from a card go, if the firmware takes any.
    ``tflm_instructions_per_mac``: of a network in TFLM, measured on that core (0: not measured).
    """

    name: str
    title: str
    core: str
    clock_hz: int = Field(gt=0)
    flash_bytes: int = Field(gt=0)
    ram: tuple[Region, ...]
    base_flash_bytes: int = Field(ge=0)
    base_ram_bytes: int = Field(ge=0)
    stack_bytes: int = Field(ge=0)
    heap_bytes: int = Field(ge=0)
    active_ma: float = Field(gt=0)
    idle_ma: float = Field(gt=0)
    battery_mah: float = Field(gt=0)
    cycles_per_instruction: float = Field(1.0, gt=0)
    tflm_kernels: Kernels = "reference"
    tflm_code_bytes: int = Field(54_000, gt=0)
    tflm_instructions_per_mac: float = Field(0.0, ge=0)
    firmware: str = ""
    emulated: str = ""
    currents_known: bool = True
    order: int = 100
    microphone: dict[int, int] = Field(default_factory=dict)
    card: CardSlots | None = None
    network: Network | None = None
    sources: tuple[str, ...]

    @property
    def ram_bytes(self) -> int:
        """RAM for what a network touches at every run."""
        return sum(r.n_bytes for r in self.ram if r.per_inference)

    @property
    def free_ram_bytes(self) -> int:
        """RAM left for the detector: front end, network, detector, columns."""
        return self.ram_bytes - self.base_ram_bytes - self.stack_bytes - self.heap_bytes

    def check_rate(self, sample_rate_hz: int, what: str) -> None:
        """Raise GateError where the board's firmware cannot listen at ``sample_rate_hz``."""
        if self.microphone and sample_rate_hz not in self.microphone:
            raise GateError(
                f"{what}: hears {sample_rate_hz} Hz; the firmware of {self.name} listens at "
                f"{', '.join(str(rate) for rate in self.microphone)} Hz: train with one of these (--sample-rate)"
            )

    def microphone_instructions(self, sample_rate_hz: int) -> int:
        """Instructions a second of audio that the filters of the microphone take (0: not known)."""
        return self.microphone.get(sample_rate_hz, 0)

    @property
    def free_flash_bytes(self) -> int:
        """Flash left for the detector."""
        return self.flash_bytes - self.base_flash_bytes


def _read_all() -> tuple[Board, ...]:
    files = sorted((firmware_root() / "boards").glob("*.json"))
    boards = [Board.parse(read_json(path, "a fresh checkout"), path.name) for path in files]
    return tuple(sorted(boards, key=lambda board: board.order))


BOARDS: tuple[Board, ...] = _read_all()


def find_board(name: str) -> Board:
    """Return the board ``name``; raises CheepError with the nearest name."""
    for board in BOARDS:
        if board.name == name:
            return board
    names = [b.name for b in BOARDS]
    raise CheepError(f"board={name!r}: no such board{nearest_name(name, names)}; one of {', '.join(names)}")
