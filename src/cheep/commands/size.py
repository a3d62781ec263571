# SPDX-License-Identifier: MIT
"""Flash, RAM, stack and instructions of a detector, or of any network, on a board, and whether it fits.

  cheep size                             the latest run on an AudioMoth
  cheep size my.tflite --board esp32s3   another model, another board
  cheep size --json                      the same as JSON
  cheep size --config recipes/esc10_yamnet.yaml --cut 4 --labels 10     before training: the recipe's network

A model that says what it hears (made by Cheep) is measured with front end and detector, any other one alone.
Instructions and stack are counted on the emulated Cortex-M4F (QEMU); energy figures rest on the assumptions printed
with them. Before training it is the recipe's network with random weights, which takes the same memory and instructions
as the trained one. Exit status 1 when the compiled network does not fit.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from cheep import runs
from cheep.commands._settings import add_config, add_setting, overrides_of, run_file_of
from cheep.commands._shared import table
from cheep.config import FeatureConfig
from cheep.errors import CheepError

# TFLM + CMSIS-NN against the compiled network on four reference models, instructions per run
TFLM_SLOWER = (4.0, 6.6)
TITLES = {"compiled": "compiled", "tflm": "TFLM"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="run, by name or folder, or .tflite file (default: the latest run)"
    )
    parser.add_argument("--board", default="audiomoth", metavar="NAME", help="see cheep boards (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_config(parser)
    add_setting(parser, "--network", "train.model", metavar="NAME", help="in place of the recipe's")
    add_setting(parser, "--cut", "train.cut", metavar="LAYER", help="of a network that begins with a trained one")
    parser.add_argument("--window-frames", type=int, metavar="COLUMNS", help="in place of the recipe's")
    parser.add_argument("--labels", type=int, metavar="N", help="how many the untrained network tells apart (2)")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from cheep.bench.sizes import network_report, size_report
    from cheep.boards.data import find_board
    from cheep.device.bundle import describes_sound, find_model, load_bundle

    board = find_board(args.board)
    if args.config is not None:
        report = _before_training(args, board)
    elif args.labels is not None or args.window_frames is not None or overrides_of(args):
        raise CheepError("--network, --cut, --window-frames and --labels are of a network before its training: "
                         "give its recipe (--config FILE)")  # fmt: skip
    elif describes_sound(args.model):
        report = size_report(load_bundle(args.model), board)
    else:
        report = network_report(find_model(args.model), board)
    if args.json:
        print(json.dumps(report, indent=1))
    else:
        print(_text(report, board))
    return 0 if report["backends"]["compiled"]["fits"] else 1


def _before_training(args: argparse.Namespace, board: Any) -> dict[str, Any]:
    from cheep.bench.sizes import size_report
    from cheep.bench.untrained import untrained_bundle

    if args.model is not None:
        raise CheepError(f"{args.model}, --config {args.config}: a model, or a recipe before its training; one of them")
    labels = 2 if args.labels is None else args.labels
    if labels < 1:
        raise CheepError(f"--labels {labels}: must be 1 or more")
    settings = run_file_of(args)
    if args.window_frames is not None:  # the recipe's data are cut for its own window, and have no part in this
        values = {**settings.features.to_dict(), "window_frames": args.window_frames}
        settings = settings.model_copy(update={"features": FeatureConfig.parse(values, "--window-frames")})
    with tempfile.TemporaryDirectory() as folder:
        report = size_report(untrained_bundle(settings, labels, Path(folder)), board)
        if card := report["card"]:
            card["refused"] = card["refused"] and card["refused"].replace(str(Path(folder) / runs.INT8_TFLITE), "it")
    return {**report, "model": f"{settings.train.model} of {args.config}, not trained, {labels} labels"}


def _text(report: dict[str, Any], board) -> str:
    lines = [f"{report['model']} on {board.title}: {report['macs']} multiply-accumulates per window", ""]
    backends = report["backends"]
    rows = [["part", *(f"{TITLES[name]} {kind}" for name in backends for kind in ("flash", "RAM"))]]
    for part in dict.fromkeys(p for b in backends.values() for kind in ("flash", "ram") for p in b[kind]):
        rows.append([part, *(str(b[kind].get(part, "-")) for b in backends.values() for kind in ("flash", "ram"))])
    rows.append(["sum", *(str(b[f"{kind}_bytes"]) for b in backends.values() for kind in ("flash", "ram"))])
    free = [str(report["free_flash_bytes"]), str(report["free_ram_bytes"])]
    rows.append([f"free on {board.name}", *free * len(backends)])
    lines += [table(rows), ""]
    for name, backend in report["backends"].items():
        verdict = "fits" if backend["fits"] else "DOES NOT FIT"
        if backend["refused"]:
            verdict = f"REFUSED: {backend['refused']}"
        largest = f"largest in flash: {backend['largest_flash']}, in RAM: {backend['largest_ram']}"
        lines.append(f"{name}: {verdict}; {largest}")
    if network := backends["compiled"].get("network_stack"):
        lines.append(
            f"with Wi-Fi, MQTT and TLS: {'fits' if network['fits'] else 'DOES NOT FIT'}; "
            f"flash {network['flash_bytes']} of {network['free_flash_bytes']}, "
            f"RAM {network['ram_bytes']} of {network['free_ram_bytes']} that they leave"
        )
    lines.append(f"stack: {report['stack_bytes']} bytes used of {report['stack_reserved_bytes']} reserved")
    if "instructions" in report:
        return "\n".join(
            [*lines, f"instructions per run: {report['instructions']} (emulated Cortex-M4F)", *report["notes"]]
        )
    lines += ["", "instructions per second of audio (emulated Cortex-M4F):"]
    parts = ["frontend", "network", "detector"]
    if any("second network" in values for values in report["instructions_per_second"].values()):
        parts.append("second network")
    names = ["microphone", "front end", *parts[1:], "total"]
    rows = [["", *names, f"of {board.clock_hz / 1e6:g} MHz", "mA", "days"]]
    heard = report["microphone_per_second"]
    for mode, values in report["instructions_per_second"].items():
        load = report["load"][mode]
        numbers = [f"{heard:.0f}" if heard else "-", *(f"{values.get(k, 0):.0f}" for k in parts)]
        numbers.append(f"{values['total'] + heard:.0f}")
        rows.append([mode, *numbers, f"{load['duty']:.2%}", f"{load['current_ma']:.1f}", f"{load['battery_days']:.0f}"])
    lines.append(table(rows))
    lines.append(tflm_instructions(report, board))
    if card := report.get("card"):
        lines.append(
            f"from a card (cheep export --card): DOES NOT FIT: {card['refused']}"
            if card["refused"]
            else f"from a card (cheep export --card): {card['slot_bytes']} of {card['of_slot_bytes']} bytes in each of "
            f"{card['slots']} slots, {card['ram_bytes']} of {card['of_ram_bytes']} bytes of RAM"
        )
    lines += report["notes"]
    lines += ["assumptions and sources:", *(f"  - {s}" for s in board.sources)]
    return "\n".join(lines)


def tflm_instructions(report: dict[str, Any], board) -> str:
    """Return what is known of a network's instructions in TFLM on ``board``, as a line."""
    if board.tflm_instructions_per_mac:
        window = report["macs"] * board.tflm_instructions_per_mac
        return (
            f"TFLM on {board.name}: about {window / 1e6:.1f} M instructions a window "
            f"({board.tflm_instructions_per_mac:g} per multiply-accumulate, measured on that core)"
        )
    if board.tflm_kernels.startswith("esp-nn"):
        return f"TFLM on {board.name}: its instructions have not been measured"
    low, high = TFLM_SLOWER
    return f"TFLM + CMSIS-NN: {low} to {high} times the network's instructions (measured on four other models)"
