# SPDX-License-Identifier: MIT
"""Evaluate a detector on held-out recordings as the device would hear them, with false alarms per hour.

  cheep evaluate --recordings events.csv                      events of annotated recordings
  cheep evaluate --recordings events.csv --background quiet/  and hours without any target
  cheep evaluate --recordings events.csv --robustness         the same, spoilt: noise, wind, other microphones ...
  cheep evaluate                                              test windows and clips of the latest run
  cheep evaluate --reference birdnet                          a second opinion on them, and what would be possible

A detection is right when its audio overlaps an annotation of its label; an annotation is found when a right
detection overlaps it. Intervals are bootstrapped by recording.
"""

from __future__ import annotations

import argparse
import collections
import sys
from typing import TYPE_CHECKING

from cheep import runs
from cheep.commands import _field
from cheep.commands._progress import Progress, stage
from cheep.commands._shared import metrics_table, table
from cheep.files import read_json, write_json

if TYPE_CHECKING:
    from cheep.device.bundle import ModelBundle
    from cheep.evaluate.field import FieldResult


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    _field.add_recordings(parser)
    parser.add_argument(
        "--reference",
        metavar="MODEL",
        help="another model's second opinion: birdnet, perch, or FILE,LABELS[,RATE] (docs/ears.md)",
    )
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
    if args.reference:
        _second_opinion(args.reference, bundle, result)
    print(f"\nwrote {target}\nnext: cheep calibrate --max-false-alarms 1/h ... (thresholds), cheep report")
    return 0


def _second_opinion(
    reference: str, bundle: ModelBundle, result: FieldResult | None, metrics: dict | None = None
) -> None:
    """Hear what another model says of false alarms, or (no ``result``) of the test split, keep it and print it."""
    from cheep.ears import Ears
    from cheep.job.reference import ceiling_of, disputed_page, hear_alarms, keep_opinion

    run, ears = bundle.path.parent, Ears(reference)
    stage(f"a second opinion by {ears.about.title}")
    opinion = (
        ceiling_of(run, ears, Progress("files"))
        if result is None
        else hear_alarms(result, ears, run, progress=Progress("files"))
    )
    for text in opinion.problems[:12]:
        print(text, file=sys.stderr)
    if opinion.problems:
        print(f"{len(opinion.problems)} recording(s) could not be read: nobody's opinion on them")
    if opinion.unknown:
        print(f"{ears.about.title} has no label for {', '.join(opinion.unknown)}: alarms of these were not judged")
    if opinion.alarms is not None:
        names = collections.Counter(item.heard.rpartition("_")[2] for item in opinion.disputed)
        heard = f" ({', '.join(f'{name} {count}' for name, count in names.most_common(6))})" if names else ""
        what = ", ".join(sorted({item.label for item in opinion.alarms})) or "anything"
        said = f"{len(opinion.alarms)} strongest false alarms it hears {what} in {len(opinion.disputed)}"
        print(f"{ears.about.title}: of {said}{heard}")
    elif opinion.ceiling is not None:
        figures, own = opinion.ceiling, (metrics or {}).get("int8", {}).get("test") or {}
        rows = [["test split", "clip accuracy", "window accuracy", "window AUC"]]
        for name, values in (("int8 detector", own), (f"probe on {ears.about.title} (ceiling)", figures)):
            shown = (values.get(key) for key in ("clip_accuracy", "window_accuracy", "window_auc"))
            rows.append([name, *("-" if value is None else f"{value:.3f}" for value in shown)])
        print(table(rows))
        print(f"{len(opinion.doubted)} test windows have a label that is hard to believe")
    path = keep_opinion(run, ears, opinion, bundle.model.sha256)
    page = disputed_page(run, ears, opinion, bundle.features.sample_rate_hz)
    print(f"{path}{f', listen: {page}' if page else ''}; {ears.about.lineage('')['means']}")


def _windows(args: argparse.Namespace) -> int:
    folder = runs.find_run(args.model)
    values = read_json(folder / runs.EVALUATION, runs.QAT_COMMAND)
    print(f"{folder}: windows and clips of the test split")
    print(metrics_table(values["metrics"]))
    if args.json:
        write_json(args.json, values["metrics"])
    if args.reference:
        from cheep.device.bundle import load_bundle

        _second_opinion(args.reference, load_bundle(folder), None, values["metrics"])
    print("next: cheep evaluate --recordings EVENTS.csv (long recordings, false alarms per hour)")
    return 0
