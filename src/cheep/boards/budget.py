# SPDX-License-Identifier: MIT
"""Does a detector fit a board? Exact memory where it can be computed, compared before anything is written.

``check_network`` needs only the shape (before training), ``check_model`` a ``.tflite`` file, ``check_compiled`` a
compiled network. Over budget is a :class:`GateError` that says which part is too big, and by how much.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cheep.boards.data import Board, find_board
from cheep.compiler import Compiled, compile_bytes, compile_model
from cheep.config import FeatureConfig, TrainConfig, default_stride
from cheep.config.training import BACKBONES
from cheep.device.bundle import ModelBundle, load_bundle
from cheep.device.verify import behind_samples
from cheep.errors import CheepError, GateError
from cheep.export.golden_header import stored_windows
from cheep.tflite.arena import arena_on, refused_by
from cheep.tflite.model import TfliteModel, read_model
from cheep.tflite.reader import read_graph

log = logging.getLogger(__name__)

# Code beside constants of a compiled network: 3-6 KB in every network measured; and of front end and detector.
COMPILED_CODE_BYTES = 6 * 1024
CORE_FLASH_BYTES = 12 * 1024
# The application around them (self-check, lines, levels, ring) and what it takes of the C library: 12 KB linked for a
# Cortex-M4F with the demo's detector (2026-11-26).
APPLICATION_FLASH_BYTES = 12 * 1024
SECOND_WINDOW = "second network: ring and window"
# The ring of scores and the application's state; and of each class its state, event, thresholds and counters.
DETECTOR_RAM_BYTES, CLASS_RAM_BYTES = 1024, 80
# Beyond the six that a board's tflm_code_bytes counts.
TFLM_OPERATOR_BYTES, TFLM_OPERATORS = 2_000, 6

# Per multiply-accumulate of a compiled network, and per point of an FFT with the bands behind it.
INSTRUCTIONS_PER_MAC, INSTRUCTIONS_PER_FFT_POINT = 1.9, 60.0


@dataclasses.dataclass(frozen=True)
class Need:
    """What one backend needs: bytes by part."""

    backend: str
    flash: dict[str, int]
    ram: dict[str, int]

    @property
    def flash_bytes(self) -> int:
        """All flash."""
        return sum(self.flash.values())

    @property
    def ram_bytes(self) -> int:
        """All RAM."""
        return sum(self.ram.values())


def needs_compiled(compiled: Compiled, features: FeatureConfig | None, n_classes: int) -> Need:
    """Return what a detector of ``n_classes`` with the compiled network needs."""
    flash = {"network": compiled.constant_bytes + COMPILED_CODE_BYTES, "front end and detector": CORE_FLASH_BYTES}
    flash |= _self_check(features, n_classes)
    network = compiled.stream["memory_bytes"] if compiled.stream else compiled.memory_bytes  # as the firmware runs it
    return Need("compiled", flash, {"network": network, **_core_ram(features, n_classes)})


def with_second(need: Need, bundle: ModelBundle) -> Need:
    """Return what a compiled detector needs together with its second network (``detector.verify``), if it has one.

    Both networks and the second front end share one working memory; the ring of samples and the second network's
    window are on top (``cheep_verify_memory_bytes``).
    """
    second = bundle.verifier
    if second is None:
        return need
    compiled, features = compile_model(second.path), second.features
    other = needs_compiled(compiled, features, len(second.labels))
    ring = 2 * (features.window_samples + behind_samples(bundle)) + 4 * features.n_mels
    ram = {
        **need.ram,
        "network": max(need.ram["network"], compiled.memory_bytes, other.ram["front end"]),
        SECOND_WINDOW: ring + features.window_frames * features.n_mels,
    }
    flash = {
        **need.flash,
        "second network": other.flash["network"],
        "second network: golden windows": other.flash["golden windows"],
    }
    return dataclasses.replace(need, flash=flash, ram=ram)


def needs_tflm(model: TfliteModel, arena_bytes: int, features: FeatureConfig | None, board: Board) -> Need:
    """Return what a detector with TFLM needs on ``board``.

    The runtime's code is an estimate; ``arena_bytes`` was measured on this machine, and what the kernels of the board
    take beyond it is computed.
    """
    extra = max(0, len(model.operators) - TFLM_OPERATORS) * TFLM_OPERATOR_BYTES
    flash = {"model": len(model.data), "TFLM": board.tflm_code_bytes + extra}
    flash["front end and detector"] = CORE_FLASH_BYTES
    flash |= _self_check(features, model.outputs[0].shape[-1])
    arena = arena_on(board.tflm_kernels, read_graph(model.data), arena_bytes)
    return Need("tflm", flash, {"arena": arena, **_core_ram(features, model.outputs[0].shape[-1])})


def refused_for(board: Board, model: TfliteModel) -> str | None:
    """Return why a network must not run in TFLM on ``board``, with the way out; None where it may."""
    reason = refused_by(board.tflm_kernels, read_graph(model.data))
    return f"{reason}; use the compiled backend (cheep compile)" if reason else None


def _self_check(features: FeatureConfig | None, n_classes: int) -> dict[str, int]:
    """Return what a firmware has besides: the application, golden windows as far as they are stored, scores of all."""
    if features is None:
        return {}
    stored = stored_windows(features, n_classes)
    windows = stored * features.window_frames * features.n_mels + (stored + 4) * n_classes
    return {"application": APPLICATION_FLASH_BYTES, "golden windows": windows}


def _core_ram(features: FeatureConfig | None, n_classes: int) -> dict[str, int]:
    if features is None:
        return {}
    from cheep.features import FrontendStream

    columns = features.window_frames * features.n_mels  # once: the application turns its ring in place (cheep_app.c)
    detector = DETECTOR_RAM_BYTES + n_classes * CLASS_RAM_BYTES
    return {"front end": FrontendStream(features).memory_bytes, "columns": columns, "detector": detector}


def largest_part(parts: Mapping[str, int]) -> str:
    """Return the name of what takes most bytes of ``parts``."""
    return max(parts, key=lambda name: parts[name])


def check_need(need: Need, board: Board, what: str) -> None:
    """Raise :class:`GateError` where ``need`` exceeds the board's flash or RAM."""
    problems = []
    for kind, used, free, parts in (
        ("RAM", need.ram_bytes, board.free_ram_bytes, need.ram),
        ("flash", need.flash_bytes, board.free_flash_bytes, need.flash),
    ):
        if used > free:
            largest = largest_part(parts)
            problems.append(
                f"{kind}: {used} bytes needed, {free} free on {board.name}, {used - free} too many; "
                f"largest is {largest} with {parts[largest]} bytes"
            )
    if problems:
        advice = "choose a smaller network, fewer bands or a shorter window"
        if need.backend == "tflm":
            advice += ", or the compiled backend (cheep compile)"
        if SECOND_WINDOW in need.ram:
            advice += (
                ", or the first network alone (remove detector.verify from manifest.json, calibrate without --verify)"
            )
        raise GateError(f"{what} ({need.backend}): " + "; ".join(problems) + f"; {advice}")


def check_compiled(compiled: Compiled, board: Board, detector: ModelBundle | None = None) -> None:
    """Refuse a compiled network that does not fit; of a detector with front end, application and second network."""
    if detector is None:
        check_need(needs_compiled(compiled, None, 0), board, "network")
    else:
        board.check_rate(detector.features.sample_rate_hz, "detector")
        need = with_second(needs_compiled(compiled, detector.features, len(detector.labels)), detector)
        check_need(need, board, "detector" if detector.verifier is None else "both networks")


def check_model(board: str | Board, path: str | os.PathLike) -> None:
    """Refuse a ``.tflite`` model that fits the board with neither backend.

    Raises
    ------
    GateError
        Neither the compiled network nor TFLM fits (both reasons are given), or the board listens at other rates.
    """
    board = find_board(board) if isinstance(board, str) else board
    model = read_model(path)
    features = features_of(model)
    if features is not None:
        board.check_rate(features.sample_rate_hz, Path(path).name)
    reasons = []
    bundle = load_bundle(path) if features is not None else None
    try:
        need = needs_compiled(compile_bytes(model.data, name=str(path)), features, model.outputs[0].shape[-1])
        if bundle is not None:
            need = with_second(need, bundle)
        check_need(need, board, Path(path).name)
        log.info("%s fits %s with the compiled backend", path, board.name)
        return
    except CheepError as error:
        reasons.append(str(error))
    if bundle is not None and bundle.verifier is not None:
        raise GateError(reasons[0])  # two networks are compiled
    from cheep.tflite.tflm import TflmModel

    try:
        if refused := refused_by(board.tflm_kernels, read_graph(model.data)):
            raise GateError(f"{Path(path).name} (tflm) on {board.name}: {refused}")
        check_need(needs_tflm(model, TflmModel(model.data).arena_bytes, features, board), board, Path(path).name)
        log.info("%s fits %s with TFLM only: %s", path, board.name, reasons[0])
    except CheepError as error:
        raise GateError("\n".join([*reasons, str(error)])) from None


def check_pair(board: str | Board, backbone: str | os.PathLike, step: str | os.PathLike) -> Need:
    """Refuse a backbone and recurrent step (``cheep convert --streaming``) that do not fit together, compiled.

    Working memory is shared, because only one of them runs; the state and the features between them are not.
    """
    board = find_board(board) if isinstance(board, str) else board
    models = {"backbone": read_model(backbone), "step": read_model(step)}
    parts = {name: compile_bytes(model.data, name=name) for name, model in models.items()}
    carried = sum(int(np.prod(tensor.shape)) for tensor in models["step"].inputs)
    need = Need(
        "compiled",
        {name: part.constant_bytes + COMPILED_CODE_BYTES for name, part in parts.items()},
        {"working memory": max(part.memory_bytes for part in parts.values()), "features and state": carried},
    )
    check_need(need, board, "backbone and step")
    return need


def check_network(board: str | Board, config: TrainConfig, features: FeatureConfig, plan: Any) -> None:
    """Refuse a registry network that cannot fit, from its shape alone, before training.

    ``plan`` is the label plan (``labels``, ``activation``) or the number of outputs. The untrained network is
    converted on noise: its weights mean nothing, its sizes are those of the trained one.
    """
    board = find_board(board) if isinstance(board, str) else board
    board.check_rate(features.sample_rate_hz, f"network {config.model}")
    outputs, activation = (plan, "softmax") if isinstance(plan, int) else (len(plan.labels), plan.activation)
    need = needs_compiled(untrained_network(config, features, outputs, activation), features, outputs)
    check_need(need, board, f"network {config.model}")
    log.info("network %s fits %s", config.model, board.name)


def untrained_network(
    config: TrainConfig, features: FeatureConfig, outputs: int, activation: str = "softmax"
) -> Compiled:
    """Return a network with random weights, compiled: its sizes are those of the trained one."""
    return _compiled(untrained_tflite(config, features, outputs, activation), config.model)


def untrained_tflite(config: TrainConfig, features: FeatureConfig, outputs: int, activation: str = "softmax") -> bytes:
    """Return a network with random weights as an int8 ``.tflite``, its ranges those of noise."""
    if config.model not in BACKBONES:
        config = TrainConfig(model=config.model, hears=config.hears, towers=config.towers)
        features = FeatureConfig(
            window_frames=features.window_frames, n_mels=features.n_mels, compression=features.compression
        )
    return _untrained(config, features, outputs, activation)


@functools.lru_cache(maxsize=32)
def _untrained(config: TrainConfig, features: FeatureConfig, outputs: int, activation: str) -> bytes:
    from cheep.convert.tflite import calibrated_int8
    from cheep.models.backbone import network_of

    noise = np.random.default_rng(0).normal(0, 1, (16, features.window_frames, features.n_mels)).astype(np.float32)
    network = network_of(config, features, outputs, activation, weights=False)
    if config.model == "yamnet":
        for layer in network.layers:
            if layer.weights:  # with a bias above 0 no channel is dead behind its ReLU, as in the trained network
                kernel, bias = layer.get_weights()
                layer.set_weights([kernel, bias + 1])
    return calibrated_int8(network, noise)


@functools.lru_cache(maxsize=32)
def _compiled(data: bytes, name: str) -> Compiled:
    return compile_bytes(data, name=name)


def estimated_instructions(compiled: Compiled, features: FeatureConfig) -> float:
    """Return about how many instructions a detector takes per second of audio, without the emulator.

    Fed column by column where the network allows it, and run at the default stride. Within a quarter of what was
    measured on the emulated Cortex-M4F (docs/leaderboard.md, docs/registry.md).
    """
    stride = default_stride(features.hop_s)
    new = min(1.0, 1.2 * stride / features.window_frames) if compiled.stream else 1.0  # stages overlap a little
    network = compiled.macs * INSTRUCTIONS_PER_MAC * new / (stride * features.hop_s)
    return network + INSTRUCTIONS_PER_FFT_POINT * features.fft_size / features.hop_s


def load_on(per_second: float, board: Board, sample_rate_hz: int) -> dict[str, float]:
    """Return what a detector of ``per_second`` instructions a second asks of a board that listens at a rate.

    The filters of the microphone count, where the board says what they take. ``busy_ms``: of the core, per second of
    audio; ``duty``: share of the clock, at most 1; ``current_ma``; ``battery_days``.
    """
    instructions = per_second + board.microphone_instructions(sample_rate_hz)
    busy = instructions * board.cycles_per_instruction / board.clock_hz
    duty = min(1.0, busy)
    current = duty * board.active_ma + (1 - duty) * board.idle_ma
    days = board.battery_mah / current / 24
    return {"busy_ms": 1000 * busy, "duty": duty, "current_ma": current, "battery_days": days}


def features_of(model: TfliteModel) -> FeatureConfig | None:
    """Return the feature settings in a model's metadata, or None."""
    values = (model.metadata or {}).get("features")
    return FeatureConfig.parse(values, "the model") if isinstance(values, dict) else None
