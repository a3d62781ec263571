"""Compare two models on real examples: same class, cosine, mean square error, worst case, class by class.

  cheep verify model.h5 model.tflite --data dataset.npz
  cheep verify a.tflite b.tflite --data table.csv --min-agreement 0.99

A .tflite runs in TensorFlow Lite Micro where that is possible.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cheep.commands._shared import table
from cheep.errors import GateError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("a", help="reference model (.tflite, .h5, .keras, SavedModel, .onnx)")
    parser.add_argument("b", help="model to judge")
    parser.add_argument("--data", type=Path, required=True, help="real examples (.npz, CSV, dataset.csv of a run)")
    parser.add_argument(
        "--min-agreement", type=float, metavar="SHARE", help="exit 1 if fewer examples get the same class"
    )
    parser.add_argument("--max-difference", type=float, metavar="X", help="exit 1 if an output differs by more")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    """Run both models, print, and check the limits."""
    from cheep.convert.data import classes_of, load_data
    from cheep.convert.job import fit_shape
    from cheep.convert.load import beside, features_of
    from cheep.inspection.agreement import agreement, load_runner, shape_of

    specs = {**beside(args.b), **beside(args.a)}
    data = fit_shape(load_data(args.data, features_of(specs), specs), shape_of(args.b))
    x, y = data.x[data.judged], classes_of(data.y[data.judged])
    result = agreement(load_runner(args.a)(x), load_runner(args.b)(x), y, data.labels)
    if args.json:
        print(json.dumps(result, indent=2))
    else:
        rows = [["class", "examples", "same class", "accuracy A", "accuracy B", "largest difference"]]
        rows += [
            [
                r["label"],
                str(r["examples"]),
                f"{100 * r['same_class']:.1f} %",
                f"{100 * r['accuracy_a']:.1f} %",
                f"{100 * r['accuracy_b']:.1f} %",
                f"{r['max_difference']:.4f}",
            ]
            for r in result["classes"]
        ]
        print(table(rows))
        print(
            f"{result['examples']} examples ({data.judged}): same class {100 * result['same_class']:.2f} %, accuracy "
            f"{100 * result['accuracy_a']:.2f} % and {100 * result['accuracy_b']:.2f} %, "
            f"cosine {result['cosine']:.6f}, MSE {result['mse']:.3g}, "
            f"largest difference {result['max_difference']:.4f} (example {result['worst_example']})"
        )
    if args.min_agreement is not None and result["same_class"] < args.min_agreement:
        raise GateError(
            f"same class on {result['same_class']:.4f} of the examples, less than --min-agreement "
            f"{args.min_agreement:g}; see class by class above, and cheep inspect {args.b} --data {args.data}"
        )
    if args.max_difference is not None and result["max_difference"] > args.max_difference:
        raise GateError(
            f"largest difference {result['max_difference']:.4f}, more than --max-difference "
            f"{args.max_difference:g}; the example is number {result['worst_example']}"
        )
    return 0
