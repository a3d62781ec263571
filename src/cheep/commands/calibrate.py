# SPDX-License-Identifier: MIT
"""Find thresholds for a promised number of false alarms per hour, and say what the recordings can promise.

  cheep calibrate --max-false-alarms 0.5/h --recordings events.csv --background quiet_nights/
  cheep calibrate --max-false-alarms 3/day --background quiet_nights/ --dry-run

The recordings must be held out: never trained on, from where the detector will work. Threshold (per label),
smoothing and hold-off go to manifest.json and, where the firmware's headers are of this model, to
detector_settings.h and golden_window.h; the feature hash does not change. A temperature that turns scores into
probabilities is fitted on the validation windows of the run and kept beside them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cheep.commands import _field
from cheep.commands._progress import Progress, stage
from cheep.commands._shared import note, table
from cheep.errors import CheepError


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
    parser.add_argument(
        "--gate",
        action="store_true",
        help="also look for a gate that lets the network rest where nothing rises above the noise; it is switched on "
        "where it pays (docs/gate.md)",
    )
    parser.add_argument(
        "--verify",
        type=Path,
        metavar="RUN",
        help="a run whose network looks at what this one lets through: thresholds of both are chosen together "
        "(docs/verify.md)",
    )
    parser.add_argument("--dry-run", action="store_true", help="write nothing")


def run(args: argparse.Namespace) -> int:
    """Calibrate, print, write."""
    from cheep.detector import show_probability
    from cheep.evaluate.calibration import parse_rate
    from cheep.job.calibrate import check_promise, find_thresholds, keep_thresholds
    from cheep.job.export import renew_thresholds
    from cheep.job.verify import keep_second

    target = parse_rate(args.max_false_alarms)
    smoothing, hold_off = (
        _numbers(args.smoothing, "--smoothing", 1, 32),
        _numbers(args.hold_off, "--hold-off", 0, 65535),
    )
    _check(args)

    def thresholds(bundle, recordings):
        return find_thresholds(
            bundle, recordings, target, smoothing=smoothing, hold_off=hold_off, silent=args.silent,
            collar_s=args.collar_s, promise=args.promise, new_hours=args.new_hours, seed=args.seed,
        )  # fmt: skip

    if args.verify is None:
        bundle, recordings = _field.load(args, gated=not args.gate)
        stage("looking for thresholds, smoothing and hold-off")
        result = thresholds(bundle, recordings)
    else:
        bundle, second, result = _two_stages(args, thresholds)
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
                show_probability(item.threshold, 3),
                item.rate.text(2),
                str(item.observed),
                f"{item.hours:.2f}",
                str(item.groups),
                str(item.annotations),
                item.recall.text(2) if item.recall else "-",
            ]
        )
    print(table(rows))
    print("\n".join(result.notes()))
    if deaf := [item.label for item in result.labels if item.recall is not None and item.recall.value < 0.05]:
        print(
            f"{', '.join(deaf)}: WARNING: almost nothing is found at this threshold; allow more false alarms or train "
            "better"
        )
    if args.promise:
        check_promise(result)
    if args.gate:
        result = _gate(args, bundle, recordings, result)
    if args.verify is not None and not args.dry_run:
        print(f"wrote {keep_second(bundle, second)} (the second network)")
    if not args.dry_run:
        manifest, details = keep_thresholds(bundle, result, args.json)
        print(f"wrote {manifest} (detector, calibration) and {details}")
        header = None if args.verify is not None else renew_thresholds(bundle, args.headers)
        print(f"wrote {header}" if header else "cheep model-convert puts the thresholds into the headers")
        note(args, bundle.path.parent, "calibrate")
        _signals(bundle.path)
    _temperature(args, bundle)
    if not args.dry_run:
        print("next: cheep report (shows these thresholds and their false alarms)")
    return 0


def _two_stages(args: argparse.Namespace, thresholds):
    """Calibrate both networks together; return the first one, the second one, and the result."""
    from cheep.device.bundle import load_bundle
    from cheep.evaluate.verifying import alone
    from cheep.job.verify import find_both, score_both

    bundle, second = alone(load_bundle(args.model)), load_bundle(args.verify)
    pair = score_both(bundle, second, lambda detector: _field.load(args, bundle=detector)[1])
    stage("looking for thresholds of both networks")
    result = find_both(pair, thresholds)
    assert result.verify is not None
    print(f"weight of the first network in the mean: {result.verify.config.weight:g}; {result.verify.text()}")
    return bundle, second, result


def _check(args: argparse.Namespace) -> None:
    """Raise CheepError for what would be found out only after all recordings are scored."""
    if args.verify is not None and args.gate:
        raise CheepError("--gate with --verify: one after the other is not measured yet; give one of them")
    from cheep.config import nearest_name
    from cheep.device.bundle import load_bundle

    if args.new_hours is not None and not args.new_hours > 0:
        raise CheepError(f"--new-hours {args.new_hours:g}: must be above 0")
    labels = load_bundle(args.model).labels if args.silent else ()
    for name in args.silent or ():
        if name not in labels:
            known = f"the model has {', '.join(labels)}{nearest_name(name, labels)}"
            raise CheepError(f"--silent {name}: not a label of the model ({known})")


def _gate(args: argparse.Namespace, bundle, recordings, result):
    """Look for a gate; return the calibration with it where it pays."""
    from cheep.evaluate.gating import LEAST_SKIPPED, MOST_LOST, choose_gate

    stage("looking for a gate before the network")
    choice = choose_gate(
        bundle, recordings, result.detector, microphone=_field.microphone_of(args, bundle), progress=Progress("windows")
    )
    print(f"gate: {choice.text()}")
    if not choice.pays():
        print(
            f"gate: left off, the network runs on every window: it would have to rest on {LEAST_SKIPPED:.0%} of the "
            f"background, and to lose at most {MOST_LOST:.1%} of the events"
        )
        return result
    print(f"gate: on, {choice.config.margin:g} steps above the floor; the network runs on {choice.run:.1%} of windows")
    if doubt := choice.doubt():
        print(f"gate: {doubt}")
    return result.with_gate(choice)


def _signals(model: Path) -> None:
    """Say where the new thresholds let signals without any sound through."""
    from cheep.device.bundle import load_bundle
    from cheep.evaluate.signals import hear_signals

    signals: dict[tuple[str, ...], list[str]] = {}
    for item in hear_signals(load_bundle(model)):
        if item.fires:
            signals.setdefault(item.fires, []).append(item.signal)
    for labels, names in signals.items():
        print(
            f"{', '.join(labels)}: WARNING: fires on {', '.join(names)}, a signal without any sound; with a broken "
            "microphone it would report for ever (docs/evaluation.md, Signals without sound)"
        )


def _temperature(args: argparse.Namespace, bundle) -> None:
    from cheep.job.calibrate import fit_temperature, keep_temperature, kept_temperature

    stage("fitting a temperature to the validation windows")
    try:
        found = fit_temperature(bundle, seed=args.seed, on_file=Progress("features"))
    except (CheepError, OSError) as error:
        kept = kept_temperature(bundle)
        stays = "scores stay scores" if kept is None else f"the one fitted before ({kept['value']:.2f}) stays"
        print(f"no new temperature, {stays}: {error}")
        return
    print(
        f"temperature {found.value:.2f}: fitted on {found.windows} validation windows of {found.groups} groups; on "
        f"groups that it was not fitted on a stated probability is off by {found.error_after:.3f} on average (scores "
        f"as they are: {found.error_before:.3f})"
    )
    if not found.helps:
        print("it does not help there, and is not kept: scores stay scores")
    if not args.dry_run:
        path = keep_temperature(bundle, found, args.json)
        print(f"wrote {path} ({'' if found.helps else 'no '}temperature)")


def _numbers(text: str, option: str, low: int, high: int) -> tuple[int, ...]:
    try:
        values = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise CheepError(f"{option} {text}: must be whole numbers with commas, such as 1,3,5") from None
    for value in values:
        if not low <= value <= high:
            raise CheepError(f"{option} {text}: {value} must lie in {low}..{high}")
    return values
