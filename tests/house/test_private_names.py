# SPDX-License-Identifier: MIT
"""No module imports or accesses another module's private name: what others need has a public one."""

import ast
from pathlib import Path

import cheep

SOURCE = Path(cheep.__file__).parent.parent
ROOTS = (SOURCE / "cheep", SOURCE.parent / "scripts")


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def defined_in(tree):
    """Return the private names that a module gives: functions, classes, variables, attributes, fields."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.attr if isinstance(node, ast.Attribute) else node.id)
    return {name for name in names if is_private(name)}


def crossings(module, tree, ours):
    """Yield (line, what) of each private name of another module of ours that a module imports or accesses."""
    here = defined_in(tree)
    imported = {}  # local name -> what it stands for
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                imported[alias.asname or alias.name] = full
                parts = full.split(".")
                private = next((i for i, part in enumerate(parts) if is_private(part)), None)
                if private is not None and parts[0] == "cheep":
                    owner = ".".join(parts[:private])  # a package may use its own private modules
                    if not (SOURCE.joinpath(*parts[:private]).is_dir() and module.startswith(owner)):
                        yield node.lineno, f"from {node.module} import {alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ours:
            name = node.value.id if isinstance(node.value, ast.Name) else ""
            if imported.get(name, "").startswith("cheep") or node.attr not in here:
                yield node.lineno, ast.unparse(node)


def test_no_module_uses_another_module_s_private_name():
    paths = [path for root in ROOTS for path in sorted(root.rglob("*.py"))]
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}
    ours = set().union(*map(defined_in, trees.values()))
    assert len(paths) > 150 and "_int8" in ours
    found = []
    for path, tree in trees.items():
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts) if path.is_relative_to(SOURCE) else path.stem
        where = path.relative_to(SOURCE.parent)
        found += [f"{where}:{line}: {what}" for line, what in crossings(module, tree, ours)]
    assert not found, "\n".join(found)


def test_what_crosses_is_found():
    code = """
from cheep.commands import _shared
from cheep.commands._shared import table
from cheep.convert.tflite import _int8
from cheep.convert import tflite
from cheep.tf_runtime import import_tf
tflite._converter(1)
model._interpreter.invoke()
keras._history
self._mine = 1
other._mine
"""
    found = [line for line, _ in crossings("cheep.convert.x", ast.parse(code), {"_converter", "_interpreter", "_mine"})]
    assert found == [2, 3, 4, 7, 8]
    assert not list(crossings("cheep.commands.x", ast.parse("from cheep.commands._shared import table"), set()))
