# SPDX-License-Identifier: MIT
"""Look at the features: compare the C core with librosa on a recording of your own.

  cheep features check recording.wav                the settings of the latest run (without a run: the defaults)
  cheep features check recording.wav --run NAME     of another run
  cheep features check recording.wav --config FILE  of a run file

Prints the differences and writes a picture of them; exit status 1 where the tolerance is not held.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cheep.commands._settings import add_config
from cheep.commands._shared import add_run, table
from cheep.errors import CheepError, GateError

if TYPE_CHECKING:
    from cheep.config import FeatureConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand."""
    sub = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = sub.add_parser("check", help="the C core against librosa")
    check.add_argument("file", type=Path, metavar="FILE", help="any audio file; it is converted to the settings' rate")
    add_run(check)
    add_config(check)
    check.add_argument(
        "--picture",
        type=Path,
        metavar="PNG",
        help="where the picture goes (default: FILE's name + .features.png, here)",
    )


def run(args: argparse.Namespace) -> int:
    """Compare, print, write the picture."""
    from cheep.audio import read_audio
    from cheep.features.check import DEEP_TOLERANCE, DEPTH_DB, check_features, picture
    from cheep.files import write_bytes

    config, whose = _settings(args)
    found = check_features(read_audio(args.file, config.sample_rate_hz), config)
    unit, columns = found.unit, len(found.ours)
    print(
        f"{args.file}: {columns} columns of {config.bands} bands compared, {columns * config.hop_s:.1f} s at "
        f"{config.sample_rate_hz} Hz; settings of {whose} (0x{config.hash32:08x})"
    )
    rows = [["difference from librosa", unit]]
    rows += [[f"{share:g} % of the cells within", f"{found.percentile(share):.2g}"] for share in (50, 99, 99.9)]
    rows += [["largest", f"{found.largest:.2g}"], ["allowed", f"{found.tolerance:.2g}"]]
    print(table(rows))
    beyond = int((~found.judged).sum())
    if beyond:
        print(
            f"{beyond} of {found.judged.size} cells lie more than {DEPTH_DB:g} dB below the loudest band or at the "
            f"floor: judged by amplitude, off by {found.deep_error:.2g} of the loudest (allowed {DEEP_TOLERANCE:.2g})"
        )
    target = args.picture or Path(f"{args.file.stem}.features.png")
    write_bytes(target, picture(found, args.file.name))
    print(f"picture: {target}")
    if not found.held:
        raise GateError(
            f"{args.file}: the C core and librosa differ by more than is allowed: do not trust this build; compiler "
            "flags (-ffp-contract=off) and a cache of another machine ($CHEEP_CACHE) are the first suspects"
        )
    return 0


def _settings(args: argparse.Namespace) -> tuple[FeatureConfig, str]:
    from cheep.config import FeatureConfig, load_run_file
    from cheep.device.bundle import load_bundle
    from cheep.runs import find_run

    if args.config and args.run:
        raise CheepError("--config and --run: give one of the two")
    if args.config:
        return load_run_file(args.config).features, str(args.config)
    if args.run:
        bundle = load_bundle(find_run(args.run))
        return bundle.features, str(bundle.path)
    try:
        bundle = load_bundle(None)
    except CheepError as error:
        return FeatureConfig(), f"the defaults ({error})"
    return bundle.features, str(bundle.path)
