# SPDX-License-Identifier: MIT
"""The head as files: C headers for the firmware, ``hdc.json`` for everyone else. Pure functions of the model."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cheep.errors import CheepError
from cheep.export.ctext import guard, mark, string, table
from cheep.hdc.config import FORMS, PROJECTIONS, HdcConfig
from cheep.hdc.core import CoreHdc, prototype_words
from cheep.hdc.model import HdcModel, HdcScaling
from cheep.hdc.projection import lane_decode, unpack_bits

TOOL = "cheep hdc export"
PROJECTION_HEADER = "cheep_hdc_projection.h"
PROTOTYPES_HEADER = "cheep_hdc_prototypes.h"
METADATA = "hdc.json"

# Where each part belongs, by what the board has. Read from flash: each word once per classification, in order.
# State (query, scratch, sums of learned classes): read and written at random, never behind the AudioMoth's 8-bit bus.
PLACEMENT: dict[str, dict[str, str]] = {
    "audiomoth": {"matrix": "seed", "prototypes": "flash", "state": "internal_ram", "storage": "sd_card"},
    "esp32": {"matrix": "flash", "prototypes": "internal_ram", "state": "internal_ram", "storage": "flash_partition"},
    "esp32s3": {"matrix": "psram", "prototypes": "internal_ram", "state": "internal_ram", "storage": "flash_partition"},
    "cortex-m4": {"matrix": "flash", "prototypes": "flash", "state": "internal_ram", "storage": "host_file"},
}


def render_projection(model: HdcModel, feature_hash: int, with_table: bool = False) -> str:
    """Return ``cheep_hdc_projection.h``: normalization, and the projection as a seed or as a table.

    Parameters
    ----------
    model : HdcModel
        The trained head.
    feature_hash : int
        Of the feature settings that the extractor was trained with.
    with_table : bool
        True: print the table, which a Gaussian projection needs to be fast.
    """
    config, scaling = model.config, model.scaling
    with_table = with_table or model.matrix is not None
    words = model.table() if with_table else np.zeros(0, np.uint32)
    size = f"{4 * len(words)} bytes" if with_table else "made from the seed, no table"
    lines = [
        f"/* {model.n_dims} -> {config.hyper}, {config.projection}: {size}. */",
        f"#define CHEEP_HDC_PROJECTION_ID 0x{model.id32:08x}u",
        f"#define CHEEP_HDC_FEATURE_HASH 0x{feature_hash:08x}u",
        f"#define CHEEP_HDC_EXTRACTOR_ID 0x{int(model.extractor_sha256[:8] or '0', 16):08x}u",
        f"#define CHEEP_HDC_DIMS {model.n_dims}",
        f"#define CHEEP_HDC_HYPER {config.hyper}",
        f"#define CHEEP_HDC_PROJECTION {PROJECTIONS.index(config.projection)}",
        f"#define CHEEP_HDC_SEED 0x{config.seed:08x}u",
        f"#define CHEEP_HDC_GAIN_SHIFT {scaling.gain_shift}",
        f"#define CHEEP_HDC_SHIFT {scaling.shift}",
        f"#define CHEEP_HDC_MATRIX_WORDS {len(words)}",
        "",
        "/* Normalization of the embedding: center in 1/16 of a step, gain. */",
        table("CHEEP_HDC_CENTER", map(str, scaling.center.tolist())),
        table("CHEEP_HDC_GAIN", map(str, scaling.gain.tolist())),
    ]
    if with_table:
        lines += ["", "/* See cheep_hdc.h for the coding. */", table("CHEEP_HDC_MATRIX", _hex(words))]
    return guard(PROJECTION_HEADER, lines, mark(TOOL, model.extractor_sha256, feature_hash))


def render_prototypes(model: HdcModel, feature_hash: int, n_slots: int) -> str:
    """Return ``cheep_hdc_prototypes.h``: the fixed classes, the threshold, and the memory for learned ones.

    Parameters
    ----------
    n_slots : int
        Classes that the device can learn.
    """
    config = model.config
    words = prototype_words(model)
    none = np.zeros((len(model.labels), 0, model.n_dims), np.int8)
    reminders = model.reminders if n_slots and model.reminders is not None else none
    lines = [
        f"/* {len(model.labels)} classes, {config.form}, {config.similarity}: {words.nbytes} bytes. */",
        f"#define CHEEP_HDC_PROTOTYPES_ID 0x{model.id32:08x}u",
        f"#define CHEEP_HDC_FORM {FORMS.index(config.form)}",
        f"#define CHEEP_HDC_SIMILARITY {1 if config.similarity == 'dot' else 0}",
        f"#define CHEEP_HDC_CLASSES {len(model.labels)}",
        f"#define CHEEP_HDC_SLOTS {n_slots}",
        f"#define CHEEP_HDC_REJECT {'INT32_MIN' if model.reject == -(2**31) else model.reject}",
        f"#define CHEEP_HDC_MEMORY_BYTES {CoreHdc(model, n_slots).memory_bytes}u "
        "/* cheep_hdc_memory_bytes() with 64-bit pointers: no board needs more */",
        "",
        table("CHEEP_HDC_LABELS", map(string, model.labels)),
        "",
        "/* Coded as cheep_hdc.h says, class after class. */",
        table("CHEEP_HDC_PROTOTYPES", _hex(words.reshape(-1))),
        f"#define CHEEP_HDC_REMINDERS_PER_CLASS {reminders.shape[1]}",
    ]
    if reminders.size:
        lines += ["", "/* Typical embeddings of each class, for cheep_hdc_rehearse. */"]
        lines += [table("CHEEP_HDC_REMINDERS", map(str, reminders.reshape(-1).tolist()))]
    return guard(PROTOTYPES_HEADER, lines, mark(TOOL, model.extractor_sha256, feature_hash))


def render_headers(model: HdcModel, feature_hash: int, n_slots: int, with_table: bool = False) -> dict[str, str]:
    """Return both headers by file name."""
    return {
        PROJECTION_HEADER: render_projection(model, feature_hash, with_table),
        PROTOTYPES_HEADER: render_prototypes(model, feature_hash, n_slots),
    }


def sizes(model: HdcModel, extractor_bytes: int, n_slots: int, with_table: bool) -> dict[str, int]:
    """Return bytes by part: ``extractor``, ``matrix``, ``prototypes``, ``scaling``, ``reminders`` (only where classes
    can be learned: ``n_slots``), their ``total``, and ``ram``."""
    matrix = model.table().nbytes if with_table or model.matrix is not None else 0
    parts = {
        "extractor": extractor_bytes,
        "matrix": matrix,
        "prototypes": prototype_words(model).nbytes,
        "scaling": 4 * model.n_dims,
        "reminders": model.reminders.nbytes if n_slots and model.reminders is not None else 0,
    }
    return {**parts, "total": sum(parts.values()), "ram": CoreHdc(model, n_slots).memory_bytes}


def metadata(
    model: HdcModel, extractor: Mapping[str, Any], feature_hash: int, n_slots: int, with_table: bool = False
) -> dict[str, Any]:
    """Return what ``hdc.json`` holds: everything that the head is, and its sizes and placement.

    Parameters
    ----------
    extractor : mapping
        ``file``, ``bytes`` and ``sha256`` of the extractor's ``.tflite``.
    """
    scaling = model.scaling
    core = CoreHdc(model, n_slots)
    return {
        "format": 1,
        "config": model.config.to_dict(),
        "labels": list(model.labels),
        "dimensions": {"embedding": model.n_dims, "hypervector": model.config.hyper},
        "extractor": dict(extractor),
        "feature_hash": f"0x{feature_hash:08x}",
        "id": f"0x{model.id32:08x}",
        "input": {"scale": model.input_scale, "zero_point": model.input_zero_point},
        "scaling": {
            "center": scaling.center.tolist(),
            "gain": scaling.gain.tolist(),
            "gain_shift": scaling.gain_shift,
            "shift": scaling.shift,
        },
        "score_unit": 1 if model.config.similarity == "dot" else 1 / 32768,
        "thresholds": {"reject": model.reject},
        "prototypes": base64.b64encode(prototype_words(model).astype("<u4").tobytes()).decode(),
        "reminders": None
        if model.reminders is None
        else base64.b64encode(np.ascontiguousarray(model.reminders, np.int8).tobytes()).decode(),
        "matrix": None if model.matrix is None else base64.b64encode(model.matrix.tobytes()).decode(),
        "learning": {"slots": n_slots, "record_bytes": core.record_bytes, "with_table": with_table},
        "bytes": sizes(model, int(extractor.get("bytes", 0)), n_slots, with_table),
        "placement": PLACEMENT,
    }


def model_from_metadata(values: Mapping[str, Any], where: str = METADATA) -> HdcModel:
    """Return the head that ``hdc.json`` describes.

    Raises
    ------
    CheepError
        Damaged or inconsistent content.
    """
    try:
        config = HdcConfig.parse(values["config"], where)
        scaling = HdcScaling(
            np.array(values["scaling"]["center"], np.int16),
            np.array(values["scaling"]["gain"], np.int16),
            int(values["scaling"]["shift"]),
            int(values["scaling"]["gain_shift"]),
        )
        words = np.frombuffer(base64.b64decode(values["prototypes"], validate=True), "<u4")
        words = words.reshape(len(values["labels"]), -1)
        model = HdcModel(
            config,
            scaling,
            unpack_bits(words) if config.form == "binary" else lane_decode(words),
            tuple(values["labels"]),
            int(values["thresholds"]["reject"]),
            values["extractor"]["sha256"],
            float(values["input"]["scale"]),
            int(values["input"]["zero_point"]),
            _reminders(values, len(scaling.center)),
            _matrix(values, config.hyper, len(scaling.center)),
        )
        expected = int(values["id"], 16)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CheepError(
            f"{where}: damaged ({type(error).__name__}: {error}); make it again with cheep hdc train"
        ) from None
    if model.id32 != expected:
        raise CheepError(f"{where}: its parts do not belong together; make it again with cheep hdc train")
    return model


def _reminders(values: Mapping[str, Any], n_dims: int) -> np.ndarray | None:
    if values["reminders"] is None:
        return None
    data = np.frombuffer(base64.b64decode(values["reminders"], validate=True), np.int8)
    return data.reshape(len(values["labels"]), -1, n_dims)


def _matrix(values: Mapping[str, Any], hyper: int, n_dims: int) -> np.ndarray | None:
    if not values.get("matrix"):
        return None
    return np.frombuffer(base64.b64decode(values["matrix"], validate=True), np.int8).reshape(hyper, n_dims)


def load_head(folder: Path) -> tuple[HdcModel, dict[str, Any]]:
    """Read ``hdc.json`` of a folder: the head, and all that the file says."""
    path = folder / METADATA
    if not path.is_file():
        raise CheepError(f"{path}: missing; make it with cheep hdc train")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheepError(f"{path}: damaged JSON ({error}); make it again with cheep hdc train") from None
    return model_from_metadata(values, str(path)), values


def _hex(words: Iterable[int]) -> list[str]:
    return [f"0x{int(w):08x}u" for w in words]
