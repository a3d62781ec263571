# SPDX-License-Identifier: MIT
"""``specs.json``: what a model takes and gives, in words and numbers, before and after conversion."""

from __future__ import annotations

import zlib
from typing import Any

from cheep import __version__
from cheep.convert.config import ConvertConfig
from cheep.tflite.model import read_model


def extended_specs(
    before: dict[str, Any],
    model: bytes,
    config: ConvertConfig,
    labels: tuple[str, ...],
    standardize: tuple[tuple[float, ...], tuple[float, ...]] | None,
    arena_bytes: int | None,
    file: str,
) -> dict[str, Any]:
    """Return ``before`` (the user's own keys stay) with what the conversion added.

    ``input.mean`` and ``input.std`` are what a device applies to raw numbers before quantizing them.
    """
    info = read_model(model)
    specs = dict(before)
    given = specs.get("input")
    specs["input"] = dict(given) if isinstance(given, dict) else {}
    if standardize is not None:
        specs["input"].setdefault("mean", list(standardize[0]))
        specs["input"].setdefault("std", list(standardize[1]))
    specs["labels"] = list(specs.get("labels") or labels)
    specs["conversion"] = {"cheep_version": __version__, **config.to_dict()}
    specs["model"] = {
        "file": file,
        "bytes": len(model),
        "sha256": info.sha256,
        "crc32": f"0x{zlib.crc32(model):08x}",
        "arena_bytes": arena_bytes,
        "operators": info.operators,
        "inputs": [tensor.to_dict() for tensor in info.inputs],
        "outputs": [tensor.to_dict() for tensor in info.outputs],
    }
    return specs
