# SPDX-License-Identifier: MIT
"""Which settings the product reads: attribute accesses in src/cheep outside of cheep.config, by the class they are of.

A name such as ``epochs`` belongs to several sections; a chain that ends in it counts for a section only where it comes
through that section's name, or through a parameter or variable that is annotated (or known) to hold it.
"""

from __future__ import annotations

import ast
from pathlib import Path

from cheep.config import RunFile, Settings
from cheep.config.reader import section_of

SRC = Path(__file__).resolve().parents[2] / "src" / "cheep"


def settings_of(kind: type[Settings] = RunFile, prefix: str = "") -> dict[str, type[Settings]]:
    """Return the dotted name of every setting that is no section, and the class that holds it."""
    out = {}
    for name, field in kind.model_fields.items():
        inner = section_of(field.annotation)
        if inner is None:
            out[f"{prefix}{name}"] = kind
        else:
            out |= settings_of(inner, f"{prefix}{name}.")
    return out


def classes() -> dict[str, type[Settings]]:
    """Return every settings class of the run file, and what it is made of, by its name."""
    every = {base for kind in _all(RunFile) for base in kind.__mro__ if issubclass(base, Settings)} - {Settings}
    return {kind.__name__: kind for kind in every}


def _all(kind: type[Settings]):
    yield kind
    for field in kind.model_fields.values():
        inner = section_of(field.annotation)
        if inner is not None:
            yield from _all(inner)


def reads(folder: Path = SRC) -> set[tuple[str, str]]:
    """Return (class, setting) of everything that code outside of cheep.config reads."""
    known = classes()
    out: set[tuple[str, str]] = set()
    for path in sorted(folder.rglob("*.py")):
        if "config" in path.relative_to(folder).parts[:1]:
            continue
        out |= _reads_of(ast.parse(path.read_text(encoding="utf-8")), known)
    return out


class _Reader(ast.NodeVisitor):
    """Walks a module and keeps which names hold which settings, function by function."""

    def __init__(self, tree: ast.AST, known: dict[str, type[Settings]]):
        self.found: set[tuple[str, str]] = set()
        self._known = known
        self._held = _annotations(tree, known)  # attributes of classes: self.config, context.config
        self._names: dict[str, type[Settings]] = {}

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer = self._names
        self._names = {**outer, **_parameters(node, self._known)}
        self.generic_visit(node)
        self._names = outer

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        target, value = node.targets[0], node.value
        pairs = [(target, value)]
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = list(zip(target.elts, value.elts, strict=False))
        for one, other in pairs:
            kind = self._kind(other)
            if isinstance(one, ast.Name) and kind is not None:
                self._names[one.id] = kind

    def visit_Attribute(self, node: ast.Attribute) -> None:
        kind = self._kind(node.value)
        if kind is not None and node.attr in kind.model_fields and isinstance(node.ctx, ast.Load):
            self.found.add((kind.__name__, node.attr))
        self.generic_visit(node)

    def _kind(self, node: ast.expr) -> type[Settings] | None:
        """Return the settings class of an expression, where it can be told."""
        if isinstance(node, ast.Name):
            return self._names.get(node.id)
        if isinstance(node, ast.Attribute):
            outer = self._kind(node.value)
            if outer is None:
                return self._held.get(node.attr)
            field = outer.model_fields.get(node.attr)
            return section_of(field.annotation) if field is not None else None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return self._known.get(node.func.id)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "model_copy":
            return self._kind(node.func.value)
        return None


def _reads_of(tree: ast.AST, known: dict[str, type[Settings]]) -> set[tuple[str, str]]:
    reader = _Reader(tree, known)
    reader.visit(tree)
    return reader.found


def _annotations(tree: ast.AST, known: dict[str, type[Settings]]) -> dict[str, type[Settings]]:
    """Return attributes of classes that hold settings: annotated fields, properties, and ``self.x = parameter``."""
    found: dict[str, type[Settings]] = {}
    for cls in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        for item in cls.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                kind = _named(item.annotation, known)
                found |= {item.target.id: kind} if kind else {}
            if isinstance(item, ast.FunctionDef):
                kind = _named(item.returns, known) if item.returns else None
                found |= {item.name: kind} if kind else {}
                for node in ast.walk(item):
                    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
                        held = _parameters(item, known).get(getattr(node.value, "id", ""))
                        found |= {node.targets[0].attr: held} if held else {}
    return found


def _parameters(node: ast.AST, known: dict[str, type[Settings]]) -> dict[str, type[Settings]]:
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    kinds = {item.arg: _named(item.annotation, known) for item in every if item.annotation is not None}
    return {name: kind for name, kind in kinds.items() if kind is not None}


def _named(node: ast.AST, known: dict[str, type[Settings]]) -> type[Settings] | None:
    for part in ast.walk(node):
        name = part.id if isinstance(part, ast.Name) else part.value if isinstance(part, ast.Constant) else None
        if name in known:
            return known[name]
    return None
