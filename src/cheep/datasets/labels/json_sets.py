# SPDX-License-Identifier: MIT
"""Annotations in JSON: sets of xeno-canto, and AviaNZ's ``.data`` files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from cheep.datasets.labels.boxes import (
    NOTHING,
    PLACEHOLDER_SPECIES,
    UNKNOWN,
    Box,
    NoAnnotationsError,
    checked_box,
)
from cheep.datasets.numbers import number_field
from cheep.errors import CheepError

_SURE = 100  # AviaNZ: a person is certain


def parse_json(path: Path, text: str) -> dict[str, list[Box]]:
    """Read a xeno-canto annotation set (an object) or AviaNZ's segments (a list), by file name (``""``: none said).

    Raises
    ------
    CheepError
        No JSON, or a row that breaks the format, with its place.
    NoAnnotationsError
        JSON of something else.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        raise CheepError(f"{path}:{line}: not JSON: {getattr(error, 'msg', error)}") from None
    except RecursionError:
        raise CheepError(f"{path}:1: nested too deeply") from None
    if isinstance(data, list) and path.suffix.lower() == ".data":
        return {"": _of_avianz(path, data)}
    items = data.get("annotations") if isinstance(data, dict) else None
    if not isinstance(items, list):
        raise NoAnnotationsError(f"{path}:1: annotations: must be a list (a xeno-canto annotation set)")
    return _of_xeno_canto(path, items)


def _of_xeno_canto(path: Path, items: list[Any]) -> dict[str, list[Box]]:
    boxes: dict[str, list[Box]] = {}
    for number, item in enumerate(items):
        where = f"annotations[{number}]"
        if not isinstance(item, dict):
            raise CheepError(f"{path}:1: {where}: must be an object")
        start_s, end_s = (
            number_field(str(item.get(name)), path, 1, f"{where}.{name}") for name in ("start_time", "end_time")
        )
        low_hz, high_hz = (
            None if item.get(name) in (None, "") else number_field(str(item[name]), path, 1, f"{where}.{name}")
            for name in ("frequency_low", "frequency_high")
        )
        digits = re.sub(r"^XC", "", str(item.get("xc_nr") or ""), flags=re.IGNORECASE).strip()
        label = item.get("scientific_name")
        names = [label.strip()] if isinstance(label, str) and label.strip() else []
        if names and names[0].lower() in PLACEHOLDER_SPECIES:
            names = [UNKNOWN]
        box = checked_box(path, 1, start_s, end_s, names, low_hz, high_hz)
        boxes.setdefault(f"XC{digits}" if digits else "", []).append(box)
    return boxes


def _of_avianz(path: Path, items: list[Any]) -> list[Box]:
    """Return the boxes of AviaNZ's segments ``[start, end, low, high, [{species, certainty}, ...]]``.

    Frequencies of 0 say nothing. A certainty below 100 is a confidence; what nobody knows leaves its windows out.
    """
    boxes: list[Box] = []
    for number, item in enumerate(items):
        where = f"segment {number}"
        if isinstance(item, dict):  # who, and how long the recording is
            continue
        if not isinstance(item, list) or len(item) != 5 or not isinstance(item[4], list):
            raise CheepError(f"{path}:1: {where}: must be [start, end, low, high, [species...]] (AviaNZ 2 or later)")
        start, end, low, high = (
            number_field(str(value), path, 1, f"{where}.{name}")
            for name, value in zip(("start", "end", "low", "high"), item[:4], strict=True)
        )
        for said in item[4]:
            if not isinstance(said, dict) or not isinstance(said.get("species"), str):
                raise CheepError(f"{path}:1: {where}: every label must be an object with a species")
            sure = number_field(str(said.get("certainty", _SURE)), path, 1, f"{where}.certainty")
            score = None if sure >= _SURE else max(0.0, sure / _SURE)
            names = [said["species"].strip()]
            if names[0].lower() == "don't know":
                names, score = [UNKNOWN], None
            band = high > 0
            boxes.append(checked_box(path, 1, start, end, names, low if band else None, high if band else None, score))
    return boxes or [NOTHING]
