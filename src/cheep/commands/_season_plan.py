# SPDX-License-Identifier: MIT
"""cheep season plan, estimate, verdicts: how much to listen to, what it tells, and files of other programs."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cheep.commands._progress import Progress, stage
from cheep.commands._shared import table
from cheep.errors import CheepError

if TYPE_CHECKING:
    from cheep.season import Season
    from cheep.season.curves import ThresholdRow
    from cheep.season.estimate import Estimates
    from cheep.season.lookup import Recordings
    from cheep.season.plan import Plan
    from cheep.season.tell import SeasonEstimate


def add_actions(action: Callable[..., argparse.ArgumentParser]) -> None:
    """Declare the subcommands; ``action(name, help)`` makes a parser that knows SEASON (and ``--model``)."""
    plan = action("plan", "how many clips to verify, drawn how, and what certainty that gives")
    plan.add_argument("--label", metavar="L", help="what to verify (default: the only label that makes events)")
    plan.add_argument(
        "--want", action="append", metavar="WISH",
        help="precision:0.05, rate:0.5/h, recall:0.1 (to +- that), or threshold:0.9 (for that precision); "
        "default: precision:0.05",
    )  # fmt: skip
    plan.add_argument("--name", metavar="NAME", help="of the plan (default: LABEL-WISH)")
    plan.add_argument("--clips", type=int, metavar="N", help="verify N, whatever they can promise")
    plan.add_argument("--clip-s", type=float, default=3.0, metavar="S", help="length of the clips (%(default)g)")
    plan.add_argument("--threshold", type=float, metavar="T", help="draw as if this were the threshold, 0..1")
    plan.add_argument("--seed", type=int, default=0, help="of the draw (%(default)s)")
    found = action("estimate", "what the verdicts on a plan's clips say of the season")
    found.add_argument("--plan", metavar="NAME", help="of which plan's clips (default: the only one)")
    found.add_argument("--precision", type=float, metavar="P", help="find the threshold for this precision, 0..1")
    found.add_argument("--sure", action="store_true", help="of the interval's lower end, not of the value")
    found.add_argument("--keep", metavar="RUN", help="write that threshold into the manifest of this run's model")
    found.add_argument("--json", type=Path, metavar="OUT", help="also write the estimates there")
    text = "verdicts from and to other programs' files; how far reviewers agree"
    said = action("verdicts", text, model=False)
    said.add_argument("--import", dest="source", type=Path, metavar="PATH", help="file or folder with verdicts")
    said.add_argument(
        "--annotations", type=Path, metavar="TABLE",
        help="answer a plan's questions from annotations of the season's recordings, in which every call is marked",
    )  # fmt: skip
    said.add_argument("--plan", metavar="NAME", help="of --annotations (default: the only one)")
    said.add_argument("--reviewer", default="", metavar="WHO", help="whose they are, where the file does not say")
    said.add_argument(
        "--export", dest="kind", choices=("raven", "audacity", "birdnet", "whombat", "csv"), help="write all verdicts"
    )
    said.add_argument("-o", "--output", type=Path, metavar="OUT", help="of --export: folder; whombat, csv: file")
    said.add_argument("--label", default="", metavar="L", help="only of this label")


def run_plan(args: argparse.Namespace) -> int:
    """Draw a plan and say what it promises."""
    from cheep.season import Season
    from cheep.season.frame import frame_of_season
    from cheep.season.plan import make_plan
    from cheep.season.sizes import parse_want
    from cheep.season.tell import known_answers
    from cheep.season.verdicts import read_verdicts

    wishes = args.want or ["precision:0.05"]
    if len(wishes) > 1:
        raise CheepError(f"--want {', '.join(wishes)}: one wish a plan; make a plan for each")
    season, want = Season(args.season), parse_want(wishes[0])
    model = season.model(args.model)
    label = args.label or _only_label(model.labels, model.detector.threshold)
    detector = None
    if args.threshold is not None:
        thresholds = [args.threshold if name == label else None for name in model.labels]
        values = {**model.detector.to_dict(), "threshold": thresholds}
        detector = type(model.detector).parse(values, "--threshold")
    stage(f"cutting the season into clips of {args.clip_s:g} s")
    frame = frame_of_season(season, model, label, detector=detector, clip_s=args.clip_s, on_file=Progress("recordings"))
    plan = make_plan(
        frame, label, want, name=args.name or f"{label}-{want.what}".replace(" ", "_"), model=model.model,
        detector=(detector or model.detector).to_dict(), seed=args.seed, clips=args.clips,
        known=known_answers(read_verdicts(args.season).of(label)),
    )  # fmt: skip
    _keep_judged(args.season, plan)
    path = plan.write(args.season)
    rows = [["clips (score, log-odds)", "in the season", "to verify", "each stands for"]]
    for place, kind in enumerate(plan.kinds):
        of = plan.counts["stratum"] == place
        held, size = int(plan.counts["clips"][of].sum()), plan.promise.sizes[place]
        low, high = plan.counts["score"][of].min(), plan.counts["score"][of].max()
        name = f"{kind} ({low:+.1f} to {high:+.1f})"
        rows.append([name, str(held), str(size), f"{held / size:.1f}" if size else "-"])
    print(table(rows))
    unit = {"rate": " false alarms per hour", "recall": " of recall"}.get(want.what, " of precision")
    half = plan.promise.half_width
    word = f"promises +-{half:.3g}{unit} with 95 % confidence"
    if not plan.promise.kept:
        word = "cannot promise what you want" + (f", but +-{half:.3g}{unit}" if np.isfinite(half) else "")
    print(f"{len(plan.items)} clips ({plan.promise.repeats} of them twice): {word}; {plan.promise.why}")
    print(f"wrote {path}")
    todo = f"{args.season} --plan {plan.name}"
    print(f"next: cheep review {todo}, then cheep season estimate {todo}")
    return 0


def _keep_judged(season: Path, plan: Plan) -> None:
    """Raise CheepError where a plan would take the place of another one that has verdicts."""
    from cheep.season.plan import plans, read_plan
    from cheep.season.verdicts import read_verdicts

    if plan.name not in plans(season):
        return
    judged = sum(item.plan == plan.name for item in read_verdicts(season).verdicts)
    if judged and read_plan(season, plan.name).items != plan.items:
        raise CheepError(
            f"plan {plan.name}: is there, with {judged} verdict(s), and asks other clips; give this one another name "
            f"(--name {plan.name}-2)"
        )


def run_estimate(args: argparse.Namespace) -> int:
    """Estimate, write, and keep a threshold where it is asked for."""
    from cheep.device.bundle import load_bundle
    from cheep.files import read_json, write_json
    from cheep.season import Season
    from cheep.season.curves import at_least, not_tried, threshold_for
    from cheep.season.estimate_files import write_estimate
    from cheep.season.keep import keep_season_threshold, noise_of, warnings_of
    from cheep.season.plan import read_plan
    from cheep.season.tell import estimate_season
    from cheep.season.verdicts import read_verdicts

    _check_estimate(args)
    bundle = load_bundle(args.keep) if args.keep else None
    season = Season(args.season)
    plan = read_plan(args.season, args.plan)
    if args.model is not None and season.model(args.model).model != plan.model:
        raise CheepError(
            f"--model {args.model}: plan {plan.name} is of {plan.model}; leave it out, or name another plan"
        )
    verdicts = read_verdicts(args.season)
    if not verdicts.of(plan.label):
        raise CheepError(
            f"{args.season}: no verdict on {plan.label} yet (cheep review {args.season} --plan {plan.name})"
        )
    found = estimate_season(plan, verdicts.of(plan.label))
    row = season.model(plan.model)
    own = plan.detector["threshold"]
    own = own[row.labels.index(plan.label)] if len(own) > 1 else own[0]
    found = dataclasses.replace(found, thresholds=tuple(at_least(item, own) for item in found.thresholds))
    manifest = season.folder / "models" / row.model / "manifest.json"
    noise = noise_of(season)
    warnings = warnings_of(found, read_json(manifest, "cheep scan") if manifest.is_file() else {}, noise, own)
    warnings += [f"{text} (line passed over)" for text in verdicts.problems]
    print(_estimate_table(found))
    print(
        "(95 % intervals in brackets; verdicts: on detections + below the threshold; calls and recall are counted by "
        f"clips of {plan.clip_s:g} s; -: not known)"
    )
    for text in (*warnings, *found.notes):
        print(f"note: {text}")
    if args.json:
        write_json(args.json, found.to_dict())
    for path in write_estimate(found, season, verdicts.of(plan.label), warnings):
        print(f"wrote {path}")
    if args.precision is not None:
        print(not_tried(list(found.thresholds), plan.kinds, plan.counts))
        chosen = threshold_for(list(found.thresholds), args.precision, args.sure)
        _say_threshold(args.precision, chosen, found)
        if bundle is not None:
            for path in keep_season_threshold(bundle, found, chosen, noise):
                print(f"wrote {path} (threshold of {plan.label})")
            if season.follow(row, bundle.path.parent):
                print(
                    f"the season's detections stay as they are; with the new threshold: cheep season detect "
                    f"{season.folder} --like {args.keep}"
                )
    return 0


def _check_estimate(args: argparse.Namespace) -> None:
    """Raise CheepError where the options make no sense, before anything is written."""
    if args.precision is None and (args.keep or args.sure):
        option = f"--keep {args.keep}" if args.keep else "--sure"
        raise CheepError(f"{option}: which threshold? name the precision that it is for (--precision 0.9)")
    if args.precision is not None and not 0 < args.precision <= 1:
        raise CheepError(f"--precision {args.precision:g}: must lie above 0 and be at most 1")


def run_verdicts(args: argparse.Namespace) -> int:
    """Import, export, and say who has given how many."""
    from cheep.season import Season
    from cheep.season.exchange import import_verdicts, read_verdict_files, write_verdict_files
    from cheep.season.export import file_of
    from cheep.season.lookup import Recordings
    from cheep.season.verdicts import agreements, read_verdicts, reviewers

    season = Season(args.season)
    if args.output is not None and args.kind is None:
        raise CheepError(f"--output {args.output}: of --export; which kind? (--export csv)")
    _check_label(args.label, season)
    rows = season.recordings(["recording", "folder", "path"]).to_pylist()
    recordings = Recordings({row["recording"]: file_of(row) for row in rows})
    if args.source is not None:
        labels = sorted({label for model in season.models() for label in model.labels})
        read = read_verdict_files(args.source, recordings, labels)
        if any(not item.reviewer for item in read.verdicts) and not args.reviewer:
            raise CheepError(f"{args.source}: does not say whose verdicts these are: --reviewer WHO")
        added, known = import_verdicts(args.season, args.reviewer, read)
        print(f"{added} verdict(s) added, {known} were known")
        for reason, count in read.passed_over.items():
            print(f"passed over: {count} {reason}")
    if args.annotations is not None:
        for text in _answer(args, recordings):
            print(text)
    found = read_verdicts(args.season)
    if args.kind is not None:
        if args.output is None:
            raise CheepError(f"--export {args.kind}: where to? (--output)")
        paths = write_verdict_files(args.kind, args.output, found.of(args.label), recordings)
        print(f"{args.output}: {len(found.of(args.label))} verdict(s) in {len(paths)} file(s)")
    if not reviewers(args.season):
        print(f"{args.season}: no verdicts yet (cheep review {args.season}, or --import FILE)")
    for name in reviewers(args.season):
        print(f"{name}: {len(found.of(args.label, name))} verdict(s)")
    for pair in agreements(found.of(args.label)):
        kappa = "too few to say" if pair.kappa is None else f"kappa {pair.kappa:.2f}"
        print(f"{pair.first} and {pair.second}: {pair.clips} clips of both, {kappa}")
    for text in found.problems:
        print(f"passed over: {text}")
    if found.torn:
        print(f"passed over: {found.torn} last line(s) without an end (a process was killed while it wrote)")
    return 0


def _answer(args: argparse.Namespace, recordings: Recordings) -> list[str]:
    """Answer the questions of a plan, also those that come up, from annotations; say how many, and which stay open."""
    from cheep.datasets.labels.matching import boxes_for
    from cheep.season.exchange import answers_from_annotations
    from cheep.season.plan import read_plan, to_do
    from cheep.season.verdicts import VerdictLog, read_verdicts

    plan = read_plan(args.season, args.plan)
    names = {path: name for name, path in recordings.paths.items()}
    boxes = {names[path]: found for path, found in boxes_for([args.annotations], list(names)).items()}
    log = VerdictLog(args.season, args.reviewer or "annotations")
    done = 0
    while True:
        answers = answers_from_annotations(to_do(plan, read_verdicts(args.season).of(plan.label)), boxes)
        log.add_all(dataclasses.replace(item, plan=plan.name) for item in answers)
        done += len(answers)
        if not answers:
            break
    told = [f"{done} question(s) answered"]
    if left := to_do(plan, read_verdicts(args.season).of(plan.label)):
        unknown = {question.item.recording for question in left}
        example = "/".join(min(recordings.paths[name].parts[-2:] for name in unknown))
        told.append(
            f"{len(left)} stay open: {args.annotations} does not name their {len(unknown)} recording(s), such as "
            f"{example}; where no call is in them, name them there without label and times, or the estimate "
            "leaves out just what is quiet"
        )
    return told


def _check_label(label: str, season: Season) -> None:
    from cheep.config import nearest_name
    from cheep.season.verdicts import read_verdicts

    labels = {name for model in season.models() for name in model.labels}
    labels |= {item.label for item in read_verdicts(season.folder).verdicts}
    if label and label not in labels:
        known = ", ".join(sorted(labels))
        raise CheepError(f"--label {label}: nothing of this name ({known}){nearest_name(label, sorted(labels))}")


def _only_label(labels: tuple[str, ...], thresholds: tuple[float | None, ...]) -> str:
    heard = [name for name, t in zip(labels, thresholds * (len(labels) if len(thresholds) == 1 else 1), strict=True)
             if t is not None]  # fmt: skip
    if len(heard) != 1:
        raise CheepError(f"--label: which one? ({', '.join(heard)})")
    return heard[0]


def _estimate_table(found: SeasonEstimate) -> str:
    rows = [["", "hours", "det./h", "verdicts", "precision", "false alarms/h", "calls/h", "recall"]]

    def cells(name: str, hours: float, item: Estimates) -> list[str]:
        shown = ["-" if v is None else v.text(2) for v in (item.precision, item.false_alarms, item.calls)]
        counts = f"{item.verdicts}+{item.verdicts_below}"
        return [name, f"{hours:.1f}", f"{item.detections:.2f}", counts, *shown, item.recall_text()]

    rows += [
        cells(row.name if row.by == "all" else f"{row.by} {row.name}", row.hours, row.estimates) for row in found.rows
    ]
    rows.append(cells("(if the design is ignored)", found.rows[0].hours, found.without_design))
    return table(rows)


def _say_threshold(wanted: float, row: ThresholdRow, found: SeasonEstimate) -> None:
    from cheep.detector.scores import probability, show_probability
    from cheep.season.keep import recall_at

    def shown(score: float) -> str:
        return show_probability(float(probability(score)), 3)

    print(
        f"threshold {shown(row.score)} for precision {wanted:g}: "
        f"{row.precision.text(2)} of {row.detections:.2f} detections per hour are right, {row.false_alarms.text(2)} "
        f"false alarms per hour ({row.verdicts} verdicts)"
    )
    if found.whole.recall is not None and recall_at(found, row) is None:
        print(
            f"its recall is not known: below the {found.whole.recall_text()} of threshold "
            f"{shown(found.thresholds[0].score)} (cheep season detect with the new one, then a new plan, tells it)"
        )
