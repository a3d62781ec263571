# SPDX-License-Identifier: MIT
"""Cut recordings into labelled windows and split them into train, val and test.

Give a folder that holds one folder per label, a CSV of recordings, or an existing manifest (to split it again).
Listens to the recordings, chooses rate, windows, features, network and training, says why, and writes the choice into
the run's run.yaml, from which the next commands go on; options and --config override it (docs/defaults.md). Writes
dataset.csv (the examples) and dataset.left_out.csv (every other window, with the reason).
"""

from __future__ import annotations

import argparse
import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cheep.commands._cluster import add_cluster
from cheep.commands._progress import Progress
from cheep.commands._settings import add_config, add_setting, overrides_of, pairs_of
from cheep.commands._shared import balance_table, note, table
from cheep.config import ActivityConfig, DataConfig, RunFile, load_run_file, save_run_file
from cheep.config.reader import read_source, with_full_names
from cheep.errors import CheepError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cheep.datasets.facts import LabelFacts
    from cheep.datasets.gather import Gathered
    from cheep.datasets.manifest import Manifest
    from cheep.job.choice import Choice

log = logging.getLogger(__name__)

_PAIRS = {"columns": "FIELD=NAME", "rename": "LABEL=NEW", "include": "COLUMN=A,B", "exclude": "COLUMN=A,B"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("folder", nargs="?", type=Path, help="folder with one folder per label (default: the only one in datasets/)")
    add("--input", type=Path, help="the same as the folder")
    add_config(parser)
    choice = parser.add_argument_group("choices", "what is left open is chosen by listening to the recordings")
    choice.add_argument(
        "--board", metavar="NAME", help="choose a network that fits this board (default: deploy.board of --config)"
    )
    choice.add_argument(
        "--seconds-of-audio-per-day",
        type=float,
        metavar="S",
        help="that the board hears: bounds what the network computes, for the battery (with --board)",
    )
    for name in ("csv", "audio_root", "group_column", "group_by", "labels", "noise", "train_only", "target",
                 "annotations", "min_confidence", "box_labels", "skip_bad"):  # fmt: skip
        add_setting(parser, f"--{name.replace('_', '-')}", f"data.{name}")
    add_setting(
        parser,
        "--synthetic-background",
        "data.synthetic_background.hours",
        metavar="HOURS",
        help="train on so many hours of synthesized sirens, beeps, crickets, barks, ... as background (such as 0.6)",
    )
    for name, form in _PAIRS.items():
        add(f"--{name}", nargs="+", default=[], metavar=form, help=DataConfig.model_fields[name].description)
    add("--run", help="name of the run whose manifest is written (default: a new run, which becomes runs/latest)")
    add("-o", "--output", type=Path, help="manifest to write, in place of a run's dataset.csv")
    add("--jobs", type=int, help="worker processes (default: one per core)")
    add_cluster(parser)
    windows = parser.add_argument_group("windows")
    for option, name, text in (
        ("--window", "windows.window_s", "length of an example, s (default: by the length of the calls)"),
        ("--sample-rate", "sample_rate_hz", "rate of the detector to be, Hz (default: by where the energy lies)"),
    ):
        add_setting(windows, option, f"data.{name}", help=text)
    for option, name in (
        ("--hop", "windows.hop_s"), ("--gaps", "windows.gaps"),
        ("--background", "windows.background"), ("--max-windows", "windows.max_per_recording"),
        ("--activity-db", "windows.activity.threshold_db"), ("--low-hz", "windows.activity.low_hz"),
        ("--high-hz", "windows.activity.high_hz"),
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
    from cheep.datasets.facts import recordings_of
    from cheep.datasets.gather import Gathered, gather
    from cheep.datasets.manifest import load_manifest
    from cheep.job.choose import chosen_run_file, with_windows
    from cheep.job.split import is_manifest, make_examples, outdates_model, write_examples
    from cheep.runs import DATASET, RUN_FILE, TRAIN_COMMAND, runs_folder, start_run

    base = load_run_file(args.config) if args.config else RunFile()
    args.board = args.board or base.deploy.board or None
    config, given = settings(args), _given(args)
    if is_manifest(config):
        manifest = load_manifest(config.csv)
        _keep_windows(given, manifest, Path(config.csv))
        gathered = Gathered(recordings_of(manifest), [], {})
    else:
        gathered = gather(config)
    choice = _choose(args, given, config, gathered)
    config = choice.applied_to(config)
    made = runs_folder() / "cache" / f"prepared-{config.sha256[:16]}"
    voices = None if is_manifest(config) else base.voices
    examples = make_examples(config, made, voices, gathered=gathered, on_file=Progress("files"), jobs=args.jobs)
    choice = with_windows(choice, len(examples.manifest.of_split("train")), given)
    with contextlib.nullcontext() if args.output else start_run(args.run) as folder:
        output = folder / DATASET if folder is not None else args.output
        digest = write_examples(examples, output, config, tuple(map(str, choice.reasons)))
        if folder is not None:
            chosen = chosen_run_file(base, choice, config, args.board)
            save_run_file(folder / RUN_FILE, chosen, choice.comment)
            note(args, folder, "split-dataset")
    print(balance_table(examples))
    print(f"\n{choice.paragraph}\n")
    print(f"{output}: {len(examples.manifest)} examples, sha256 {digest[:16]}")
    if folder is not None and outdates_model(folder, digest):
        print(f"{folder}: its network was trained on other examples; train again (cheep train)")
    if folder is not None:
        print(f"next: {TRAIN_COMMAND}   (--time 10m: a plan for about so long)")
    return 0


def settings(args: argparse.Namespace) -> DataConfig:
    """Return the settings of ``--config`` with the options over them."""
    base = load_run_file(args.config).data.to_dict() if args.config else {}
    for item in overrides_of(args):
        *sections, name = item.place.split(".")[1:]
        place = base
        for section in sections:
            place[section] = place.get(section) or {}
            place = place[section]
        place[name] = item.value
    for name in _PAIRS:
        if given := getattr(args, name):
            pairs = pairs_of(given, f"--{name}")
            base[name] = {key: v.split(",") for key, v in pairs.items()} if name in ("include", "exclude") else pairs
    activity = base.get("windows", {}).get("activity", {})
    if not args.config and isinstance(level := activity.get("threshold_db"), int | float):
        activity["quiet_db"] = min(ActivityConfig().quiet_db, level)
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


def _given(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return what the user has set and the choice must keep: sections of ``--config`` (each whole,
    but of ``data`` what is named), and options."""
    given: dict[str, dict[str, Any]] = {"features": {}, "windows": {}, "train": {}, "qat": {}}
    if args.config:
        settings, sections = load_run_file(args.config), with_full_names(read_source(args.config)).values
        if "features" in sections:
            given["features"] = settings.features.to_dict()
        data = sections.get("data") or {}
        windows = settings.data.windows.to_dict()
        named = ("window_s", "hop_s") if "features" in sections else data.get("windows") or {}
        given["windows"] = {name: windows[name] for name in ("window_s", "hop_s") if name in named}
        if "sample_rate_hz" in data:
            given["features"].setdefault("sample_rate_hz", settings.data.sample_rate_hz)
        if "train" in sections:
            given["train"] = settings.train.to_dict()
        if "quantize" in sections:
            given["qat"] = settings.quantize.qat.to_dict()
    for item in overrides_of(args):
        name = item.place.rpartition(".")[2]
        if name in ("sample_rate_hz", "window_s", "hop_s"):
            section = given["features" if name == "sample_rate_hz" else "windows"]
            if name != "hop_s" and section.get(name, item.value) != item.value:
                raise CheepError(f"{item.given_by} {item.value}: {args.config} has {section[name]:g}; change it there")
            section[name] = item.value
    return given


def _keep_windows(given: dict[str, dict[str, Any]], manifest: Manifest, source: Path) -> None:
    """A manifest that is split again keeps its windows: they become what the user has set."""
    import numpy as np

    from cheep.datasets.about import read_about

    about = read_about(source)
    kept = {"window_s": float(np.max(manifest.duration_s, initial=0.0)) or 1.0}
    if about is not None:
        kept = {"window_s": about.window_s, "hop_s": about.hop_s, "sample_rate_hz": about.sample_rate_hz}
    for name, value in kept.items():
        section = given["features" if name == "sample_rate_hz" else "windows"]
        if section.setdefault(name, value) != value and name != "hop_s":
            raise CheepError(
                f"{name}={section[name]:g}: the windows of {source} were cut with {value:g}; split its recordings "
                "again in place of the manifest"
            )


def _choose(args: argparse.Namespace, given: dict, config: DataConfig, gathered: Gathered) -> Choice:
    from cheep.boards.data import find_board
    from cheep.datasets.facts import gather_facts
    from cheep.job.choose import choose

    if args.seconds_of_audio_per_day is not None and args.board is None:
        raise CheepError("--seconds-of-audio-per-day: needs --board (its battery is what it bounds)")
    board = find_board(args.board) if args.board else None
    recordings = [item for item in gathered.recordings if item.split != "train"]  # none that is borrowed or synthetic
    facts = gather_facts(recordings, config.windows.is_background, gathered.boxes, Progress("listening"))
    print(_facts_table(facts))
    given = {**given, "train": {**given["train"], "background": config.windows.background}}
    return choose(facts, given, board, args.seconds_of_audio_per_day)


def _facts_table(facts: Sequence[LabelFacts]) -> str:
    rows = [["heard", "files", "groups", "about h", "above 4 kHz", "above 8 kHz", "calls, s", "rise, dB", "dBFS"]]
    for item in facts:
        above = [f"{item.above[limit]:.0%}" if limit in item.above else "-" for limit in (4000, 8000)]
        numbers = [f"{item.call_s:.1f}", f"{item.rise_db:.0f}", f"{item.level_dbfs:.0f}"] if item.heard else ["-"] * 3
        rows.append([item.label, str(item.recordings), str(item.groups), f"{item.hours:.2f}", *above, *numbers])
    return table(rows) + "\n"


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
