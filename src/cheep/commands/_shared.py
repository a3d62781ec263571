"""What several commands share: options that set fields of a settings class, progress, tables."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from cheep.config import Settings
from cheep.errors import CheepError

RECIPE_SECTIONS = ("features", "voices", "train", "augment", "qat")
_START = time.monotonic()


def add_run(parser: argparse.ArgumentParser) -> None:
    """Declare ``--run``."""
    parser.add_argument("--run", type=Path, metavar="RUN", help="run, by name or folder (default: runs/latest)")


def add_settings(parser: argparse.ArgumentParser, kind: type[Settings], title: str, skip: tuple[str, ...] = ()) -> None:
    """Declare one option per simple field of ``kind``; an option that is not given leaves the default."""
    group = parser.add_argument_group(title)
    for name, field in kind.model_fields.items():
        if name in skip or (field.annotation not in (int, float, str) and not _is_choice(field.annotation)):
            continue
        text = field.description or name.replace("_", " ")
        group.add_argument(
            f"--{name.replace('_', '-')}", dest=f"set_{name}", metavar="X", help=f"{text} ({field.default})"
        )


def settings_from(args: argparse.Namespace, kind: type[Settings], base: dict[str, Any] | None = None) -> Any:
    """Return ``kind`` with the options given on the command line (declared by :func:`add_settings`) over ``base``."""
    values = dict(base or {})
    for name, field in kind.model_fields.items():
        given = getattr(args, f"set_{name}", None)
        if given is not None:
            values[name] = _number(given) if field.annotation in (int, float) else given
    return kind.parse(values, "options")


def load_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping of a YAML file; CheepError names file and line of what is wrong."""
    import yaml

    if not path.is_file():
        raise CheepError(f"{path}: no such settings file; check --config")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CheepError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise CheepError(f"{path}: must hold settings as 'name: value' lines")
    return values


def load_recipe(path: Path) -> dict[str, dict[str, Any]]:
    """Return the sections of a recipe; those that the file leaves out are empty."""
    values = load_yaml(path)
    unknown = sorted(set(values) - set(RECIPE_SECTIONS))
    if unknown:
        *names, last = RECIPE_SECTIONS
        raise CheepError(f"{path}: section {unknown[0]!r}: must be {', '.join(names)} or {last}")
    for name, section in values.items():
        if not isinstance(section, dict | None):
            raise CheepError(f"{path}: section {name!r}: must hold settings as 'name: value' lines")
    return {name: dict(values.get(name) or {}) for name in RECIPE_SECTIONS}


def stage(text: str) -> None:
    """Print one line about a stage, with the seconds since the program started."""
    print(f"[{time.monotonic() - _START:6.1f} s] {text}", flush=True)


class Progress:
    """A counter that rewrites its line on a terminal and stays silent elsewhere."""

    def __init__(self, text: str):
        self._text, self._shown, self._begin = text, 0.0, time.monotonic()

    def __call__(self, done: int, total: int, extra: str = "") -> None:
        now = time.monotonic()
        if not sys.stderr.isatty() or (done < total and now - self._shown < 0.1):
            return
        self._shown = now
        left = (now - self._begin) / max(done, 1) * (total - done)
        end = "\n" if done >= total else ""
        print(f"\r{self._text} {done}/{total}, {left:.0f} s left {extra}\033[K", end=end, file=sys.stderr, flush=True)


def table(rows: list[list[str]]) -> str:
    """Return rows as aligned text; the first is the header, the first column is left-aligned."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(lines)


def metrics_table(metrics: dict[str, dict[str, Any]], split: str = "test") -> str:
    """Return the table of several models' metrics on one split."""
    rows = [["model", "window accuracy", "window ROC AUC", "clip accuracy", "clip ROC AUC"]]
    for name, by_split in metrics.items():
        values = by_split.get(split)
        if values:
            keys = ("window_accuracy", "window_auc", "clip_accuracy", "clip_auc")
            rows.append([name, *("-" if values[key] is None else f"{values[key]:.4f}" for key in keys)])
    return table(rows)


def _is_choice(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) is not None and "Literal" in str(annotation)


def _number(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text
