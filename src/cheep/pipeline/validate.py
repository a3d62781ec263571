"""All errors of a configuration at once, each with its line, the value, the rule and the nearest valid name."""

from __future__ import annotations

import dataclasses
import datetime
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from cheep.config.base import nearest_name
from cheep.errors import CheepError
from cheep.pipeline.checks import Checker
from cheep.pipeline.schema import PipelineConfig
from cheep.pipeline.source import Loc, Source, parse_source, read_source


@dataclasses.dataclass(frozen=True, order=True)
class Problem:
    """One error: ``line`` is where to look (a number, or "override")."""

    position: tuple[int, int]
    line: int | str
    text: str

    def __str__(self) -> str:
        return f"{'line ' if isinstance(self.line, int) else ''}{self.line}: {self.text}"


def load_config(path: Path, overrides: Sequence[str] = (), now: datetime.datetime | None = None) -> PipelineConfig:
    """Read and check a configuration file.

    Raises
    ------
    CheepError
        With every problem of the file, one per line.
    """
    return check_source(read_source(path, overrides, now), base=Path())


def parse_config(text: str, name: str = "config.yaml", overrides: Sequence[str] = ()) -> PipelineConfig:
    """The same from a text."""
    return check_source(parse_source(text, name, overrides), base=Path())


def check_source(source: Source, base: Path) -> PipelineConfig:
    """Return the settings of a parsed file, or raise with all its problems."""
    problems = [_problem(source, (), text, line) for line, text in source.problems]
    config, bad = _validate(source, problems)
    for loc, text in Checker(config, base, bad).run():
        problems.append(_problem(source, loc, text))
    if problems:
        lines = [str(problem) for problem in sorted(set(problems))]
        count = "1 error" if len(lines) == 1 else f"{len(lines)} errors"
        raise CheepError(f"{source.name}: {count}; nothing was run\n  " + "\n  ".join(lines))
    return config


def _problem(source: Source, loc: Loc, text: str, line: int | str | None = None) -> Problem:
    line = source.line(loc) if line is None else line
    return Problem((0, line) if isinstance(line, int) else (1, 0), line, text)


def _validate(source: Source, problems: list[Problem]) -> tuple[PipelineConfig, set[Loc]]:
    """Validate; note problems; return settings without what is wrong, so that the rest can be checked as well."""
    values: Any = _without_empty_sections(source.values)
    bad: set[Loc] = set()
    for _ in range(10):
        try:
            return PipelineConfig.model_validate(values), bad
        except ValidationError as error:
            before = len(bad)
            for item in error.errors():
                loc = _written(tuple(item["loc"]), source.values)
                if loc in bad:
                    continue
                bad.add(loc)
                problems.append(_problem(source, loc, _message(loc, item)))
            values = _without(values, bad)
            if len(bad) == before:
                break
    return PipelineConfig(), bad


def _message(loc: Loc, item: Any) -> str:
    name = ".".join(map(str, loc))
    kind, value = item["type"], item["input"]
    if kind == "extra_forbidden":
        valid = _fields_at(loc[:-1])
        elsewhere = [section for section in _sections() if str(loc[-1]) in _fields_at((section,))]
        if elsewhere:
            hint = f" (it belongs to section {elsewhere[0]!r})"
        else:
            hint = nearest_name(str(loc[-1]), valid) or f"; known here: {', '.join(valid)}"
        return f"{name}: unknown setting{hint}"
    context = item.get("ctx", {})
    if kind == "literal_error":
        expected = [part.strip().strip("'") for part in context["expected"].replace(" or ", ", ").split(",")]
        hint = nearest_name(str(value), expected)
        return f"{name}={_show(value)}: must be one of {', '.join(expected)}{hint}"
    words = {
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
    if kind in words:
        return f"{name}={_show(value)}: {words[kind]}"
    limits = {
        "greater_than": "above",
        "greater_than_equal": "at least",
        "less_than": "below",
        "less_than_equal": "at most",
    }
    if kind in limits:
        key = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}[kind]
        return f"{name}={_show(value)}: must be {limits[kind]} {context[key]:g}"
    message = item["msg"].removeprefix("Value error, ")
    return f"{name}={_show(value)}: {message[0].lower()}{message[1:]}"


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _sections() -> list[str]:
    return [name for name in PipelineConfig.model_fields if _fields_at((name,))]


def _fields_at(loc: Loc) -> list[str]:
    model: Any = PipelineConfig
    for part in loc:
        field = model.model_fields.get(str(part)) if model is not None else None
        model = _model_of(field.annotation) if field is not None else None
        if model is None:
            return []
    return list(model.model_fields)


def _model_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in typing.get_args(annotation):
        found = _model_of(part)
        if found is not None:
            return found
    return None


def _written(loc: Loc, values: Any) -> Loc:
    """Cut what pydantic adds to a location (union members) where the file has no such key."""
    out: list[str | int] = []
    place = values
    for part in loc:
        if isinstance(place, dict) and part not in place:
            break
        if isinstance(place, list) and not (isinstance(part, int) and part < len(place)):
            break
        if not isinstance(place, dict | list):
            break
        out.append(part)
        place = place[part]
    return tuple(out)


def _without_empty_sections(values: dict[str, Any]) -> dict[str, Any]:
    """A section whose lines are all comments reads as null: it counts as left out."""
    return {key: value for key, value in values.items() if value is not None}


def _without(values: Any, bad: set[Loc], loc: Loc = ()) -> Any:
    if isinstance(values, dict):
        return {key: _without(item, bad, (*loc, key)) for key, item in values.items() if (*loc, key) not in bad}
    if isinstance(values, list):
        return [_without(item, bad, (*loc, i)) for i, item in enumerate(values) if (*loc, i) not in bad]
    return values
