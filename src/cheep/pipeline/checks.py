# SPDX-License-Identifier: MIT
"""What must hold before a run file is run: files that are there, networks that exist, a model to start from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cheep.config import RunFile, load_run_file, nearest_name, parse_run_file
from cheep.config.source import Loc, Overrides
from cheep.config.training import BACKBONES
from cheep.errors import CheepError
from cheep.models import model_names
from cheep.pipeline.calibrating import check_calibration

NEED_DATA = ("train", "evaluate", "evaluate_float", "quantize")


def load_config(path: Path, overrides: Overrides = ()) -> RunFile:
    """Read a run file (or a model zoo's configuration) that is to be run; CheepError names everything wrong with it."""
    return load_run_file(path, overrides, check)


def parse_config(text: str, name: str = "config.yaml", overrides: Overrides = ()) -> RunFile:
    """Read the text of a run file that is to be run."""
    return parse_run_file(text, name, overrides, check)


def check(run_file: RunFile) -> Iterator[tuple[Loc, str]]:
    """Yield (where, ``=value: rule``) of what stands in the way of running it here."""
    yield from _model(run_file)
    yield from _recordings(run_file)
    yield from _features(run_file)
    yield from check_calibration(run_file)
    names = model_names()
    for name in ("model", "teacher_model"):
        value = getattr(run_file.train, name)
        if name == "model" and value in BACKBONES:
            yield from _backbone(run_file)
        elif value not in (*names, *([""] if name == "teacher_model" else [])):
            yield ("train", name), f"={value!r}: must be one of {', '.join(names)}{nearest_name(value, names)}"


def _backbone(run_file: RunFile) -> Iterator[tuple[Loc, str]]:
    from cheep.models.backbone import check_yamnet

    train = run_file.train
    if "train" in run_file.run.steps and not Path(train.backbone).exists():
        yield ("train", "backbone"), f"={train.backbone!r}: no such file or folder (cheep backbone get yamnet)"
    if train.model == "yamnet":
        try:
            check_yamnet(train.cut, run_file.features)
        except CheepError as error:
            yield ("train", "cut"), f"={train.cut!r}: {error}"


def _model(run_file: RunFile) -> Iterator[tuple[Loc, str]]:
    model, steps = run_file.run.model, run_file.run.steps
    if not model and "train" not in steps:
        yield ("run", "model"), f": missing; {steps[0]} needs a model to start from (a run folder, .h5 or .tflite)"
    if model and not Path(model).exists():
        yield ("run", "model"), f"={model!r}: no such file or folder"
    elif model and not Path(model).is_dir():
        yield from _model_file(model, steps)
    files = run_file.predict.files
    if "predict" in steps and not files:
        yield ("predict", "files"), ": missing; name the folder of the files to predict"
    if files and not Path(files).exists():
        yield ("predict", "files"), f"={files!r}: no such file or folder"
    if run_file.deploy.board:
        from cheep.boards.data import BOARDS

        names = [board.name for board in BOARDS]
        if run_file.deploy.board not in names:
            hint = nearest_name(run_file.deploy.board, names)
            yield ("deploy", "board"), f"={run_file.deploy.board!r}: must be one of {', '.join(names)}{hint}"


def _model_file(model: str, steps: tuple[str, ...]) -> Iterator[tuple[Loc, str]]:
    suffix = Path(model).suffix
    if suffix not in (".h5", ".keras", ".tflite"):
        hint = " (cheep convert makes int8 networks of ONNX)" if suffix == ".onnx" else ""
        yield ("run", "model"), f"={model!r}: must be a run folder, a .h5, .keras or .tflite file{hint}"
    float_steps = [step for step in steps if step in ("quantize", "evaluate_float", "benchmark_float")]
    if suffix == ".tflite" and float_steps:
        yield ("run", "model"), f"={model!r}: {float_steps[0]} needs the float model (.h5), of which this was made"
    int8_steps = [step for step in steps if step in ("benchmark", "deploy")]
    if suffix in (".h5", ".keras") and int8_steps and "quantize" not in steps:
        yield ("run", "model"), f"={model!r}: {int8_steps[0]} needs an int8 model; quantize it first"


def _recordings(run_file: RunFile) -> Iterator[tuple[Loc, str]]:
    data = run_file.data
    needed = [step for step in run_file.run.steps if step in NEED_DATA]
    tested_only = (data.test.folder or data.test.csv) and not {"train", "quantize"} & set(needed)
    if not (data.folder or data.csv or tested_only) and needed:
        yield ("data", "folder"), ": missing; name the folder of the recordings"
    for at, source in (((), data), (("validation",), data.validation), (("test",), data.test),
                       (("calibration",), data.calibration)):  # fmt: skip
        for name in ("folder", "audio_root"):
            value = getattr(source, name)
            if value and not Path(value).is_dir():
                yield ("data", *at, name), f"={value!r}: no such folder"
        if source.csv and not Path(source.csv).is_file():
            yield ("data", *at, "csv"), f"={source.csv!r}: no such file"
    for name in ("noise", "train_only", "annotations"):
        for value in getattr(data, name):
            if not Path(value).exists():
                yield ("data", name), f": {value!r}: no such file or folder"


def _features(run_file: RunFile) -> Iterator[tuple[Loc, str]]:
    features = run_file.features
    if features.hop_samples > features.frame_samples:
        yield (
            ("features", "hop_samples"),
            f"={features.hop_samples}: leaves gaps that no window sees; at most {features.frame_samples}, the window",
        )
