# SPDX-License-Identifier: MIT
"""Emulated cores: build a program, run it in QEMU; on the Cortex-M4F, read exact instruction counts.

On the Cortex-M4F code runs at address 0 in regions as large as the AudioMoth's (240 KB of flash for the application,
32 KB of RAM). Programs use ``firmware/emulator/emulator.h``; what they report with
``emulator_report(name, value)`` comes back as a dict. :data:`CORES` are the others, with the machine that has them.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cheep.errors import CheepError
from cheep.resources import firmware_root

FLASH_BYTES = 240 * 1024
RAM_BYTES = 32 * 1024
STACK_BYTES = 1024
CPU_FLAGS = ("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")
C_FLAGS = (
    *("-std=c11", "-ffp-contract=off", "-ffunction-sections", "-fdata-sections"),
    *("-Wall", "-Wextra", "-Wconversion", "-Werror"),
)


@dataclass(frozen=True)
class Core:
    """An emulated core without an operating system: how to compile for it, and QEMU's machine that has it.

    ``flash``, ``ram``: addresses where code and memory lie in that machine. ``packages``: Debian's, of the compiler
    and of QEMU. ``timer``: the C expression of the CMSDK timer that counts instructions; empty: none is used.
    """

    name: str
    title: str
    flags: tuple[str, ...]
    machine: str
    flash: int = 0
    ram: int = 0x2000_0000
    flash_bytes: int = FLASH_BYTES
    ram_bytes: int = RAM_BYTES
    prefix: str = "arm-none-eabi-"
    qemu: str = "qemu-system-arm"
    specs: str = "nano.specs"
    packages: tuple[str, str] = ("gcc-arm-none-eabi", "qemu-system-arm")
    timer: str = ""

    def missing(self) -> str:
        """Return which of compiler and QEMU is not installed, with its package; an empty string: none."""
        for tool, package in zip((f"{self.prefix}gcc", self.qemu), self.packages, strict=True):
            if shutil.which(tool) is None:
                return f"{tool} is not installed (Debian package {package})"
        return ""


def _cortex(name: str, title: str, fpu: str, machine: str, **other: Any) -> Core:
    soft = ("-mfloat-abi=soft",)
    return Core(name, title, (f"-mcpu={name}", "-mthumb", *((f"-mfpu={fpu}", "-mfloat-abi=hard") if fpu else soft)),
                machine, **other)  # fmt: skip


def _riscv32(name: str, title: str, isa: str, abi: str) -> Core:
    return Core(
        name, title, (f"-march={isa}", f"-mabi={abi}", "-misa-spec=2.2"), "virt", 0x8000_0000, 0x8010_0000,
        prefix="riscv64-unknown-elf-", qemu="qemu-system-riscv32", specs="picolibc.specs",
        packages=("gcc-riscv64-unknown-elf", "qemu-system-misc"),
    )  # fmt: skip


M4F = Core("cortex-m4", "Cortex-M4F", CPU_FLAGS, "mps2-an386", timer="0x40000000u")
CORES = (
    _cortex("cortex-m0", "Cortex-M0 (RP2040: M0+)", "", "microbit", flash_bytes=256 * 1024, ram_bytes=16 * 1024),
    _cortex("cortex-m3", "Cortex-M3", "", "mps2-an385"),
    M4F,
    _cortex("cortex-m7", "Cortex-M7", "fpv5-d16", "mps2-an500"),
    _cortex("cortex-m33", "Cortex-M33 (RP2350)", "fpv5-sp-d16", "mps2-an505", flash=0x1000_0000, ram=0x3800_0000),
    _cortex("cortex-m55", "Cortex-M55", "auto", "mps3-an547", flash=0x1000_0000, ram=0x3000_0000),
    _riscv32("rv32imc", "RISC-V rv32imc (ESP32-C3)", "rv32imc", "ilp32"),
    _riscv32("rv32imac", "RISC-V rv32imac (ESP32-C6)", "rv32imac", "ilp32"),
    _riscv32("rv32imafc", "RISC-V rv32imafc (ESP32-P4)", "rv32imafc", "ilp32f"),
)  # fmt: skip


@dataclass(frozen=True)
class RunResult:
    """What a program left behind.

    Attributes
    ----------
    values
        Everything reported as ``name=value``.
    text
        All that it printed.
    """

    values: dict[str, int] = field(default_factory=dict)
    text: str = ""


@dataclass(frozen=True)
class Sizes:
    """Bytes of an ELF file: ``flash`` = text + data, ``ram`` = data + bss (static memory, no stack)."""

    text: int
    data: int
    bss: int

    @property
    def flash(self) -> int:
        return self.text + self.data

    @property
    def ram(self) -> int:
        return self.data + self.bss


@functools.cache
def _tool(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise CheepError(f"{name}: not found (install it: 'sudo apt-get install {package}', or run 'make setup')")
    return found


def compiler(core: Core = M4F) -> str:
    """Return the path of a core's compiler; raise :class:`CheepError` when it is missing."""
    return _tool(f"{core.prefix}gcc", core.packages[0])


def qemu(core: Core = M4F) -> str:
    """Return the path of a core's QEMU; raise :class:`CheepError` when it is missing."""
    return _tool(core.qemu, core.packages[1])


def emulator_dir() -> Path:
    """Return ``firmware/emulator``: start-up code, linker script, and the bench programs."""
    return firmware_root() / "emulator"


def run_tool(arguments: Sequence[str], what: str) -> str:
    """Run a compiler or a build, and return what it printed.

    Raises
    ------
    CheepError
        The tool cannot be run, or fails: ``what`` was to be made, and what it said.
    """
    try:
        result = subprocess.run(arguments, check=False, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise CheepError(f"{what}: {arguments[0]}: cannot be run ({error.strerror}); install it") from None
    if result.returncode != 0:
        said = result.stderr.strip() or result.stdout.strip() or f"exit status {result.returncode}"
        raise CheepError(f"{what}: {Path(arguments[0]).name} failed:\n{said}")
    return result.stdout


def build_elf(
    sources: Sequence[Path | str],
    target: Path | str,
    *,
    include_dirs: Sequence[Path | str] = (),
    optimization: str = "-O2",
    flags: Sequence[str] = (),
    flash_bytes: int | None = None,
    ram_bytes: int | None = None,
    stack_bytes: int = STACK_BYTES,
    core: Core = M4F,
) -> Path:
    """Compile and link a program for an emulated core.

    Parameters
    ----------
    sources
        C files, one of them with ``main``; start-up and semihosting are added.
    target
        The ELF file to write.
    include_dirs
        Besides the core's headers and ``firmware/emulator``.
    optimization, flags
        For the compiler, after ``-std=c11 -ffp-contract=off`` and warnings as errors.
    flash_bytes, ram_bytes, stack_bytes
        Sizes of the regions (default: the core's), and what static memory must leave for the stack; the linker refuses
        a program that does not fit.
    core
        For which it is compiled.

    Returns
    -------
    Path
        ``target``.
    """
    root, here = firmware_root(), emulator_dir()
    includes = [root / "common" / "include", here, *include_dirs]
    symbols = {
        "flash": core.flash, "ram": core.ram, "flash_bytes": flash_bytes or core.flash_bytes,
        "ram_bytes": ram_bytes or core.ram_bytes, "stack_bytes": stack_bytes,
    }  # fmt: skip
    arguments = [
        compiler(core), *core.flags, *C_FLAGS, *([f"-DEMULATOR_TIMER={core.timer}"] if core.timer else []),
        optimization, *flags, *(f"-I{d}" for d in includes), *map(str, sources), str(here / "emulator.c"),
        "-nostartfiles", f"--specs={core.specs}", f"-T{here / 'emulator.ld'}", "-Wl,--gc-sections",
        *(f"-Wl,--defsym=emulator_{name}={value}" for name, value in symbols.items()),
        "-o", str(target),
    ]  # fmt: skip
    run_tool(arguments, Path(target).name)
    return Path(target)


def elf_sizes(elf: Path | str) -> Sizes:
    """Return the sizes of an ELF file for any core, bytes."""
    lines = run_tool([_tool("arm-none-eabi-size", "gcc-arm-none-eabi"), str(elf)], "size").splitlines()
    text, data, bss = (int(v) for v in lines[1].split()[:3])
    return Sizes(text, data, bss)


def object_sizes(source: Path | str, optimization: str = "-O2", flags: Sequence[str] = ()) -> Sizes:
    """Return the sizes of one C file compiled for the emulated core, before the linker drops anything, bytes."""
    with tempfile.TemporaryDirectory(prefix="cheep-") as folder:
        target = Path(folder) / "out.o"
        include = f"-I{firmware_root() / 'common' / 'include'}"
        arguments = [compiler(), *CPU_FLAGS, *C_FLAGS, optimization, *flags, include, "-c", str(source)]
        run_tool([*arguments, "-o", str(target)], Path(source).name)
        return elf_sizes(target)


def symbol_sizes(elf: Path | str) -> dict[str, int]:
    """Return the bytes of every function and object of an ELF file."""
    listing = run_tool([_tool("arm-none-eabi-nm", "gcc-arm-none-eabi"), "--print-size", str(elf)], "nm")
    return {m[2]: int(m[1], 16) for m in re.finditer(r"^[0-9a-f]+ ([0-9a-f]+) \w (\S+)$", listing, re.MULTILINE)}


def run_elf(
    elf: Path | str,
    arguments: Sequence[str] = (),
    *,
    count: bool = True,
    timeout_s: float = 300.0,
    core: Core = M4F,
) -> RunResult:
    """Run a program in QEMU.

    Parameters
    ----------
    elf
        From :func:`build_elf`.
    arguments
        Words that the program reads with ``emulator_arguments`` (no spaces or commas inside a word).
    count
        Run with ``-icount``, which makes the counts of ``emulator_elapsed`` exact and the run slower (Cortex-M4F).
    core
        For which the program was built.
    timeout_s
        The run is ended after this time.

    Raises
    ------
    CheepError
        If the program exits with another status than 0, faults, or takes too long.
    """
    for word in arguments:
        if re.search(r"[\s,]", word):
            raise CheepError(f"{word!r}: an argument of an emulated program must not hold spaces or commas")
    semihosting = ["enable=on", "target=native", "arg=program", *(f"arg={word}" for word in arguments)]
    command = [qemu(core), "-M", core.machine, "-nographic", "-monitor", "none", "-serial", "none"]
    command += ["-semihosting-config", ",".join(semihosting)]
    command += ["-icount", "shift=6,align=off,sleep=off"] if count and core.timer else []
    command += ["-bios", "none"] if core.machine == "virt" else []
    command += ["-kernel", str(elf)]
    try:
        result = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise CheepError(f"{Path(elf).name}: still running in QEMU after {timeout_s:g} s") from None
    text = result.stdout + result.stderr
    if result.returncode != 0:
        raise CheepError(f"{Path(elf).name}: exit status {result.returncode} in QEMU:\n{text.strip()}")
    values = {m[1]: int(m[2]) for m in re.finditer(r"^(\w+)=(\d+)$", text, re.MULTILINE)}
    return RunResult(values, text)
