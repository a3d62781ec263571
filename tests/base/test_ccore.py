# SPDX-License-Identifier: MIT
"""Compiling the core: sanitizers and warnings, the mirrored structs, the cache, and what goes wrong."""

import ctypes
import shutil
import subprocess

import pytest

from cheep import ccore, resources
from cheep.detector import engine
from cheep.errors import CheepError
from cheep.features import frontend

ROOT = resources.firmware_root().parent
C_TESTS = ROOT / "tests" / "c"
SOURCES = [ROOT / "firmware/common/src" / f"cheep_{n}.c" for n in ("frontend", "fft", "columns", "detector", "scores")]
STRICT = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-ffp-contract=off"]
STRICT += [f"-I{resources.include_dir()}"]
SANITIZE = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def _compilers():
    found = [c for c in ("gcc", "clang") if shutil.which(c)]
    assert found, "neither gcc nor clang is installed: run 'make setup'"
    return found


def _run(arguments):
    result = subprocess.run([str(a) for a in arguments], check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_c_tests_pass_under_sanitizers(tmp_path):
    compiler = _compilers()[0]
    _run([compiler, *STRICT, *SANITIZE, C_TESTS / "test_core.c", *SOURCES, "-lm", "-o", tmp_path / "test_core"])
    assert "0 failures" in _run([tmp_path / "test_core"])


@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_no_warnings(tmp_path, level):
    for compiler in _compilers():
        for lanes in ([], ["-DCHEEP_LANES=4"]):
            for source in [*SOURCES, SOURCES[0].with_name("cheep_lanes.c")]:
                _run([compiler, *STRICT, level, *lanes, "-c", source, "-o", tmp_path / "out.o"])


def test_headers_stand_alone_in_c_and_cpp(tmp_path):
    for name in ("status", "frontend", "columns", "detector", "scores"):
        (tmp_path / "one.c").write_text(f'#include "cheep_{name}.h"\n#include "cheep_{name}.h"\nint one;\n')
        (tmp_path / "one.cc").write_text((tmp_path / "one.c").read_text())
        _run(["gcc", *STRICT, "-c", tmp_path / "one.c", "-o", tmp_path / "one.o"])
        _run(["g++", "-Wall", "-Wextra", "-Werror", f"-I{resources.include_dir()}", "-c", tmp_path / "one.cc",
              "-o", tmp_path / "one.o"])  # fmt: skip


def test_the_core_needs_no_library(tmp_path):
    """No libm, no allocation, no writable data: nothing undefined but memcpy, memset and their kin."""
    for source in SOURCES:
        _run(["gcc", *STRICT, "-O2", "-c", source, "-o", tmp_path / "out.o"])
        lines = _run(["nm", tmp_path / "out.o"]).splitlines()
        undefined = {line.split()[-1] for line in lines if " U " in line}
        assert {u for u in undefined if not u.startswith("cheep_")} <= {"memcpy", "memset", "memmove"}, source
        assert not [line for line in lines if line.split()[-2] in "DdBbC"], source


def test_python_structs_are_the_c_structs(tmp_path):
    pairs = {
        "cheep_frontend_spec": frontend.FrontendSpec,
        "cheep_frontend": frontend.FrontendState,
        "cheep_class_threshold": engine._Threshold,
        "cheep_detector_spec": engine._Spec,
        "cheep_event": engine._Event,
        "cheep_class_state": engine._ClassState,
        "cheep_detector": engine._Detector,
    }
    lines, expected = [], []
    for name, kind in pairs.items():
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        expected.append(f"{name} {ctypes.sizeof(kind)}")
        for field, *_ in kind._fields_:
            member = f"(({name} *)0)->{field}"
            lines.append(f'printf("{name}.{field} %zu %zu\\n", offsetof({name}, {field}), sizeof({member}));')
            expected.append(f"{name}.{field} {getattr(kind, field).offset} {getattr(kind, field).size}")
    includes = '#include <stddef.h>\n#include <stdio.h>\n#include "cheep_frontend.h"\n#include "cheep_detector.h"\n'
    (tmp_path / "layout.c").write_text(includes + "int main(void) {\n" + "\n".join(lines) + "\nreturn 0; }\n")
    _run(["gcc", *STRICT, tmp_path / "layout.c", "-o", tmp_path / "layout"])
    assert _run([tmp_path / "layout"]).splitlines() == expected


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """An empty cache directory, and no remembered compiler."""
    monkeypatch.setenv("CHEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)
    ccore.find_compiler.cache_clear()
    yield tmp_path
    ccore.find_compiler.cache_clear()


def test_cached_by_content(fresh):
    source, header = fresh / "f.c", fresh / "f.h"
    header.write_text("#define VALUE 3\n")
    source.write_text('#include "f.h"\nint f(void);\nint f(void) { return VALUE; }\n')
    first = ccore.compile_shared([source], [fresh], name="f")
    assert ctypes.CDLL(str(first)).f() == 3
    stamp = first.stat().st_mtime_ns
    assert ccore.compile_shared([source], [fresh], name="f") == first and first.stat().st_mtime_ns == stamp
    header.write_text("#define VALUE 4\n")
    second = ccore.compile_shared([source], [fresh], name="f")
    assert second != first and ctypes.CDLL(str(second)).f() == 4
    assert ccore.compile_shared([source], [fresh], ["-DOTHER"], name="f") not in (first, second)
    assert not list((fresh / "cache").glob("*.part"))


def test_a_compile_error_shows_the_compilers_text(fresh):
    (fresh / "bad.c").write_text("int f(void) { return missing; }\n")
    with pytest.raises(CheepError, match=r"(?s)bad: the C compiler failed.*missing"):
        ccore.compile_shared([fresh / "bad.c"], name="bad")
    assert not list((fresh / "cache").iterdir())


def test_no_compiler(fresh, monkeypatch):
    monkeypatch.setenv("PATH", str(fresh))
    monkeypatch.setattr(ccore.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CheepError, match=r"no C compiler found: .*apt-get install gcc"):
        ccore.find_compiler()


def test_cc_names_the_compiler(fresh, monkeypatch):
    monkeypatch.setenv("CC", "gcc -g")
    assert ccore.find_compiler() == ("gcc", "-g")
    ccore.find_compiler.cache_clear()
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(CheepError, match="CC=no-such-compiler: does not run"):
        ccore.find_compiler()


def test_missing_sources(monkeypatch, tmp_path):
    monkeypatch.setenv("CHEEP_FIRMWARE", str(tmp_path))
    with pytest.raises(CheepError, match=r"does not hold common/include/cheep_frontend\.h"):
        resources.firmware_root()
