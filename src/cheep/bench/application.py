# SPDX-License-Identifier: MIT
"""The firmware's application on an emulated core, with the compiled model."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from cheep.boards.data import find_board
from cheep.boards.host import BootError, application_sources
from cheep.emulator import M4F, Core, build_elf, elf_sizes, emulator_dir, run_elf
from cheep.errors import CheepError
from cheep.export import ExportModel, render_headers, render_networks

_COSTS = ("frontend_instructions", "model_instructions", "detector_instructions", "stack_bytes")


def run_emulated(
    export: ExportModel,
    blocks: Iterable[np.ndarray],
    optimization: str = "-O2",
    whole_windows: bool = False,
    core: Core = M4F,
) -> Iterator[str]:
    """Yield the lines that the application writes, then one of type ``emulator`` with its costs.

    Parameters
    ----------
    export : ExportModel
        The model; it is compiled to C (:mod:`cheep.compiler`).
    blocks : iterable of (n,) int16
        Audio at the model's rate.
    optimization : str
        For the compiler.
    whole_windows : bool
        Run every window from its start even where the network can be fed with columns (the same events).
    core : Core
        Which emulated core; instructions are counted on the Cortex-M4F alone (0 elsewhere).

    Yields
    ------
    str
        Lines as on a serial port. The last one is a JSON object: worst executed instructions of one column, one
        inference (of a network fed with columns: one column) and one row of scores; instructions per second of audio
        of the whole application; peak stack, static RAM (without the ring of samples) and flash, bytes.

    Raises
    ------
    BootError
        The application refused to start.
    CheepError
        Compiler or QEMU missing, or the program does not fit the core's regions (an AudioMoth's).
    """
    with tempfile.TemporaryDirectory(prefix="cheep-") as name:
        folder = Path(name)
        samples = 0
        with open(folder / "in.pcm", "wb") as sink:
            for block in blocks:
                sink.write(np.ascontiguousarray(block, "<i2").tobytes())
                samples += len(block)
        generated = write_generated(export, folder)
        try:
            networks = sorted(generated.glob("*_compiled.c"))
            elf = build_elf(
                [*application_sources(), *networks, emulator_dir() / "main_application.c"],
                folder / "application.elf",
                include_dirs=[folder],
                optimization=optimization,
                flags=["-DCHEEP_BACKEND_COMPILED", "-DCHEEP_CLASSES_OF_MODEL", f'-DEMULATOR_BOARD="{core.name}"']
                + ["-DCHEEP_WHOLE_WINDOWS"] * whole_windows,
                stack_bytes=find_board("cortex-m4").stack_bytes,
                core=core,
            )
        except CheepError as error:
            raise _too_big(error, export, core) from None
        sizes = elf_sizes(elf)
        seconds = samples / export.features.sample_rate_hz
        try:
            result = run_elf(elf, [str(folder / "in.pcm")], timeout_s=120 + 10 * seconds, core=core)
        except CheepError as error:
            raise _refusal(error) from None
    yield from (line for line in result.text.splitlines() if line.startswith('{"type"'))
    costs = {cost: result.values[cost] for cost in _COSTS}
    costs["instructions_per_second"] = round(1000 * result.values["thousand_instructions"] / max(seconds, 1e-3))
    costs["ram_bytes"] = sizes.ram - result.values["ring_bytes"]
    costs["flash_bytes"] = sizes.flash
    yield json.dumps({"type": "emulator", "board": core.name, "optimization": optimization, **costs})


def write_generated(export: ExportModel, folder: Path) -> Path:
    """Write headers and compiled network to ``folder/generated``, as a firmware includes them; return that folder."""
    generated = folder / "generated"
    generated.mkdir()
    texts = {**render_headers(export), **render_networks(export)}
    for file_name, text in texts.items():
        (generated / file_name).write_text(text, encoding="utf-8")
    return generated


def _too_big(error: CheepError, export: ExportModel, core: Core) -> CheepError:
    if not any(words in str(error) for words in ("too little for the stack", "overflowed by", "will not fit")):
        return error
    ram, flash = core.ram_bytes // 1024, core.flash_bytes // 1024
    return CheepError(
        f"{export.bundle.path}: the application with it does not fit the emulated board's {ram} KB of "
        f"RAM and {flash} KB of flash, those of an AudioMoth (cheep size says by how much); cheep "
        "split-dataset --board audiomoth chooses one that fits, --board host runs this one"
    )


def _refusal(error: CheepError) -> CheepError:
    for line in str(error).splitlines():
        if line.startswith('{"type":"error"'):
            message = json.loads(line)
            return BootError(message["stage"], message["reason"])
    return error
