# SPDX-License-Identifier: MIT
"""A whole detector on the emulated Cortex-M4F: instructions per second of audio, RAM and flash of each part."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from cheep.bench.frontend import render_spec
from cheep.compiler import Compiled
from cheep.config import DetectorConfig, FeatureConfig
from cheep.detector import ScoreScale
from cheep.emulator import build_elf, elf_sizes, emulator_dir, run_elf, symbol_sizes
from cheep.errors import CheepError
from cheep.resources import source_dir
from cheep.tflite.model import TensorInfo

_CORE = ("cheep_frontend.c", "cheep_fft.c", "cheep_columns.c", "cheep_detector.c", "cheep_scores.c")


@dataclasses.dataclass(frozen=True)
class DetectorCost:
    """Measured on the emulated core; ``per_second`` are instructions per second of audio.

    ``flash`` and ``ram``: bytes by part (frontend, network, detector, columns); ``stack_bytes``: peak stack;
    ``worst_column``: most instructions between two columns spent in the network; ``scores``: (windows, classes) int8.
    """

    per_second: dict[str, float]
    flash: dict[str, int]
    ram: dict[str, int]
    stack_bytes: int
    worst_column: int
    scores: np.ndarray

    @property
    def total_per_second(self) -> float:
        """All parts together."""
        return sum(self.per_second.values())


def measure_detector(
    compiled: Compiled,
    features: FeatureConfig,
    detector: DetectorConfig,
    source: TensorInfo,
    n_classes: int,
    *,
    stream: bool,
    pcm: np.ndarray | None = None,
    optimization: str = "-O2",
    meaning: ScoreScale | None = None,
) -> DetectorCost:
    """Run the detector over ``pcm`` and count.

    Parameters
    ----------
    source
        The network's input tensor.
    stream
        Column by column; else the whole window at every stride.
    pcm
        (n,) int16, mono, at ``features.sample_rate_hz``; default: four seconds of noise after one window.
    meaning
        What the network's scores mean; default: probabilities in 1/256.

    Raises
    ------
    CheepError
        ``stream`` where the network or its stride does not allow it, or missing tools.
    """
    if stream:
        check_stride(compiled, detector)
    rate = features.sample_rate_hz
    if pcm is None:
        n = features.window_samples + 4 * rate
        pcm = (np.random.default_rng(0).normal(0, 3000, n)).clip(-32768, 32767).astype(np.int16)
    p = compiled.prefix
    names = {"STATE": f"{p}_{'stream' if stream else 'memory'}", "FRAMES": features.window_frames}
    names |= {"STRIDE": detector.stride_frames, "CLASSES": n_classes, "INVOKE": f"{p}_invoke"}
    if stream:
        names |= {"PUSH": f"{p}_stream_push", "SCORES": f"{p}_stream_scores", "RESET": f"{p}_stream_reset", "STREAM": 1}
    states = [f"{p.upper()}_INPUT{i}_SIZE" for i in range(1, 9) if f"{p.upper()}_INPUT{i}_SIZE" in compiled.header]
    memory = "".join(f"static int8_t bench_state{i}[{size}];\n" for i, size in enumerate(states))
    if states:  # fed back in place
        carried = "".join(f", bench_state{i}" for i in range(len(states)))
        names.pop("INVOKE")
        names["INVOKE(memory, window, scores)"] = f"{p}_invoke(memory, window{carried}, scores{carried})"
    with tempfile.TemporaryDirectory(prefix="cheep-") as folder:
        here = Path(folder)
        (here / f"{p}.c").write_text(compiled.source)
        (here / f"{p}.h").write_text(compiled.header)
        defines = "".join(f"#define BENCH_{key} {value}\n" for key, value in names.items())
        (here / "bench_detector.h").write_text(f'#include "{p}.h"\n{memory}{defines}')
        spec = render_spec(features, detector, n_classes, source.scale, source.zero_point, meaning)
        (here / "frontend_spec.h").write_text(spec)
        (here / "in.pcm").write_bytes(np.ascontiguousarray(pcm, "<i2").tobytes())
        sources = [emulator_dir() / "main_detector.c", here / f"{p}.c"]
        sources += [source_dir() / name for name in _CORE]
        elf = build_elf(
            sources, here / "detector.elf", include_dirs=[here], optimization=optimization, ram_bytes=1 << 20,
            flash_bytes=1 << 21, flags=[
                f"-DCHEEP_MAX_CLASSES={n_classes}", f"-DCHEEP_MAX_SCORES={n_classes * detector.smoothing_windows}",
            ],
        )  # fmt: skip
        values = run_elf(elf, [str(here / "in.pcm"), str(here / "out.bin")]).values
        symbols, total = symbol_sizes(elf), elf_sizes(elf).flash
        scores = np.fromfile(here / "out.bin", np.int8).reshape(-1, n_classes)
    seconds = values["columns"] * features.hop_s
    flash = _flash_by_part(symbols, p, total)
    window_rate = 1 / (features.hop_s * detector.stride_frames)
    columns = values["columns"] if stream else max(1, values["windows"])
    network = 1000 * values["network_thousands"] / columns * (1 / features.hop_s if stream else window_rate)
    return DetectorCost(
        per_second={
            "frontend": 1000 * values["frontend_thousands"] / seconds,
            "network": network,
            "detector": values["detector_instructions"] / max(1, values["windows"]) * window_rate,
        },
        flash=flash,
        ram={part: values[f"{part}_bytes"] for part in ("frontend", "network", "detector", "columns")},
        stack_bytes=values["stack_bytes"],
        worst_column=values["network_worst"],
        scores=scores,
    )


def check_stride(compiled: Compiled, detector: DetectorConfig) -> None:
    """Raise :class:`CheepError` where the incremental mode would not give the full window's bits."""
    if compiled.stream is None:
        raise CheepError("the network pads in time, or is no chain of rows: it has no incremental mode")
    step = compiled.stream["stride_rows"]
    if detector.stride_frames % step:
        raise CheepError(
            f"stride_frames={detector.stride_frames}: the incremental mode needs a multiple of {step} "
            f"(the network's pooling); set stride_frames to {max(step, detector.stride_frames // step * step)}"
        )


def _flash_by_part(symbols: dict[str, int], prefix: str, total: int) -> dict[str, int]:
    parts = {"frontend": 0, "network": 0, "detector": 0}
    for name, size in symbols.items():
        if name.startswith((f"{prefix}_",)):
            parts["network"] += size
        elif name.startswith(("cheep_detector", "cheep_scores", "detector_spec", "thresholds")):
            parts["detector"] += size
        elif name.startswith(
            ("cheep_dense", "cheep_conv", "cheep_pool", "cheep_lookup", "cheep_softmax", "cheep_depthw")
        ):
            parts["network"] += size
        elif name.startswith(("cheep_f", "cheep_q", "window", "twiddle", "band_")):
            parts["frontend"] += size
    ram_symbols = sum(symbols.get(name, 0) for name in ("window",))
    parts["frontend"] -= min(ram_symbols, 0)
    parts["rest"] = max(0, total - sum(parts.values()))
    return parts
