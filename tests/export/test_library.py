# SPDX-License-Identifier: MIT
"""A detector as an Arduino library and as an ESP-IDF component: whole, compiled, with the host's event lines."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from cheep.boards.host import HostApplication
from cheep.cli import main
from cheep.export import load_export
from tone_model import tones, write_tone_run

LICENSE = Path(__file__).parents[2] / "LICENSE"
# As far as our files use it.
ARDUINO = """
#pragma once
#include <stddef.h>
#include <stdint.h>
#define LED_BUILTIN 13
enum { LOW, HIGH, OUTPUT };
class Print { public: virtual size_t write(const uint8_t *data, size_t n) = 0; };
class Stream : public Print {
 public:
  void begin(unsigned long) {}
  void println(const char *) {}
  size_t write(const uint8_t *, size_t) override;
};
extern Stream Serial;
extern "C" unsigned long micros(void);
long random(long, long);
void yield(void);
void pinMode(int, int);
void digitalWrite(int, int);
"""
PDM = """
#pragma once
struct Microphone {
  void onReceive(void (*)()) {}
  int begin(int, int) { return 1; }
  int available() { return 0; }
  int read(void *, int) { return 0; }
};
extern Microphone PDM;
"""
PROGRAM = """
#include <Cheep.h>
#include <stdio.h>
Stream Serial;
size_t Stream::write(const uint8_t *data, size_t n) { return fwrite(data, 1, n, stdout); }
extern "C" unsigned long micros(void) { return 0; }
void yield(void) {}
static int started;
static void onEvent(const cheep_app_event &event) { started += event.ended ? 0 : 1; }
int main() {
  static CheepDetector cheep;
  static int16_t pcm[100];
  cheep.onEvent(onEvent);
  if (!cheep.begin(Serial)) return 1;
  while (fread(pcm, sizeof pcm[0], 100, stdin) == 100) {
    cheep.push(pcm, 100);
    while (cheep.poll() > 0) {
    }
  }
  fprintf(stderr, "%d\\n", started);
}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_tone_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def library(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("libraries") / "tones"
    assert main("export", ["--model", str(run), "--arduino", str(folder)]) == 0
    stub = folder.parent / "stub"
    stub.mkdir()
    (stub / "Arduino.h").write_text(ARDUINO)
    (stub / "PDM.h").write_text(PDM)
    return folder


def compiled(compiler, folder, target, flags, sources):
    command = [compiler, *flags, "-Wall", "-Wextra", "-Werror", f"-I{folder / 'src'}", f"-I{folder.parent / 'stub'}"]
    done = subprocess.run(
        [*command, *map(str, sources), "-o", str(target)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return target


def objects(folder, prefix, cpu, tmp_path):
    out = []
    for source in sorted((folder / "src").rglob("*.c*")):
        language = ("g++", "-std=gnu++17") if source.suffix == ".cpp" else ("gcc", "-std=gnu11")
        target = tmp_path / f"{source.stem}.o"
        flags = [language[1], *cpu, "-O2", "-c"]
        out.append(compiled(prefix + language[0], folder, target, flags, [source]))
    return out


CATEGORIES = (
    *("Display", "Communication", "Signal Input/Output", "Sensors", "Device Control", "Timing"),
    *("Data Storage", "Data Processing", "Other"),
)


def breaches(library):
    """What of Arduino's library specification (format 1.5, rev. 2.2) and of arduino-lint's rules a library breaks."""
    lines = (library / "library.properties").read_text(encoding="utf-8").splitlines()
    values = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    needed = ("name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures")
    known = {*needed, "email", "depends", "dot_a_linkage", "includes", "precompiled", "ldflags"}
    headers = values.get("includes", "").split(",")
    examples = [path for path in (library / "examples").rglob("*") if path.suffix in (".ino", ".pde")]
    keywords = [line.split("\t") for line in (library / "keywords.txt").read_text().splitlines()]
    rules = {
        "a line is KEY=VALUE": all("=" in line and line == line.strip() for line in lines),
        "no key twice": len(values) == len(lines),
        "the needed keys": all(values.get(key) for key in needed),
        "known keys": set(values) <= known,
        "name: its characters": re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]*", values["name"]),
        "name: 63 of them": len(values["name"]) <= 63,
        "name, maintainer: not Arduino's": not re.match("arduino", f"{values['name']}", re.IGNORECASE)
        and not re.match("arduino", values["maintainer"], re.IGNORECASE),
        "version: semver": re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[\w.-]+)?", values["version"]),
        "paragraph: does not repeat the sentence": not values["paragraph"].startswith(values["sentence"]),
        "category: one of nine": values["category"] in CATEGORIES,
        "url": re.fullmatch(r"https?://[\w./-]+", values["url"]),
        "includes: headers of src": all((library / "src" / header).is_file() for header in headers),
        "no utility folder beside src": not (library / "utility").exists(),
        "a sketch is named as its folder": examples and all(path.stem == path.parent.name for path in examples),
        "sketches end in .ino": all(path.suffix == ".ino" for path in examples),
        "no programs, links or hidden files": not any(
            path.is_symlink() or path.suffix == ".exe" or path.name.startswith(".") for path in library.rglob("*")
        ),
        "keywords: tabs, and Arduino's classes of them": all(
            len(line) == 2 and line[1] in ("KEYWORD1", "KEYWORD2", "KEYWORD3", "LITERAL1") for line in keywords
        ),
    }
    return [name for name, kept in rules.items() if not kept]


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("", "", []),
        ("category=Signal Input/Output", "category=Sound", ["category: one of nine"]),
        ("name=tones", "name=Arduino_tones", ["name, maintainer: not Arduino's"]),
        ("version=0", "version=v0", ["version: semver"]),
        ("paragraph=", "paragraph=Hears high, low. ", ["paragraph: does not repeat the sentence"]),
        ("includes=Cheep.h", "includes=Peep.h", ["includes: headers of src"]),
    ],
)
def test_the_library_keeps_to_the_written_specification(old, new, rule, library, tmp_path):
    copy = shutil.copytree(library, tmp_path / "tones")
    properties = copy / "library.properties"
    properties.write_text(properties.read_text().replace(old, new))
    assert breaches(copy) == rule


def test_a_name_that_arduino_refuses(run, tmp_path, capsys):
    for name in ("Arduino_Birds", "x" * 64):
        assert main("export", ["--model", str(run), "--arduino", str(tmp_path / "a"), "--name", name]) == 2
        assert "Arduino takes at most 63 characters" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_the_library_is_whole(library, run, capsys):
    lines = (library / "library.properties").read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines)
    assert values["sentence"] == "Hears high, low." and values["includes"] == "Cheep.h"
    assert (library / "LICENSE").read_text() == LICENSE.read_text()
    sketches = sorted(path.relative_to(library).as_posix() for path in library.rglob("*.ino"))
    assert sketches == ["examples/Listen/Listen.ino", "examples/SelfTest/SelfTest.ino"]
    assert main("export", ["--model", str(run), "--arduino", str(library), "--check"]) == 0
    damaged = library / "src" / "cheep_fft.c"
    text = damaged.read_text()
    damaged.write_text(text + "\n")
    assert main("export", ["--model", str(run), "--arduino", str(library), "--check"]) == 1
    assert f"cheep export --arduino {library}" in capsys.readouterr().err
    damaged.write_text(text)


def test_the_library_hears_what_the_host_hears(library, run, tmp_path):
    """With flags under which a compiler may fuse multiplications and additions, as Arduino's do."""
    (tmp_path / "main.cpp").write_text(PROGRAM)
    fuse = ["-ffp-contract=fast", *(["-mfma"] if "fma" in Path("/proc/cpuinfo").read_text() else [])]
    files = objects(library, "", fuse, tmp_path)
    flags = ["-std=gnu++17", "-O2", *fuse]
    program = compiled("g++", library, tmp_path / "program", flags, [tmp_path / "main.cpp", *files])
    pcm = tones([(1, 3, "high"), (5, 6, "low")], 10)
    found = subprocess.run([program], input=pcm.tobytes(), capture_output=True, check=True)
    application = HostApplication(load_export(run))
    expected = [line for line in application.run(pcm) if '"event"' in line]
    assert [line for line in found.stdout.decode().splitlines() if '"event"' in line] == expected
    assert len(expected) == 4 and found.stderr == b"2\n"
    without = re.sub(r"#pragma GCC.*|#pragma STDC.*", "", (library / "src" / "cheep_build.h").read_text())
    if len(fuse) > 1:  # the test sees it: without the pragma other bits come out, and the library refuses to start
        folder = tmp_path / "libraries" / "other"
        shutil.copytree(library, folder)
        shutil.copytree(library.parent / "stub", folder.parent / "stub")
        (folder / "src" / "cheep_build.h").write_text(without)
        other = compiled(
            "g++", folder, tmp_path / "other", flags, [tmp_path / "main.cpp", *objects(folder, "", fuse, tmp_path)]
        )
        refused = subprocess.run([other], input=b"", capture_output=True, check=False)
        assert refused.returncode == 1 and b'"stage":"frontend"' in refused.stdout


@pytest.mark.skipif(shutil.which("arm-none-eabi-g++") is None, reason="gcc-arm-none-eabi is not installed")
@pytest.mark.parametrize(
    "cpu", [("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"), ("-mcpu=cortex-m0plus", "-mthumb")]
)
def test_library_and_sketches_compile_for_arduino_boards(library, cpu, tmp_path):
    # Debian's compiler has no C++ library of its own; Arduino's cores have, and our files need none of it.
    files = objects(library, "arm-none-eabi-", [*cpu, "-ffp-contract=fast", "-fno-exceptions"], tmp_path)
    assert len(files) > 10
    for sketch in library.rglob("*.ino"):
        source = tmp_path / f"{sketch.stem}.cpp"
        source.write_text("#include <Arduino.h>\n" + sketch.read_text())
        flags = ["-std=gnu++17", *cpu, "-O2", "-c", "-fno-exceptions"]
        compiled("arm-none-eabi-g++", library, tmp_path / f"{sketch.stem}.o", flags, [source])
    if "cortex-m4" in cpu[0]:
        fused = subprocess.run(
            ["arm-none-eabi-objdump", "-d", str(tmp_path / "cheep_fft.o")], capture_output=True, text=True, check=True
        )
        assert "vmul" in fused.stdout and "vfma" not in fused.stdout


def test_the_component_is_whole_and_its_files_compile(run, tmp_path):
    folder = tmp_path / "components" / "tones"
    assert main("export", ["--model", str(run), "--idf-component", str(folder), "--name", "robin"]) == 0
    assert (folder / "LICENSE").read_text() == LICENSE.read_text()
    about = yaml.safe_load((folder / "idf_component.yml").read_text())
    assert about["dependencies"] == {"idf": ">=5.1"} and "Hears high, low" in about["description"]
    assert "PRIV_REQUIRES robin" in (folder / "examples/listen/main/CMakeLists.txt").read_text()
    folders = re.search(r"SRC_DIRS (.*) INCLUDE_DIRS", (folder / "CMakeLists.txt").read_text()).group(1)
    for source in sorted((folder / "src").rglob("*.c")):
        assert f'"{source.parent.relative_to(folder).as_posix()}"' in folders  # they are not searched below
        if source.name != "hal_esp_idf.c":  # ESP-IDF's own headers
            compiled("gcc", folder, tmp_path / "one.o", ["-std=gnu17", "-O2", "-c"], [source])


def test_a_name_that_no_library_may_have(run, tmp_path, capsys):
    assert main("export", ["--model", str(run), "--arduino", str(tmp_path / "my birds")]) == 2
    assert "must be letters, digits and underscores" in capsys.readouterr().err
    assert not (tmp_path / "my birds").exists()
