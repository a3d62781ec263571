# SPDX-License-Identifier: MIT
"""Download recordings from xeno-canto, convert them, and write who made them.

Needs a free API key: XENO_CANTO_API_KEY in the environment, or --key-file. Interrupt it as you like: the same
command goes on where it stopped. Then: cheep split-dataset FOLDER
"""

from __future__ import annotations

import argparse
import collections
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cheep.commands._progress import Progress

if TYPE_CHECKING:
    from cheep.datasets.xeno_canto.recording import XcRecording


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("-o", "--output", type=Path, default=Path("datasets/xeno-canto"), help="folder to fill (%(default)s)")
    add("--key-file", type=Path, help="file that holds the API key")
    what = parser.add_argument_group("what")
    add = what.add_argument
    add(
        "--species",
        action="append",
        default=[],
        metavar="NAME",
        help='scientific name, e.g. "Turdus merula"; repeatable',
    )
    add("--country", default="", help="as xeno-canto spells it, e.g. Germany")
    add("--area", default="", help="africa, america, asia, australia or europe")
    add("--box", default="", metavar="LAT,LON,LAT,LON", help="corners: least latitude, longitude, largest ones")
    add("--quality", default="", help="letters, e.g. A,B")
    add("--type", default="", help="e.g. song or call")
    add("--length", default="", help="seconds: 5-120, <60 or >10")
    add("--licence", action="append", default=[], help="e.g. BY-NC-SA, BY-4.0 or CC0; repeatable")
    add("--since", default="", help="uploaded since: a date, or a number of days")
    add("--group", default="", help="birds, grasshoppers, bats, frogs or land mammals")
    add("--annotated", action="store_true", help="only recordings with annotation sets")
    add("--query", default="", help="raw xeno-canto search tags, added to the others")
    add("--max-recordings", type=int, default=0, help="per species: best quality, recordists in turn (default: all)")
    form = parser.add_argument_group("form")
    add = form.add_argument
    add("--sample-rate", type=int, default=16000, help="Hz (%(default)s); split chooses the detector's")
    add("--channels", type=int, default=1, choices=(1, 2), help="of the files to keep (%(default)s)")
    add("--format", choices=("flac", "wav"), default="flac", help="of the files to keep (%(default)s)")
    add("--keep-originals", action="store_true", help="keep the downloaded files in originals/")
    add("--label-by", choices=("scientific", "english"), default="scientific", help="(%(default)s)")
    manners = parser.add_argument_group("manners")
    add = manners.add_argument
    add("--workers", type=int, default=4, help="downloads side by side (%(default)s)")
    add("--interval", type=float, default=1.0, help="least seconds between two requests (%(default)s)")
    add("--timeout", type=float, default=30.0, help="seconds without an answer (%(default)s)")
    add("--tries", type=int, default=8, help="of one request (%(default)s)")
    add("--per-page", type=int, default=500, help="rows per page of a search, 50-500 (%(default)s)")
    add("--refresh", action="store_true", help="search again instead of using the kept search results")
    add("--list", action="store_true", help="show what would be downloaded, and stop")
    add("--server", default="https://xeno-canto.org", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Search, download, convert, write the lists; exit status 1 where recordings are missing."""
    from cheep.datasets.bands import bandwidth_warnings
    from cheep.datasets.credits import licence_hints
    from cheep.datasets.web import Fetcher, Politeness
    from cheep.datasets.xeno_canto.download import STATE, DownloadConfig, Downloader, choose
    from cheep.datasets.xeno_canto.query import XenoCantoQuery
    from cheep.datasets.xeno_canto.recording import PLACEHOLDERS
    from cheep.datasets.xeno_canto.search import read_key, search
    from cheep.errors import CheepError

    query = XenoCantoQuery.parse(
        {
            "species": tuple(args.species),
            "country": args.country,
            "area": args.area,
            "box": args.box,
            "quality": tuple(letter.strip().upper() for letter in args.quality.split(",") if letter.strip()),
            "type": args.type,
            "length": args.length,
            "licence": tuple(args.licence),
            "since": args.since,
            "group": args.group,
            "annotated": args.annotated,
            "query": args.query,
        },
        "options",
    )
    config = DownloadConfig.parse(
        {
            "sample_rate_hz": args.sample_rate,
            "channels": args.channels,
            "container": args.format,
            "keep_originals": args.keep_originals,
            "label_by": args.label_by,
            "max_per_species": args.max_recordings,
            "workers": args.workers,
        },
        "options",
    )
    loopback = args.server.startswith(("http://127.0.0.1:", "http://localhost:"))
    if args.interval < 1 and not loopback:
        raise CheepError(f"--interval {args.interval:g}: must be at least 1 (xeno-canto is run by volunteers)")
    if not 50 <= args.per_page <= 500:
        raise CheepError(f"--per-page {args.per_page}: must be 50 to 500")
    if args.tries < 1 or args.timeout <= 0:
        raise CheepError(f"--tries {args.tries}, --timeout {args.timeout:g}: must be above 0")
    searches = query.searches()
    key = read_key(args.key_file)
    state = args.output / STATE
    state.mkdir(parents=True, exist_ok=True)
    if args.refresh:
        for path in state.glob("*.json"):
            path.unlink()
    manners = Politeness(args.interval, args.timeout, args.tries, first_wait_s=2 * args.interval)
    fetcher = Fetcher(manners, key, state / "last_request")
    found: dict[int, XcRecording] = {}
    problems: list[str] = []
    refused = 0
    for text in searches:
        rows, wrong = search(text, fetcher, key, args.server.rstrip("/"), state, args.per_page)
        reasons = collections.Counter(query.refuses(row) for row in rows)
        kept = {row.number: row for row in rows if not query.refuses(row)}
        refused += len(rows) - len(kept)
        problems += wrong
        found |= kept
        left = "".join(f", {reasons[reason]} left out ({reason})" for reason in PLACEHOLDERS if reasons[reason])
        print(f"{text}: {len(rows)} recordings, {len(kept)} wanted{left}")
    for problem in problems:
        print(f"row left out: {problem}", file=sys.stderr)
    chosen = choose(found.values(), config.max_per_species)
    if not chosen:
        raise CheepError(
            "no recording matches: loosen --quality, --licence or --length, or check the spelling of the species"
        )
    if args.list:
        for row in chosen:
            print(
                f"{row.name:<10} {row.species:<28} {row.quality or '-'} {row.length_s or 0:6.0f} s  "
                f"{row.licence:<18} {row.recordist}"
            )
        return 0
    downloader = Downloader(args.output, fetcher, config, Progress("recordings"))
    result = downloader.run(chosen)
    done = downloader.rows(chosen)
    hours = sum(row["length_s"] for row in done) / 3600
    print(
        f"{args.output}: {len(done)} recordings, {hours:.2f} h; {result.fetched} fetched now "
        f"({result.bytes / 1e6:.1f} MB); {len(result.failed)} missing{' (problems.csv)' if result.failed else ''}"
    )
    for text in [*bandwidth_warnings(done, config.sample_rate_hz), *licence_hints([row["licence"] for row in done])]:
        print(text)
    print(f"next: cheep split-dataset {args.output}")
    return 1 if any("restricted" not in reason for reason in result.failed.values()) else 0
