"""A compiled network on the emulated Cortex-M4F: instructions, static RAM, flash, stack, and its output bytes."""

from __future__ import annotations

import dataclasses
import re
import tempfile
from pathlib import Path

import numpy as np

from cheep.compiler import Compiled
from cheep.emulator import build_elf, elf_sizes, emulator_dir, run_elf

_CTYPES = {"int8": "int8_t", "float32": "float", "int32": "int32_t"}


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
        (here / "in.bin").write_bytes(inputs)
        main = emulator_dir() / "main_compiled.c"
        options = {"include_dirs": [here], "optimization": optimization, "ram_bytes": 1 << 20, "flash_bytes": 1 << 21}
        elf = build_elf([main, here / f"{compiled.prefix}.c"], here / "with.elf", flags=flags, **options)
        bare = build_elf([main], here / "bare.elf", flags=(*flags, "-DBENCH_BARE"), **options)
        result = run_elf(elf, [str(here / "in.bin"), str(here / "out.bin"), str(count)], timeout_s=timeout_s)
        sizes, base = elf_sizes(elf), elf_sizes(bare)
        outputs = (here / "out.bin").read_bytes()
    values = result.values
    data = sizes.data - base.data
    return Measured(
        values["instructions_worst"], values["instructions_mean"], values["memory_bytes"] + max(data, 0),
        sizes.flash - base.flash, values["stack_bytes"], outputs,
    )  # fmt: skip


def _render(compiled: Compiled, stream: bool) -> str:
    p, upper = compiled.prefix, compiled.prefix.upper()
    pattern = rf"#define {upper}_(INPUT|OUTPUT)(\d+)_SIZE (\d+) /\* (\w+)"
    tensors = [(kind, i, int(n), dtype) for kind, i, n, dtype in re.findall(pattern, compiled.header)]
    text = f'#include "{p}.h"\n#include <stdint.h>\n'
    ins = [(f"input{i}", n, d) for kind, i, n, d in tensors if kind == "INPUT"]
    outs = [(f"output{i}", n, d) for kind, i, n, d in tensors if kind == "OUTPUT"]
    if stream:
        width = re.search(r"const int8_t \*column\); /\* (\d+) values", compiled.header)[1]
        ins = [("input0", int(width), "int8")]
    for name, members in (("bench_inputs", ins), ("bench_outputs", outs)):
        fields = " ".join(f"{_CTYPES[d]} {m}[{n}];" for m, n, d in members)
        text += f"typedef struct {{ {fields} }} __attribute__((packed)) {name};\n"
    kind = f"{p}_{'stream' if stream else 'memory'}"
    text += f"typedef {kind} bench_memory;\n"
    passed = ", ".join([f"in->{m}" for m, _, _ in ins] + [f"out->{m}" for m, _, _ in outs])
    made = ", ".join(f"out->{m}" for m, _, _ in outs)
    if stream:
        start = f"{p}_stream_reset(m);"
        run = f"{p}_stream_push(m, in->input0); return {p}_stream_scores(m, {made});"
    else:
        start, run = "(void)m;", f"{p}_invoke(m, {passed}); return 1;"
    text += "static inline void bench_start(bench_memory *m)\n{\n#ifdef BENCH_BARE\n    (void)m;\n#else\n"
    text += f"    {start}\n#endif\n}}\n"
    text += "static inline int bench_run(bench_memory *m, bench_inputs *in, bench_outputs *out)\n{\n#ifdef BENCH_BARE\n"
    text += f"    (void)m; (void)in; (void)out; return 1;\n#else\n    {run}\n#endif\n}}\n"
    return text


def random_inputs(compiled: Compiled, count: int, seed: int = 0) -> bytes:
    """Return ``count`` windows of uniformly random bytes for a network with int8 inputs."""
    pattern = rf"#define {compiled.prefix.upper()}_INPUT\d+_SIZE (\d+)"
    size = sum(map(int, re.findall(pattern, compiled.header)))
    return np.random.default_rng(seed).integers(-128, 128, count * size).astype(np.int8).tobytes()
