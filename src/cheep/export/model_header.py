# SPDX-License-Identifier: MIT
"""``model.h``, ``model.cc`` and ``detector_settings.h``."""

from __future__ import annotations

import zlib

import numpy as np

from cheep.detector import logit, threshold_sums
from cheep.detector.gate import on_sum
from cheep.export.bundle import ExportModel
from cheep.export.ctext import comment, float32, guard, mark, string, table
from cheep.export.golden_header import render_golden_window
from cheep.export.mel_header import render_mel_filter_bank
from cheep.export.operators import resolver_entries
from cheep.export.verify_header import render_verify
from cheep.features import inverse_scale

TOOL = "model_convert.py"


def render_headers(export: ExportModel) -> dict[str, str]:
    """Return the headers of ``generated/`` that an application needs, by file name."""
    return {
        "model.h": render_model_header(export),
        "detector_settings.h": render_detector_settings(export),
        "golden_window.h": render_golden_window(export),
        "mel_filter_bank.h": render_mel_filter_bank(export.features, export.sha256),
        **render_verify(export),
    }


def _first(export: ExportModel) -> str:
    return mark(TOOL, export.sha256, export.features.hash32)


def render_model_header(export: ExportModel) -> str:
    """Return ``model.h``: all that the firmware checks about the model, and the operators to register."""
    bundle, model = export.bundle, export.bundle.model
    entries = resolver_entries(list(model.operators))
    scale = float32(bundle.input.scale)
    inverse = float32(inverse_scale(bundle.input.scale))
    out, window = bundle.output, export.features.window_frames * export.features.n_mels
    facts = (
        f"{{ 0, {len(model.data)}u, 0x{zlib.crc32(model.data):08x}u, 1, {window}u, "
        f"{len(bundle.labels)}u, {scale}, {float32(out.scale)}, {bundle.input.zero_point}, {out.zero_point} }}"
    )
    lines = [
        "#include <stddef.h>",
        "#include <stdint.h>",
        "",
        f"#define CHEEP_MODEL_VERSION {string(export.version)}",
        f"#define CHEEP_MODEL_SHA256 {string(export.sha256)}",
        f"#define CHEEP_MODEL_ID 0x{export.model_id:08x}u",
        f'#define CHEEP_MODEL_ID_TEXT "{export.model_id:08x}"',
        f"#define CHEEP_MODEL_FEATURE_HASH 0x{export.features.hash32:08x}u",
        f"#define CHEEP_MODEL_BYTES {len(model.data)}u",
        f"#define CHEEP_MODEL_CRC32 0x{zlib.crc32(model.data):08x}u",
        "/* Of TensorFlow Lite Micro: measured on 64 bits, reference kernels; with the scratch of esp-nn on an S3; of",
        " * CMSIS-NN on a Cortex-M with DSP instructions. */",
        f"#define CHEEP_MODEL_ARENA_BYTES {export.arena_bytes}u",
        f"#define CHEEP_MODEL_ARENA_BYTES_ESP32S3 {export.arena_bytes_esp32s3}u",
        f"#define CHEEP_MODEL_ARENA_BYTES_CMSIS_NN {export.arena_bytes_cmsis_nn}u",
        *(f"#define CHEEP_MODEL_REFUSED_BY_TFLM_{chip} /* {reason} */" for chip, reason in export.refused.items()),
        "",
        "/* int8 [1][CHEEP_MODEL_FRAMES][CHEEP_MODEL_MELS][1] -> int8 [1][CHEEP_MODEL_CLASSES] */",
        f"#define CHEEP_MODEL_FRAMES {export.features.window_frames}",
        f"#define CHEEP_MODEL_MELS {export.features.n_mels}",
        f"#define CHEEP_MODEL_CLASSES {len(bundle.labels)}",
        f"#define CHEEP_MODEL_INPUT_SCALE {scale}",
        f"#define CHEEP_MODEL_INPUT_INVERSE_SCALE {inverse}",
        f"#define CHEEP_MODEL_INPUT_ZERO_POINT {bundle.input.zero_point}",
        f"#define CHEEP_MODEL_OUTPUT_SCALE {float32(out.scale)}",
        f"#define CHEEP_MODEL_OUTPUT_ZERO_POINT {out.zero_point}",
        f"#define CHEEP_MODEL_STATES {bundle.states} /* further inputs and outputs, fed back from window to window */",
        f"#define CHEEP_MODEL_STATE_BYTES {sum(int(np.prod(t.shape)) for t in model.inputs[1:])}u",
        "",
        "/* cheep_model_facts: what the runtime must find. */",
        f"#define CHEEP_MODEL_FACTS {facts}",
        "",
        table("CHEEP_MODEL_LABELS", map(string, bundle.labels)),
        "",
        "/* X(resolver method), or X_INT8(resolver method, registration) where there is a kernel for int8 alone */",
        f"#define CHEEP_MODEL_OPERATOR_COUNT {len(entries)}",
        "#define CHEEP_MODEL_OPERATORS(X, X_INT8) "
        + " ".join(f"X_INT8({method}, {name})" if name else f"X({method})" for method, name in entries),
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "/* In model.cc, for TensorFlow Lite Micro: aligned to 16. */",
        "extern const uint8_t cheep_model_data[];",
        "extern const size_t cheep_model_data_bytes;",
        "#ifdef __cplusplus",
        "}",
        "#endif",
    ]
    return guard("model.h", lines, _first(export))


def render_model_source(export: ExportModel) -> str:
    """Return ``model.cc``: the bytes of the flatbuffer."""
    data = export.bundle.model.data
    rows = ["    " + " ".join(f"0x{byte:02x}," for byte in data[i : i + 19]) for i in range(0, len(data), 19)]
    lines = [
        _first(export),
        "#include <generated/model.h>",
        "",
        f"static_assert(CHEEP_MODEL_ID == 0x{export.model_id:08x}u,",
        '              "model.cc and model.h are of different models: run python src/model_convert.py");',
        "",
        "alignas(16) const uint8_t cheep_model_data[] = {",
        *rows,
        "};",
        "",
        "const size_t cheep_model_data_bytes = sizeof cheep_model_data;",
        "",
        "static_assert(sizeof cheep_model_data == CHEEP_MODEL_BYTES,",
        '              "model.cc is cut off: run python src/model_convert.py");',
        "",
    ]
    return "\n".join(lines)


def render_detector_settings(export: ExportModel) -> str:
    """Return ``detector_settings.h``: thresholds as integer sums, smoothing, hold-off, stride."""
    detector, labels = export.detector, export.bundle.labels
    sums = threshold_sums(detector, len(labels), export.bundle.scale)
    written = detector.threshold if len(detector.threshold) == len(labels) else detector.threshold * len(labels)
    notes = [
        f"/*   {comment(label)}: {'never an event' if value is None else _threshold(value)} */"
        for label, value in zip(labels, written, strict=True)
    ]
    lines = [
        f"#define CHEEP_DETECTOR_MODEL_ID 0x{export.model_id:08x}u",
        f"#define CHEEP_DETECTOR_CLASSES {len(labels)}",
        f"#define CHEEP_DETECTOR_STRIDE_FRAMES {detector.stride_frames}",
        f"#define CHEEP_DETECTOR_SMOOTHING {detector.smoothing_windows}",
        f"#define CHEEP_DETECTOR_MIN_WINDOWS {detector.min_windows}",
        f"#define CHEEP_DETECTOR_HOLD_OFF {detector.hold_off_windows}",
        "",
        "/* What the scores are (cheep_scores.h), and how far below its threshold a class goes off. */",
        f"#define CHEEP_DETECTOR_SCORES CHEEP_SCORES_{export.bundle.scale.kind.upper()}",
        f"#define CHEEP_DETECTOR_HYSTERESIS {float(detector.hysteresis)!r}",
        "",
        "/* {on_sum, off_sum} of each class: sums over the smoothing window",
        f" * of {_UNITS[export.bundle.scale.kind]}. */",
        *notes,
        table("CHEEP_DETECTOR_THRESHOLDS", (f"{{ {on}, {off} }}" for on, off in sums)),
        *_gate_lines(export),
        *_verify_lines(export),
    ]
    return guard("detector_settings.h", lines, _first(export))


def _gate_lines(export: ExportModel) -> list[str]:
    gate = export.detector.gate
    if gate is None:
        return []
    return [
        "",
        f"/* The network rests on windows that stay within {gate.margin:g} steps of their floors (cheep_gate.h). */",
        f"#define CHEEP_DETECTOR_GATE_ON_SUM {on_sum(gate, export.features.window_frames)}",
        f"#define CHEEP_DETECTOR_GATE_FIRST_BAND {gate.first_band}u",
        f"#define CHEEP_DETECTOR_GATE_FLOOR_SHIFT {gate.floor_shift}u",
        f"#define CHEEP_DETECTOR_GATE_HOLD {gate.hold_windows}u",
        table("CHEEP_DETECTOR_GATE_IDLE", map(str, gate.idle)),
    ]


def _verify_lines(export: ExportModel) -> list[str]:
    if export.verifier is None:
        return []
    return [
        "",
        "/* A second network looks at what this one lets through (verify.h): first 32 bits of its sha256. */",
        f"#define CHEEP_DETECTOR_VERIFY_ID 0x{export.verifier.model_id:08x}u",
    ]


_UNITS = {
    "probability": "int8 scores",
    "logit": "int8 scores, which are logits",
    "log_odds": "log-odds against all other classes, in 1/256",
}


def _threshold(value: float) -> str:
    return f"threshold {value:.9g} (logit {logit(value):.4g})"
