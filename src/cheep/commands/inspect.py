# SPDX-License-Identifier: MIT
"""Say what is in a .tflite: tensors, operators, share of int8, memory over time, TFLM support, what looks wrong.

cheep inspect model.tflite
cheep inspect model.tflite --data dataset.npz --svg memory.svg
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cheep.files import write_bytes
from cheep.isolated import call_isolated


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("model", type=Path, help=".tflite file")
    parser.add_argument(
        "--data", type=Path, help="real examples (.npz, CSV, dataset.csv): ranges and saturation on them"
    )
    parser.add_argument("--examples", type=int, default=100, help="at most so many of them (%(default)s)")
    parser.add_argument(
        "--state", nargs="+", default=[], metavar="IN:OUT", help="input and output, by number, that carry a state"
    )
    parser.add_argument("--tensors", action="store_true", help="list every tensor")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write memory over time as a picture")
    parser.add_argument("--no-tflm", action="store_true", help="do not run the model in TFLM")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    """Inspect and print."""
    from cheep.inspection.report import inspect_model, render_memory_svg, render_text

    if args.data:
        job = {"model": str(args.model), "data": str(args.data), "examples": args.examples, "states": args.state}
        job["tflm"] = not args.no_tflm
        report = call_isolated("cheep.inspection.jobs:inspect_on_data", job, f"running {args.model}")
    else:
        report = inspect_model(args.model, None, not args.no_tflm)
    if args.svg:
        write_bytes(args.svg, render_memory_svg(report).encode())
    print(json.dumps(report, indent=2) if args.json else render_text(report, args.tensors))
    return 0
