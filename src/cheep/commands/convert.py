# SPDX-License-Identifier: MIT
"""Shrink, quantize and export a model of your own, and say what it cost.

  cheep convert --input model.h5 --dataset runs/latest/dataset.csv -q int8 --qat -e
  cheep convert --input net.onnx --dataset data.npz -q int8
  cheep convert --input net.py:make_net --checkpoint weights.pt --dataset data.npz -q int8
  cheep convert --input mlp.h5 --dataset table.csv --compare --plot-results

Reads Keras (.h5, .keras), SavedModel, ONNX, and PyTorch through a factory function; ONNX and PyTorch need
requirements-convert.txt. Calibration is always on real examples.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from cheep.commands._progress import stage
from cheep.commands._settings import add_settings, overrides_of
from cheep.commands._shared import table
from cheep.convert.config import SCHEMES, ConvertConfig
from cheep.errors import CheepError

COMPARED: tuple[dict[str, Any], ...] = (
    {"scheme": "none"},
    {"scheme": "dynamic"},
    {"scheme": "float16"},
    {"scheme": "int8"},
    {"scheme": "int8_float_io"},
    {"scheme": "int16x8"},
    {"scheme": "integer_with_float_fallback"},
    {"scheme": "int8", "method": "qat"},
    {"scheme": "int8", "prune": 0.5},
    {"scheme": "int8", "cluster": 16},
    {"scheme": "int8", "prune_channels": 0.3},
    {"scheme": "int8", "prune_channels": 0.3, "method": "qat"},
    {"scheme": "int8", "prune": 0.5, "cluster": 16, "method": "qat"},
)
_TASK = "what the model gives (auto: features where it is cut, or gives a sequence or a map)"
_SHRINK = ("prune", "prune_channels", "cluster")  # what --compare varies by itself


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--input", help="model: .h5, .keras, SavedModel folder, .onnx, MODULE.py:FACTORY")
    parser.add_argument("--checkpoint", type=Path, help="state dictionary of the PyTorch network")
    parser.add_argument("--task", choices=("auto", "classes", "features"), default="auto", help=_TASK)
    parser.add_argument(
        "--cut", default="", metavar="LAYER", help="end at this layer's output: features (head.projection)"
    )
    parser.add_argument("--backbone", metavar="MODEL", help="with --step: what makes the features that the step takes")
    parser.add_argument(
        "--step", metavar="MODEL", help="recurrent step, .onnx or PyTorch: (feature, states) -> (scores, states)"
    )
    parser.add_argument("--step-checkpoint", type=Path, metavar="FILE", help="state dictionary of the PyTorch step")
    parser.add_argument(
        "--dataset",
        type=Path,
        required=True,
        help="real examples: .npz, CSV with the label last, CSV of .npy files, dataset.csv of a run",
    )
    parser.add_argument("--output", type=Path, default=Path("converted"), metavar="DIR", help="(%(default)s)")
    parser.add_argument("--name", default="model", help="stem of the written files (%(default)s)")
    parser.add_argument(
        "-q",
        "--quantize",
        nargs="+",
        choices=SCHEMES,
        metavar="SCHEME",
        help=f"one or more of {', '.join(SCHEMES)} (int8)",
    )
    method = parser.add_mutually_exclusive_group()
    method.add_argument("--ptq", action="store_true", help="quantize after training (default)")
    method.add_argument("--qat", action="store_true", help="fine-tune quantization-aware")
    parser.add_argument("--compare", action="store_true", help="the usual variants in one table")
    parser.add_argument(
        "--streaming",
        action="store_true",
        help="recurrent network, model.h5 of a run or PyTorch with backbone, cell, head: int8 with its state",
    )
    parser.add_argument("-e", "--export", action="store_true", help="write C array and Python/MicroPython module too")
    parser.add_argument("--plot-results", action="store_true", help="write results.svg: accuracy against bytes")
    parser.add_argument("--measure", action="store_true", help="instructions on the emulated Cortex-M4F")
    parser.add_argument("--sensitivity", action="store_true", help="which layer loses accuracy in int8")
    parser.add_argument("--max-loss", type=float, metavar="POINTS", help="exit 1 if a variant loses more accuracy")
    parser.add_argument("--board", metavar="NAME", help="exit 1 if the int8 model does not fit this board")
    parser.add_argument("--trust", action="store_true", help="run Python code that a Keras file carries (Lambda)")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    add_settings(parser, ConvertConfig, "conversion", skip=("scheme", "method"))


def run(args: argparse.Namespace) -> int:
    """Convert in a child process, print the table, check the board."""
    from cheep.convert.worker import run_isolated

    _take_step(args)
    configs = configurations(args)
    if args.board:
        from cheep.boards.data import find_board

        find_board(args.board)  # a wrong name is said before an hour of work
        if not any(config.scheme == "int8" for config in configs):
            raise CheepError(
                f"--board {args.board}: boards run int8 models, and -q {' '.join(args.quantize or [])} makes none; "
                "add int8 to -q, or leave --board out"
            )
    job = {
        "input": args.input,
        "checkpoint": str(args.checkpoint) if args.checkpoint else None,
        "dataset": str(args.dataset),
        "configs": [config.to_dict() for config in configs],
        "stem": args.name,
        "export": args.export,
        "plot": args.plot_results,
        "measure": args.measure,
        "sensitivity": args.sensitivity,
        "max_loss": args.max_loss,
        "trust": args.trust,
        "streaming": args.streaming,
        "task": args.task,
        "cut": args.cut,
        "backbone": args.backbone,
        "step": args.step,
        "step_checkpoint": str(args.step_checkpoint) if args.step_checkpoint else None,
    }
    result = run_isolated(job, args.output, None if args.json else stage)
    if "pair" in result:
        _write_verification(result, args.output)
    if args.json:
        print(json.dumps(result, indent=2))
    else:
        print_result(result, args.output)
    if args.board:
        _check_board(args, result)
    return 0


def _take_step(args: argparse.Namespace) -> None:
    """See that the inputs belong together; a step given as --input is one."""
    from cheep.convert.steps import is_step

    if args.input and (args.step or args.backbone):
        raise CheepError(f"--input {args.input}: not together with --backbone and --step; leave one out")
    if args.backbone and not args.step:
        raise CheepError(f"--backbone {args.backbone}: needs --step MODEL too; a backbone alone is --input")
    if not (args.input or args.step):
        raise CheepError("nothing to convert: give --input MODEL, or --backbone MODEL --step MODEL")
    if args.input and is_step(args.input):
        args.step, args.input, args.step_checkpoint = args.input, None, args.checkpoint
    changed = [
        name for name in (*_SHRINK, "qat", "compare", "streaming", "cut") if args.step and getattr(args, name, None)
    ]
    if changed or (args.step and args.quantize not in (None, ["int8"])):
        raise CheepError(
            f"--step: is converted to int8 as it is (-q int8, --ptq); leave out {', '.join(changed) or '-q'}"
        )


def _write_verification(result: dict[str, Any], output: Path) -> None:
    """Write verification.md: what was compared with what, bytes, and what is not int8 and why."""
    from cheep.files import write_text
    from cheep.report.conversion import verification

    parts = {name: output / f"{name}.tflite" for name in ("backbone", "step") if f"{name}.tflite" in result["files"]}
    write_text(output / "verification.md", verification(result, parts))
    result["files"].append("verification.md")


def configurations(args: argparse.Namespace) -> list[ConvertConfig]:
    """Return what the options ask for, checked before anything is read."""
    given = {item.place: item.value for item in overrides_of(args)}
    if args.compare:
        given = {name: value for name, value in given.items() if name not in _SHRINK}
        return [ConvertConfig.parse({**values, **given}, "options") for values in COMPARED]
    given["method"] = "qat" if args.qat else "ptq"
    return [ConvertConfig.parse({"scheme": scheme, **given}, "options") for scheme in args.quantize or ["int8"]]


def print_result(result: dict[str, Any], output: Path) -> None:
    """Print stages, variants, sensitivity and the written files."""
    for row in result["stages"]:
        print(
            f"{row['from']} -> {row['to']}: largest difference {row['max_difference']:.2g} (limit {row['limit']:.2g})"
        )
    head = [
        "variant",
        "accuracy",
        "same class",
        "cosine",
        "bytes",
        "gzip",
        "lookup",
        "arena",
        "zeros",
        "instructions",
        "TFLM",
    ]
    rows = [head]
    for v in result["variants"]:
        rows.append(
            [
                v["name"],
                _percent(v["accuracy"], 2),
                _percent(v["agreement"], 1),
                f"{v['cosine']:.4f}",
                str(v["bytes"]),
                str(v["gzip_bytes"]),
                str(v["lookup_bytes"] or "-"),
                str(v["arena_bytes"] or "-"),
                f"{100 * v['sparsity']:.0f} %",
                f"{v['instructions']:,}" if v["instructions"] else "-",
                v["tflm"][:60],
            ]
        )
    if result["variants"]:
        print(table(rows))
        first = result["variants"][0]
        if first["float_accuracy"] is None:
            print(
                f"features of {result['examples']} examples ({result['judged']}); cosine: with those of the float "
                f"network; the difference has {first['error_db'] or -np.inf:.1f} dB of their power"
            )
        else:
            print(
                f"float network: {100 * first['float_accuracy']:.2f} % on {result['examples']} examples "
                f"({result['judged']}); bytes are flash, arena is RAM in TFLM"
            )
    for v in result["variants"]:
        if v["channels"]:
            print(f"{v['name']}: channels " + ", ".join(f"{k} {a}->{b}" for k, (a, b) in v["channels"].items()))
    for note in dict.fromkeys(note for v in result["variants"] for note in v["notes"]):
        print(f"note: {note}")
    for item in result["refused"]:
        print(f"{item['name']}: refused: {item['reason']}")
    if "streaming" in result:
        _print_streaming(result)
    if "detector" in result:
        _print_detector(result["detector"])
    if "pair" in result:
        _print_pair(result)
    if "sensitivity" in result:
        report = result["sensitivity"]
        print(
            table(
                [
                    ["layer kept float", "accuracy", "gain", "output error"],
                    *(
                        [
                            row["layer"],
                            f"{100 * row['accuracy']:.2f} %",
                            f"{100 * row['gain']:+.2f}",
                            f"{row['error']:.4f}",
                        ]
                        for row in report["layers"]
                    ),
                ]
            )
        )
        for row in report["not_tried"]:
            print(f"not tried: {row['layer']}: {row['reason']}")
        print(report["advice"])
    names = result["files"] if len(result["files"]) < 10 else sorted({name.split("/")[0] for name in result["files"]})
    for name in names:
        print(f"wrote {output / name}")


def _print_streaming(result: dict[str, Any]) -> None:
    pair = result["streaming"]
    print(
        f"accuracy on {result['examples']} sequences ({result['judged']}): "
        f"PyTorch {100 * pair['torch_accuracy']:.2f} %, int8 in TFLM {100 * pair['accuracy']:.2f} %, "
        f"same class {100 * pair['agreement']:.1f} %"
    )
    size, compiled = pair["bytes"], pair["compiled"]
    print(f"bytes: backbone {size['backbone']}, step {size['step']}, both {size['both']}; arenas {pair['arena_bytes']}")
    print(
        f"compiled: constants {compiled['constants']}, working memory {compiled['memory']}, "
        f"state {compiled['state']} bytes"
    )
    first, last = pair["drift"][0], pair["drift"][-1]
    print(
        f"state against float: mean error {first['mean']:.4f} in the first {len(pair['drift'])}th of the steps, "
        f"{last['mean']:.4f} in the last; largest {max(row['max'] for row in pair['drift']):.4f}"
    )


def _percent(share: float | None, digits: int) -> str:
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def _print_pair(result: dict[str, Any]) -> None:
    pair = result["pair"]
    print(
        f"{result['examples']} sequences of {pair['steps']} steps ({result['judged']}): accuracy float "
        f"{_percent(pair['float_accuracy'], 2)}, int8 in TFLM {_percent(pair['accuracy'], 2)}; same class "
        f"{_percent(pair['agreement'], 1)}, cosine {pair['cosine']:.4f}"
    )
    sizes = ", ".join(f"{name} {n}" for name, n in pair["bytes"].items())
    print(f"bytes: {sizes}; arenas {pair['arena_bytes']}")
    print(
        f"compiled: constants {pair['compiled']['constants']}, working memory {pair['compiled']['memory']}, state "
        f"{pair['compiled']['state']} bytes"
    )
    first, last = pair["drift"][0], pair["drift"][-1]
    print(
        f"state against float: mean error {first['mean']:.4f} in the first 1,000 steps, {last['mean']:.4f} in the last "
        f"of {1000 * len(pair['drift']):,}"
    )


def _print_detector(made: dict[str, Any]) -> None:
    print(
        f"at the end of {made['windows']} labelled windows ({made['judged']}), the state carried from the start of "
        f"each recording: float {100 * made['float_accuracy']:.2f} %, int8 in TFLM {100 * made['accuracy']:.2f} %, "
        f"same class {100 * made['agreement']:.1f} %"
    )
    print(
        f"{made['bytes']} bytes; runs on {made['chunk_frames']} columns every {made['stride_frames']}; validation loss "
        f"{made['losses'][0]:.3f} as trained on single windows, {min(made['losses']):.3f} with what went before"
    )
    first, last = made["drift"][0], made["drift"][-1]
    print(
        f"state against float: mean error {first['mean']:.4f} in the first 1,000 steps, {last['mean']:.4f} in the last"
    )


def _check_board(args: argparse.Namespace, result: dict[str, Any]) -> None:
    """Compare what was written in int8 with the board; the files stay."""
    from cheep.boards.budget import check_model, check_pair

    if "streaming" in result or (result.get("pair") or {}).get("backbone"):
        need = check_pair(args.board, args.output / "backbone.tflite", args.output / "step.tflite")
        if not args.json:
            print(
                f"backbone and step fit {args.board}, compiled: {need.flash_bytes} bytes of flash, {need.ram_bytes} of "
                "RAM (without front end and detector)"
            )
        return
    integer = {v["name"] for v in result["variants"] if v["config"]["scheme"] == "int8"}
    for name in result["files"]:
        folder = name.split("/")[0] if "/" in name else ""
        whole = not name.endswith("_lookup.tflite") and (not folder or folder in integer)
        if name.endswith(".tflite") and whole:
            check_model(args.board, args.output / name)
            if not args.json:
                print(f"{args.output / name} fits {args.board}")
