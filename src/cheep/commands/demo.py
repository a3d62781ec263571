# SPDX-License-Identifier: MIT
"""The whole job on synthesized recordings: data, training, int8 model, headers, detections, report.

  make demo            or: python -m cheep demo

No network, no key. Everything it makes lies in datasets/demo and runs/demo.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from cheep import runs
from cheep.commands._progress import Progress, epochs, stage, working
from cheep.commands._shared import balance_table, metrics_table, note, table
from cheep.config import RunFile, save_run_file
from cheep.files import read_json

FOLDER = Path("datasets/demo")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--seed", type=int, default=1, help="another seed makes other birds (default 1)")
    parser.add_argument("--size", choices=("small", "normal"), default="normal", help="small: a quick look")
    parser.add_argument("--epochs", type=int, default=24, help="of the float training (default 24)")
    parser.add_argument("--qat-epochs", type=int, default=6, help="of the fine-tuning (default 6)")
    parser.add_argument(
        "--headers", type=Path, metavar="DIR", help="where the headers go (default: the firmware's folder)"
    )


def run(args: argparse.Namespace) -> int:
    """Do everything, print the table and the next command."""
    from cheep.datasets.demo import make_demo_dataset
    from cheep.evaluate.signals import Heard, check_signals, signal_rows
    from cheep.export import generated_folder
    from cheep.job.export import deploy
    from cheep.job.quantize import quantize_aware
    from cheep.job.train import train_network

    stage("1/6 synthesizing the demo recordings")
    summary = make_demo_dataset(FOLDER, args.seed, args.size)
    state = "made" if summary.made else "already there"
    print(f"  {FOLDER}: {state}, {summary.duration_s / 60:.0f} min by {summary.recordists} recordists")
    stage("2/6 windows and splits")
    settings = _settings(args)
    folder = _split(settings)
    note(args, folder, "demo")
    stage("3/6 training the float network")
    train_network(folder, settings.features, settings.train, Progress("features"), epochs(), working)
    stage("4/6 quantization-aware fine-tuning, int8 conversion, scores in TensorFlow Lite Micro")
    _, metrics = quantize_aware(folder, settings.quantize.qat, on_epoch=epochs(), on_step=working)
    stage("5/6 headers for the firmware")
    headers = deploy(folder, args.headers or generated_folder(), compiled=True)
    stage("6/6 ten minutes of soundscape through the device path, and the report")
    scape, counts = _soundscape(folder)
    report = _report(folder, scape)

    print("\n" + metrics_table(metrics))
    evaluation = read_json(folder / runs.EVALUATION, runs.QAT_COMMAND)
    heard = [Heard.from_dict(item) for item in evaluation["signals"]]
    print("\n" + table(signal_rows(heard)))
    _print_sizes(evaluation["bytes"])
    print("\nsoundscape, calls against detections:\n" + counts)
    print(f"\nheaders:  {', '.join(str(path) for path in headers if path.suffix == '.h')}")
    print(f"report:   {report}")
    check_signals(heard)
    stage("done")
    print(f"\nnext: {_NEXT}")
    return 0


_NEXT = f"cheep test {FOLDER / 'soundscape.wav'}    (then your own recordings: README.md, 'Your own birds')"


def _settings(args: argparse.Namespace) -> RunFile:
    """The demo's own settings: its files stay the same, whatever ``split_dataset`` would choose for it."""
    return RunFile.parse(
        {
            "data": {"folder": str(FOLDER), "windows": {"announcements": False}, "split": {"seed": args.seed}},
            "train": {"epochs": args.epochs, "seed": args.seed},
            "quantize": {"qat": {"epochs": args.qat_epochs, "seed": args.seed}},
        },
        "options",
    )


def _split(settings: RunFile) -> Path:
    from cheep.job.split import make_examples, write_examples

    examples = make_examples(settings.data, runs.runs_folder() / "cache")
    with runs.start_run("demo") as folder:
        digest = write_examples(examples, folder / runs.DATASET, settings.data)
        save_run_file(folder / runs.RUN_FILE, settings, "The demo's own settings.")
    print(balance_table(examples))
    print(f"{folder / runs.DATASET}: {len(examples.manifest)} examples, sha256 {digest[:16]}")
    return folder


def _soundscape(folder: Path):
    from cheep.datasets.labels.matching import boxes_for
    from cheep.device.engine import Engine
    from cheep.evaluate.matching import Detection, count_events, match_events, truth_of
    from cheep.report.collect import stream_soundscape

    sound = FOLDER / "soundscape.wav"
    engine = Engine(folder)
    truth = list(truth_of(boxes_for([FOLDER / "soundscape_events.csv"], [sound]), engine.bundle.labels)[sound])
    scape = stream_soundscape(engine, sound, truth, "demo soundscape")
    matching = match_events((Detection(d.label, d.start_s, d.end_s, d.score) for d in scape.detections), truth)
    rows = [["species", "calls", "found", "detections", "false alarms", "per hour"]]
    for label in sorted(Counter(item.label for item in truth)):
        count = count_events(matching, scape.duration_s / 3600, label)
        rows.append(
            [
                label,
                str(count.annotations),
                str(count.found),
                str(count.detections),
                str(count.false_alarms),
                f"{count.false_alarms / (scape.duration_s / 3600):.0f}",
            ]
        )
    return scape, table(rows)


def _report(folder: Path, scape) -> Path:
    from cheep.report.boards import with_boards
    from cheep.report.collect import results_of_run
    from cheep.report.write import write_report

    results = with_boards(results_of_run(folder, "Cheep demo", [scape], ["make demo"], _NEXT), folder)
    write_report(results, folder / runs.REPORT)
    return folder / runs.REPORT


def _print_sizes(sizes: dict[str, int]) -> None:
    print(
        f"\nmodel: float {sizes['float']:,} bytes, int8 {sizes['int8']:,} bytes; "
        f"arena {sizes['arena']:,} bytes (TFLM's own allocator on 64 bits, reference kernels)"
    )
