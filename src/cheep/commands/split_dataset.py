"""Cut recordings into labelled windows and split them into train, val and test.

Give a folder that holds one folder per label, a CSV of recordings, or an existing manifest (to split it again).
Writes dataset.csv (the examples) and dataset.left_out.csv (every other window, with the reason).
"""

from __future__ import annotations

import argparse
import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from cheep.commands._progress import Progress
from cheep.commands._settings import add_config, add_setting, overrides_of, pairs_of
from cheep.commands._shared import note
from cheep.config import DataConfig, load_run_file
from cheep.errors import CheepError

if TYPE_CHECKING:
    from cheep.job.split import Examples

log = logging.getLogger(__name__)

_PAIRS = {"columns": "FIELD=NAME", "rename": "LABEL=NEW", "include": "COLUMN=A,B", "exclude": "COLUMN=A,B"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("folder", nargs="?", type=Path, help="folder with one folder per label (default: the only one in datasets/)")
    add("--input", type=Path, help="the same as the folder")
    add_config(parser)
    for name in ("csv", "audio_root", "group_column", "group_by", "labels", "noise", "train_only", "target",
                 "annotations", "min_confidence", "box_labels", "skip_bad"):  # fmt: skip
        add_setting(parser, f"--{name.replace('_', '-')}", f"data.{name}")
    for name, form in _PAIRS.items():
        add(f"--{name}", nargs="+", default=[], metavar=form, help=DataConfig.model_fields[name].description)
    add("--run", help="name of the run whose manifest is written (default: a new run, which becomes runs/latest)")
    add("-o", "--output", type=Path, help="manifest to write, in place of a run's dataset.csv")
    add("--jobs", type=int, help="worker processes (default: one per core)")
    windows = parser.add_argument_group("windows")
    for option, name in (
        ("--window", "windows.window_s"), ("--hop", "windows.hop_s"), ("--gaps", "windows.gaps"),
        ("--background", "windows.background"), ("--max-windows", "windows.max_per_recording"),
        ("--activity-db", "windows.activity.threshold_db"), ("--low-hz", "windows.activity.low_hz"),
        ("--high-hz", "windows.activity.high_hz"), ("--sample-rate", "sample_rate_hz"),
    ):  # fmt: skip
        add_setting(windows, option, f"data.{name}")
    for option, name, text in (
        ("--no-selection", "selection", "keep windows without activity"),
        ("--keep-announcements", "announcements", "keep speech-like windows at head and tail"),
    ):
        add_setting(windows, option, f"data.windows.{name}", off=True, help=text)
    split = parser.add_argument_group("split")
    for name in ("val", "test", "val_folds", "test_folds", "seed"):
        add_setting(split, f"--{name.replace('_', '-')}", f"data.split.{name}")


def run(args: argparse.Namespace) -> int:
    """Build or re-split a manifest and show the class balance."""
    from cheep.job.split import make_examples
    from cheep.runs import CALIBRATION, DATASET, runs_folder, start_run

    config = settings(args)
    made = runs_folder() / "cache" / f"prepared-{config.sha256[:16]}"
    examples = make_examples(config, made, on_file=Progress("files"), jobs=args.jobs)
    with contextlib.nullcontext() if args.output else start_run(args.run) as folder:
        output = args.output or folder / DATASET
        digest = examples.manifest.write(output)
        if examples.left_out is not None:
            examples.left_out.write(output.with_name(output.stem + ".left_out.csv"))
        if examples.calibration is not None:
            examples.calibration.write(output.with_name(CALIBRATION))
        if folder is not None:
            note(args, folder, "split-dataset")
    _show(examples)
    print(f"{output}: {len(examples.manifest)} examples, sha256 {digest[:16]}")
    return 0


def settings(args: argparse.Namespace) -> DataConfig:
    """Return the settings of ``--config`` with the options over them."""
    base = load_run_file(args.config).data.to_dict() if args.config else {}
    for item in overrides_of(args):
        *sections, name = item.place.split(".")[1:]
        place = base
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = item.value
    for name in _PAIRS:
        if given := getattr(args, name):
            pairs = pairs_of(given, f"--{name}")
            base[name] = {key: v.split(",") for key, v in pairs.items()} if name in ("include", "exclude") else pairs
    activity = base.get("windows", {}).get("activity", {})
    if not args.config and isinstance(level := activity.get("threshold_db"), int | float):
        activity["quiet_db"] = min(6.0, level)
    if base.get("group_column") and not base.get("group_by"):
        base["group_by"] = "group"
    folder = args.folder or args.input
    if folder is not None:
        if base.get("csv"):
            raise CheepError("a folder and --csv: must be one of them (--audio-root says where the CSV's files are)")
        base["folder"] = str(folder)
    elif not base.get("csv") and not base.get("folder"):
        base["folder"] = str(_only_data_set())
    if base.get("split", {}).get("cross_validate"):
        log.info("cross-validation is what cheep run does; here one split is drawn")
        base["split"] |= {"cross_validate": False, "fold_count": 0}
    config = DataConfig.parse(base, "options")
    if config.csv and not Path(config.csv).is_file():
        raise CheepError(f"{config.csv}: no such file (--csv)")
    if config.folder and not Path(config.folder).is_dir():
        raise CheepError(f"{config.folder}: no such folder (give one that holds a folder per label, or --csv)")
    return config


def _show(examples: Examples) -> None:
    from cheep.datasets.split import balance

    lines = balance(examples.manifest)
    width = max(len("label"), *(len(str(line["label"])) for line in lines))
    print(f"{'label':<{width}}  examples   hours  recordings  recordists   train    val   test")
    for line in lines:
        print(
            f"{line['label']:<{width}}  {line['examples']:>8}  {line['seconds'] / 3600:6.2f}  {line['recordings']:>10}"
            f"  {line['recordists']:>10}  {line['train']:>6} {line['val']:>6} {line['test']:>6}"
        )
    if examples.left_out is not None:
        counts = ", ".join(f"{count} {reason}" for reason, count in examples.reasons.items())
        print(f"windows: {counts}; {len(examples.left_out)} left out")
    if examples.bad_files:
        print(f"{len(examples.bad_files)} unreadable file(s) left out")


def _only_data_set() -> Path:
    home = Path("datasets")
    found = (
        sorted(path for path in home.iterdir() if path.is_dir() and path.name[0] not in "._") if home.is_dir() else []
    )
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise CheepError(
            f"no folder given: datasets/ must hold exactly one data set to be taken by default (found {names})"
        )
    return found[0]
