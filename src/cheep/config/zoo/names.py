# SPDX-License-Identifier: MIT
"""Names and forms of the values in a zoo file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cheep.config.base import nearest_name
from cheep.config.zoo.generations import RENAMED
from cheep.config.zoo.tables import INNER, KNOWN, OPEN


def listed(value: Any) -> Any:
    """Return a list that is written as Python's tuple as a list; anything else as it is."""
    if isinstance(value, str) and value.startswith("(") and value.endswith(")"):
        return [int(part) if part.strip().isdigit() else part.strip() for part in value[1:-1].split(",")]
    return value


def words(value: Any) -> list[Any]:
    """Return a list of texts, also from one word or from numbers."""
    items = value if isinstance(value, list) else [value]
    return [str(item) if isinstance(item, int) and not isinstance(item, bool) else item for item in items]


def is_known(name: str) -> bool:
    """Tell whether a setting is one of the zoo's."""
    return name in KNOWN or name in INNER or any(name.startswith(f"{section}.") for section in OPEN)


def hint(name: str) -> str:
    """Say where an unknown setting may belong, or the nearest name."""
    section, _, last = name.rpartition(".")
    names = (*KNOWN, *RENAMED) if section in {theirs.rpartition(".")[0] for theirs in RENAMED} else KNOWN
    homes = [known.rpartition(".")[0] for known in KNOWN if known.rpartition(".")[2] == last]
    if homes:
        return f" (it belongs to section {homes[0]!r})"
    inside = [known.rpartition(".")[2] for known in names if known.rpartition(".")[0] == section]
    return nearest_name(last, inside) or f"; known here: {', '.join(inside)}"


def leaves(values: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    """Return (dotted name, value) of everything below; sections whose content is open count as one."""
    out: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = f"{prefix}.{key}"
        if isinstance(value, Mapping) and name not in OPEN:
            out += leaves(value, name)
        else:
            out.append((name, value))
    return out
