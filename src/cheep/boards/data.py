# SPDX-License-Identifier: MIT
"""Boards as data: memory, clock, what is taken before the detector starts, and typical currents with their source."""

from __future__ import annotations

from pydantic import Field

from cheep.config import Settings
from cheep.config.base import nearest_name
from cheep.errors import CheepError
from cheep.tflite.arena import Kernels


class Region(Settings):
    """A RAM region. ``per_inference``: fast enough for what a network touches at every run."""

    name: str
    n_bytes: int = Field(gt=0)
    per_inference: bool = True


class Board(Settings):
    """What a detector must fit into.

    ``flash_bytes`` is what an application may use; ``base_flash_bytes`` and ``base_ram_bytes`` are taken by the
    vendor's library and Cheep's board code; ``stack_bytes`` and ``heap_bytes`` are reserved. Currents are typical
    ones in mA at ``clock_hz``: ``active`` while the core computes, ``idle`` while it waits and the microphone's
    converter and its memory transfers go on. ``tflm_kernels``: whose kernels TFLM has there, for what they take of its
    arena beyond the reference kernels of this machine. ``tflm_code_bytes``: of TFLM with six operators;
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
    sources: tuple[str, ...]

    @property
    def ram_bytes(self) -> int:
        """RAM for what a network touches at every run."""
        return sum(r.n_bytes for r in self.ram if r.per_inference)

    @property
    def free_ram_bytes(self) -> int:
        """RAM left for the detector: front end, network, detector, columns."""
        return self.ram_bytes - self.base_ram_bytes - self.stack_bytes - self.heap_bytes

    @property
    def free_flash_bytes(self) -> int:
        """Flash left for the detector."""
        return self.flash_bytes - self.base_flash_bytes


_KB = 1024
_ASSUMED = "one instruction per cycle (an assumption: flash wait states and branches make it 1.1 to 1.5 in practice)"

BOARDS: tuple[Board, ...] = (
    Board(
        name="audiomoth",
        title="AudioMoth (EFM32WG380F256)",
        core="Cortex-M4F",
        clock_hz=48_000_000,
        flash_bytes=240 * _KB,
        ram=(
            Region(name="internal SRAM", n_bytes=32 * _KB),
            Region(name="external SRAM (24 clocks a word)", n_bytes=256 * _KB, per_inference=False),
        ),
        base_flash_bytes=56 * _KB,
        base_ram_bytes=7 * _KB,
        stack_bytes=3 * _KB,
        heap_bytes=3 * _KB,
        active_ma=10.8,
        idle_ma=3.8,
        battery_mah=2500,
        sources=(
            "TFLM with CMSIS-NN at commit 90b983c2b, int8-only registrations, stripped strings, -Os: 54 KB",
            "flash: 256 KB less the 16 KB bootloader; RAM 32 KB (EFM32WG data sheet)",
            "library: 41-56 KB of code, 1.6 KB data, 3.7-5.3 KB bss with microphone, DMA, card and watchdog (linked "
            "with arm-none-eabi-gcc from AudioMoth-Project; the larger figures are used)",
            "active 225 uA/MHz, sleep (EM1) 63 uA/MHz, which is 3.0 mA: EFM32WG reference manual (Silicon Labs); "
            "0.8 mA for converter, amplifier and DMA is an assumption; microphone, card and external SRAM come on top",
            "battery: three AA alkaline cells, 2,500 mAh",
            _ASSUMED,
        ),
    ),
    Board(
        name="esp32",
        title="ESP32 (plain)",
        core="Xtensa LX6",
        clock_hz=240_000_000,
        flash_bytes=2048 * _KB,
        ram=(Region(name="static DRAM", n_bytes=160 * _KB),),
        base_flash_bytes=230 * _KB,
        base_ram_bytes=(32 + 32) * _KB,
        stack_bytes=(8 + 4) * _KB,
        heap_bytes=32 * _KB,
        active_ma=50.0,
        idle_ma=30.0,
        battery_mah=2500,
        cycles_per_instruction=1.6,
        tflm_kernels="esp-nn",
        tflm_code_bytes=77_000,
        tflm_instructions_per_mac=26.6,
        sources=(
            "flash: the 2 MB application partition of firmware/esp32/partitions.csv; static DRAM is limited to 160 KB",
            "base: an ESP-IDF application without radio (assumption: 230 KB flash, 32 KB RAM), and the ring's 32 KB; "
            "stacks: 8 KB of the main task, 4 KB of the microphone's",
            "TFLM: 100 KB with the demo's model of 23.5 KB, 13.4 M instructions a window of its 502,880 "
            "multiply-accumulates (linked with IDF 5.5 and esp-tflite-micro 1.4.0, run on an emulated ESP32)",
            "currents: radio off, CPU on at 240 MHz: 30 to 68 mA (ESP32 series data sheet, power consumption by power "
            "modes); idle is its lower end, one core computing about its middle (an assumption)",
            "cycles per instruction against the Cortex-M4F: 1.6 (assumption: no dual multiply, flash cache)",
        ),
    ),
    Board(
        name="esp32s3",
        title="ESP32-S3",
        core="Xtensa LX7",
        clock_hz=240_000_000,
        flash_bytes=2048 * _KB,
        ram=(Region(name="static DRAM", n_bytes=320 * _KB),),
        base_flash_bytes=230 * _KB,
        base_ram_bytes=(32 + 32) * _KB,
        stack_bytes=(8 + 4) * _KB,
        heap_bytes=32 * _KB,
        active_ma=58.6,
        idle_ma=40.3,
        battery_mah=2500,
        cycles_per_instruction=1.6,
        tflm_kernels="esp-nn-s3",
        tflm_code_bytes=77_000,
        sources=(
            "flash: the 2 MB application partition of firmware/esp32/partitions.csv",
            "base: an ESP-IDF application without radio (assumption: 230 KB flash, 32 KB RAM), and the ring's 32 KB; "
            "stacks: 8 KB of the main task, 4 KB of the microphone's; TFLM's code as on the ESP32",
            "currents: radio off, 240 MHz: waiting 32.9 mA, one core computing 51.2 mA with the peripherals' clocks "
            "off, 47.6 and 65.9 mA with all on (ESP32-S3 series data sheet, table 5-9); the means are used",
            "cycles per instruction against the Cortex-M4F: 1.6 (assumption: plain C, no vector instructions)",
        ),
    ),
    Board(
        name="cortex-m4",
        title="emulated Cortex-M4F (QEMU) with the AudioMoth's regions",
        core="Cortex-M4F",
        clock_hz=48_000_000,
        flash_bytes=240 * _KB,
        ram=(Region(name="RAM", n_bytes=32 * _KB),),
        base_flash_bytes=8 * _KB,
        base_ram_bytes=1 * _KB,
        stack_bytes=3 * _KB,
        heap_bytes=0,
        active_ma=10.8,
        idle_ma=3.8,
        battery_mah=2500,
        sources=("regions and clock of the AudioMoth; currents as for it", _ASSUMED),
    ),
)


def find_board(name: str) -> Board:
    """Return the board ``name``; raises CheepError with the nearest name."""
    for board in BOARDS:
        if board.name == name:
            return board
    names = [b.name for b in BOARDS]
    raise CheepError(f"board={name!r}: no such board{nearest_name(name, names)}; one of {', '.join(names)}")
