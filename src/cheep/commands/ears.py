# SPDX-License-Identifier: MIT
"""Large pretrained models as judges: which there are, and fetching one (after asking).

cheep ears list         models, licences, and which are on this machine
cheep ears get MODEL    download one: says source and licence, and asks first
"""

from __future__ import annotations

import argparse
import sys

from cheep.commands._shared import table
from cheep.errors import CheepError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    from cheep.ears.package import PACKAGED

    sub = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    sub.add_parser("list", help="models, licences, and which are on this machine")
    get = sub.add_parser("get", help="download one, after asking")
    get.add_argument("model", choices=sorted(PACKAGED), help="which one")
    get.add_argument("--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace) -> int:
    """Do what was asked."""
    return _get(args) if args.action == "get" else _list()


def _list() -> int:
    from cheep.ears.package import PACKAGED, is_here

    rows = [["--by", "model", "licence", "on this machine"]]
    for name, what in PACKAGED.items():
        rows.append([name, f"{what.name} {what.version}", what.licence, "yes" if is_here(name) else "no"])
    print(table(rows))
    print("a file that is here already: --by FILE,LABELS (docs/ears.md)")
    return 0


def _get(args: argparse.Namespace) -> int:
    from cheep.ears.about import meaning
    from cheep.ears.package import PACKAGED, is_here, packaged_files
    from cheep.ears.runners import digest_of

    what = PACKAGED[args.model]
    if not is_here(args.model):
        print(f"{what.name} {what.version}, from where the package birdnet has it from; {meaning(what.licence)}")
        if not args.yes and not _agreed():
            raise CheepError("nothing was downloaded; give --yes, or answer y")
    found = packaged_files(args.model, download=True)
    print(f"{found.file}: sha256 {digest_of(found.file)}, {len(found.labels)} labels")
    return 0


def _agreed() -> bool:
    if not sys.stdin.isatty():
        return False
    return input("download it? [y/N] ").strip().lower() in ("y", "yes")
