# SPDX-License-Identifier: MIT
"""Every option of every command says what it is for."""

import argparse
import importlib
import pkgutil

import pytest

import cheep.commands

COMMANDS = sorted(item.name for item in pkgutil.iter_modules(cheep.commands.__path__) if not item.name.startswith("_"))


def without_help(parser, name):
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield from without_help(below, f"{name} {word}")
        elif action.help is None:
            yield f"{name}: {'/'.join(action.option_strings) or action.dest}"
        else:
            assert parser.format_help()  # a lone % in a text ends here


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_help(command):
    module = importlib.import_module(f"cheep.commands.{command}")
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    assert list(without_help(parser, command)) == []
