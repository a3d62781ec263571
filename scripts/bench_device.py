# SPDX-License-Identifier: MIT
"""Costs on the emulated Cortex-M4F (QEMU, exact instruction counts, GCC): front end, compiled networks, detector.

  python scripts/bench_device.py                       the front end at its default settings
  python scripts/bench_device.py MODEL.tflite ...      and these networks, compiled
  python scripts/bench_device.py --json MODEL.tflite   a list of {"name", "value", "unit"}

For every model: compiled.NAME.instructions (the most of a few runs on random bytes), ram_bytes (static memory of the
network; windows and scores belong to the caller) and flash_bytes (code, weights, tables, library functions), NAME being
the file's stem. The output bytes are compared with the same C on this machine; a difference
ends the run. A model that carries Cheep's feature settings adds detector.NAME.*: instructions per second of audio of
front end, network and detector, every window from its start and (where the network allows it) incrementally.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

RUNS = 3


def frontend(optimization: str) -> list[dict]:
    """Instructions per frame and memory of the front end at its default settings."""
    from cheep.bench.frontend import measure_frontend
    from cheep.config import FeatureConfig

    measured = measure_frontend(FeatureConfig(), optimization)
    return [_row(name, value, "bytes" if "bytes" in name else "instructions") for name, value in measured.items()]


def compiled_network(path: Path, optimization: str) -> list[dict]:
    """Instructions, RAM, flash and stack of one compiled network; its bytes are checked."""
    from cheep.compiler import CompiledModel, compile_model
    from cheep.compiler.measure import measure, random_inputs
    from cheep.errors import GateError

    compiled = compile_model(path)
    inputs = random_inputs(compiled, RUNS)
    measured = measure(compiled, inputs, RUNS, optimization=optimization)
    host, at, expected = CompiledModel(path), 0, b""
    for _ in range(RUNS):
        arrays = []
        for tensor in host.inputs:
            arrays.append(np.frombuffer(inputs[at : at + tensor.n_bytes], tensor.dtype).reshape(tensor.shape))
            at += tensor.n_bytes
        expected += b"".join(a.tobytes() for a in host.invoke(*arrays))
    if measured.outputs != expected:
        raise GateError(f"{path}: the emulated core and this machine give different bytes")
    name = f"compiled.{path.stem}"
    rows = [
        _row(f"{name}.instructions", measured.instructions, "instructions"),
        _row(f"{name}.ram_bytes", measured.ram_bytes, "bytes"),
        _row(f"{name}.flash_bytes", measured.flash_bytes, "bytes"),
        _row(f"{name}.stack_bytes", measured.stack_bytes, "bytes"),
        _row(f"{name}.macs", compiled.macs, "multiply-accumulates"),
    ]
    if compiled.stream:
        rows.append(_row(f"{name}.stream_ram_bytes", compiled.stream["memory_bytes"], "bytes"))
    return rows


def detector(path: Path, optimization: str) -> list[dict]:
    """Instructions per second of audio of the whole detector, for a model that carries its settings."""
    from cheep.bench.detector import measure_detector
    from cheep.compiler import compile_model
    from cheep.device.bundle import load_bundle
    from cheep.tflite.model import read_model

    if read_model(path).metadata is None and not (path.parent / "manifest.json").is_file():
        return []
    bundle, compiled, name = load_bundle(path), compile_model(path), f"detector.{path.stem}"
    modes = {"window": (False, bundle.detector.stride_frames)}
    if compiled.stream:
        step = compiled.stream["stride_rows"]
        modes["incremental"] = (True, max(step, bundle.detector.stride_frames // step * step))
    rows = []
    for mode, (stream, stride) in modes.items():
        settings = bundle.detector.model_copy(update={"stride_frames": stride})
        cost = measure_detector(
            compiled, bundle.features, settings, bundle.input, len(bundle.labels), stream=stream,
            optimization=optimization,
        )  # fmt: skip
        rows.append(_row(f"{name}.{mode}.stride_frames", stride, "columns"))
        for part, value in {**cost.per_second, "total": cost.total_per_second}.items():
            rows.append(_row(f"{name}.{mode}.{part}_per_second", round(value), "instructions/s"))
        rows.append(_row(f"{name}.{mode}.load_48mhz", round(cost.total_per_second / 48e6, 5), "fraction"))
    return rows


def _row(name: str, value: float, unit: str) -> dict:
    return {"name": name, "value": value, "unit": unit}


def main() -> int:
    """Measure and print; exit status 2 for what the user can correct."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="*", metavar="MODEL.tflite")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("-O", dest="optimization", default="2", choices=("0", "1", "2", "3", "s"), help="GCC's -O (2)")
    args = parser.parse_args()
    from cheep.errors import CheepError

    try:
        rows = frontend(f"-O{args.optimization}")
        for path in args.models:
            rows += compiled_network(path, f"-O{args.optimization}")
            rows += detector(path, f"-O{args.optimization}")
    except CheepError as error:
        print(f"bench_device: {error}", file=sys.stderr)
        return error.exit_status
    if args.json:
        print(json.dumps(rows, indent=1))
    else:
        for row in rows:
            print(f"{row['name']:50s} {row['value']:>12} {row['unit']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
