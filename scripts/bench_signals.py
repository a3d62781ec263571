# SPDX-License-Identifier: MIT
"""What ten detectors say to signals without sound, trained without such signals (before) and with them (since).

  python scripts/bench_signals.py --train DIR                  train what is missing, print the table
  python scripts/bench_signals.py --train DIR --only demo      the detectors whose name begins so
  python scripts/bench_signals.py --train DIR --write docs/evaluation.md

DIR holds a folder per set, as for bench_accuracy.py. One short training each (--epochs; the committed recipes train
longer), on one split, quantized after training. "Before" has no such signals among its examples, and thresholds that do
not look at them: what Cheep did until 2026-11-26. Both hear the signals as every new detector does
(cheep.evaluate.signals). Finished trainings are kept (--keep) and taken up again.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from bench_accuracy import data_of, examples_of, load_recipe, splits
from bench_fold import digest, epochs
from cheep import runs
from cheep.config import SIGNAL_NAMES, RunFile
from cheep.datasets.demo import make_demo_dataset
from cheep.datasets.manifest import Manifest
from cheep.detector import show_probability
from cheep.device.bundle import load_bundle
from cheep.errors import CheepError
from cheep.evaluate.signals import Heard, hear_signals
from cheep.files import read_json, write_json, write_text
from cheep.job.quantize import quantize_run
from cheep.job.split import make_examples
from cheep.job.train import train_network

DEMO = "demo"
HEARD = "signals.json"  # in a training's folder: what it was made from, what it says
START, END = "<!-- signals without sound -->", "<!-- end of signals without sound -->"


class Detector(NamedTuple):
    """One detector of the table: what it is trained on, with which changes of that task's recipe."""

    name: str
    task: str
    changes: tuple[str, ...] = ()


TOWERS = ("train.towers=[]", "train.model=sepconv_l")
DETECTORS = (
    Detector("demo, levels", DEMO),
    Detector("demo, PCEN", DEMO, ("features.compression=pcen",)),
    Detector("demo, under the peak", DEMO, ("train.hears=peak",)),
    Detector("species, levels", "xc_species3", ("features.compression=db",)),
    Detector("species, PCEN", "xc_species3"),
    Detector("bird, levels", "bird", ("features.compression=db", *TOWERS)),
    Detector("bird, levels and PCEN", "bird"),
    Detector("ESC-10, levels", "esc10"),
    Detector("ESC-10, PCEN", "esc10", ("features.compression=pcen",)),
    Detector("digits, under the peak", "fsdd_digits"),
)
ERAS = {"before": ("augment.signal_probability=0",), "since": ()}


def settings_of(detector: Detector, era: str, args: argparse.Namespace) -> RunFile:
    """Return a detector's settings: its recipe's, with the changes, and short."""
    short = (f"train.epochs={args.epochs}", 'train.teacher_model=""', "quantize.method=ptq")
    recipe = None
    if detector.task == DEMO:
        recipe = args.keep / "demo.yaml"
        write_text(recipe, "data: {windows: {announcements: false}}\n")
    return load_recipe(detector.task, recipe, (*detector.changes, *short, *ERAS[era]))


def one_split(detector: Detector, recipe: RunFile, args: argparse.Namespace, cache: Path) -> Manifest:
    """Return the examples of a detector, split once."""
    if detector.task == DEMO:
        folder = args.keep / "demo-recordings"
        make_demo_dataset(folder, 1, "normal")
        return make_examples(recipe.data.model_copy(update={"folder": str(folder)}), cache).manifest
    return splits(examples_of(detector.task, recipe, args, cache), data_of(detector.task, recipe, args).split)[0]


def hear(detector: Detector, era: str, args: argparse.Namespace) -> list[Heard]:
    """Return what a detector says to the signals; train it, where that is not done."""
    recipe = settings_of(detector, era, args)
    folder = args.keep / f"{detector.name.replace(', ', '-').replace(' ', '_')}-{era}"
    made_from = digest([recipe.features.to_dict(), recipe.train.to_dict(), recipe.quantize.to_dict()])
    done = folder / HEARD
    if not done.is_file() or read_json(done, "bench_signals.py")["made_from"] != made_from:
        cache = args.keep / f"cache-{detector.task}"
        cache.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "features").is_symlink():
            (folder / "features").symlink_to(cache.resolve(), target_is_directory=True)
        one_split(detector, recipe, args, cache).write(folder / runs.DATASET)
        train_network(folder, recipe.features, recipe.train, on_epoch=epochs(folder.name))
        made_with = (recipe.features, recipe.train)
        quantize_run(folder, recipe.quantize, made_with=made_with, may_fire_on=("all",) if era == "before" else ())
        write_json(done, {"made_from": made_from})
    return hear_signals(load_bundle(folder / runs.INT8_TFLITE))


def row(name: str, era: str, heard: list[Heard]) -> str:
    """Return the row of the table: the highest score of each signal, in bold where it made an event."""
    cells = []
    for item in heard:
        score = show_probability(item.score, 3)
        cells.append(f"**{score}**" if item.fires else score)
    return f"| {' | '.join([f'{name}, {era}', *cells])} |"


def main() -> int:
    """Train, hear, print or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True, type=Path, metavar="DIR", help="recordings to train on")
    parser.add_argument("--only", default="", metavar="NAME", help="the detectors whose name begins so")
    parser.add_argument("--epochs", type=int, default=20, help="of each training (%(default)s)")
    parser.add_argument("--keep", type=Path, default=Path("build/bench/signals"), metavar="DIR", help="(%(default)s)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table between its marks in this document")
    args = parser.parse_args()
    args.test, args.seed = None, None  # bench_accuracy.py's own options, which say how its folds are made
    chosen = [item for item in DETECTORS if item.name.startswith(args.only)]
    if not chosen:
        parser.error(f"--only {args.only}: must be the beginning of one of: {'; '.join(d.name for d in DETECTORS)}")
    try:
        rows = [row(item.name, era, hear(item, era, args)) for item in chosen for era in ERAS]
    except CheepError as error:
        print(f"bench_signals.py: {error}", file=sys.stderr)
        return error.exit_status
    head = f"| detector | {' | '.join(SIGNAL_NAMES)} |\n|---{'|---' * len(SIGNAL_NAMES)}|\n"
    text = f"{head}{chr(10).join(rows)}\n"
    if args.write:
        whole = args.write.read_text(encoding="utf-8")
        before, after = whole.split(START)[0], whole.split(END)[1]
        said = f"One training of {args.epochs} epochs each, {datetime.date.today()}:\n\n"
        args.write.write_text(f"{before}{START}\n{said}{text}{END}{after}", encoding="utf-8")
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
