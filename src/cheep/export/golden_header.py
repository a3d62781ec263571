# SPDX-License-Identifier: MIT
"""``golden_window.h``: the boot check of a firmware, stage by stage."""

from __future__ import annotations

from cheep.config import FeatureConfig
from cheep.convert.golden import Golden
from cheep.export.bundle import ExportModel
from cheep.export.ctext import comment, guard, int8_items, mark, string, table
from cheep.export.selfcheck import detector_crc, frontend_crc

TOOL = "model_convert.py"

# What stored golden windows may take of the flash; those of the last labels are left out, but never all.
GOLDEN_BYTES = 8192


def stored_windows(features: FeatureConfig, wanted: int) -> int:
    """Return how many golden windows of ``wanted`` the firmware stores."""
    return min(wanted, max(1, GOLDEN_BYTES // (features.window_frames * features.n_mels)))


def render_golden_window(export: ExportModel) -> str:
    """Return ``golden_window.h``: what the firmware computes before it listens, and what must come out."""
    source, labels = export.bundle.input, export.bundle.labels
    columns, int8 = frontend_crc(export.features, source.scale, source.zero_point)
    events = detector_crc(export.detector, len(labels), export.bundle.scale)
    lines = [
        f"#define CHEEP_GOLDEN_MODEL_ID 0x{export.model_id:08x}u",
        "",
        "/* CRC-32 of the first columns of the test sound, in single precision and as int8, and of the events that the",
        " * detector makes of made scores (cheep_selfcheck.h). */",
        f"#define CHEEP_GOLDEN_COLUMNS_CRC 0x{columns:08x}u",
        f"#define CHEEP_GOLDEN_FRONTEND_CRC 0x{int8:08x}u",
        f"#define CHEEP_GOLDEN_DETECTOR_CRC 0x{events:08x}u",
        "",
        *golden_lines(export.features, export.golden, "CHEEP_GOLDEN"),
    ]
    return guard("golden_window.h", lines, mark(TOOL, export.sha256, export.features.hash32))


def golden_lines(features: FeatureConfig, windows: tuple[Golden, ...], prefix: str) -> list[str]:
    """Return the lines of a header that hold golden windows and their scores, in macros that begin with ``prefix``."""
    real = [golden for golden in windows if golden.kind == "stored"]
    kept = stored_windows(features, len(real))
    stored, left = real[:kept], ", ".join(golden.name for golden in real[kept:])
    used = [*(golden for golden in windows if golden.kind != "stored"), *stored]
    items: list[str] = []
    for golden in used:
        if golden.kind == "stored":
            items.append(f"STORED({string(golden.name)}, {sum(item.startswith('STORED') for item in items)})")
        elif golden.kind == "board":
            items.append(f"BOARD({string(golden.name)}, {golden.low}, {golden.high})")
        else:
            items.append(f"NOISE({string(golden.name)})")
    return [
        "/* The windows: stored ones by their place in the table, a board of two values, or noise (cheep_app.h). */",
        *([f"/* Left out, because {GOLDEN_BYTES} bytes are kept for them: {comment(left)}. */"] if left else []),
        f"#define {prefix}_COUNT {len(used)}",
        f"#define {prefix}_STORED_COUNT {len(stored)}",
        f"#define {prefix}_LIST(STORED, BOARD, NOISE) {' '.join(items)}",
        "",
        "/* int8 [stored][frames][mels], and the scores that TensorFlow Lite Micro gives for each of the windows. */",
        table(f"{prefix}_WINDOWS", [item for g in stored for item in int8_items(g.window)] or ["0"]),
        table(f"{prefix}_SCORES", [item for g in used for item in int8_items(g.scores)]),
    ]
