# SPDX-License-Identifier: MIT
"""Run folders: each stage of the main job finds its input, and leaves its output, in ``runs/NAME``.

``runs/latest`` points to the run that a command without ``--run`` goes on with. One process at a time works in a run.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from cheep.errors import CheepError
from cheep.files import read_json, sweep, write_json, write_text
from cheep.locks import lock

RUN_FILE = "run.yaml"
DATASET = "dataset.csv"
CALIBRATION = "calibration.csv"
FLOAT_MODEL = "model.h5"
FLOAT_TFLITE = "bird_detector.tflite"
INT8_TFLITE = "bird_detector_int8.tflite"
MANIFEST = "manifest.json"
TRAINING = "training.json"
EVALUATION = "evaluation.json"
REPORT = "report.html"
LATEST = "latest"
LOCK = ".lock"
COMMANDS = "commands.json"

#: What makes the files of a run, for messages.
SPLIT_COMMAND = "cheep split-dataset"
TRAIN_COMMAND = "cheep train"
QAT_COMMAND = "cheep train-qat"


def runs_folder() -> Path:
    """Return the folder of all runs: ``$CHEEP_RUNS`` or ``runs``."""
    return Path(os.environ.get("CHEEP_RUNS", "runs"))


def run_path(run: str | os.PathLike) -> Path:
    """Return the folder that ``--run`` means: a name is one of ``runs``, anything with a slash is a folder."""
    text = os.fspath(run)
    return Path(text) if os.sep in text or "/" in text else runs_folder() / text


@contextlib.contextmanager
def start_run(run: str | os.PathLike | None = None) -> Iterator[Path]:
    """Make a run (or take it up again), by name or folder; without one, ``runs/run-NNN`` with the next free number.

    When the block ends well, the run is the latest. A new run in which nothing was written is removed.
    """
    path = _numbered() if run is None else run_path(run)
    new = run is None or not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    try:
        with working_in(path):
            yield path
            if any(item.name != LOCK for item in path.iterdir()):
                _point_latest(path)
    finally:
        if new:
            with contextlib.suppress(OSError):  # it holds something
                path.rmdir()


@contextlib.contextmanager
def working_in(run: Path) -> Iterator[None]:
    """Hold the lock of a run; what a process that was killed left half written in it goes.

    Raises
    ------
    CheepError
        Another process works in it; the message names it.
    """
    with lock(run / LOCK, str(run), "work in another run (--run NAME)") as first:
        if first:
            sweep(run)
        yield


def find_run(run: str | os.PathLike | None = None) -> Path:
    """Return the given run (its name in ``runs``, or its folder), or the latest one.

    Raises
    ------
    CheepError
        There is no such run; the message names the command that makes one.
    """
    if run is not None:
        for path in (run_path(run), Path(run)):
            if path.is_dir():
                return path
        raise CheepError(f"{run}: no such run, folder or name in {runs_folder()}; make one with {SPLIT_COMMAND}")
    latest = runs_folder() / LATEST
    if latest.is_dir():
        return latest.resolve()
    if latest.is_file():
        path = runs_folder() / latest.read_text(encoding="utf-8").strip()
        if path.is_dir():
            return path
    kept = (DATASET, FLOAT_MODEL, INT8_TFLITE)
    there = sorted({path.parent.name for name in kept for path in runs_folder().glob(f"*/{name}")})
    if there:  # a link that did not come along with a copy, or whose run was removed
        raise CheepError(f"{latest}: missing; which run is meant: --run {', '.join(there)}?")
    raise CheepError(f"{runs_folder()}: no run yet; start one with {SPLIT_COMMAND} FOLDER")


#: In the order in which they make a run; a step done again outdates those after it.
_STEPS = ("split-dataset", "augment", "train", "train-qat", "calibrate")


def note_command(run: Path, step: str, command: str, before: Path | None = None) -> None:
    """Keep how a step of the main job was called, for the report: with its options, as typed.

    ``before`` is the run whose steps came first (of another folder).
    """
    later = _STEPS[_STEPS.index(step) :] if step in _STEPS[1:] else None  # others begin a run
    kept = [] if later is None else [pair for pair in commands_of(before or run) if pair[0] not in later]
    write_json(run / COMMANDS, [*kept, [step, command]])


def commands_of(run: Path) -> list[list[str]]:
    """Return (step, command) of what made a run, in order; empty for a run of which nothing was kept."""
    return read_json(run / COMMANDS, SPLIT_COMMAND) if (run / COMMANDS).is_file() else []


def _numbered() -> Path:
    folder = runs_folder()
    folder.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        path = folder / f"run-{number:03d}"
        with contextlib.suppress(FileExistsError):  # also by another process, just now
            path.mkdir()
            return path
        number += 1


def _point_latest(run: Path) -> None:
    latest = runs_folder() / LATEST
    latest.parent.mkdir(parents=True, exist_ok=True)
    target = os.path.relpath(run, latest.parent)
    try:
        if latest.is_symlink() or latest.is_file():
            latest.unlink()
        latest.symlink_to(target, target_is_directory=True)
    except OSError:  # a file system without symbolic links
        write_text(latest, target + "\n")
