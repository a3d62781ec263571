# SPDX-License-Identifier: MIT
"""Options that are settings: their names, units, defaults and rules come from :mod:`cheep.config`."""

from __future__ import annotations

import argparse
import types
import typing
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from cheep.config import RunFile, Settings, load_run_file, parse_run_file
from cheep.config.source import Override
from cheep.errors import CheepError

_PREFIX = "set:"
_UNITS = {
    "hz": "HZ", "s": "S", "db": "DB", "samples": "SAMPLES", "frames": "COLUMNS", "epochs": "EPOCHS", "bytes": "BYTES",
    "gib": "GIB",
}  # fmt: skip


def add_config(parser: argparse.ArgumentParser) -> None:
    """Declare ``--config``."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="run file, such as recipes/bird.yaml")


def add_settings(
    parser: argparse.ArgumentParser, kind: type[Settings], title: str, section: str = "", skip: tuple[str, ...] = ()
) -> None:
    """Declare one option per simple field of ``kind``, the settings of ``section`` of the run file."""
    group = parser.add_argument_group(title)
    for name, field in kind.model_fields.items():
        if name not in skip and _shape(field.annotation) is not None:
            off = field.annotation is bool and field.default is True
            option = f"--{'no-' if off else ''}{name.replace('_', '-')}"
            _add(group, option, kind, name, f"{section}.{name}".lstrip("."), off=off)


def add_setting(
    parser: Any, option: str | tuple[str, ...], place: str, kind: type[BaseModel] = RunFile, **more: Any
) -> None:
    """Declare ``option`` (or its forms) for one setting of the run file, such as ``data.windows.window_s``.

    ``more`` goes to ``add_argument``: a help text or a metavar of its own, or ``off=True`` for an option that switches
    a setting off (``--no-selection``).
    """
    *sections, name = place.split(".")
    for section in sections:
        inner = _section(kind.model_fields[section].annotation)
        if inner is None:
            raise TypeError(f"{place}: {section} is no section")
        kind = inner
    _add(parser, option, kind, name, place, **more)


def overrides_of(args: argparse.Namespace) -> list[Override]:
    """Return the settings given as options."""
    out = []
    for key, (option, value) in sorted((k, v) for k, v in vars(args).items() if k.startswith(_PREFIX) and v):
        out.append(Override(key.removeprefix(_PREFIX), value, option))
    return out


def run_file_of(args: argparse.Namespace, kept: Path | None = None) -> RunFile:
    """Return the settings of ``--config``, else of the file ``kept`` where it exists, with options over them."""
    given = getattr(args, "config", None)
    overrides = overrides_of(args)
    if given is not None:
        return load_run_file(given, overrides)
    if kept is not None and kept.is_file():
        return load_run_file(kept, overrides)
    return parse_run_file("", "options", overrides)


def settings_from(args: argparse.Namespace, kind: type[Settings]) -> Any:
    """Return settings that are no part of the run file, with the options given (:func:`add_settings`)."""
    return kind.parse({item.place: item.value for item in overrides_of(args)}, "options")


def _add(parser: Any, option: str | tuple[str, ...], kind: type[BaseModel], name: str, place: str, **more: Any) -> None:
    field = kind.model_fields[name]
    shape = _shape(field.annotation)
    if shape is None:
        raise TypeError(f"{place}: cannot be an option")
    default = field.get_default(call_default_factory=True)
    off = more.pop("off", False)
    text = more.pop("help", None) or field.description or name.replace("_", " ")
    if shape is not bool:
        shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
        text = f"{text} (default: {'none' if shown in (None, '') else shown})".replace("%", "%%")
        words = _choices(field.annotation)
        more.setdefault("metavar", "|".join(words) if words else _UNITS.get(name.rpartition("_")[2], "X"))
    kwargs: dict[str, Any] = {"dest": _PREFIX + place, "help": text, "action": _Store, "shape": shape, **more}
    if shape is bool:
        kwargs |= {"nargs": 0, "const": not off}
    elif shape is tuple:
        kwargs["nargs"] = "+"
    parser.add_argument(*((option,) if isinstance(option, str) else option), **kwargs)


class _Store(argparse.Action):
    """Keep (option as typed, value) of a setting."""

    def __init__(self, *args: Any, shape: type = str, **kwargs: Any):
        self._shape = shape
        super().__init__(*args, **kwargs)

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        if self._shape is bool:
            value: Any = self.const
        elif self._shape is tuple:
            value = list(values)
        elif self._shape is float:
            value = number_of(values)
        else:
            value = values
        setattr(namespace, self.dest, (option_string, value))


def number_of(text: str) -> Any:
    """Return the number that a text is, None for ``none``, else the text itself (its reader says what is wrong)."""
    if text.lower() in ("none", "null"):
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def pairs_of(texts: list[str], option: str) -> dict[str, str]:
    """Return ``NAME=VALUE`` texts as a dictionary."""
    out = {}
    for text in texts:
        # a label may hold "=": the last one counts
        name, equals, value = text.rpartition("=") if option == "--rename" else text.partition("=")
        if not equals or not name or not value:
            raise CheepError(f"{option} {text}: must look like NAME=VALUE")
        out[name] = value
    return out


def _shape(annotation: Any) -> type | None:
    """Return how a field is typed on a command line: bool, float (numbers), str, tuple (words); None: not at all."""
    parts = [part for part in typing.get_args(annotation) if part is not types.NoneType]
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _shape(parts[0])
    if origin in (typing.Union, types.UnionType):
        return _shape(parts[0]) if len(parts) == 1 else None
    if origin is typing.Literal or annotation is str:
        return str
    if origin is tuple:
        return tuple if parts and _shape(parts[0]) is str and parts[-1] is ... else None
    if annotation is bool:
        return bool
    return float if annotation in (int, float) else None


def _choices(annotation: Any) -> tuple[str, ...]:
    return typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal else ()


def _section(annotation: Any) -> type[BaseModel] | None:
    from cheep.config.reader import section_of

    return section_of(annotation)
