# SPDX-License-Identifier: MIT
"""The board projects without their vendors' headers: configuration, what compiles everywhere, the C around it."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from cheep import cli
from cheep.boards.data import find_board
from cheep.boards.host import HostApplication
from cheep.ccore import compile_shared
from cheep.detector.engine import MAX_CLASSES, MAX_SCORES, MAX_SMOOTHING
from cheep.errors import CheepError
from cheep.export import load_export, render_headers, render_model_source
from cheep.resources import firmware_root, include_dir
from cheep.tflite.tflm import TflmModel
from tone_model import DETECTOR, LABELS, tones, write_tone_run

ROOT = firmware_root()
SCHEMA = Path(__file__).parents[2] / "docs" / "serial-lines.schema.json"
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
STRICT = ("-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-ffp-contract=off")


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    return load_export(write_tone_run(tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="module")
def generated(export, tmp_path_factory):
    folder = tmp_path_factory.mktemp("headers")
    (folder / "generated").mkdir()
    for name, text in {**render_headers(export), "model.cc": render_model_source(export)}.items():
        (folder / "generated" / name).write_text(text, encoding="utf-8")
    return folder


# PlatformIO


def project_config(name, tmp_path):
    command = [sys.executable, "-m", "platformio", "project", "config", "-d", str(ROOT / name), "--json-output"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PLATFORMIO_CORE_DIR": str(tmp_path / "core")}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)
    assert result.returncode == 0, result.stderr
    return {section: dict(options) for section, options in json.loads(result.stdout)}


@pytest.mark.parametrize(
    ("name", "environments"),
    [
        (
            "esp32",
            {
                "esp32",
                "esp32s3",
                "esp32-compiled",
                "esp32s3-tflm",
                "esp32-hdc",
                "esp32s3-hdc",
                "esp32s3-pdm",
                "esp32c3",
                "esp32c6",
                "esp32p4",
                "esp32-pioarduino",
                "esp32-mqtt",
                "esp32s3-mqtt",
                "esp32s3-sd",
            },
        ),
        ("audiomoth", {"audiomoth", "audiomoth-card", "audiomoth-tflm", "audiomoth-hdc"}),
    ],
)
def test_platformio_reads_the_project(name, environments, tmp_path):
    sections = project_config(name, tmp_path)
    assert {section[4:] for section in sections if section.startswith("env:")} == environments
    assert sections["platformio"]["default_envs"] == [name]
    assert re.fullmatch(r"\w+@\d+\.\d+\.\d+", sections["env"]["platform"])  # pinned
    for section, options in sections.items():
        for dependency in options.get("lib_deps", []):
            assert re.search(r"#[0-9a-f]{40}$", dependency), f"{section}: {dependency} is not pinned"


def test_esp32_components_are_pinned_and_fetched_for_tflm_alone(tmp_path):
    project = ROOT / "esp32"
    always, tflm = (
        yaml.safe_load((project / d / "idf_component.yml").read_text())["dependencies"] for d in ("src", "tflm")
    )
    assert set(always) == {"idf"}
    assert set(tflm) == {"espressif/esp-tflite-micro", "espressif/esp-nn"}
    assert all(re.fullmatch(r"==\d+\.\d+\.\d+", version) for version in tflm.values())
    # The manifest's folder is a component of the builds with TFLM: CMake itself says so, with ESP-IDF left out.
    (tmp_path / "tools" / "cmake").mkdir(parents=True)
    (tmp_path / "tools" / "cmake" / "project.cmake").write_text(
        'function(project name)\nmessage(STATUS "components: ${EXTRA_COMPONENT_DIRS}")\n'
        'message(STATUS "${SDKCONFIG_DEFAULTS}")\nendfunction()\n'
    )
    sections = project_config("esp32", tmp_path)
    for name, options in sections.items():
        if name.startswith("env:"):
            arguments = options["board_build.cmake_extra_args"].split()
            text = subprocess.run(
                ["cmake", *arguments, "-P", str(project / "CMakeLists.txt")],
                capture_output=True, text=True, check=True, env={**os.environ, "IDF_PATH": str(tmp_path)},
            )  # fmt: skip
            assert ("esp32/tflm" in text.stdout + text.stderr) == (name in ("env:esp32", "env:esp32s3-tflm")), name
            components = re.search(r"components: (\S+)", text.stdout + text.stderr).group(1).split(";")
            assert [Path(d).name for d in components][:3] == ["common", "net", "src"]
            console = "sdkconfig.defaults;sdkconfig.console"
            assert (f"{console}\n" in text.stdout + text.stderr) == name.endswith("-hdc"), name
    assert "USB_SERIAL_JTAG=y" in (project / "sdkconfig.console.esp32s3").read_text()


def idf_lines():
    """What the documents say to type with ESP-IDF."""
    pages = [ROOT.parent / "README.md", *(ROOT.parent / "docs").glob("*.md"), *ROOT.rglob("README.md")]
    return [(page, m[1].split()) for page in pages for m in re.finditer(r"`idf\.py ([^`]+)`", page.read_text("utf-8"))]


def test_what_the_documents_type_into_idf_py_exists(tmp_path):
    """Actions, chips and options, by the project's own CMake; ESP-IDF itself is not here."""
    lines = idf_lines()
    assert len(lines) >= 3
    chips = {path.suffix[1:] for path in (ROOT / "esp32").glob("sdkconfig.defaults.*")}
    options = set()
    for page, words in lines:
        options |= {word for word in words if word.startswith("-D")}
        actions = [word for word in words if not word.startswith("-D")]
        if "set-target" in actions:
            assert actions.pop(actions.index("set-target") + 1) in chips, page
        assert set(actions) <= {"set-target", "build", "flash", "monitor"}, page
    cmake = [path.read_text() for path in ROOT.rglob("CMakeLists.txt")]
    (tmp_path / "tools" / "cmake").mkdir(parents=True)
    (tmp_path / "tools" / "cmake" / "project.cmake").write_text(
        'function(project name)\nmessage(STATUS "defaults: ${SDKCONFIG_DEFAULTS}")\nendfunction()\n'
    )
    for option in options:
        name, _, value = option[2:].partition("=")
        assert value and any(name in text for text in cmake), option
        text = subprocess.run(
            ["cmake", option, "-P", str(ROOT / "esp32" / "CMakeLists.txt")],
            capture_output=True, text=True, check=True, env={**os.environ, "IDF_PATH": str(tmp_path)},
        )  # fmt: skip
        for file in re.search(r"defaults: (\S+)", text.stdout + text.stderr).group(1).split(";"):
            assert (ROOT / "esp32" / file).is_file(), (option, file)


def test_the_classifier_is_a_project_for_platformio_and_for_idf(tmp_path):
    """Its sources and folders, as CMake resolves them without ESP-IDF; an import that is not there is told."""
    sections = project_config("classifier", tmp_path)
    assert {name for name in sections if name.startswith("env:")} == {"env:esp32", "env:esp32s3", "env:esp32c3"}
    assert sections["env"]["platform"] == project_config("esp32", tmp_path)["env"]["platform"]
    project, tools = ROOT / "classifier", tmp_path / "tools" / "cmake"
    tools.mkdir(parents=True)
    (tools / "project.cmake").write_text(
        "function(idf_component_register)\n"
        'cmake_parse_arguments(c "" "" "SRCS;INCLUDE_DIRS;REQUIRES" ${ARGN})\n'
        'message(STATUS "sources=${c_SRCS}")\nmessage(STATUS "folders=${c_INCLUDE_DIRS}")\nendfunction()\n'
        "function(target_compile_definitions)\nendfunction()\nfunction(target_compile_options)\nendfunction()\n"
        "function(project name)\nlist(GET EXTRA_COMPONENT_DIRS 0 component)\n"
        "set(CMAKE_CURRENT_LIST_DIR ${component})\ninclude(${component}/CMakeLists.txt)\nendfunction()\n"
    )
    made = tmp_path / "made by import"

    def configure(*arguments, **environment):
        return subprocess.run(
            ["cmake", *arguments, "-P", str(project / "CMakeLists.txt")], capture_output=True, text=True, check=False,
            env={**os.environ, "IDF_PATH": str(tmp_path), **environment},
        )  # fmt: skip

    missing = configure(IMPORT=str(made))
    assert missing.returncode != 0 and "cheep hdc import" in missing.stderr
    made.mkdir()
    (made / "extractor_compiled.c").write_text("")
    for told in (configure(IMPORT=str(made)), configure(f"-DIMPORT={made}")):
        assert told.returncode == 0, told.stderr
        named = dict(re.findall(r"(sources|folders)=(.*)", told.stdout + told.stderr))
        files = [project / "src" / name for name in named["sources"].split(";")]
        assert len(files) == 7 and all(path.is_file() for path in files), files
        assert str(made) in named["folders"].split(";")


def test_every_file_that_a_project_names_exists(tmp_path):
    sections = project_config("audiomoth", tmp_path)
    project = ROOT / "audiomoth"
    named = [item for options in sections.values() for item in options.get("build_src_filter", [])]
    ours = [m.group(1) for item in named if (m := re.search(r"<(\.\./\.\./common/[^*>]+)>", str(item)))]
    assert len(ours) >= 3
    for item in ours:
        if "/generated/" not in item:
            assert (project / "src" / item).is_file(), item
    board = json.loads((project / "boards" / "audiomoth.json").read_text())
    assert (project / board["build"]["ldscript"]).is_file()
    script = (project / board["build"]["ldscript"]).read_text()
    assert "ORIGIN = 0x00004000, LENGTH = 240K" in script and board["upload"]["maximum_size"] == 240 * 1024
    assert "LENGTH = 32K" in script and board["upload"]["maximum_ram_size"] == 32 * 1024


@pytest.mark.parametrize("name", ["partitions.csv", "partitions-mqtt.csv"])
def test_esp32_partitions_fit_the_flash(name):
    end = 0
    for line in (ROOT / "esp32" / name).read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            *_, offset, size = [field.strip() for field in line.split(",")]
            assert int(offset, 0) >= end
            end = int(offset, 0) + int(size, 0)
    assert end <= 4 << 20


def test_an_esp32_confirms_an_update_only_behind_its_golden_windows():
    """Without the confirmation the bootloader gives the next start to the application before."""
    assert "CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE=y" in (ROOT / "esp32" / "sdkconfig.defaults").read_text()
    start = (ROOT / "esp32" / "src" / "main.c").read_text().partition("void app_main")[2]
    boot, confirmed = start.index("cheep_app_boot("), start.index("cheep_update_boot(places_esp32(), true)")
    assert boot < confirmed < start.index("for (;;)")
    assert "refuse(" in start[boot:confirmed]


# C that needs no vendor


def portable_sources():
    hdc = ROOT / "common" / "src" / "cheep_hdc_generated.c"  # needs the files of `cheep hdc`
    files = [path for path in sorted((ROOT / "common" / "src").glob("cheep_*.c")) if path != hdc]
    for folder in ("audiomoth", "common"):
        files += sorted((ROOT / folder / "src").glob("field_*.c"))
    return [*files, *sorted((ROOT / "host" / "src").glob("*.c"))]


@pytest.mark.parametrize("compiler", COMPILERS)
def test_everything_portable_compiles_without_a_warning(compiler, generated):
    includes = [f"-I{d}" for d in (generated, include_dir(), ROOT / "host" / "src")]
    for source in portable_sources():
        command = [compiler, *STRICT, "-fsyntax-only", *includes, str(source)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{source.name}: {result.stderr}"


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_headers_stand_alone_in_cplusplus(compiler, generated, tmp_path):
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    for header in sorted(include_dir().glob("*.h")):
        if header.name == "cheep_hdc_generated.h":  # needs the files of `cheep hdc`
            continue
        source = tmp_path / "one.cc"
        source.write_text(f'#include "{header.name}"\n#include "{header.name}"\n')
        command = [compiler, "-std=c++17", "-Wall", "-Wextra", "-fsyntax-only", f"-I{generated}", f"-I{include_dir()}"]
        result = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{header.name}: {result.stderr}"


@pytest.mark.parametrize(
    ("there", "command"),
    [
        ((), "cheep model-convert"),
        (("model.h",), "cheep mel-filter-bank"),
        (("model.h", "mel_filter_bank.h"), "cheep compile"),
    ],
)
def test_the_host_program_names_the_command_that_is_missing(there, command, tmp_path):
    (tmp_path / "generated").mkdir()
    for name in there:
        (tmp_path / "generated" / name).touch()
    make = ["make", "-C", str(ROOT / "host"), f"GENERATED={tmp_path}"]
    done = subprocess.run(make, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"run `{command}` first" in done.stderr


def test_a_board_without_the_compiled_network_names_the_command(generated, tmp_path):
    (tmp_path / "one.c").write_text('#include "cheep_generated.h"\n')
    command = [COMPILERS[0], *STRICT, "-fsyntax-only", f"-I{generated}", f"-I{include_dir()}", str(tmp_path / "one.c")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    done = subprocess.run([*command, "-DCHEEP_BACKEND_COMPILED"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "run `cheep compile`" in done.stderr


# Decimation and microphones


@pytest.fixture(scope="module")
def core():
    path = compile_shared(
        [ROOT / "common" / "src" / "cheep_decimate.c"], [include_dir()], ["-Werror"], "cheep_decimate"
    )
    library = ctypes.CDLL(str(path))
    library.cheep_decimate.restype = library.cheep_decimate8.restype = ctypes.c_size_t
    for name in ("cheep_decimate", "cheep_decimate8"):
        getattr(library, name).argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    library.cheep_dc_remove.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    library.cheep_i2s24_to_pcm.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    return library


def decimated(core, pcm, factor, chunks=None):
    state, out = ctypes.create_string_buffer(512), np.empty(len(pcm) + 1, np.int16)
    if factor == 8:
        core.cheep_decimate8_init(state, ctypes.c_uint(0))
    else:
        assert core.cheep_decimate_init(state, ctypes.c_uint(factor)) == 0
    call = core.cheep_decimate8 if factor == 8 else core.cheep_decimate
    pcm, at, made = np.ascontiguousarray(pcm, np.int16), 0, 0
    for n in chunks or [len(pcm)]:
        n = min(n, len(pcm) - at)
        made += call(state, pcm[at:].ctypes.data, n, out[made:].ctypes.data)
        at += n
    assert at == len(pcm)
    return out[:made]


def gain_db(core, factor, frequency, rate):
    t = np.arange(rate) / rate
    pcm = np.rint(12000 * np.sin(2 * np.pi * frequency * t)).astype(np.int16)
    out = decimated(core, pcm, factor)[200:].astype(float)
    return 20 * np.log10(np.sqrt(np.mean(out**2)) / (12000 / np.sqrt(2)) + 1e-9)


@pytest.mark.parametrize("factor", [2, 3])
def test_the_low_pass_is_flat_below_and_quiet_above(core, factor):
    rate = 8000 * factor
    for frequency in (50, 1000, 2500, 3300):
        assert abs(gain_db(core, factor, frequency, rate)) < 0.1
    for frequency in (4700, 5000, 6000, rate / 2 - 100):
        assert gain_db(core, factor, frequency, rate) < -54


def test_the_triangle_over_16_samples(core):
    for frequency in (100, 1000, 4000):
        x = np.pi * frequency / 24000
        expected = 40 * np.log10(abs(np.sin(x) / (8 * np.sin(x / 8))))
        assert gain_db(core, 8, frequency, 192000) == pytest.approx(expected, abs=0.05)
    assert gain_db(core, 8, 24000, 192000) < -60


@pytest.mark.parametrize("factor", [1, 2, 3, 8])
def test_chunks_do_not_matter_and_full_scale_saturates(core, factor, rng):
    pcm = rng.integers(-32768, 32768, 5000).astype(np.int16)
    pcm[1000:2000] = 32767
    pcm[2000:3000] = -32768
    whole = decimated(core, pcm, factor)
    assert len(whole) == len(pcm) // factor
    chunks = [1, 2, 3, 500, 1, 7] + [64] * 100
    np.testing.assert_array_equal(decimated(core, pcm, factor, chunks), whole)
    assert whole[1500 // factor] == 32767 and whole[2500 // factor] == -32768


def test_only_the_factors_that_exist(core):
    state = ctypes.create_string_buffer(512)
    assert core.cheep_decimate_init(state, ctypes.c_uint(4)) != 0
    assert core.cheep_decimate_init(state, ctypes.c_uint(0)) != 0


def test_a_12_bit_converter_gains_four_bits(core):
    state, out = ctypes.create_string_buffer(64), np.empty(100, np.int16)
    core.cheep_decimate8_init(state, ctypes.c_uint(4))
    pcm = np.full(800, -2048, np.int16)
    n = core.cheep_decimate8(state, pcm.ctypes.data, 800, out.ctypes.data)
    assert n == 100 and out[50] == -32768


def test_the_offset_goes_and_the_sound_stays(core):
    t = np.arange(5 * 8000) / 8000
    pcm = np.rint(3000 + 1000 * np.sin(2 * np.pi * 500 * t)).astype(np.int16)
    core.cheep_dc_remove((ctypes.c_int32 * 1)(0), pcm.ctypes.data, len(pcm))
    tail = pcm[-8000:].astype(float)
    assert abs(tail.mean()) < 2
    assert tail.std() == pytest.approx(1000 / np.sqrt(2), rel=0.01)


@pytest.mark.parametrize("bits", [0, 3, 8])
def test_24_bits_in_32_are_rounded_not_cut(core, bits):
    n = 40000
    low_bits = np.random.default_rng(5).integers(0, 256, n).astype(np.int32)
    signal = np.rint(30000 * np.sin(np.arange(n) * np.pi / 8))  # 24-bit units
    raw = (signal + 5000).astype(np.int32) * 256 + low_bits  # the low 8 bits mean nothing
    state, out = struct.pack("<iBxxx", 0, bits), np.empty(n, np.int16)
    core.cheep_i2s24_to_pcm(ctypes.create_string_buffer(state), raw.ctypes.data, n, out.ctypes.data)
    exact = (signal * 2.0**bits / 256)[-8000:]
    inside = np.abs(exact) < 32000
    error = (out[-8000:] - np.clip(exact, -32768, 32767))[inside]
    # half a step of rounding, and the ripple of the offset's running mean
    assert np.abs(error).max() <= 1.5 + 100 * 2**bits / 256 and abs(error.mean()) < 0.1 + 2**bits / 50


# What the boards say


HEAD_LINES = ("hdc_event", "hdc_learned", "hdc_classes", "hdc_error")


class _SlowNetwork:
    """Takes longer than its stride of 0.25 s, once."""

    def __init__(self, export):
        self._network = TflmModel(export.bundle.model.data)

    def scores(self, windows):
        begun = time.monotonic()
        while time.monotonic() < begun + 0.26:
            pass
        return self._network.scores(windows)


def test_lines_match_their_schema(export):
    from cheep.boards.host import HostApplication

    schema = json.loads(SCHEMA.read_text())
    kinds = {kind["properties"]["type"]["const"]: kind for kind in schema["oneOf"]}
    application = HostApplication(export, real_time=True)
    lines = [*application.lines(), *application.run(tones([(2, 4, "low")], 61)), *application.finish()]
    lines += application.run(np.zeros(4 * 8000, np.int16))
    application = HostApplication(export, runtime=_SlowNetwork(export), real_time=True)
    application.poll()
    lines += application.lines()
    seen = set()
    for line in lines:
        message = json.loads(line)
        kind = kinds[message["type"]]
        seen.add(message["type"])
        assert set(kind["required"]) <= set(message) <= set(kind["properties"])
        for name, value in message.items():
            rule = kind["properties"][name]
            expected = {"string": str, "integer": int, "number": (int, float)}.get(rule.get("type"))
            assert expected is None or isinstance(value, expected)
            assert "enum" not in rule or value in rule["enum"]
            assert "pattern" not in rule or re.fullmatch(rule["pattern"], value)
    assert seen == {"boot", "event", "stats", "microphone", "slow"}
    assert set(kinds) == seen | {"error", *HEAD_LINES}  # those: test_hdc_app.py


@pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is not installed")
def test_the_emulated_board_says_the_same(export):
    from cheep.bench.application import run_emulated
    from cheep.boards.host import HostApplication

    pcm = tones([(1, 2.5, "high"), (4, 5, "low")], 7)
    application = HostApplication(export)
    expected = [line for line in [*application.run(pcm), *application.finish()] if '"event"' in line]
    *lines, costs = run_emulated(export, [pcm])
    assert json.loads(lines[0])["board"] == "cortex-m4"
    assert [line for line in lines if '"type":"event"' in line] == expected and len(expected) == 4
    costs = json.loads(costs)
    assert 0 < costs["stack_bytes"] < 3072  # what audiomoth.ld keeps free
    assert costs["ram_bytes"] < 16384 and costs["frontend_instructions"] > 1000


@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="gcc-arm-none-eabi is not installed")
def test_what_leaves_no_room_for_the_stack_is_refused_before_it_runs(export, monkeypatch):
    """Its stack would run over the application's memory, and it would hang."""
    from cheep.bench import application

    need = find_board("cortex-m4").model_copy(update={"stack_bytes": 24 * 1024})
    monkeypatch.setattr(application, "find_board", lambda name: need)
    with pytest.raises(CheepError, match=r"does not fit the emulated board's 32 KB of RAM .* --board audiomoth"):
        list(application.run_emulated(export, [tones([], 1)]))


# Classes


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Runs by number of labels: 3, 60, and one more than a detector takes."""
    runs = {}
    for n in (3, 60, 65):
        labels = (*LABELS, *(f"species_{i:02d}" for i in range(n - 3)))
        detector = DETECTOR.model_copy(update={"threshold": (*DETECTOR.threshold, *[0.6] * (n - 3))})
        runs[n] = write_tone_run(tmp_path_factory.mktemp(f"labels{n}"), detector=detector, labels=labels)
    return runs


def told(lines):
    return [(line["state"], line["label"], line["score"]) for line in lines if line["type"] == "event"]


@pytest.mark.skipif(not shutil.which("qemu-system-arm"), reason="qemu-system-arm is not installed")
def test_memory_follows_the_number_of_labels(many):
    from cheep.bench.application import run_emulated
    from cheep.boards.budget import needs_compiled
    from cheep.compiler import compile_bytes

    pcm = tones([(1, 2, "low"), (4, 5, "high")], 6)
    used, events = {}, {}
    for n in (3, 60):
        export = load_export(many[n])
        lines = [json.loads(line) for line in run_emulated(export, [pcm])]
        events[n] = told(lines)
        used[n] = lines[-1]["ram_bytes"]
        application = HostApplication(export)
        assert events[n] == told(json.loads(line) for line in application.run(pcm))
        application.close()
        need = needs_compiled(compile_bytes(export.bundle.model.data), export.features, n)
        assert used[n] <= need.ram_bytes < used[n] + 4096
    assert len(events[3]) == 4 and events[60] == events[3]
    assert 57 * 60 < used[60] - used[3] < 57 * 80


def test_too_many_labels_are_refused_before_anything_is_compiled(many, tmp_path, capsys):
    recording = tmp_path / "x.wav"
    soundfile.write(recording, np.zeros(16000, np.int16), 8000)
    for command, arguments in (
        ("size", [str(many[65])]),
        ("simulate", [str(recording), "--model", str(many[65]), "--board", "cortex-m4"]),
        ("compile", [str(many[65]), "--output", str(tmp_path / "out")]),
        ("model-convert", ["--model", str(many[65]), "--output", str(tmp_path / "out")]),
        ("upload", ["audiomoth", "--model", str(many[65])]),
    ):
        assert cli.main(command, arguments) == 2
        error = capsys.readouterr().err
        assert "65 labels: a detector takes 1 to 64" in error and "merge them" in error
    assert not (tmp_path / "out").exists()


def test_training_refuses_labels_that_no_board_takes(tmp_path):
    from cheep.config import TrainConfig
    from cheep.datasets.manifest import Manifest
    from cheep.training.data import LabelPlan

    rows = [{"path": f"{i}.wav", "label": f"species_{i:02d}"} for i in range(65)]
    with pytest.raises(CheepError, match="65 labels: a detector takes 1 to 64"):
        LabelPlan.of(Manifest.from_rows(rows, tmp_path), TrainConfig())
    assert len(LabelPlan.of(Manifest.from_rows(rows[:64], tmp_path), TrainConfig()).labels) == 64


def test_limits_are_those_of_the_header():
    text = (include_dir() / "cheep_detector.h").read_text()
    for name, value in (("CLASS_LIMIT", MAX_CLASSES), ("MAX_SMOOTHING", MAX_SMOOTHING), ("SCORES_LIMIT", MAX_SCORES)):
        assert re.search(rf"#define CHEEP_{name} {value}\b", text), name
    for project in ("audiomoth/platformio.ini", "common/CMakeLists.txt", "host/Makefile"):
        text = re.sub(r"(?s)\[env:audiomoth-card\].*?(?=\n\[)", "", (ROOT / project).read_text())  # takes any model
        assert "CHEEP_CLASSES_OF_MODEL" in text and "CHEEP_MAX_CLASSES" not in text, project
