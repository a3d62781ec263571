# SPDX-License-Identifier: MIT
"""Work with a season (what cheep scan made): numbers and pictures, detections for other programs, other thresholds.

summary SEASON                hours, detections and gaps by site, hour and month; tables and pictures
export SEASON KIND -o OUT     detections: csv, raven, audacity, birdnet, kaleidoscope, clips (sound) or hoplite
detect SEASON --threshold T   make the detections again, from the stored scores
plan SEASON --want WISH       how many clips to verify, drawn how, and what certainty that gives (docs/field-loop.md)
estimate SEASON               what the verdicts say: precision, false alarms, calls, recall, thresholds
verdicts SEASON               verdicts from and to other programs' files; how far reviewers agree
rank SEASON --by MODEL        which clips to verify next, from a few confirmed ones, by a large model's ears
learn SEASON --run RUN        the next model from the verdicts, promoted where it is better
rounds SEASON                 what the rounds of learning came to
prove CARD --run RUN          did the device compute what this machine computes: its clips scored again
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cheep.commands import _season_learn, _season_plan
from cheep.commands._cluster import add_cluster
from cheep.commands._progress import Progress, stage, working
from cheep.commands._shared import add_model, table
from cheep.errors import CheepError, GateError

if TYPE_CHECKING:
    from cheep.device.bundle import ModelBundle
    from cheep.season import Season
    from cheep.season.schema import ModelRow
    from cheep.season.summary import Line, Summary

_SHOWN = 12
_WINDOWS = {
    "smoothing_windows": "windows whose scores are averaged",
    "min_windows": "windows in a row at or above the threshold that make a detection",
    "hold_off_windows": "windows after a detection in which none begins",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    sub = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    summary = _action(sub, "summary", "hours, detections and gaps by site, hour and month")
    summary.add_argument("-o", "--output", type=Path, metavar="DIR", help="for tables and pictures (SEASON/summary)")
    export = _action(sub, "export", "detections as other programs read them, or as sound")
    export.add_argument(
        "kind", choices=("csv", "raven", "audacity", "birdnet", "kaleidoscope", "clips", "hoplite"),
        help="tables of other programs; clips: the sound of each; hoplite: embeddings for perch-hoplite",
    )  # fmt: skip
    export.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="file; raven, audacity, clips, hoplite: folder"
    )
    export.add_argument("--label", action="append", default=[], help="only this one (may be given again)")
    export.add_argument("--site", action="append", default=[], help="only this one (may be given again)")
    export.add_argument("--min-score", type=float, default=0.0, metavar="S", help="only from this score on, 0..1")
    export.add_argument("--context", type=float, default=1.0, metavar="S", help="of clips: s around each (%(default)g)")
    export.add_argument("--most", type=int, default=0, metavar="N", help="of clips: the best N of each label")
    export.add_argument("--jobs", type=int, metavar="N", help="worker processes, for clips (default: one per core)")
    add_cluster(export)
    detect = _action(sub, "detect", "the detections again, from the stored scores")
    detect.add_argument(
        "--threshold",
        action="append",
        default=[],
        metavar="[LABEL=]T",
        help="of one label, or of all that make detections: 0..1; LABEL=never: none of it (may be given again)",
    )
    detect.add_argument("--like", metavar="RUN", help="settings of this run or model folder (cheep calibrate's)")
    for name, help_text in _WINDOWS.items():
        detect.add_argument(f"--{name.replace('_', '-')}", dest=name, type=int, metavar="N", help=help_text)
    detect.add_argument(
        "--hysteresis", type=float, metavar="H", help="a detection ends this far below its threshold, 0..1"
    )
    add_cluster(detect)
    text = "did the device compute what this machine computes: its clips scored again, against its rows"
    prove = sub.add_parser("prove", help=text, description=text)
    prove.add_argument("card", type=Path, metavar="CARD", help="folder of an AudioMoth's card, or a copy of it")
    add_model(prove, "of the device; default: the latest run")
    _season_plan.add_actions(functools.partial(_action, sub))
    _season_learn.add_actions(functools.partial(_action, sub))


def _action(sub, name: str, text: str, model: bool = True) -> argparse.ArgumentParser:
    parser = sub.add_parser(name, help=text, description=text)
    parser.add_argument("season", type=Path, metavar="SEASON", help="folder that cheep scan made")
    if model:
        parser.add_argument("--model", metavar="ID", help="beginning of its id, where the season has several")
    return parser


def run(args: argparse.Namespace) -> int:
    """Do what was asked."""
    return _ACTIONS[args.action](args)


def _summary(args: argparse.Namespace) -> int:
    from cheep.season import Season
    from cheep.season.summary import summarize
    from cheep.season.summary_files import write_summary

    season = Season(args.season)
    model = season.model(args.model)
    _check_tables(season)
    working("reading the tables")
    found = summarize(season, model)
    written = write_summary(found, args.output or season.folder / "summary")
    _tell(found, model)
    print(f"\ntables and pictures: {written[0].parent}")
    print(f"next: cheep review {season.folder}, or cheep season plan {season.folder} for what is to be verified")
    return 0


def _tell(found: Summary, model: ModelRow) -> None:
    status = ", ".join(f"{count} {name}" for name, count in found.status.items())
    print(f"{found.hours:.2f} h heard with {model.file} ({model.model}); recordings: {status or 'none'}\n")
    for name, lines in (("site", found.by_site), ("month", found.by_month), ("hour", found.by_hour)):
        if lines:
            print(_lines(name, lines, found.labels), "\n")
    for gap in found.gaps[:_SHOWN]:
        days = gap.first if gap.days == 1 else f"{gap.first} to {gap.last}"
        print(f"gap: {gap.deployment}, {days}: {gap.hours:.2f} h, usually {gap.usual_hours:.2f} h a day")
    if len(found.gaps) > _SHOWN:
        print(f"... and {len(found.gaps) - _SHOWN} gaps more: gaps.csv")


def _lines(name: str, lines: tuple[Line, ...], labels: tuple[str, ...]) -> str:
    shown = labels[:6]
    rows = [[name, "hours", "recordings", *shown]]
    rows += [
        [line.name, f"{line.hours:.2f}", str(line.recordings), *(str(line.detections[label]) for label in shown)]
        for line in lines[:40]
    ]
    more = f"\n... and {len(lines) - 40} more: by_{name}.csv" if len(lines) > 40 else ""
    return table(rows) + more


def _export(args: argparse.Namespace) -> int:
    from cheep.season import Season
    from cheep.season.export import Wanted, export_detections

    season = Season(args.season)
    _check_tables(season)
    if args.kind == "hoplite":
        from cheep.season.hoplite import export_hoplite

        done = export_hoplite(season, args.output, model=season.model(args.model), progress=Progress("recordings"))
        lost = f"; {len(done.problems)} recording(s) could not be read" if done.problems else ""
        print(f"{args.output}: {done.detections} embedding(s){lost}")
        return 0
    done = export_detections(
        season,
        args.kind,
        args.output,
        model=season.model(args.model),
        wanted=Wanted(tuple(args.label), tuple(args.site), args.min_score),
        context_s=args.context,
        most=args.most,
        jobs=args.jobs,
        progress=Progress("recordings"),
    )
    for text in done.problems[:_SHOWN]:
        print(text, file=sys.stderr)
    lost = f"; {len(done.problems)} recording(s) could not be read" if done.problems else ""
    print(f"{args.output}: {done.detections} detection(s) in {done.files} file(s){lost}")
    return 0


def _detect(args: argparse.Namespace) -> int:
    from cheep.season import Season
    from cheep.season.tables import make_tables

    season = Season(args.season)
    model = season.model(args.model)
    names = ("smoothing_windows", "min_windows", "hold_off_windows", "hysteresis")
    changed = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    bundle = None if args.like is None else _same_network(model, args.like)
    if bundle is not None:
        model = dataclasses.replace(model, detector=bundle.detector)
    values = {**model.detector.to_dict(), **changed, "threshold": _thresholds(args.threshold, model)}
    detector = type(model.detector).parse(values, "options")
    before = season.detections(model.model).num_rows
    with season.writing():
        model = season.set_detector(season.model(model.model), detector)
        if bundle is not None:
            season.follow(model, bundle.path.parent)
        make_tables(season, progress=Progress("recordings"))
    stage(f"{season.detections(model.model).num_rows} detection(s), {before} before; {_settings(model)}")
    return 0


def _settings(model: ModelRow) -> str:
    """Return the detector's settings in words."""
    from cheep.detector.scores import show_probability

    levels = model.detector.threshold * (len(model.labels) if len(model.detector.threshold) == 1 else 1)
    pairs = zip(model.labels, levels, strict=True)
    said = [f"{label} {'never' if level is None else show_probability(float(level), 3)}" for label, level in pairs]
    d = model.detector
    return (
        f"thresholds: {', '.join(said)}; mean of {d.smoothing_windows} window(s), {d.min_windows} at least, hold-off "
        f"{d.hold_off_windows}, hysteresis {d.hysteresis:g}"
    )


def _same_network(model: ModelRow, source: str) -> ModelBundle:
    """Return the bundle of a run, which must be of the season's network."""
    from cheep.device.bundle import load_bundle

    bundle = load_bundle(source)
    if bundle.model.sha256 != model.sha256:
        raise CheepError(f"{bundle.path}: is another network than the season's {model.file} ({model.model})")
    return bundle


def _thresholds(given: list[str], model: ModelRow) -> list[float | None]:
    from cheep.config import nearest_name

    now = model.detector.threshold
    out: list[float | None] = list(now * len(model.labels) if len(now) == 1 else now)
    for text in given:
        label, _, value = text.rpartition("=")
        if label and label not in model.labels:
            near = nearest_name(label, model.labels)
            raise CheepError(f"--threshold {text}: no label {label!r}; the model has {', '.join(model.labels)}{near}")
        try:
            number = None if value == "never" else float(value)
        except ValueError:
            number = -1.0
        if number is not None and not 0 <= number <= 1:
            raise CheepError(f"--threshold {text}: must be a number 0..1, or LABEL=never")
        for i, name in enumerate(model.labels):
            if name == label or (not label and out[i] is not None):
                out[i] = number
    return out


def _prove(args: argparse.Namespace) -> int:
    from collections import Counter

    from cheep.device.bundle import load_bundle
    from cheep.season.prove import BETWEEN, DIFFERS, LIKE, OPEN, SAME, prove_card, remembers

    if not args.card.is_dir():
        raise CheepError(f"{args.card}: no such folder; name an AudioMoth's card, or a copy of it")
    bundle = load_bundle(args.model)
    found = prove_card(args.card, bundle, Progress("rows"))
    counts = Counter(item.verdict for item in found)
    wrong = [item for item in found if item.verdict == DIFFERS]
    for item in wrong[:_SHOWN]:
        print(f"{item.file}:{item.line}: {item.label}: the device has {item.score:.6f}, its clip {item.clip} gives "
              f"{item.found:.6f} here")  # fmt: skip
    told = ", ".join(f"{number} {verdict}" for verdict, number in counts.most_common())
    print(f"{len(found)} rows of {args.card} against {bundle.path}: {told}")
    if wrong:
        raise GateError(f"{len(wrong)} rows are not what this model gives: another model on the device, or a fault")
    doubtful = counts[LIKE] + counts[BETWEEN] + counts[OPEN]
    if not counts[SAME] and doubtful:
        hint = (
            " (most rows lie outside of all that: is this the device's model?)" if 2 * counts[OPEN] > doubtful else ""
        )
        raise GateError(
            f"nothing is proven: {doubtful} clips begin too near their event for a model which remembers what it heard"
            f"{hint}: in SETTINGS.TXT clip_lead_seconds = 4 or more, clip_seconds longer by the event"
        )
    if not counts[SAME]:
        raise GateError("nothing was compared: the rows have no whole clips (clip_seconds in SETTINGS.TXT)")
    judged = "" if not remembers(bundle) else (
        "; the model remembers what it heard before the clip: four pasts without anything in common give these rows, "
        "which bounds no other past strictly"
    )  # fmt: skip
    print(f"proven for {counts[SAME]} rows: the device computed what this machine computes, to the last digit{judged}")
    if counts[LIKE] or counts[BETWEEN]:
        print(
            f"{counts[LIKE] + counts[BETWEEN]} rows are no proof, but nothing speaks against them: a longer "
            "clip_lead_seconds decides more of them"
        )
    return 0


def _check_tables(season: Season) -> None:
    """Make tables that are older than the scores: a scan was interrupted, or goes on just now."""
    from cheep.season.tables import make_tables, tables_stale

    if not tables_stale(season):
        return
    try:
        with season.writing():
            stage("a scan was interrupted: making the tables of what it got (its command again goes on)")
            make_tables(season, progress=Progress("recordings"))
    except CheepError as error:
        print(f"{error}; until then the tables are those of before", file=sys.stderr)


_ACTIONS = {
    "summary": _summary,
    "export": _export,
    "detect": _detect,
    "plan": _season_plan.run_plan,
    "estimate": _season_plan.run_estimate,
    "verdicts": _season_plan.run_verdicts,
    "rank": _season_learn.run_rank,
    "learn": _season_learn.run_learn,
    "rounds": _season_learn.run_rounds,
    "prove": _prove,
}
