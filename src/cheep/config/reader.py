# SPDX-License-Identifier: MIT
"""Reading and writing run files: every error of a file at once, each with its line and the nearest valid name."""

from __future__ import annotations

import datetime
import functools
import logging
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from cheep.config.base import nearest_name, rule_of
from cheep.config.run_file import RunFile
from cheep.config.source import Loc, Overrides, Source, dotted, parse_source, read_source
from cheep.config.zoo import import_zoo, is_zoo
from cheep.errors import CheepError
from cheep.files import write_text

log = logging.getLogger(__name__)

#: Names that recipes have for parts of a section: theirs -> ours.
SHORT_FORMS: dict[str, tuple[str, str]] = {"augment": ("train", "augment"), "qat": ("quantize", "qat")}

Check = Callable[[RunFile], Iterable[tuple[Loc, str]]]
Problem = tuple[tuple[int, int], str]  # (where it stands, what is said)


def load_run_file(
    path: Path | str,
    overrides: Overrides = (),
    check: Check | None = None,
    now: datetime.datetime | None = None,
) -> RunFile:
    """Read a run file.

    Parameters
    ----------
    path : the YAML file
    overrides : ``section.key=value`` texts (the value is read as YAML) or :class:`Override`, applied last
    check : further rules, as (place, ``"=value: rule"``) of what breaks them; called with what is right of the file
    now : time for ``${now:%Y-...}`` (default: the present)

    Raises
    ------
    CheepError
        With every problem of the file, one per line.
    """
    return settings_of(read_source(Path(path), overrides, now), check)


def parse_run_file(text: str, name: str = "run.yaml", overrides: Overrides = (), check: Check | None = None) -> RunFile:
    """Read the text of a run file; see :func:`load_run_file`."""
    return settings_of(parse_source(text, name, overrides), check)


def settings_of(source: Source, check: Check | None = None) -> RunFile:
    """Return the settings of a parsed file, or raise with all its problems."""
    problems = [(_position(line), _at(line, text)) for line, text in source.problems]
    source = import_zoo(source) if is_zoo(source) else with_full_names(source)
    problems += [(_position(line), _at(line, text)) for line, text in source.problems]
    run_file, bad, found = _validate(source)
    problems += found
    if check is not None:
        for loc, text in check(run_file):
            if not any(loc[: len(wrong)] == wrong for wrong in bad):
                problems.append(_problem(source, loc, source.name_of(loc) + text))
    if problems:
        lines = [text for _, text in sorted(set(problems))]
        count = "1 error" if len(lines) == 1 else f"{len(lines)} errors"
        raise CheepError(f"{source.name}: {count}; nothing was run\n  " + "\n  ".join(lines))
    if source.notes:
        lines = [_at(line, text) for line, text in sorted(source.notes, key=lambda note: _position(note[0]))]
        _say_once(f"{source.name}: {len(lines)} settings have no meaning here:\n  " + "\n  ".join(lines))
    return run_file


@functools.lru_cache(maxsize=256)
def _say_once(text: str) -> None:
    log.info("%s", text)


def with_full_names(source: Source) -> Source:
    """Return ``source`` with the parts that recipes write beside their section inside it."""
    values, written = dict(source.values), dict(source.written)
    problems: list[tuple[int | str, str]] = []
    for short, (section, key) in SHORT_FORMS.items():
        if short not in values:
            continue
        part = values.pop(short)
        whole = values.get(section)
        if part is None or not isinstance(whole, Mapping | None):
            continue
        inner = (whole or {}).get(key)
        if isinstance(part, Mapping) and isinstance(inner, Mapping):
            merged = {**part, **inner}
            for name in part:
                long, beside = source.line((section, key, name)), source.line((short, name))
                if name not in inner or not isinstance(beside, int):  # an override goes over either
                    merged[name] = part[name]
                    written[(section, key, name)] = (short, name)
                elif isinstance(long, int):
                    problems.append((long, f"{section}.{key}.{name}: contradicts {short}.{name}; keep one of the two"))
            values[section] = {**(whole or {}), key: merged}
        else:
            values[section] = {**(whole or {}), key: part}
            written[(section, key)] = (short,)
    return Source(source.name, values, source.lines, problems, written)


def _validate(source: Source) -> tuple[RunFile, set[Loc], list[Problem]]:
    """Return the settings without what is wrong (so that the rest can be checked as well), where, and the problems."""
    values: Any = {key: value for key, value in source.values.items() if value is not None}  # all lines are comments
    bad: set[Loc] = set()
    said: set[Loc] = set()
    problems: list[Problem] = []
    for _ in range(10):
        try:
            return RunFile.model_validate(values), bad, problems
        except ValidationError as error:
            before = len(bad)
            for item in error.errors():
                loc = _present(tuple(item["loc"]), source.values)
                loc, text = _message(source, loc, item)
                known = source.as_written(loc) in said or (problems and source.as_written(loc) not in source.lines)
                if not known:  # what follows from what is said, or from a default in its place, is no news
                    problems.append(_problem(source, loc, text))
                bad.add(loc)
                said.add(source.as_written(loc))
            values = _without(values, bad)
            if len(bad) == before:
                break
    return RunFile(), bad, problems


def _problem(source: Source, loc: Loc, text: str) -> Problem:
    line = source.line(loc)
    return _position(line), _at(line, text)


def _position(line: int | str) -> tuple[int, int]:
    return (0, line) if isinstance(line, int) else (1, 0)


def _at(line: int | str, text: str) -> str:
    return f"line {line}: {text}" if isinstance(line, int) else f"{line}: {text}"


def _message(source: Source, loc: Loc, item: Any) -> tuple[Loc, str]:
    """Return where a finding of pydantic belongs, and what it says in our words."""
    kind, value = item["type"], item["input"]
    message = item["msg"].removeprefix("Value error, ")
    if kind == "value_error":  # a rule between settings: it names the one to change, relative to its section
        rule = re.match(r"([a-z_.]+)(=[^:]*)?(: .*)", message, re.DOTALL)
        inner = (*loc, *rule[1].split(".")) if rule else ()
        if rule and inner[-1] in _fields_at(inner[:-1]):
            shown = f"={_show(source.shown[inner])}" if rule[2] and inner in source.shown else rule[2] or ""
            return inner, f"{source.name_of(inner)}{shown}{_in_its_words(source, inner[:-1], rule[3])}"
    name, value = source.name_of(loc), source.shown.get(loc, value)
    if kind == "extra_forbidden":
        return loc, f"{name}: unknown setting{_hint(loc)}"
    return loc, f"{name}={_show(value)}: {rule_of(item, value)}"


def _in_its_words(source: Source, section: Loc, text: str) -> str:
    """Return a rule with the names that the file has for our settings (``name=value`` in the text)."""

    def renamed(match: re.Match[str]) -> str:
        own = tuple(match[1].split(".")) if "." in match[1] else (*section, match[1])
        return dotted(source.written[own]) if own in source.written else match[1]

    return re.sub(r"\b([a-z_.]+)(?==)", renamed, text)


def _hint(loc: Loc) -> str:
    """Say where an unknown setting may belong: the section that has it, the nearest name, or all names."""
    valid = _fields_at(loc[:-1])
    if len(loc) == 1:
        valid = [*valid, *SHORT_FORMS]
    name = str(loc[-1])
    homes = [dotted for dotted in _places() if dotted.rpartition(".")[2] == name]
    if homes:
        section = homes[0].rpartition(".")[0]
        return f" (it belongs to section {section!r})" if section else ""
    return nearest_name(name, valid) or f"; known here: {', '.join(valid)}"


def _show(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _places(kind: type[BaseModel] = RunFile, prefix: str = "") -> list[str]:
    """Return the dotted name of every setting; outer ones first."""
    own, inner = [], []
    for name, field in kind.model_fields.items():
        section = section_of(field.annotation)
        own.append(f"{prefix}{name}")
        if section is not None:
            inner += _places(section, f"{prefix}{name}.")
    return sorted([*own, *inner], key=lambda name: name.count("."))


def _fields_at(loc: Loc) -> list[str]:
    model: type[BaseModel] | None = RunFile
    for part in loc:
        field = model.model_fields.get(str(part)) if model is not None else None
        model = section_of(field.annotation) if field is not None else None
        if model is None:
            return []
    return list(model.model_fields) if model is not None else []


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the settings class that a field holds (also as ``X | None``), if it holds one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in typing.get_args(annotation):
        found = section_of(part)
        if found is not None:
            return found
    return None


def _present(loc: Loc, values: Any) -> Loc:
    """Cut what pydantic adds to a location (union members) where the file has no such key."""
    out: list[str | int] = []
    place: Any = values
    for part in loc:
        numbered = isinstance(place, list) and isinstance(part, int) and part < len(place)
        if not (numbered or (isinstance(place, dict) and part in place)):
            break
        out.append(part)
        place = place[part]
    return tuple(out)


def _without(values: Any, bad: set[Loc], loc: Loc = ()) -> Any:
    if isinstance(values, dict):
        return {key: _without(item, bad, (*loc, key)) for key, item in values.items() if (*loc, key) not in bad}
    if isinstance(values, list):
        return [_without(item, bad, (*loc, i)) for i, item in enumerate(values) if (*loc, i) not in bad]
    return values


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a run file, for editors."""
    schema = RunFile.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Cheep run file"
    for short, (section, key) in SHORT_FORMS.items():
        kind = section_of(RunFile.model_fields[section].annotation)
        inner = section_of(kind.model_fields[key].annotation) if kind else None
        if inner is not None:
            schema["properties"][short] = {"$ref": f"#/$defs/{inner.__name__}", "description": f"{section}.{key}"}
    return schema


# -- writing ---------------------------------------------------------------------------------


def render_run_file(run_file: RunFile, comment: str = "") -> str:
    """Return the text of a run file that holds every setting, each with what it means.

    Parameters
    ----------
    comment : text for the head of the file; its lines become comments
    """
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    for name, field in RunFile.model_fields.items():
        value = run_file.to_dict()[name]
        if value is not None:
            lines += _rendered(name, value, section_of(field.annotation), "")
    return "\n".join(lines) + "\n"


def save_run_file(path: Path | str, run_file: RunFile, comment: str = "") -> None:
    """Write a run file, whole or not at all; :func:`load_run_file` reads the same settings back."""
    write_text(path, render_run_file(run_file, comment))


def _rendered(name: str, value: Any, kind: type[BaseModel] | None, indent: str) -> list[str]:
    import yaml

    if kind is None or value is None:
        text = yaml.safe_dump(value, default_flow_style=True, width=10**6)
        return [f"{indent}{name}: {text.removesuffix('...' + chr(10)).strip()}"]
    lines = [f"{indent}{name}:"]
    for key, field in kind.model_fields.items():
        if key not in value:  # left alone, and not written (FeatureConfig)
            continue
        if value[key] is None and section_of(field.annotation) is not None:
            continue  # a section that is left out
        inner = _rendered(key, value[key], section_of(field.annotation), indent + "  ")
        if field.description:
            inner[0] = f"{inner[0]}  # {field.description}"
        lines += inner
    return lines
