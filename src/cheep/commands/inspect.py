"""Say what is in a .tflite: tensors, operators, share of int8, memory over time, TFLM support, what looks wrong.

cheep inspect model.tflite
cheep inspect model.tflite --data dataset.npz --svg memory.svg
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cheep import runs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("model", type=Path, help=".tflite file")
    parser.add_argument(
        "--data", type=Path, help="real examples (.npz, CSV, dataset.csv): ranges and saturation on them"
    )
    parser.add_argument("--examples", type=int, default=100, help="at most so many of them (%(default)s)")
    parser.add_argument("--tensors", action="store_true", help="list every tensor")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write memory over time as a picture")
    parser.add_argument("--no-tflm", action="store_true", help="do not run the model in TFLM")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    """Inspect and print."""
    from cheep.inspection.graph import read_graph
    from cheep.inspection.report import inspect_model, render_memory_svg, render_text

    examples = None
    if args.data:
        from cheep.convert.data import load_data
        from cheep.convert.job import fit_shape
        from cheep.convert.load import beside, features_of

        graph = read_graph(args.model)
        specs = beside(str(args.model))
        data = load_data(args.data, features_of(specs), specs)
        data = fit_shape(data, graph.tensors[graph.inputs[0]].shape[1:])
        examples = data.x["val"][: args.examples]
    report = inspect_model(args.model, examples, not args.no_tflm)
    if args.svg:
        runs.write_bytes(args.svg, render_memory_svg(report).encode())
    print(json.dumps(report, indent=2) if args.json else render_text(report, args.tensors))
    return 0
