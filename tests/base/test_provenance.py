# SPDX-License-Identifier: MIT
"""A cache's key covers the code that makes what is cached, and no other."""

import ast
import shutil
import time
from pathlib import Path

import pytest

import cheep
from cheep import provenance
from cheep.pipeline.cache import content_key
from cheep.provenance import code_digest, modules_of

PACKAGE = Path(cheep.__file__).parent
ROOM = "cheep.job.train"


def copy_of(tmp_path, change=None, text="\n# another comment\n"):
    """A copy of the package, in a folder of its own (what was read once is not read again), with one file changed."""
    package = tmp_path / f"{len(list(tmp_path.iterdir()))}" / "cheep"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    if change:
        path = package / change
        path.write_text(path.read_text() + text)
    return package


def test_another_module_in_the_chain_of_imports_is_another_key(tmp_path):
    before = code_digest(ROOM, package=copy_of(tmp_path))
    assert code_digest(ROOM, package=copy_of(tmp_path)) == before
    for used in ("job/train.py", "training/loop.py", "models/networks.py", "tf_runtime.py", "audio/__init__.py"):
        assert code_digest(ROOM, package=copy_of(tmp_path, used)) != before, used
    for other in ("commands/train.py", "live/view.py", "report/write.py"):
        assert code_digest(ROOM, package=copy_of(tmp_path, other)) == before, other


def test_imports_inside_functions_in_brackets_and_by_name_count(tmp_path):
    package = copy_of(tmp_path, "files.py", "\ndef f():\n    from cheep.live import (\n        view,\n    )\n")
    assert "cheep.live.view" in modules_of((ROOM,), package)[0]
    package = copy_of(tmp_path, "files.py", '\nJOB = "cheep.convert.worker:work"\n')
    assert "cheep.convert.worker" in modules_of((ROOM,), package)[0]


def test_every_import_that_python_sees_is_seen():
    """The quick search for imports finds all that the parser finds."""
    for path in PACKAGE.rglob("*.py"):
        expected = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                expected |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: a relative import"
                expected |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        seen = set(provenance._imports(path))  # the search itself is under test
        assert expected <= seen, path


def test_the_c_core_and_the_libraries_count(tmp_path, monkeypatch):
    firmware = tmp_path / "firmware"
    shutil.copytree(provenance.firmware_root(), firmware, ignore=shutil.ignore_patterns(".pio", "build"))
    monkeypatch.setattr(provenance, "firmware_root", lambda: firmware)
    digests = [code_digest("cheep.features.cache", package=copy_of(tmp_path))]
    other = tmp_path / "changed"
    shutil.copytree(firmware, other)
    core = other / "common" / "src" / "cheep_frontend.c"
    core.write_text(core.read_text() + "\n")
    monkeypatch.setattr(provenance, "firmware_root", lambda: other)
    digests.append(code_digest("cheep.features.cache", package=copy_of(tmp_path)))
    monkeypatch.setattr(provenance, "_version", lambda name: "99" if name == "numpy" else "1")
    digests.append(code_digest("cheep.features.cache", package=copy_of(tmp_path)))
    assert len(set(digests)) == 3


@pytest.mark.parametrize(
    ("module", "library"),
    [(ROOM, "tensorflow"), ("cheep.job.quantize", "tensorflow_model_optimization"), (ROOM, "numpy")],
)
def test_versions_that_decide_a_network_are_known(module, library):
    assert library in modules_of((module,))[1]
    assert provenance._version(library)


def test_the_step_s_name_inputs_and_code_are_the_key(monkeypatch):
    keys = {content_key(step, inputs, ROOM) for step in ("training", "data") for inputs in ([1], [2])}
    assert len(keys) == 4
    old = content_key("training", [1], ROOM)
    monkeypatch.setattr("cheep.pipeline.cache.code_digest", lambda *modules: "older code")
    assert content_key("training", [1], ROOM) != old


def test_the_digest_costs_little(tmp_path):
    package = copy_of(tmp_path)
    began = time.process_time()
    code_digest("cheep.pipeline.steps", package=package)
    assert time.process_time() - began < 0.25  # 0.03 to 0.05 s; a slow machine and Python's first regular expressions
