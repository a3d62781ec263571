# SPDX-License-Identifier: MIT
"""Scan cards, folders and archives with a detector, on every core; the results become a season.

  cheep scan /media/CARD --season seasons/2026               the latest run's int8 model
  cheep scan ARCHIVE --season seasons/2026 --model runs/wren --deployments deployments.csv
  cheep season summary seasons/2026                          what came of it

Interrupt it whenever you like, and give the same command again: nothing is done twice. Files that cannot be read are
named, with the reason, and the rest goes on (exit status 0). docs/season.md describes the season and how to read it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from cheep.commands._cluster import add_cluster
from cheep.commands._progress import Progress, stage, working
from cheep.commands._shared import add_model
from cheep.files import DiskError

if TYPE_CHECKING:
    from cheep.season.run import Plan, ScanResult
    from cheep.season.scan import Scanned

_SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="recordings: folders or files")
    parser.add_argument(
        "--season", type=Path, required=True, metavar="DIR", help="the season: a new folder, or one to add to"
    )
    add_model(parser)
    group = parser.add_argument_group("where and when")
    group.add_argument(
        "--deployments",
        type=Path,
        metavar="CSV",
        help="table of site, device or folder, from, to, latitude, longitude, timezone (docs/season.md)",
    )
    group.add_argument(
        "--site", default="", metavar="NAME", help="site of all (default: the first folder below FOLDER, or the device)"
    )
    group.add_argument(
        "--timezone",
        default="",
        metavar="ZONE",
        help="of the recorders' clocks where they do not say (Europe/Vienna, +10:00)",
    )
    parser.add_argument(
        "--runtime", choices=("compiled", "tflm"), default="compiled", help="the same bits (%(default)s)"
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="worker processes (default: one per core)")
    add_cluster(parser)


def run(args: argparse.Namespace) -> int:
    """Scan and say what came of it."""
    from cheep.device.bundle import load_bundle
    from cheep.parallel import check_jobs
    from cheep.season.run import list_folders, problems, scan_folders
    from cheep.season.sites import Placing, read_deployments, zone_of
    from cheep.season.store import Season

    if args.timezone:
        zone_of(args.timezone)
    deployments = read_deployments(args.deployments) if args.deployments else ()
    bundle = load_bundle(args.model)
    check_jobs(args.jobs)
    working("looking for recordings")
    listed = list_folders(args.folders)
    season = Season.create(args.season)  # nothing is left of a scan that cannot begin
    said = _Said()
    try:
        result = scan_folders(
            season,
            listed,
            bundle,
            placing=Placing(args.site, args.timezone, deployments),
            runtime=args.runtime,
            jobs=args.jobs,
            on_plan=said.plan,
            on_done=said.done,
        )
    except (KeyboardInterrupt, DiskError):
        print(f"{said.finished} recording(s) of this scan are in the season; the same command goes on", file=sys.stderr)
        raise
    _tell(result, problems(result.scanned))
    if missed := sorted({item.site for item in deployments} - set(season.recordings(["site"])["site"].to_pylist())):
        print(
            f"{args.deployments}: no recording is of {', '.join(missed[:_SHOWN])}: device, folder or dates match none "
            "(recordings that the season had keep their place)",
            file=sys.stderr,
        )
    print(f"{season.folder}: next: cheep season summary {season.folder}")
    return 0


class _Said:
    """Progress: hours done, times real time, problems."""

    def __init__(self) -> None:
        self._progress = Progress("recordings")
        self._began = time.monotonic()
        self._hours, self._problems = 0.0, 0
        self.finished = 0

    def plan(self, plan: Plan) -> None:
        """Say what there is to do."""
        known = f", {plan.known} are in the season already" if plan.known else ""
        stage(f"{len(plan.items)} recording(s) to scan{known}")
        for text in plan.passed_over:
            print(f"passed over: {text}", file=sys.stderr)
        for folder in plan.lost_folders:
            print(f"{folder}: cannot be listed (rights, or a damaged card)", file=sys.stderr)
        if plan.other_settings:
            print(
                "the model's thresholds are not those that the season's detections are made with, which stay "
                "(cheep season detect SEASON --like MODEL takes the model's)",
                file=sys.stderr,
            )
        self._began = time.monotonic()
        if plan.items:
            self._progress(0, len(plan.items))

    def done(self, done: int, total: int, item: Scanned) -> None:
        """Take note of a recording."""
        self.finished = done
        self._hours += item.heard_s / 3600
        self._problems += item.status != "ok"
        took = max(1e-3, time.monotonic() - self._began)
        extra = f"{self._hours:.1f} h, {3600 * self._hours / took:.0f} x real time"
        extra += f", {self._problems} problem(s)" if self._problems else ""
        self._progress(done, total, extra)


def _problem_lines(named: list[Scanned]) -> list[tuple[str, int]]:
    """Return lines, and of how many files each is; copies last, those of a whole folder in one: they hide nothing."""
    from cheep.season.schema import DUPLICATE

    copies: dict[PurePath, list[Scanned]] = {}
    lines = []
    for item in named:
        if item.status == DUPLICATE:
            copies.setdefault(PurePath(item.path).parent, []).append(item)
        else:
            lines.append((f"{item.path}: {item.status}{': ' * bool(item.reason)}{item.reason}", 1))
    for folder, items in copies.items():
        one = f"{items[0].path}: {DUPLICATE}: {items[0].reason}"
        more = f"; and {len(items) - 1} more in {folder}, each of another" if len(items) > 1 else ""
        lines.append((one + more, len(items)))
    return lines


def _tell(result: ScanResult, named: list[Scanned]) -> None:
    lines = _problem_lines(named)
    for line, _ in lines[:_SHOWN]:
        print(line, file=sys.stderr)
    if more := sum(count for _, count in lines[_SHOWN:]):
        print(f"... and {more} more: status and reason in recordings.parquet", file=sys.stderr)
    if guessed := sum(item.guessed_zone for item in result.scanned):
        print(
            f"{guessed} recording(s) have a time without a zone, which was taken for UTC (--timezone says which it is)",
            file=sys.stderr,
        )
    if untimed := sum(item.untimed for item in result.scanned):
        print(
            f"{untimed} recording(s) have no time in their header or name (or a clock that nobody set): they are in no "
            "hour and no month of the summary",
            file=sys.stderr,
        )
    counts = ", ".join(f"{count} {status}" for status, count in Counter(result.counts).most_common())
    found = sum(item.detections for item in result.scanned)
    stage(f"{result.hours:.2f} h scanned: {counts or 'nothing new'}; {found} detection(s)")
