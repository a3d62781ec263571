# SPDX-License-Identifier: MIT
"""One detector on every core that compilers and QEMU offer here: the event lines must be the same bytes.

The judge is the application on this machine with the network in TFLM. Compared with it are programs with the compiled
network: for this machine, for Linux on other processors (``qemu-user``), and for the emulated cores of
:mod:`cheep.emulator` without an operating system.
"""

from __future__ import annotations

import dataclasses
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cheep import runs
from cheep.audio import write_wav
from cheep.bench.application import run_emulated, write_generated
from cheep.boards.host import HostApplication, application_sources
from cheep.ccore import find_compiler
from cheep.config import DetectorConfig, FeatureConfig, default_stride
from cheep.convert.bundle import write_bundle
from cheep.emulator import CORES, Core
from cheep.errors import CheepError
from cheep.export import ExportModel, load_export
from cheep.features import compute_features, quantize
from cheep.resources import firmware_root, include_dir
from cheep.tflite.model import read_model


@dataclasses.dataclass(frozen=True)
class LinuxCore:
    """A processor that programs for Linux are compiled for; empty tools: this machine's own."""

    name: str
    title: str
    compiler: str = ""
    qemu: str = ""
    packages: tuple[str, str] = ("", "qemu-user")

    def missing(self) -> str:
        """Return which of compiler and QEMU is not installed, with its package; an empty string: none."""
        for tool, package in zip((self.compiler, self.qemu), self.packages, strict=True):
            if tool and shutil.which(tool) is None:
                return f"{tool} is not installed (Debian package {package})"
        return ""


HERE = LinuxCore(platform.machine().replace("_", "-"), "this machine")
LINUX = (
    HERE,
    LinuxCore("arm64", "arm64", "aarch64-linux-gnu-gcc", "qemu-aarch64", ("gcc-aarch64-linux-gnu", "qemu-user")),
    LinuxCore("riscv64", "riscv64", "riscv64-linux-gnu-gcc", "qemu-riscv64", ("gcc-riscv64-linux-gnu", "qemu-user")),
)
ALL: tuple[LinuxCore | Core, ...] = (*LINUX, *CORES)


def check_cores(
    export: ExportModel,
    pcm: np.ndarray,
    cores: Sequence[LinuxCore | Core] = ALL,
    optimization: str = "-O2",
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Run a detector on every core and compare its event lines.

    Parameters
    ----------
    export : ExportModel
        The detector; its network is compiled to C.
    pcm : (n,) int16
        Audio at the model's rate.
    cores : sequence, optional
        Some of :data:`ALL`.
    optimization : str
        For the compilers.
    say : callable
        Told a line for every core.

    Returns
    -------
    dict
        JSON-able: ``lines`` (their number), ``cores`` with ``equal`` (how many gave the same bytes), ``same`` and
        ``different`` (names), and ``skipped`` (name -> what is missing here, or why it does not fit).

    Raises
    ------
    CheepError
        The audio gives no event, which would prove nothing.
    """
    application = HostApplication(export)
    expected = events_of([*application.run(pcm), *application.finish()])
    application.close()
    if not expected:
        raise CheepError("no event in this audio: equal lines would prove nothing (give other recordings)")
    result: dict[str, Any] = {"same": [], "different": [], "skipped": {}}
    for core in cores:
        if reason := core.missing():
            result["skipped"][core.name] = reason
            say(f"{core.title}: skipped, {reason}")
            continue
        try:
            found = lines_on(core, export, pcm, optimization)
        except CheepError as error:
            result["different"].append(core.name)
            say(f"{core.title}: FAILED, {error}")
            continue
        same = found == expected
        result["same" if same else "different"].append(core.name)
        say(f"{core.title}: {len(found)} lines, {'the same bytes' if same else 'DIFFERENT'}")
    return {"lines": len(expected), "cores": {"equal": len(result["same"]), **result}}


def stand_in(model: bytes, features: FeatureConfig, pcm: np.ndarray, folder: Path) -> ExportModel:
    """Return a detector of an untrained int8 network, whose events come and go.

    Each threshold is the middle of the label's scores for this audio, ``pcm`` (n,) int16. The model is written to
    ``folder``.
    """
    from cheep.tflite.tflm import TflmModel

    info = read_model(model)
    source, out = info.inputs[0], info.outputs[0]
    stride = max(1, default_stride(features.hop_s) // 2)
    columns = quantize(compute_features(pcm, features), source.scale, source.zero_point)
    starts = range(0, len(columns) - features.window_frames + 1, stride)
    windows = np.stack([columns[i : i + features.window_frames] for i in starts])
    middle = np.median(TflmModel(model).scores(windows), axis=0)
    detector = DetectorConfig(
        stride_frames=stride, smoothing_windows=2, hold_off_windows=1, hysteresis=0.01,
        threshold=tuple(float(round((q - out.zero_point) * out.scale, 4)) for q in middle),
    )  # fmt: skip
    write_bundle(
        folder, runs.INT8_TFLITE, model, features=features, labels=[f"label_{i}" for i in range(len(middle))],
        detector=detector, golden=windows[len(windows) // 2],
    )  # fmt: skip
    return load_export(folder)


def lines_on(core: LinuxCore | Core, export: ExportModel, pcm: np.ndarray, optimization: str = "-O2") -> list[str]:
    """Return the event lines of a detector with the compiled network on a core; ``pcm`` (n,) int16."""
    if isinstance(core, Core):
        return events_of(run_emulated(export, [pcm], optimization, core=core))
    with tempfile.TemporaryDirectory(prefix="cheep-") as name:
        folder = Path(name)
        write_wav(folder / "in.wav", pcm, export.features.sample_rate_hz)
        program = build_program(core, export, folder, optimization)
        command = [*([core.qemu] if core.qemu else []), str(program), str(folder / "in.wav")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CheepError(f"{core.name}: exit status {done.returncode}:\n{(done.stdout + done.stderr).strip()}")
        return events_of(done.stdout.splitlines())


def build_program(core: LinuxCore, export: ExportModel, folder: Path, optimization: str) -> Path:
    """Compile ``firmware/host`` with the compiled network for a processor with Linux; return the program."""
    generated = write_generated(export, folder)
    host = firmware_root() / "host" / "src"
    sources = [*application_sources(), host / "host_api.c", host / "main.c", generated / "model_compiled.c"]
    command = [
        *([core.compiler] if core.compiler else find_compiler()), "-std=c11", optimization, "-ffp-contract=off",
        *(["-static"] if core.qemu else []), "-DCHEEP_BACKEND_COMPILED", "-DCHEEP_CLASSES_OF_MODEL",
        f"-I{folder}", f"-I{include_dir()}", f"-I{host}", *map(str, sources), "-o", str(folder / "program"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CheepError(f"{core.name}: {command[0]} failed:\n{done.stderr.strip()}")
    return folder / "program"


def events_of(lines: Any) -> list[str]:
    """Return those of the lines of a board that are events."""
    return [line for line in lines if line.startswith('{"type":"event"')]
