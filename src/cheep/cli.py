# SPDX-License-Identifier: MIT
"""The ``cheep`` command: one module of :mod:`cheep.commands` per subcommand."""

from __future__ import annotations

import argparse
import ast
import importlib
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from cheep import __version__
from cheep.commands import begin_progress, end_progress, working_on
from cheep.config.base import nearest_name
from cheep.errors import CheepError, disk_error_text

_FOLDER = Path(__file__).parent / "commands"
_INTERACTIVE = ("listen", "mic", "monitor", "test", "upload")  # they say all the time what they do


def command_names() -> dict[str, str]:
    """Return every subcommand (dashes for underscores) with the first line of its module's docstring."""
    names = {}
    for path in sorted(_FOLDER.glob("[!_]*.py")):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        if "def run(" in path.read_text(encoding="utf-8"):
            names[path.stem.replace("_", "-")] = text.splitlines()[0] if text else ""
    return names


def main(name: str | None = None, argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; return its exit status.

    Parameters
    ----------
    name : str, optional
        The subcommand (a script passes its own); default: the first argument.
    argv : sequence of str, optional
        Arguments; default ``sys.argv[1:]``.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    program = Path(sys.argv[0]).name
    if name is None:
        if not arguments or arguments[0] in ("-h", "--help"):
            print(_overview())
            return 0
        if arguments[0] == "--version":
            print(f"cheep {__version__}")
            return 0
        name, arguments, program = arguments[0], arguments[1:], f"cheep {arguments[0]}"
    name = name.replace("_", "-")
    if name not in command_names():
        print(f"cheep: {name}: no such command{nearest_name(name, command_names())}; see cheep --help", file=sys.stderr)
        return 2
    module = importlib.import_module(f"cheep.commands.{name.replace('-', '_')}")
    parser = argparse.ArgumentParser(
        prog=program, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    module.add_arguments(parser)
    parse = parser.parse_intermixed_args if getattr(module, "INTERMIXED", False) else parser.parse_args
    args = parse(arguments)
    args.typed = shlex.join(["cheep", name, *arguments])
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("cheep").setLevel(logging.INFO)  # libraries' chatter is no news to a user
    try:
        if name not in _INTERACTIVE:
            begin_progress(program)
        try:
            with working_on(args):
                return int(module.run(args) or 0)
        finally:
            end_progress()
    except CheepError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except OSError as error:  # a full disk, a missing permission, a file that vanished
        where = f"{error.filename}: " if error.filename else ""
        print(f"{program}: {where}{disk_error_text(error)}, then run again", file=sys.stderr)
        return 2


def _overview() -> str:
    lines = ["usage: cheep COMMAND [options]", "", "commands:"]
    names = command_names()
    width = max(map(len, names), default=0)
    lines += [f"  {name:<{width}}  {text}" for name, text in names.items()]
    return "\n".join([*lines, "", "cheep COMMAND --help tells more."])
