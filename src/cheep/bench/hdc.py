# SPDX-License-Identifier: MIT
"""The hyperdimensional head on the emulated core: build, run, and what this machine must get for the same input."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cheep.emulator import RunResult, build_elf, elf_sizes, emulator_dir, run_elf
from cheep.hdc.export import render_headers
from cheep.hdc.learner import HdcLearner
from cheep.hdc.model import HdcModel
from cheep.resources import source_dir

CORE_FILES = ("cheep_hdc.c", "cheep_hdc_generated.c", "cheep_hdc_learn.c", "cheep_hdc_project.c")
RAM_BYTES = 256 * 1024  # a bench of large heads; sizes are reported


def build_hdc(
    folder: Path,
    model: HdcModel,
    n_slots: int = 0,
    with_table: bool = False,
    optimization: str = "-O2",
    flags: Sequence[str] = (),
) -> Path:
    """Build ``main_hdc.c`` with the model's generated headers; return the ELF file."""
    generated = folder / "generated"
    generated.mkdir(parents=True, exist_ok=True)
    for name, text in render_headers(model, 0, n_slots, with_table).items():
        (generated / name).write_text(text)
    sources = [emulator_dir() / "main_hdc.c"]
    sources += [source_dir() / name for name in CORE_FILES]
    return build_elf(
        sources,
        folder / "hdc.elf",
        include_dirs=[folder],
        optimization=optimization,
        flags=["-DCHEEP_HDC", *flags],
        ram_bytes=RAM_BYTES,
        flash_bytes=1 << 20,
    )


def run_hdc(elf: Path, embeddings: np.ndarray, folder: Path, count: bool = True) -> tuple[RunResult, bytes]:
    """Run over int8 embeddings (n, n_dims); return the reported counts and the bytes written."""
    source, sink = folder / "embeddings.bin", folder / "results.bin"
    source.write_bytes(np.ascontiguousarray(embeddings, np.int8).tobytes())
    result = run_elf(elf, [str(source), str(sink)], count=count)
    return result, sink.read_bytes()


def host_bytes(model: HdcModel, embeddings: np.ndarray, n_slots: int = 0) -> bytes:
    """Return the bytes that the emulated program must write, computed in numpy.

    ``embeddings`` : (n, n_dims) int8, as the extractor gives. Each makes a hypervector (H,) int8 and its scores
    (classes,) int32, little-endian; with ``n_slots`` a class is learned from them, and they come twice more.
    """
    learner = HdcLearner(model, n_slots)
    parts: list[bytes] = []
    for x in embeddings:
        parts += [model.encode(x)[0].tobytes(), learner.scores(x)[0].astype("<i4").tobytes()]
    if n_slots:
        index = learner.add_class("new")
        for x in embeddings:
            parts += [model.encode(x)[0].tobytes(), learner.scores(x)[0].astype("<i4").tobytes()]
            learner.learn(index, x)
        learner.rehearse(2)
        for x in embeddings:
            parts += [model.encode(x)[0].tobytes(), learner.scores(x)[0].astype("<i4").tobytes()]
    return b"".join(parts)


def measure(folder: Path, model: HdcModel, embeddings: np.ndarray, with_table: bool = False) -> dict[str, int]:
    """Return instructions (``encode``, ``compare``, ``classify``), ``stack_bytes``, ``memory_bytes``, ``flash``.

    ``embeddings`` : (n, n_dims) int8, as the extractor gives; the instructions are those of the last one.
    """
    elf = build_hdc(folder, model, with_table=with_table)
    result, _ = run_hdc(elf, embeddings, folder)
    return {**result.values, "flash": elf_sizes(elf).flash}
