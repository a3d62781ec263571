"""Run folders: each stage of the main job finds its input, and leaves its output, in ``runs/NAME``.

``runs/latest`` points to the run that a script without arguments goes on with.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from cheep.errors import CheepError

DATASET = "dataset.csv"
RUN_FILE = "run.yaml"
FLOAT_MODEL = "model.h5"
FLOAT_TFLITE = "bird_detector.tflite"
INT8_TFLITE = "bird_detector_int8.tflite"
MANIFEST = "manifest.json"
REPORT = "report.html"


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
        raise CheepError(
            f"{run}: no such run, folder or name in {runs_folder()}; make one with python src/split_dataset.py"
        )
    latest = runs_folder() / "latest"
    if latest.is_dir():
        return latest.resolve()
    if latest.is_file():
        path = runs_folder() / latest.read_text(encoding="utf-8").strip()
        if path.is_dir():
            return path
    raise CheepError(f"{runs_folder()}: no run yet; start one with python src/split_dataset.py --input FOLDER")


def needed(path: Path, made_by: str) -> Path:
    """Return ``path`` if it exists; raise CheepError naming the command that makes it."""
    if not path.is_file():
        raise CheepError(f"{path}: missing; make it with {made_by}")
    return path


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Write a whole file or nothing: temporary name in the same folder, flush, rename."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: str | os.PathLike, values: Any) -> None:
    """Write indented JSON with sorted keys, whole or not at all."""
    write_bytes(path, (json.dumps(values, indent=2, sort_keys=True, allow_nan=False) + "\n").encode())


def read_json(path: str | os.PathLike, made_by: str) -> Any:
    """Read JSON; raise CheepError where it is missing or damaged, naming the command that makes it."""
    path = needed(Path(path), made_by)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheepError(f"{path}: damaged JSON ({error}); make it again with {made_by}") from None


def _point_latest(run: Path) -> None:
    latest = run.parent / "latest"
    try:
        if latest.is_symlink() or latest.is_file():
            latest.unlink()
        latest.symlink_to(run.name, target_is_directory=True)
    except OSError:  # a file system without symbolic links
        latest.write_text(run.name + "\n", encoding="utf-8")
