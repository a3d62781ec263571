# SPDX-License-Identifier: MIT
"""The text of a configuration: YAML with the line of every key, ``key=value`` overrides, ``${...}`` references."""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from cheep.errors import CheepError

Loc = tuple[str | int, ...]
_REFERENCE = re.compile(r"\$\{([^${}]*)\}")
OVERRIDE = "override"


@dataclasses.dataclass(frozen=True)
class Override:
    """A value in place of the file's: ``place`` is ``section.key``; ``given_by`` stands where a line would."""

    place: str
    value: Any
    given_by: str = OVERRIDE


@dataclasses.dataclass
class Source:
    """Values with where they were written: ``lines[loc]`` is a line number, or ``"override"``.

    ``problems`` are (line, text) of what is wrong already at this stage. ``written`` are the places that a file gives
    other names than the settings have (ours -> the file's), ``shown`` what is written there. ``notes`` are (line, text)
    of what has no meaning here.
    """

    name: str
    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    lines: dict[Loc, int | str] = dataclasses.field(default_factory=dict)
    problems: list[tuple[int | str, str]] = dataclasses.field(default_factory=list)
    written: dict[Loc, Loc] = dataclasses.field(default_factory=dict)
    shown: dict[Loc, Any] = dataclasses.field(default_factory=dict)
    notes: list[tuple[int | str, str]] = dataclasses.field(default_factory=list)

    def as_written(self, loc: Loc) -> Loc:
        """Return ``loc`` under the name that the file has for it."""
        for end in range(len(loc), 0, -1):
            if loc[:end] in self.written:
                return (*self.written[loc[:end]], *loc[end:])
        return loc

    def name_of(self, loc: Loc) -> str:
        """Return ``section.key`` as the file has it."""
        return dotted(self.as_written(loc))

    def line(self, loc: Loc) -> int | str:
        """Return the line of ``loc``, or of the nearest enclosing key that was written; 1 where none was."""
        loc = self.as_written(loc)
        for end in range(len(loc), 0, -1):
            if loc[:end] in self.lines:
                return self.lines[loc[:end]]
        return 1


Overrides = Sequence["str | Override"]


class _Loader(yaml.SafeLoader):
    """YAML 1.1 of PyYAML, with numbers such as 1e-3 read as numbers."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"),
    list("-+0123456789."),
)


def read_source(path: Path, overrides: Overrides = (), now: datetime.datetime | None = None) -> Source:
    """Read a configuration file.

    Parameters
    ----------
    path : the YAML file
    overrides : ``section.key=value`` texts (the value is read as YAML) or :class:`Override`, applied last
    now : time for ``${now:%Y-...}`` (default: the present)

    Raises
    ------
    CheepError
        The file is missing, is no YAML (with line and column), or an override is no ``key=value``.
    """
    if not path.is_file():
        raise CheepError(f"{path}: no such run file; recipes/ holds some to start from")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CheepError(f"{path}: not UTF-8 text; save it as UTF-8") from None
    return parse_source(text, str(path), overrides, now)


def parse_source(text: str, name: str, overrides: Overrides = (), now: datetime.datetime | None = None) -> Source:
    """Parse the text of a configuration; see :func:`read_source`."""
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise CheepError(f"{name}: {_yaml_problem(error, text)}") from None
    source = Source(name)
    if root is not None:
        if not isinstance(root, yaml.MappingNode):
            raise CheepError(f"{name}: line 1: must hold sections such as 'train:' with indented 'name: value' lines")
        source.values = _value(root, (), source)
    for override in overrides:
        _apply(source, parse_override(override) if isinstance(override, str) else override)
    _resolve(source, source.values, (), now or datetime.datetime.now())
    return source


def _yaml_problem(error: yaml.YAMLError, text: str) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    if mark is None:
        return f"not valid YAML ({problem})"
    lines = text.splitlines()
    written = lines[mark.line] if mark.line < len(lines) else ""
    hint = "; indent with spaces, not tabs" if "\t" in written[: mark.column + 1] else ""
    return f"line {mark.line + 1}: not valid YAML: {problem}{hint}"


def _value(node: yaml.Node, loc: Loc, source: Source) -> Any:
    if isinstance(node, yaml.MappingNode):
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(_scalar(key_node))
            line = key_node.start_mark.line + 1
            place = (*loc, key)
            if key in out:
                first = source.lines[place]
                source.problems.append((line, f"{dotted(place)}: given twice (first in line {first}); keep one"))
                continue
            source.lines[place] = line
            out[key] = _value(value_node, place, source)
        return out
    if isinstance(node, yaml.SequenceNode):
        items = []
        for i, item in enumerate(node.value):
            place = (*loc, i)
            source.lines[place] = item.start_mark.line + 1
            items.append(_value(item, place, source))
        return items
    return _scalar(node)


def _scalar(node: yaml.Node) -> Any:
    loader = _Loader("")
    try:
        return loader.construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError):
        return str(node.value)
    finally:
        loader.dispose()


def parse_override(text: str) -> Override:
    """Return what ``section.key=value`` says; the value is read as YAML."""
    key, equals, written = text.partition("=")
    if not equals or not all(key.strip().split(".")):
        raise CheepError(f"{text}: must be key=value, such as train.epochs=5")
    try:
        node = yaml.compose(written, Loader=_Loader)
    except yaml.YAMLError:
        raise CheepError(f"{text}: the value is not valid YAML (quote it)") from None
    return Override(key.strip(), None if node is None else _value(node, (), Source("")))


def _apply(source: Source, override: Override) -> None:
    parts = override.place.split(".")
    place: Any = source.values
    for i, part in enumerate(parts[:-1]):
        if place.get(part) is None:
            place[part] = {}
            source.lines[tuple(parts[: i + 1])] = override.given_by
        place = place[part]
        if not isinstance(place, dict):
            raise CheepError(f"{override.place}: {'.'.join(parts[: i + 1])} holds a value, not a section")
    place[parts[-1]] = override.value
    source.lines[tuple(parts)] = override.given_by


def _resolve(source: Source, value: Any, loc: Loc, now: datetime.datetime) -> Any:
    if isinstance(value, dict):
        for key in value:
            value[key] = _resolve(source, value[key], (*loc, key), now)
        return value
    if isinstance(value, list):
        return [_resolve(source, item, (*loc, i), now) for i, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    for _ in range(10):
        match = _REFERENCE.search(value)
        if match is None:
            return value
        found = _lookup(source, match.group(1), loc, now)
        if found is None:
            return value
        if match.group(0) == value and not isinstance(found, str):
            return found
        value = value[: match.start()] + str(found) + value[match.end() :]
    source.problems.append((source.line(loc), f"{dotted(loc)}={value!r}: refers to itself; write the value"))
    return value


def _lookup(source: Source, name: str, loc: Loc, now: datetime.datetime) -> Any:
    if name.startswith("now:"):
        return now.strftime(name[4:])
    place: Any = source.values
    for part in name.split("."):
        place = place.get(part) if isinstance(place, dict) else None
    if place is None or isinstance(place, dict | list):
        source.problems.append(
            (
                source.line(loc),
                f"{dotted(loc)}: ${{{name}}} names no value; write ${{section.key}} or ${{now:%Y-%m-%d}}",
            )
        )
        return None
    return place


def dotted(loc: Loc) -> str:
    """Return ``section.key``."""
    return ".".join(str(part) for part in loc)
