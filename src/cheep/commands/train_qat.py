# SPDX-License-Identifier: MIT
"""Fine-tune a run's network quantization-aware and write the int8 model that the device runs.

  cheep train-qat    the latest run

Needs model.h5 (cheep train makes it). Writes bird_detector_int8.tflite, manifest.json and
evaluation.json, and shows float, quantization-aware and int8 (in TensorFlow Lite Micro) side by side, and what the
detector says to silence, noise, hum and an overdriven input. One that fires on them is refused (exit status 1).
"""

from __future__ import annotations

import argparse

from cheep import runs
from cheep.commands._cluster import add_cluster
from cheep.commands._progress import Progress, epochs, stage, working
from cheep.commands._settings import add_config, add_setting, add_settings, run_file_of
from cheep.commands._shared import add_run, metrics_table, note, table
from cheep.config import SIGNAL_NAMES, QatConfig
from cheep.errors import GateError
from cheep.files import read_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_run(parser)
    add_config(parser)
    add_cluster(parser)
    parser.add_argument(
        "--max-loss", type=float, metavar="POINTS", help="exit 1 if int8 loses more clip accuracy than this (points)"
    )
    add_setting(parser, "--board", "deploy.board", metavar="NAME", help="exit 1 if the model does not fit this board")
    add_setting(
        parser,
        "--may-fire-on",
        "evaluate.may_fire_on",
        help="signals without sound on which the detector may fire: " + ", ".join(SIGNAL_NAMES) + ", or all",
    )
    add_settings(parser, QatConfig, "fine-tuning", "quantize.qat")


def run(args: argparse.Namespace) -> int:
    """Fine-tune, convert, evaluate in TFLM, print."""
    from cheep.detector import describe_scores
    from cheep.evaluate.signals import Heard, check_signals, signal_rows
    from cheep.job.quantize import quantize_run

    folder = runs.find_run(args.run)
    settings = run_file_of(args, folder / runs.RUN_FILE)
    config = settings.quantize
    way = "quantization-aware fine-tuning" if config.method == "qat" else "calibration (the run file's method is ptq)"
    stage(f"{way} of {folder / runs.FLOAT_MODEL}")
    result, metrics = quantize_run(
        folder, config, Progress("features"), epochs(), may_fire_on=settings.evaluate.may_fire_on, on_step=working
    )
    note(args, folder, "train-qat")
    if result is not None:
        state = "interrupted, " if result.interrupted else ""
        stage(f"{state}kept {result.kept} of {len(result.history)}; int8 scores are TFLM's")
    print(metrics_table(metrics))
    evaluation = read_json(folder / runs.EVALUATION, runs.QAT_COMMAND)
    heard = [Heard.from_dict(item) for item in evaluation["signals"]]
    print("\n" + table(signal_rows(heard)) + "\n")
    sizes = evaluation["bytes"]
    print(describe_scores(read_json(folder / runs.MANIFEST, runs.QAT_COMMAND).get("scores")))
    print(f"bytes: float {sizes['float']}, int8 {sizes['int8']}; arena {sizes['arena']} (TFLM, 64 bits)")
    print(f"wrote {folder / runs.INT8_TFLITE} and {folder / runs.MANIFEST}\nnext: cheep model-convert")
    if settings.deploy.board:
        from cheep.boards.budget import check_model

        check_model(settings.deploy.board, folder / runs.INT8_TFLITE)
    check_signals(heard, settings.evaluate.may_fire_on)
    _gate(metrics, args.max_loss)
    return 130 if result is not None and result.interrupted else 0


def _gate(metrics: dict, max_loss: float | None) -> None:
    if max_loss is None:
        return
    lost = 100 * (metrics["float"]["test"]["clip_accuracy"] - metrics["int8"]["test"]["clip_accuracy"])
    if lost > max_loss:
        raise GateError(
            f"int8 loses {lost:.2f} points of clip accuracy, more than --max-loss {max_loss:g}; "
            "fine-tune longer (--epochs) or slower (--learning-rate)"
        )
