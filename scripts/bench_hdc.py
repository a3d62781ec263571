# SPDX-License-Identifier: MIT
"""The hyperdimensional head on real recordings: accuracy at each step, against H and the number of examples, few-shot.

  python scripts/bench_hdc.py --data DIR --work DIR [--tasks esc10 xc_species3] [--json FILE]

DIR holds <set>/metadata.csv and <set>/<label>/*.flac (see docs/hdc.md). ESC-10 is cross-validated over its folds,
xc_species3 over three recordist-disjoint splits, and two pairs of ESC-10 classes are left out for the few-shot part
(spreads: deviations over the draws, within a run). Runs are kept in the work folder and taken up again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

HYPER = (256, 512, 1024, 2048, 4096, 8192)
EXAMPLES = (1, 5, 10, 20)
LEFT_OUT = {"few-a": ("chainsaw", "rooster"), "few-b": ("crying_baby", "rain")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=["esc10", "xc_species3", "few_shot"])
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    runs_of = {
        "esc10": [f"esc10-f{i}" for i in (1, 2, 3, 4)],
        "xc_species3": ["xc-1", "xc-2", "xc-3"],
        "few_shot": list(LEFT_OUT),
    }
    results: list[dict] = []
    for task in args.tasks:
        folders = [prepare(args, name) for name in runs_of[task]]
        results += few_shot(args, folders) if task == "few_shot" else study(args, task, folders)
        if args.json:
            args.json.write_text(json.dumps(results, indent=1) + "\n")
    for row in results:
        print(f"{row['name']:60} {row['value']:.4f} {row['unit']}")
    return 0


def call(args: argparse.Namespace, *words: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "CHEEP_RUNS": str(args.work)}
    subprocess.run([sys.executable, *map(str, words)], check=True, env=environment, stdout=subprocess.DEVNULL)


def prepare(args: argparse.Namespace, name: str) -> Path:
    """Split, train and quantize one run with the project's defaults, unless it is there."""
    run = args.work / name
    if not (run / "dataset.csv").is_file():
        split_run(args, name, None)
    if not (run / "model.h5").is_file():
        call(args, ROOT / "src" / "train.py", "--run", run)
    if not (run / "evaluation.json").is_file():
        call(args, ROOT / "src" / "train_QAT.py", "--run", run)
    return run


def split_run(args: argparse.Namespace, name: str, labels: tuple[str, ...] | None) -> None:
    words = ["-m", "cheep", "split_dataset", "--group-column", "split_group", "--run", name]
    if name.startswith("xc-"):
        words += ["--csv", args.data / "xc_species3" / "metadata.csv", "--seed", name[3:]]
    else:
        fold = int(name[-1]) if name.startswith("esc10-f") else 4
        words += ["--csv", args.data / "esc10" / "metadata.csv", "--no-selection"]
        words += ["--test-folds", fold, "--val-folds", fold % 4 + 1]
        if name in LEFT_OUT:
            words += ["--labels", *sorted(set(esc10_labels(args)) - set(LEFT_OUT[name]))]
        elif labels:
            words += ["--labels", *labels]
    call(args, *words)


def esc10_labels(args: argparse.Namespace) -> list[str]:
    return sorted(p.name for p in (args.data / "esc10").iterdir() if p.is_dir())


def study(args: argparse.Namespace, task: str, folders: list[Path]) -> list[dict]:
    """Pool the clips of all test splits."""
    from cheep.hdc import HdcConfig
    from cheep.job.hdc_study import against_examples, against_hyper, load_study, steps

    base = HdcConfig(reminders=0)  # nothing is learned afterwards
    pooled: dict[str, list[float]] = {}
    sizes: dict[str, int] = {}
    rows: list[dict] = []
    for folder in folders:
        data = load_study(folder)
        for row in steps(data, base):
            pooled.setdefault(f"step.{row['step']}", []).append((row["clips_right"], row["clips"]))
            sizes[row["step"]] = max(sizes.get(row["step"], 0), row["bytes"])
        for row in against_hyper(data, base, HYPER):
            pooled.setdefault(f"hyper.{row['hyper']}.{row['form']}", []).append((row["clips_right"], row["clips"]))
        for row in against_examples(data, base, EXAMPLES, args.draws):
            pooled.setdefault(f"examples.{row['examples']}", []).append((row["clip_accuracy"], 1))
            pooled.setdefault(f"examples.{row['examples']}.spread", []).append((row["spread"], 1))
        print(f"{task}: {folder.name} done", file=sys.stderr, flush=True)
    for name, values in pooled.items():
        value = sum(v for v, _ in values) / sum(n for _, n in values)
        rows.append({"name": f"hdc.{task}.{name}.clip_accuracy", "value": value, "unit": "1"})
    rows += [{"name": f"hdc.{task}.{name}.bytes", "value": n, "unit": "byte"} for name, n in sizes.items() if n]
    return rows


def few_shot(args: argparse.Namespace, folders: list[Path]) -> list[dict]:
    from cheep.hdc import HdcConfig
    from cheep.job.hdc_study import few_shot as measure
    from cheep.job.hdc_study import load_new_classes, load_study

    found: dict[str, list[float]] = {}
    rows: list[dict] = []
    for folder in folders:
        others = f"{folder.name}-new4"
        if not (args.work / others / "dataset.csv").is_file():
            split_run(args, others, LEFT_OUT[folder.name])
        data, new = load_study(folder), load_new_classes(folder, args.work / others)
        for form, reminders in (("int8", 8), ("binary", 8), ("int8", 4), ("int8", 16)):
            plain = form == "int8" and reminders == 8  # the softmax head is the same for all: once is enough
            for n in (5, 10):
                config = HdcConfig(form=form, reminders=reminders)
                row = measure(data, new, config, n, args.draws, softmax=plain)
                for key, value in row.items():
                    if key not in ("examples", "draws") and (reminders == 8 or key.startswith("hdc")):
                        name = f"{form}.{n}.{key}" if reminders == 8 else f"{form}.reminders{reminders}.{n}.{key}"
                        found.setdefault(name, []).append(value)
                        rows.append({"name": f"hdc.{folder.name}.{name}", "value": float(value), "unit": "1"})
        print(f"few_shot: {folder.name} done", file=sys.stderr, flush=True)
    means = [{"name": f"hdc.few_shot.{name}", "value": float(np.mean(v)), "unit": "1"} for name, v in found.items()]
    return rows + means


if __name__ == "__main__":
    sys.exit(main())
