# SPDX-License-Identifier: MIT
"""cheep season rank, learn, rounds: from verdicts to the next model, and what the rounds came to."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from cheep.commands._cluster import add_cluster
from cheep.commands._progress import Progress, epochs, stage, working
from cheep.commands._shared import table
from cheep.errors import CheepError


def add_actions(action: Callable[..., argparse.ArgumentParser]) -> None:
    """Declare the subcommands; ``action(name, help)`` makes a parser that knows SEASON."""
    learn = action("learn", "train the next model on the verdicts, and promote it where it is better", model=False)
    learn.add_argument(
        "--run", metavar="RUN", help="of the model that the season was scanned with (default: the latest)"
    )
    learn.add_argument("--label", metavar="L", help="what the verdicts are about (default: the only one)")
    learn.add_argument("--epochs", type=int, metavar="N", help="instead of the recipe's (for a quick look)")
    ranked = action("rank", "clips in the order in which verdicts teach most, by a large model's ears")
    ranked.add_argument("--by", default="birdnet", metavar="MODEL", help="birdnet, perch, or FILE,LABELS[,RATE]")
    ranked.add_argument("--label", metavar="L", help="what the verdicts are about (default: the only one)")
    ranked.add_argument(
        "--most", type=int, default=2000, metavar="N", help="clips to hear: half the highest scores (%(default)s)"
    )
    ranked.add_argument("--jobs", type=int, metavar="N", help="worker processes (default: one per core)")
    add_cluster(ranked)
    rounds = action("rounds", "what the rounds of learning came to; two models on the judge's clips", model=False)
    rounds.add_argument("--run", metavar="RUN", help="compare the model of this run ...")
    rounds.add_argument("--with", dest="other", metavar="RUN", help="... with that of another one")
    rounds.add_argument("--label", metavar="L", help="what the verdicts are about (default: the only one)")


def run_learn(args: argparse.Namespace) -> int:
    """Train, judge, promote, and say why (not)."""
    from cheep import runs
    from cheep.season import Season
    from cheep.season.learn import learn

    if args.epochs is not None and args.epochs < 1:
        raise CheepError(f"--epochs {args.epochs}: must be at least 1")
    season = Season(args.season)
    label = args.label or _label(args)
    run = runs.find_run(args.run)
    done = learn(
        season, run, label, epochs=args.epochs, on_stage=stage, on_epoch=epochs(), on_step=working,
        on_clip=Progress("clips"),
    )  # fmt: skip
    print(
        f"round {done.number}: {done.positives} examples of calls and {done.negatives} of background more than before; "
        f"judged on {done.comparison.clips} clips ({done.comparison.positives} with {label}) of "
        f"{done.comparison.groups} nights that neither model learned from"
    )
    print(("better: " if done.promoted else "not promoted: ") + done.why)
    if done.promoted:
        print(f"next: cheep model-convert --model {done.run}; scan with it: cheep scan ... --model {done.run}")
    else:
        print(f"the round stays in {done.folder}; next: more verdicts (cheep season plan, cheep review)")
    return 0


def run_rank(args: argparse.Namespace) -> int:
    """Rank, and say what the ranking knows."""
    from cheep.ears import Ears
    from cheep.season import Season
    from cheep.season.rank import rank

    if args.most < 2:
        raise CheepError(f"--most {args.most}: must be at least 2")
    season = Season(args.season)
    label = args.label or _label(args)
    ears = Ears(args.by)
    done = rank(
        season, season.model(args.model), label, ears, most=args.most, progress=Progress("recordings"), jobs=args.jobs
    )
    for text in done.problems[:12]:
        print(text, file=sys.stderr)
    print(f"{ears.about.title}: {ears.about.lineage('')['means']}")
    assumed = f", and {done.assumed} clips that nobody judged as background" if done.assumed else ""
    lost = f"; {len(done.problems)} recording(s) could not be read" if done.problems else ""
    print(
        f"a probe of {done.right} right and {done.wrong} wrong verdicts{assumed}: {done.likely} of "
        f"{done.clips - done.right - done.wrong} other clips are likelier than not to have {label}{lost}"
    )
    print(f"{done.path}\nnext: cheep review {season.folder}, clips 'ranked: {label}'; then rank again, or season learn")
    return 0


def run_rounds(args: argparse.Namespace) -> int:
    """Show the rounds, or compare two models."""
    from cheep import runs
    from cheep.device.bundle import load_bundle
    from cheep.files import read_json
    from cheep.season import Season
    from cheep.season.learn import ROUND, judge_models
    from cheep.season.lessons import ROUNDS, lessons_of, part_groups

    season = Season(args.season)
    if args.run is not None or args.other is not None:
        if args.run is None or args.other is None:
            raise CheepError("--run A --with B: name both models")
        label = args.label or _label(args)
        lessons = lessons_of(season, label)
        judged = part_groups(season, {item.group for item in lessons})
        old, new = (load_bundle(runs.find_run(name)) for name in (args.run, args.other))
        for_judge = [item for item in lessons if item.group in judged]
        found = judge_models(season, old, new, label, for_judge, on_clip=Progress("clips"))
        print(("better: " if found.verdict()[0] else "not better: ") + found.verdict()[1])
        return 0
    rows = [["round", "label", "verdicts", "false alarms/h", "recall before", "recall", "promoted"]]
    for path in sorted((season.folder / ROUNDS).glob(f"[0-9]*/{ROUND}")):
        values = read_json(path, "cheep season learn")
        judged_by = values["judged"]
        shown = [f"{judged_by[name]:.2f}" for name in ("old_false_alarms", "old_recall", "new_recall")]
        rows.append(
            [path.parent.name, values["label"], str(values["verdicts"]), *shown, "yes" if values["promoted"] else "no"]
        )
    if len(rows) == 1:
        raise CheepError(f"{args.season}: no round yet (cheep season learn {args.season})")
    print(table(rows))
    return 0


def _label(args: argparse.Namespace) -> str:
    from cheep.season.verdicts import read_verdicts

    labels = sorted({item.label for item in read_verdicts(args.season).verdicts})
    if len(labels) != 1:
        raise CheepError(f"--label: which one? ({', '.join(labels) or 'no verdicts yet: cheep review'})")
    return labels[0]
