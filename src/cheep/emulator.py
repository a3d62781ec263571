# SPDX-License-Identifier: MIT
"""The emulated Cortex-M4F: build a program, run it in QEMU, read exact instruction counts.

Code runs at address 0 in regions as large as the AudioMoth's (240 KB of flash for the application,
32 KB of RAM). Programs use ``firmware/emulator/emulator.h``; what they report with
``emulator_report(name, value)`` comes back as a dict.
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

from cheep.errors import CheepError
from cheep.resources import firmware_root

COMPILER = "arm-none-eabi-gcc"
QEMU = "qemu-system-arm"
FLASH_BYTES = 240 * 1024
RAM_BYTES = 32 * 1024
STACK_BYTES = 1024
CPU_FLAGS = ("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")
C_FLAGS = (
    *("-std=c11", "-ffp-contract=off", "-ffunction-sections", "-fdata-sections"),
    *("-Wall", "-Wextra", "-Wconversion", "-Werror"),
)


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


def compiler() -> str:
    """Return the path of the ARM compiler; raise :class:`CheepError` when it is missing."""
    return _tool(COMPILER, "gcc-arm-none-eabi")


def qemu() -> str:
    """Return the path of QEMU; raise :class:`CheepError` when it is missing."""
    return _tool(QEMU, "qemu-system-arm")


def emulator_dir() -> Path:
    """Return ``firmware/emulator``: start-up code, linker script, and the bench programs."""
    return firmware_root() / "emulator"


def _checked(arguments: Sequence[str], what: str) -> str:
    result = subprocess.run(arguments, check=False, capture_output=True, text=True)
    if result.returncode != 0:
        raise CheepError(f"{what}: {Path(arguments[0]).name} failed:\n{result.stderr.strip()}")
    return result.stdout


def build_elf(
    sources: Sequence[Path | str],
    target: Path | str,
    *,
    include_dirs: Sequence[Path | str] = (),
    optimization: str = "-O2",
    flags: Sequence[str] = (),
    flash_bytes: int = FLASH_BYTES,
    ram_bytes: int = RAM_BYTES,
    stack_bytes: int = STACK_BYTES,
) -> Path:
    """Compile and link a program for the emulated core.

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
        Sizes of the regions, and what static memory must leave for the stack; the linker refuses a program that does
        not fit.

    Returns
    -------
    Path
        ``target``.
    """
    root, here = firmware_root(), emulator_dir()
    includes = [root / "common" / "include", here, *include_dirs]
    arguments = [
        compiler(), *CPU_FLAGS, *C_FLAGS, optimization, *flags, *(f"-I{d}" for d in includes),
        *map(str, sources), str(here / "emulator.c"),
        "-nostartfiles", "--specs=nano.specs", f"-T{here / 'emulator.ld'}", "-Wl,--gc-sections",
        f"-Wl,--defsym=emulator_flash_bytes={flash_bytes}", f"-Wl,--defsym=emulator_ram_bytes={ram_bytes}",
        f"-Wl,--defsym=emulator_stack_bytes={stack_bytes}",
        "-o", str(target),
    ]  # fmt: skip
    _checked(arguments, Path(target).name)
    return Path(target)


def elf_sizes(elf: Path | str) -> Sizes:
    """Return the sizes of an ELF file, bytes."""
    lines = _checked([_tool("arm-none-eabi-size", "gcc-arm-none-eabi"), str(elf)], "size").splitlines()
    text, data, bss = (int(v) for v in lines[1].split()[:3])
    return Sizes(text, data, bss)


def object_sizes(source: Path | str, optimization: str = "-O2", flags: Sequence[str] = ()) -> Sizes:
    """Return the sizes of one C file compiled for the emulated core, before the linker drops anything, bytes."""
    with tempfile.TemporaryDirectory(prefix="cheep-") as folder:
        target = Path(folder) / "out.o"
        include = f"-I{firmware_root() / 'common' / 'include'}"
        arguments = [compiler(), *CPU_FLAGS, *C_FLAGS, optimization, *flags, include, "-c", str(source)]
        _checked([*arguments, "-o", str(target)], Path(source).name)
        return elf_sizes(target)


def symbol_sizes(elf: Path | str) -> dict[str, int]:
    """Return the bytes of every function and object of an ELF file."""
    listing = _checked([_tool("arm-none-eabi-nm", "gcc-arm-none-eabi"), "--print-size", str(elf)], "nm")
    return {m[2]: int(m[1], 16) for m in re.finditer(r"^[0-9a-f]+ ([0-9a-f]+) \w (\S+)$", listing, re.MULTILINE)}


def run_elf(
    elf: Path | str, arguments: Sequence[str] = (), *, count: bool = True, timeout_s: float = 300.0
) -> RunResult:
    """Run a program in QEMU.

    Parameters
    ----------
    elf
        From :func:`build_elf`.
    arguments
        Words that the program reads with ``emulator_arguments`` (no spaces or commas inside a word).
    count
        Run with ``-icount``, which makes the counts of ``emulator_elapsed`` exact and the run slower.
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
    command = [qemu(), "-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "none"]
    command += ["-semihosting-config", ",".join(semihosting)]
    command += ["-icount", "shift=6,align=off,sleep=off"] if count else []
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
