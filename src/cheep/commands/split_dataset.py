"""Cut recordings into labelled windows and split them into train, val and test.

Give a folder that holds one folder per label, a CSV of recordings, or an existing manifest (to split it again).
Writes dataset.csv (the examples) and dataset.left_out.csv (every other window, with the reason).
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cheep.errors import CheepError

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("folder", nargs="?", type=Path, help="folder with one folder per label (default: the only one in datasets/)")
    add("--input", type=Path, help="the same as the folder")
    add("--csv", type=Path, help="CSV of recordings, or a manifest to split again")
    add("--audio-root", type=Path, help="where file names in the CSV start (default: its folder)")
    add(
        "--columns",
        nargs="+",
        default=[],
        metavar="FIELD=NAME",
        help="our field = column of the CSV (path label recording ...)",
    )
    add("--group-column", metavar="NAME", help="column of the CSV whose equal values stay in one split")
    add("--group-by", default="", help="recordist, recording, site, date, recordist+date, site+date or group")
    add("--labels", nargs="+", default=[], help="use only these labels")
    add("--rename", nargs="+", default=[], metavar="LABEL=NEW", help="join or rename labels")
    add("--include", nargs="+", default=[], metavar="COLUMN=A,B", help="keep CSV rows with these values")
    add("--exclude", nargs="+", default=[], metavar="COLUMN=A,B", help="drop CSV rows with these values")
    add("--noise", nargs="+", type=Path, default=[], help="folders of recordings without the target species")
    add(
        "--train-only",
        nargs="+",
        type=Path,
        default=[],
        metavar="FOLDER",
        help="folders per label that are never tested on: synthetic or borrowed recordings",
    )
    add("--target", nargs="+", default=[], metavar="LABEL", help="the others become background")
    add("--box-labels", action="store_true", help="labels of annotations that no recording has become labels too")
    add(
        "--annotations",
        type=Path,
        nargs="+",
        default=[],
        help="Raven, Audacity or CSV label files, or a folder of them",
    )
    add("--run", help="name of the run whose manifest is written (default: a new run, which becomes runs/latest)")
    add("-o", "--output", type=Path, help="manifest to write, in place of a run's dataset.csv")
    window = parser.add_argument_group("windows")
    add = window.add_argument
    add("--window", type=float, default=1.0, help="length, s (default 1)")
    add("--hop", type=float, default=0.5, help="distance of starts, s (default 0.5)")
    add("--no-selection", action="store_true", help="keep windows without activity")
    add(
        "--activity-db",
        type=float,
        default=9.0,
        help="dB over the recording's floor that count as activity (default 9)",
    )
    add("--low-hz", type=float, default=500.0, help="lower edge of the target band (default 500)")
    add("--high-hz", type=float, help="upper edge of the target band (default: up to half the rate)")
    add("--sample-rate", type=int, default=8000, help="rate of the detector to be, Hz (default 8000)")
    add("--gaps", action="store_true", help="use quiet gaps of the recordings as background examples")
    add("--keep-announcements", action="store_true", help="keep speech-like windows at head and tail")
    add("--background", default="background", help="label of negatives (default background)")
    add("--max-windows", type=int, default=0, help="examples per recording and label, the loudest (default: all)")
    split = parser.add_argument_group("split")
    add = split.add_argument
    add("--val", type=float, default=0.15, help="share for validation (default 0.15)")
    add("--test", type=float, default=0.15, help="share for the test (default 0.15)")
    add("--val-folds", nargs="+", default=[], help="folds for validation (column fold)")
    add("--test-folds", nargs="+", default=[], help="folds for the test (column fold)")
    add("--seed", type=int, default=1)
    add("--skip-bad", action="store_true", help="leave out unreadable files instead of stopping")
    add("--jobs", type=int, help="worker processes (default: one per core)")


def run(args: argparse.Namespace) -> int:
    """Build or re-split a manifest and show the class balance."""
    from cheep.config import BuildConfig
    from cheep.datasets.build import build_manifest
    from cheep.datasets.manifest import load_manifest
    from cheep.datasets.sources import recordings_in_folder
    from cheep.datasets.split import assign_splits
    from cheep.runs import DATASET, create_run

    source = _source(args)
    config = BuildConfig.parse(_settings(args), "options")
    if source.is_file() and _is_manifest(source):
        result = assign_splits(load_manifest(source), config.split)
        reasons: dict[str, int] = {}
        left = 0
    else:
        recordings = _recordings(args, source, config)
        boxes = _boxes(args, recordings)
        lessons = [item for folder in args.train_only for item in recordings_in_folder(folder, args.labels)]
        built = build_manifest(recordings, config, Path(), boxes, _progress(), args.jobs, lessons)
        result, reasons, left = built.manifest, built.reasons, len(built.left_out)
        if built.bad_files:
            print(f"{len(built.bad_files)} unreadable file(s) left out")
    output = args.output or create_run(args.run) / DATASET
    digest = result.write(output)
    if reasons:
        built.left_out.write(output.with_name(output.stem + ".left_out.csv"))
    _show(result, reasons, left)
    print(f"{output}: {len(result)} examples, sha256 {digest[:16]}")
    return 0


def _show(manifest: object, reasons: dict[str, int], left: int) -> None:
    from cheep.datasets.split import balance

    lines = balance(manifest)
    width = max(len("label"), *(len(str(line["label"])) for line in lines))
    print(f"{'label':<{width}}  examples   hours  recordings  recordists   train    val   test")
    for line in lines:
        print(
            f"{line['label']:<{width}}  {line['examples']:>8}  {line['seconds'] / 3600:6.2f}  {line['recordings']:>10}"
            f"  {line['recordists']:>10}  {line['train']:>6} {line['val']:>6} {line['test']:>6}"
        )
    if reasons:
        print("windows: " + ", ".join(f"{count} {reason}" for reason, count in reasons.items()) + f"; {left} left out")


def _source(args: argparse.Namespace) -> Path:
    folder = args.folder or args.input
    if args.csv is not None and folder is not None:
        raise CheepError("a folder and --csv: must be one of them (--audio-root says where the CSV's files are)")
    if args.csv is not None:
        if not args.csv.is_file():
            raise CheepError(f"{args.csv}: no such file (--csv)")
        return args.csv
    if folder is not None:
        if not folder.is_dir():
            raise CheepError(f"{folder}: no such folder (give one that holds a folder per label, or --csv)")
        return folder
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


def _is_manifest(path: Path) -> bool:
    from cheep.datasets.files import csv_rows
    from cheep.datasets.manifest import REQUIRED

    for _, header in csv_rows(path):
        return set(REQUIRED) <= {name.strip() for name in header}
    return False


def _recordings(args: argparse.Namespace, source: Path, config: object) -> list:
    import dataclasses

    from cheep.datasets.sources import recordings_in_csv, recordings_in_folder, recordings_in_noise_folder

    columns = dict(_pair(text, "--columns") for text in args.columns)
    if args.group_column:
        columns["group"] = args.group_column
    options = {
        name: {key: values.split(",") for key, values in (_pair(text, f"--{name}") for text in getattr(args, name))}
        for name in ("include", "exclude")
    }
    if source.is_dir() and not (columns or options["include"] or options["exclude"] or args.audio_root):
        found = recordings_in_folder(source, args.labels)
    else:
        csv = source / "metadata.csv" if source.is_dir() else source
        found = recordings_in_csv(csv, args.audio_root, columns, args.labels, **options)
    if args.target:
        for label in args.target:
            if label not in {recording.label for recording in found}:
                raise CheepError(f"--target {label}: no recording has this label")
        found = [_as_background(item, args.target, args.background) for item in found]
    rename = dict(_pair(text, "--rename") for text in args.rename)
    for label in rename:
        if label not in {recording.label for recording in found}:
            raise CheepError(f"--rename {label}=...: no such label")
    found = [dataclasses.replace(item, label=rename.get(item.label, item.label)) for item in found]
    for folder in args.noise:
        found += recordings_in_noise_folder(folder, args.background)
    return found


def _as_background(item: object, targets: Sequence[str], background: str) -> object:
    import dataclasses

    return item if item.label in targets else dataclasses.replace(item, label=background)


def _boxes(args: argparse.Namespace, recordings: Sequence) -> dict:
    if not args.annotations:
        return {}
    from cheep.datasets.labels import boxes_for

    return boxes_for(args.annotations, sorted({recording.path for recording in recordings}))


def _settings(args: argparse.Namespace) -> dict:
    return {
        "sample_rate_hz": args.sample_rate,
        "group_by": args.group_by or ("group" if args.group_column else ""),
        "box_labels": args.box_labels,
        "skip_bad": args.skip_bad,
        "windows": {
            "window_s": args.window,
            "hop_s": args.hop,
            "selection": not args.no_selection,
            "gaps": args.gaps,
            "announcements": not args.keep_announcements,
            "background": args.background,
            "max_per_recording": args.max_windows,
            "activity": {
                "low_hz": args.low_hz,
                "high_hz": args.high_hz,
                "threshold_db": args.activity_db,
                "quiet_db": min(6.0, args.activity_db),
            },
        },
        "split": {
            "val": args.val,
            "test": args.test,
            "seed": args.seed,
            "val_folds": tuple(args.val_folds),
            "test_folds": tuple(args.test_folds),
        },
    }


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise CheepError(f"{option} {text}: must look like NAME=VALUE")
    return name, value


def _progress():
    begin = last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if sys.stderr.isatty() and (now - last > 0.5 or done == total):
            last = now
            left_s = (now - begin) / done * (total - done)
            print(f"\r{done}/{total} files, {left_s:.0f} s left ", end="\n" if done == total else "", file=sys.stderr)

    return show
