# SPDX-License-Identifier: MIT
"""Compare two models on real examples: same class, cosine, mean square error, worst case, class by class.

  cheep verify model.h5 model.tflite --data dataset.npz
  cheep verify a.tflite b.tflite --data table.csv --min-agreement 0.99
  cheep verify model.tflite --data dataset.npz        one model in TFLM, in the TFLite interpreter and compiled to C

A .tflite runs in TensorFlow Lite Micro where that is possible. A model that carries a state (several inputs) takes
sequences: .npz with x of (n, steps, ...), each from the zero state.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from cheep.commands._shared import table
from cheep.errors import GateError
from cheep.isolated import call_isolated


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("a", help="reference model (.tflite, .h5, .keras, SavedModel, .onnx)")
    parser.add_argument("b", nargs="?", help="model to judge; without it, A in every runtime that takes it")
    parser.add_argument("--data", type=Path, required=True, help="real examples (.npz, CSV, dataset.csv of a run)")
    parser.add_argument(
        "--min-agreement", type=float, metavar="SHARE", help="exit 1 if fewer examples get the same class"
    )
    parser.add_argument("--max-difference", type=float, metavar="X", help="exit 1 if an output differs by more")
    parser.add_argument("--examples", type=int, metavar="N", help="at most so many examples (all)")
    parser.add_argument(
        "--state", nargs="+", default=[], metavar="IN:OUT", help="input and output, by number, that carry a state"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    """Run both models, print, and check the limits."""
    job = {"a": args.a, "b": args.b, "data": str(args.data), "states": args.state, "examples": args.examples}
    subject = f"running {' and '.join(filter(None, (args.a, args.b)))}"
    result = call_isolated("cheep.inspection.jobs:verify", job, subject)
    if args.json:
        print(json.dumps(result, indent=2))
    elif args.b is None:
        _print_runtimes(result)
    else:
        _print_agreement(result)
    _check(args, result)
    return 0


def _print_agreement(result: dict[str, Any]) -> None:
    judged = "accuracy_a" in result
    rows = [
        ["class", "examples", "same class", *(("accuracy A", "accuracy B") if judged else ()), "largest difference"]
    ]
    for r in result["classes"]:
        accuracies = [f"{100 * r[key]:.1f} %" for key in ("accuracy_a", "accuracy_b")] if judged else []
        rows.append(
            [
                r["label"],
                str(r["examples"]),
                f"{100 * r['same_class']:.1f} %",
                *accuracies,
                f"{r['max_difference']:.4f}",
            ]
        )
    print(table(rows))
    accuracy = f"accuracy {100 * result['accuracy_a']:.2f} % and {100 * result['accuracy_b']:.2f} %, " if judged else ""
    print(
        f"{result['examples']} examples ({result['judged']}): same class {100 * result['same_class']:.2f} %, {accuracy}"
        f"cosine {result['cosine']:.6f}, MSE {result['mse']:.3g}, "
        f"largest difference {result['max_difference']:.4f} (example {result['worst_example']})"
    )
    if "along" in result:
        steps = result["along"]
        print(
            f"over all {steps['steps']} steps: same class {100 * steps['same_class']:.2f} %, largest difference "
            f"{steps['max_difference']:.4f} (the table is the last step)"
        )
        if "state" in steps:
            state = steps["state"]
            print(
                f"state: mean difference {state['first']:.4f} in the first tenth of the steps, {state['last']:.4f} in "
                f"the last, largest {state['max']:.4f}"
            )


def _print_runtimes(result: dict[str, Any]) -> None:
    from cheep.inspection.runners import TITLES

    rows = [["runtime", "equal values", "same class", "largest difference", "in steps", "largest of the state"]]
    reasons = []
    for r in result["runtimes"]:
        if "reason" in r:
            reasons.append(f"{TITLES[r['runtime']]}: {r['reason']}")
            continue
        rows.append(
            [
                TITLES[r["runtime"]],
                f"{100 * r['equal']:.3f} %",
                f"{100 * r['same_class']:.1f} %",
                f"{r['max_difference']:.4f}",
                f"{r['max_steps']:.0f}",
                f"{r['max_state_difference']:.4f}",
            ]
        )
    print(table(rows))
    print(
        f"against {TITLES[result['reference']]} on {result['examples']} examples ({result['judged']}) of "
        f"{result['steps']} steps"
    )
    print("\n".join(reasons), end="\n" if reasons else "")


def _check(args: argparse.Namespace, result: dict[str, Any]) -> None:
    found = result["runtimes"] if args.b is None else [result]
    found = [row for row in found if "reason" not in row]
    same, most = min(row["same_class"] for row in found), max(row["max_difference"] for row in found)
    if "along" in result:
        most = max(most, result["along"]["max_difference"])
    if args.min_agreement is not None and same < args.min_agreement:
        raise GateError(
            f"same class on {same:.4f} of the examples, less than --min-agreement {args.min_agreement:g}; "
            f"see the table, and cheep inspect {args.b or args.a} --data {args.data}"
        )
    if args.max_difference is not None and most > args.max_difference:
        worst = f"; the example is number {result['worst_example']}" if "worst_example" in result else ""
        raise GateError(f"largest difference {most:.4f}, more than --max-difference {args.max_difference:g}{worst}")
