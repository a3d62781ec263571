# SPDX-License-Identifier: MIT
"""The base of every settings class: frozen, strict about unknown keys, hashable by content."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from typing_extensions import Self

from cheep.errors import CheepError


def canonical_json(value: Any) -> str:
    """Return the one JSON text of ``value``: sorted keys, no spaces, shortest float form."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def nearest_name(name: str, names: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the valid name closest to ``name``, or an empty string."""
    close = difflib.get_close_matches(str(name), list(names), n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""


class Settings(BaseModel):
    """Frozen settings that refuse unknown keys.

    Build one with ``Class.parse(mapping, where)`` when the values come from a user
    (raises :class:`CheepError` that lists every problem), or with the constructor in code.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str = "settings") -> Self:
        """Validate ``values``; raise :class:`CheepError` naming every wrong key, its value and the rule."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            lines = [_problem(cls, item) for item in error.errors()]
            raise CheepError(f"{where}: " + "; ".join(lines)) from None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able values."""
        return self.model_dump(mode="json")

    def to_json(self) -> str:
        """Return the canonical JSON of these settings."""
        return canonical_json(self.to_dict())

    @property
    def sha256(self) -> str:
        """SHA-256 of the canonical JSON, hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @property
    def hash32(self) -> int:
        """First 32 bits of :attr:`sha256`: the ``#define`` of the generated headers."""
        return int(self.sha256[:8], 16)


_WORDS = {
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be a text",
    "tuple_type": "must be a list, such as [a, b]",
    "model_type": "must be a section: its settings go below it, indented",
    "model_attributes_type": "must be a section: its settings go below it, indented",
    "dict_type": "must be a section: its settings go below it, indented",
    "finite_number": "must be a finite number",
    "missing": "must have one value more",
}
_LIMITS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}


def rule_of(item: Mapping[str, Any], shown: Any) -> str:
    """Return what a finding of pydantic says, in our words; ``shown`` is the value as it was written."""
    kind, context = item["type"], item.get("ctx", {})
    if kind == "literal_error":
        expected = [part.strip().strip("'") for part in context["expected"].replace(" or ", ", ").split(",")]
        return f"must be one of {', '.join(expected)}{nearest_name(str(shown), expected)}"
    if kind in _LIMITS:
        word, key = _LIMITS[kind]
        return f"must be {word} {context[key]:g}"
    message = _WORDS.get(kind) or item["msg"].removeprefix("Value error, ")
    return f"{message[0].lower()}{message[1:]}"


def _problem(cls: type[BaseModel], item: Mapping[str, Any]) -> str:
    name = ".".join(str(part) for part in item["loc"]) or cls.__name__
    if item["type"] == "extra_forbidden":
        return f"{name}: unknown setting{nearest_name(str(item['loc'][-1]), cls.model_fields)}"
    if item["type"] == "missing":
        return f"{name}: missing"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        return message if "=" in message.split(":")[0] else f"{name}: {message}"
    return f"{name}={item['input']!r}: {rule_of(item, item['input'])}"
