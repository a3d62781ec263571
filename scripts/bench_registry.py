# SPDX-License-Identifier: MIT
"""Every network of the registry and what it costs: parameters, MACs, flash, RAM, instructions (Cortex-M4F).

  python scripts/bench_registry.py                      a table (Markdown)
  python scripts/bench_registry.py --json               a list of {"name", "value", "unit"}
  python scripts/bench_registry.py --write docs/registry.md

Each network is built with random weights for ten classes, calibrated on random levels, compiled and run; its
bytes on the emulated core are compared with this machine's. Costs do not depend on what the weights are.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from bench_device import compiled_network

INPUTS = {"8 kHz, 1 s": (39, 40), "16 kHz, 1 s": (39, 64), "16 kHz, 2 s": (79, 64)}  # (columns, bands)
CLASSES = 10
HEAD = """# The networks and what they cost

Made by `make registry-table` (`scripts/bench_registry.py`); do not edit. Ten classes. Instructions:
one whole window on the emulated Cortex-M4F (QEMU, GCC -O2), network compiled by `cheep compile`; RAM: its static memory
and the window; flash: code, weights, tables; *RAM per column*: in the incremental mode, where a network allows it.
A window of 39 columns of 25 ms is one second; accuracy stands in [results.md](results.md).

"""


def costs(name: str, shape: tuple[int, int], folder: Path) -> dict[str, float | None]:
    """Return parameters, MACs, flash, RAM and instructions of one network for one input."""
    from cheep.convert.tflite import calibrated_int8
    from cheep.errors import CheepError
    from cheep.models import build_model
    from cheep.tf_runtime import import_tf, seed_everything

    import_tf()
    seed_everything(1)
    model = build_model(name, shape, CLASSES)
    levels = np.random.default_rng(1).normal(-50, 15, (64, *shape)).astype(np.float32)
    path = folder / "network.tflite"
    path.write_bytes(calibrated_int8(model, levels))
    out: dict[str, float | None] = {"parameters": int(model.count_params()), "tflite_bytes": path.stat().st_size}
    try:
        for row in compiled_network(path, "-O2"):
            out[row["name"].removeprefix("compiled.network.")] = row["value"]
    except CheepError as error:
        print(f"{name}: {error}", file=sys.stderr)
    if "ram_bytes" in out:
        out["ram_bytes"] += int(np.prod(shape))
    return out


def main() -> int:
    """Measure all and print or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page here")
    parser.add_argument("--models", nargs="+", help="only these")
    args = parser.parse_args()
    from cheep.errors import CheepError
    from cheep.models import model_names, model_spec

    rows: list[tuple[str, str, dict]] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name in args.models or model_names():
                model_spec(name)
                for title, shape in INPUTS.items():
                    rows.append((name, title, costs(name, shape, Path(folder))))
                    print(f"{name}, {title}: done", file=sys.stderr, flush=True)
    except CheepError as error:
        print(f"bench_registry: {error}", file=sys.stderr)
        return error.exit_status
    if args.json:
        flat = [
            {"name": f"registry.{name}.{title.replace(', ', '_').replace(' ', '')}.{key}", "value": value, "unit": "1"}
            for name, title, values in rows
            for key, value in values.items()
        ]
        print(json.dumps(flat, indent=1))
        return 0
    text = HEAD + "\n".join(_table(rows)) + "\n\n" + _described(sorted({name for name, _, _ in rows}))
    if args.write:
        args.write.write_text(text, encoding="utf-8")
    else:
        print(text)
    return 0


def _table(rows: list[tuple[str, str, dict]]) -> list[str]:
    keys = ("parameters", "macs", "instructions", "ram_bytes", "flash_bytes", "stack_bytes", "stream_ram_bytes")
    titles = ("parameters", "MACs", "instructions", "RAM, B", "flash, B", "stack, B", "RAM per column, B")
    out = ["| network | input | " + " | ".join(titles) + " |", "|---|---|" + "---|" * len(keys)]
    for name, title, values in rows:
        cells = [f"{values[key]:,}" if values.get(key) is not None else "-" for key in keys]
        out.append(f"| {name} | {title} | " + " | ".join(cells) + " |")
    return out


def _described(names: list[str]) -> str:
    from cheep.models import model_spec

    return "\n".join(f"- `{name}`: {model_spec(name).description}." for name in names) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
