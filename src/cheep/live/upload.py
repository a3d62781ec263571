# SPDX-License-Identifier: MIT
"""Onto a board: check the generated files, run PlatformIO, wait for the board's self-check."""

from __future__ import annotations

import configparser
import dataclasses
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cheep.config.base import nearest_name
from cheep.errors import CheepError, GateError
from cheep.export import ExportModel, check_files, generated_folder
from cheep.live.monitor import check_boot
from cheep.live.serial_lines import LineReader
from cheep.resources import firmware_projects

PROJECTS = ("esp32", "audiomoth")
_MAKE = "cheep model-convert && cheep mel-filter-bank"


@dataclasses.dataclass(frozen=True)
class UploadTarget:
    """A PlatformIO environment of one of the firmware projects."""

    name: str
    project: Path
    serial: bool
    compiled: bool


def targets() -> dict[str, UploadTarget]:
    """Return every environment of the firmware projects by name."""
    found = {}
    for project in PROJECTS:
        folder = firmware_projects() / project
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        parser.read(folder / "platformio.ini", encoding="utf-8")
        for section in parser.sections():
            if section.startswith("env:"):
                name = section[4:]
                compiled = "COMPILED" in " ".join(parser[section].values())
                found[name] = UploadTarget(name, folder, serial=project != "audiomoth", compiled=compiled)
    return found


def find_target(name: str) -> UploadTarget:
    """Return the environment ``name``; raises CheepError with the nearest one."""
    known = targets()
    if name not in known:
        raise CheepError(f"board {name!r}: no such board{nearest_name(name, known)}; one of {', '.join(known)}")
    return known[name]


def expected_files(export: ExportModel, target: UploadTarget) -> dict[str, str]:
    """Return the generated files that this target is built from, as they must be for the model."""
    from cheep.export import render_headers, render_model_source, render_networks

    files = dict(render_headers(export))
    if target.compiled:
        files |= render_networks(export)
    else:
        files["model.cc"] = render_model_source(export)
    return files


def check_generated(export: ExportModel, target: UploadTarget) -> None:
    """Compare the generated files with the model; raises GateError with the command that makes them again.

    A network that TFLM must not run on the target is refused too.
    """
    for chip, reason in export.refused.items():
        if target.name.startswith(chip.lower()) and not target.compiled:
            compiled = "esp32s3" if target.name.startswith("esp32s3") else "esp32-compiled"
            raise GateError(
                f"{target.name}: {reason}; use the network compiled: cheep compile && cheep upload {compiled}"
            )
    if export.verifier is not None and not target.compiled:
        raise GateError(
            f"{target.name}: TensorFlow Lite Micro runs one network, this detector has two (docs/verify.md); use them "
            "compiled: cheep compile, and a board whose networks are compiled"
        )
    check_files(generated_folder(), expected_files(export, target), _MAKE + (" && cheep compile" * target.compiled))


def find_pio() -> list[str]:
    """Return PlatformIO's command: ``$CHEEP_PIO``, ``pio`` beside this Python or in the path."""
    given = os.environ.get("CHEEP_PIO")
    if given:
        return given.split()
    beside = Path(sys.executable).with_name("pio")
    found = str(beside) if beside.is_file() else shutil.which("pio")
    if not found:
        raise CheepError("pio: PlatformIO is not installed; run `make setup` (or pip install platformio)")
    return [found]


def run_platformio(target: UploadTarget, port: str | None) -> None:
    """Build and upload; PlatformIO's own output goes to the terminal.

    Raises
    ------
    GateError
        It failed.
    """
    command = [*find_pio(), "run", "--project-dir", str(target.project), "-e", target.name, "-t", "upload"]
    if port and target.serial:
        command += ["--upload-port", port]
    code = subprocess.run(command, check=False).returncode
    if code != 0:
        hint = (
            "hold the board's BOOT button while it connects, close other programs on the port"
            if target.serial
            else "set the switch to USB/OFF, check that the `flash` tool is installed (AudioMoth-Flash)"
        )
        raise GateError(f"{target.name}: PlatformIO failed with status {code} (see above); if it built, {hint}")


def wait_for_boot(
    read: Callable[[], bytes], export: ExportModel, timeout_s: float = 20.0, clock: Callable[[], float] = time.monotonic
) -> dict[str, Any]:
    """Wait for the board's boot line and compare it with the model.

    The board computes the columns of a test sound, events of made scores and the scores of golden windows before it
    listens, and compares them with what this machine computed: a boot line means that they are equal.

    Returns
    -------
    dict
        The boot message.

    Raises
    ------
    GateError
        The self-check failed on the board (the stage is named), another model runs, or nothing was heard in time.
    """
    reader, deadline = LineReader(), clock() + timeout_s
    while clock() < deadline:
        for message in reader.feed(read()):
            if message["type"] == "error":
                raise GateError(
                    f"the board refuses to listen: stage {message.get('stage')}: {message.get('reason')}"
                    + {
                        "frontend": "; its front end does not compute what this machine computes",
                        "input": "; its front end's columns become other int8 values than on this machine",
                        "detector": "; its detector makes other events than this machine's",
                        "golden": "; its network does not give the scores that this machine gives",
                    }.get(str(message.get("stage")), "")
                )
            if message["type"] == "boot":
                problem = check_boot(message, export.sha256, export.features.hash32)
                if problem:
                    raise GateError(problem)
                return message
    heard = reader.counts
    detail = (
        "nothing was heard"
        if not heard.other_bytes and not heard.damaged
        else (f"{heard.other_bytes + heard.damaged} bytes or lines came that are none of Cheep's")
    )
    raise GateError(
        f"no boot line within {timeout_s:.0f} s ({detail}): press the board's reset button, check --port, and look at "
        "cheep monitor"
    )
