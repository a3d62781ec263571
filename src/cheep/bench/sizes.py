# SPDX-License-Identifier: MIT
"""A whole detector's flash, RAM, stack and instructions on a board, part by part, and whether it fits."""

from __future__ import annotations

from typing import Any

from cheep.bench.detector import measure_detector
from cheep.boards.budget import largest_part, load_on, needs_compiled, needs_tflm, refused_for
from cheep.boards.data import Board
from cheep.compiler import compile_model
from cheep.device.bundle import ModelBundle


def size_report(bundle: ModelBundle, board: Board) -> dict[str, Any]:
    """Return the report of a model bundle on a board as JSON-able values."""
    from cheep.tflite.tflm import TflmModel

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
    need = needs_compiled(compiled, bundle.features, classes)
    flash = {**need.flash, "network": measured.flash["network"]}
    flash["front end and detector"] = measured.flash["frontend"] + measured.flash["detector"]
    ram = {"network": measured.ram["network"], "front end": measured.ram["frontend"]}
    ram |= {"columns": window.ram["columns"], "detector": need.ram["detector"]}  # with what the application keeps
    tflm = needs_tflm(bundle.model, TflmModel(bundle.model.data).arena_bytes, bundle.features, board)
    backends, refused = {}, {"compiled": None, "tflm": refused_for(board, bundle.model)}
    for name, parts in (("compiled", (flash, ram)), ("tflm", (tflm.flash, {**ram, "arena": tflm.ram["arena"]}))):
        parts_ram = {k: v for k, v in parts[1].items() if name == "compiled" or k != "network"}
        used_flash, used_ram = sum(parts[0].values()), sum(parts_ram.values())
        backends[name] = {
            "flash": parts[0], "ram": parts_ram, "flash_bytes": used_flash, "ram_bytes": used_ram,
            "fits": used_flash <= board.free_flash_bytes and used_ram <= board.free_ram_bytes and not refused[name],
            "refused": refused[name],
            "largest_flash": largest_part(parts[0]), "largest_ram": largest_part(parts_ram),
        }  # fmt: skip
    return {
        "model": str(bundle.path), "board": board.name, "macs": compiled.macs,
        "free_flash_bytes": board.free_flash_bytes, "free_ram_bytes": board.free_ram_bytes, "backends": backends,
        "stack_bytes": measured.stack_bytes, "stack_reserved_bytes": board.stack_bytes,
        "instructions_per_second": {k: {**m.per_second, "total": m.total_per_second} for k, m in modes.items()},
        "load": {k: load_on(m.total_per_second, board) for k, m in modes.items()},
        "notes": notes,
    }  # fmt: skip
