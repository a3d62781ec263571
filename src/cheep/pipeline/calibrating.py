# SPDX-License-Identifier: MIT
"""The step calibrate of a run: thresholds on held-out recordings, and a second network behind the first."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from cheep import runs
from cheep.config import RunDetectorConfig, RunFile
from cheep.config.source import Loc
from cheep.device.bundle import VERIFY, cannot_verify, load_bundle
from cheep.errors import CheepError
from cheep.evaluate.calibration import parse_rate
from cheep.evaluate.verifying import alone
from cheep.features.digests import sha256_of
from cheep.files import needed, read_json
from cheep.job.calibrate import find_thresholds, keep_thresholds
from cheep.job.evaluate import HeldOut, annotated_boxes, score_held_out
from cheep.job.verify import find_both, keep_second, score_both
from cheep.pipeline.cache import content_key
from cheep.pipeline.steps import Context

_DETAILS = "calibration.json"


def check_calibration(run_file: RunFile) -> Iterator[tuple[Loc, str]]:
    """Yield what stands in the way of the step calibrate."""
    settings, steps = run_file.detector, run_file.run.steps
    if settings is None or "calibrate" not in steps:
        if settings is not None:
            yield ("detector",), ": is for the step calibrate, which is not in run.steps; add it behind quantize"
        elif "calibrate" in steps:
            yield ("run", "steps"), ": calibrate needs held-out recordings; name them in section detector"
        return
    if not (settings.recordings or (settings.background and not settings.verify)):
        two = "two networks are calibrated on annotated recordings"
        yield ("detector", "recordings"), f": missing; {two if settings.verify else 'or give detector.background'}"
    if run_file.data.split.cross_validate:
        yield ("run", "steps"), ": calibrate is of one model, data.split.cross_validate makes several; remove one"
    try:
        parse_rate(settings.max_false_alarms)
    except CheepError as error:
        rule = str(error).partition(": ")[2]
        yield ("detector", "max_false_alarms"), f"={settings.max_false_alarms!r}: {rule}"
    for name in ("recordings", "audio"):
        value = getattr(settings, name)
        if value and not Path(value).exists():
            yield ("detector", name), f"={value!r}: no such file or folder"
    for value in settings.background:
        if not Path(value).exists():
            yield ("detector", "background"), f": {value!r}: no such file or folder"
    if settings.verify:
        yield from _second(run_file, settings.verify)


def _second(run_file: RunFile, verify: str) -> Iterator[tuple[Loc, str]]:
    at = ("detector", "verify")
    if not Path(verify).exists():
        yield at, f"={verify!r}: no such run; make it first (cheep run RECIPE2), or leave it out"
        return
    try:
        second = load_bundle(verify)
    except CheepError as error:
        yield at, f"={verify!r}: {error}"
        return
    if not (second.path.parent / runs.MANIFEST).is_file():
        yield at, f"={verify!r}: no {runs.MANIFEST} beside the network; give the folder of a run"
    elif second.verifier is not None:
        yield at, f"={verify!r}: it has a second network itself; take one without"
    elif not run_file.run.model and (problem := cannot_verify(run_file.features, second.features)):
        yield at, f"={verify!r}: {problem}"


def calibration_step(context: Context) -> None:
    """Find thresholds of the int8 model on held-out recordings, with the second network where the run names one."""
    settings = context.config.detector
    assert settings is not None
    run = context.run
    needed(run / runs.INT8_TFLITE, "cheep run with a chain that quantizes")
    manifest = read_json(run / runs.MANIFEST, runs.QAT_COMMAND)
    manifest["detector"].pop("verify", None)
    second = load_bundle(settings.verify) if settings.verify else None
    held_out = _held_out(settings)
    boxes = annotated_boxes(held_out)
    inputs = [
        settings.to_dict(), sha256_of(run / runs.INT8_TFLITE), manifest["detector"],
        second and second.model.sha256, _recordings(settings, boxes),
    ]  # fmt: skip
    key = content_key("calibration", inputs, "cheep.job.calibrate", "cheep.job.evaluate", "cheep.job.verify")

    def make(folder: Path) -> None:
        bundle = alone(load_bundle(run))

        def score(detector):
            return score_held_out(detector, held_out, boxes, on_file=context.progress)

        def thresholds(detector, recordings):
            return find_thresholds(detector, recordings, parse_rate(settings.max_false_alarms))

        if second is None:
            result = thresholds(bundle, score(bundle))
        else:
            result = find_both(score_both(bundle, second, score), thresholds)
            shutil.copytree(keep_second(bundle, second), folder / VERIFY)
            assert result.verify is not None
            context.say(result.verify.text())
        for line in result.notes():
            context.say(line)
        for path in keep_thresholds(bundle, result):
            shutil.copyfile(path, folder / path.name)

    place, cached = context.cache.build("calibration", key, make)
    if cached:
        if (place / VERIFY).is_dir():
            shutil.rmtree(run / VERIFY, ignore_errors=True)
            shutil.copytree(place / VERIFY, run / VERIFY)
        for name in (_DETAILS, runs.MANIFEST):
            shutil.copyfile(place / name, run / name)
    context.note("calibration", cached)


def _held_out(settings: RunDetectorConfig) -> HeldOut:
    """Return what a calibration hears."""
    recordings, audio = (Path(name) if name else None for name in (settings.recordings, settings.audio))
    return HeldOut(recordings, audio, [Path(path) for path in settings.background])


def _recordings(settings: RunDetectorConfig, annotated: Iterable[Path]) -> list[list[str]]:
    """Return the content of everything that calibration reads."""
    out = [[str(path), sha256_of(path)] for path in sorted(annotated)]
    for name in (settings.recordings, *settings.background):
        path = Path(name)
        if name and path.is_file():
            out.append([name, sha256_of(path)])
        elif name:
            out += [[str(file), sha256_of(file)] for file in sorted(path.rglob("*")) if file.is_file()]
    return out
