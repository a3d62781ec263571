# SPDX-License-Identifier: MIT
"""Public functions that take or give arrays say what is in them."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]

DTYPE = re.compile(r"\b(u?int(8|16|32|64)?|integers?|float(16|32|64)?|complex(64|128)?|bool)\b")
SIZE = r"(\.\.\.|\*?\w+( ([-+*]|//) \w+)*)"  # n, bands + 1, 4 * n_mels, *input, ...
SHAPE = re.compile(rf"\({SIZE}(, {SIZE})+\)|\({SIZE},\)|\bshapes?\b")


def public_functions(tree):
    """Yield name, node and documentation of a module's functions and its classes' methods that a reader may call."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node, ast.get_docstring(node) or ""
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                    yield f"{node.name}.__init__", method, ast.get_docstring(node) or ""
                elif isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                    yield f"{node.name}.{method.name}", method, ast.get_docstring(method) or ""


def handles_arrays(function):
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    annotations = [*(argument.annotation for argument in arguments), function.returns]
    return any("ndarray" in ast.unparse(annotation) for annotation in annotations if annotation)


def undescribed(tree):
    """Return (line, name) of public functions with arrays whose docstring names no dtype or no shape."""
    return [
        (node.lineno, name)
        for name, node, text in public_functions(tree)
        if handles_arrays(node) and not (DTYPE.search(text) and SHAPE.search(text))
    ]


def test_docstrings_of_functions_with_arrays_name_dtype_and_shape():
    paths = sorted((ROOT / "src" / "cheep").rglob("*.py"))
    paths = [path for path in paths if path.name == "__init__.py" or not path.name.startswith("_")]
    assert len(paths) > 200
    lacking = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in paths
        for line, name in undescribed(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not lacking, "say dtype and shape, as in '``scores`` : (windows, labels) int8':\n" + "\n".join(lacking)
