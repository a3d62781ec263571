# SPDX-License-Identifier: MIT
"""Fuzz the compiler with damaged and hostile .tflite files: an error message, never a crash, a hang or wrong code.

  python scripts/fuzz_compiler.py --seconds 600            mutants of the test grid
  python scripts/fuzz_compiler.py --models DIR             and of the .tflite files in a folder
  python scripts/fuzz_compiler.py --family all             one family of operators after another, --seconds for each

Every mutant must compile or be refused with a CheepError within --limit seconds of processor time. A share of those
that compile is built with the address and undefined-behaviour sanitizers, run on random bytes, and compared with TFLM
(in a process of its own, because damaged files can crash the runtime: then there is nothing to compare).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

# What begins the names of a family's cases in the grid (tests/helpers/compiler_grid.py); "networks" are whole networks.
FAMILIES = {
    "convolutions": ("conv", "depthwise", "groups", "dense", "FULLY_CONNECTED"),
    "reductions": ("MEAN", "SUM", "REDUCE_MAX", "MAX_POOL_2D", "AVERAGE_POOL_2D"),
    "arithmetic": ("ADD", "SUB", "MUL", "MINIMUM", "MAXIMUM"),
    "activations": ("RELU", "LOGISTIC", "TANH", "HARD_SWISH", "SOFTMAX"),
    "slopes": ("LEAKY_RELU", "PRELU", "ELU"),
    "types": ("QUANTIZE", "DEQUANTIZE"),
    "shapes": (
        "PAD",
        "RESHAPE",
        "SHAPE",
        "CONCATENATION",
        "SPLIT",
        "STRIDED_SLICE",
        "PACK",
        "UNPACK",
        "TRANSPOSE",
        "RESIZE",
    ),
    "products": ("BATCH_MATMUL",),
    "svdf": ("SVDF",),
    "lstm": ("LSTM",),
    "variables": ("variables",),
    "networks": (),
}

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "helpers")]

_JUDGE = """
import sys
import numpy as np
from cheep.tflite.tflm import TflmModel
from cheep.compiler.intake import read_network
data = open(sys.argv[1], "rb").read()
raw = open(sys.argv[2], "rb").read()
graph, at, inputs = read_network(data), 0, []
for t in graph.inputs:
    inputs.append(np.frombuffer(raw[at:at + t.n_bytes], t.dtype).reshape(t.shape)); at += t.n_bytes
model = TflmModel(data)
for _ in range(3):  # what is kept from run to run counts
    model.invoke(*inputs)
sys.stdout.buffer.write(b"".join(model.output(i).tobytes() for i in range(len(graph.outputs))))
"""


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a damaged copy: flipped bits, interesting words, cut, spliced."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        if not out:
            break  # cut off at its first byte
        at = int(rng.integers(0, max(1, len(out) - 4)))
        kind = rng.integers(0, 7)
        if kind == 0:
            out[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            out[at] = int(rng.integers(0, 256))
        elif kind == 2:
            value = int(rng.choice([0, 1, -1, 2**31 - 1, -(2**31), 255, 65535, 3, 1000000]))
            at -= at % 4
            out[at : at + 4] = value.to_bytes(4, "little", signed=True)
        elif kind == 3 and rng.random() < 0.2:
            del out[at:]
        elif kind == 4:
            n = int(rng.integers(1, 16))
            to = int(rng.integers(0, max(1, len(out) - n)))
            out[to : to + n] = out[at : at + n]
        elif kind == 5:
            at -= at % 4
            word = int.from_bytes(out[at : at + 4], "little") + int(rng.integers(-4, 5))
            out[at : at + 4] = (word % 2**32).to_bytes(4, "little")
        else:
            at -= at % 4
            out[at : at + 4] = np.float32(rng.choice([0, -1, 1e-38, 1e30, np.nan, np.inf, 0.5, 3e-5])).tobytes()
    return bytes(out)


def mutate_fields(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a well-formed file with hostile fields: shapes, scales, zero points, options, operands, constants."""
    import flatbuffers
    from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(data, 0)
    graph = model.subgraphs[0]

    def number(value) -> int:
        return int(rng.choice([value + 1, value - 1, value * 2, 0, 1, 2, 3, -1, 7, 100, 65536, value]))

    for _ in range(int(rng.integers(1, 4))):
        tensor = graph.tensors[int(rng.integers(len(graph.tensors)))]
        operator = graph.operators[int(rng.integers(len(graph.operators)))]
        kind, q = int(rng.integers(0, 9)), tensor.quantization
        if kind == 0 and tensor.shape is not None and len(tensor.shape):
            shape = [int(n) for n in tensor.shape]
            i = int(rng.integers(len(shape)))
            shape[i] = number(shape[i])
            tensor.shape = shape
        elif kind == 1 and q is not None and q.scale is not None:
            q.scale = [float(v) * 10.0 ** float(rng.integers(-9, 10)) for v in q.scale]
        elif kind == 2 and q is not None and q.zeroPoint is not None:
            q.zeroPoint = [int(rng.integers(-128, 128)) for _ in q.zeroPoint]
        elif kind == 3 and operator.builtinOptions is not None:
            fields = [
                k for k, v in vars(operator.builtinOptions).items() if isinstance(v, int) and k != "fusedActivation"
            ]
            if fields:
                name = fields[int(rng.integers(len(fields)))]
                setattr(operator.builtinOptions, name, number(int(getattr(operator.builtinOptions, name))))
        elif kind in (4, 5) and operator.inputs is not None and len(operator.inputs):
            inputs = [int(i) for i in operator.inputs]
            inputs[int(rng.integers(len(inputs)))] = int(rng.integers(-1, len(graph.tensors)))
            operator.inputs = inputs
        elif kind == 6 and len(model.buffers) > 1:
            buffer = model.buffers[int(rng.integers(1, len(model.buffers)))]
            if buffer.data is not None and len(buffer.data):
                values = np.array(buffer.data, np.uint8)
                values[int(rng.integers(len(values)))] = int(rng.integers(256))
                buffer.data = values
        elif kind == 7:
            graph.outputs = [int(rng.integers(len(graph.tensors)))]
        else:
            code = model.operatorCodes[int(rng.integers(len(model.operatorCodes)))]
            code.builtinCode = int(rng.integers(0, 150))
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    try:
        builder = flatbuffers.Builder(len(data) + 1024)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())
    except Exception:  # a value that the format cannot hold
        return data


def run_sanitized(data: bytes, seed: int) -> str:
    """Build and run an accepted mutant; return "same", "no judge", or what went wrong."""
    from cheep.compiler import compile_bytes
    from cheep.compiler.intake import read_network

    compiled, graph = compile_bytes(data), read_network(data)
    size_in, size_out = (sum(t.n_bytes for t in ts) for ts in (graph.inputs, graph.outputs))
    if compiled.macs > 2e8 or size_in + size_out > 1 << 22 or compiled.memory_bytes > 1 << 24:
        return "too large to run"
    values = np.random.default_rng(seed)
    parts = {
        "float32": lambda n: values.normal(0, 2, n).astype(np.float32),
        "int8": lambda n: values.integers(-128, 128, n).astype(np.int8),
        "uint8": lambda n: values.integers(0, 256, n).astype(np.uint8),
    }
    raw = b"".join(parts[t.dtype](t.size).tobytes() for t in graph.inputs)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        calls, at = [], 0
        for t in graph.inputs:
            calls.append(f"(const void *)(in + {at})")
            at += t.n_bytes
        at = 0
        for t in graph.outputs:
            calls.append(f"(void *)(out + {at})")
            at += t.n_bytes
        main = f"""
#include <stdio.h>
#include <stdlib.h>
int main(int n, char **v) {{
    (void)n;
    unsigned char *in = malloc({size_in}), *out = malloc({size_out});
    {compiled.prefix}_memory *m = malloc(sizeof *m);
    FILE *f = fopen(v[1], "rb");
    if (fread(in, 1, {size_in}, f) != {size_in}) return 9;
    {f"{compiled.prefix}_reset(m);" if compiled.states else ""}
    for (int k = 0; k < 3; k++) {{
        {compiled.prefix}_invoke(m, {", ".join(calls)});
    }}
    fwrite(out, 1, {size_out}, stdout);
    return 0;
}}
"""
        (here / "model_compiled.c").write_text(compiled.source + main)
        (here / "model_compiled.h").write_text(compiled.header)
        (here / "m.tflite").write_bytes(data)
        (here / "in.bin").write_bytes(raw)
        # alignment: the caller's float tensors are packed here, and read with memcpy
        flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-Wno-cast-align"]
        flags += ["-fsanitize=address,undefined", "-fno-sanitize=alignment", "-fno-sanitize-recover=all"]
        build = ["gcc", *flags, str(here / "model_compiled.c"), "-o", str(here / "program")]
        try:
            result = subprocess.run(build, capture_output=True, check=False, text=True, timeout=300)
        except subprocess.TimeoutExpired:  # large networks with both sanitizers, on a busy machine
            return "too slow to build"
        if result.returncode:
            return "does not compile: " + result.stderr[:500]
        try:
            program = subprocess.run(
                [here / "program", here / "in.bin"], capture_output=True, check=False, timeout=120,
                env={"ASAN_OPTIONS": "detect_leaks=0"},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return "still running after 120 s"
        if program.returncode:
            return "sanitizer: " + program.stderr.decode("utf-8", "replace")[:500]
        try:
            judge = subprocess.run(
                [sys.executable, "-c", _JUDGE, here / "m.tflite", here / "in.bin"], capture_output=True, check=False,
                timeout=300, env={"PYTHONPATH": str(ROOT / "src")},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return "no judge"
        if judge.returncode or len(judge.stdout) != size_out:
            return "no judge"
        return "same" if judge.stdout == program.stdout else "different bytes"


def sanitize(cases: list[tuple[str, bytes]]) -> int:
    """Build and run every case as it is; exit status 1 where one is not the same as in TFLM."""
    verdicts = Counter()
    for i, (name, data) in enumerate(cases):
        verdict = run_sanitized(data, i)
        verdicts[verdict.split(":")[0]] += 1
        if verdict != "same":
            print(f"{name}: {verdict}", flush=True)
    print(f"{len(cases)} cases: {dict(verdicts)}")
    return 1 if set(verdicts) != {"same"} else 0


def of_family(name: str, family: str) -> bool:
    """Whether a case of the grid belongs to a family."""
    return name.startswith(FAMILIES[family])


def families() -> dict[str, list[bytes]]:
    """Return every family's cases; a case of the grid that belongs to none, or to two, is an error."""
    from compiler_grid import grid, networks

    sources: dict[str, list[bytes]] = {family: [] for family in FAMILIES}
    for name, data in grid():
        (family,) = [f for f in FAMILIES if of_family(name, f)]
        sources[family].append(data)
    sources["networks"] = [data for _, data in networks()]
    return sources


class Campaign:
    """Mutants of some sources for some time, and what became of them."""

    def __init__(self, args: argparse.Namespace, name: str = "") -> None:
        self.args, self.name = args, name
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self.slowest = 0.0
        self.accepted = 0

    def try_one(self, data: bytes, *, changed: bool) -> str | None:
        """Compile one file, and build and run one of so many that compile; return what is wrong with it."""
        from cheep.compiler import compile_bytes
        from cheep.errors import CheepError

        begin = time.process_time()
        try:
            compile_bytes(data)
        except CheepError:
            self.counts["refused"] += 1
            return self._timed(begin)
        except Exception as error:  # anything else is what this campaign looks for
            return f"{type(error).__name__}: {error}"
        self.counts["compiled"] += 1
        self.accepted += changed
        problem = self._timed(begin)
        if not problem and changed and self.accepted % self.args.build_every == 0:
            verdict = run_sanitized(data, self.accepted)
            self.counts[verdict.split(":")[0]] += 1
            problem = None if verdict in ("same", "no judge", "too large to run", "too slow to build") else verdict
        return problem

    def _timed(self, begin: float) -> str | None:
        took = time.process_time() - begin
        self.slowest = max(self.slowest, took)
        return f"took {took:.1f} s" if took > self.args.limit else None

    def run(self, seeds: list[bytes]) -> int:
        """Try mutants until the time is over; return how many got through."""
        rng, end = np.random.default_rng(self.args.seed), time.monotonic() + self.args.seconds
        told = time.monotonic()
        while time.monotonic() < end:
            original = seeds[int(rng.integers(len(seeds)))]
            data = (mutate if rng.random() < 0.3 else mutate_fields)(original, rng)
            problem = self.try_one(data, changed=data != original)
            if problem:
                self.args.keep.mkdir(parents=True, exist_ok=True)
                path = self.args.keep / f"mutant{self.name}{len(self.failures)}.tflite"
                path.write_bytes(data)
                self.failures.append(problem)
                print(f"{path}: {problem}", flush=True)
            if time.monotonic() - told > 30:
                told = time.monotonic()
                print(f"  {self.name} {sum(self.counts.values())} files, {end - told:.0f} s left", file=sys.stderr)
        print(
            f"{self.name + ': ' if self.name else ''}{sum(self.counts.values())} files: {dict(self.counts)}; "
            f"slowest {self.slowest:.2f} s of processor time; {len(self.failures)} got through",
            flush=True,
        )
        return len(self.failures)


def main() -> int:
    """Run the campaign; exit status 1 when a mutant got through."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=5.0, help="seconds of processor time that one file may take")
    parser.add_argument("--build-every", type=int, default=40, help="build and run one of so many accepted mutants")
    parser.add_argument("--models", type=Path, help="folder with more .tflite files to start from")
    parser.add_argument("--only", default="", help="start from the cases of the grid whose names have this word")
    parser.add_argument(
        "--family", choices=("all", *FAMILIES), help="start from a family of operators; all: each in turn"
    )
    parser.add_argument("--sanitize", action="store_true", help="no mutants: each case as it is, with the sanitizers")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"), help="folder for files that got through")
    args = parser.parse_args()
    from compiler_grid import grid, networks

    if args.family:
        sources = families()
        names = list(FAMILIES) if args.family == "all" else [args.family]
        return 1 if sum([Campaign(args, name).run(sources[name]) for name in names]) else 0
    cases = grid() + networks()
    if args.only:
        cases = [(name, data) for name, data in cases if args.only in name]
    if args.sanitize:
        return sanitize(cases)
    seeds = [data for _, data in (cases if args.only else cases[::5])]
    seeds += [path.read_bytes() for path in sorted(args.models.glob("*.tflite"))] * 5 if args.models else []
    return 1 if Campaign(args).run(seeds) else 0


if __name__ == "__main__":
    sys.exit(main())
