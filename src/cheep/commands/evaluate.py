# SPDX-License-Identifier: MIT
"""Evaluate a detector on held-out recordings as the device would hear them, with false alarms per hour.

  cheep evaluate --recordings events.csv                      events of annotated recordings
  cheep evaluate --recordings events.csv --background quiet/  and hours without any target
  cheep evaluate --recordings events.csv --robustness         the same, spoilt: noise, wind, other microphones ...
  cheep evaluate                                              test windows and clips of the latest run

A detection is right when its audio overlaps an annotation of its label; an annotation is found when a right
detection overlaps it. Intervals are bootstrapped by recording.
"""

from __future__ import annotations

import argparse

from cheep import runs
from cheep.commands import _field
from cheep.commands._progress import Progress, stage
from cheep.commands._shared import metrics_table, table
from cheep.files import read_json, write_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    _field.add_recordings(parser)
    parser.add_argument("--robustness", action="store_true", help="also spoil the recordings in a dozen ways")


def run(args: argparse.Namespace) -> int:
    """Evaluate and print."""
    if args.recordings is None and not args.background:
        return _windows(args)
    from cheep.job.evaluate import evaluate_recordings, keep_evaluation, spoil_recordings

    bundle, recordings = _field.load(args)
    result = evaluate_recordings(bundle, recordings, collar_s=args.collar_s, seed=args.seed)
    rows = [["label", "events", "found", "recall", "precision", "F1", "AP", "false alarms", "per hour"]]
    for row in result.rows:
        rows.append(
            [
                row.label,
                str(row.counts.annotations),
                str(row.counts.found),
                *("-" if value is None else value.text(2) for value in (row.recall, row.precision, row.f1)),
                "-" if row.average_precision is None else f"{row.average_precision:.3f}",
                str(row.counts.false_alarms),
                "-" if row.false_alarms_per_hour is None else row.false_alarms_per_hour.text(2),
            ]
        )
    print(
        f"{len(recordings)} recordings, {result.hours:.2f} h; in brackets: 95 % intervals by recording; of false "
        "alarms per hour: what as many new hours will show, sounds that were not met among them"
    )
    print(table(rows))
    spoilt = None
    if args.robustness:
        stage("spoiling the recordings")
        spoilt = spoil_recordings(bundle, recordings, seed=args.seed, on_file=Progress("recordings"))
        shown = [["condition", "recall", "precision", "false alarms per hour"]]
        shown += [
            [row["condition"], *("-" if row[key] is None else f"{row[key]:.2f}" for key in list(row)[1:])]
            for row in spoilt
        ]
        print("\n" + table(shown))
    target = keep_evaluation(bundle, result, spoilt, args.json)
    print(f"\nwrote {target}\nnext: cheep calibrate --max-false-alarms 1/h ... (thresholds), cheep report")
    return 0


def _windows(args: argparse.Namespace) -> int:
    folder = runs.find_run(args.model)
    values = read_json(folder / runs.EVALUATION, runs.QAT_COMMAND)
    print(f"{folder}: windows and clips of the test split")
    print(metrics_table(values["metrics"]))
    if args.json:
        write_json(args.json, values["metrics"])
    print("next: cheep evaluate --recordings EVENTS.csv (long recordings, false alarms per hour)")
    return 0
