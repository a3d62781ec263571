"""Run folders: each stage of the main job finds its input, and leaves its output, in ``runs/NAME``.

``runs/latest`` points to the run that a script without arguments goes on with.
"""

from __future__ import annotations

import os
from pathlib import Path

from cheep.errors import CheepError
from cheep.files import write_text

DATASET = "dataset.csv"
RUN_FILE = "run.yaml"
FLOAT_MODEL = "model.h5"
FLOAT_TFLITE = "bird_detector.tflite"
INT8_TFLITE = "bird_detector_int8.tflite"
MANIFEST = "manifest.json"
TRAINING = "training.json"
EVALUATION = "evaluation.json"
REPORT = "report.html"

#: What makes the files of a run, for messages.
SPLIT_COMMAND = "python src/split_dataset.py"
TRAIN_COMMAND = "python src/train.py"
QAT_COMMAND = "python src/train_QAT.py"


def runs_folder() -> Path:
    """Return the folder of all runs: ``$CHEEP_RUNS`` or ``runs``."""
    return Path(os.environ.get("CHEEP_RUNS", "runs"))


def create_run(name: str | os.PathLike | None = None) -> Path:
    """Create (or take up again) ``runs/NAME`` and make it the latest; without a name, the next free number.

    ``name`` may also be the path ``runs/NAME``.
    """
    folder = runs_folder()
    if name is None:
        number = 1
        while (folder / f"run-{number:03d}").exists():
            number += 1
        name = f"run-{number:03d}"
    run = Path(name) if Path(name).parent == folder else folder / name
    run.mkdir(parents=True, exist_ok=True)
    _point_latest(run)
    return run


def find_run(run: str | os.PathLike | None = None) -> Path:
    """Return the given run (its folder, or its name in ``runs``), or the latest one.

    Raises
    ------
    CheepError
        There is no such run; the message names the command that makes one.
    """
    if run is not None:
        for path in (Path(run), runs_folder() / run):
            if path.is_dir():
                return path
        raise CheepError(f"{run}: no such run, folder or name in {runs_folder()}; make one with {SPLIT_COMMAND}")
    latest = runs_folder() / "latest"
    if latest.is_dir():
        return latest.resolve()
    if latest.is_file():
        path = runs_folder() / latest.read_text(encoding="utf-8").strip()
        if path.is_dir():
            return path
    raise CheepError(f"{runs_folder()}: no run yet; start one with {SPLIT_COMMAND} --input FOLDER")


def _point_latest(run: Path) -> None:
    latest = run.parent / "latest"
    try:
        if latest.is_symlink() or latest.is_file():
            latest.unlink()
        latest.symlink_to(run.name, target_is_directory=True)
    except OSError:  # a file system without symbolic links
        write_text(latest, run.name + "\n")
