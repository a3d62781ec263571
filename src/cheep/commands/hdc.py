# SPDX-License-Identifier: MIT
"""Hyperdimensional head: classes that a device can learn from a few examples.

  cheep hdc train                          cut the latest run's int8 network at its embedding, train a head on it
  cheep hdc train --form binary --hyper 4096
  cheep hdc export                         cheep_hdc_projection.h and cheep_hdc_prototypes.h for the firmware
  cheep hdc export --check                 render again, show what differs, exit 1
  cheep hdc report                         accuracy and bytes at each step, against H and the number of examples
  cheep hdc import --network net.py:make --checkpoint weights.pt --cut head.projection --head hdc.pth
      --dataset images.npz --output imported     a network and a head of your own, in integers: headers, report

Needs a run with two or more labels, trained and quantized (cheep train, cheep train-qat).
Writes hdc/extractor_int8.tflite and hdc/hdc.json in the run folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cheep import runs
from cheep.commands._progress import stage
from cheep.commands._settings import add_settings, settings_from
from cheep.commands._shared import add_run, table
from cheep.errors import CheepError
from cheep.hdc.config import HdcConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("action", choices=("train", "export", "report", "import"), help="what to do")
    add_run(parser)
    parser.add_argument("--slots", type=int, default=None, metavar="N", help="classes the device can learn (default 4)")
    parser.add_argument(
        "--table",
        action="store_true",
        help="print the projection as a table: needed for a fast Gaussian one, costs H x D bytes",
    )
    help_ = "folder to write: export (default: the firmware's), import (default: hdc)"
    parser.add_argument("--output", type=Path, metavar="DIR", help=help_)
    parser.add_argument("--check", action="store_true", help="export: compare instead of writing")
    parser.add_argument("--draws", type=int, default=10, metavar="N", help="report: random choices of examples")
    group = parser.add_argument_group("import")
    group.add_argument("--network", metavar="MODEL", help="MODULE.py:FACTORY, .onnx, .h5, .keras or SavedModel folder")
    group.add_argument("--checkpoint", type=Path, help="state dictionary of the PyTorch network")
    group.add_argument(
        "--cut", default="", metavar="LAYER", help="layer whose output is the embedding (head.projection)"
    )
    group.add_argument(
        "--head", type=Path, help=".npz or .pth with projection_matrix (D, H) and prototypes (classes, H)"
    )
    group.add_argument("--dataset", type=Path, help="real examples with their classes, as cheep convert takes them")
    group.add_argument("--encoding", choices=("auto", "linear", "sign"), default="auto", help="of the hypervectors")
    group.add_argument("--binary", action="store_true", help="write the 1-bit head (default: int8)")
    group.add_argument("--trust", action="store_true", help="run Python code that a Keras file carries")
    add_settings(parser, HdcConfig, "head (train, report)")


def run(args: argparse.Namespace) -> int:
    """Train, export, report or import."""
    if args.action == "import":
        return _import(args)
    folder = runs.find_run(args.run)
    if args.action == "export":
        return _export(args, folder)
    config = settings_from(args, HdcConfig)
    return _train(args, folder, config) if args.action == "train" else _report(args, folder, config)


def _import(args: argparse.Namespace) -> int:
    from cheep.isolated import call_isolated

    missing = [f"--{name}" for name in ("network", "head", "dataset") if getattr(args, name) is None]
    if missing:
        raise CheepError(f"cheep hdc import: {' and '.join(missing)} missing")
    output = args.output or Path("hdc")
    job = {name: getattr(args, name) for name in ("network", "cut", "encoding", "binary", "trust")}
    job |= {name: str(getattr(args, name)) for name in ("head", "dataset")}
    job |= {"checkpoint": str(args.checkpoint) if args.checkpoint else None, "folder": str(output)}
    output.mkdir(parents=True, exist_ok=True)
    result = call_isolated("cheep.job.hdc_import:import_head", job, f"the import of {args.head}", stage)
    rows = [["step", "accuracy", "bytes of flash"]]
    rows += [[r["step"], f"{100 * r['accuracy']:.2f} %", str(r["bytes"] or "-")] for r in result["rows"]]
    print(table(rows))
    print(f"{result['examples']} examples ({result['judged']}); hypervectors are {result['encoding']}")
    size = result["bytes"]
    parts = ", ".join(f"{part} {size[part]}" for part in ("extractor", "matrix", "prototypes", "scaling"))
    print(
        f"{size['total']} bytes of flash ({parts}); RAM: {size['ram']} the head, {result['arena_bytes']} TFLM's arena"
    )
    for board in ("esp32s3", "esp32"):
        places = ", ".join(
            f"{part} in {where}" for part, where in result["placement"][board].items() if part != "storage"
        )
        print(f"{board}: {places}")
    made = result["emulated"]
    print(
        f"emulated Cortex-M4F: not run ({made['skipped']})"
        if "skipped" in made
        else f"emulated Cortex-M4F: the same bytes as here; {made['classify']:,} instructions a classification"
    )
    for name in result["files"]:
        print(f"wrote {output / name}")
    return 0


def _train(args: argparse.Namespace, folder: Path, config: HdcConfig) -> int:
    from cheep.job.hdc_head import train_run_head
    from cheep.job.hdc_study import accuracies, load_study

    slots = 4 if args.slots is None else args.slots
    stage(f"embedding the windows of {folder}")
    study = load_study(folder)
    test = study.splits["test"]
    stage(f"training a head: {study.extractor.n_dims} -> {config.hyper}, {config.projection}, {config.form}")
    model, values = train_run_head(folder, study, config, slots, args.table)
    rows = [["test split", "window accuracy", "clip accuracy"]]
    for name, scores in (
        ("float softmax", test.float_scores),
        ("int8 softmax", test.scores),
        (f"{config.form} HDC", model.scores(test.embedding)),
    ):
        found = accuracies(scores, test)
        rows.append([name, f"{found['window_accuracy']:.4f}", f"{found['clip_accuracy']:.4f}"])
    print(table(rows))
    size = values["bytes"]
    parts = ", ".join(f"{part} {size[part]}" for part in ("extractor", "matrix", "prototypes", "scaling", "reminders"))
    print(f"{size['total']} bytes of flash ({parts}); {size['ram']} bytes of RAM with {slots} learnable classes")
    print(f"wrote {folder / 'hdc' / 'hdc.json'}\nnext: cheep hdc export")
    return 0


def _export(args: argparse.Namespace, folder: Path) -> int:
    from cheep.job.hdc_head import export_head

    exported = export_head(folder, args.output, slots=args.slots, with_table=args.table, check=args.check)
    if args.check:
        print(f"{exported.folder}: {', '.join(exported.files)} are those of the head")
        return 0
    for name in exported.files:
        print(f"  {exported.folder / name}{'' if name in exported.changed else ' (unchanged)'}")
    print(f"next: cheep model-convert --model {folder / 'hdc'}, and cheep mel-filter-bank with it, too; docs/hdc.md")
    return 0


def _report(args: argparse.Namespace, folder: Path, config: HdcConfig) -> int:
    from cheep.job.hdc_head import HYPER, instruction_counter, study_head
    from cheep.job.hdc_study import load_study

    stage(f"embedding the windows of {folder}")
    study = load_study(folder)
    try:
        count = instruction_counter(study)
    except CheepError as error:
        print(f"instructions are not counted: {error}")
        count = None
    stage("training heads, counting their instructions on the emulated Cortex-M4F")
    found, fewest = study_head(folder, study, config, args.draws, count)
    rows = [["step", "window accuracy", "clip accuracy", "bytes", "instructions"]]
    for row in found["steps"]:
        scores = (f"{row['window_accuracy']:.4f}", f"{row['clip_accuracy']:.4f}")
        rows.append([row["step"], *scores, str(row["bytes"] or "-"), str(row.get("instructions", "-"))])
    print(table(rows))
    print(
        "bytes: flash of extractor and head; instructions: one classification by the head (the network comes on top)\n"
    )
    rows = [["H", "int8", "1 bit"]]
    for hyper in HYPER:
        by_form = {r["form"]: r["clip_accuracy"] for r in found["hyper"] if r["hyper"] == hyper}
        rows.append([str(hyper), f"{by_form['int8']:.4f}", f"{by_form['binary']:.4f}"])
    print("clip accuracy against H\n" + table(rows) + "\n")
    rows = [["clips per class", "clip accuracy", "spread"]]
    rows += [[str(r["examples"]), f"{r['clip_accuracy']:.4f}", f"{r['spread']:.4f}"] for r in found["examples"]]
    print(f"bundles of a few clips, {args.draws} draws (at most {fewest} clips per class)\n" + table(rows))
    print(f"wrote {folder / 'hdc' / 'report.json'}")
    return 0
