# SPDX-License-Identifier: MIT
"""Front end and detector on the emulated core: the program, its settings header, and the same on this machine."""

from __future__ import annotations

import itertools
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cheep.config import DetectorConfig, FeatureConfig
from cheep.detector import Detector, Event, ScoreScale, threshold_sums
from cheep.emulator import RunResult, build_elf, emulator_dir, object_sizes, run_elf
from cheep.features import (
    FrontendStream,
    compute_features,
    frontend_spec_tables,
    frontend_spec_values,
    inverse_scale,
    quantize,
)
from cheep.resources import source_dir

CORE_FILES = ("cheep_frontend.c", "cheep_fft.c", "cheep_columns.c", "cheep_detector.c", "cheep_scores.c")
EVENT_MARK = 0x544E5645


def _float(value: float) -> str:
    text = f"{np.float32(value):.9g}"
    return (text if "." in text or "e" in text else text + ".0") + "f"


def _array(kind: str, name: str, values: Sequence[float]) -> str:
    words = [_float(v) if kind == "float" else str(int(v)) for v in values]
    return f"static const {kind} {name}[{len(words)}] = {{{', '.join(words)}}};\n"


def render_spec(
    config: FeatureConfig,
    detector: DetectorConfig,
    n_classes: int,
    scale: float,
    zero_point: int,
    scores: ScoreScale | None = None,
) -> str:
    """Return ``frontend_spec.h`` for ``main_frontend.c``: tables, quantization, and detector thresholds.

    ``scores`` : what the scores mean (default: probabilities in 1/256).
    """
    scores = scores or ScoreScale()
    tables = frontend_spec_tables(config)
    text = "#include <stdint.h>\n"
    for name in ("window", "twiddle", "band_weight"):
        text += _array("float", name, getattr(tables, name))
    for name in ("band_start", "band_count"):
        text += _array("uint16_t", name, getattr(tables, name))
    text += "static const cheep_frontend_spec frontend_spec = {\n"
    for name, value in frontend_spec_values(config).items():
        text += f"    .{name} = {_float(value) if isinstance(value, float) else f'{value}u'},\n"
    for name in tables.__dataclass_fields__:
        text += f"    .{name} = {name},\n"
    text += "};\n"
    text += f"#define N_MELS {config.n_mels}\n#define INVERSE_SCALE {_float(inverse_scale(scale))}\n"
    text += f"#define ZERO_POINT {zero_point}\n#define FRONTEND_MEMORY_BYTES {FrontendStream(config).memory_bytes}\n"
    sums = threshold_sums(detector, n_classes, scores)
    pairs = ", ".join(f"{{{on}, {off}}}" for on, off in sums)
    text += f"static const cheep_class_threshold thresholds[{n_classes}] = {{{pairs}}};\n"
    counts = f"{n_classes}, {detector.smoothing_windows}, {detector.min_windows}, {detector.hold_off_windows}"
    meaning = f"{{CHEEP_SCORES_{scores.kind.upper()}, {_float(scores.scale)}, {scores.zero_point}}}"
    return text + f"static const cheep_detector_spec detector_spec = {{{counts}, thresholds, {meaning}}};\n"


def build_frontend(
    directory: Path,
    config: FeatureConfig,
    detector: DetectorConfig,
    *,
    n_classes: int,
    scale: float,
    zero_point: int,
    optimization: str = "-O2",
    flags: Sequence[str] = (),
) -> Path:
    """Build ``main_frontend.c`` for ``config`` in ``directory``; return the ELF file."""
    directory.mkdir(parents=True, exist_ok=True)
    spec = directory / "frontend_spec.h"
    spec.write_text(render_spec(config, detector, n_classes, scale, zero_point))
    sources = [emulator_dir() / "main_frontend.c"]
    sources += [source_dir() / name for name in CORE_FILES]
    target = directory / f"frontend{optimization}.elf"
    return build_elf(sources, target, include_dirs=[directory], optimization=optimization, flags=flags)


def run_frontend(
    elf: Path, pcm_file: Path, output: Path, *, chunk: int = 0, count: bool = True, timeout_s: float = 600.0
) -> RunResult:
    """Run the program over a raw int16 file; the columns and events go to ``output``."""
    return run_elf(elf, [str(pcm_file), str(output), str(chunk)], count=count, timeout_s=timeout_s)


def measure_frontend(config: FeatureConfig, optimization: str = "-O2") -> dict[str, int]:
    """Return the front end's costs on the emulated core, over two seconds of noise in chunks of one hop.

    Returns
    -------
    dict
        ``frontend.instructions_per_frame`` (mean) and ``frontend.instructions_worst``: instructions of a column
        from samples to int8 (copy, window, FFT, power, bands, logarithm, quantization);
        ``frontend.ram_bytes``: state, and tables, which may lie in flash instead; ``frontend.table_bytes`` of it;
        ``frontend.code_bytes``: all of the front end's code, for any setting; ``frontend.stack_bytes``.
    """
    pcm = np.random.default_rng(0).normal(0, 3000, 2 * config.sample_rate_hz).astype("<i2")
    tables = frontend_spec_tables(config).size_bytes
    with tempfile.TemporaryDirectory(prefix="cheep-") as folder:
        work = Path(folder)
        elf = build_frontend(
            work, config, DetectorConfig(), n_classes=2, scale=0.42, zero_point=64, optimization=optimization
        )
        pcm.tofile(work / "in.pcm")
        values = run_frontend(elf, work / "in.pcm", work / "out.bin", chunk=min(config.hop_samples, 4096)).values
        sources = [source_dir() / name for name in CORE_FILES[:2]]
        code = sum(object_sizes(source, optimization).text for source in sources)
    return {
        "frontend.instructions_per_frame": values["instructions_mean"],
        "frontend.instructions_worst": values["instructions_worst"],
        "frontend.ram_bytes": values["frontend_bytes"] + tables,
        "frontend.table_bytes": tables,
        "frontend.code_bytes": code,
        "frontend.stack_bytes": values["frontend_stack_bytes"],
    }


def host_output(
    pcm: np.ndarray, config: FeatureConfig, detector: DetectorConfig, n_classes: int, scale: float, zero_point: int
) -> bytes:
    """Return the bytes that the emulated program must write, computed by the core on this machine.

    ``pcm`` : (n,) int16, mono, at ``config.sample_rate_hz``; ``scale`` and ``zero_point`` make its columns int8. Each
    column's (n_mels,) int8 are followed by the events that it brings.
    """
    columns = quantize(compute_features(pcm, config), scale, zero_point)  # (columns, n_mels) int8
    edges = np.arange(n_classes + 1) * config.n_mels // n_classes
    engine = Detector(detector, n_classes, ScoreScale())
    parts: list[bytes] = []
    for column in columns:
        parts.append(column.tobytes())
        scores = np.array([column[a:b].max() for a, b in itertools.pairwise(edges)], np.int8)
        parts += map(_event_bytes, engine.push(scores))
    parts += map(_event_bytes, engine.flush())
    return b"".join(parts)


def _event_bytes(event: Event) -> bytes:
    return struct.pack(
        "<IIIIi", EVENT_MARK, event.label * 2 + event.ended, event.first_window, event.last_window, event.peak_sum
    )
