# SPDX-License-Identifier: MIT
"""Flash, RAM, stack and instructions on a board, part by part, and whether they fit: a detector's or a network's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cheep import runs
from cheep.bench.detector import DetectorCost, measure_detector
from cheep.boards.budget import largest_part, load_on, needs_compiled, needs_tflm, refused_for, with_second
from cheep.boards.data import Board
from cheep.card.image import HEADER_BYTES, link
from cheep.compiler import Compiled, compile_model
from cheep.compiler.measure import measure, random_inputs
from cheep.device.bundle import ModelBundle
from cheep.errors import GateError
from cheep.export import load_export
from cheep.files import read_json
from cheep.tflite.model import read_model

_GATE_PER_BAND = 22  # instructions
RING_BYTES = 32768  # of the ESP32's microphone
UPLINK_BYTES = 10240  # firmware/esp32 with CHEEP_MQTT: 9,987 bytes of zeroed memory beyond the application (rv32imc)
NETWORK_RUNS = 3  # on random inputs; the most instructions count


def size_report(bundle: ModelBundle, board: Board) -> dict[str, Any]:
    """Return the report of a model bundle on a board as JSON-able values."""
    from cheep.tflite.tflm import TflmModel

    compiled = compile_model(bundle.path)
    classes, notes = len(bundle.labels), []
    window = measure_detector(
        compiled, bundle.features, bundle.detector, bundle.input, classes, stream=False, meaning=bundle.scale
    )
    modes = {"window": window}
    if compiled.stream is None:
        notes.append("incremental mode: none (the network pads in time, or is no chain of rows)")
    else:
        step = compiled.stream["stride_rows"]
        stride = max(step, bundle.detector.stride_frames // step * step)
        detector = bundle.detector.model_copy(update={"stride_frames": stride})
        name = "incremental" if stride == bundle.detector.stride_frames else f"incremental, stride {stride}"
        modes[name] = measure_detector(
            compiled, bundle.features, detector, bundle.input, classes, stream=True, meaning=bundle.scale
        )
        if stride != bundle.detector.stride_frames:
            notes.append(f"incremental mode needs a stride that is a multiple of {step}: stride_frames is "
                         f"{bundle.detector.stride_frames}")  # fmt: skip
    measured = modes.get("incremental", window)  # what the firmware runs
    per_second = {k: {**m.per_second, "total": m.total_per_second} for k, m in modes.items()}
    if (gate := _gate_of(bundle)) is not None:
        per_second["gated"] = _gated(window, measured, bundle, gate)
        notes.append(
            f"gated: the network runs on {gate['run']:.1%} of windows, as on the recordings of cheep calibrate --gate; "
            f"on quiet nights on fewer"
        )
    rate = bundle.features.sample_rate_hz
    if not board.microphone_instructions(rate):
        notes.append("what the microphone's driver takes is not known: share of the clock, mA and days are without")
    need = needs_compiled(compiled, bundle.features, classes)
    flash = {**need.flash, "network": measured.flash["network"]}
    flash["front end and detector"] = measured.flash["frontend"] + measured.flash["detector"]
    ram = {"network": measured.ram["network"], "front end": measured.ram["frontend"]}
    ram |= {part: need.ram[part] for part in ("columns", "detector")}  # with what the application keeps, not the bench
    if bundle.detector.gate is not None:
        ram["gate"] = 2 * (bundle.features.n_mels + bundle.features.window_frames)
    if bundle.verifier is not None:
        both = with_second(dataclasses.replace(need, flash=flash, ram=ram), bundle)
        flash, ram = both.flash, both.ram
        once = second_window(bundle)
        took = f"{once['network'] / 1e6:.1f} M instructions, and {once['frontend'] / 1e6:.1f} M of its front end"
        notes.append(f"the second network takes {took}, each time that it is asked: "
                     f"{asked_at_a_time(once, bundle, board):.0%} of a stride")  # fmt: skip
        if (share := _measured_share(bundle)) is not None:
            per_second["two stages"] = two_stages(measured.per_second, once, bundle, share)
            notes.append(f"two stages: it is asked about {share:.1%} of windows, as on the background of cheep "
                         "calibrate --verify")  # fmt: skip
    tflm = needs_tflm(bundle.model, TflmModel(bundle.model.data).arena_bytes, bundle.features, board)
    backends, refused = {}, {"compiled": None, "tflm": refused_for(board, bundle.model)}
    if bundle.verifier is not None:
        refused["tflm"] = "a detector with a second network is compiled (cheep compile)"
    for name, parts in (("compiled", (flash, ram)), ("tflm", (tflm.flash, {**ram, "arena": tflm.ram["arena"]}))):
        parts_ram = {k: v for k, v in parts[1].items() if name == "compiled" or k != "network"}
        backends[name] = _backend(parts[0], parts_ram, board, refused[name])
    if board.network:
        backends["compiled"]["network_stack"] = with_network(board, sum(flash.values()), sum(ram.values()))
    return _head(bundle.path, compiled, board) | {
        "backends": backends, "stack_bytes": measured.stack_bytes,
        "instructions_per_second": per_second, "microphone_per_second": board.microphone_instructions(rate),
        "load": {k: load_on(values["total"], board, rate) for k, values in per_second.items()},
        "notes": notes, "card": card_report(bundle, board),
    }  # fmt: skip


def with_network(board: Board, flash_bytes: int, ram_bytes: int) -> dict[str, Any]:
    """Return whether a detector fits beside the network stack of ``board``, in bytes.

    Of the board's base, the network's figure holds the flash and ESP-IDF's own RAM; ring, stacks and what the uplink
    keeps are added to the detector's RAM.
    """
    assert board.network is not None
    all_flash = board.network.flash_bytes + flash_bytes
    all_ram = ram_bytes + RING_BYTES + board.stack_bytes + UPLINK_BYTES
    return {
        "flash_bytes": all_flash, "ram_bytes": all_ram,
        "free_flash_bytes": board.flash_bytes, "free_ram_bytes": board.network.left_ram_bytes,
        "fits": all_flash <= board.flash_bytes and all_ram <= board.network.left_ram_bytes,
    }  # fmt: skip


def card_report(bundle: ModelBundle, board: Board) -> dict[str, Any] | None:
    """Return what the model takes as an image from a card, linked; None where the board takes none."""
    if board.card is None:
        return None
    of = {"slots": 2, "of_slot_bytes": board.card.slot_bytes, "of_ram_bytes": board.card.window_bytes}
    try:
        linked = link(load_export(bundle.path), board)
    except GateError as error:
        return {**of, "fits": False, "refused": str(error)}
    slot = max(len(body) for body, _, _ in linked) + HEADER_BYTES
    return {**of, "slot_bytes": slot, "ram_bytes": linked[0][2], "fits": True, "refused": None}


def second_window(bundle: ModelBundle) -> dict[str, float]:
    """Return the instructions of the second network and of its front end for one window that it is asked about.

    Emulated Cortex-M4F, compiled.
    """
    second = bundle.verifier
    assert second is not None
    features, compiled = second.features, compile_model(second.path)
    detector = second.detector.model_copy(update={"stride_frames": features.window_frames})
    rate = features.sample_rate_hz
    noise = np.random.default_rng(0).normal(0, 3000, features.window_samples + rate).clip(-32768, 32767)
    cost = measure_detector(
        compiled, features, detector, second.input, len(second.labels), stream=False, meaning=second.scale,
        pcm=noise.astype(np.int16),
    )  # fmt: skip
    columns_s = features.window_frames * features.hop_s
    return {name: cost.per_second[name] * columns_s for name in ("network", "frontend")}


def two_stages(
    first: Mapping[str, float], once: Mapping[str, float], bundle: ModelBundle, share: float
) -> dict[str, float]:
    """Return the instructions per second of audio, by part and in total, where ``share`` of windows are verified.

    Parameters
    ----------
    first : of the first network's detector, by part, per second of audio
    once : of a verified window (:func:`second_window`)
    """
    second = share / bundle.stride_s * sum(once.values())
    values = {**first, "second network": second}
    return {**values, "total": sum(values.values())}


def asked_at_a_time(once: Mapping[str, float], bundle: ModelBundle, board: Board) -> float:
    """Return the share of a stride that one verified window takes on ``board``; above 1 a song is not kept up with."""
    return sum(once.values()) * board.cycles_per_instruction / board.clock_hz / bundle.stride_s


def _measured_share(bundle: ModelBundle) -> float | None:
    """Return the share of the background that the second network is asked about, as calibration measured it."""
    manifest = bundle.path.parent / runs.MANIFEST
    if not manifest.is_file():
        return None
    kept = (read_json(manifest, runs.QAT_COMMAND).get("calibration") or {}).get("verify")
    return None if kept is None else float(kept["share"]["value"])


def _gate_of(bundle: ModelBundle) -> dict[str, Any] | None:
    """What calibration measured of the gate that the detector has; None without one."""
    manifest = bundle.path.parent / runs.MANIFEST
    if bundle.detector.gate is None or not manifest.is_file():
        return None
    return (read_json(manifest, runs.QAT_COMMAND).get("calibration") or {}).get("gate")


def _gated(window: DetectorCost, measured: DetectorCost, bundle: ModelBundle, gate: dict[str, Any]) -> dict[str, float]:
    """Instructions per second of audio where the network runs on a share of the windows.

    A network that is fed with columns takes a whole window whenever the gate opens. The gate itself: about
    ``_GATE_PER_BAND`` instructions per band and column (emulated Cortex-M4F, ``-O2``).
    """
    openings = min(gate["openings"], gate["run"])
    network = openings * window.per_second["network"] + (gate["run"] - openings) * measured.per_second["network"]
    gate_cost = _GATE_PER_BAND * bundle.features.n_mels / bundle.features.hop_s
    values = {**measured.per_second, "network": network, "detector": measured.per_second["detector"] + gate_cost}
    return {**values, "total": sum(values.values())}


def network_report(path: Path, board: Board) -> dict[str, Any]:
    """Return the report of a network alone, whoever made it: without front end, columns and detector.

    Raises
    ------
    CheepError
        The compiler refuses the network.
    """
    from cheep.tflite.tflm import tflm_support

    model, compiled = read_model(path), compile_model(path)
    measured = measure(compiled, random_inputs(compiled, NETWORK_RUNS), NETWORK_RUNS)
    notes = [f"the network alone: {path.name} does not say what it hears; front end, columns, detector and the "
             "caller's inputs and outputs are not counted"]  # fmt: skip
    backends = {"compiled": _backend({"network": measured.flash_bytes}, {"network": measured.ram_bytes}, board, None)}
    support = tflm_support(model.data)
    if support["runs"]:
        tflm = needs_tflm(model, support["arena_bytes"], None, board)
        flash = {k: v for k, v in tflm.flash.items() if k in ("model", "TFLM")}
        backends["tflm"] = _backend(flash, tflm.ram, board, refused_for(board, model))
        notes.append("TFLM's arena holds inputs and outputs")
    else:
        notes.append(f"TFLM cannot run it: {support['reason']}")
    return _head(path, compiled, board) | {
        "backends": backends, "stack_bytes": measured.stack_bytes, "instructions": measured.instructions,
        "notes": notes,
    }  # fmt: skip


def _head(path: Path, compiled: Compiled, board: Board) -> dict[str, Any]:
    return {
        "model": str(path), "board": board.name, "macs": compiled.macs, "stack_reserved_bytes": board.stack_bytes,
        "free_flash_bytes": board.free_flash_bytes, "free_ram_bytes": board.free_ram_bytes,
    }  # fmt: skip


def _backend(flash: dict[str, int], ram: dict[str, int], board: Board, refused: str | None) -> dict[str, Any]:
    used_flash, used_ram = sum(flash.values()), sum(ram.values())
    return {
        "flash": flash, "ram": ram, "flash_bytes": used_flash, "ram_bytes": used_ram,
        "fits": used_flash <= board.free_flash_bytes and used_ram <= board.free_ram_bytes and not refused,
        "refused": refused,
        "largest_flash": largest_part(flash), "largest_ram": largest_part(ram),
    }  # fmt: skip
