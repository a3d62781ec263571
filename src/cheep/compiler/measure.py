# SPDX-License-Identifier: MIT
"""A compiled network on the emulated Cortex-M4F: instructions, static RAM, flash, stack, and its output bytes."""

from __future__ import annotations

import dataclasses
import functools
import re
import tempfile
from pathlib import Path

import numpy as np

from cheep.compiler import Compiled
from cheep.emulator import build_elf, elf_sizes, emulator_dir, run_elf

_CTYPES = {"int8": "int8_t", "uint8": "uint8_t", "float32": "float", "int32": "int32_t"}
_BYTES = {"int8": 1, "uint8": 1, "float32": 4, "int32": 4}
_ALIGNMENT = 4  # of every member of the bench's structs


@dataclasses.dataclass(frozen=True)
class Measured:
    """Costs on the emulated core.

    ``instructions``: of one invoke (stream: of one column), the largest seen; ``instructions_mean``: their mean;
    ``ram_bytes``: static memory of the network (the window belongs to the caller); ``flash_bytes``: code, weights
    and tables, with the library functions that they call; ``stack_bytes``: peak stack; ``outputs``: what it wrote.
    """

    instructions: int
    instructions_mean: int
    ram_bytes: int
    flash_bytes: int
    stack_bytes: int
    outputs: bytes


def measure(
    compiled: Compiled,
    inputs: bytes,
    count: int,
    *,
    stream: bool = False,
    optimization: str = "-O2",
    flags: tuple[str, ...] = (),
    timeout_s: float = 300.0,
) -> Measured:
    """Build the network with the bench program and run it ``count`` times.

    Parameters
    ----------
    inputs : bytes
        ``count`` times the bytes of all inputs (stream: of one column).
    stream : bool
        Push columns through the incremental mode in place of whole windows.
    """
    with tempfile.TemporaryDirectory(prefix="cheep-") as folder:
        here = Path(folder)
        (here / f"{compiled.prefix}.c").write_text(compiled.source)
        (here / f"{compiled.prefix}.h").write_text(compiled.header)
        (here / "bench_model.h").write_text(_render(compiled, stream))
        ins, outs = _tensors(compiled, stream)
        (here / "in.bin").write_bytes(_aligned(inputs, [n * _BYTES[d] for _, n, d in ins]))
        main = emulator_dir() / "main_compiled.c"
        build = functools.partial(
            build_elf, include_dirs=[here], optimization=optimization, ram_bytes=1 << 20, flash_bytes=1 << 21
        )
        elf = build([main, here / f"{compiled.prefix}.c"], here / "with.elf", flags=flags)
        bare = build([main], here / "bare.elf", flags=(*flags, "-DBENCH_BARE"))
        result = run_elf(elf, [str(here / "in.bin"), str(here / "out.bin"), str(count)], timeout_s=timeout_s)
        sizes, base = elf_sizes(elf), elf_sizes(bare)
        outputs = _packed((here / "out.bin").read_bytes(), [n * _BYTES[d] for _, n, d in outs])
    values = result.values
    data = sizes.data - base.data
    return Measured(
        values["instructions_worst"], values["instructions_mean"], values["memory_bytes"] + max(data, 0),
        sizes.flash - base.flash, values["stack_bytes"], outputs,
    )  # fmt: skip


def _tensors(compiled: Compiled, stream: bool) -> tuple[list[tuple[str, int, str]], list[tuple[str, int, str]]]:
    """Return (name, elements, type) of the inputs (stream: the column) and of the outputs."""
    pattern = rf"#define {compiled.prefix.upper()}_(INPUT|OUTPUT)(\d+)_SIZE (\d+) /\* (\w+)"
    tensors = [(kind, i, int(n), dtype) for kind, i, n, dtype in re.findall(pattern, compiled.header)]
    ins = [(f"input{i}", n, d) for kind, i, n, d in tensors if kind == "INPUT"]
    outs = [(f"output{i}", n, d) for kind, i, n, d in tensors if kind == "OUTPUT"]
    if stream:
        width = re.findall(r"const int8_t \*column\); /\* (\d+) values", compiled.header)[0]
        ins = [("input0", int(width), "int8")]
    return ins, outs


def _aligned(data: bytes, sizes: list[int]) -> bytes:
    """Return members of ``sizes`` bytes, over and over, with the gaps that the bench's structs have."""
    out, at = bytearray(), 0
    while at < len(data):
        for size in sizes:
            out += data[at : at + size] + bytes(-size % _ALIGNMENT)
            at += size
    return bytes(out)


def _packed(data: bytes, sizes: list[int]) -> bytes:
    """Undo :func:`_aligned`."""
    out, at = bytearray(), 0
    while at < len(data):
        for size in sizes:
            out += data[at : at + size]
            at += size + -size % _ALIGNMENT
    return bytes(out)


def _render(compiled: Compiled, stream: bool) -> str:
    p = compiled.prefix
    ins, outs = _tensors(compiled, stream)
    text = f'#include "{p}.h"\n#include <stdint.h>\n'
    for name, members in (("bench_inputs", ins), ("bench_outputs", outs)):
        fields = " ".join(f"_Alignas({_ALIGNMENT}) {_CTYPES[d]} {m}[{n}];" for m, n, d in members)
        text += f"typedef struct {{ {fields} }} {name};\n"
    kind = f"{p}_{'stream' if stream else 'memory'}"
    text += f"typedef {kind} bench_memory;\n"
    passed = ", ".join([f"in->{m}" for m, _, _ in ins] + [f"out->{m}" for m, _, _ in outs])
    made = ", ".join(f"out->{m}" for m, _, _ in outs)
    if stream:
        start = f"{p}_stream_reset(m);"
        run = f"{p}_stream_push(m, in->input0); return {p}_stream_scores(m, {made});"
    else:
        start = f"{p}_reset(m);" if compiled.states else "(void)m;"
        run = f"{p}_invoke(m, {passed}); return 1;"
    text += "static inline void bench_start(bench_memory *m)\n{\n#ifdef BENCH_BARE\n    (void)m;\n#else\n"
    text += f"    {start}\n#endif\n}}\n"
    text += "static inline int bench_run(bench_memory *m, bench_inputs *in, bench_outputs *out)\n{\n#ifdef BENCH_BARE\n"
    text += f"    (void)m; (void)in; (void)out; return 1;\n#else\n    {run}\n#endif\n}}\n"
    return text


def random_inputs(compiled: Compiled, count: int, seed: int = 0) -> bytes:
    """Return ``count`` windows of random values: bytes uniformly, floats between -4 and 4."""
    rng = np.random.default_rng(seed)
    ins, _ = _tensors(compiled, stream=False)
    if all(dtype == "int8" for _, _, dtype in ins):
        return rng.integers(-128, 128, count * sum(n for _, n, _ in ins)).astype(np.int8).tobytes()
    parts = []
    for _ in range(count):
        for _, n, dtype in ins:
            values = rng.uniform(-4, 4, n) if dtype == "float32" else rng.integers(-128, 128, n)
            parts.append(values.astype(dtype).tobytes())
    return b"".join(parts)
