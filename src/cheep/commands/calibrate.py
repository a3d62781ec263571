"""Find thresholds for a promised number of false alarms per hour, and say what the recordings can promise.

  cheep calibrate --max-false-alarms 0.5/h --recordings events.csv --background quiet_nights/
  cheep calibrate --max-false-alarms 3/day --background quiet_nights/ --dry-run

The recordings must be held out: never trained on, from where the detector will work. Threshold (per label),
smoothing and hold-off go to manifest.json and, where the firmware's headers are of this model, to
detector_settings.h; the feature hash does not change. A temperature that turns scores into probabilities is fitted on
the validation windows of the run and kept beside them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cheep import runs
from cheep.commands import _field
from cheep.commands._progress import Progress, stage
from cheep.commands._shared import note, table
from cheep.errors import CheepError, GateError
from cheep.files import read_json, write_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--max-false-alarms",
        required=True,
        metavar="RATE",
        help="for each label: 0.5/h, 3/day, 2/week, or a number (per hour)",
    )
    parser.add_argument(
        "--promise",
        action="store_true",
        help="the rate must hold with 95 %% confidence, not only be expected (exit 1 if the data are too few)",
    )
    _field.add_recordings(parser)
    parser.add_argument(
        "--smoothing", default="1,2,3,5,8", metavar="N,N", help="windows averaged: candidates (default 1,2,3,5,8)"
    )
    parser.add_argument(
        "--hold-off", default="0,2,8", metavar="N,N", help="windows of silence after an event: candidates"
    )
    parser.add_argument(
        "--new-hours",
        type=float,
        metavar="H",
        help="how long the new recordings are whose false alarms are foretold (default: as long as these)",
    )
    parser.add_argument("--silent", nargs="*", metavar="LABEL", help="labels that make no event (default: background)")
    parser.add_argument(
        "--headers", type=Path, metavar="DIR", help="the firmware's headers (default: firmware/common/src/generated)"
    )
    parser.add_argument("--dry-run", action="store_true", help="write nothing")


def run(args: argparse.Namespace) -> int:
    """Calibrate, print, write."""
    import numpy as np

    from cheep.evaluate.calibration import calibrate, parse_rate
    from cheep.evaluate.streaming import Output, ScoreTiming

    target = parse_rate(args.max_false_alarms)
    smoothing, hold_off = (
        _numbers(args.smoothing, "--smoothing", 1, 32),
        _numbers(args.hold_off, "--hold-off", 0, 65535),
    )
    bundle, recordings = _field.load(args)
    silent = _silent(args.silent, bundle)
    output = Output(bundle.labels, bundle.output.scale, bundle.output.zero_point, ScoreTiming.of(bundle))
    stage("looking for thresholds, smoothing and hold-off")
    result = calibrate(
        recordings,
        output,
        bundle.detector,
        target,
        smoothing=smoothing,
        hold_off=hold_off,
        silent=silent,
        rng=np.random.default_rng(args.seed),
        collar_s=args.collar_s,
        promise=args.promise,
        new_hours=args.new_hours,
    )
    detector = result.detector
    print(
        f"target: at most {target:.3g} false alarms per hour and label; smoothing {detector.smoothing_windows} "
        f"windows, hold-off {detector.hold_off_windows} windows of {bundle.stride_s:.3f} s"
    )
    rows = [["label", "threshold", "expected per hour", "seen", "hours", "groups", "events", "recall"]]
    for item in result.labels:
        rows.append(
            [
                item.label,
                f"{item.threshold:.3f}",
                item.rate.text(2),
                str(item.observed),
                f"{item.hours:.2f}",
                str(item.groups),
                str(item.annotations),
                item.recall.text(2) if item.recall else "-",
            ]
        )
    print(table(rows))
    for item in result.labels:
        print(f"{item.label}: {item.note()}")
        if item.recall is not None and item.recall.value < 0.05:
            print(
                f"{item.label}: WARNING: almost nothing is found at this threshold; allow more false alarms "
                "or train better"
            )
    broken = [item for item in result.labels if args.promise and not item.promised]
    if broken:
        raise GateError(f"nothing written: {broken[0].label}: {broken[0].note()}")
    if not args.dry_run:
        _write(args, bundle, result)
        note(args, bundle.path.parent, "calibrate")
    try:
        temperature = _temperature(bundle, args.seed)
    except CheepError as error:
        print(f"no temperature, scores stay scores: {error}")
        temperature = None
    if temperature is not None and not args.dry_run:
        _write_temperature(args, bundle, temperature)
    if not args.dry_run:
        print("next: cheep report (shows these thresholds and their false alarms)")
    return 0


def _temperature(bundle, seed: int):
    """Fit the temperature on the run's validation windows; None (and said) where there are none, or it does not help.

    Raises
    ------
    CheepError
        The validation recordings are not there, or their list is damaged.
    """
    import numpy as np

    from cheep.config import TrainConfig
    from cheep.evaluate.temperature import calibrate_scores
    from cheep.job.scores import int8_scores
    from cheep.job.windows import load_windows
    from cheep.tflite.tflm import TflmModel

    run = bundle.path.parent
    if not ((run / runs.DATASET).is_file() and (run / runs.TRAINING).is_file()):
        print(f"scores stay scores: {run} holds no data set whose validation windows could tell probabilities")
        return None
    stage("fitting a temperature to the validation windows")
    config = TrainConfig.parse(read_json(run / runs.TRAINING, runs.TRAIN_COMMAND)["train"], "training.json")
    windows = load_windows(run, bundle.features, config, Progress("features"), only="val")
    if tuple(windows.plan.labels) != bundle.labels:
        print(f"scores stay scores: {run / runs.DATASET} has other labels than the model")
        return None
    scores = int8_scores(TflmModel(bundle.path), windows).get("val")
    if scores is None:
        print(f"scores stay scores: {run / runs.DATASET} has no validation windows")
        return None
    found = calibrate_scores(scores, np.random.default_rng(seed))
    print(
        f"temperature {found.value:.2f}: fitted on {found.windows} validation windows of {found.groups} groups; on "
        f"groups that it was not fitted on a stated probability is off by {found.error_after:.3f} on average (scores "
        f"as they are: {found.error_before:.3f})"
    )
    if not found.helps:
        print("it does not help there, and is not kept: scores stay scores")
        return None
    return found


def _write(args: argparse.Namespace, bundle, result) -> None:
    from cheep.report.content import plain

    path = bundle.path.parent / runs.MANIFEST
    manifest = read_json(path, runs.QAT_COMMAND)
    manifest["detector"] = result.detector.to_dict()
    manifest["calibration"] = plain({**result.to_dict(), "temperature": None})
    write_json(path, manifest)
    labels = [{**item.to_dict(), "curve": item.curve} for item in result.labels]
    write_json(
        _details(args, bundle),
        plain({"labels": labels, "temperature": None, "model_sha256": bundle.model.sha256}),
    )
    print(f"wrote {path} (detector, calibration) and {_details(args, bundle)}")
    header = _rewrite_header(args.headers, bundle)
    print(f"wrote {header}" if header else "cheep model-convert puts the thresholds into the headers")


def _write_temperature(args: argparse.Namespace, bundle, temperature) -> None:
    path = bundle.path.parent / runs.MANIFEST
    manifest = read_json(path, runs.QAT_COMMAND)
    manifest["calibration"]["temperature"] = temperature.to_dict()
    write_json(path, manifest)
    details = read_json(_details(args, bundle), "cheep calibrate")
    write_json(_details(args, bundle), {**details, "temperature": temperature.to_dict()})
    print(f"wrote {path} (temperature)")


def _details(args: argparse.Namespace, bundle) -> Path:
    return args.json or bundle.path.parent / "calibration.json"


def _rewrite_header(folder: Path | None, bundle) -> Path | None:
    """Render ``detector_settings.h`` again where the headers are of this very model."""
    from cheep.export import generated_folder, load_export, render_detector_settings, write_files

    folder = folder or generated_folder()
    model = folder / "model.h"
    if not model.is_file() or bundle.model.sha256[:16] not in model.read_text(encoding="utf-8").splitlines()[0]:
        return None
    write_files(folder, {"detector_settings.h": render_detector_settings(load_export(bundle.path))})
    return folder / "detector_settings.h"


def _silent(given: list[str] | None, bundle) -> tuple[str, ...]:
    if given is None:
        thresholds = bundle.detector.threshold
        if len(thresholds) == len(bundle.labels):
            return tuple(label for label, t in zip(bundle.labels, thresholds, strict=True) if t is None)
        return tuple(label for label in bundle.labels if label == "background")
    for label in given:
        if label not in bundle.labels:
            raise CheepError(f"--silent {label}: not a label of the model ({', '.join(bundle.labels)})")
    return tuple(given)


def _numbers(text: str, option: str, low: int, high: int) -> tuple[int, ...]:
    try:
        values = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise CheepError(f"{option} {text}: must be whole numbers with commas, such as 1,3,5") from None
    for value in values:
        if not low <= value <= high:
            raise CheepError(f"{option} {text}: {value} must lie in {low}..{high}")
    return values
