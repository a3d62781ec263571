"""Flash, RAM, stack and instructions of a detector on a board, and whether it fits.

  cheep size                             the latest run on an AudioMoth
  cheep size my.tflite --board esp32s3   another model, another board
  cheep size --json                      the same as JSON

Instructions and stack are counted on the emulated Cortex-M4F (QEMU); energy figures rest on the assumptions printed
with them. Exit status 1 when the compiled network does not fit.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from cheep.commands._shared import table

# TFLM + CMSIS-NN against the compiled network on four reference models, instructions per run
TFLM_SLOWER = (3.5, 5.7)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "model", type=Path, nargs="?", metavar="MODEL", help="run folder or .tflite file (default: the latest run)"
    )
    parser.add_argument("--board", default="audiomoth", metavar="NAME", help="see cheep boards (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from cheep.boards.data import find_board
    from cheep.device.bundle import load_bundle

    board = find_board(args.board)
    bundle = load_bundle(args.model)
    report = size_report(bundle, board)
    if args.json:
        print(json.dumps(report, indent=1))
    else:
        print(_text(report, board))
    return 0 if report["backends"]["compiled"]["fits"] else 1


def size_report(bundle, board) -> dict[str, Any]:
    """Return the report of a model bundle on a board as JSON-able values."""
    from cheep.boards.budget import needs_compiled, needs_tflm
    from cheep.boards.detector_bench import measure_detector
    from cheep.compiler import compile_model
    from cheep.tflm import TflmModel

    compiled = compile_model(bundle.path)
    classes, notes = len(bundle.labels), []
    window = measure_detector(compiled, bundle.features, bundle.detector, bundle.input, classes, stream=False)
    modes = {"window": window}
    if compiled.stream is None:
        notes.append("incremental mode: none (the network pads in time, or is no chain of rows)")
    else:
        step = compiled.stream["stride_rows"]
        stride = max(step, bundle.detector.stride_frames // step * step)
        detector = bundle.detector.model_copy(update={"stride_frames": stride})
        name = "incremental" if stride == bundle.detector.stride_frames else f"incremental, stride {stride}"
        modes[name] = measure_detector(compiled, bundle.features, detector, bundle.input, classes, stream=True)
        if stride != bundle.detector.stride_frames:
            notes.append(f"incremental mode needs a stride that is a multiple of {step}: stride_frames is "
                         f"{bundle.detector.stride_frames}")  # fmt: skip
    measured = modes.get("incremental", window)  # what the firmware runs
    need = needs_compiled(compiled, bundle.features)
    flash = {**need.flash, "network": measured.flash["network"]}
    flash["front end and detector"] = measured.flash["frontend"] + measured.flash["detector"]
    ram = {"network": measured.ram["network"], "front end": measured.ram["frontend"]}
    ram |= {"columns": window.ram["columns"], "detector": measured.ram["detector"]}
    tflm = needs_tflm(bundle.model, TflmModel(bundle.model.data).arena_bytes, bundle.features)
    backends = {}
    for name, parts in (("compiled", (flash, ram)), ("tflm", (tflm.flash, {**ram, "arena": tflm.ram["arena"]}))):
        parts_ram = {k: v for k, v in parts[1].items() if name == "compiled" or k != "network"}
        used_flash, used_ram = sum(parts[0].values()), sum(parts_ram.values())
        backends[name] = {
            "flash": parts[0], "ram": parts_ram, "flash_bytes": used_flash, "ram_bytes": used_ram,
            "fits": used_flash <= board.free_flash_bytes and used_ram <= board.free_ram_bytes,
            "largest_flash": max(parts[0], key=parts[0].get), "largest_ram": max(parts_ram, key=parts_ram.get),
        }  # fmt: skip
    return {
        "model": str(bundle.path), "board": board.name, "macs": compiled.macs,
        "free_flash_bytes": board.free_flash_bytes, "free_ram_bytes": board.free_ram_bytes, "backends": backends,
        "stack_bytes": measured.stack_bytes, "stack_reserved_bytes": board.stack_bytes,
        "instructions_per_second": {k: {**m.per_second, "total": m.total_per_second} for k, m in modes.items()},
        "load": {k: _load(m.total_per_second, board) for k, m in modes.items()},
        "notes": notes,
    }  # fmt: skip


def _load(per_second: float, board) -> dict[str, float]:
    duty = min(1.0, per_second * board.cycles_per_instruction / board.clock_hz)
    current = duty * board.active_ma + (1 - duty) * board.idle_ma
    return {"duty": duty, "current_ma": current, "battery_days": board.battery_mah / current / 24}


def _text(report: dict[str, Any], board) -> str:
    lines = [f"{report['model']} on {board.title}: {report['macs']} multiply-accumulates per window", ""]
    rows = [["part", "compiled flash", "compiled RAM", "TFLM flash", "TFLM RAM"]]
    compiled, tflm = report["backends"]["compiled"], report["backends"]["tflm"]
    names = list(dict.fromkeys([*compiled["flash"], *compiled["ram"], *tflm["flash"], *tflm["ram"]]))
    for name in names:
        cells = [b[kind].get(name) for b in (compiled, tflm) for kind in ("flash", "ram")]
        rows.append([name, *("-" if c is None else str(c) for c in cells)])
    rows.append(["sum", *(str(b[f"{k}_bytes"]) for b in (compiled, tflm) for k in ("flash", "ram"))])
    free = [str(report["free_flash_bytes"]), str(report["free_ram_bytes"])]
    rows.append([f"free on {board.name}", *free, *free])
    lines += [table(rows), ""]
    for name, backend in report["backends"].items():
        verdict = "fits" if backend["fits"] else "DOES NOT FIT"
        largest = f"largest in flash: {backend['largest_flash']}, in RAM: {backend['largest_ram']}"
        lines.append(f"{name}: {verdict}; {largest}")
    lines.append(f"stack: {report['stack_bytes']} bytes used of {report['stack_reserved_bytes']} reserved")
    lines += ["", "instructions per second of audio (emulated Cortex-M4F):"]
    rows = [["", "front end", "network", "detector", "total", f"of {board.clock_hz / 1e6:g} MHz", "mA", "days"]]
    for mode, values in report["instructions_per_second"].items():
        load = report["load"][mode]
        numbers = [f"{values[k]:.0f}" for k in ("frontend", "network", "detector", "total")]
        rows.append([mode, *numbers, f"{load['duty']:.2%}", f"{load['current_ma']:.1f}", f"{load['battery_days']:.0f}"])
    lines.append(table(rows))
    low, high = TFLM_SLOWER
    lines.append(f"TFLM + CMSIS-NN: {low} to {high} times the network's instructions (measured on four other models)")
    lines += report["notes"]
    lines += ["assumptions and sources:", *(f"  - {s}" for s in board.sources)]
    return "\n".join(lines)
