# SPDX-License-Identifier: MIT
"""The table of rooms in docs/architecture.md is the contract of pyproject.toml; what is imported exists."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "cheep").rglob("*.py"))


def contract():
    text = (ROOT / "pyproject.toml").read_text()
    layers = re.search(r"\nlayers = \[\n(.*?)\]", text, re.S)[1]
    return [set(re.split(r"\s*\|\s*", line)) for line in re.findall(r'"([^"]+)"', layers)]


def test_the_table_of_rooms_is_the_contract():
    table = (ROOT / "docs" / "architecture.md").read_text().split("## Rooms")[1].split("## Words")[0]
    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    rows = [set(re.findall(r"`cheep\.(\w+)`", cell)) for cell in cells]
    assert [*rows, {"__main__"}] == contract()[::-1]


def test_rooms_import_downward():
    lint = Path(sys.executable).with_name("lint-imports")
    if not lint.exists():
        pytest.skip("import-linter is not installed")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False,
                          env={"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"})  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_what_functions_import_exists():
    """An import inside a function is run late; a name that moved would be found by a user."""
    missing = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cheep"):
                found = importlib.util.find_spec(node.module)
                module = found and importlib.import_module(node.module)
                for alias in node.names:
                    if not found or not (
                        hasattr(module, alias.name) or importlib.util.find_spec(f"{node.module}.{alias.name}")
                    ):
                        missing.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.module}.{alias.name}")
    assert not missing


def test_no_module_imports_tensorflow_when_it_is_imported():
    names = [".".join(path.relative_to(ROOT / "src").with_suffix("").parts) for path in SOURCES]
    names = [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]
    program = f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\n"
    program += "print([m for m in ('tensorflow', 'torch', 'matplotlib', 'onnx') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True,
                          env={"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"})  # fmt: skip
    assert done.stdout.strip() == "[]"
