# SPDX-License-Identifier: MIT
"""The leaderboard and the figures of docs/results.md, made anew from the committed recipes.

  python scripts/bench_leaderboard.py --train DIR --keep KEEP --seeds 1,2,3    train what is not trained yet, and write
  python scripts/bench_leaderboard.py --train DIR --keep KEEP --recipes esc10_small
  python scripts/bench_leaderboard.py --train DIR --keep KEEP --recipes bird --set data.split.fold_count=3
  python scripts/bench_leaderboard.py                                          only write the pages from kept figures

Figures are kept in docs/leaderboard.json, with date and seeds; the pages hold them between two marks. A recipe is one
call of bench_accuracy.py, which keeps every finished training below KEEP: stopped, the same command goes on. Recipes of
one task stand in the order of their RAM; what is said of two of them comes from the same folds, in pairs, so that a
larger one is called better only where that is shown.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from bench_fold import STATE
from cheep import runs
from cheep.errors import CheepError, GateError
from cheep.files import read_json, write_json, write_text

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "docs" / "leaderboard.json"
BEGIN, END = "<!-- made by scripts/bench_leaderboard.py; do not edit -->", "<!-- end -->"
#: Recipe: (task, what its figure is, main figure).
RECIPES = {
    "bird": ("bird", "bird against background, ROC AUC of held-out windows", "window_auc"),
    "bird_32k": ("bird", "bird against background, ROC AUC of held-out windows", "window_auc"),
    "bird_8khz": ("bird", "bird against background, ROC AUC of held-out windows", "window_auc"),
    "xc_species3": ("xc_species3", "three species, clip accuracy", "clip_accuracy"),
    "esc10_small": ("esc10", "ESC-10, clip accuracy", "clip_accuracy"),
    "esc10": ("esc10", "ESC-10, clip accuracy", "clip_accuracy"),
    "fsdd_digits": ("fsdd_digits", "spoken digits, unseen speaker", "clip_accuracy"),
}
#: What else is shown of a recipe, where it was measured.
MORE = {
    "jura.window_auc": "Jura field test, ROC AUC",
    "false_alarms_per_hour_at_80_recall": "false alarms an hour at 80 % event recall",
    "recall_at_10_per_hour": "events found at 10 false alarms an hour",
    "recall_at_5_per_hour": "events found at 5 false alarms an hour",
    "recall_at_1_per_hour": "events found at 1 false alarm an hour",
    "recall_at_0.1_per_hour": "events found at 0.1 false alarms an hour (extrapolated)",
    "streamed_clip_accuracy": "streamed",
}
COSTS = {"model_bytes": "model, B", "stream_ram_bytes": "RAM by columns, B", "ram_bytes": "RAM by windows, B"}


def measure(recipe: str, train: Path, keep: Path, seeds: str, changes: Sequence[str] = ()) -> dict[str, Any]:
    """Train and measure a recipe, with ``section.key=value`` changes, by bench_accuracy.py; return what is shown."""
    task, _, main_figure = RECIPES[recipe]
    folder = keep / recipe
    command = [sys.executable, str(ROOT / "scripts" / "bench_accuracy.py"), "--task", task, "--train", str(train)]
    command += ["--recipe", str(ROOT / "recipes" / f"{recipe}.yaml"), "--keep", str(folder), "--seeds", seeds, "--json"]
    for change in changes:
        command += ["--set", change]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise GateError(
            f"{recipe}: bench_accuracy.py ended with {done.returncode}; what it has finished is kept in {folder}"
        )
    values = {item["name"].removeprefix(f"{task}."): item["value"] for item in json.loads(done.stdout)}
    return {
        "date": datetime.date.today().isoformat(),
        "seeds": [int(seed) for seed in seeds.split(",")],
        **({"changes": list(changes)} if changes else {}),
        "folds": folds_of(folder, task, main_figure),
        "figures": {name: value for name, value in values.items() if ".kind." not in f".{name}"},
    }


def folds_of(folder: Path, task: str, figure: str) -> dict[str, list[float]]:
    """Return the int8 figure of each fold, a list by seed ("" : the recipe's own), of a kept benchmark."""
    out: dict[str, dict[int, float]] = {}
    for path in folder.glob(f"{task}-*/{STATE}"):
        fold, _, seed = path.parent.name.removeprefix(f"{task}-").partition("-seed")
        metrics = read_json(path.parent / runs.EVALUATION, "bench_accuracy.py")["metrics"]
        out.setdefault(seed, {})[int(fold)] = metrics["int8"]["test"][figure]
    return {seed: [folds[fold] for fold in sorted(folds)] for seed, folds in sorted(out.items())}


def mean_by_fold(entry: dict[str, Any], seeds: Collection[str] | None = None) -> np.ndarray:
    """Return the mean over seeds (all of them, or ``seeds``) of each fold, (folds,)."""
    return np.mean([folds for seed, folds in entry["folds"].items() if seeds is None or seed in seeds], axis=0)


def deviation(values: Sequence[float] | np.ndarray) -> float:
    """Return half of a 95 % interval of the mean of folds (Student's t); nan of a single one."""
    from scipy.stats import t

    n = len(values)
    return float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else float("nan")


def compared(entries: dict[str, Any], recipe: str) -> str:
    """Return in words how a recipe stands to the others of its task, by the same folds."""
    task = RECIPES[recipe][0]
    said = []
    for other in RECIPES:
        if other == recipe or RECIPES[other][0] != task or other not in entries:
            continue
        both = entries[recipe]["folds"].keys() & entries[other]["folds"].keys()  # seeds that one alone has say nothing
        if not both:
            continue
        mine, theirs = mean_by_fold(entries[recipe], both), mean_by_fold(entries[other], both)
        if len(mine) != len(theirs) or entries[recipe].get("changes") != entries[other].get("changes"):
            continue
        gain = float((mine - theirs).mean())
        half = deviation(mine - theirs)
        if abs(gain) <= half:
            said.append(f"no difference to `{other}` is shown ({gain:+.3f} ± {half:.3f})")
        else:
            said.append(f"{'better' if gain > 0 else 'worse'} than `{other}` ({gain:+.3f} ± {half:.3f})")
    return "; ".join(said)


def leaderboard(entries: dict[str, Any]) -> str:
    """Return the table of the leaderboard."""
    lines = [
        "| task | recipe | int8, folds ± 95 % | seeds | " + " | ".join(COSTS.values()) + " | measured |",
        "|---|---|---|---|" + "---|" * len(COSTS) + "---|",
    ]
    for recipe in in_order(entries):
        entry, (_, title, _) = entries[recipe], RECIPES[recipe]
        values = mean_by_fold(entry)
        costs = [entry["figures"].get(name) for name in COSTS]
        shown = " | ".join("-" if cost is None else f"{cost:,.0f}" for cost in costs)
        lines.append(
            f"| {title} | {_named(recipe, entry)} | {values.mean():.3f} ± {deviation(values):.3f} | {_seeds(entry)} | "
            f"{shown} | {entry['date']} |"
        )
        for name, text in MORE.items():
            if name in entry["figures"]:
                lines.append(f"| {text} | | {_figure(entry['figures'], name)} | |{' |' * len(COSTS)} |")
    notes = [f"- `{recipe}`: {text}." for recipe in in_order(entries) if (text := compared(entries, recipe))]
    head = [
        "\\* of one seed: another seed gives other figures.",
        "",
        "Of recipes of one task, same folds, in pairs (95 %):",
    ]
    return "\n".join([*lines, "", *head, "", *notes])


def by_fold(entries: dict[str, Any]) -> str:
    """Return the table of figures by fold."""
    most = max(len(mean_by_fold(entry)) for entry in entries.values())
    lines = [f"| recipe, int8 | seed | {' | '.join(map(str, range(most)))} | mean |", "|---|---|" + "---|" * (most + 1)]
    for recipe in in_order(entries):
        for seed, values in entries[recipe]["folds"].items():
            cells = [f"{value:.3f}" for value in values] + [""] * (most - len(values))
            name = f"{_named(recipe, entries[recipe])}, {RECIPES[recipe][2].replace('_', ' ')}"
            lines.append(f"| {name} | {seed or 'the recipe’s'} | {' | '.join(cells)} | {np.mean(values):.3f} |")
    return "\n".join(lines)


def in_order(entries: dict[str, Any]) -> list[str]:
    """Return the recipes by task, and in a task by RAM."""
    tasks = list(dict.fromkeys(task for task, _, _ in RECIPES.values()))
    known = [recipe for recipe in RECIPES if recipe in entries]
    return sorted(
        known, key=lambda recipe: (tasks.index(RECIPES[recipe][0]), entries[recipe]["figures"].get("ram_bytes", 1e9))
    )


def _named(recipe: str, entry: dict[str, Any]) -> str:
    """Return a recipe's name, and what was changed in it."""
    return ", ".join([f"`{recipe}`", *(f"`{change}`" for change in entry.get("changes", ()))])


def _seeds(entry: dict[str, Any]) -> str:
    return "1 \\*" if len(entry["seeds"]) == 1 else str(len(entry["seeds"]))


def _figure(figures: dict[str, float], name: str) -> str:
    digits = 1 if name.startswith("false_alarms") else 4 if name.startswith("jura") else 3
    text = f"{figures[name]:.{digits}f}"
    low, high = figures.get(f"{name}.low"), figures.get(f"{name}.high")
    return text if low is None or high is None else f"{text} ({low:.{digits}f} to {high:.{digits}f})"


def put(page: Path, table: str) -> str:
    """Return the page with ``table`` between its marks.

    Raises
    ------
    CheepError
        The page has no marks.
    """
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise CheepError(f"{page}: the marks {BEGIN!r} and {END!r} are missing; put them where the table belongs")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def pages(entries: dict[str, Any]) -> dict[Path, str]:
    """Return the content of the pages."""
    docs = ROOT / "docs"
    return {
        docs / "leaderboard.md": put(docs / "leaderboard.md", leaderboard(entries)),
        docs / "results.md": put(docs / "results.md", by_fold(entries)),
    }


def main() -> int:
    """Measure what is asked for, and write the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, metavar="DIR", help="recordings; without it the pages are only written")
    parser.add_argument("--keep", type=Path, default=Path("build/leaderboard"), metavar="DIR", help="of the trainings")
    parser.add_argument("--seeds", default="1", metavar="N,N", help="of the trainings (default 1)")
    parser.add_argument("--recipes", nargs="+", choices=sorted(RECIPES), help="only these")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change a setting of these recipes"
    )
    args = parser.parse_args()
    if args.set and not args.recipes:
        parser.error("--set: goes with --recipes, of which settings are changed")
    try:
        entries = read_json(FIGURES, "bench_leaderboard.py")
        for recipe in (args.recipes or list(RECIPES)) if args.train else ():
            entries[recipe] = measure(recipe, args.train, args.keep, args.seeds, args.set)
            write_json(FIGURES, entries)
        for page, text in pages(entries).items():
            write_text(page, text)
            print(f"wrote {page.relative_to(ROOT)}")
    except CheepError as error:
        print(f"bench_leaderboard.py: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
